"""Fixtures for tests over the shared recordings."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import hypothesis
import pytest

from odograph.cluster import Cluster
from support.sharedtraces import SHARED, Unpacker, no_shared, shared_is_here

# What runs in the background of a shell ignores Ctrl-C, and its children do; tests press it.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# The same examples every time; the acceptance tests ask for others. How quick the machine is says nothing of
# the product: on a busy one examples take longer than Hypothesis allows by default.
_ANY_MACHINE = {"deadline": None, "suppress_health_check": [hypothesis.HealthCheck.too_slow]}
hypothesis.settings.register_profile("same", derandomize=True, **_ANY_MACHINE)
hypothesis.settings.register_profile("others", print_blob=True, **_ANY_MACHINE)
hypothesis.settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "same"))


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of shared recordings: beside the repository, or where ODOGRAPH_SHARED says."""
    if not shared_is_here():
        pytest.skip(no_shared())
    return SHARED


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Says why there are no examples: lists of them are empty only where the shared data is missing."""
    if shared_is_here():
        return
    for item in items:
        for mark in item.iter_markers("skip"):
            if "empty parameter set" in mark.kwargs.get("reason", ""):
                item.add_marker(pytest.mark.skip(reason=no_shared()), append=False)
                break


@pytest.fixture(scope="session")
def unpacked(tmp_path_factory: pytest.TempPathFactory) -> Unpacker:
    """Unpacks ``.xz`` files, each once in a session."""
    return Unpacker(tmp_path_factory.mktemp("unpacked"))


@pytest.fixture(scope="session")
def cluster() -> Iterator[Cluster]:
    """Two processes of this machine; parts are as small as they can be, so that there are many."""
    pytest.importorskip("distributed")
    with Cluster(workers=2, part_size=1) as cluster:
        yield cluster


@pytest.fixture
def private_mount() -> Callable[[Path, str], list[str]]:
    """Words before a command that finds a file system of a size at a directory; nobody else sees it."""

    def words(directory: Path, size: str) -> list[str]:
        script = f'mount -t tmpfs -o size={size} none {directory} && exec "$@"'
        line = ["unshare", "-m", "sh", "-c", script, "sh"]
        if shutil.which("unshare") is None or subprocess.run([*line, "true"], capture_output=True).returncode:
            pytest.skip("no private mounts here")
        return line

    return words
