"""The names of a recorded process over time, from the files that it mapped.

Files that are mapped where none lay need no new epoch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from odograph.code.binaries import Missing
from odograph.code.mappings import Mapping
from odograph.symbols.epochs import Epoch
from odograph.symbols.modules import Module, module_of
from odograph.symbols.perfmap import PerfMap, find_perf_map
from odograph.symbols.symbols import Symbols

if TYPE_CHECKING:
    from odograph.recording.recordingfile import RecordingFile

__all__ = ["epochs_of"]


class _Layout:
    """The modules of one epoch."""

    def __init__(self, tsc: int, is_program: bool, modules: dict[Module, None]) -> None:
        self.tsc = tsc
        self.is_program = is_program
        self.modules = modules

    def covered_by(self, module: Module) -> list[Module]:
        """Parts of other files that lie where a module comes to lie."""
        return [
            one
            for one in self.modules
            if one.address < module.end
            and module.address < one.end
            and (one.name, one.path) != (module.name, module.path)
        ]


def epochs_of(recording: RecordingFile, pid: int) -> list[Epoch]:
    """Names of a process over time, ascending; there is always one.

    Processes that mapped nothing but what they have of one parent have the same object.
    """
    perf_map = _perf_map(recording, pid)
    is_own = bool(perf_map) or recording.user_image is not None
    inherited = None if is_own else recording.only_inherited(pid)
    if inherited is not None and inherited.symbols is not None:
        known: list[Epoch] = inherited.symbols
        return known
    given = [] if recording.user_image is None else Symbols.of_image(recording.user_image).modules
    epochs = [
        Epoch(layout.tsc, Symbols([*layout.modules, *given], perf_map), layout.is_program)
        for layout in _layouts(recording, pid)
    ]
    if inherited is not None:
        inherited.symbols = epochs
    return epochs


def _perf_map(recording: RecordingFile, pid: int) -> PerfMap:
    evidence = recording.binaries.evidence
    found = find_perf_map(pid, recording.path, began=evidence.began, finished=evidence.finished)
    if found.refused is not None:
        hint = "to use it, copy it beside the recording"
        missing = Missing(Mapping(0, 0, filename=found.path, pid=pid), found.refused, hint)
        recording.binaries.refused.setdefault(found.path, missing)
    return found.entries


def _layouts(recording: RecordingFile, pid: int) -> list[_Layout]:
    layouts = [_Layout(0, True, {})]
    for tsc, changes in recording.image_timeline(pid, whole=False):
        for change in changes:
            mapping = change.mapping
            if change.kind == "clear" and layouts[-1].modules:
                layouts.append(_Layout(tsc or 0, True, {}))
            if change.inherited is not None:
                # Children have the same object, so this is found out once for all of them.
                if change.inherited.modules is None:
                    change.inherited.modules = [
                        module_of(one, recording.resolve(one)) for one in change.inherited.mapped
                    ]
                layouts[-1].modules.update(dict.fromkeys(change.inherited.modules))
            elif change.kind == "add" and mapping is not None and mapping.code is None:
                _add(layouts, tsc or 0, module_of(mapping, recording.resolve(mapping)))
    return layouts


def _add(layouts: list[_Layout], tsc: int, module: Module) -> None:
    now = layouts[-1]
    covered = now.covered_by(module)
    if covered and tsc > now.tsc:
        # What is left of a file in whose place another one lies is not there either.
        gone = {(one.name, one.path, one.bias) for one in covered}
        rest = {one: None for one in now.modules if (one.name, one.path, one.bias) not in gone}
        layouts.append(_Layout(tsc, False, rest))
        now = layouts[-1]
    now.modules.pop(module, None)
    now.modules[module] = None
