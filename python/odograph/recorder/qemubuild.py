"""Builds QEMU user mode with plugins into the user's cache, from the source package of Debian 12.

Where the system's QEMU has no plugins, this one records. apt fetches the source and checks its signature
against Debian's keys; nothing outside the cache directory is changed. Its internal symbols stay visible
(``--enable-modules``).
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from odograph.errors import RecordingError
from odograph.recorder.qemu import built_path

__all__ = ["PACKAGES", "Report", "build_qemu", "missing_packages"]

#: Called with what is done, how much of it and of how much; of 0 where that is not known.
Report = Callable[[str, int, int], None]

KEYS = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
_MIRROR = "http://deb.debian.org/debian"
_TARGETS = ("x86_64-linux-user", "i386-linux-user")

#: Debian packages that the build needs, each with what shows that it is there: a program, a file, or a
#: library that pkg-config knows.
PACKAGES = {
    "apt": "apt-get",
    "debian-archive-keyring": str(KEYS),
    "dpkg-dev": "dpkg-source",
    "xz-utils": "xz",
    "gcc": "cc",
    "libc6-dev": "/usr/include/stdio.h",
    "make": "make",
    "meson": "meson",
    "ninja-build": "ninja",
    "pkg-config": "pkg-config",
    "libglib2.0-dev": "glib-2.0 >= 2.56",
}


def missing_packages() -> list[str]:
    """The Debian packages that are missing for the build."""
    return [package for package, sign in PACKAGES.items() if not _present(sign)]


def _present(sign: str) -> bool:
    if sign.startswith("/"):
        return os.path.exists(sign)
    if " " in sign:
        if shutil.which("pkg-config") is None:
            return False
        return subprocess.run(["pkg-config", "--exists", sign], check=False).returncode == 0
    return shutil.which(sign) is not None


def build_qemu(report: Report, *, mirror: str | None = None) -> Path:
    """Fetch, check and build QEMU 7.2; the path of its ``qemu-x86_64``.

    ``mirror`` is the Debian archive to ask, by default the one apt uses here. What is built replaces what
    was built before, program by program, once all of it is complete. Takes some minutes of processor time,
    at low priority, and 1 GB of disk meanwhile. Raises RecordingError that says which step failed and why.
    """
    missing = missing_packages()
    if missing:
        raise RecordingError(
            f"building QEMU needs {len(missing)} more packages; as root: apt install {' '.join(missing)}"
        )
    target = built_path().parent.parent
    target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="building-qemu-", dir=target.parent) as name:
        work = Path(name)
        source = _source(work, mirror or _mirror(), report)
        made = _compile(work, source, report)
        finished = work / "finished"
        for directory in (finished, finished / "bin"):
            directory.mkdir(mode=0o755)
        for program in made:
            shutil.copyfile(program, finished / "bin" / program.name)
            # No other user may change what runs here later, with any umask.
            (finished / "bin" / program.name).chmod(0o755)
        shutil.copyfile(source / "COPYING", finished / "COPYING")
        _replace(finished, target)
    return built_path()


def _replace(finished: Path, target: Path) -> None:
    """Puts a finished build into its place. Each program there is at every moment the old or the new one.

    A recording that starts meanwhile therefore always finds a program. Raises RecordingError, which says
    what to do, if something else lies in that place.
    """
    try:
        if not os.path.lexists(target):
            finished.rename(target)
            return
        for made in (path for path in sorted(finished.rglob("*")) if path.is_file()):
            os.replace(made, target / made.relative_to(finished))
    except OSError as error:
        raise RecordingError(
            f"cannot put what was built into {target}: {error.strerror}; remove {target} and build again"
        ) from error


def _source(work: Path, mirror: str, report: Report) -> Path:
    """The unpacked source, whose checksums and signature apt and dpkg-source have checked."""
    report(f"fetching the source of QEMU 7.2 from {mirror} (34 MB)", 0, 0)
    listed = work / "sources.list"
    listed.write_text(f"deb-src [signed-by={KEYS}] {mirror} bookworm main\n")
    # A list of sources, a state and a cache of our own: apt's settings here stay as they are.
    for directory in ("lists/partial", "cache/archives/partial"):
        (work / directory).mkdir(parents=True)
    apt = ["apt-get", "-q"]
    for option in (
        f"Dir::Etc::SourceList={listed}",
        "Dir::Etc::SourceParts=/dev/null",
        f"Dir::State::Lists={work / 'lists'}",
        f"Dir::Cache={work / 'cache'}",
        # The user apt downloads as, where root runs it, may not read a private directory.
        f"APT::Sandbox::User={_user()}",
        "APT::Get::AllowUnauthenticated=false",
        "Acquire::AllowInsecureRepositories=false",
    ):
        apt += ["-o", option]
    log = work / "fetch.log"
    _do([*apt, "--error-on=any", "update"], work, log, "fetching Debian's index of sources")
    _do(
        [*apt, "source", "--download-only", "--only-source", "qemu"], work, log, "fetching the source of QEMU"
    )
    described = sorted(work.glob("qemu_7.2*.dsc"))
    if len(described) != 1:
        raise RecordingError(
            "fetching the source of QEMU failed: Debian 12 has no source of QEMU 7.2 any more; "
            "record with --with ptrace"
        )
    report("unpacking", 0, 0)
    # apt checked every file by the signed index; dpkg-source compares them with the description once more.
    unpack = ["dpkg-source", "--extract", described[0].name, "source"]
    _do(unpack, work, log, "unpacking the source of QEMU")
    return work / "source"


def _compile(work: Path, source: Path, report: Report) -> list[Path]:
    build = work / "build"
    build.mkdir()
    report("configuring", 0, 0)
    configure = [
        str(source / "configure"),
        f"--target-list={','.join(_TARGETS)}",
        "--without-default-features",
        "--enable-modules",
        "--enable-plugins",
        "--disable-werror",
    ]
    _do(_nice(configure), build, work / "configure.log", "configuring QEMU")
    names = [f"qemu-{target.removesuffix('-linux-user')}" for target in _TARGETS]
    log = work / "build.log"
    with _started(_nice(["ninja", *names]), build, log, "building QEMU") as lines:
        for line in lines:
            if found := re.match(r"\[(\d+)/(\d+)\]", line):
                report("compiling QEMU", int(found[1]), int(found[2]))
    return [build / name for name in names]


def _nice(command: Sequence[str]) -> list[str]:
    """The command at low priority, where there is a program for that."""
    return [*(["nice", "-n", "10"] if shutil.which("nice") else []), *command]


def _do(command: Sequence[str], directory: Path, log: Path, what: str) -> None:
    with _started(command, directory, log, what) as lines:
        for _ in lines:
            pass


@contextmanager
def _started(command: Sequence[str], directory: Path, log: Path, what: str) -> Iterator[Iterator[str]]:
    """The output of a command line by line, kept in ``log``; RecordingError with its end if it fails."""
    environment = {**os.environ, "LC_ALL": "C.UTF-8"}
    with log.open("a") as copy:
        run = subprocess.Popen(
            command,
            cwd=directory,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
        )
        assert run.stdout is not None

        def lines() -> Iterator[str]:
            for line in run.stdout or ():
                copy.write(line)
                yield line

        try:
            yield lines()
        except BaseException:
            run.kill()
            raise
        finally:
            run.stdout.close()
            status = run.wait()
    if status:
        end = "\n".join(log.read_text(errors="replace").strip().splitlines()[-15:])
        raise RecordingError(f"{what} failed ({command[0]} ended with {status}):\n{end}")


def _user() -> str:
    import getpass

    return getpass.getuser()


def _mirror() -> str:
    """The Debian archive that apt uses here; Debian's own address if it uses none, as on Ubuntu."""
    texts = []
    for path in (Path("/etc/apt/sources.list"), *sorted(Path("/etc/apt/sources.list.d").glob("*.*"))):
        if path.suffix in (".list", ".sources"):
            try:
                texts.append(path.read_text(errors="replace"))
            except OSError:
                continue
    for line in "\n".join(texts).splitlines():
        found = re.search(r"\bhttps?://\S+/debian/?(?=\s|$)", line.split("#")[0])
        if found:
            return found[0].rstrip("/")
    return _MIRROR
