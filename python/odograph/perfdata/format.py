"""Numbers and struct layouts of the perf.data container (little-endian).

Source: the Linux kernel's ``include/uapi/linux/perf_event.h`` for records below 64 and attributes,
``tools/perf/Documentation/perf.data-file-format.txt`` for the rest.
"""

from __future__ import annotations

import enum
import struct

__all__ = [
    "ATTRIBUTE",
    "AUXTRACE",
    "AUXTRACE_TYPE_INTEL_PT",
    "FEATURE_WORDS",
    "FILE_HEADER",
    "FILE_HEADER_SIZE",
    "MAGIC",
    "MAGIC_SWAPPED",
    "MAGIC_VERSION_1",
    "MAGIC_VERSION_1_SWAPPED",
    "PIPE_HEADER_SIZE",
    "RECORD_HEADER",
    "AttributeFlag",
    "AuxFlag",
    "Feature",
    "Misc",
    "RecordType",
    "SampleType",
    "padded",
]

MAGIC = b"PERFILE2"
MAGIC_SWAPPED = b"2ELIFREP"
MAGIC_VERSION_1 = b"PERFFILE"
MAGIC_VERSION_1_SWAPPED = b"ELIFFREP"

PIPE_HEADER_SIZE = 16
FILE_HEADER_SIZE = 104
FEATURE_WORDS = 4

#: magic, header size, attribute entry size, (offset, size) of attributes, data, event types, feature words
FILE_HEADER = struct.Struct("<8s2Q6Q4Q")
#: type, misc, size of the whole record
RECORD_HEADER = struct.Struct("<IHH")
#: the first 64 bytes of perf_event_attr, which every version has
ATTRIBUTE = struct.Struct("<IIQQQQQIIQ")
#: size, offset in the AUX ring, reference, idx, tid, cpu, reserved; follows the record header
AUXTRACE = struct.Struct("<QQQIiii")

AUXTRACE_TYPE_INTEL_PT = 1


class RecordType(enum.IntEnum):
    """Kinds of records; those from 64 on are made by the perf tool, not by the kernel."""

    MMAP = 1
    LOST = 2
    COMM = 3
    EXIT = 4
    THROTTLE = 5
    UNTHROTTLE = 6
    FORK = 7
    READ = 8
    SAMPLE = 9
    MMAP2 = 10
    AUX = 11
    ITRACE_START = 12
    LOST_SAMPLES = 13
    SWITCH = 14
    SWITCH_CPU_WIDE = 15
    NAMESPACES = 16
    KSYMBOL = 17
    BPF_EVENT = 18
    CGROUP = 19
    TEXT_POKE = 20
    AUX_OUTPUT_HW_ID = 21
    HEADER_ATTR = 64
    HEADER_EVENT_TYPE = 65
    HEADER_TRACING_DATA = 66
    HEADER_BUILD_ID = 67
    FINISHED_ROUND = 68
    ID_INDEX = 69
    AUXTRACE_INFO = 70
    AUXTRACE = 71
    AUXTRACE_ERROR = 72
    THREAD_MAP = 73
    CPU_MAP = 74
    STAT_CONFIG = 75
    STAT = 76
    STAT_ROUND = 77
    EVENT_UPDATE = 78
    TIME_CONV = 79
    HEADER_FEATURE = 80
    COMPRESSED = 81
    FINISHED_INIT = 82
    COMPRESSED2 = 83


class Misc(enum.IntFlag):
    """Bits of a record header's misc field. One bit may mean different things in different records."""

    CPUMODE_MASK = 7
    KERNEL = 1
    USER = 2
    HYPERVISOR = 3
    GUEST_KERNEL = 4
    GUEST_USER = 5
    MMAP_DATA = 0x2000
    COMM_EXEC = 0x2000
    #: The process ran before the recording began; the record stands in for its fork.
    FORK_EXEC = 0x2000
    SWITCH_OUT = 0x2000
    MMAP_BUILD_ID = 0x4000
    SWITCH_OUT_PREEMPT = 0x4000


class SampleType(enum.IntFlag):
    """Bits of perf_event_attr.sample_type."""

    IP = 1
    TID = 2
    TIME = 4
    ADDR = 8
    READ = 0x10
    CALLCHAIN = 0x20
    ID = 0x40
    CPU = 0x80
    PERIOD = 0x100
    STREAM_ID = 0x200
    RAW = 0x400
    BRANCH_STACK = 0x800
    REGS_USER = 0x1000
    STACK_USER = 0x2000
    WEIGHT = 0x4000
    DATA_SRC = 0x8000
    IDENTIFIER = 0x10000
    TRANSACTION = 0x20000
    REGS_INTR = 0x40000
    PHYS_ADDR = 0x80000
    AUX = 0x100000
    CGROUP = 0x200000
    DATA_PAGE_SIZE = 0x400000
    CODE_PAGE_SIZE = 0x800000
    WEIGHT_STRUCT = 0x1000000


class AttributeFlag(enum.IntFlag):
    """Bits of the flag word of perf_event_attr that matter here."""

    DISABLED = 1 << 0
    INHERIT = 1 << 1
    EXCLUDE_KERNEL = 1 << 5
    EXCLUDE_HV = 1 << 6
    MMAP = 1 << 8
    COMM = 1 << 9
    ENABLE_ON_EXEC = 1 << 12
    TASK = 1 << 13
    SAMPLE_ID_ALL = 1 << 18
    MMAP2 = 1 << 23
    COMM_EXEC = 1 << 24
    USE_CLOCKID = 1 << 25
    CONTEXT_SWITCH = 1 << 26
    AUX_OUTPUT = 1 << 31


class AuxFlag(enum.IntFlag):
    """Flags of an AUX record."""

    TRUNCATED = 1
    OVERWRITE = 2
    PARTIAL = 4
    COLLISION = 8


class Feature(enum.IntEnum):
    """Bits of the header's feature set; each has one entry in the table after the data section."""

    TRACING_DATA = 1
    BUILD_ID = 2
    HOSTNAME = 3
    OS_RELEASE = 4
    VERSION = 5
    ARCH = 6
    NR_CPUS = 7
    CPU_DESCRIPTION = 8
    CPUID = 9
    TOTAL_MEMORY = 10
    COMMAND_LINE = 11
    EVENT_DESCRIPTION = 12
    CPU_TOPOLOGY = 13
    NUMA_TOPOLOGY = 14
    BRANCH_STACK = 15
    PMU_MAPPINGS = 16
    GROUP_DESCRIPTION = 17
    AUXTRACE = 18
    STAT = 19
    CACHE = 20
    SAMPLE_TIME = 21
    MEMORY_TOPOLOGY = 22
    CLOCKID = 23
    DIRECTORY_FORMAT = 24
    BPF_PROGRAM_INFO = 25
    BPF_BTF = 26
    COMPRESSED = 27
    CPU_PMU_CAPS = 28
    CLOCK_DATA = 29
    HYBRID_TOPOLOGY = 30
    PMU_CAPS = 31


def padded(size: int, to: int = 8) -> int:
    """``size`` rounded up to a multiple of ``to``."""
    return (size + to - 1) // to * to
