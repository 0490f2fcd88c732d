"""All commands; each is imported when it is called."""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Sequence

import click

from odograph.cli.failure import Failure
from odograph.cli.output import guarded, say
from odograph.errors import OdographError

__all__ = ["call", "odograph"]

#: Name, module in `cli/commands` and help of each command, in the order they are listed.
COMMANDS: dict[str, tuple[str, str]] = {
    "run": ("run", "Record a program, decode it and show what it did."),
    "record": ("record", "Record a program into a file."),
    "info": ("info", "Say what is in a recording, and what is missing."),
    "index": ("index", "Save what decoding finds, so that the next time is quicker."),
    "packets": ("packets", "List the packets of a trace."),
    "steps": ("steps", "List executed instructions."),
    "break": (
        "breakpoints",
        "Find executions of an address or a function, and what led there.",
    ),
    "gdb": ("gdb", "Let gdb or lldb look at a recording, forward and backward."),
    "dap": ("dap", "Let editors look at a recording, forward and backward."),
    "stack": ("stack", "Show the stacks of a recording, a live process or a core."),
    "functions": (
        "functions",
        "Say what functions cost, with and without those they call.",
    ),
    "coverage": ("coverage", "Say which functions, blocks and edges were executed."),
    "verify": ("verify", "Compare what decoding gives with what the recorder counted."),
    "unwind": ("unwind", "List the unwind information of an IA-64 file."),
    "doctor": ("doctor", "Say what this machine can record with."),
}


class _Commands(click.Group):
    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        command = importlib.import_module(f"odograph.cli.commands.{COMMANDS[cmd_name][0]}").command
        assert isinstance(command, click.Command)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and args[0] not in COMMANDS and not args[0].startswith("-"):
            raise click.UsageError(_no_command(args[0]), ctx)
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in COMMANDS.items()])


def _no_command(name: str) -> str:
    import difflib

    similar = difflib.get_close_matches(name, COMMANDS, n=1)
    if similar:
        return f"there is no command {name!r}; did you mean {similar[0]!r}?"
    if os.path.exists(name):
        return f"there is no command {name!r}; for a recording try 'odograph info {name}'"
    return f"there is no command {name!r}; to record a program use 'odograph run -- {name}'"


def _show_version(ctx: click.Context, parameter: click.Parameter, value: bool) -> None:
    if value:
        from odograph import __version__

        click.echo(f"odograph {__version__}")
        ctx.exit()


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--version",
    is_flag=True,
    expose_value=False,
    is_eager=True,
    callback=_show_version,
    help="Show the version and exit.",
)
def odograph() -> None:
    """The history of every instruction a program executed, from Intel Processor Trace.

    Begin with: odograph run -- ls -l
    """


def call(arguments: Sequence[str] | None) -> int:
    """Run a command and return the exit code; errors become one sentence on standard error."""
    with guarded():
        return _ended(arguments)


def _done(arguments: Sequence[str] | None) -> int:
    """The exit code of a command that has written all that it says."""
    try:
        # Not odograph.main(): that ends the process with 1 if its output is closed.
        words = list(sys.argv[1:] if arguments is None else arguments)
        with odograph.make_context("odograph", words) as context:
            code = odograph.invoke(context)
    except click.exceptions.Exit as done:
        code = done.exit_code
    sys.stdout.flush()
    return code if isinstance(code, int) else 0


def _ended(arguments: Sequence[str] | None) -> int:
    try:
        return _done(arguments)
    except BrokenPipeError:
        # Standard output is closed.
        return 0
    except KeyboardInterrupt:
        say("odograph: interrupted")
        return 130
    except click.exceptions.NoArgsIsHelpError as error:
        error.show()
        return error.exit_code
    except click.UsageError as error:
        # Our own sentences are one line; click's may be several.
        _complain(error.format_message(), keep="" if isinstance(error, Failure) else "\n\t")
        if error.ctx is not None and not isinstance(error, Failure):
            say(f"Try '{error.ctx.command_path} --help'.")
        return error.exit_code
    except click.ClickException as error:
        _complain(error.format_message())
        return error.exit_code
    except (OdographError, OSError) as error:
        _complain(_sentence(error))
        return 2
    except MemoryError:
        _complain(
            "there is not enough memory for this; ask for fewer steps (--from, --to) or one thread (--tid)"
        )
        return 2


def _sentence(error: Exception) -> str:
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename}: {error.strerror}" if error.filename else error.strerror
    return str(error)


def _complain(text: str, *, keep: str = "") -> None:
    say(f"odograph: {text}", keep=keep)
