"""Threads that fork at the same moment: each child is recorded from its first instruction on."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

import odograph
from odograph.recorder import ptrace
from odograph.recorder.record import record

pytestmark = pytest.mark.skipif(
    shutil.which("gcc") is None or ptrace.unavailable() is not None, reason="needs gcc and ptrace"
)

PROGRAM = """
#include <pthread.h>
#include <sys/wait.h>
#include <unistd.h>
__attribute__((noinline)) int work(int n) { volatile int s = 0; while (n--) s += n; return s; }
static void *forking(void *unused) {
    pid_t child = fork();
    if (child == 0) { work(33); _exit(3); }
    int status;
    waitpid(child, &status, 0);
    return 0;
}
int main() {
    pthread_t threads[3];
    for (int at = 0; at < 3; at++) pthread_create(&threads[at], 0, forking, 0);
    for (int at = 0; at < 3; at++) pthread_join(threads[at], 0);
    return 0;
}
"""


def test_children_of_threads_that_fork_at_once_are_recorded(tmp_path: Path) -> None:
    (tmp_path / "forks.c").write_text(PROGRAM)
    program = tmp_path / "forks"
    subprocess.run(["gcc", "-O1", "-static", "-pthread", "-o", program, tmp_path / "forks.c"], check=True)
    for attempt in range(3):
        assert record([str(program)], tmp_path / "x", backend="ptrace").status == 0
        recording = odograph.open(tmp_path / "x")
        assert all(verdict.ok for verdict in recording.verify())
        children = [thread for thread in recording.threads if thread.pid != recording.threads[0].pid]
        assert len(children) == 3, attempt
        for child in children:
            history = recording.history(child.tid)
            assert history.gap_count == 0
            assert len(list(history.find("work"))) == 1, attempt
