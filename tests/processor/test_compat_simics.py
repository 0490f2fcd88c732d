"""Simics' names: argument order, data that is handed over, stopping."""

from __future__ import annotations

import gc
from typing import Any

import pytest

from odograph import InvalidArgument, UnsupportedOperation
from odograph.compat.simics import (
    VIRTUAL_DATA_BREAKPOINT_INTERFACE,
    VIRTUAL_INSTRUCTION_BREAKPOINT_INTERFACE,
    SIM_break_simulation,
    SIM_free_cbdata,
    SIM_get_interface,
    SIM_make_simple_cbdata,
    Virtual_Breakpoint_Flag_Linear,
    VT_step_stamp,
    cbdata,
    virtual_data_breakpoint,
    virtual_instruction_breakpoint,
)
from odograph.processor import StopReason
from support.processors import LOOP, Make, emulated


def test_the_functions_get_their_data_and_the_instruction(make: Make) -> None:
    cpu, told = make(LOOP), []
    interface = SIM_get_interface(cpu, VIRTUAL_INSTRUCTION_BREAKPOINT_INTERFACE)
    handle = interface.add(
        cpu,
        0x40_1006,
        0x40_1007,
        lambda data, cpu, opcode: bool(told.append(("filter", data, opcode))) or opcode[0] == 0xFF,
        "mine",
        lambda data, cpu, address, size: told.append((data, address, size, cpu.pc)),
        ["list"],
        0,
    )
    assert cpu.run().reason is StopReason.END
    assert told == [
        ("filter", "mine", b"\xff\xc0"),
        (["list"], 0x40_1005, 2, 0x40_1005),
        ("filter", "mine", b"\x01\xc3"),
        *2 * [(["list"], 0x40_1005, 2, 0x40_1005)],
    ]
    interface.remove(cpu, handle)
    with pytest.raises(InvalidArgument):
        interface.remove(cpu, handle)


def test_breaking_the_simulation_stops_before_the_instruction(make: Make) -> None:
    cpu, stamps = make(LOOP), []

    def callback(data: object, cpu: Any, address: int, size: int) -> None:
        stamps.append(VT_step_stamp(cpu))
        SIM_break_simulation("here")
        SIM_break_simulation("again")

    SIM_break_simulation("nobody runs")
    virtual_instruction_breakpoint.add(
        cpu, 0x40_1009, 0x40_1009, None, None, callback, None, Virtual_Breakpoint_Flag_Linear
    )
    stops = [cpu.run(), cpu.run()]
    assert [(stop.reason, stop.pc, stop.messages[0]) for stop in stops] == 2 * [
        (StopReason.BREAK, 0x40_1009, "here")
    ]
    assert stamps[0] == stamps[1]


def nothing(*_: object) -> None:
    """A callback that does nothing."""


def test_data_is_disposed_of_once_at_removal(make: Make) -> None:
    cpu, gone = make(LOOP), []
    handle = virtual_instruction_breakpoint.add(
        cpu, 0, 5, nothing, cbdata("filter", gone.append), nothing, cbdata("callback", gone.append), 0
    )
    unasked = virtual_instruction_breakpoint.add(
        cpu, 0, 5, None, cbdata("unasked", gone.append), nothing, None, 0
    )
    cpu.run()
    assert gone == []
    virtual_instruction_breakpoint.remove(cpu, handle)
    assert sorted(gone) == ["callback", "filter"]
    unasked.remove()
    gc.collect()
    assert sorted(gone) == ["callback", "filter", "unasked"]


def test_data_lives_until_the_callback_that_removes_it_has_returned(make: Make) -> None:
    cpu, order = make(LOOP), []

    def callback(data: str, cpu: Any, address: int, size: int) -> None:
        virtual_instruction_breakpoint.remove(cpu, handle)
        order.append(f"{data} returns")

    handle = virtual_instruction_breakpoint.add(
        cpu, 0x40_1005, 0x40_1005, None, None, callback, cbdata("data", order.append), 0
    )
    cpu.run()
    assert order == ["data returns", "data"]


def test_data_goes_with_its_processor(make: Make) -> None:
    gone: list[str] = []
    cpu = make(LOOP)
    virtual_instruction_breakpoint.add(cpu, 0, 5, None, None, nothing, cbdata("data", gone.append), 0)
    del cpu
    gc.collect()
    assert gone == ["data"]


@pytest.mark.parametrize(
    ("change", "error"),
    [
        ({"first": 9}, ValueError),
        ({"flags": 2}, ValueError),
        ({"flags": None}, TypeError),
        ({"callback": 5}, TypeError),
        ({"filter": 5}, TypeError),
        ({"obj": 5}, TypeError),
    ],
)
def test_what_is_refused_is_not_taken_over(
    make: Make, change: dict[str, Any], error: type[Exception]
) -> None:
    cpu, gone = make(LOOP), []
    arguments = {
        "obj": cpu,
        "first": 1,
        "last": 5,
        "filter": nothing,
        "filter_data": cbdata(1, gone.append),
        "callback": nothing,
        "callback_data": cbdata(2, gone.append),
        "flags": 0,
    }
    with pytest.raises(error):
        virtual_instruction_breakpoint.add(**(arguments | change))
    gc.collect()
    assert gone == []
    assert len(cpu.breakpoints) == 0


def test_flags_are_required(make: Make) -> None:
    with pytest.raises(TypeError):
        virtual_instruction_breakpoint.add(make(LOOP), 0, 1, None, None, nothing, None)  # type: ignore[call-arg]


def test_data_that_is_not_handed_over_is_freed_by_hand() -> None:
    gone: list[int] = []
    data = cbdata(7, gone.append)
    SIM_free_cbdata(data)
    SIM_free_cbdata(data)
    SIM_free_cbdata(SIM_make_simple_cbdata(8))
    assert gone == [7]
    with pytest.raises(TypeError):
        cbdata(1, 2)  # type: ignore[arg-type]


def test_data_breakpoints() -> None:
    # mov dword [200010], 11223344; mov eax, [200010]
    cpu, told, gone = emulated(bytes.fromhex("c704251000200044332211 8b042510002000")), [], []
    interface = SIM_get_interface(cpu, VIRTUAL_DATA_BREAKPOINT_INTERFACE)
    write = interface.add_write(
        cpu, 0x20_0010, 0x20_0010, lambda d, c, a, v: told.append((d, a, v)), cbdata("w", gone.append), 0
    )
    interface.add_read(cpu, 0x20_0010, 0x20_0010, lambda d, c, a, s: told.append((d, a, s)), "r", 0)
    cpu.run()
    assert told == [("w", 0x20_0010, b"\x44\x33\x22\x11"), ("r", 0x20_0010, 4)]
    interface.remove(cpu, write)
    assert gone == ["w"]
    with pytest.raises(InvalidArgument):
        SIM_get_interface(cpu, "x86_monitor")


def test_a_replay_has_no_data(make: Make) -> None:
    cpu = make(LOOP)
    if cpu.reversible:
        with pytest.raises(UnsupportedOperation):
            virtual_data_breakpoint.add_read(cpu, 0, 1, nothing, None, 0)
    else:
        virtual_data_breakpoint.add_read(cpu, 0, 1, nothing, None, 0)
