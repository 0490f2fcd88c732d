"""A fact about a damaged or incomplete recording that did not stop the reader."""

from __future__ import annotations

from typing import Literal, NamedTuple

__all__ = ["Problem", "Problems"]


class Problem(NamedTuple):
    """What is wrong and where: ``offset`` is a byte offset in the file, None if it concerns the whole.

    ``is_damage`` is false for what the file has, but was not read because it would take too much memory.
    """

    offset: int | None
    message: str
    is_damage: bool = True

    def __str__(self) -> str:
        return self.message if self.offset is None else f"{self.message} (offset {self.offset:#x})"


class Problems:
    """Problems in the order they were found, with a bound, so that a hostile file cannot fill memory."""

    LIMIT = 1000

    def __init__(self) -> None:
        self.list: list[Problem] = []
        self.dropped = 0
        #: The first one by which a part of the recording is missing: it is cut, or cannot be read.
        self.cut: Problem | None = None
        #: The first one by which something was not read because it needs more memory than is allowed.
        self.left_out: Problem | None = None
        #: Records are among what was left out, so that steps may be missing.
        self.lacks_records = False

    def add(
        self,
        offset: int | None,
        message: str,
        *,
        cut: bool = False,
        left_out: Literal["records", "code"] | None = None,
    ) -> None:
        """Note one problem; past the limit it is only counted.

        ``cut``: a part of the recording is missing, and it is not known what that would have told.
        ``left_out``: the file has it, but it would take too much memory.
        """
        if left_out is not None:
            self.left_out = self.left_out or Problem(offset, message, False)
            self.lacks_records = self.lacks_records or left_out == "records"
        if cut and self.cut is None:
            self.cut = Problem(offset, message)
        if len(self.list) < self.LIMIT:
            self.list.append(Problem(offset, message, left_out is None))
            return
        self.dropped += 1
        if self.dropped == 1:
            self.list.append(Problem(None, "more problems follow that are not listed"))
