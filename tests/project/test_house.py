"""What the house forbids: calls that only one system has, where the product should run anywhere."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from support.paths import ROOT

LONG = 500
LINUX_ONLY_RUST = re.compile(r"std::os::linux|\blibc::|\bnix::|/proc/|/sys/")
LINUX_ONLY_PYTHON = re.compile(
    r"\bos\.(sched_\w+|pidfd_open|eventfd\w*|memfd_create|splice|posix_fadvise|getrandom|setns|unshare)\b"
    r"|\bsignal\.(pidfd_send_signal|sigtimedwait)\b|\bfcntl\b|\bresource\b"
)
RECORDERS = {"record.py", "qemu.py", "ptrace.py", "hardware.py", "doctor.py", "spool.py", "groupsignals.py"}


def offences(files: list[Path], forbidden: re.Pattern[str], comment: str) -> list[str]:
    found = []
    for file in files:
        for number, line in enumerate(file.read_text().splitlines(), 1):
            code = line.split(comment)[0]
            if forbidden.search(code):
                found.append(f"{file.relative_to(ROOT)}:{number}: {line.strip()}")
    return found


def test_the_core_makes_no_linux_only_call() -> None:
    files = sorted((ROOT / "crates/core/src").rglob("*.rs"))
    assert len(files) > 20
    assert offences(files, LINUX_ONLY_RUST, "//") == []


def test_readers_and_views_make_no_linux_only_call() -> None:
    files = [file for file in sorted((ROOT / "python/odograph").rglob("*.py")) if file.name not in RECORDERS]
    assert len(files) > 20
    assert offences(files, LINUX_ONLY_PYTHON, "#") == []


def test_the_check_finds_what_it_looks_for(tmp_path: Path) -> None:
    assert LINUX_ONLY_RUST.search("let fd = libc::memfd_create();")
    assert LINUX_ONLY_PYTHON.search("os.sched_setaffinity(0, {1})")
    assert not LINUX_ONLY_PYTHON.search("os.open(path, os.O_RDONLY)")


def test_a_long_file_says_at_its_head_why_it_is_long() -> None:
    run = subprocess.run(
        ["git", "ls-files", "*.py", "*.pyi", "*.rs"], cwd=ROOT, capture_output=True, text=True
    )
    if run.returncode:
        pytest.skip("this is no git repository")
    silent = []
    for name in run.stdout.splitlines():
        lines = (ROOT / name).read_text().splitlines() if (ROOT / name).exists() else []
        if len(lines) > LONG and not any("This file is long because" in line for line in lines[:40]):
            silent.append(f"{name} has {len(lines)} lines")
    assert silent == []
