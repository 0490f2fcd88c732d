"""Which packages bring separate debug files."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterable

__all__ = ["debug_packages"]


def debug_packages(paths: Iterable[str]) -> dict[str, str]:
    """The Debian packages with the debug files of ``paths``, as far as installed packages own these."""
    if shutil.which("dpkg-query") is None:
        return {}
    # Packages may list /lib/x and have it in /usr/lib/x, where the former directory is a link.
    # Packages own absolute paths only; what a recording names otherwise could pass for an option.
    owned = [path for path in paths if path.startswith("/")]
    asked = {name: path for path in owned for name in (path, path.removeprefix("/usr"), f"/usr{path}")}
    asked = {name: path for name, path in asked.items() if name.startswith("/")}
    if not asked:
        return {}
    try:
        run = subprocess.run(
            ["dpkg-query", "--search", *asked], capture_output=True, text=True, timeout=20, check=False
        )
    except (OSError, subprocess.SubprocessError):
        return {}
    found = {}
    for line in run.stdout.splitlines():
        owner, _, name = line.partition(": ")
        if name in asked and not owner.startswith("diversion "):
            package = owner.split(",")[0].partition(":")[0]
            # The C library's are in Debian's main archive under a name of their own.
            found[asked[name]] = "libc6-dbg" if package == "libc6" else f"{package}-dbgsym"
    return found
