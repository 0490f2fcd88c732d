"""odograph-ptxed on recordings of real processors: the instructions and errors that libipt lists.

`pytest` runs a fixed sample; `pytest -m acceptance` runs every recording.
"""

from __future__ import annotations

import json
import lzma
import re
from pathlib import Path

import pytest

from support.sharedtraces import shared_paths
from support.toolrun import Run

RECORDINGS = [
    "/".join(path.parts[-4:-2])
    for path in shared_paths("traces/set*/*/ref/ips.txt.xz")
    if (path.parents[1] / "image.map").exists()
]
SAMPLE = ("set01/multi-core-45", "set02/static-59234", "set06/avscript_32", "set06/dyn_test")
DECODERS = ("--block-decoder", "--insn-decoder")


def expected(folder: Path) -> list[str]:
    """An address a line, and the texts of errors."""
    with lzma.open(folder / "ref/ips.txt.xz", "rt") as lines:
        return [line.strip() if line[0] == "E" else f"{int(line, 16):016x}" for line in lines]


def compare(run: Run, folder: Path, decoder: str) -> None:
    options = [decoder, "--no-inst", "--check", "--pt", f"{folder}/pt.bin"]
    processor = json.loads((folder / "meta.json").read_text()).get("cpu_for_libipt")
    if processor is not None:
        options[:0] = ["--cpu", processor]
    for line in (folder / "image.map").read_text().splitlines():
        name, offset, size, vaddr = line.split()
        first = int(offset, 16)
        options += ["--raw", f"{folder}/{name}:{first:#x}-{first + int(size, 16):#x}:{vaddr}"]
    out, err, status = run("ptxed", *options)
    assert (err, status) == ("", 0)
    listed = re.sub(r"^\[[0-9a-f]+, [0-9a-f]+: error: (.*)\]$", r"E \1", out, flags=re.MULTILINE)
    assert [line for line in listed.splitlines() if line[0] != "["] == expected(folder)


@pytest.mark.parametrize("decoder", DECODERS)
@pytest.mark.parametrize("recording", SAMPLE)
def test_a_sample_lists_what_libipt_lists(run: Run, shared: Path, recording: str, decoder: str) -> None:
    compare(run, shared / "traces" / recording, decoder)


@pytest.mark.acceptance
@pytest.mark.parametrize("decoder", DECODERS)
@pytest.mark.parametrize("recording", RECORDINGS)
def test_every_recording_lists_what_libipt_lists(
    run: Run, shared: Path, recording: str, decoder: str
) -> None:
    compare(run, shared / "traces" / recording, decoder)
