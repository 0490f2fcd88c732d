"""Talks nonsense to the gdb server: it must answer sense afterwards, always.

python tests/fuzz_gdbserver.py --seconds 60 [--seed N]
"""

from __future__ import annotations

import argparse
import contextlib
import random
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import odograph
from odograph import Packet, PacketEncoder
from odograph.debug import Target
from odograph.debug.remote.packet import frame
from odograph.debug.remote.table import HANDLERS
from support.debugruns import Client, serving

CODE = 0x401000
#: call 401008; ret; nop; nop; dec eax; jne 401008; ret
BYTES = bytes.fromhex("e803000000c39090ffc875fcc3")
LETTERS = b"0123456789abcdef,;:#$}*-+zZ \x00\x03\xff"


def target(directory: Path) -> Target:
    """A call of a loop."""
    encoder = PacketEncoder()
    encoder.add(Packet("psb"))
    encoder.add(Packet("mode.exec", csl=True, csd=False, iflag=False))
    encoder.add(Packet("fup", compression=3, ip=CODE)).add(Packet("psbend"))
    trace = directory / "calls.pt"
    trace.write_bytes(bytes(encoder) + bytes([0b11101 << 1]) + b"\x01")
    image = odograph.Image()
    image.add_bytes(BYTES, CODE)
    return Target(odograph.open(trace, image=image))


def nonsense(dice: random.Random) -> bytes:
    """A packet, a damaged one, or no packet at all."""
    body = dice.choice(list(HANDLERS)).encode()
    body += bytes(dice.choice(LETTERS) for _ in range(dice.choice((0, 1, 5, 30, 300))))
    match dice.randrange(8):
        case 0:
            return body
        case 1:
            return b"$" + body
        case 2:
            return b"$" + body + b"#00"
        case 3:
            data = bytearray(frame(body))
            data[dice.randrange(len(data))] = dice.randrange(256)
            return bytes(data)
        case 4:
            words = dice.choices(
                ("goto", "hits", "break", "delete", "step", "-1", "0x401008", "9%", "1s"), k=3
            )
            return frame(b"qRcmd," + " ".join(words).encode().hex().encode())
        case _:
            return frame(body)


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    dice = random.Random(arguments.seed)
    end = time.monotonic() + arguments.seconds
    rounds = 0
    with tempfile.TemporaryDirectory() as directory:
        subject = target(Path(directory))
        with serving(subject) as server:
            while time.monotonic() < end:
                client = Client(server.address)
                # Some of it says goodbye.
                with contextlib.suppress(OSError):
                    for _ in range(dice.randrange(12)):
                        client.send(nonsense(dice))
                client.close()
                client = Client(server.address)
                answer = client.ask("?")
                if not answer.startswith("T0") or len(subject.processor.breakpoints):
                    print(f"round {rounds} of seed {arguments.seed}: {answer!r}")
                    return 1
                client.close()
                rounds += 1
    print(f"{rounds} rounds, each answered")
    return 0


if __name__ == "__main__":
    sys.exit(main())
