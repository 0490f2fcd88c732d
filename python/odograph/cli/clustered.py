"""Commands over several recordings, decoded by a cluster."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import click

from odograph.cli.failure import Failure
from odograph.cli.inputs import Input
from odograph.cli.output import say
from odograph.cli.progress import progress

if TYPE_CHECKING:
    from odograph.cluster import Answers
    from odograph.cluster.verbs import Passed

__all__ = ["asked", "cluster_options"]

_HERE = "here"


def cluster_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """``--cluster`` and more files."""
    more = click.argument("more", nargs=-1, metavar="[FILE…]")
    cluster = click.option(
        "--cluster",
        is_flag=False,
        flag_value=_HERE,
        metavar="[=ADDRESS]",
        help="Decode in parts on the processes of this machine, or the workers of a Dask scheduler at "
        "tcp://HOST:PORT. Files may be several, and directories of recordings.",
    )
    return more(cluster(command))


def asked(source: Input, more: tuple[str, ...], cluster: str | None, *passes: Any) -> Answers[Passed]:
    """What a cluster answers for all files; those that cannot be read are named on standard error."""
    from odograph.cluster import Cluster
    from odograph.cluster.questions import Passes
    from odograph.cluster.verbs import Naming

    if cluster is None:
        raise click.UsageError("for more than one recording add --cluster")
    if cluster != _HERE and "://" not in cluster:
        raise click.UsageError(
            f"{cluster!r} is not an address such as tcp://host:8786; a --cluster "
            "without an address goes after the files"
        )
    try:
        with (
            progress("decoding") as report,
            Cluster(
                None if cluster == _HERE else cluster,
                progress=None if report is None else lambda _, done, total: report(done, total),
                opener=lambda path: replace(source, path=path).open(),
            ) as working,
        ):
            paths = [source.path, *more] if more else source.path
            answers = working.answers(paths, Naming(*(Passes(name) for name in passes)))
    except ImportError as error:
        raise Failure(str(error)) from error
    for broken in answers.broken:
        say(f"odograph: {broken}")
    return answers
