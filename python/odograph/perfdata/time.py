"""Between the processor's time stamp counter and perf's clock."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["TimeConversion"]

_WRAP = (1 << 64) - 1


@dataclass(frozen=True, slots=True)
class TimeConversion:
    """perf time in ns = zero + TSC * mult / 2**shift, as the perf mmap page of the recording machine says.

    ``zero`` counts modulo 2**64: a machine whose TSC started before its clock has a "negative" one.
    ``mult`` is never 0 and ``shift`` never above 63.
    """

    shift: int
    mult: int
    zero: int

    @classmethod
    def checked(cls, shift: int, mult: int, zero: int) -> TimeConversion | None:
        """The conversion, or None where the numbers cannot be one (multiplier 0, shift beyond 63)."""
        if mult == 0 or shift > 63:
            return None
        return cls(shift, mult, zero & _WRAP)

    def to_ns(self, tsc: int) -> int:
        """perf time (ns) of a full 64-bit TSC value."""
        quotient = tsc >> self.shift
        remainder = tsc & ((1 << self.shift) - 1)
        return (self.zero + quotient * self.mult + ((remainder * self.mult) >> self.shift)) & _WRAP

    def to_tsc(self, ns: int) -> int:
        """TSC value of a perf time; 0, "before everything", for time 0 and times before the TSC's zero."""
        if ((ns - self.zero) & _WRAP) >> 63:
            return 0
        return self.to_tsc_modulo(ns)

    def to_tsc_modulo(self, ns: int) -> int:
        """TSC value of a perf time; 0 for time 0. A time before the TSC's zero is one far in the future."""
        if ns == 0:
            return 0
        quotient, remainder = divmod((ns - self.zero) & _WRAP, self.mult)
        return ((quotient << self.shift) + (remainder << self.shift) // self.mult) & _WRAP
