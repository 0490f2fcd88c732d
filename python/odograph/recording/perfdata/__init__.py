"""The perf.data container: what `perf record -e intel_pt//` writes, read and written without perf."""

from odograph.recording.perfdata.reader import PerfDataReader
from odograph.recording.perfdata.time import TimeConversion
from odograph.recording.perfdata.writer import PerfDataWriter

__all__ = ["PerfDataReader", "PerfDataWriter", "TimeConversion"]
