"""The perf.data container: what `perf record -e intel_pt//` writes, read and written without perf."""

from odograph.perfdata.reader import PerfDataReader
from odograph.perfdata.time import TimeConversion
from odograph.perfdata.writer import PerfDataWriter

__all__ = ["PerfDataReader", "PerfDataWriter", "TimeConversion"]
