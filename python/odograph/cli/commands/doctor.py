"""``odograph doctor``: what this machine can record with."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

import click

from odograph.cli.failure import Failure
from odograph.cli.output import json_option, write_json, write_lines
from odograph.cli.progress import progress

__all__ = ["command"]


@click.command("doctor")
@click.option(
    "--build-qemu",
    is_flag=True,
    help="First build QEMU 7.2 user mode from Debian 12's source package, into the user's cache.",
)
@json_option
def command(build_qemu: bool, as_json: bool) -> int:
    """Say what this machine can record with, and what to install or set for more.

    \b
    Each recorder records a tiny program. Exits with 1 if nothing can record here.
    """
    from odograph.recorder.doctor import doctor

    if build_qemu:
        _build_qemu()
    report = doctor()
    if as_json:
        write_json(report.to_dict())
    else:
        write_lines(str(report).splitlines())
    return 0 if report.best is not None else 1


def _build_qemu() -> None:
    from odograph.errors import RecordingError
    from odograph.recorder import qemu
    from odograph.recorder.qemubuild import PACKAGES, build_qemu

    _say(f"building QEMU 7.2 user mode into {qemu.built_path().parent.parent}")
    _say(f"needed packages of Debian: {' '.join(PACKAGES)}")
    _say("two to five minutes of processor time, at low priority; nothing outside that directory is changed")
    with _steps() as report:
        try:
            path = build_qemu(report)
        except RecordingError as error:
            raise Failure(str(error), 1) from error
    fault = qemu.fault(os.fspath(path))
    if fault is not None:
        raise Failure(f"QEMU was built, but {fault}", 1)
    _say(f"built {path}; record --with qemu uses it")


def _say(text: str) -> None:
    print(f"odograph: {text}", file=sys.stderr, flush=True)


@contextmanager
def _steps() -> Iterator[Callable[[str, int, int], None]]:
    """A line for each step; on a terminal a progress bar in it, elsewhere a line for each tenth."""
    with ExitStack() as stack:
        step, tenths = "", 0
        bar: Callable[[int, int], None] | None = None

        def report(what: str, done: int, total: int) -> None:
            nonlocal step, tenths, bar
            if what != step:
                step, tenths = what, 0
                stack.close()
                _say(what)
                bar = stack.enter_context(progress(what))
            if bar is not None:
                bar(done, total)
            elif total and 10 * done // total > tenths:
                tenths = 10 * done // total
                _say(f"{what}: {10 * tenths} %")

        yield report
