"""Ends of a command that are not its success."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import click

from odograph.errors import OdographError

__all__ = ["OWN_FAILURE", "Failure", "RecorderCommand", "damage_option", "fail_on_damage"]

#: What ``run`` and ``record`` exit with if Odograph itself failed.
OWN_FAILURE = 125


class Failure(click.ClickException):
    """One sentence for standard error, and the exit code."""

    def __init__(self, message: str, exit_code: int = 2) -> None:
        super().__init__(message)
        _exit_with(self, exit_code)


def _exit_with(error: click.ClickException, code: int) -> None:
    # click declares it for the class and reads it from the object.
    error.__dict__["exit_code"] = code


class RecorderCommand(click.Command):
    """A command that exits with the status of the program it records, and with 125 for its own failures."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        try:
            return super().parse_args(ctx, args)
        except click.UsageError as error:
            _exit_with(error, OWN_FAILURE)
            raise

    def invoke(self, ctx: click.Context) -> Any:
        try:
            with _own_failures():
                status = super().invoke(ctx)
                # Output that cannot be written is a failure of ours, also if the program ended well.
                sys.stdout.flush()
                return status
        except click.UsageError as error:
            _exit_with(error, OWN_FAILURE)
            raise


@contextmanager
def _own_failures() -> Iterator[None]:
    try:
        yield
    except OdographError as error:
        raise Failure(str(error), getattr(error, "status", OWN_FAILURE)) from error
    except BrokenPipeError:
        raise
    except OSError as error:
        raise Failure(f"{error.filename or 'odograph'}: {error.strerror}", OWN_FAILURE) from error


def damage_option(command: Callable[..., Any]) -> Callable[..., Any]:
    """``--max-gaps``: how much damage is acceptable."""
    return click.option(
        "--max-gaps",
        type=click.IntRange(min=0),
        metavar="N",
        help="Exit with 1 if there are more than N gaps.",
    )(command)


def fail_on_damage(gaps: int, limit: int | None) -> int:
    """The exit code: 1 if there are more gaps than asked for, else 0."""
    return 1 if limit is not None and gaps > limit else 0
