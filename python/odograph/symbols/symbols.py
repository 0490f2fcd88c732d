"""The one namer: what the addresses of a process are called."""

from __future__ import annotations

import os
from bisect import bisect_right
from collections.abc import Iterable
from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

from odograph.frame import Frame
from odograph.symbols.intervals import Layers
from odograph.symbols.lines import Lines, Source
from odograph.symbols.modules import MemoryModule, Module
from odograph.symbols.perfmap import PerfMap
from odograph.symbols.place import Function, KnownFunction, Name, Place, UnknownSymbol
from odograph.symbols.resolving import Resolver
from odograph.symbols.table import unwind_tables_of
from odograph.text.counted import counted

if TYPE_CHECKING:
    import numpy as np

    from odograph.code.image import Image
    from odograph.symbols.intervals import Addresses, Numbers

__all__ = ["Symbols"]

_TOP = 1 << 64
#: Addresses whose names are kept.
_KEPT = 1 << 16
_NOTHING = Name()


class Symbols:
    """Names for the addresses of one process, as long as it has the same files mapped.

    ``modules`` may lie over each other; the later one counts. ``perf_map`` names what lies in no file.

    Example::

        >>> symbols = odograph.open("tests/corpus/static.qemu.data").symbols()
        >>> symbols
        <Symbols: 1 module>
    """

    def __init__(self, modules: Iterable[Module] = (), perf_map: PerfMap | None = None) -> None:
        self.modules = list(modules)
        self._perf_map = perf_map or []
        self._places: dict[int, Place | None] = {}
        self._names: dict[int, Name] = {}

    @classmethod
    def of_image(cls, image: Image) -> Symbols:
        """The sections of an image."""
        modules = []
        for section in image.sections:
            name = section.filename or ""
            modules.append(
                Module(
                    name=os.path.basename(name) or "[anonymous]",
                    address=section.vaddr,
                    end=section.vaddr + section.size,
                    offset=section.offset,
                    path=name if os.path.isfile(name) else None,
                )
            )
        return cls(modules)

    @cached_property
    def _layers(self) -> Layers:
        return Layers([(module.address, module.end) for module in self.modules])

    @cached_property
    def _jit(self) -> Layers:
        return Layers([(start, end) for start, end, _ in self._perf_map])

    @cached_property
    def _resolver(self) -> Resolver:
        return Resolver(self.modules, self._perf_map, self.module_of)

    def is_entry(self, address: int) -> bool:
        """Whether a program, or the dynamic linker, begins there."""
        module = self.module_of(address)
        file = None if module is None else module.file
        return (
            module is not None
            and file is not None
            and file.entry != 0
            and module.loaded(file.entry) == address
        )

    def module_of(self, address: int) -> Module | None:
        """The module that an address lies in."""
        where = self._layers.at(address)
        return self.modules[where] if where >= 0 else None

    def name_of(self, address: int) -> Place | None:
        """The function that an address lies in; None if it lies in no module and no perf map."""
        if not 0 <= address < _TOP:
            return None
        if address not in self._places:
            if len(self._places) >= _KEPT:
                self._places.clear()
            self._places[address] = self._place(address)
        return self._places[address]

    def _place(self, address: int) -> Place | None:
        module = self.module_of(address)
        if module is None or not _has_table(module):
            entry = self._jit.at(address)
            if entry >= 0:
                start, _, name = self._perf_map[entry]
                where = module.name if module is not None else "[jit]"
                return Place(where, name, address - start, start, "perf map")
        if module is None:
            return None
        inside = module.inside(address)
        function = module.table.at(inside) if _has_table(module) else None
        if function is None:
            return Place(module.name, None, inside)
        return Place(module.name, function.name, inside - function.start, function.start, function.known_by)

    def describe(self, address: int) -> Name:
        """Function, offset, module, source line and inlined functions at an address.

        Of a return address ask for the address before it: the call stands there.
        """
        known = self._names.get(address)
        if known is None:
            if len(self._names) >= _KEPT:
                self._names.clear()
            known = self._names[address] = self._describe(address)
        return known

    def _describe(self, address: int) -> Name:
        place = self.name_of(address)
        if place is None:
            return _NOTHING
        offset = place.offset if place.function is not None else 0
        name = Name(place.function, offset, place.module, known_by=place.known_by)
        source = self.source_of(address)
        if source is None:
            return name
        return name._replace(file=source.file, line=source.line, inlined=source.inlined)

    def name_frame(self, frame: Frame) -> Frame:
        """The same frame with names."""
        name = self.describe(frame.lookup_address)
        offset = name.offset + frame.address - frame.lookup_address if name.function is not None else 0
        return replace(
            frame,
            function=name.function,
            offset=offset,
            module=name.module,
            file=name.file,
            line=name.line,
            inlined=name.inlined,
            known_by=name.known_by,
        )

    def source_of(self, address: int) -> Source | None:
        """Source line and inlined functions at an address; None where nothing is known.

        Of a return address ask for the address before it: the call stands there.
        """
        module = self.module_of(address)
        if module is None or module.path is None:
            return None
        return Lines.of_file(module.path).at(module.inside(address))

    def functions(self) -> list[KnownFunction]:
        """All functions of all modules that symbols or call frame information know, ascending."""
        found = []
        seen = set()
        for module in self.modules:
            key = (module.path, module.bias)
            if key in seen or not _has_table(module):
                continue
            seen.add(key)
            for one in module.table.functions():
                start = module.loaded(one.start)
                here = self.module_of(start)
                if here is not None and (here.path, here.bias) == key:
                    found.append(KnownFunction(one.name, start, one.end - one.start, here.name, one.known_by))
        found.sort(key=lambda function: (function.start, function.size))
        return found

    def extents(self, functions: Iterable[str | int], modules: Iterable[str]) -> list[tuple[int, int]]:
        """Where the code of functions and modules lies: (first, last) address each.

        A function is given by what :meth:`addresses` takes, or by an address in it; of one whose size is not
        known only that address counts. A module is given by its name. Raises KeyError for unknown names.
        """
        found: list[tuple[int, int]] = []
        known = self.functions()
        starts = [one.start for one in known]
        for function in functions:
            for address in (function,) if isinstance(function, int) else self.addresses(function):
                at = bisect_right(starts, address) - 1
                here = known[at] if at >= 0 else None
                if here is not None and address < here.start + here.size:
                    found.append((here.start, here.start + here.size - 1))
                else:
                    found.append((address, address))
        for name in modules:
            places = [(one.address, one.end - 1) for one in self.modules if one.name == name]
            if not places:
                names = ", ".join(sorted({one.name for one in self.modules})[:20])
                raise UnknownSymbol(f"there is no module {name!r}; there are: {names}")
            found += places
        return found

    def functions_of(
        self, addresses: np.ndarray[Any, Any], entries: np.ndarray[Any, Any] | None = None
    ) -> tuple[Numbers, list[Function]]:
        """For each address an index into the list of functions, which has each function once.

        ``entries`` are addresses that were called: they divide code of which no function is known.
        """
        import numpy as np

        addresses = np.ascontiguousarray(addresses, dtype=np.uint64)
        known = np.unique(np.ascontiguousarray(() if entries is None else entries, dtype=np.uint64))
        owner, number, start = self._locate(addresses)
        nameless = number < 0
        if nameless.any():
            entry_owner, entry_number, _ = self._locate(known)
            # Entries without a function of their own divide what has none, each in its own mapping.
            for index in np.unique(owner[nameless]).tolist():
                chosen = nameless & (owner == index)
                inside = known[(entry_owner == index) & (entry_number < 0)]
                start[chosen] = self._divide(index, addresses[chosen], inside)
        keys = np.stack([owner, number, start.view(np.int64)], axis=1)
        unique, inverse = np.unique(keys, axis=0, return_inverse=True)
        functions: list[Function] = []
        numbers: dict[Function, int] = {}
        order = []
        for index, its_number, address in unique.tolist():
            function = self._function(index, its_number, address % _TOP)
            if function not in numbers:
                numbers[function] = len(functions)
                functions.append(function)
            order.append(numbers[function])
        return np.array(order, dtype=np.int64)[inverse.reshape(-1)], functions

    def _divide(self, index: int, addresses: Addresses, entries: Addresses) -> Addresses:
        """Where the code begins that addresses without a function belong to: at the last of the entries
        before them, or where the module or the code behind the last known function begins.
        """
        import numpy as np

        module = self.modules[index] if index >= 0 else None
        first = 0 if module is None else module.address
        borders = np.concatenate([np.array([first], dtype=np.uint64), entries])
        starts: Addresses = borders[np.searchsorted(entries, addresses, side="right")]
        if module is not None and _has_table(module) and len(module.table.entries):
            known = module.table.entries + np.uint64(module.bias % _TOP)
            before = np.searchsorted(known, addresses, side="right")
            for at in np.flatnonzero((before > 0) & (known[np.maximum(before, 1) - 1] > starts)).tolist():
                function = module.table.at(module.inside(int(known[before[at] - 1])))
                if function is not None:
                    starts[at] = module.loaded(function.end)
        return starts

    def _locate(self, addresses: Addresses) -> tuple[Numbers, Numbers, Addresses]:
        """For each address the module, its function there (-1 = none of both), and where that starts."""
        import numpy as np

        owner = self._layers.find(addresses)
        number = np.full(len(addresses), -1, dtype=np.int64)
        start = np.zeros(len(addresses), dtype=np.uint64)
        for index in np.unique(owner).tolist():
            chosen = np.flatnonzero(owner == index)
            module = self.modules[index] if index >= 0 else None
            if module is None or not _has_table(module):
                found = self._jit.find(addresses[chosen])
                jit_starts = np.array([entry[0] for entry in self._perf_map] or [0], dtype=np.uint64)
                starts = jit_starts[np.maximum(found, 0)]
            else:
                bias = np.uint64(module.bias % _TOP)
                found, starts = module.table.find(addresses[chosen] - bias)
                starts = starts + bias
            named = found >= 0
            number[chosen] = found
            start[chosen[named]] = starts[named]
        return owner, number, start

    def _function(self, owner: int, number: int, address: int) -> Function:
        module = self.modules[owner] if owner >= 0 else None
        name = None
        if number >= 0:
            in_file = module is not None and _has_table(module)
            name = module.table.function(number).name if module and in_file else self._perf_map[number][2]
        if module is None:
            return Function("[jit]" if number >= 0 else "", name, address, address)
        return Function(module.name, name, address, module.inside(address))

    def unwind_tables(
        self, addresses: Iterable[int]
    ) -> tuple[list[int], list[int], list[tuple[int, int, int]]]:
        """Of the modules in which addresses lie: where their functions begin, where the modules end, and
        (landing pad, first, last) of the calls whose exceptions land there; the last address not included.
        """
        import numpy as np

        owners = self._layers.find(np.array(sorted(addresses), dtype=np.uint64))
        starts: set[int] = set()
        ends: set[int] = set()
        pads: set[tuple[int, int, int]] = set()
        for index in np.unique(owners[owners >= 0]).tolist():
            module = self.modules[index]
            if module.path is None:
                continue
            found = unwind_tables_of(module.path)
            starts.update(map(module.loaded, found.starts))
            starts.update(map(module.loaded, module.table.entries.tolist()))
            ends.add(module.end % _TOP)
            pads.update(
                (module.loaded(pad), module.loaded(first), module.loaded(last))
                for pad, first, last in found.pads
            )
        return sorted(starts), sorted(ends), sorted(pads)

    def bodies(self) -> bytes:
        """Of all code that symbols or call frame information know, rows: begin, end (not included), where the
        function begins that it is a part of, and whether something begins there (0 or 1), as uint64 in the
        order of this machine.

        Stubs of calls to other files are left out.
        """
        import numpy as np

        found = []
        for module in self.modules:
            if not _has_table(module):
                continue
            rows = module.table.bodies.copy()
            rows[:, :3] += np.uint64(module.bias % _TOP)
            inside = (rows[:, 0] >= module.address) & (rows[:, 0] < module.end)
            rows = rows[inside]
            rows[:, 1] = np.minimum(rows[:, 1], module.end)
            found.append(rows)
        return b"".join(rows.tobytes() for rows in found)

    def mapped(self) -> list[tuple[int, int]]:
        """Where modules lie: the first address of each, and the one behind."""
        return [(module.address, min(module.end, _TOP - 1)) for module in self.modules]

    def name_called(self, frame: Frame, start: int) -> Frame:
        """The same frame with the name of the function that begins at ``start`` in memory, of which nothing
        is known but that it was called: ``module+0xstart``, or in no module its address.
        """
        module = self.module_of(start)
        place = Place("" if module is None else module.name, None, 0, start, "call")
        if module is not None:
            place = replace(place, start=module.inside(start))
        function = place.function if module is not None else f"{start:#x}"
        return replace(frame, function=function, offset=frame.address - start, known_by=place.known_by)

    def names_of(self, addresses: np.ndarray[Any, Any]) -> list[str]:
        """``module!name+0x4`` for each address; an empty text where nothing is known."""
        import numpy as np

        unique, inverse = np.unique(np.ascontiguousarray(addresses, dtype=np.uint64), return_inverse=True)
        texts = [str(self.name_of(address) or "") for address in unique.tolist()]
        return [texts[index] for index in inverse.tolist()]

    def resolve(self, text: str) -> int:
        """The first of the :meth:`addresses` that a name means."""
        return self.addresses(text)[0]

    def addresses(self, text: str) -> list[int]:
        """The addresses that a name means; never none.

        Understood are

        * ``main``, ``libc.so.6!malloc``, ``main+4``: functions, their own code first, and where they were
          inlined. A name in several modules means the first in the order they were mapped. A module that
          was loaded at several addresses means all of them.
        * C++ and Rust names without parameters, namespaces or both, if only one function can be meant.
        * ``file.c:37``: where the code of a line begins, in each function that has any, or of the next line
          that has code: see :meth:`line_taken`. The file may have directories before it.
        * ``libc.so.6+0x1234`` (an address of the file), and ``0x401000``. What may as well be a function
          that is called like the file is ambiguous. A place behind the end of a function is unknown.

        Raises :class:`UnknownSymbol`, a KeyError, that names similar symbols, and :class:`AmbiguousName`, one
        too, that lists the functions that may be meant.
        """
        return self._resolver.addresses(text)

    def elsewhere(self, address: int) -> str | None:
        """A sentence for one who asked for an address that lies in no module and no perf map: that it does,
        and how it is written if it is the address of a file (``program+0x1189``). None if it lies in one.
        """
        return self._resolver.elsewhere(address)

    def line_taken(self, text: str) -> int | None:
        """The line that ``file.c:37`` means: 37, or the next one that has code. None for what is no line, or
        no known one.
        """
        return self._resolver.line_taken(text)

    def __repr__(self) -> str:
        return f"<Symbols: {counted(len(self.modules), 'module')}>"


def _has_table(module: Module) -> bool:
    return module.path is not None or isinstance(module, MemoryModule)
