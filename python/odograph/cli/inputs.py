"""The file to look at, and options that say what its trace does not."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, cast

import click

from odograph.cli.cut import say_cut
from odograph.cli.failure import Failure
from odograph.cli.output import say
from odograph.cli.refused import tell_refused

if TYPE_CHECKING:
    from odograph.code.image import Image
    from odograph.config import Cpu
    from odograph.history.history import History
    from odograph.recording.recording import Recording

__all__ = [
    "Input",
    "by_process_option",
    "input_options",
    "input_options_but",
    "optional_input",
    "pick_thread",
    "refuse_options",
    "tid_option",
]


def _number(text: str) -> int:
    """A number, hexadecimal with 0x."""
    return int(text, 0)


class _Map(click.ParamType[Any]):
    name = "map"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        rest, colon, vaddr_text = str(value).rpartition(":")
        try:
            if not colon or not rest:
                raise ValueError
            vaddr = _number(vaddr_text)
            filename, first, last = rest, 0, None
            before, colon, part = rest.rpartition(":")
            if colon and before:
                try:
                    low, dash, high = part.partition("-")
                    first, last = _number(low), _number(high) if dash else None
                    filename = before
                except ValueError:
                    first, last = 0, None
        except ValueError:
            self.fail(
                f"{value!r} is not FILE:ADDRESS, FILE:FROM:ADDRESS or FILE:FROM-TO:ADDRESS; hex needs 0x",
                param,
                ctx,
            )
        if not 0 <= vaddr < 1 << 64 or first < 0 or (last is not None and last <= first):
            self.fail(f"{value!r} does not describe a part of a file at an address", param, ctx)
        return filename, first, last, vaddr


class _Elf(click.ParamType[Any]):
    name = "elf"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        filename, colon, base = str(value).rpartition(":")
        if colon and filename:
            try:
                return filename, _number(base)
            except ValueError:
                pass
        return str(value), None


class _Processor(click.ParamType[Any]):
    name = "cpu"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if value in ("auto", "none"):
            return value
        try:
            parts = tuple(_number(part) for part in str(value).split("/"))
        except ValueError:
            parts = ()
        if len(parts) not in (2, 3):
            self.fail(f"{value!r} is not FAMILY/MODEL or FAMILY/MODEL/STEPPING, such as 6/158/9", param, ctx)
        return parts


class _Size(click.ParamType[Any]):
    name = "size"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        text = str(value).upper().removesuffix("B").removesuffix("I")
        shift = {"K": 10, "M": 20, "G": 30, "T": 40}.get(text[-1:], 0)
        try:
            return int(text[:-1] if shift else text) << shift
        except ValueError:
            self.fail(f"{value!r} is not a size, such as 1000000, 64M or 2G", param, ctx)


@dataclass(frozen=True, slots=True)
class Input:
    """A trace file and what the options said about it."""

    path: str
    maps: tuple[tuple[str, int, int | None, int], ...]
    elves: tuple[tuple[str, int | None], ...]
    sysroot: tuple[str, ...]
    buildid_dirs: tuple[str, ...]
    cpu: str | tuple[int, ...]
    resync: Literal["ip", "psb"]
    kcore: str | None = None
    index: bool | str = True
    max_expanded: int | None = None

    def open(self, *, index: bool | str | None = None, tells: bool = True) -> Recording:
        """Open it, with another ``index`` than the options say if one is given.

        That a part of the recording is missing is said on standard error, and when the command ends, which
        files were refused, unless it ``tells`` nothing. Raises RecordingError if it is no recording, Failure
        if an option cannot be followed.
        """
        import odograph

        image = self._image()
        if self.kcore is not None:
            _must_exist(self.kcore, "--kcore")
        config = None
        if self.cpu != "auto":
            from dataclasses import replace

            # Everything but the processor stays as the recording says.
            said = (
                odograph.open(self.path, max_expanded=self.max_expanded).config
                if self.path != "-"
                else odograph.TraceConfig()
            )
            config = replace(said, cpu=None if self.cpu == "none" else cast("Cpu", self.cpu))
        recording = odograph.open(
            self.path,
            image=image,
            sysroot=self.sysroot,
            buildid_dirs=self.buildid_dirs,
            config=config,
            resync=self.resync,
            kcore=self.kcore,
            index=self.index if index is None else index,
            max_expanded=self.max_expanded,
        )
        if tells:
            say_cut(recording)
            tell_refused(recording)
        return recording

    def follow(self) -> Iterator[History]:
        """Histories of a raw trace while its bytes arrive. Raises Failure if it is no raw trace."""
        import sys

        from odograph.config import TraceConfig
        from odograph.history.live import LiveTrace

        cpu = None if self.cpu == "none" else cast("Cpu", self.cpu)
        stream = LiveTrace(self._image(), TraceConfig(cpu=cpu), resync=self.resync)
        with sys.stdin.buffer if self.path == "-" else open(self.path, "rb") as file:
            if file.peek(8).startswith(b"PERFILE2"):  # type: ignore[union-attr]
                raise Failure(
                    f"{self.path} is a perf.data recording, which is read as a whole; leave out --follow"
                )
            yield from stream.read(file)

    def _image(self) -> Image | None:
        if not self.maps and not self.elves:
            return None
        from odograph.code.image import Image

        image = Image()
        for filename, base in self.elves:
            _add_elf(image, filename, base)
        for filename, first, last, vaddr in self.maps:
            _must_exist(filename, "--map")
            size = (1 << 64) - 1 if last is None else last - first
            image.add_file(filename, first, min(size, (1 << 64) - vaddr), vaddr)
        return image


def _must_exist(filename: str, option: str) -> None:
    if not os.path.exists(filename):
        raise Failure(f"no such file: {filename} (given with {option})")


def _add_elf(image: Image, filename: str, base: int | None) -> None:
    from odograph.code.elfimage import add_elf

    _must_exist(filename, "--elf")
    if not add_elf(image, filename, base):
        raise Failure(f"{filename} is not an ELF file with code; for raw code use --map {filename}:ADDRESS")


#: The options of a trace.
_OPTIONS = {
    "--map": click.option(
        "--map",
        "maps",
        type=_Map(),
        multiple=True,
        metavar="FILE[:FROM[-TO]]:ADDRESS",
        help="A file, or bytes FROM to TO of it, lies at this address of the traced program.",
    ),
    "--elf": click.option(
        "--elf",
        "elves",
        type=_Elf(),
        multiple=True,
        metavar="FILE[:BASE]",
        help="The segments of an ELF file lie in the traced program, at their own address or at BASE.",
    ),
    "--sysroot": click.option(
        "--sysroot", multiple=True, metavar="DIR", help="Look here first for the binaries that were mapped."
    ),
    "--buildid-dir": click.option(
        "--buildid-dir",
        "buildid_dirs",
        multiple=True,
        metavar="DIR",
        help="A directory of binaries by build id, besides ~/.debug.",
    ),
    "--kcore": click.option(
        "--kcore",
        metavar="FILE",
        help="A copy of the recorded kernel's memory (perf record --kcore makes one).",
    ),
    "--cpu": click.option(
        "--cpu",
        type=_Processor(),
        default="auto",
        metavar="F/M[/S]",
        help="Apply the errata of this processor instead of the recorded one; 'none' applies no errata.",
    ),
    "--resync": click.option(
        "--resync",
        type=click.Choice(["ip", "psb"]),
        default="ip",
        help="Where to go on after damage: at the next packet with an IP (default) or the next PSB.",
    ),
    "--index": click.option(
        "--index", metavar="PATH", help="An index made by odograph index, if it is not FILE.odx."
    ),
    "--no-index": click.option("--no-index", is_flag=True, help="Decode even if there is an index."),
    "--max-expanded": click.option(
        "--max-expanded",
        type=_Size(),
        metavar="SIZE",
        help="What compressed parts may become in memory, if 64 times the file or 32M is not enough.",
    ),
}


def input_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Adds FILE and all its options; the function gets them as ``source: Input``."""
    return _with_input(command, tuple(_OPTIONS))


def input_options_but(*left_out: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """The same without these options, which would have no effect."""
    names = tuple(name for name in _OPTIONS if name not in left_out)
    assert len(names) + len(left_out) == len(_OPTIONS)
    return lambda command: _with_input(command, names)


def optional_input(command: Callable[..., Any]) -> Callable[..., Any]:
    """The same where there need not be a FILE: the path is empty then."""
    return _with_input(command, tuple(_OPTIONS), required=False)


def refuse_options(why: str, *names: str) -> None:
    """Raises a usage error if one of these options, as ``--map``, was given."""
    context = click.get_current_context()
    given = click.core.ParameterSource.COMMANDLINE
    for parameter in context.command.params:
        if set(names) & set(parameter.opts) and context.get_parameter_source(parameter.name or "") == given:
            raise click.UsageError(f"{parameter.opts[0]} has no effect {why}; leave it out")


def _with_input(
    command: Callable[..., Any], names: tuple[str, ...], required: bool = True
) -> Callable[..., Any]:
    def with_input(
        file: str | None,
        maps: tuple[Any, ...] = (),
        elves: tuple[Any, ...] = (),
        sysroot: tuple[str, ...] = (),
        buildid_dirs: tuple[str, ...] = (),
        cpu: Any = "auto",
        resync: Any = "ip",
        kcore: str | None = None,
        index: str | None = None,
        no_index: bool = False,
        max_expanded: int | None = None,
        **rest: Any,
    ) -> Any:
        if index is not None and no_index:
            raise click.UsageError("--index and --no-index exclude each other; leave one out")
        which = not no_index if index is None else index
        path = file or ""
        source = Input(path, maps, elves, sysroot, buildid_dirs, cpu, resync, kcore, which, max_expanded)
        return command(source=source, **rest)

    with_input.__name__ = command.__name__
    with_input.__doc__ = command.__doc__
    with_input.__click_params__ = getattr(command, "__click_params__", [])  # type: ignore[attr-defined]
    wrapped: Callable[..., Any] = with_input
    for name in reversed(names):
        wrapped = _OPTIONS[name](wrapped)
    return click.argument("file", metavar="FILE" if required else "[FILE]", required=required)(wrapped)


def tid_option(command: Callable[..., Any]) -> Callable[..., Any]:
    """``--tid``: one thread instead of the first one or all."""
    return click.option("--tid", type=int, metavar="TID", help="The thread to look at.")(command)


def by_process_option(command: Callable[..., Any]) -> Callable[..., Any]:
    """``--by-process``: the same function in several processes is not one row."""
    return click.option("--by-process", is_flag=True, help="Keep the functions of processes apart.")(command)


def pick_thread(recording: Recording, tid: int | None) -> int:
    """The thread that was asked for, or the only one; of several the first, and that is said."""
    threads = recording.threads
    if not threads:
        raise Failure(
            f"{recording.path} holds no trace of any thread; odograph info {recording.path} says more"
        )
    if tid is None and len(threads) > 1:
        others = ", ".join(str(thread.tid) for thread in threads[1:6])
        more = ", …" if len(threads) > 6 else ""
        say(f"odograph: thread {threads[0].tid}; --tid chooses another: {others}{more}")
    return recording.source.thread(tid).tid
