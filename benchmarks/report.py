"""The results as lines of text."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from result import Result, mean

#: The decoders in the order of the table.
DECODERS = (
    "odograph cold",
    "odograph warm",
    "libipt block",
    "libipt block warm",
    "libipt insn",
    "odograph open",
    "perf script",
)
RATIOS: dict[str, Callable[[Result], float | None]] = {
    "cold / libipt block": lambda one: one.ratio("libipt block", "odograph cold"),
    "warm / libipt block": lambda one: one.ratio("libipt block", "odograph warm"),
    "warm / its warm": lambda one: one.ratio("libipt block warm", "odograph warm"),
    "cold / libipt insn": lambda one: one.ratio("libipt insn", "odograph cold"),
    "open / perf": lambda one: one.ratio("perf script", "odograph open"),
}
#: Odograph's ways to use the cores, and how many traces are decoded at once.
WAYS = {"one thread": 1, "two threads": 1, "two processes": 2}
CLOCKS: dict[str, Callable[[Result], float | None]] = {
    "cold speedup": lambda one: one.speedup("cold"),
    "cold share": lambda one: one.share("cold"),
    "warm speedup": lambda one: one.speedup("warm"),
    "warm share": lambda one: one.share("warm"),
}


def number(value: float | None, width: int, digits: int = 2) -> str:
    """A number in a column, a dash if it is not known."""
    return f"{'-':>{width}}" if value is None else f"{value:{width}.{digits}f}"


def report(results: Sequence[Result]) -> Iterator[str]:
    """All tables."""
    yield "CPU time on one thread, the least of the rounds"
    yield ""
    yield from times(results)
    yield ""
    yield "Ratios: the other's CPU time over Odograph's"
    yield ""
    yield from figures(results, RATIOS)
    yield ""
    yield "Two cores: time on the clock, throughput, and CPU time of all threads"
    yield ""
    yield from clocks(results)
    yield ""
    yield "Two threads over one, and over two processes at once"
    yield ""
    yield from figures(results, CLOCKS)
    yield ""
    yield "Addresses into NumPy arrays, M instructions a second of CPU time"
    yield ""
    for one in results:
        yield f"{one.trace:10}{number(None if one.address_rate is None else one.address_rate / 1e6, 9, 0)}"


def times(results: Sequence[Result]) -> Iterator[str]:
    """A line for each trace and decoder."""
    yield (
        f"{'trace':10} {'MB':>6} {'M insn':>7} {'decoder':18} {'s':>8} {'MB/s':>7} {'M insn/s':>9} "
        f"{'ns/TNT bit':>11} {'peak MB':>8}"
    )
    for one in results:
        for decoder in DECODERS:
            seconds = one.best(decoder)
            if seconds is None:
                continue
            bit = seconds / one.tnt_bits * 1e9 if one.tnt_bits else None
            peak = one.peak.get(decoder)
            yield (
                f"{one.trace:10} {one.size / 1e6:6.1f} {one.instructions / 1e6:7.0f} {decoder:18} "
                f"{seconds:8.3f} {one.size / seconds / 1e6:7.1f} {one.instructions / seconds / 1e6:9.0f} "
                f"{number(bit, 11)} {number(None if peak is None else peak / 1e6, 8, 0)}"
            )


def clocks(results: Sequence[Result]) -> Iterator[str]:
    """A line for each trace, way to use the cores, and state of knowledge."""
    yield f"{'trace':10} {'way':20} {'s':>8} {'MB/s':>7} {'M insn/s':>9} {'CPU s':>7} {'peak MB':>8}"
    for one in results:
        for way, traces in WAYS.items():
            for state in ("cold", "warm"):
                name = f"{way} {state}"
                if not one.wall.get(name):
                    continue
                seconds, peak = min(one.wall[name]), one.peak.get(name)
                yield (
                    f"{one.trace:10} {name:20} {seconds:8.3f} {traces * one.size / seconds / 1e6:7.1f} "
                    f"{traces * one.instructions / seconds / 1e6:9.0f} {number(one.best(name), 7, 3)} "
                    f"{number(None if peak is None else peak / 1e6, 8, 0)}"
                )


def figures(results: Sequence[Result], columns: dict[str, Callable[[Result], float | None]]) -> Iterator[str]:
    """A line for each trace, a column for each figure that is known of any, and their geometric means."""
    values_of = {name: [figure(one) for one in results] for name, figure in columns.items()}
    known = {name: values for name, values in values_of.items() if mean(values) is not None}
    yield f"{'trace':10}" + "".join(f"{name:>21}" for name in known)
    for at, one in enumerate(results):
        yield f"{one.trace:10}" + "".join(number(values[at], 21) for values in known.values())
    yield f"{'mean':10}" + "".join(number(mean(values), 21) for values in known.values())
