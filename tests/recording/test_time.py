"""Between TSC and perf's clock."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from odograph.perfdata.time import TimeConversion


def test_known_value() -> None:
    assert TimeConversion(10, 394, 0).to_ns(0x123456789AB) == 481341757048


def test_zero_counts_modulo_two_to_the_64th() -> None:
    conversion = TimeConversion(31, 1789569706, 18446744041015200657)
    assert conversion.to_ns(conversion.to_tsc(641256844131)) in (641256844130, 641256844131)


def test_time_zero_is_before_everything() -> None:
    assert TimeConversion(10, 394, 77).to_tsc(0) == 0
    assert TimeConversion(10, 394, 77).to_tsc(76) == 0


def test_impossible_numbers_give_no_time_conversion() -> None:
    assert TimeConversion.checked(10, 0, 0) is None
    assert TimeConversion.checked(64, 1, 0) is None


@given(st.integers(0, 40), st.integers(1, 1 << 32), st.integers(1, 1 << 50), st.integers(0, 1 << 60))
def test_back_and_forth(shift: int, mult: int, tsc: int, zero: int) -> None:
    conversion = TimeConversion(shift, mult, zero)
    ns = conversion.to_ns(tsc)
    if (ns - zero) % (1 << 64) < 1 << 62 and ns and tsc * mult >> shift < 1 << 62:
        back = conversion.to_tsc(ns)
        assert back <= tsc
        assert tsc - back <= (1 << shift) // mult + 1
