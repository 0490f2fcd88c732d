"""A file, or a part of one, that holds raw perf records and nothing else."""

from __future__ import annotations

import os

from odograph.dropins.pevent.record import SidebandRecord, parse
from odograph.dropins.pevent.settings import Settings
from odograph.errors import PtError, RecordingError
from odograph.perfdata.format import RECORD_HEADER
from odograph.perfdata.records import Record

__all__ = ["Stream"]


class Stream:
    """Gives the records one by one, in the order of the file. Offsets count from the start of the part.

    A ``primary`` stream is that of the processor or thread that was traced, and may change contexts; a
    secondary one only says what was mapped.
    """

    def __init__(self, filename: str, data: bytes, primary: bool, settings: Settings) -> None:
        self.filename = filename
        self.primary = primary
        self.settings = settings
        self._data = data
        self._at = 0

    @classmethod
    def open(cls, path: str, first: int, end: int | None, primary: bool, settings: Settings) -> Stream:
        """The bytes of ``path`` from offset ``first`` up to ``end`` (None = to the end of the file).

        :raises RecordingError: ``bad_file``: it cannot be read; ``invalid``: the part does not lie in it.
        """
        try:
            with open(path, "rb") as file:
                size = file.seek(0, os.SEEK_END)
                end = size if end is None else end
                if first > end or end > size:
                    raise RecordingError(
                        f"{path} has {size:#x} bytes and no part {first:#x}-{end:#x}", code=PtError.invalid
                    )
                file.seek(first)
                data = file.read(end - first)
        except OSError as error:
            raise RecordingError(
                f"cannot read {path}: {error.strerror or error}", code=PtError.bad_file
            ) from error
        return cls(path, data, primary, settings)

    @property
    def offset(self) -> int:
        """Where the next record begins."""
        return self._at

    def next(self) -> SidebandRecord | None:
        """The next record; None at the end, which a record of type 0 or a cut one also is.

        :raises RecordingError: ``nosync`` or ``bad_config`` as :func:`parse`; nothing can follow it.
        """
        at = self._at
        if at + RECORD_HEADER.size > len(self._data):
            return None
        kind, misc, size = RECORD_HEADER.unpack_from(self._data, at)
        if kind == 0 or at + size > len(self._data):
            return None
        if size < RECORD_HEADER.size:
            raise RecordingError(
                f"a record of {size} bytes is shorter than its header", code=PtError.nosync, offset=at
            )
        record = parse(Record(kind, misc, size, self._data[at : at + size], at), self.settings)
        self._at = at + size
        return record
