"""A library that is replaced while the program runs gives no names to the code of the one before."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

import odograph
from odograph.recorder import ptrace, qemu
from odograph.recorder.record import record

FIRST = """\
int value;
__attribute__((noinline)) static void first_helper(int i) { value += i; __asm__("nop"); }
int plug(int i) { first_helper(i); return 1; }
"""
SECOND = """\
int value;
__attribute__((noinline)) static void second_helper(int i) { value -= i; __asm__("nop; nop"); }
int other(int i) { second_helper(i); value *= 3; return 9; }
int plug(int i) { second_helper(i); second_helper(i + 1); other(2); return 2; }
"""
HOST = """\
#include <dlfcn.h>
#include <stdlib.h>
static void load(void)
{
    void *handle = dlopen("./plug.so", RTLD_NOW);
    ((int (*)(int))dlsym(handle, "plug"))(3);
    dlclose(handle);
}
int main(int count, char **words)
{
    load();
    if (system(words[1]) != 0)
        return 1;
    load();
    return 0;
}
"""

REPLACING = {
    "written": "cp second.so plug.so",
    "written, with its old time": "cat second.so > plug.so; touch -r first.so plug.so",
    "written, with the time of the other": "cp -p second.so plug.so",
    "renamed": "cp -p second.so new.so; mv new.so plug.so",
    "another link": "ln -sf second.so plug.so",
}
HARMLESS = {"permissions": "chmod 755 plug.so", "a link to it": "ln plug.so more.so", "nothing": "true"}

#: Single steps of a shell take seconds.
BACKENDS = ["qemu", pytest.param("ptrace", marks=pytest.mark.acceptance)]


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if shutil.which("gcc") is None:
        pytest.skip("needs gcc")
    folder = tmp_path_factory.mktemp("built")
    for name, text in (("first", FIRST), ("second", SECOND), ("host", HOST)):
        (folder / f"{name}.c").write_text(text)
    for name in ("first", "second"):
        command = ["gcc", "-O1", "-fPIC", "-shared", "-o", f"{name}.so", f"{name}.c"]
        subprocess.run(command, cwd=folder, check=True)
    subprocess.run(["gcc", "-o", "host", "host.c", "-ldl"], cwd=folder, check=True)
    return folder


def names_after(
    command: str, backend: str, built: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> tuple[set[str], bool]:
    """The names of code in ``plug.so``, and whether the recording says that the file is another one."""
    backends = {"qemu": qemu.unavailable, "ptrace": ptrace.unavailable}
    if backends[backend]() is not None:
        pytest.skip(f"cannot record with {backend} here")
    for name in ("first.so", "second.so", "host"):
        shutil.copy2(built / name, folder / name)
    shutil.copy2(folder / "first.so", folder / "plug.so")
    monkeypatch.chdir(folder)
    path = folder / "host.data"
    assert record(["./host", command], path, backend=backend).status == 0
    recording = odograph.open(path)
    history, symbols = recording.history(), recording.symbols()
    names = set()
    for row in history.functions():
        place = symbols.name_of(row["ip"])
        if place is not None and place.module == "plug.so" and place.name is not None:
            names.add(place.name)
    return names, any("plug.so" in name for name in recording.source.binaries.refused)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("how", REPLACING)
def test_replaced_libraries_give_no_names(
    how: str, backend: str, built: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert names_after(REPLACING[how], backend, built, tmp_path, monkeypatch) == (set(), True)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("how", HARMLESS)
def test_what_changes_no_byte_takes_no_names(
    how: str, backend: str, built: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names, refused = names_after(HARMLESS[how], backend, built, tmp_path, monkeypatch)
    assert {"plug", "first_helper"} <= names
    assert not refused
