"""The memory of a process over time, as images."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from odograph.image import Image

if TYPE_CHECKING:
    from odograph.recording.binaries import CodeSource
    from odograph.recording.processmemory import Change, Mapping
    from odograph.recording.recording import Recording

__all__ = ["CodeBytes", "image_moments"]

_PAGE = 4096


class CodeBytes:
    """Executed bytes by address, in pages, with a mask of the bytes that are known."""

    def __init__(self) -> None:
        self._pages: dict[int, tuple[bytearray, bytearray]] = {}

    def copy(self) -> CodeBytes:
        """The same bytes, to be changed apart from these."""
        other = CodeBytes()
        other._pages = {page: (values[:], mask[:]) for page, (values, mask) in self._pages.items()}
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
        values, mask = self._page(page)
        if 1 in mask[within:end]:
            if values[within:end] == data:
                mask[within:end] = b"\1" * len(data)
                return True
            if self._conflict(address, data):
                return False
        values[within:end] = data
        mask[within:end] = b"\1" * len(data)
        return True

    def put(self, address: int, data: bytes) -> None:
        """Notes bytes, over whatever was known there."""
        for page, within, piece in _split(address, data):
            values, mask = self._page(page)
            values[within : within + len(piece)] = piece
            mask[within : within + len(piece)] = b"\1" * len(piece)

    def fill(self, address: int, data: bytes) -> None:
        """Notes those bytes of which nothing is known."""
        for page, within, piece in _split(address, data):
            values, mask = self._page(page)
            for at, byte in enumerate(piece, within):
                if not mask[at]:
                    values[at], mask[at] = byte, 1

    def _page(self, page: int) -> tuple[bytearray, bytearray]:
        known = self._pages.get(page)
        if known is None:
            known = self._pages[page] = (bytearray(_PAGE), bytearray(_PAGE))
        return known

    def _conflict(self, address: int, data: bytes) -> bool:
        for page, within, piece in _split(address, data):
            values, mask = self._page(page)
            end = within + len(piece)
            if any(
                is_known and value != new
                for is_known, value, new in zip(mask[within:end], values[within:end], piece, strict=True)
            ):
                return True
        return False

    def runs(self) -> Iterable[tuple[int, bytes]]:
        """All known bytes as (address, bytes), ascending, touching ones together."""
        start, joined = 0, bytearray()
        for page in sorted(self._pages):
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


def _split(address: int, data: bytes) -> Iterable[tuple[int, int, bytes]]:
    at = 0
    while at < len(data):
        page, within = divmod(address + at, _PAGE)
        piece = data[at : at + _PAGE - within]
        yield page, within, piece
        at += len(piece)


class _Builder:
    """Applies changes to an image.

    Executed bytes that never changed at their address belong to the image from the start, so that a
    new version is made only where code was really replaced (and every version costs learning anew).
    """

    def __init__(self, recording: Recording, uses: Callable[[CodeSource], bool] | None) -> None:
        self._recording = recording
        self._uses = uses
        self._mappings: list[Mapping] = []
        self._executed = CodeBytes()
        self._runs: list[tuple[int, bytes]] | None = None
        self.image = recording.new_image()

    def begin(self) -> None:
        """A program begins: only kernel memory stays."""
        self._mappings = [mapping for mapping in self._mappings if mapping.kernel]
        self._executed, self._runs = CodeBytes(), None
        self._rebuild()

    def _rebuild(self) -> None:
        self.image = self._recording.new_image()
        self._recording.fill(self.image, self._mappings, uses=self._uses)

    def add(self, mapping: Mapping) -> None:
        """A mapping lies over whatever was there."""
        self._mappings.append(mapping)
        self._recording.fill(self.image, [mapping], uses=self._uses)
        if mapping.code is None:
            self._overlay(mapping.address, mapping.end)
        else:
            self._executed.put(mapping.address, mapping.code)
            self._runs = None

    def remove(self, hole: Mapping) -> None:
        """Nothing lies in a range any more."""
        kept = []
        for mapping in self._mappings:
            if mapping.end <= hole.address or mapping.address >= hole.end:
                kept.append(mapping)
                continue
            if mapping.address < hole.address:
                kept.append(mapping.part(mapping.address, hole.address))
            if mapping.end > hole.end:
                kept.append(mapping.part(hole.end, mapping.end))
        self._mappings = kept
        self._rebuild()
        self._overlay(0, 1 << 64)

    def keep(self, code: CodeBytes) -> None:
        """Executed bytes lie over files, also over those that are mapped later.

        A file is noted as mapped when its code is met first: what replaced other code at that moment stays.
        """
        self._executed, self._runs = code.copy(), None
        self._overlay(0, 1 << 64)

    def _overlay(self, start: int, end: int) -> None:
        if self._runs is None:
            self._runs = list(self._executed.runs())
        for address, data in self._runs:
            if address < end and address + len(data) > start:
                self.image.add_bytes(data, address, name="executed")

    def snapshot(self) -> Image:
        """The image as it is now, under the one the user gave."""
        copy = Image()
        copy.copy_from(self.image)
        return self._recording.with_user_image(copy)


def image_moments(
    recording: Recording, pid: int, *, uses: Callable[[CodeSource], bool] | None = None
) -> list[tuple[int, Image]]:
    """(tsc, image) pairs, ascending; the first holds from TSC 0. ``uses`` as for ``Recording.fill``."""
    entries = recording.image_timeline(pid)
    programs = _programs(entries)
    moments: list[tuple[int, Image]] = []
    builder = _Builder(recording, uses)
    for start, changes in programs:
        code = CodeBytes()
        later: list[tuple[int, list[Change]]] = []
        builder.begin()
        # What lies there now, once some code was replaced.
        replaced: CodeBytes | None = None
        for tsc, group in changes:
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
    return moments or [(0, recording.user_image or Image())]


def _note(moments: list[tuple[int, Image]], tsc: int, builder: _Builder, code: CodeBytes | None) -> None:
    if code is not None:
        builder.keep(code)
    image = builder.snapshot()
    if moments and moments[-1][0] == tsc:
        moments[-1] = (tsc, image)
    else:
        moments.append((tsc, image))


def _programs(
    entries: list[tuple[int | None, list[Change]]],
) -> list[tuple[int, list[tuple[int | None, list[Change]]]]]:
    """Splits a timeline where a process begins to run another program: (start, changes) each."""
    programs: list[tuple[int, list[tuple[int | None, list[Change]]]]] = [(0, [])]
    for tsc, changes in entries:
        rest: list[Change] = []
        for change in changes:
            if change.kind == "clear":
                if rest:
                    programs[-1][1].append((tsc, rest))
                    rest = []
                programs.append((tsc or 0, []))
            else:
                rest.append(change)
        if rest:
            programs[-1][1].append((tsc, rest))
    return programs
