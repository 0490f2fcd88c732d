"""The server itself: who may ask for what, and what nobody can do to it."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import odograph
from odograph import Packet, PacketEncoder
from odograph.debug import Target
from odograph.debug.remote import Server
from odograph.debug.remote.packet import LARGEST, Framer, Signal, escape, frame, unescape
from odograph.debug.remote.session import Session
from odograph.debug.remote.table import HANDLERS
from support.debugruns import Client, Recorded, serving

CODE = 0x401000


@pytest.fixture
def client(target: Target) -> Iterator[Client]:
    """A debugger that is connected."""
    with serving(target) as server:
        client = Client(server.address)
        yield client
        client.close()


def loop(tmp_path: Path, turns: int) -> Target:
    """A loop of two instructions that is taken six times a byte of trace."""
    encoder = PacketEncoder()
    encoder.add(Packet("psb"))
    encoder.add(Packet("mode.exec", csl=True, csd=False, iflag=False))
    encoder.add(Packet("fup", compression=3, ip=CODE)).add(Packet("psbend"))
    part = bytes(encoder) + b"\xfe" * 4096
    trace = tmp_path / "loop.pt"
    trace.write_bytes(part * (turns // (6 * 4096)) + b"\x04")
    image = odograph.Image()
    image.add_bytes(bytes.fromhex("ff c8 75 fc c3"), CODE)
    target = Target(odograph.open(trace, image=image))
    assert target.history.gaps() == []
    assert len(target.history) > 1.9 * turns
    return target


def at_work(seconds: float) -> None:
    """Waits until this process, with the server in it, has worked so long, however busy the machine is."""
    began, until = time.process_time(), time.monotonic() + 60
    while time.process_time() - began < seconds and time.monotonic() < until:
        time.sleep(0.02)


# 52: interrupts ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "packet",
    [
        f"vCont;r{CODE:x},{CODE + 4:x}",
        "bc",
        *(pytest.param(packet, marks=pytest.mark.acceptance) for packet in ("c", "vCont;c")),
    ],
)
def test_52_an_interrupt_is_answered_within_a_second(tmp_path: Path, packet: str) -> None:
    target = loop(tmp_path, 60_000_000)
    target.prepare()
    if packet == "bc":
        target.goto(target.last)
    start = target.step
    if "r" not in packet:
        # Met by every turn, and ignored, so that going on takes minutes.
        target.add_breakpoint(CODE, skip=1 << 60)
    with serving(target) as server:
        client = Client(server.address)
        client.send(frame(packet.encode()))
        at_work(0.3)
        asked = time.monotonic()
        client.send(b"\x03")
        answer = client.next()
        assert time.monotonic() - asked < 1
        assert isinstance(answer, bytes)
        assert answer.startswith(b"T02")
        assert 0 < abs(target.step - start) < target.last
        # The next movement is not interrupted.
        assert client.ask("vCont;s").startswith("T05")
        assert client.ask("g") != ""
        client.close()


def test_52_who_leaves_stops_what_was_running(tmp_path: Path) -> None:
    target = loop(tmp_path, 60_000_000)
    target.add_breakpoint(CODE, skip=1 << 60)
    with serving(target) as server:
        client = Client(server.address)
        client.send(frame(b"c"))
        while not target._moving:
            time.sleep(0.005)
        client.close()
        again = Client(server.address)
        assert again.ask("?").startswith("T05")
        again.close()


@pytest.mark.skipif(shutil.which("gdb") is None, reason="needs gdb")
def test_52_ctrl_c_in_gdb(tmp_path: Path) -> None:
    target = loop(tmp_path, 600_000)
    with serving(target) as server:
        host, port = server.address
        line = ["gdb", "-nx", "-q", "-batch", "-ex", f"target remote {host}:{port}"]
        # A condition that gdb asks for at each of very many hits.
        line += ["-ex", f"break *{CODE:#x} if 0", "-ex", "continue", "-ex", "monitor where"]
        gdb = subprocess.Popen(line, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        while target.step < 100:
            time.sleep(0.05)
        asked = time.monotonic()
        gdb.send_signal(signal.SIGINT)
        said, _ = gdb.communicate(timeout=20)
        assert time.monotonic() - asked < 2
    assert "SIGINT" in said
    assert "step" in said.splitlines()[-2]
    assert target.step < target.last


# 52: damage ----------------------------------------------------------------------------------------------


def test_52_damaged_packets_are_asked_for_again(client: Client) -> None:
    for garbage in (b"$?#00", b"$" + b"x" * (LARGEST + 10) + b"#00", b"$?$?$?#ff"):
        client.send(garbage)
        assert client.next() is Signal.REPEAT
    client.send(b"garbage\x00\xff#3f-")
    # A minus asks for the last packet: there was none yet.
    assert client.ask("?").startswith("T05")


def test_52_packets_may_come_in_pieces(client: Client) -> None:
    for byte in frame(b"qC"):
        client.send(bytes([byte]))
        time.sleep(0.005)
    answer = client.next()
    assert isinstance(answer, bytes)
    assert answer.startswith(b"QC")


@pytest.mark.parametrize(
    "packet",
    [
        "mffffffffffffffff,ffffffffffffffff",
        "m10000000000000000,1",
        "m-1,-1",
        "m,",
        "p",
        "pffffffff",
        "Z0,zz,1",
        "Z0",
        "Z0,ffffffffffffffffff,1",
        "vCont;",
        "vCont;r",
        "vCont;r0,zz",
        "vCont;q",
        "qRcmd,zz",
        "qRcmd," + b"goto 1e99%".hex(),
        "qRcmd," + b"goto -5".hex(),
        "qRcmd," + b"goto 99999999999999999999s".hex(),
        "qRcmd," + b"goto inf%".hex(),
        "qRcmd," + b"hits".hex(),
        "qRcmd," + b"hits 5-1".hex(),
        "qRcmd," + b"break 0-0xfffffffffffffffff".hex(),
        "qRcmd," + b"break main opcode=zz".hex(),
        "qRcmd," + b"delete 7".hex(),
        "qRcmd,",
        "qXfer:features:read:target.xml:zz",
        "qXfer:features:read:other.xml:0,100",
        "qXfer:auxv:read::fffffffffffffffffff,ffffffffffffffff",
        "vFile:open:2f,0",
        "vFile:pread:7,100,0",
        "vFile:pread:zz,100,0",
        "vFile:close:99",
        "T",
        "qMemoryRegionInfo:zz",
        "vMustReplyEmpty",
        "\xff\xfe",
        "",
    ],
)
def test_52_requests_that_make_no_sense(client: Client, packet: str) -> None:
    answer = client.ask(packet.encode("latin-1"))
    assert answer == "" or answer[0] in "EFOTlm"
    assert client.ask("?").startswith("T05")


def test_52_debuggers_come_and_go(target: Target) -> None:
    with serving(target) as server:
        for goodbye in ("D", "k", None, "half"):
            client = Client(server.address)
            assert client.ask("Z0,401000,1") == "OK"
            assert len(target.processor.breakpoints) == 1
            if goodbye == "half":
                client.send(b"$qSupp")
            elif goodbye is not None:
                client.send(frame(goodbye.encode()))
            client.close()
        client = Client(server.address)
        assert client.ask("?").startswith("T05")
        assert len(target.processor.breakpoints) == 0
        client.close()


@given(st.binary(max_size=300), st.lists(st.integers(0, 300), max_size=5))
def test_52_any_bytes_are_survived_however_they_are_cut(data: bytes, cuts: list[int]) -> None:
    whole = list(Framer().feed(data))
    framer, pieces, last = Framer(), [], 0
    for cut in [*sorted(cuts), len(data)]:
        pieces += framer.feed(data[last:cut])
        last = max(last, cut)
    assert pieces == whole


@given(st.binary(max_size=100))
def test_packets_hold_any_data(data: bytes) -> None:
    assert list(Framer().feed(frame(escape(data)))) == [escape(data)]
    assert unescape(escape(data)) == data


HEADS = ["m", "p", "s", "bs", "H", "T", "Z0,", "z0,", "vCont;", "vCont;r", "qXfer:auxv:read::", "qRcmd,"]
HEADS += ["qXfer:features:read:target.xml:", "vFile:open:", "vFile:pread:", "qMemoryRegionInfo:"]

WORDS = ["goto", "step", "hits", "break", "delete", "main", "-5", "5%", "1s", "0x10-0x5"]

PACKETS = st.one_of(
    st.binary(max_size=40),
    st.builds(
        lambda head, rest: head.encode() + rest.encode(),
        st.sampled_from(HEADS),
        st.text(alphabet="0123456789abcdef,;:-+zg ", max_size=30),
    ),
    st.builds(
        lambda words: b"qRcmd," + " ".join(words).encode().hex().encode(),
        st.lists(
            st.sampled_from(WORDS),
            max_size=4,
        ),
    ),
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=300)
@given(st.lists(PACKETS, max_size=8))
def test_52_any_requests_are_answered(target: Target, packets: list[bytes]) -> None:
    session = Session(target, lambda data: None, HANDLERS)
    for packet in packets:
        answer = session.answer(packet)
        assert answer is None or isinstance(answer, bytes)
        assert 0 <= target.step <= target.last
    session.close()
    assert len(target.processor.breakpoints) == 0


# 53 ------------------------------------------------------------------------------------------------------


def test_53_only_this_machine_is_listened_to(target: Target) -> None:
    server = Server(target)
    assert server.address[0] == "127.0.0.1"
    server.close()


def test_53_only_mapped_files_are_served(client: Client, recorded: Recorded) -> None:
    def open_file(name: str, flags: int = 0) -> str:
        return client.ask(f"vFile:open:{name.encode().hex()},{flags:x},1a4")

    program = str(recorded.program)
    for name in ("/etc/passwd", "", "/", ".", f"{program}/../turns", f"{program}.c", __file__):
        assert open_file(name) == "F-1,2"
    for flags in (1, 2, 0x201):
        assert open_file(program, flags) == "F-1,d"
    number = open_file(program)
    assert re.fullmatch(r"F[0-9a-f]+", number)
    data = recorded.program.read_bytes()
    read = client.ask(f"vFile:pread:{number[1:]},1000,10")
    size, _, content = read.partition(";")
    assert unescape(content.encode("latin-1")) == data[0x10:0x1010]
    assert size == "F1000"
    status = unescape(client.ask(f"vFile:fstat:{number[1:]}").partition(";")[2].encode("latin-1"))
    assert int.from_bytes(status[28:36], "big") == len(data)
    assert client.ask(f"vFile:close:{number[1:]}") == "F0"
    assert client.ask(f"vFile:close:{number[1:]}") == "F-1,9"
    assert client.ask(f"vFile:unlink:{program.encode().hex()}") == ""


def test_53_no_more_files_are_open_than_allowed(client: Client, recorded: Recorded) -> None:
    name = os.fsencode(recorded.program).hex()
    answers = [client.ask(f"vFile:open:{name},0,0") for _ in range(70)]
    assert answers.count("F-1,18") == 6


@pytest.mark.parametrize("packet", ["G00", "P10=0000000000000000", "M401000,1:90", "X401000,1:\x90"])
def test_53_nothing_can_be_changed(client: Client, packet: str) -> None:
    assert client.ask(packet.encode("latin-1")) == "E01"


def test_a_port_that_is_taken_is_said_to_be(target: Target, recorded: Recorded) -> None:
    with serving(target) as server:
        result = subprocess.run(
            [sys.executable, "-m", "odograph", "gdb", str(recorded.path), "--port", str(server.address[1])],
            capture_output=True,
            text=True,
            timeout=60,
        )
    assert result.returncode == 2
    assert "choose another --port" in result.stderr


# Movements -----------------------------------------------------------------------------------------------


def test_a_range_is_left_at_its_end_or_at_a_breakpoint(target: Target) -> None:
    fact = target.symbols.resolve("fact")
    steps = target.processor.breakpoints.hits(fact, fact).tolist()
    target.goto(steps[0])
    ips = target.history.ips(steps[0], steps[0] + 200).tolist()
    low, high = fact, fact + 0x30
    expected = next(at for at, ip in enumerate(ips) if at and not low <= ip < high)
    target.step_range(low, high)
    assert target.step == steps[0] + expected
    target.goto(steps[0])
    target.add_breakpoint(ips[3])
    target.step_range(low, high)
    assert target.step == steps[0] + 3
    target.goto(target.last - 1)
    assert target.step_range(0, 1 << 64 - 1).reason.value == "end"
    assert target.step == target.last


def test_an_interrupt_from_another_thread_is_not_lost(tmp_path: Path) -> None:
    target = loop(tmp_path, 600_000)
    target.add_breakpoint(CODE, skip=1 << 60)
    for _ in range(20):
        target.goto(0)
        target.forget_interrupt()
        other = threading.Thread(target=target.interrupt)
        other.start()
        started = time.monotonic()
        halt = target.run()
        target.forget_interrupt()
        other.join()
        assert halt.reason.value in ("interrupted", "end")
        assert time.monotonic() - started < 1
