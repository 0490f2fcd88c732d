"""``odograph-ptdump``: the packets of a trace, by the options and in the text of libipt's ``ptdump``."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import BinaryIO

from odograph._native import RawPacketListing
from odograph.dropins import tool
from odograph.dropins.options import Arguments, DecoderOptions, Failure, FileRange, open_range
from odograph.dropins.sideband import SidebandOptions

__all__ = ["main"]

_FLAGS = frozenset(
    (
        *("--no-sync", "--no-pad", "--no-timing", "--no-cyc", "--no-offset", "--raw", "--lastip"),
        *("--exec-mode", "--time-delta", "--no-tcal", "--no-wall-clock"),
    )
)

_HELP = """\
usage: {program} [<options>] <ptfile>[:<from>[-<to>]]

Print the packets of an Intel PT trace, or of its bytes <from> up to but not including <to>.

  --help, -h                this text
  --version                 the version, and that of the libipt whose options these are
  --no-sync                 begin at offset 0 rather than at the first PSB
  --quiet                   print what is wrong, and no packets
  --no-pad                  no PAD packets
  --no-timing               no TSC, CBR, TMA, MTC and CYC packets
  --no-cyc                  no CYC packets, and no use of them for time
  --no-offset               no column of offsets
  --raw                     a column of the packets' bytes
  --lastip                  the IP that FUP and TIP packets stand for
  --exec-mode               the mode that MODE.Exec packets stand for
  --time                    the time, in TSC ticks
  --tcal                    TSC ticks per core cycle
  --time-delta              both as differences to the value before
  --no-tcal                 no calibration of core cycles
  --no-wall-clock           times count from the start where no TSC packet came yet
  --keep-tcal-on-ovf        keep the calibration over an overflow
  --cpu none|f/m[/s]        work around errata of this processor
  --mtc-freq <n>            MTC frequency (IA32_RTIT_CTL[17:14])
  --nom-freq <n>            nominal frequency (MSR_PLATFORM_INFO[15:8])
  --cpuid-0x15.eax <n>      CPUID[0x15].EAX
  --cpuid-0x15.ebx <n>      CPUID[0x15].EBX
  --sb[:compact]            print perf records in short
  --sb:verbose              print perf records at length
  --sb:filename, --sb:offset, --sb:time
                            and their file, offset and time
  --sb:warn                 print warnings about them
  --pevent[:primary|:secondary] <file>[:<from>[-<to>]]
                            perf records beside the trace; the options below hold for files behind them
  --pevent:sample-type <n>, --pevent:sample-config <id>:<n>
                            perf_event_attr.sample_type, of all records or those with this identifier
  --pevent:time-zero <n>, --pevent:time-shift <n>, --pevent:time-mult <n>
                            perf_event_mmap_page's fields of these names
  --pevent:tsc-offset <n>   taken from the records' TSC
  --pevent:kernel-start <n>, --pevent:sysroot <dir>, --pevent:kcore <file>,
  --pevent:vdso-x64 <file>, --pevent:vdso-x32 <file>, --pevent:vdso-ia32 <file>
                            ignored
"""


def main(argv: Sequence[str] | None = None, stdout: BinaryIO | None = None) -> int:
    """Runs the tool on a command line whose first word is its name; gives the exit code."""
    return tool.run(_dump, argv, stdout)


def _dump(arguments: Arguments, stdout: BinaryIO) -> int:
    flags: list[str] = []
    decoder = DecoderOptions()
    sideband = SidebandOptions(lambda text: stdout.write(os.fsencode(text)), only_lists=True)
    keep_tcal = False
    while (word := arguments.next()) is not None:
        if not word.startswith("-"):
            if arguments.left:
                raise Failure("[<options>] <ptfile>.  Use --help or -h for help.")
            break
        match word:
            case "--help" | "-h":
                stdout.write(os.fsencode(_HELP.replace("{program}", arguments.program)))
                return 0
            case "--version":
                stdout.write(tool.version(arguments.program))
                return 0
            case "--time" | "--tcal":
                flags.append(word)
                if "--time" in flags and "--tcal" in flags:
                    raise Failure("specify either --time or --tcal.")
            case "--quiet":
                flags.append(word)
                sideband.hide_records()
            case "--keep-tcal-on-ovf":
                keep_tcal = True
            case "--cpu":
                decoder.cpu = arguments.cpu()
            case _ if word in _FLAGS:
                flags.append(word)
            case _ if decoder.take(word, arguments) or sideband.take(word, arguments):
                pass
            case _:
                raise Failure(f"unknown option: {word}.")
    if word is None:
        raise Failure("No processor trace file specified.")
    trace = open_range(FileRange.parse(word, status=2))
    if decoder.cpu_is_unknown:
        stdout.write(b"[0: failed to determine errata: unknown cpu]\n")
    session = sideband.session
    if session is not None:
        flags.append("--sideband")
    config = decoder.config(keep_tcal_on_ovf=keep_tcal).for_native()
    listing = RawPacketListing(trace, config, [flag[2:] for flag in flags])
    while not listing.ended:
        text, tsc = listing.next_piece(None if session is None else session.next_tsc)
        stdout.write(text)
        if session is not None and tsc is not None:
            session.advance(tsc)
    if session is not None:
        session.finish()
    return 0
