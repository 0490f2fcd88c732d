"""Which addresses a typed name means."""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from odograph.errors import AmbiguousName, UnknownSymbol
from odograph.symbols.lines import Lines

if TYPE_CHECKING:
    from odograph.symbols.modules import Module
    from odograph.symbols.perfmap import PerfMap

__all__ = ["Resolver", "number_of"]

_TOP = 1 << 64
#: ``file.c:37``, and no C++ name.
_LINE = re.compile(r"(?P<file>.*[^:\s]):(?P<line>\d+)")
_MOST_LISTED = 8


class Resolver:
    """Finds names in the modules of one process, and in its perf map.

    ``module_of`` gives the module on top at an address.
    """

    def __init__(
        self, modules: Iterable[Module], perf_map: PerfMap, module_of: Callable[[int], Module | None]
    ) -> None:
        self._parts = list(modules)
        # A file is mapped in parts, and each part would give the same.
        parts = {(one.name, one.path, one.bias): one for one in reversed(self._parts)}
        copies: dict[object, list[Module]] = {}
        for one in reversed(parts.values()):
            # The parts of a file that is not at hand can only be told apart by where they begin in it.
            part = one.offset if one.path is None else None
            copies.setdefault((one.name, one.path, part), []).append(one)
        # Of a file that was loaded at several addresses, the first copy, with all of them.
        self._copies = {id(same[0]): same for same in copies.values()}
        self._modules = [same[0] for same in copies.values()]
        self._perf_map = perf_map
        self._module_of = module_of

    def addresses(self, text: str) -> list[int]:
        """The addresses that a text means, ascending: see :meth:`Symbols.addresses`."""
        text = text.strip()
        number = number_of(text)
        if number is not None:
            found = [number] if 0 <= number < _TOP else []
        else:
            found = self._find(text) or self._behind(text)
        if not found:
            raise UnknownSymbol(self._unknown(text))
        return found

    def _behind(self, text: str) -> list[int]:
        """The addresses of ``name+0x4``, and of ``module+0x1234``, which is an address of a file.

        What may be both is refused, and so is what lies behind the end of a function.
        """
        name, plus, offset_text = text.rpartition("+")
        offset = number_of(offset_text)
        if not plus or offset is None:
            return []
        name = name.strip()
        files = self._of_files(name, offset)
        try:
            starts = self._find(name) or self._behind(name)
        except AmbiguousName as error:
            if not files:
                raise
            raise AmbiguousName(f"{error}, or {_of_file(name, offset, files)}") from None
        inside = [start for start in starts if self._is_inside(start, offset)]
        if inside and files:
            places = [(start + offset) % _TOP for start in inside]
            owner = self._module_of(inside[0])
            full = f"{owner.name}!{name}" if owner is not None else name
            raise AmbiguousName(
                f"{text!r} may be {full}+{offset:#x} ({_hex(places)}), or {_of_file(name, offset, files)}"
            )
        if starts and not inside and not files:
            raise UnknownSymbol(f"{text!r} lies behind the end of the function{self._size_of(starts[0])}")
        return files or [(start + offset) % _TOP for start in inside]

    def _of_files(self, name: str, offset: int) -> list[int]:
        """Where an address of the files of this name lies in memory; none where they have no such address."""
        found: dict[str | None, list[int]] = {}
        for module in self._modules:
            if module.name == name and self._has(module, offset):
                found.setdefault(module.path, []).extend(self._loaded(module, [offset]))
        if len(found) > 1:
            listed = [f"{path or 'a file that is not at hand'} ({_hex(at)})" for path, at in found.items()]
            raise AmbiguousName(
                f"{name}+{offset:#x} may be in any of: {'; '.join(listed)}; give the address in memory"
            )
        return sorted({at for places in found.values() for at in places})

    def _has(self, module: Module, address: int) -> bool:
        """Whether a file has an address: some part of it was mapped there, or is to be."""
        key = (module.name, module.path)
        if any(
            one.address <= one.loaded(address) < one.end for one in self._parts if (one.name, one.path) == key
        ):
            return True
        loads = () if module.file is None else module.file.loads
        return any(0 <= address - segment.address < segment.memory_size for segment in loads)

    def _is_inside(self, start: int, offset: int) -> bool:
        """Whether so many bytes behind a place are still in its function, as far as that is known."""
        end = self._end_of(start)
        if end is None or 0 <= offset < end - start:
            return True
        # Of two names of one place, the other one may be longer.
        module = self._module_of(start)
        if module is None:
            return False
        here, there = (module.table.at(module.inside(at % _TOP)) for at in (start, start + offset))
        return here is not None and there is not None and here.start == there.start

    def _end_of(self, start: int) -> int | None:
        """Where the function ends that a place lies in; None if that is not known."""
        module = self._module_of(start)
        if module is None:
            return next((end for first, end, _ in reversed(self._perf_map) if first <= start < end), None)
        function = module.table.at(module.inside(start))
        return None if function is None else module.loaded(function.end)

    def _size_of(self, start: int) -> str:
        """A function and its size, for errors; "" if it has no name."""
        module = self._module_of(start)
        function = None if module is None else module.table.at(module.inside(start))
        if module is None or function is None or function.name is None:
            return ""
        first, size = module.loaded(function.start), function.end - function.start
        return f" {module.name}!{function.name}: from {first:#x} on it has {size:#x} bytes"

    def elsewhere(self, address: int) -> str | None:
        """See :meth:`Symbols.elsewhere`."""
        generated = any(start <= address < end for start, end, _ in self._perf_map)
        if self._module_of(address) is not None or generated:
            return None
        named: list[str] = []
        others: list[str] = []
        for module in self._modules:
            if module.bias and not module.name.startswith("[") and self._has(module, address):
                known = module.table.at(address) is not None
                (named if known else others).append(f"{module.name}+{address:#x}")
        # The program before its libraries.
        places = sorted(dict.fromkeys(named or others), key=lambda text: ".so" in text)
        if not places:
            return f"{address:#x} lies in no module"
        listed = " or ".join(places[:_MOST_LISTED])
        return f"{address:#x} lies in no module; for this address of a file write {listed}"

    def _loaded(self, module: Module, addresses: Iterable[int]) -> list[int]:
        """Where addresses of a file lie in memory: in each of its copies, one address after the other.

        Copies count only where they are not covered by what was mapped later, if there is any such place.
        """
        copies = self._copies[id(module)]
        found = []
        for address in addresses:
            places = [(one, one.loaded(address)) for one in copies]
            on_top = [at for one, at in places if self._is_on_top(one, at)] if len(copies) > 1 else []
            found += on_top or [at for _, at in places]
        return found

    def _is_on_top(self, module: Module, address: int) -> bool:
        here = self._module_of(address)
        return here is not None and (here.name, here.path, here.bias) == (
            module.name,
            module.path,
            module.bias,
        )

    def _find(self, text: str) -> list[int]:
        module_name, bang, name = text.partition("!")
        chosen = [module for module in self._modules if bang and module.name == module_name]
        if not chosen:
            chosen, name, module_name = self._modules, text, ""
        return (
            self._exact(chosen, name)
            or (self._jit(name) if module_name in ("", "[jit]") else [])
            or self._line(chosen, name)
            or self._shortened(chosen, name)
        )

    def _exact(self, modules: list[Module], name: str) -> list[int]:
        """Functions of this very name in the first module that has one, and where they were inlined."""
        for module in modules:
            starts = module.table.named(name)
            if starts:
                inlined = [
                    at for at, whole, is_inlined in module.table.code_of(name) if is_inlined and whole == name
                ]
                return self._loaded(module, (*starts, *sorted(set(inlined) - set(starts))))
        return []

    def _jit(self, name: str) -> list[int]:
        return next(([start] for start, _, known in reversed(self._perf_map) if known == name), [])

    def _line(self, modules: list[Module], text: str) -> list[int]:
        match = _LINE.fullmatch(text)
        best = None if match is None else _nearest(modules, match["file"], int(match["line"]))
        return [] if best is None else self._loaded(best[1], best[2])

    def line_taken(self, text: str) -> int | None:
        """The line that a text means, which may be behind the one that it says; None if it means no line."""
        text = text.strip()
        if _LINE.fullmatch(text) is None or number_of(text) is not None:
            return None
        module_name, bang, name = text.partition("!")
        chosen = [module for module in self._modules if bang and module.name == module_name]
        if not chosen:
            chosen, name = self._modules, text
        match = _LINE.fullmatch(name)
        if match is None or self._exact(chosen, name):
            return None
        best = _nearest(chosen, match["file"], int(match["line"]))
        return None if best is None else best[0]

    def _shortened(self, modules: list[Module], name: str) -> list[int]:
        """Functions meant without namespaces or parameters, and those that only debug information knows."""
        found: dict[str, list[int]] = {}
        for module in modules:
            of_symbols = module.table.matches(name)
            places = [(at, whole) for at, whole, _ in module.table.code_of(name)] + of_symbols
            # Debug information of C knows a function without parameters, and so does a symbol.
            for at, whole in sorted(set(places)):
                found.setdefault(whole, []).extend(self._loaded(module, [at]))
        if name in found:
            return sorted(set(found[name]))
        if len(found) > 1:
            names = sorted(found)
            more = f", and {len(names) - _MOST_LISTED} more" if len(names) > _MOST_LISTED else ""
            listed = "; ".join(names[:_MOST_LISTED])
            raise AmbiguousName(f"{name!r} may be any of: {listed}{more}; write the whole name")
        return sorted({at for places in found.values() for at in places})

    def _unknown(self, text: str) -> str:
        name = text.rpartition("!")[2].rpartition("+")[0] or text.rpartition("!")[2]
        match = _LINE.fullmatch(text)
        if match is not None:
            line = f"no code of line {match['line']} of {match['file']}, or of a later line, is known here"
            return line + self._missing()
        names = {known for module in self._modules for known in module.table.known_names()}
        if not names:
            none = f"no symbol {text!r}: no module here has symbols; give an address such as 0x401000"
            return none + self._missing()
        lower = name.lower()
        similar = difflib.get_close_matches(name, names, n=3, cutoff=0.7) or sorted(
            (known for known in names if len(lower) > 2 and lower in known.lower()), key=len
        )
        hint = f"; similar: {', '.join(similar[:3])}" if similar else ""
        modules = list(dict.fromkeys(one.name for one in self._modules if one.table.has_symbols))
        return f"no symbol {text!r} in {', '.join(modules[:8])}{hint}{self._missing()}"

    def _missing(self) -> str:
        """Which files are not at hand, if any: what was looked for may be in them."""
        names = list(
            dict.fromkeys(
                one.name
                for one in self._modules
                if one.path is None and not one.name.startswith("[") and one.file is None
            )
        )
        if not names:
            return ""
        more = f" and {len(names) - _MOST_LISTED} more" if len(names) > _MOST_LISTED else ""
        return f"; not found here: {', '.join(names[:_MOST_LISTED])}{more} (odograph info says what to do)"


def _nearest(modules: Iterable[Module], file: str, line: int) -> tuple[int, Module, list[int]] | None:
    """The line, or the next one that has code, in the first module that has any of it, and where in that."""
    best: tuple[int, Module, list[int]] | None = None
    for module in modules:
        if module.path is None:
            continue
        found = Lines.of_file(module.path).addresses_of(file, line)
        if found is not None and (best is None or found[0] < best[0]):
            best = (found[0], module, found[1])
    return best


def _hex(places: Iterable[int]) -> str:
    return ", ".join(f"{at:#x}" for at in places)


def _of_file(name: str, offset: int, places: list[int]) -> str:
    """How an address of a file is written where a function has the name of the file."""
    return f"the address {offset:#x} of the file {name}, which is to be written {_hex(places)}"


def number_of(text: str) -> int | None:
    """An address or an offset that was typed; None if the text is no number."""
    try:
        return int(text, 0)
    except ValueError:
        return None
