"""Building QEMU: its steps with stand-ins for apt, dpkg-source, configure and ninja.

The real build takes minutes and the network; `odograph doctor --build-qemu` on a machine tries it.
"""

from __future__ import annotations

import os
import shutil
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from odograph.errors import RecordingError
from odograph.recorder import qemu, qemubuild

FAKES = {
    # Checks that apt is asked for signed sources, and makes what it would fetch.
    "apt-get": """
        case "$*" in
        *update*)
            for word; do case $word in Dir::Etc::SourceList=*) list=${word#*=} ;; esac; done
            grep -q '^deb-src \\[signed-by=/.*\\] http.* bookworm main$' "$list" || exit 1
            ;;
        *source*) : >qemu_7.2+dfsg-7.dsc ;;
        esac
    """,
    "dpkg-source": """
        mkdir source
        echo 'the licence' >source/COPYING
        printf '#!/bin/sh\\necho "$@" >options\\n' >source/configure
        chmod +x source/configure
    """,
    "ninja": """
        for number in 1 2 3 4; do echo "[$number/4] Compiling"; done
        grep -q -e --enable-plugins options && grep -q -e --enable-modules options || exit 1
        for name; do printf '#!/bin/sh\\n' >$name; chmod +x $name; done
    """,
    "pkg-config": "exit 0",
    "xz": "",
    "cc": "",
    "make": "",
    "meson": "",
}


@pytest.fixture
def fakes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A search path where every tool of the build is a stand-in; a cache of its own."""
    folder = tmp_path / "fakes"
    folder.mkdir()
    for name, commands in FAKES.items():
        fake(folder / name, commands)
    for name in ("grep", "mkdir", "chmod", "sh"):
        found = shutil.which(name)
        assert found is not None
        (folder / name).symlink_to(found)
    monkeypatch.setenv("PATH", str(folder))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(qemubuild, "PACKAGES", {**qemubuild.PACKAGES, "debian-archive-keyring": "/dev/null"})
    monkeypatch.setattr(qemubuild, "PACKAGES", {**qemubuild.PACKAGES, "libc6-dev": "/dev/null"})
    return folder


def fake(path: Path, commands: str) -> None:
    path.write_text(f"#!/bin/sh\n{commands}\n")
    path.chmod(0o755)


def test_a_build_ends_in_the_cache(fakes: Path) -> None:
    said: list[tuple[str, int, int]] = []
    path = qemubuild.build_qemu(lambda *words: said.append(words), mirror="http://mirror.example/debian")
    assert path == qemu.built_path()
    assert os.access(path, os.X_OK)
    assert sorted(one.name for one in path.parent.iterdir()) == ["qemu-i386", "qemu-x86_64"]
    assert (path.parent.parent / "COPYING").read_text() == "the licence\n"
    assert qemu.qemu_path() == str(path)
    assert "http://mirror.example/debian" in said[0][0]
    assert said[-4:] == [("compiling QEMU", number, 4) for number in (1, 2, 3, 4)]
    # Nothing of the work is left, and a second build replaces the first.
    assert os.listdir(qemu.cache_directory()) == ["qemu-7.2"]
    path.write_text("old")
    qemubuild.build_qemu(lambda *words: None)
    assert path.read_text() == "#!/bin/sh\n"
    assert os.listdir(qemu.cache_directory()) == ["qemu-7.2"]


def test_there_is_a_whole_program_at_every_moment(fakes: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = qemubuild.build_qemu(lambda *words: None)
    seen: list[bool] = []
    for name in ("rename", "replace", "unlink", "rmdir"):
        real = getattr(os, name)

        def watched(*arguments: object, real: Callable[..., object] = real, **options: object) -> object:
            try:
                return real(*arguments, **options)
            finally:
                seen.append(os.access(path, os.X_OK))

        monkeypatch.setattr(os, name, watched)
    qemubuild.build_qemu(lambda *words: None)
    assert seen
    assert all(seen)


def test_what_lies_in_the_place_of_a_build_is_named(fakes: Path) -> None:
    path = qemubuild.build_qemu(lambda *words: None)
    shutil.rmtree(path.parent)
    path.parent.write_text("something else")
    with pytest.raises(RecordingError, match=r"remove \S+qemu-7.2 and build again"):
        qemubuild.build_qemu(lambda *words: None)
    assert path.parent.read_text() == "something else"


def test_only_its_owner_can_change_what_is_built(fakes: Path) -> None:
    before = os.umask(0)
    try:
        path = qemubuild.build_qemu(lambda *words: None)
    finally:
        os.umask(before)
    for one in (path, path.parent, path.parent.parent, qemu.cache_directory()):
        assert not one.stat().st_mode & (stat.S_IWGRP | stat.S_IWOTH), one


@pytest.mark.parametrize(
    ("tool", "commands", "says"),
    [
        ("apt-get", "echo 'E: The repository is not signed.'; exit 100", "not signed"),
        ("apt-get", "", "no source of QEMU 7.2"),
        ("dpkg-source", "echo 'checksum mismatch' >&2; exit 25", "checksum mismatch"),
        ("ninja", "echo 'gcc: fatal error'; exit 1", r"building QEMU failed .*\n.*gcc: fatal error"),
    ],
)
def test_a_step_that_fails_leaves_what_was_there(fakes: Path, tool: str, commands: str, says: str) -> None:
    path = qemubuild.build_qemu(lambda *words: None)
    path.write_text("from before")
    fake(fakes / tool, commands)
    with pytest.raises(RecordingError, match=says):
        qemubuild.build_qemu(lambda *words: None)
    assert path.read_text() == "from before"
    assert os.listdir(qemu.cache_directory()) == ["qemu-7.2"]


def test_missing_packages_are_named_before_anything_starts(fakes: Path) -> None:
    assert qemubuild.missing_packages() == []
    (fakes / "ninja").unlink()
    fake(fakes / "pkg-config", "exit 1")
    with pytest.raises(RecordingError, match=r"as root: apt install ninja-build libglib2.0-dev$"):
        qemubuild.build_qemu(lambda *words: pytest.fail("started"))
    assert not qemu.cache_directory().exists()
    (fakes / "pkg-config").unlink()
    assert qemubuild.missing_packages() == ["ninja-build", "pkg-config", "libglib2.0-dev"]
