"""Make a trace by hand, decode it, and show what ran."""

from odograph import Image, Packet, PacketEncoder, decode
from odograph.views import summarise, summary_lines

CODE = bytes.fromhex("ff c8 75 fc c3")  # dec eax; jne -4; ret


def main() -> None:
    """Runs the example."""
    encoder = PacketEncoder()
    encoder.add(Packet("psb")).add(Packet("psbend"))
    encoder.add(Packet("mode.exec", csl=True, csd=False, iflag=False))
    encoder.add(Packet("tip.pge", compression=3, ip=0x401000))
    for _ in range(100):
        encoder.add(Packet("tnt8", size=6, bits=0b111111))
    encoder.add(Packet("tnt8", size=1, bits=0)).add(Packet("tip.pgd", compression=0, ip=0))
    image = Image()
    image.add_bytes(CODE, 0x401000, name="loop")
    history = decode(encoder.data, image)
    print("\n".join(summary_lines(summarise([(1, 1, "loop", history)]))))
    for instruction in history[-3:]:
        print(instruction)


if __name__ == "__main__":
    main()
