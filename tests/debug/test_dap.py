"""The Debug Adapter Protocol over recordings, with a client of our own."""

from __future__ import annotations

import base64
import shutil
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import odograph
from odograph.debug.dap import listen, serve_port
from odograph.debug.dap.expression import evaluate
from odograph.recorder import ptrace
from odograph.recorder.record import record
from support.dapclient import DapClient, Refused, session
from support.paths import PROGRAMS

SOURCE = PROGRAMS / "stepping.c"

pytestmark = pytest.mark.skipif(
    shutil.which("cc") is None or ptrace.unavailable() is not None, reason="needs a C compiler and ptrace"
)


def line_of(comment: str) -> int:
    lines = SOURCE.read_text().splitlines()
    (number,) = (at for at, line in enumerate(lines, 1) if f"/* {comment} */" in line)
    return number


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("dap")
    program, path = folder / "stepping", folder / "stepping.data"
    subprocess.run(["cc", "-O0", "-g", "-o", program, SOURCE], check=True)
    assert record([str(program)], path, backend="ptrace").status == 0
    return path


@pytest.fixture(scope="module")
def recording(path: Path) -> odograph.Recording:
    return odograph.open(path)


@pytest.fixture
def tid(recording: odograph.Recording) -> int:
    return recording.threads[0].tid


@pytest.fixture
def client(recording: odograph.Recording, tid: int) -> Iterator[DapClient]:
    with session(recording, [tid]) as client:
        yield client


@pytest.fixture
def in_main(client: DapClient, tid: int) -> DapClient:
    """Stands at the first line of main."""
    client.start()
    at_line(client, "first")
    assert client.move("continue", tid)["reason"] == "breakpoint"
    client.ask("setBreakpoints", source={"path": str(SOURCE)}, breakpoints=[])
    return client


def at_line(client: DapClient, comment: str, **more: Any) -> dict[str, Any]:
    """The only breakpoint is on a line."""
    breakpoints = [{"line": line_of(comment), **more}]
    (found,) = client.ask("setBreakpoints", source={"path": str(SOURCE)}, breakpoints=breakpoints)[
        "breakpoints"
    ]
    return dict(found)


def test_a_session_begins_and_ends(client: DapClient, tid: int) -> None:
    capabilities = client.ask("initialize", adapterID="odograph")
    for name in ("supportsStepBack", "supportsSteppingGranularity", "supportsInstructionBreakpoints"):
        assert capabilities[name] is True
    client.ask("launch")
    client.event("initialized")
    client.ask("setExceptionBreakpoints", filters=[])
    client.ask("configurationDone")
    assert client.event("stopped")["reason"] == "entry"
    assert [thread["id"] for thread in client.ask("threads")["threads"]] == [tid]
    assert client.value("step") == 0
    client.ask("disconnect")
    client.event("terminated")


def test_lines(in_main: DapClient, tid: int) -> None:
    frame = in_main.top(tid)
    assert (frame["name"], frame["line"]) == ("main", line_of("first"))
    assert frame["source"]["path"] == str(SOURCE)
    first = in_main.value("step")
    loop = line_of("in loop")
    seen = []
    for _ in range(4):
        assert in_main.move("next", tid)["reason"] == "step"
        seen.append(in_main.top(tid)["line"])
    assert seen == [loop - 1, loop, loop - 1, loop]
    for line in (loop - 1, loop, loop - 1, line_of("first")):
        in_main.move("stepBack", tid)
        assert in_main.top(tid)["line"] == line
    assert in_main.value("step") == first


def test_into_and_out(in_main: DapClient, tid: int) -> None:
    for _ in range(2):
        in_main.move("next", tid)
    at_call = in_main.value("step")
    in_main.move("stepIn", tid)
    assert in_main.top(tid)["name"] == "twice"
    names = [frame["name"] for frame in in_main.ask("stackTrace", threadId=tid)["stackFrames"]]
    assert names[:2] == ["twice", "main"]
    in_main.move("next", tid)
    assert in_main.top(tid)["line"] == line_of("in twice")
    in_main.move("stepOut", tid)
    assert (in_main.top(tid)["name"], in_main.top(tid)["line"]) == ("main", line_of("in loop"))
    in_main.move("stepBack", tid)
    assert in_main.value("step") == at_call, "the call is stepped over, going back"


def test_calls_that_call_back_are_stepped_over(in_main: DapClient, tid: int) -> None:
    assert at_line(in_main, "sort")["verified"]
    assert in_main.move("continue", tid)["reason"] == "breakpoint"
    in_main.move("next", tid)
    assert in_main.top(tid)["line"] == line_of("deep")
    in_main.move("stepBack", tid)
    assert in_main.top(tid)["line"] == line_of("sort")
    at_line(in_main, "in compare")
    stopped = in_main.move("next", tid)
    assert stopped["reason"] == "breakpoint"
    frames = in_main.ask("stackTrace", threadId=tid)["stackFrames"]
    assert frames[0]["name"] == "compare"
    assert "main" in [frame["name"] for frame in frames]


def test_recursion(in_main: DapClient, tid: int) -> None:
    at_line(in_main, "bottom")
    in_main.move("continue", tid)
    stack = in_main.ask("stackTrace", threadId=tid)
    assert [frame["name"] for frame in stack["stackFrames"]][:8] == [*7 * ["down"], "main"]
    some = in_main.ask("stackTrace", threadId=tid, startFrame=2, levels=3)
    assert len(some["stackFrames"]) == 3
    assert some["totalFrames"] == stack["totalFrames"]
    at_line(in_main, "recursion")
    in_main.move("stepOut", tid)
    in_main.move("stepOut", tid)
    frames = in_main.ask("stackTrace", threadId=tid)["stackFrames"]
    assert [frame["name"] for frame in frames][:6] == [*5 * ["down"], "main"]
    # In the middle of its line: the next one is that of the caller.
    assert in_main.move("reverseContinue", tid)["reason"] == "breakpoint"


def test_instructions(in_main: DapClient, recording: odograph.Recording, tid: int) -> None:
    history = recording.history(tid)
    start = in_main.value("step")
    for count in range(1, 4):
        in_main.move("stepIn", tid, granularity="instruction")
        assert in_main.value("step") == start + count
        assert in_main.value("pc") == history[start + count].ip
    for count in (2, 1, 0):
        in_main.move("stepBack", tid, granularity="instruction")
        assert in_main.value("step") == start + count
    pairs = history.pairs()
    (row,) = [row for row in range(len(pairs)) if pairs["call"][row] > start][:1]
    call, end = int(pairs["call"][row]), int(pairs["end"][row])
    in_main.ask("evaluate", expression=f"goto {call}", context="repl")
    assert in_main.event("stopped")["reason"] == "goto"
    in_main.move("next", tid, granularity="instruction")
    assert in_main.value("step") == end + 1
    in_main.move("stepBack", tid, granularity="instruction")
    assert in_main.value("step") == call


def test_conditions_and_hit_counts(in_main: DapClient, recording: odograph.Recording, tid: int) -> None:
    history = recording.history(tid)
    entries = history.find("twice").tolist()
    ask = in_main.ask

    def function(**more: Any) -> dict[str, Any]:
        (found,) = ask("setFunctionBreakpoints", breakpoints=[{"name": "twice", **more}])["breakpoints"]
        return dict(found)

    assert function(hitCondition="4")["verified"]
    assert in_main.move("continue", tid)["reason"] == "function breakpoint"
    assert in_main.value("step") == entries[3]
    function(hitCondition="== 2")
    in_main.move("reverseContinue", tid)
    assert in_main.value("step") == entries[1]
    number = function(condition=f"step > {entries[5]} and hits % 4 == 0")["id"]
    assert in_main.move("continue", tid)["hitBreakpointIds"] == [number]
    assert in_main.value("step") == entries[7]
    function(logMessage="turn {hits}")
    assert in_main.move("continue", tid)["description"] == "the recording ends here"
    assert [text for text in in_main.said if text.startswith("turn")] == ["turn 9\n", "turn 10\n"]
    assert not function(condition="1 +")["verified"]
    assert not function(hitCondition="many")["verified"]
    (unknown,) = ask("setFunctionBreakpoints", breakpoints=[{"name": "nobody"}])["breakpoints"]
    assert not unknown["verified"]
    assert "nobody" in unknown["message"]


def test_instruction_breakpoints_and_both_ends(
    in_main: DapClient, recording: odograph.Recording, tid: int
) -> None:
    history = recording.history(tid)
    steps = history.find("compare").tolist()
    address = hex(int(history.ips(steps[0], steps[0] + 1)[0]))
    in_main.ask("setInstructionBreakpoints", breakpoints=[{"instructionReference": address}])
    for step in steps:
        assert in_main.move("continue", tid)["reason"] == "instruction breakpoint"
        assert in_main.value("step") == step
    assert in_main.move("continue", tid)["description"] == "the recording ends here"
    for step in reversed(steps):
        in_main.move("reverseContinue", tid)
        assert in_main.value("step") == step
    assert in_main.move("reverseContinue", tid)["description"] == "the recording begins here"
    assert in_main.value("step") == 0


def test_code(in_main: DapClient, recording: odograph.Recording, tid: int) -> None:
    pc = in_main.top(tid)["instructionPointerReference"]
    lines = in_main.ask("disassemble", memoryReference=pc, instructionOffset=-3, instructionCount=8)[
        "instructions"
    ]
    assert len(lines) == 8
    assert lines[3]["address"] == pc
    expected = [each.raw.hex(" ") for each in recording.history(tid)[in_main.value("step") :][:2]]
    assert [line["instructionBytes"] for line in lines[3:5]] == expected
    memory = in_main.ask("readMemory", memoryReference=pc, count=4)
    assert base64.b64decode(memory["data"]).hex(" ") == expected[0][: 3 * 4 - 1] or len(expected[0]) < 11
    nothing = in_main.ask("readMemory", memoryReference="0x10", count=4)
    assert (nothing["data"], nothing["unreadableBytes"]) == ("", 4)
    unknown = in_main.ask("disassemble", memoryReference="0x10", instructionCount=2)["instructions"]
    assert [line["presentationHint"] for line in unknown] == 2 * ["invalid"]


def test_variables(in_main: DapClient, tid: int) -> None:
    frame = in_main.top(tid)
    scopes = in_main.ask("scopes", frameId=frame["id"])["scopes"]
    values = {
        scope["name"]: {
            one["name"]: one["value"]
            for one in in_main.ask("variables", variablesReference=scope["variablesReference"])["variables"]
        }
        for scope in scopes
    }
    assert values["Execution"]["step"] == str(in_main.value("step"))
    assert int(values["Registers"]["rip"], 0) == in_main.value("pc")
    in_main.move("next", tid)
    with pytest.raises(Refused, match="frame"):
        in_main.ask("scopes", frameId=frame["id"])


def test_places_to_go_to(in_main: DapClient, tid: int) -> None:
    targets = in_main.ask("gotoTargets", source={"path": str(SOURCE)}, line=line_of("in loop"))["targets"]
    assert [target["label"].split(":")[0] for target in targets] == ["next time"]
    in_main.ask("goto", threadId=tid, targetId=targets[0]["id"])
    assert in_main.event("stopped")["reason"] == "goto"
    assert in_main.top(tid)["line"] == line_of("in loop")


def test_a_pause_is_heard(client: DapClient, tid: int) -> None:
    client.start()
    # At each instruction something is to be found out.
    client.ask("setInstructionBreakpoints", breakpoints=[{"instructionReference": "0x0"}])
    numbers = [client.send("continue", threadId=tid), client.send("pause", threadId=tid)]
    for number in numbers:
        client.answer(number)
    assert client.event("stopped")["reason"] == "pause"
    client.move("next", tid, granularity="instruction")


@pytest.mark.parametrize(
    ("command", "arguments"),
    [
        ("nonsense", {}),
        ("continue", {"threadId": 1 << 80}),
        ("continue", {"threadId": "x"}),
        ("stackTrace", {"threadId": [], "levels": {}}),
        ("scopes", {"frameId": -1}),
        ("variables", {"variablesReference": 1 << 70}),
        ("evaluate", {"expression": "goto -1", "context": "repl"}),
        ("evaluate", {"expression": "__import__('os')"}),
        ("evaluate", {"expression": "9**9**9**9"}),
        ("evaluate", {"expression": "(" * 900}),
        ("evaluate", {"expression": 5}),
        ("disassemble", {"memoryReference": "pc", "instructionCount": 3}),
        ("disassemble", {"memoryReference": "0x10", "instructionCount": 1 << 40}),
        ("readMemory", {"memoryReference": "0x10", "count": -1}),
        ("goto", {"targetId": 5}),
        ("setBreakpoints", {"source": 7}),
        ("gotoTargets", {"source": {"path": 1}, "line": "x"}),
        ("launch", {"tid": 1}),
    ],
)
def test_what_is_wrong_is_refused(client: DapClient, command: str, arguments: dict[str, Any]) -> None:
    client.start()
    with pytest.raises(Refused):
        client.ask(command, **arguments)
    assert client.value("step") == 0


def test_garbage_does_not_end_a_session(client: DapClient) -> None:
    client.start()
    for garbage in (
        b"\0\xff\n\n",
        b"Content-Length: 5\r\n\r\n{{{{{",
        b"Content-Length: 2\r\n\r\n[]",
        b"Content-Length: -4\r\n\r\n",
        b"Content-Length: 99999999999\r\n\r\n",
        b"Content-Length: 44\r\n\r\n" + b"[" * 44,
        b'Content-Length: 18\r\n\r\n{"type":"request"}',
        b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
        10_000 * b"x" + b"\r\n\r\n",
    ):
        client.raw(garbage)
        assert client.value("step") == 0


def test_standard_streams(path: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-m", "odograph", "dap", path], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        assert process.stdin is not None
        client = DapClient(process.stdout, process.stdin)
        client.start(atEnd=True)
        assert client.value("step") == client.value("last")
        client.ask("disconnect")
        assert process.wait(60) == 0


def test_expressions() -> None:
    values = {"step": 5, "time": None}

    def value(text: str) -> int | None:
        return evaluate(text, values.__getitem__)

    assert value("step * 2 - 1 == 9 and not step % 5") == 1
    assert value("0x10 | 1") == 17
    assert value("1 < step < 6") == 1
    assert value("time") is None
    assert value("time + 1") is None
    assert value("time > 1 or step == 5") == 1
    for wrong in ("", "1 +", "step()", "'a'", "1.5", "step.real", "[1]", "nobody", "1 // 0", "1 << 500"):
        with pytest.raises(odograph.InvalidArgument):
            value(wrong)


def test_a_port_serves_one_editor_after_another(recording: odograph.Recording, tid: int) -> None:
    with listen(0) as listening:
        address = listening.getsockname()
        assert address[0] == "127.0.0.1"
        turns = iter([True, True, False])
        server = threading.Thread(
            target=serve_port, args=(recording, [tid], listening, lambda: next(turns)), daemon=True
        )
        server.start()
        for leaves in (False, True):
            with socket.create_connection(address, 60) as connection:
                client = DapClient(connection.makefile("rb"), connection.makefile("wb"))
                assert client.start()["reason"] == "entry"
                if leaves:
                    client.ask("disconnect")
        server.join(60)
        assert not server.is_alive()
