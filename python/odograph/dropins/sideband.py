"""The ``--sb:`` and ``--pevent:`` options, and the lines of records and of what is wrong."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from odograph.dropins.options import Arguments, Failure, FileRange, parse_number
from odograph.errors import OdographError, PtError
from odograph.text.printable import printable

if TYPE_CHECKING:
    from odograph.code.image import Image
    from odograph.dropins.pevent import Context, Session, Settings, SidebandRecord, Stream

__all__ = ["SidebandOptions", "split_base"]

_NUMBERS = {
    "--pevent:sample-type": ("sample_type", 64),
    "--pevent:time-zero": ("time_zero", 64),
    "--pevent:time-shift": ("time_shift", 16),
    "--pevent:time-mult": ("time_mult", 32),
    "--pevent:tsc-offset": ("tsc_offset", 64),
    "--pevent:kernel-start": ("kernel_start", 64),
}
_FILES = {
    "--pevent:sysroot": "sysroot",
    "--pevent:vdso-x64": "vdso_x64",
    "--pevent:vdso-x32": "vdso_x32",
    "--pevent:vdso-ia32": "vdso_ia32",
}
_IDENTIFIER = 1 << 16


def split_base(word: str) -> tuple[str, int | None]:
    """``FILE[:BASE]``: the name and the number behind its last colon; if that is no number, all is name."""
    name, colon, tail = word.rpartition(":")
    base = parse_number(tail) if colon else None
    return (word, None) if base is None else (name, base)


class SidebandOptions:
    """Takes the options and says what is to be printed of the sideband. ``write`` gets the lines.

    ``session`` is made with the first stream, None before; a trace without sideband loads no code for it.
    ``only_lists``: the tool prints records, and their effects do not matter to it; it is the one that
    calls warnings errors, too.
    """

    def __init__(self, write: Callable[[str], object], *, only_lists: bool = False) -> None:
        self.session: Session | None = None
        self._write = write
        self._only_lists = only_lists
        self._verbose: bool | None = None
        self._filename = self._offset = self._time = False
        self._warn = self._switch = False
        self._settings: Settings | None = None

    def take(self, option: str, arguments: Arguments) -> bool:
        """Takes the option if it is one of these, with its argument. Raises :class:`Failure`."""
        match option:
            case "--sb" | "--sb:compact":
                self._verbose = False
            case "--sb:verbose":
                self._verbose = True
            case "--sb:filename":
                self._filename = True
            case "--sb:offset":
                self._offset = True
            case "--sb:time":
                self._time = True
            case "--sb:warn":
                self._warn = True
            case "--sb:switch" if not self._only_lists:
                self._switch = True
            case "--pevent" if self._only_lists:
                self._add_stream(arguments.text(option), True)
            case "--pevent:primary" | "--pevent:secondary":
                self._add_stream(arguments.text(option), option == "--pevent:primary")
            case "--pevent:kcore" if self._only_lists:
                arguments.text(option)
            case "--pevent:sample-config":
                word = arguments.text(option)
                self._add_sample_config(word, option if self._only_lists else word)
            case _ if option in _NUMBERS:
                name, bits = _NUMBERS[option]
                self._set(**{name: arguments.number(option, bits)})
            case _ if option in _FILES:
                self._set(**{_FILES[option]: arguments.text(option)})
            case _:
                return False
        return True

    def kernel(self) -> Image:
        """The memory of the kernel, with which the memory of every process begins."""
        return self._made().contexts.kernel

    def hide_records(self) -> None:
        """Prints no records, unless options that follow say otherwise."""
        self._verbose = None
        self._filename = self._offset = self._time = False

    def _current(self) -> Settings:
        from odograph.dropins.pevent import Settings

        if self._settings is None:
            self._settings = Settings()
        return self._settings

    def _set(self, **fields: Any) -> None:
        self._settings = replace(self._current(), **fields)

    def _add_sample_config(self, word: str, blamed: str) -> None:
        """``ID:TYPE``; only records that end with an identifier can be told apart by it."""
        identifier, colon, kind = word.partition(":")
        number, sample_type = parse_number(identifier), parse_number(kind)
        if not colon or number is None or sample_type is None or not sample_type & _IDENTIFIER:
            raise Failure(f"bad sample config {blamed}: invalid argument.")
        self._set(sample_configs={**self._current().sample_configs, number: sample_type})

    def _made(self) -> Session:
        from odograph.dropins.pevent import Session

        if self.session is None:
            self.session = Session(
                on_record=self._on_record, on_error=self._on_error, on_switch=self._on_switch
            )
        return self.session

    def _add_stream(self, word: str, primary: bool) -> None:
        file = FileRange.parse(word, status=2 if self._only_lists else 1)
        try:
            self._made().add_stream(file.name, file.first, file.last, primary, self._current())
        except OdographError as error:
            raise Failure(f"error loading {file.name}: bad file.") from error

    # Lines ---------------------------------------------------------------------------------------------

    def _on_record(self, stream: Stream, record: SidebandRecord) -> None:
        if self._verbose is None and not (self._filename or self._offset or self._time):
            return
        from odograph.dropins.pevent import prefix, text

        start = prefix(stream, record, filename=self._filename, offset=self._offset, time=self._time)
        body = "" if self._verbose is None else text(record, verbose=self._verbose)
        self._line(f"{start}{body}")

    def _on_error(self, stream: Stream, offset: int, what: PtError | str, is_warning: bool) -> None:
        if is_warning and not self._warn:
            return
        from odograph.compat.libipt import pt_errstr

        kind = "warning" if is_warning and not self._only_lists else "error"
        said = what if isinstance(what, str) else pt_errstr(what)
        self._line(f"[{stream.filename}:{offset:016x} sideband {kind}: {said}]")

    def _on_switch(self, context: Context) -> None:
        if self._switch:
            self._line(f"[context: pid-{context.pid:x}]")

    def _line(self, text: str) -> None:
        self._write(printable(text, "\n\t") + "\n")
