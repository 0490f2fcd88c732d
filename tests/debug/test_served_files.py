"""What the servers for debuggers give away, and to whom: whoever runs programs here can connect."""

from __future__ import annotations

import base64
import os
import shutil
import socket
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

import odograph
from odograph.debug import Target
from odograph.debug.dap import listen, serve_port
from odograph.debug.dap.messages import source_of
from odograph.debug.oneclient import LOOPBACK, clients
from odograph.perfdata.writer import PerfDataWriter
from support.dapclient import DapClient, Refused, session
from support.debugruns import Client, serving
from support.hostilenames import (
    CODE,
    CODE_BYTES,
    COMM,
    NOWHERE,
    calling_trace,
    elf_file,
    hostile_recording,
    recorded,
)

KERNEL = 0xFFFFFFFF81000000
SECRET = b"root:$6$salt$hash:19000:0:99999:7:::\n" * 8


@pytest.fixture
def secret(tmp_path: Path) -> Path:
    path = tmp_path / "shadow"
    path.write_bytes(SECRET)
    return path


@pytest.fixture
def core(tmp_path: Path) -> Path:
    """ELF, but no program: cores hold what programs had in memory."""
    return elf_file(tmp_path / "core", {"f": CODE}, code=SECRET, kind=4)


@pytest.fixture
def path(tmp_path: Path, secret: Path, core: Path) -> Path:
    """A recording that says of a program, a secret file and a core that they were mapped."""
    program = elf_file(tmp_path / "program", {"f": CODE})
    return recorded(tmp_path / "recording", program, secret=str(secret), core=str(core))


def opened(client: Client, name: str | Path) -> str:
    return client.ask(f"vFile:open:{os.fsencode(name).hex()},0,0")


def test_gdb_is_served_programs_and_libraries_only(path: Path, secret: Path, core: Path) -> None:
    with serving(Target(odograph.open(path))) as server:
        client = Client(server.address)
        for name in (secret, core, "/etc/passwd", "/proc/self/maps", f"{secret}/../core"):
            assert opened(client, name).startswith("F-1,"), name
        answer = opened(client, path.parent / "program")
        assert answer.startswith("F")
        assert client.ask(f"vFile:pread:{answer[1:]},4,0").endswith("\x7fELF")
        client.close()


def test_gdb_reads_no_memory_of_other_files(path: Path) -> None:
    """The recording says where files were mapped, so memory is one more way to their bytes."""
    with serving(Target(odograph.open(path))) as server:
        client = Client(server.address)
        for address in (NOWHERE, NOWHERE + 0x20, NOWHERE + 0x1000):
            assert client.ask(f"m{address:x},10").startswith("E")
        assert client.ask(f"m{CODE:x},6") == CODE_BYTES[:6].hex()
        client.close()


def test_editors_read_no_memory_of_other_files_and_no_files(path: Path, secret: Path) -> None:
    with session(odograph.open(path), [42]) as client:
        client.start()
        read = client.ask("readMemory", memoryReference=f"{NOWHERE:#x}", count=16)
        assert base64.b64decode(read["data"]) == b""
        read = client.ask("readMemory", memoryReference=f"{CODE:#x}", count=6)
        assert base64.b64decode(read["data"]) == CODE_BYTES[:6]
        listed = client.ask("disassemble", memoryReference=f"{NOWHERE:#x}", instructionCount=4)
        assert all("instructionBytes" not in line for line in listed["instructions"])
        # There is no request that reads a file: the editor opens sources itself.
        with pytest.raises(Refused, match="no request 'source'"):
            client.ask("source", source={"path": str(secret)}, sourceReference=1)


def test_what_the_recording_itself_holds_is_served_wherever_it_lay(tmp_path: Path, secret: Path) -> None:
    """Executed bytes are in the recording, whatever file they came from."""
    with PerfDataWriter(tmp_path / "recording", recorder="test") as writer:
        writer.add_comm(42, 42, "program", exec=True)
        writer.add_mmap2(42, 42, CODE, 0x1000, 0, str(secret), build_id=None)
        writer.add_trace(42, 42, calling_trace())
        writer.add_code(42, 0, CODE, CODE_BYTES[:6])
        writer.add_code(42, 0, CODE + 16, CODE_BYTES[16:])
    target = Target(odograph.open(tmp_path / "recording"))
    assert target.read_code(CODE, 6) == CODE_BYTES[:6]
    assert target.read_code(CODE + 6, 4) == b""


def test_sources_that_are_not_plain_files_have_no_path_for_editors(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.c")
    (tmp_path / "file.c").write_text("int x;\n")
    (tmp_path / "link.c").symlink_to("/proc/self/status")
    assert source_of(str(tmp_path / "pipe.c")) == {"name": "pipe.c"}
    assert source_of(str(tmp_path / "link.c")) == {"name": "link.c"}
    assert source_of("/dev/zero") == {"name": "zero"}
    for name in ("file.c", "gone.c"):
        assert source_of(str(tmp_path / name)) == {"name": name, "path": str(tmp_path / name)}


# Names ---------------------------------------------------------------------------------------------------


def test_gdb_is_told_printable_names_by_which_files_are_found(tmp_path: Path) -> None:
    target = Target(odograph.open(hostile_recording(tmp_path)))
    with serving(target) as server:
        client = Client(server.address)
        name = client.ask("qXfer:exec-file:read:2a:0,1000")[1:]
        assert name.isprintable()
        assert opened(client, name).startswith("F")
        assert not opened(client, name).startswith("F-1")
        threads = client.ask("qXfer:threads:read::0,1000")
        assert "\\x1b[31m" in threads
        assert threads.isprintable()
        extra = bytes.fromhex(client.ask("qThreadExtraInfo,2a")).decode()
        assert extra.isprintable()
        assert extra != COMM
        client.close()


@pytest.mark.parametrize("command", ["where", "threads", "stack", "gaps", "hits nosuch", "x\x1b[2J"])
def test_monitor_commands_print_no_commands(command: str, tmp_path: Path) -> None:
    from odograph.debug.remote.session import Session
    from odograph.debug.remote.table import HANDLERS

    said: list[bytes] = []
    session = Session(Target(odograph.open(hostile_recording(tmp_path))), said.append, HANDLERS)
    assert session.answer(b"qRcmd," + command.encode().hex().encode()) == b"OK"
    text = b"".join(bytes.fromhex(packet[1:].decode()) for packet in said).decode()
    assert text
    assert all(line.isprintable() for line in text.split("\n"))


# One client ----------------------------------------------------------------------------------------------


def test_servers_listen_on_this_machine_only(path: Path) -> None:
    with serving(Target(odograph.open(path))) as server:
        assert server.address[0] == "127.0.0.1"
    with listen(0) as listening:
        assert listening.getsockname()[0] == "127.0.0.1"


def test_a_second_gdb_is_told_that_there_is_one(path: Path) -> None:
    with serving(Target(odograph.open(path))) as server:
        first = Client(server.address)
        assert first.ask("?").startswith("T05")
        second = Client(server.address)
        answer = second.ask("qSupported:multiprocess+")
        assert answer.startswith("E.")
        assert "another debugger is connected" in answer
        with pytest.raises(EOFError):
            second.next()
        # Who says nothing is told as well.
        with socket.create_connection(server.address, timeout=20) as silent:
            data = b""
            while chunk := silent.recv(1 << 12):
                data += chunk
            assert b"another debugger is connected" in data
        # The first one notices nothing.
        assert first.ask("vCont;s").startswith("T05")
        first.close()
        third = Client(server.address)
        assert third.ask("?").startswith("T05")
        third.close()


@pytest.mark.skipif(shutil.which("gdb") is None, reason="needs gdb")
def test_gdb_shows_why_it_cannot_connect(path: Path) -> None:
    with serving(Target(odograph.open(path))) as server:
        first = Client(server.address)
        assert first.ask("?").startswith("T05")
        host, port = server.address
        result = subprocess.run(
            ["gdb", "-nx", "-batch", "-ex", f"target remote {host}:{port}"],
            capture_output=True,
            text=True,
            timeout=60,
            stdin=subprocess.DEVNULL,
        )
        assert "another debugger is connected" in result.stdout + result.stderr
        first.close()


@contextmanager
def editor_port(path: Path) -> Iterator[tuple[str, int]]:
    listening = listen(0)
    arguments = (odograph.open(path), [42], listening, lambda: True)
    thread = threading.Thread(target=serve_port, args=arguments, daemon=True)
    thread.start()
    host, port = listening.getsockname()
    yield str(host), int(port)
    listening.shutdown(socket.SHUT_RDWR)
    listening.close()
    thread.join(20)
    assert not thread.is_alive()


@contextmanager
def editor(address: tuple[str, int]) -> Iterator[DapClient]:
    with (
        socket.create_connection(address, timeout=20) as connection,
        connection.makefile("rb") as source,
        connection.makefile("wb") as sink,
    ):
        yield DapClient(source, sink)


def test_a_second_editor_is_told_that_there_is_one(path: Path) -> None:
    with editor_port(path) as address:
        with editor(address) as first:
            first.start()
            with editor(address) as second:
                with pytest.raises(Refused, match="another debugger is connected"):
                    second.ask("initialize", adapterID="odograph")
                assert second.source.read() == b""
            assert first.move("stepIn", 42, granularity="instruction")["reason"] == "step"
            first.ask("disconnect")
        with editor(address) as third:
            assert third.ask("initialize", adapterID="odograph")["supportsStepBack"]
            third.ask("disconnect")


@pytest.mark.parametrize("how", ["file", "link", "hard link", "link to its directory"])
def test_a_copy_of_the_kernels_memory_is_served_only_if_it_lies_with_the_recording(
    tmp_path: Path, how: str
) -> None:
    directory = tmp_path / "directory"
    directory.mkdir()
    recorded(directory / "data", elf_file(tmp_path / "program", {"f": CODE}))
    (tmp_path / "elsewhere").mkdir()
    kcore = elf_file(tmp_path / "elsewhere" / "kcore", {}, code=SECRET, address=KERNEL, kind=4)
    if how == "link to its directory":
        (directory / "kcore_dir").symlink_to(kcore.parent)
    else:
        (directory / "kcore_dir").mkdir()
        bring = {"file": shutil.move, "link": os.symlink, "hard link": os.link}[how]
        bring(kcore, directory / "kcore_dir" / "kcore")  # type: ignore[operator]
    recording = odograph.open(directory)
    # Decoding uses it, wherever it lies.
    assert recording.image().read(KERNEL, 16) == SECRET[:16]
    served = Target(recording).read_code(KERNEL, 16)
    assert served == (SECRET[:16] if how == "file" else b"")


def test_a_client_that_left_with_things_unread_makes_room_for_the_next() -> None:
    listening = socket.create_server((LOOPBACK, 0))
    address = listening.getsockname()
    served = clients(listening, lambda said: b"refused")
    first = socket.create_connection(address)
    connection = next(served)
    # It says much, is heard slowly, and leaves; the next one comes long before the session has ended.
    first.sendall(bytes(100))
    first.close()
    with socket.create_connection(address) as second:
        second.settimeout(0.8)
        with pytest.raises(TimeoutError):
            second.recv(9)
        assert connection.recv(100) == bytes(100)
        next(served).sendall(b"welcome")
        assert second.recv(9) == b"welcome"
    served.close()
    listening.close()
