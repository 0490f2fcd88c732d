"""``odograph index``, and what the other commands make of an index."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from support.commands import Run


def test_an_index_is_made_used_and_checked(
    run: Run, run_json: Callable[..., Any], trace: Path, code: Path
) -> None:
    options = (trace, "--map", f"{code}:0x401000")
    before = run_json("info", *options)
    assert before["index"] is None
    steps = run("steps", *options).stdout
    assert run("index", *options, "--check").returncode == 1
    made = run("index", *options)
    assert made.returncode == 0
    assert made.stdout.startswith(f"{trace}.odx: ")
    after = run_json("info", *options)
    assert after.pop("index") == {"path": f"{trace}.odx", "used": True, "reason": None}
    assert {**after, "index": None} == before
    assert f"index {trace}.odx, used" in run("info", *options).stdout
    assert run_json("info", *options, "--no-index")["index"] is None
    assert run("steps", *options).stdout == steps
    checked = run("index", *options, "--check")
    assert (checked.returncode, checked.stdout) == (0, f"{trace}.odx: up to date\n")


def test_a_stale_index_is_ignored_without_an_error(run: Run, trace: Path, code: Path) -> None:
    run("index", trace, "--map", f"{code}:0x401000")
    result = run("info", trace)
    assert result.returncode == 0
    assert f"index {trace}.odx, not used: memory at 0x401000 holds something else" in result.stdout
    assert "no code was given for this trace" in result.stdout
    checked = run("index", trace, "--check")
    assert checked.returncode == 1
    assert checked.stdout == f"{trace}.odx: stale: memory at 0x401000 holds something else\n"


def test_an_index_elsewhere(run: Run, run_json: Callable[..., Any], trace: Path, tmp_path: Path) -> None:
    path = tmp_path / "elsewhere"
    made = run_json("index", trace, "--index", path)
    assert made == {"path": str(path), "bytes": path.stat().st_size, "trace_bytes": trace.stat().st_size}
    assert run_json("info", trace)["index"] is None
    assert run_json("info", trace, "--index", path)["index"]["used"]
    stale = run("index", trace, "--check", "--json")
    assert stale.returncode == 1
    assert json.loads(stale.stdout)["reason"] == "No such file or directory"


def test_an_index_never_replaces_its_recording(run: Run, trace: Path, tmp_path: Path) -> None:
    before = trace.read_bytes()
    (tmp_path / "link").symlink_to(trace)
    for place in (trace, tmp_path / "link"):
        result = run("index", trace, "--index", place)
        assert result.returncode == 2
        assert "is the recording itself" in result.stderr
    assert trace.read_bytes() == before


def test_an_index_that_cannot_be_written(run: Run, trace: Path) -> None:
    result = run("index", trace, "--index", "/nowhere/index")
    assert result.returncode == 2
    assert result.stderr.startswith("odograph: ")
    assert "Traceback" not in result.stderr


def test_standard_input_needs_a_path(run: Run, trace: Path, tmp_path: Path) -> None:
    with trace.open("rb") as stream:
        result = run("index", "-", stdin=stream)
    assert result.returncode == 2
    assert "give --index PATH" in result.stderr
    with trace.open("rb") as stream:
        assert run("index", "-", "--index", tmp_path / "index", stdin=stream).returncode == 0
    assert run("info", trace, "--index", tmp_path / "index").returncode == 0
