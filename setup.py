"""Builds the two Rust libraries of the package with one cargo command. The rest stands in pyproject.toml.

One command, because cargo compiles a crate again wherever two commands ask for other features of what it
depends on.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import ClassVar

from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext
from setuptools.errors import CompileError

ROOT = Path(__file__).parent
# Module or library of the package: the crate that it is made of.
LIBRARIES = {"odograph._native": "odograph-python", "odograph.recorder._recorder": "odograph-plugin"}


def cargo_build() -> dict[str, Path]:
    """Build every library; the file that cargo made for each crate.

    ``ODOGRAPH_CARGO_PROFILE`` names a profile of Cargo.toml other than ``release``, such as ``quick``. With
    ``ODOGRAPH_DEBUG_FILES`` the libraries are stripped, and that directory gets their debug information.
    """
    profile = os.environ.get("ODOGRAPH_CARGO_PROFILE", "release")
    # The workspace's default members; variables for it stand in .cargo/config.toml.
    command = [os.environ.get("CARGO", "cargo"), "build", "--locked", "--profile", profile]
    try:
        run = subprocess.run(
            [*command, "--message-format", "json-render-diagnostics"],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            text=True,
            check=True,
        )
    except FileNotFoundError as error:
        raise CompileError("cargo was not found; install a current Rust (rustup.rs)") from error
    except subprocess.CalledProcessError as error:
        raise CompileError(f"{' '.join(command)} failed; its messages stand above") from error
    built = {}
    for line in run.stdout.splitlines():
        message = json.loads(line)
        if message["reason"] == "compiler-artifact" and "cdylib" in message["target"]["kind"]:
            package = Path(message["manifest_path"]).parent.name
            built[f"odograph-{package}"] = Path(message["filenames"][0])
    return built


def split_debug(library: Path, directory: Path) -> None:
    """Move what only debuggers need into ``directory``; the library names that file (``.gnu_debuglink``)."""
    directory.mkdir(parents=True, exist_ok=True)
    debug = directory / f"{library.name}.debug"
    for line in (
        ["objcopy", "--only-keep-debug", "--compress-debug-sections", library, debug],
        ["objcopy", "--strip-all", f"--add-gnu-debuglink={debug}", library],
    ):
        subprocess.run(line, check=True)


class BuildLibraries(build_ext):
    """Puts what cargo builds where setuptools wants extension modules."""

    built: ClassVar[dict[str, Path]] = {}

    def build_extension(self, ext: Extension) -> None:
        if not self.built:
            self.built.update(cargo_build())
        target = Path(self.get_ext_fullpath(ext.name))
        target.parent.mkdir(parents=True, exist_ok=True)
        # A new file: QEMU and other programs may have the old one mapped.
        target.unlink(missing_ok=True)
        shutil.copyfile(self.built[LIBRARIES[ext.name]], target)
        if "ODOGRAPH_DEBUG_FILES" in os.environ:
            split_debug(target, Path(os.environ["ODOGRAPH_DEBUG_FILES"]))


# Neither library depends on the version of Python: the names end in .abi3.so, and one wheel serves all.
setup(
    ext_modules=[Extension(name, sources=[], py_limited_api=True) for name in LIBRARIES],
    cmdclass={"build_ext": BuildLibraries},
    options={"bdist_wheel": {"py_limited_api": "cp311"}},
)
