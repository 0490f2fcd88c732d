"""``odograph-ptxed``: lists the instructions a trace executed, as libipt's ptxed does."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, BinaryIO

from odograph._native import RawInstructionListing
from odograph.code.image import Image, SectionCache
from odograph.dropins import tool
from odograph.dropins.options import Arguments, DecoderOptions, Failure, FileRange, open_range
from odograph.dropins.sideband import SidebandOptions, split_base
from odograph.errors import OdographError, PtError

if TYPE_CHECKING:
    from odograph.dropins.pevent import Session

__all__ = ["main"]

_HELP = """\
usage: {program} [<options>]

Lists the instructions that a processor trace executed.

  --help|-h                            this text
  --version                            the version
  --pt <file>[:<from>[-<to>]]          the trace, or a part of it; options of decoders come before it
  --raw <file>[:<from>[-<to>]]:<base>  code: a file, or a part of it, at an address
  --elf <file>[:<base>]                code: the segments of an ELF file, moved to an address
  --insn-decoder|--block-decoder       which decoder to use (default: the block decoder)
  --cpu none|f/m[/s]                   apply the errata of a processor (family/model/stepping)
  --filter:addr<n>_cfg <value>         address range n: 1 filter, 2 stop
  --filter:addr<n>_a|_b <value>        its first and its last address
  --mtc-freq <n>                       IA32_RTIT_CTL.MTCFreq
  --nom-freq <n>                       MSR_PLATFORM_INFO[15:8]
  --cpuid-0x15.eax|.ebx <value>        CPUID leaf 15h
  --event:tick                         an event for each update of the time
  --event:iflags                       events for the interrupt flag
  --insn:keep-tcal-on-ovf, --block:keep-tcal-on-ovf
                                       keep the calibration of time over an overflow
  --block:end-on-call|:end-on-jump     where blocks end
  --block:show-blocks                  a line before each block
  --offset|--time                      columns: offset in the trace, time
  --raw-insn|--att|--no-inst           bytes; AT&T syntax; addresses only
  --event:time|--event:ip              time and addresses of events
  --quiet|-q                           only errors, sideband, findings of --check, and statistics
  --check                              decode instructions a second time and compare
  --resync-on-error                    after an error go on at the next packet that says where
  --stat|--stat:insn|--stat:blocks     statistics at the end
  --verbose|-v                         segments of ELF files
  --iscache-limit <bytes>              most bytes of code files to keep
  --sb:compact|--sb|--sb:verbose       sideband records; also --sb:filename, --sb:offset, --sb:time
  --sb:warn|--sb:switch                sideband warnings; switches of the image
  --pevent:primary|:secondary <file>[:<from>[-<to>]]
                                       perf records of the traced processor or thread, or of others
  --pevent:sample-type <v>, --pevent:sample-config <id>:<type>, --pevent:time-zero <v>,
  --pevent:time-shift <v>, --pevent:time-mult <v>, --pevent:tsc-offset <v>,
  --pevent:kernel-start <v>            how to read the records that follow
  --pevent:sysroot <dir>, --pevent:vdso-x64|-x32|-ia32 <file>
                                       where the files are
  --pevent:kcore <file>[:<base>]       the memory of the kernel
"""

#: Options without an argument that are the listing's own, by the same names.
_SHOWN = {
    "--quiet",
    "--offset",
    "--time",
    "--raw-insn",
    "--att",
    "--no-inst",
    "--event:time",
    "--event:ip",
    "--block:show-blocks",
    "--check",
    "--resync-on-error",
}
#: Those that count only before ``--pt``.
_DECODING = {"--event:tick", "--block:end-on-call", "--block:end-on-jump"}
_EVERYTHING = (1 << 64) - 1
_FILTER, _STOP = 1, 2


def _said(error: OdographError) -> str:
    # Imported where it is needed: the tool begins sooner without. So are the modules of recordings below.
    from odograph.compat.libipt import pt_errstr

    return pt_errstr(error.code or PtError.bad_file)


class _Unnamed(Failure):
    """A failure whose text has no name of the program in front."""


def main(argv: Sequence[str] | None = None, stdout: BinaryIO | None = None) -> int:
    """Runs the tool on a command line whose first word is its name; gives the exit code."""
    return tool.run(_list, argv, stdout)


def _list(arguments: Arguments, stdout: BinaryIO) -> int:
    try:
        _Ptxed(arguments, stdout).run()
    except _Unnamed as failure:
        stdout.flush()
        tool.complain(failure.text)
        return failure.status
    return 0


class _Ptxed:
    """One call of the tool: takes its options in the order in which they stand, then lists."""

    def __init__(self, arguments: Arguments, stdout: BinaryIO) -> None:
        self._arguments = arguments
        self._stdout = stdout
        self._decoder = DecoderOptions()
        self._sideband = SidebandOptions(self._say)
        self._cache = SectionCache()
        self._image = Image()
        self._shown: set[str] = set()
        self._decoding: set[str] = set()
        self._layer = "block"
        self._iflags = False
        self._keep_tcal: set[str] = set()
        self._filters = [[0, 0, 0] for _ in range(4)]
        self._statistics: set[str] = set()
        self._verbose = False
        self._trace: tuple[memoryview, dict[str, Any], set[str]] | None = None

    def _say(self, text: str) -> None:
        self._stdout.write(os.fsencode(text))

    def run(self) -> None:
        """Everything. Raises :class:`Failure` where the tool ends before it has listed anything."""
        while (option := self._arguments.next()) is not None:
            if option in ("--help", "-h"):
                self._say(_HELP.replace("{program}", self._arguments.program))
                return
            if option == "--version":
                self._stdout.write(tool.version(self._arguments.program))
                return
            self._take(option)
        if self._trace is None:
            raise Failure("no pt file.")
        self._list(*self._trace)

    # Options -------------------------------------------------------------------------------------------

    def _take(self, option: str) -> None:
        arguments = self._arguments
        if option in _SHOWN:
            self._shown.add(option[2:])
        elif option in _DECODING:
            self._decoding.add(option[2:])
        elif option.startswith("--filter:addr"):
            self._take_filter(option)
        elif self._decoder.take(option, arguments) or self._sideband.take(option, arguments):
            pass
        else:
            self._take_rest(option)

    def _take_rest(self, option: str) -> None:
        arguments = self._arguments
        match option:
            case "--pt":
                self._open(arguments.text(option, status=0))
            case "--raw":
                self._add_raw(arguments.text(option, status=0))
            case "--elf":
                self._add_elf(arguments.text(option, status=0), self._image)
            case "--pevent:kcore":
                self._add_elf(arguments.text(option), self._sideband.kernel())
            case "--insn-decoder" | "--block-decoder":
                if self._trace is not None:
                    # The tool swaps the two names of its message.
                    text = f"{option}: please specify {arguments.program} before the pt source file."
                    raise _Unnamed(text)
                self._layer = option[2:].partition("-")[0]
            case "--cpu":
                if self._trace is not None:
                    raise Failure("please specify cpu before the pt source file.")
                self._decoder.cpu = arguments.cpu(status=0)
            case "--event:iflags":
                self._iflags = True
            case "--insn:keep-tcal-on-ovf" | "--block:keep-tcal-on-ovf":
                self._keep_tcal.add(option[2:].partition(":")[0])
            case "-q":
                self._shown.add("quiet")
            case "--verbose" | "-v":
                self._verbose = True
            case "--iscache-limit":
                self._cache.limit = arguments.number(option)
            case "--stat" | "--stat:insn" | "--stat:blocks":
                self._statistics.add(option)
            case _:
                raise Failure(f"unknown option: {option}.")

    def _take_filter(self, option: str) -> None:
        """``--filter:addrN_cfg``, ``_a`` or ``_b``."""
        number, _, what = option.removeprefix("--filter:addr").partition("_")
        if number not in ("0", "1", "2", "3") or what not in ("cfg", "a", "b"):
            raise Failure(f"unknown option: {option}.")
        if self._trace is not None:
            raise Failure(f"please specify {option} before --pt.")
        configuration = self._filters[int(number)]
        if what != "cfg":
            configuration[1 if what == "a" else 2] = self._arguments.number(option)
            return
        try:
            configuration[0] |= self._arguments.number(option, 4)
        except Failure as failure:
            # That nothing is there is lost on the way.
            raise Failure(failure.text.replace("missing argument", "internal error")) from failure

    def _open(self, word: str) -> None:
        """The trace, with a decoder as the options so far have configured it."""
        if self._trace is not None:
            raise Failure(f"duplicate pt sources: {word}.")
        trace = open_range(FileRange.parse(word))
        if self._decoder.cpu_is_unknown:
            self._say("[0, 0: config error: unknown cpu]\n")
        config = self._decoder.config(
            keep_tcal_on_ovf=self._layer in self._keep_tcal, enable_iflags_events=self._iflags
        )
        filters = [(kind == _STOP, a, b) for kind, a, b in self._filters if kind in (_FILTER, _STOP)]
        decoding = self._decoding | ({"insn-decoder"} if self._layer == "insn" else set())
        self._trace = trace, {**config.for_native(), "filters": filters}, decoding

    def _add_raw(self, word: str) -> None:
        name, base = split_base(word)
        try:
            if base is None:
                raise Failure(f"failed to parse base addressfrom '{word}'.")
            file = FileRange.parse(name)
            size = _EVERYTHING if file.last is None else file.last - file.first
            try:
                isid = self._cache.add_file(file.name, file.first, size, base)
                self._image.add_cached(self._cache, isid)
            except OdographError as error:
                raise Failure(f"failed to add {file.name} at 0x{base:x}: {_said(error)}.") from error
        except Failure as failure:
            raise Failure(
                f"{failure.text}\n{self._arguments.program}: --raw: failed to load '{word}'."
            ) from failure

    def _add_elf(self, word: str, image: Image) -> None:
        from odograph.code.elfimage import add_section
        from odograph.code.objects import PT_LOAD, object_file

        name, base = split_base(word)
        try:
            with open(name, "rb") as file:
                is_elf = file.read(4) == b"\x7fELF"
        except OSError as error:
            raise Failure(f"warning: failed to open {name}: {error.strerror}.") from error
        if not is_elf:
            raise Failure(f"warning: ignoring {name}: not an ELF file.")
        found = object_file(name, chosen=True)
        headers = enumerate(found.headers if found is not None else ())
        segments = [(at, header) for at, header in headers if header.kind == PT_LOAD]
        shift = base - min((segment.address for _, segment in segments), default=0) if base else 0
        segments = [(at, segment) for at, segment in segments if segment.file_size]
        if not segments:
            self._warn(f"{name}: did not find any load sections.")
        for number, segment in segments:
            vaddr = (segment.address + shift) % (1 << 64)
            try:
                add_section(image, name, segment.offset, segment.file_size, vaddr, self._cache)
            except OdographError as error:
                self._warn(f"{name}: failed to create section for phdr {number}: {_said(error)}.")
                continue
            if self._verbose:
                where = f"offset=0x{segment.offset:x} size=0x{segment.file_size:x}"
                self._say(f"{name}: {where} vaddr=0x{segment.address:x}.\n")

    def _warn(self, text: str) -> None:
        tool.complain(f"{self._arguments.program}: warning: {text}")

    # Listing -------------------------------------------------------------------------------------------

    def _list(self, trace: memoryview, config: dict[str, Any], decoding: set[str]) -> None:
        shown = self._shown | decoding | ({"stat"} if self._statistics else set())
        listing = RawInstructionListing(trace, config, sorted(shown), self._image)
        session = self._sideband.session
        if session is None:
            while not listing.ended:
                text, _ = listing.next_piece()
                self._stdout.write(text)
        else:
            self._list_beside(session, listing)
        self._say_statistics("insn-decoder" in decoding, listing.instructions, listing.blocks)

    def _list_beside(self, session: Session, listing: RawInstructionListing) -> None:
        """Lists, with the records that an event's time has reached behind that event."""
        from odograph.dropins.pevent import TracePoint

        while not listing.ended:
            text, event = listing.next_piece(session.next_tsc, every=session.pending_switch)
            self._stdout.write(text)
            image = None if event is None else session.event(TracePoint(*event))
            if image is not None:
                listing.set_image(image)

    def _say_statistics(self, by_instruction: bool, instructions: int, blocks: int) -> None:
        if not self._statistics:
            return
        wanted = self._statistics - {"--stat"}
        if not wanted:
            wanted = {"--stat:insn"} if by_instruction else {"--stat:insn", "--stat:blocks"}
        if "--stat:insn" in wanted:
            self._say(f"insn: {instructions}.\n")
        if "--stat:blocks" in wanted:
            self._say(f"blocks:\t{blocks}.\n")
