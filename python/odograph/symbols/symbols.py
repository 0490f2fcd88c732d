"""The modules of a process and the names in them."""

from __future__ import annotations

import difflib
import os
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

from odograph.recording import elf
from odograph.recording.binaries import CodeSource, Missing
from odograph.recording.processmemory import Mapping
from odograph.symbols.bodies import bodies_of_file
from odograph.symbols.intervals import Layers
from odograph.symbols.landing import landings_of_file
from odograph.symbols.lines import Lines, Source
from odograph.symbols.perfmap import PerfMap, find_perf_map
from odograph.symbols.place import Function, Place, UnknownSymbol
from odograph.symbols.table import SymbolTable, table_of_bytes, table_of_file

if TYPE_CHECKING:
    import numpy as np

    from odograph.image import Image
    from odograph.recording.recording import Recording
    from odograph.symbols.intervals import Addresses, Numbers

__all__ = ["MemoryModule", "Module", "Symbols"]

_TOP = 1 << 64
_PAGE = 4096


def _page(offset: int) -> int:
    return offset - offset % _PAGE


@dataclass(frozen=True)
class Module:
    """A mapped part of a file.

    ``path`` is where the file is found on this machine, None if it is not; ``address`` to ``end`` (not
    included) where it lies in memory; ``offset`` where the part begins in the file.
    """

    name: str
    address: int
    end: int
    offset: int = 0
    path: str | None = None

    @cached_property
    def bias(self) -> int:
        """What loading added to the addresses of the file. Of files that are not ELF: to file offsets."""
        here = [
            segment
            for segment in (elf.segments(self.path) if self.path is not None else None) or ()
            if _page(segment.offset) <= self.offset < segment.offset + segment.file_size
        ]
        # The page of a file in which one segment ends and the next begins is mapped for both.
        for segment in sorted(here, key=self._likeness, reverse=True):
            return self.address - (segment.address + self.offset - segment.offset)
        return self.address - self.offset

    def _likeness(self, segment: elf.Segment) -> tuple[bool, bool, bool]:
        """How much this looks like the mapping of a segment."""
        first = _page(segment.offset)
        whole = _page(segment.offset + segment.file_size + _PAGE - 1) - first
        return first == self.offset, whole == self.end - self.address, bool(segment.flags & elf.PF_X)

    @cached_property
    def table(self) -> SymbolTable:
        """The symbols of the file; read when first asked for."""
        return SymbolTable(()) if self.path is None else table_of_file(self.path)


@dataclass(frozen=True)
class MemoryModule(Module):
    """An ELF file that lies in memory as a whole and is no file, such as the vdso; ``image`` is its bytes."""

    image: bytes = field(default=b"", repr=False)

    @cached_property
    def bias(self) -> int:
        """What loading added to the addresses of the file."""
        for segment in elf.program_headers_of(self.image) or ():
            if segment.kind == elf.PT_LOAD:
                return self.address - (segment.address - segment.offset)
        return self.address

    @cached_property
    def table(self) -> SymbolTable:
        """The symbols of the file; read when first asked for."""
        return table_of_bytes(self.image)


class Symbols:
    """Names for the addresses of one process.

    ``modules`` may lie over each other; the later one counts. ``perf_map`` names what lies in no file.
    """

    def __init__(self, modules: Iterable[Module] = (), perf_map: PerfMap | None = None) -> None:
        self.modules = list(modules)
        self._perf_map = perf_map or []

    @classmethod
    def of_recording(cls, recording: Recording, pid: int) -> Symbols:
        """The modules that a process of a recording had mapped at any time.

        Processes that mapped nothing but what they have of one parent have the same object.
        """
        evidence = recording.binaries.evidence
        found = find_perf_map(pid, recording.path, began=evidence.began, finished=evidence.finished)
        if found.refused is not None:
            hint = "to use it, copy it beside the recording"
            missing = Missing(Mapping(0, 0, filename=found.path, pid=pid), found.refused, hint)
            recording.binaries.refused.setdefault(found.path, missing)
        is_own = bool(found.entries) or recording.user_image is not None
        inherited = None if is_own else recording.only_inherited(pid)
        if inherited is not None and isinstance(inherited.symbols, cls):
            return inherited.symbols
        modules = [module for _, program in cls.of_programs(recording, pid) for module in program.modules]
        symbols = cls(dict.fromkeys(modules), found.entries)
        if inherited is not None:
            inherited.symbols = symbols
        return symbols

    @classmethod
    def of_programs(cls, recording: Recording, pid: int) -> list[tuple[int, Symbols]]:
        """(TSC from which it holds, symbols) of each program that a process ran, one after the other."""
        programs: list[tuple[int, dict[Module, None]]] = [(0, {})]
        for tsc, changes in recording.image_timeline(pid, whole=False):
            for change in changes:
                mapping = change.mapping
                if change.kind == "clear" and programs[-1][1]:
                    programs.append((tsc or 0, {}))
                found: list[Module] = []
                if change.inherited is not None:
                    # Children have the same object, so this is found out once for all of them.
                    if change.inherited.modules is None:
                        files = [one for one in change.inherited.mappings if one.code is None]
                        change.inherited.modules = [_module_of(recording, one) for one in files]
                    found = change.inherited.modules
                elif change.kind == "add" and mapping is not None and mapping.code is None:
                    found = [_module_of(recording, mapping)]
                for module in found:
                    programs[-1][1].pop(module, None)
                    programs[-1][1][module] = None
        given = [] if recording.user_image is None else cls.of_image(recording.user_image).modules
        return [(tsc, cls([*modules, *given])) for tsc, modules in programs]

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

    def is_entry(self, address: int) -> bool:
        """Whether a program, or the dynamic linker, begins there."""
        here = (module for module in reversed(self.modules) if module.address <= address < module.end)
        module = next(here, None)
        found = elf.entry(module.path) if module is not None and module.path is not None else None
        return found is not None and module is not None and (found + module.bias) % _TOP == address

    def name_of(self, address: int) -> Place | None:
        """What an address is called; None if it lies in no module and no perf map."""
        import numpy as np

        if not 0 <= address < _TOP:
            return None
        module = self.module_of(address)
        if module is None or module.path is None:
            one = np.array([address], dtype=np.uint64)
            entry = int(self._jit.find(one)[0])
            if entry >= 0:
                start, _, name = self._perf_map[entry]
                return Place(module.name if module is not None else "[jit]", name, address - start)
        if module is None:
            return None
        inside = (address - module.bias) % _TOP
        symbol = int(module.table.find(np.array([inside], dtype=np.uint64))[0])
        if symbol < 0:
            return Place(module.name, None, inside)
        return Place(module.name, module.table.names[symbol], inside - int(module.table.starts[symbol]))

    def module_of(self, address: int) -> Module | None:
        """The module that an address lies in."""
        import numpy as np

        if not 0 <= address < _TOP:
            return None
        where = int(self._layers.find(np.array([address], dtype=np.uint64))[0])
        return self.modules[where] if where >= 0 else None

    def source_of(self, address: int) -> Source | None:
        """Source line and inlined functions at an address; None where nothing is known.

        Of a return address ask for the address before it: the call stands there.
        """
        module = self.module_of(address)
        if module is None or module.path is None:
            return None
        return Lines.of_file(module.path).at((address - module.bias) % _TOP)

    def functions_of(
        self, addresses: np.ndarray[Any, Any], entries: np.ndarray[Any, Any] | None = None
    ) -> tuple[Numbers, list[Function]]:
        """For each address an index into the list of functions, which has each function once.

        ``entries`` are addresses that were called: they divide code that no symbol names.
        """
        import numpy as np

        addresses = np.ascontiguousarray(addresses, dtype=np.uint64)
        known = np.unique(np.ascontiguousarray(() if entries is None else entries, dtype=np.uint64))
        owner, symbol, start = self._locate(addresses)
        entry_owner, entry_symbol, _ = self._locate(known)
        # Entries without a name of their own divide what has no name, each in its own mapping.
        nameless = symbol < 0
        for index in np.unique(owner[nameless]).tolist():
            chosen = nameless & (owner == index)
            inside = known[(entry_owner == index) & (entry_symbol < 0)]
            first = self.modules[index].address if index >= 0 else 0
            starts = np.concatenate([np.array([first], dtype=np.uint64), inside])
            start[chosen] = starts[np.searchsorted(inside, addresses[chosen], side="right")]
        keys = np.stack([owner, symbol, start.view(np.int64)], axis=1)
        unique, inverse = np.unique(keys, axis=0, return_inverse=True)
        functions: list[Function] = []
        numbers: dict[Function, int] = {}
        order = []
        for index, name, address in unique.tolist():
            function = self._function(index, name, address % _TOP)
            if function not in numbers:
                numbers[function] = len(functions)
                functions.append(function)
            order.append(numbers[function])
        return np.array(order, dtype=np.int64)[inverse.reshape(-1)], functions

    def _locate(self, addresses: Addresses) -> tuple[Numbers, Numbers, Addresses]:
        """For each address the module, its symbol there (-1 = none of both), and where that starts."""
        import numpy as np

        owner = self._layers.find(addresses)
        symbol = np.full(len(addresses), -1, dtype=np.int64)
        start = np.zeros(len(addresses), dtype=np.uint64)
        for index in np.unique(owner).tolist():
            chosen = np.flatnonzero(owner == index)
            module = self.modules[index] if index >= 0 else None
            if module is None or module.path is None:
                found = self._jit.find(addresses[chosen])
                starts = np.array([entry[0] for entry in self._perf_map], dtype=np.uint64)
            else:
                bias = np.uint64(module.bias % _TOP)
                found = module.table.find(addresses[chosen] - bias)
                starts = module.table.starts + bias
            named = found >= 0
            symbol[chosen] = found
            start[chosen[named]] = starts[found[named]]
        return owner, symbol, start

    def _function(self, owner: int, symbol: int, address: int) -> Function:
        module = self.modules[owner] if owner >= 0 else None
        name = None
        if symbol >= 0:
            in_file = module is not None and module.path is not None
            name = module.table.names[symbol] if module and in_file else self._perf_map[symbol][2]
        if module is None:
            return Function("[jit]" if symbol >= 0 else "", name, address, address)
        return Function(module.name, name, address, (address - module.bias) % _TOP)

    def landings(self, addresses: Iterable[int]) -> tuple[list[int], list[int], list[tuple[int, int, int]]]:
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
            found, bias = landings_of_file(module.path), module.bias
            starts.update((start + bias) % _TOP for start in found.starts)
            starts.update((start + bias) % _TOP for start in module.table.starts.tolist())
            ends.add(module.end % _TOP)
            pads.update(
                ((pad + bias) % _TOP, (first + bias) % _TOP, (last + bias) % _TOP)
                for pad, first, last in found.pads
            )
        return sorted(starts), sorted(ends), sorted(pads)

    def bodies(self) -> list[tuple[int, int, int]]:
        """(start, end, start of the function that it is a part of) of all code that has symbols or unwind
        information. Stubs of calls to other files are no functions.
        """
        found: list[tuple[int, int, int]] = []
        for module in self.modules:
            if module.path is None:
                continue
            bias = module.bias
            for start, end, owner in bodies_of_file(module.path):
                here = (start + bias) % _TOP
                if module.address <= here < module.end:
                    found.append((here, min(here + end - start, module.end), (owner + bias) % _TOP))
        return found

    def names_of(self, addresses: np.ndarray[Any, Any]) -> list[str]:
        """``module!name+0x4`` for each address; an empty text where nothing is known."""
        import numpy as np

        unique, inverse = np.unique(np.ascontiguousarray(addresses, dtype=np.uint64), return_inverse=True)
        texts = [str(self.name_of(address) or "") for address in unique.tolist()]
        return [texts[index] for index in inverse.tolist()]

    def resolve(self, text: str) -> int:
        """The address that a name means.

        ``main``, ``libc.so.6!malloc``, ``main+4``, ``libc.so.6+0x1234`` (an address of the file) and
        ``0x401000`` are understood. A name in several modules means the first in the order they were
        mapped. Raises :class:`UnknownSymbol`, a KeyError, that names similar symbols.
        """
        address = self._resolve(text.strip())
        if address is None:
            raise UnknownSymbol(self._unknown(text))
        return address

    def _resolve(self, text: str) -> int | None:
        number = _number(text)
        if number is not None:
            return number if 0 <= number < _TOP else None
        found = self._find(text)
        if found is None and "+" in text:
            name, _, offset_text = text.rpartition("+")
            offset = _number(offset_text)
            if offset is not None:
                start = self._find(name.strip())
                if start is None:
                    start = next((m.bias for m in self.modules if m.name == name.strip()), None)
                found = None if start is None else (start + offset) % _TOP
        return found

    def _find(self, text: str) -> int | None:
        module_name, bang, name = text.partition("!")
        chosen = [module for module in self.modules if bang and module.name == module_name]
        if not chosen:
            chosen, name, module_name = self.modules, text, ""
        for module in chosen:
            start = module.table.address(name)
            if start is not None:
                return (start + module.bias) % _TOP
        if module_name in ("", "[jit]"):
            return next((start for start, _, known in reversed(self._perf_map) if known == name), None)
        return None

    def _unknown(self, text: str) -> str:
        name = text.rpartition("!")[2].rpartition("+")[0] or text.rpartition("!")[2]
        names = {known for module in self.modules for known in module.table.known_names()}
        if not names:
            return f"no symbol {text!r}: no module here has symbols; give an address such as 0x401000"
        lower = name.lower()
        similar = difflib.get_close_matches(name, names, n=3, cutoff=0.7) or sorted(
            (known for known in names if len(lower) > 2 and lower in known.lower()), key=len
        )
        hint = f"; similar: {', '.join(similar[:3])}" if similar else ""
        modules = list(dict.fromkeys(module.name for module in self.modules if len(module.table)))
        return f"no symbol {text!r} in {', '.join(modules[:8])}{hint}"


def _number(text: str) -> int | None:
    try:
        return int(text, 0)
    except ValueError:
        return None


def _module_of(recording: Recording, mapping: Mapping) -> Module:
    source = recording.resolve(mapping)
    return Module(
        name=os.path.basename(mapping.filename) or "[anonymous]",
        address=mapping.address,
        end=min(mapping.end, _TOP),
        offset=mapping.pgoff,
        path=source.path if isinstance(source, CodeSource) else None,
    )
