"""Making recordings: perf where the processor has Intel PT, QEMU's user mode or ptrace where it has not.

Reading them is the work of `recording`; the two share the container (`perfdata`) and nothing else.
"""
