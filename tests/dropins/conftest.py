"""Running the tools in this process."""

from __future__ import annotations

import importlib
import io
from pathlib import Path
from typing import Any

import pytest

from odograph import Packet, PacketEncoder
from support.toolrun import List, MakeTrace, Printed, Run
from support.tracedcode import ORG


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    """``run(tool, *arguments)``; the tool is called by its name."""

    def call(tool: str, *arguments: object) -> Printed:
        out = io.BytesIO()
        main = importlib.import_module(f"odograph.dropins.{tool}").main
        status = main([tool, *map(str, arguments)], out)
        return Printed(out.getvalue().decode(), capsys.readouterr().err, status)

    return call


@pytest.fixture
def trace(tmp_path: Path) -> MakeTrace:
    """``trace(*packets)`` makes a file and gives its name. A packet is a name, (name, fields) or bytes."""

    def make(*packets: Any, name: str = "trace.pt") -> str:
        encoder = PacketEncoder()
        for packet in packets:
            if isinstance(packet, bytes):
                encoder.data += packet
            else:
                kind, fields = (packet, {}) if isinstance(packet, str) else packet
                encoder.add(Packet(kind, **fields))
        path = tmp_path / name
        path.write_bytes(bytes(encoder))
        return str(path)

    return make


@pytest.fixture
def listed(run: Run, trace: MakeTrace, tmp_path: Path) -> List:
    """``listed(code, packets, *options)``: what ptxed prints for code at ORG, without complaints."""

    def call(code: bytes, packets: list[Any], *options: str) -> str:
        file = tmp_path / "code.bin"
        file.write_bytes(code)
        printed = run("ptxed", *options, "--pt", trace(*packets), "--raw", f"{file}:{ORG:#x}")
        assert printed == Printed(printed.out, "", 0)
        return printed.out

    return call
