"""The page of a run in docs: its text, and a plot."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from matplotlib import rcParams
from matplotlib.figure import Figure

from report import DECODERS
from result import Result

HEAD = """# Benchmarks

What `make bench` printed on the machine named below. The decoders take turns in one run, each time in
a process of its own.

- **cold** is the first decode of a process, learning the code included; **warm** a second one. Reading
  files does not count, except for `odograph open` and `perf script`, which work on a perf.data file.
- **libipt** is Debian's libipt-dev, always with an image section cache, its `block` and `insn` decoder.
  **perf** is told to decode everything and to print next to nothing.
- py, xz and perl are generated traces with a known ground truth; cc1 (a C compiler at work), sqlite
  and gzip are recorded by Odograph under QEMU. A decoder that counts other instructions fails the run.
- **ns/TNT bit** is time by taken / not-taken decision. **peak** is by how much resident memory grew.
- **share** is the throughput of two threads over that of two processes of one thread that run at once:
  1.0 means perfect scaling.
- Times on the clock, and so everything about two cores, mean little if others kept the
  machine busy: see the load. The CPU time of two threads over that of one is what sharing the work costs.

![CPU time by decision](benchmarks.svg)

"""


def write_page(folder: Path, results: Sequence[Result], lines: Sequence[str]) -> None:
    """Writes ``benchmarks.md`` and ``benchmarks.svg``."""
    plot(results, folder / "benchmarks.svg")
    text = "\n".join(f"    {line}".rstrip() for line in lines)
    (folder / "benchmarks.md").write_text(f"{HEAD}{text}\n")


def plot(results: Sequence[Result], path: Path) -> None:
    """Bars: ns for each TNT bit (or for each kilobyte of trace) by decoder, on a logarithmic scale."""
    decoders = [
        name for name in DECODERS if name != "libipt block warm" and any(one.best(name) for one in results)
    ]
    rcParams["svg.hashsalt"] = "odograph"
    figure = Figure(figsize=(9, 4))
    axes = figure.subplots()
    width = 0.8 / len(decoders)
    by_bit = all(one.tnt_bits for one in results)
    for at, decoder in enumerate(decoders):
        places, heights = [], []
        for place, one in enumerate(results):
            seconds = one.best(decoder)
            if seconds is not None:
                places.append(place + at * width)
                heights.append(seconds * 1e9 / ((one.tnt_bits if by_bit else None) or one.size / 1e3))
        axes.bar(places, heights, width, label=decoder)
    axes.set_yscale("log")
    axes.set_ylabel("CPU ns per TNT bit" if by_bit else "CPU ns per kB of trace")
    middles = [place + 0.4 - width / 2 for place in range(len(results))]
    axes.set_xticks(middles, [one.trace for one in results])
    axes.legend(ncols=3, fontsize="small", frameon=False, loc="lower center", bbox_to_anchor=(0.5, 1))
    axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, format="svg", bbox_inches="tight", metadata={"Date": None})
