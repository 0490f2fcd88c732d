"""The memory of a process over time, as images."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, NamedTuple, TypeVar, overload

from odograph._native import RawImageLog, RawTimeline
from odograph.code.image import Image

if TYPE_CHECKING:
    from odograph.code.binaries import CodeSource
    from odograph.code.mappings import Change, Inherited, Mapping
    from odograph.recording.recordingfile import RecordingFile

__all__ = ["CodeBytes", "ImageMoments", "Moments", "Starts", "image_moments"]

T = TypeVar("T")

_PAGE = 512
_USER_END = (1 << 63) - 1
_KERNEL_PID = -1
_ALL = (1 << 64) - 1


class CodeBytes:
    """Executed bytes by address, in pages, with a mask of the bytes that are known.

    Copies share pages until one of them changes them.
    """

    def __init__(self) -> None:
        self._pages: dict[int, tuple[bytearray, bytearray]] = {}
        self._own: set[int] = set()
        #: Pages that were noted or changed since this was made or became a ``child``.
        self.touched: set[int] = set()

    def copy(self) -> CodeBytes:
        """The same bytes, to be changed apart from these."""
        other = CodeBytes()
        other._pages = self._pages.copy()
        other.touched = self.touched.copy()
        self._own = set()
        return other

    def child(self) -> CodeBytes:
        """A copy in which nothing counts as touched."""
        other = self.copy()
        other.touched = set()
        return other

    def add(self, address: int, data: bytes) -> bool:
        """Notes bytes unless one of them is known with another value; False if one is."""
        page, within = divmod(address, _PAGE)
        end = within + len(data)
        if end > _PAGE:
            if self._conflict(address, data):
                return False
            self.put(address, data)
            return True
        # A recording has many thousand pieces, nearly all of them short and new.
        known = self._pages.get(page)
        if known is not None and 1 in known[1][within:end]:
            if known[0][within:end] != data and self._conflict(address, data):
                return False
            if 0 not in known[1][within:end]:
                return True
        values, mask = self._page(page)
        values[within:end] = data
        mask[within:end] = b"\1" * len(data)
        return True

    def put(self, address: int, data: bytes) -> None:
        """Notes bytes, over what was known there."""
        for page, within, piece in _split(address, data):
            values, mask = self._page(page)
            values[within : within + len(piece)] = piece
            mask[within : within + len(piece)] = b"\1" * len(piece)

    def fill(self, address: int, data: bytes) -> None:
        """Notes those bytes of which nothing is known."""
        for page, within, piece in _split(address, data):
            values, mask = self._page(page)
            end = within + len(piece)
            if 1 not in mask[within:end]:
                values[within:end] = piece
            elif 0 in mask[within:end]:
                for at, byte in enumerate(piece, within):
                    if not mask[at]:
                        values[at] = byte
            mask[within:end] = b"\1" * len(piece)

    def _page(self, page: int) -> tuple[bytearray, bytearray]:
        """A page to be changed."""
        self.touched.add(page)
        known = self._pages.get(page)
        if known is None or page not in self._own:
            values, mask = known or (bytes(_PAGE), bytes(_PAGE))
            known = self._pages[page] = (bytearray(values), bytearray(mask))
            self._own.add(page)
        return known

    def _conflict(self, address: int, data: bytes) -> bool:
        for page, within, piece in _split(address, data):
            known = self._pages.get(page)
            if known is None:
                continue
            end = within + len(piece)
            values, mask = known[0][within:end], known[1][within:end]
            if values != piece and any(
                is_known and value != new for is_known, value, new in zip(mask, values, piece, strict=True)
            ):
                return True
        return False

    def runs(self, *, touched: bool = False) -> Iterable[tuple[int, bytes]]:
        """All known bytes as (address, bytes), ascending, touching ones together.

        ``touched``: only those in touched pages, and what they touch.
        """
        start, joined = 0, bytearray()
        for page in sorted(self._near(self.touched) if touched else self._pages):
            values, mask = self._pages[page]
            at = mask.find(1)
            while at >= 0:
                end = mask.find(0, at)
                end = _PAGE if end < 0 else end
                address = page * _PAGE + at
                if joined and address != start + len(joined):
                    yield start, bytes(joined)
                    joined = bytearray()
                if not joined:
                    start = address
                joined += values[at:end]
                at = mask.find(1, end)
        if joined:
            yield start, bytes(joined)

    def _near(self, pages: Iterable[int]) -> set[int]:
        """Pages, and all that a run of known bytes joins with them."""
        near = set(pages)
        waiting = list(near)
        while waiting:
            page = waiting.pop()
            for low, other in ((page - 1, page - 1), (page, page + 1)):
                if other in near or low not in self._pages or low + 1 not in self._pages:
                    continue
                if self._pages[low][1][-1] and self._pages[low + 1][1][0]:
                    near.add(other)
                    waiting.append(other)
        return near


def _split(address: int, data: bytes) -> Iterable[tuple[int, int, bytes]]:
    at = 0
    while at < len(data):
        page, within = divmod(address + at, _PAGE)
        piece = data[at : at + _PAGE - within]
        yield page, within, piece
        at += len(piece)


class _Made(Sequence[T]):
    """A sequence whose items are made when they are asked for."""

    def _made(self, at: int) -> T:
        """The item at a place, from 0."""
        raise NotImplementedError

    @overload
    def __getitem__(self, index: int) -> T: ...
    @overload
    def __getitem__(self, index: slice) -> list[T]: ...
    def __getitem__(self, index: int | slice) -> T | list[T]:
        if isinstance(index, slice):
            return [self._made(at) for at in range(*index.indices(len(self)))]
        at = index + len(self) if index < 0 else index
        if not 0 <= at < len(self):
            raise IndexError(f"there is no moment {index}: there are {len(self)}")
        return self._made(at)


class ImageMoments(_Made[tuple[int, Image]]):
    """(TSC from which it holds, image), ascending. Images are kept as changes, and made when asked for."""

    def __init__(self) -> None:
        self.log = RawImageLog()

    def add(self, tsc: int, image: Image) -> None:
        """An image holds from a time on, in the place of one that was to hold from then."""
        self.log.push(tsc, image)

    def __len__(self) -> int:
        return len(self.log)

    def _made(self, at: int) -> tuple[int, Image]:
        image = Image()
        self.log.copy_to(at, image)
        return self.log.time(at), image

    def number_at(self, tsc: int) -> int:
        """The number of the image that holds at a time: the first one before all."""
        return max(self.number_behind(tsc) - 1, 0)

    def number_behind(self, tsc: int) -> int:
        """How many images began to hold at ``tsc`` or before."""
        return self.log.before(tsc + 1) if tsc + 1 < 1 << 64 else len(self)

    def number_before(self, tsc: int) -> int:
        """How many images began to hold before ``tsc``."""
        return self.log.before(tsc) if tsc < 1 << 64 else len(self)


class Moments(_Made[tuple[int, Image, int]]):
    """Memory of threads that ran one after the other: (TSC from which it holds, image, number of the thread).

    ``regions`` are (TSC from which a thread runs, its number, the images of its process, the TSC at which the
    next one runs).
    """

    def __init__(self, regions: Iterable[tuple[int, int, ImageMoments, int]]) -> None:
        parts = []
        for tsc, owner, images, end in regions:
            first = images.number_at(tsc)
            parts.append((tsc, owner, images.log, first, max(images.number_before(end), first + 1)))
        self.timeline = RawTimeline(parts)

    def __len__(self) -> int:
        return len(self.timeline)

    def _made(self, at: int) -> tuple[int, Image, int]:
        image = Image()
        tsc, owner = self.timeline.copy_to(at, image)
        return tsc, image, owner

    def region(self, moment: int) -> tuple[int, int]:
        """(TSC from which it holds, number of its region) of a moment."""
        return self.timeline.moment(moment)


class _Start(NamedTuple):
    """With what a program begins: memory, and the executed bytes in it, as an image and for comparing."""

    image: Image
    executed: Image
    code: CodeBytes


#: What processes have of their parents, by what those held and how often the kernel's memory had changed.
Starts = dict[tuple["Inherited", int], _Start]


class _Program(NamedTuple):
    """The changes from the time on at which a process begins to run a program, or was forked."""

    start: int
    inherited: Inherited | None
    changes: list[tuple[int | None, list[Change]]]


class _Builder:
    """Applies changes to an image.

    Executed bytes that never changed at their address belong to the image from the start, so that a
    new version is made only where code was really replaced (and every version costs learning anew).
    """

    def __init__(
        self, recording: RecordingFile, starts: Starts, uses: Callable[[CodeSource], bool] | None
    ) -> None:
        self._recording = recording
        self._starts = starts
        self._uses = uses
        self._kernel_changes = 0
        self._executed = Image()
        self.image = recording.new_image(uses)

    def begin(self, program: _Program) -> CodeBytes:
        """A program begins: only kernel memory stays. Returns the executed bytes that it has."""
        changes_before = self._kernel_changes
        for _, group in program.changes:
            self._kernel_changes += sum(
                change.mapping is not None and change.mapping.pid == _KERNEL_PID for change in group
            )
        if program.inherited is None:
            if len(self.image._sections()) or program.start:
                self.image._clear(0, _USER_END)
            self._executed = Image()
            return CodeBytes()
        key = (program.inherited, changes_before)
        start = self._starts.get(key)
        if start is None:
            start = self._starts[key] = self._inherit(program.inherited)
        self.image, self._executed = start.image.snapshot(), start.executed.snapshot()
        return start.code.child()

    def _inherit(self, inherited: Inherited) -> _Start:
        code, executed = CodeBytes(), Image()
        self.image._clear(0, _USER_END)
        for mapping in inherited.mappings:
            if mapping.code is None:
                self._recording.fill(self.image, [mapping], uses=self._uses)
            else:
                code.put(mapping.address, mapping.code)
        for address, data in code.runs():
            executed.add_bytes(data, address, name="executed")
        self.image._overlay(executed, 0, _ALL)
        return _Start(self.image.snapshot(), executed, code)

    def add(self, mapping: Mapping) -> None:
        """A mapping lies over what was there."""
        self._recording.fill(self.image, [mapping], uses=self._uses)
        if mapping.code is None:
            self.image._overlay(self._executed, mapping.address, mapping.end - 1)
        else:
            self._executed.add_bytes(mapping.code, mapping.address, name="executed")

    def remove(self, hole: Mapping) -> None:
        """Nothing lies in a range any more."""
        self.image._clear(hole.address, hole.end - 1)
        self.image._overlay(self._executed, hole.address, hole.end - 1)

    def keep(self, code: CodeBytes) -> None:
        """Executed bytes lie over files, also over those that are mapped later.

        A file is noted as mapped when its code is met first: what replaced other code at that moment stays.
        """
        for address, data in code.runs(touched=True):
            self._executed.add_bytes(data, address, name="executed")
            self.image.add_bytes(data, address, name="executed")

    def snapshot(self) -> Image:
        """The image as it is now, under the one the user gave."""
        return self._recording.with_user_image(self.image.snapshot())


def image_moments(
    recording: RecordingFile,
    pid: int,
    starts: Starts | None = None,
    *,
    uses: Callable[[CodeSource], bool] | None = None,
) -> ImageMoments:
    """(tsc, image) pairs, ascending; the first holds from TSC 0. ``uses`` as for ``RecordingFile.fill``.

    ``starts`` keeps what children have of their parents, for other processes with the same ``uses``.
    """
    moments = ImageMoments()
    builder = _Builder(recording, {} if starts is None else starts, uses)
    for program in _programs(recording.image_timeline(pid, whole=False)):
        start = program.start
        later: list[tuple[int, list[Change]]] = []
        code = builder.begin(program)
        # What lies there now, once some code was replaced.
        replaced: CodeBytes | None = None
        for tsc, group in program.changes:
            left = []
            for change in group:
                mapping = change.mapping
                if mapping is None:
                    continue
                if change.kind == "add" and mapping.code is not None:
                    now = code if replaced is None else replaced
                    if now.add(mapping.address, mapping.code):
                        if replaced is not None:
                            # What was replaced before keeps its first bytes from the start.
                            code.fill(mapping.address, mapping.code)
                        continue
                    replaced = code.copy() if replaced is None else replaced
                    replaced.put(mapping.address, mapping.code)
                left.append(change)
            if left:
                later.append((start if tsc is None else max(tsc, start), left))
        applied_at = start
        for tsc, group in [*later, (1 << 64, [])]:
            if tsc > applied_at:
                _note(moments, applied_at, builder, code if applied_at == start else None)
                applied_at = tsc
            for change in group:
                if change.mapping is None:
                    continue
                if change.kind == "add":
                    builder.add(change.mapping)
                elif change.kind == "remove":
                    builder.remove(change.mapping)
        if applied_at == start:
            _note(moments, applied_at, builder, code)
    if not moments:
        moments.add(0, recording.user_image or Image())
    return moments


def _note(moments: ImageMoments, tsc: int, builder: _Builder, code: CodeBytes | None) -> None:
    if code is not None:
        builder.keep(code)
    moments.add(tsc, builder.snapshot())


def _programs(entries: list[tuple[int | None, list[Change]]]) -> list[_Program]:
    """Splits a timeline where a process begins to run another program, or was forked."""
    programs = [_Program(0, None, [])]
    for tsc, changes in entries:
        rest: list[Change] = []
        for change in changes:
            if change.kind in ("clear", "inherit"):
                if rest:
                    programs[-1].changes.append((tsc, rest))
                    rest = []
                programs.append(_Program(tsc or 0, change.inherited, []))
            else:
                rest.append(change)
        if rest:
            programs[-1].changes.append((tsc, rest))
    return programs
