"""Names change: a child keeps those of its parent, another program and another library bring their own."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import odograph
from odograph.history.history import History
from odograph.recorder import ptrace, qemu
from odograph.recorder.record import record
from odograph.recording.recording import Recording
from support.judgednames import build

pytestmark = [
    pytest.mark.skipif(qemu.unavailable() is not None, reason="no QEMU"),
    *(pytest.mark.skipif(shutil.which(tool) is None, reason=f"needs {tool}") for tool in ("gcc", "objcopy")),
]


@pytest.fixture(scope="module")
def paths(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("times")
    programs = build(folder)
    made = {}
    for number, name in enumerate(("forked and exec'd", "reloaded", "stripped")):
        program, arguments = programs[name]
        made[name] = folder / f"{number}.data"
        # Under QEMU libraries that are loaded again lie elsewhere.
        backend = "ptrace" if name == "reloaded" and ptrace.unavailable() is None else "qemu"
        record([str(program), *arguments], str(made[name]), backend=backend)
    return made


def asked(command: str, path: Path, *options: str) -> Any:
    words = [sys.executable, "-m", "odograph", command, str(path), *options, "--json"]
    return json.loads(subprocess.run(words, capture_output=True, text=True, check=True).stdout)


def names_of(history: History) -> set[str]:
    """All names that steps of a history have."""
    found = set()
    for span in history.spans:
        assert span.symbols is not None
        found |= {
            name.partition("+")[0] for name in span.symbols.names_of(history.ips(span.start, span.stop))
        }
    return found


def by_role(recording: Recording) -> dict[str, History]:
    histories = [recording.history(thread.tid) for thread in recording.threads]
    execs = [history for history in histories if sum(span.is_program for span in history.spans) > 1]
    (becomes_other,) = execs
    children = [one for one in histories[1:] if one is not becomes_other]
    return {"parent": histories[0], "child": children[0], "other": becomes_other}


def test_a_child_has_the_names_of_its_parent(paths: dict[str, Path]) -> None:
    child = by_role(odograph.open(paths["forked and exec'd"]))["child"]
    assert names_of(child) >= {"family!sum", "family!prepare", "family!main"}
    (step,) = child.find("prepare", limit=1).tolist()
    assert [frame.function for frame in child.stack(step)][:1] == ["prepare"]
    # The C library's names are those of its file, wherever the parent executed it.
    assert not any(name.startswith("(") or name == "" for name in names_of(child))


def test_names_before_an_exec_are_the_old_programs_and_after_it_the_new_ones(paths: dict[str, Path]) -> None:
    other = by_role(odograph.open(paths["forked and exec'd"]))["other"]
    old, new = (span for span in other.spans if span.is_program)
    assert names_of(other.part(old.start, old.stop)) >= {"family!prepare", "family!sum"}
    after = names_of(other.part(new.start, new.stop))
    assert after >= {"whole!main", "whole!_start"}
    assert not any(name.startswith("family!") for name in after)
    # Each name means its address only as long as its program runs.
    assert set(other.find("prepare").tolist()) <= set(range(old.start, old.stop))
    assert min(other.find("whole!main").tolist()) >= new.start
    for step in (old.stop - 1, new.start, len(other) - 1):
        wanted = "family" if step < old.stop else "whole"
        modules = {frame.module for frame in other.stack(step)}
        assert modules & {"family", "whole"} <= {wanted}, step


def test_commands_name_steps_by_the_program_that_ran(paths: dict[str, Path]) -> None:
    path = paths["forked and exec'd"]
    recording = odograph.open(path)
    other = by_role(recording)["other"]
    tid = next(one.tid for one in recording.threads if recording.history(one.tid) is other)
    (step,) = other.find("prepare", limit=1).tolist()
    steps = asked("steps", path, "--tid", str(tid), "--from", str(step), "--to", str(step + 1), "--symbols")
    assert steps["steps"][0]["symbol"] == "family!prepare"
    hits = asked("break", path, "prepare", "--tid", str(tid), "-c", "stack")["hits"]
    assert [hit["function"] for hit in hits] == ["family!prepare"]
    hits = asked("break", path, "whole!main", "--tid", str(tid))["hits"]
    assert [hit["function"] for hit in hits] == ["whole!main"]
    (process,) = (one for one in asked("coverage", path)["processes"] if one["tids"] == [tid])
    covered = {(one["module"], one["name"]) for one in process["functions"]}
    assert covered >= {("family", "prepare"), ("whole", "main")}


def test_the_same_function_of_several_processes_is_one_row(paths: dict[str, Path]) -> None:
    path = paths["forked and exec'd"]
    rows = asked("functions", path)["functions"]
    named = [(row["module"], row["name"], row["offset"]) for row in rows if row["name"] is not None]
    assert len(named) == len(set(named))
    (prepare,) = (row for row in rows if row["name"] == "prepare")
    assert (prepare["calls"], prepare["pid"]) == (4, None)
    apart = [row for row in asked("functions", path, "--by-process")["functions"] if row["name"] == "prepare"]
    assert sorted(row["calls"] for row in apart) == [1, 1, 2]
    assert len({row["pid"] for row in apart}) == 3
    assert sum(row["own"] for row in apart) == prepare["own"]


def test_libraries_that_lay_at_one_address_keep_apart(paths: dict[str, Path]) -> None:
    history = odograph.open(paths["reloaded"]).history()
    loaded = {}
    for span in history.spans:
        assert span.symbols is not None
        names = names_of(history.part(span.start, span.stop))
        for library in ("first", "second"):
            if any(name.startswith(f"lib{library}.so!") for name in names):
                loaded.setdefault(library, []).append(span)
                assert f"lib{library}.so!{library}" in names
    if len(history.spans) == 1:
        pytest.skip("the loader put the libraries at two addresses")
    assert {library: len(spans) for library, spans in loaded.items()} == {"first": 2, "second": 2}
    rows = asked("functions", paths["reloaded"])["functions"]
    calls = {
        (row["module"], row["name"]): row["calls"]
        for row in rows
        if row["name"] in ("first", "second", "inner")
    }
    assert calls == {
        ("libfirst.so", "first"): 2,
        ("libfirst.so", "inner"): 2,
        ("libsecond.so", "second"): 2,
        ("libsecond.so", "inner"): 2,
    }
    hits = asked("break", paths["reloaded"], "inner")["hits"]
    assert [hit["function"].partition("!")[0] for hit in hits] == ["libfirst.so", "libsecond.so"] * 2


def test_functions_of_a_stripped_program_are_places_in_its_file(paths: dict[str, Path]) -> None:
    history = odograph.open(paths["stripped"]).history()
    symbols = history.symbols
    assert symbols is not None
    listed = {one.start: one for one in symbols.functions() if one.module == "stripped"}
    assert {one.known_by for one in listed.values()} == {"symbol", "fde"}
    entries = [one for one in listed.values() if one.known_by == "fde" and len(history.find(one.start))]
    assert len(entries) > 2
    (step, *_) = history.find(entries[0].start).tolist()
    frame = history.stack(step)[0]
    assert (frame.function, frame.offset) == (str(symbols.name_of(entries[0].start)), 0)
    assert history.find(frame.function or "").tolist() == history.find(entries[0].start).tolist()
