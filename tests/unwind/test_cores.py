"""Stacks of cores and of live processes, judged by gdb."""

from __future__ import annotations

import json
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from odograph import ImageError
from odograph.cli import main
from odograph.frame import Found
from odograph.unwind import open_core, open_process
from support.gdbstacks import difference, of_core

PROGRAM = """
#include <pthread.h>
#include <semaphore.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static pthread_barrier_t barrier;
static sem_t over;

__attribute__((noinline)) int wait_deep(int depth)
{
    if (depth > 0)
        return wait_deep(depth - 1) + 1;
    pthread_barrier_wait(&barrier);
    sem_wait(&over);
    return 1;
}
static void *threaded(void *depth) { return (void *)(long)wait_deep((int)(long)depth); }
static void crash(int number) { (void)number; abort(); }

int main(int count, char **words)
{
    pthread_t threads[3];
    (void)words;
    int caught = 0;
    sigset_t awaited;
    sigemptyset(&awaited);
    sigaddset(&awaited, SIGUSR1);
    sigprocmask(SIG_BLOCK, &awaited, NULL);
    sem_init(&over, 0, 0);
    signal(SIGSEGV, crash);
    pthread_barrier_init(&barrier, NULL, 4);
    for (long i = 0; i < 3; i++)
        pthread_create(&threads[i], NULL, threaded, (void *)(i * 3));
    pthread_barrier_wait(&barrier);
    usleep(50000);
    if (count > 1) {
        void (*volatile nothing)(void) = NULL;
        nothing();
    }
    puts("ready");
    fflush(stdout);
    sigwait(&awaited, &caught);
    for (int i = 0; i < 3; i++)
        sem_post(&over);
    for (int i = 0; i < 3; i++)
        pthread_join(threads[i], NULL);
    return caught == SIGUSR1 ? 7 : 1;
}
"""
needs_linux = pytest.mark.skipif(
    sys.platform != "linux" or os.uname().machine != "x86_64" or not shutil.which("gcc"),
    reason="needs gcc on x86-64 Linux",
)
needs_gdb = pytest.mark.skipif(not shutil.which("gdb"), reason="there is no gdb here")


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("cores")
    (directory / "prog.c").write_text(PROGRAM)
    command = ["gcc", "-g", "-O2", "-pthread", "-Wl,--build-id", "-o", "prog", "prog.c"]
    subprocess.run(command, cwd=directory, check=True)
    return directory / "prog"


@pytest.fixture
def running(program: Path) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen([program], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    while Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()[0] != "S":
        time.sleep(0.01)
    yield process
    process.kill()
    process.wait()
    process.stdout.close()


@pytest.fixture(scope="module")
def core(program: Path) -> Path:
    """A core that the kernel wrote: a null function pointer was called, and the handler aborted."""
    directory = program.parent / "crash"
    directory.mkdir()

    def unlimited() -> None:
        hard = resource.getrlimit(resource.RLIMIT_CORE)[1]
        resource.setrlimit(resource.RLIMIT_CORE, (hard, hard))

    subprocess.run([program, "crash"], cwd=directory, preexec_fn=unlimited, check=False)
    found = [path for path in directory.iterdir() if path.name.startswith("core")]
    if not found:
        pytest.skip("this system writes no cores into the current directory")
    return found[0]


@needs_linux
@needs_gdb
def test_stacks_of_a_core_are_gdbs(program: Path, core: Path) -> None:
    target = open_core(core)
    judged = of_core(program, core)
    assert {thread.tid for thread in target.threads} == {row["tid"] for row in judged}
    assert len(judged) == 4
    assert [difference(row, target.stack(row["tid"]), target.symbols) for row in judged] == [None] * 4
    assert target.missing == ()


@needs_linux
def test_a_crash_shows_how_it_came_about(core: Path) -> None:
    target = open_core(core)
    stack = target.stack()
    assert target.threads[0].signal == signal.SIGABRT
    assert stack.is_complete
    names = [frame.function for frame in stack]
    at = names.index("crash")
    assert [stack[at + 1].is_return, stack[at + 2].found] == [False, Found.SIGNAL]
    assert (stack[at + 2].address, names[at + 3]) == (0, "main")
    assert stack[at + 3].line == 1 + next(
        number for number, line in enumerate(PROGRAM.splitlines()) if "nothing();" in line
    )


@needs_linux
@needs_gdb
def test_stacks_of_a_live_process_are_gdbs(program: Path, running: subprocess.Popen[str]) -> None:
    with open_process(running.pid) as target:
        stacks = {thread.tid: target.stack(thread.tid) for thread in target.threads}
        symbols = target.symbols
    prefix = program.parent / "live"
    subprocess.run(
        ["gdb", "-nx", "-batch", "-ex", f"gcore {prefix}", "-p", str(running.pid)],
        capture_output=True,
        check=True,
        timeout=120,
    )
    judged = of_core(program, prefix)
    assert len(judged) == len(stacks) == 4
    assert [difference(row, stacks[row["tid"]], symbols) for row in judged] == [None] * 4
    # And gdb's core, which has other contents than the kernel's, gives the same.
    target = open_core(prefix)
    assert {thread.tid: str(target.stack(thread.tid)) for thread in target.threads} == {
        tid: str(stack) for tid, stack in stacks.items()
    }


@needs_linux
def test_a_process_does_not_notice(running: subprocess.Popen[str]) -> None:
    for _ in range(20):
        with open_process(running.pid) as target:
            assert target.threads[0].tid == running.pid
            assert all(target.stack(thread.tid).is_complete for thread in target.threads)
            state = Path(f"/proc/{running.pid}/stat").read_text().rpartition(")")[2].split()[0]
            assert state == "t"
    with open_process(running.pid):
        # It comes while nobody runs.
        os.kill(running.pid, signal.SIGUSR1)
        time.sleep(0.05)
        assert running.poll() is None
    assert running.wait(10) == 7


@needs_linux
def test_a_process_goes_on_if_looking_fails(running: subprocess.Popen[str]) -> None:
    with pytest.raises(ZeroDivisionError), open_process(running.pid):
        raise ZeroDivisionError
    os.kill(running.pid, signal.SIGUSR1)
    assert running.wait(10) == 7


@needs_linux
def test_a_process_that_cannot_be_looked_at_is_an_error(running: subprocess.Popen[str]) -> None:
    with pytest.raises(ImageError, match="no such process"), open_process(2**30):
        pass
    with (
        open_process(running.pid),
        pytest.raises(ImageError, match="traces it already"),
        open_process(running.pid),
    ):
        pass


@needs_linux
def test_another_file_than_the_recorded_one_is_not_used(core: Path, program: Path, tmp_path: Path) -> None:
    other = tmp_path / program.name
    (tmp_path / "prog.c").write_text(PROGRAM.replace("+ 1;", "+ 2;"))
    subprocess.run(["gcc", "-g", "-O2", "-pthread", "-o", other, tmp_path / "prog.c"], check=True)
    kept = program.rename(program.with_suffix(".kept"))
    try:
        shutil.copy(other, program)
        target = open_core(core)
        assert any("build id" in text and "prog" in text for text in target.missing)
        assert "crash" not in [frame.function for frame in target.stack()]
        below = tmp_path / "root" / str(program).lstrip("/")
        below.parent.mkdir(parents=True)
        shutil.copy(kept, below)
        target = open_core(core, sysroot=tmp_path / "root")
        assert target.missing == ()
        assert "crash" in [frame.function for frame in target.stack()]
    finally:
        kept.rename(program)


@needs_linux
def test_damaged_cores_end_stacks_and_nothing_else(core: Path, tmp_path: Path) -> None:
    whole = core.read_bytes()
    chance = random.Random(5)
    path = tmp_path / "damaged"
    for _ in range(60):
        damaged = bytearray(whole[: chance.choice((len(whole), chance.randrange(len(whole))))])
        for _ in range(chance.choice((1, 20, 400))):
            # The headers and notes come first.
            damaged[chance.randrange(min(len(damaged), chance.choice((64, 8192, len(damaged)))))] = (
                chance.randrange(256)
            )
        path.write_bytes(damaged)
        try:
            target = open_core(path)
        except ImageError:
            continue
        for thread in target.threads:
            stack = target.stack(thread.tid, limit=200)
            assert len(stack) <= 200


@needs_linux
def test_the_command_shows_stacks(
    core: Path, running: subprocess.Popen[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["stack", "--pid", str(running.pid)]) == 0
    text = capsys.readouterr().out
    assert text.count("thread ") == 4
    assert text.count(" in threaded ") == 0
    assert text.count(" in wait_deep") >= 3
    assert main(["stack", "--core", str(core), "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["machine"] == "x86-64"
    assert len(document["threads"]) == 4
    assert document["threads"][0]["frames"][-1]["function"] == "_start"
    tid = document["threads"][2]["tid"]
    assert main(["stack", "--core", str(core), "--tid", str(tid)]) == 0
    assert capsys.readouterr().out.startswith(f"thread {tid} ")
    assert main(["stack", "--core", str(core), "--tid", "1"]) == 2
    assert "threads:" in capsys.readouterr().err
    assert main(["stack"]) == 2
    assert "--core" in capsys.readouterr().err


CROSS_PROGRAM = """
#include <stdlib.h>
__attribute__((noinline)) int deep(int depth)
{
    int rows[4] = {depth};
    if (depth == 0)
        abort();
    return deep(depth - 1) + rows[depth % 4];
}
int main(void) { return deep(4); }
"""


def test_a_core_of_aarch64_has_stacks(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    if not shutil.which("aarch64-linux-gnu-gcc") or not shutil.which("qemu-aarch64"):
        pytest.skip("needs a compiler for AArch64 and QEMU")
    (tmp_path / "prog.c").write_text(CROSS_PROGRAM)
    program = tmp_path / "prog"
    subprocess.run(
        ["aarch64-linux-gnu-gcc", "-g", "-O1", "-static", "-o", program, tmp_path / "prog.c"], check=True
    )
    hard = resource.getrlimit(resource.RLIMIT_CORE)[1]
    subprocess.run(
        ["qemu-aarch64", program],
        cwd=tmp_path,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_CORE, (hard, hard)),
        check=False,
    )
    cores = list(tmp_path.glob("qemu_*.core"))
    if not cores:
        pytest.skip("QEMU writes no cores here")
    # It does not say what was mapped: frame pointers are all there is, and nothing has a name.
    stack = open_core(cores[0]).stack()
    assert all(frame.is_guess and frame.function is None for frame in stack[1:])
    target = open_core(cores[0], program=program)
    assert target.machine == "aarch64"
    stack = target.stack()
    assert stack.is_complete
    names = [frame.function for frame in stack]
    at = names.index("abort")
    assert names[at : at + 7] == ["abort", *["deep"] * 5, "main"]
    assert names[-1] == "_start"
    assert main(["stack", "--core", str(cores[0]), "--program", str(program)]) == 0
    assert capsys.readouterr().out.count(" in deep+") == 5
    with pytest.raises(ImageError, match="no ELF program"):
        open_core(cores[0], program=tmp_path / "prog.c")
