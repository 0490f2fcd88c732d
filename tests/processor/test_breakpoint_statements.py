"""What instruction breakpoints promise, on every processor that has them.

This file is long because it holds a test for each sentence of the manual page.
"""

from __future__ import annotations

import gc
import signal
import threading
import weakref
from typing import Any

import pytest

from odograph import InvalidArgument, Reentered
from odograph.processor import (
    BreakpointFlags,
    Processor,
    StopReason,
    all_of,
    any_of,
    disassembly_contains,
    mnemonic_prefix,
    opcode_mask,
)
from support.processors import BASE, LOOP, LOOP_STEPS, Make, calls_of

TOP = (1 << 64) - 1
END = BASE + len(LOOP)


def ignore(cpu: Processor, address: int, size: int) -> None:
    """A callback that does nothing."""


def stopping(cpu: Processor, address: int, size: int) -> None:
    """A callback that stops."""
    cpu.stop(f"{address:#x}")


# Intervals and arguments


def test_any_byte_of_an_instruction_counts(make: Make) -> None:
    # The second byte of mov ecx, 3.
    assert calls_of(make(LOOP), BASE + 1, BASE + 1) == [(0, BASE, 5)]


@pytest.mark.parametrize(
    ("first", "last", "met"),
    [(0x40_1000, 0x40_1005, True), (0x40_1000, 0x40_1004, False), (0x40_1006, 0x40_1006, True)],
)
def test_the_ends_of_an_interval_belong_to_it(make: Make, first: int, last: int, met: bool) -> None:
    calls = calls_of(make(LOOP), first, last)
    assert (0x40_1005 in [address for _, address, _ in calls]) == met


def test_behind_an_instruction_is_not_in_it(make: Make) -> None:
    assert 0x40_1005 not in [address for _, address, _ in calls_of(make(LOOP), 0x40_1007, 0x40_1007)]


def test_each_execution_of_each_instruction_is_told_in_order(make: Make) -> None:
    calls = calls_of(make(LOOP), 0x40_1007, 0x40_1009)
    assert [address for _, address, _ in calls] == 3 * [0x40_1007, 0x40_1009]


def test_the_whole_address_space_is_every_instruction(make: Make) -> None:
    calls = calls_of(make(LOOP), 0, TOP)
    assert [(step, address) for step, address, _ in calls] == list(enumerate(LOOP_STEPS))


@pytest.mark.parametrize(
    ("first", "last", "error"),
    [
        (2, 1, ValueError),
        (-1, 5, ValueError),
        (0, 1 << 64, ValueError),
        (True, 5, TypeError),
        (0, False, TypeError),
        (1.0, 2, TypeError),
        (0, 2.5, TypeError),
        ("0", 1, TypeError),
    ],
)
def test_an_invalid_interval_is_refused(make: Make, first: Any, last: Any, error: type[Exception]) -> None:
    processor = make(LOOP)
    with pytest.raises(error):
        processor.breakpoints.add_instruction(first, last, callback=ignore)
    assert len(processor.breakpoints) == 0
    assert processor.run().reason is StopReason.END


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ({"callback": None}, TypeError),
        ({"callback": ignore, "filter": 5}, TypeError),
        ({"callback": ignore, "flags": 2}, ValueError),
        ({"callback": ignore, "flags": 3}, ValueError),
        ({"callback": ignore, "flags": -1}, ValueError),
        ({"callback": ignore, "flags": "1"}, TypeError),
        ({"callback": ignore, "skip": -1}, ValueError),
    ],
)
def test_callbacks_filters_and_flags_of_wrong_types_are_refused(
    make: Make, arguments: dict[str, Any], error: type[Exception]
) -> None:
    processor = make(LOOP)
    with pytest.raises(error):
        processor.breakpoints.add_instruction(0, 1, **arguments)
    assert len(processor.breakpoints) == 0


def test_linear_addresses_are_a_matter_of_x86(make: Make) -> None:
    processor = make(LOOP)
    assert len(calls_of(processor, 0x40_1005, 0x40_1005, flags=BreakpointFlags.LINEAR)) == 3
    processor.supported_flags = BreakpointFlags.NONE
    with pytest.raises(InvalidArgument):
        processor.breakpoints.add_instruction(0, 1, callback=ignore, flags=BreakpointFlags.LINEAR)


def test_an_interval_of_a_length(make: Make) -> None:
    at = make(LOOP).breakpoints.at
    assert at(0x1000) == (0x1000, 0x1000)
    assert at(0x1000, 4) == (0x1000, 0x1003)
    assert at(TOP) == (TOP, TOP)
    for address, length in [(0x1000, 0), (TOP, 2), (0x1000, -1)]:
        with pytest.raises(InvalidArgument):
            at(address, length)


# Callbacks and stopping


def test_a_callback_comes_before_the_instruction(make: Make) -> None:
    seen = []
    processor = make(LOOP)
    processor.breakpoints.add_instruction(
        0x40_1007, 0x40_1007, callback=lambda cpu, address, size: seen.append((cpu.pc, address, cpu.step))
    )
    processor.run()
    assert seen == [(0x40_1007, 0x40_1007, step) for step in (2, 6, 10)]


def test_a_stop_is_before_the_instruction(make: Make) -> None:
    processor = make(LOOP)
    handle = processor.breakpoints.add_instruction(0x40_1009, 0x40_1009, callback=stopping)
    stop = processor.run()
    assert (stop.reason, stop.pc, stop.step) == (StopReason.BREAK, 0x40_1009, 3)
    assert stop.messages == ("0x401009",)
    assert stop.hits == (handle,)
    assert (processor.pc, processor.step) == (0x40_1009, 3)


def test_going_on_meets_the_same_breakpoint_again(make: Make) -> None:
    processor, stamps = make(LOOP), []

    def callback(cpu: Processor, address: int, size: int) -> None:
        stamps.append(cpu.step_stamp)
        cpu.stop()

    processor.breakpoints.add_instruction(0x40_1009, 0x40_1009, callback=callback)
    assert [processor.run().step for _ in range(3)] == [3, 3, 3]
    assert len(stamps) == 3
    assert len(set(stamps)) == 1


def test_a_stamp_tells_a_new_execution_from_a_repeated_call(make: Make) -> None:
    processor, stamps = make(LOOP), []

    def once_each(cpu: Processor, address: int, size: int) -> None:
        if cpu.step_stamp not in stamps:
            stamps.append(cpu.step_stamp)
            cpu.stop()

    processor.breakpoints.add_instruction(0x40_1005, 0x40_1005, callback=once_each)
    stops = [processor.run() for _ in range(4)]
    assert [stop.reason for stop in stops] == 3 * [StopReason.BREAK] + [StopReason.END]
    assert len(set(stamps)) == 3


def test_all_breakpoints_of_a_step_are_called_even_if_the_first_stops(make: Make) -> None:
    processor, called = make(LOOP), []

    def note(name: str, stops: bool) -> Any:
        def callback(cpu: Processor, address: int, size: int) -> None:
            called.append(name)
            if stops:
                cpu.stop(name)

        return callback

    add = processor.breakpoints.add_instruction
    handles = [add(0x40_100D, 0x40_100D, callback=note(name, name == "a")) for name in "abc"]
    stop = processor.run()
    assert called == ["a", "b", "c"]
    assert stop.reason is StopReason.BREAK
    assert stop.messages == ("a",)
    assert set(stop.hits) == set(handles)
    processor.run()
    assert called == 2 * ["a", "b", "c"]


def test_stopping_twice_is_stopping_once(make: Make) -> None:
    processor = make(LOOP)
    processor.stop("nobody runs")

    def twice(cpu: Processor, address: int, size: int) -> None:
        cpu.stop("first")
        cpu.stop("second")

    processor.breakpoints.add_instruction(0x40_1005, 0x40_1005, callback=twice)
    processor.breakpoints.add_instruction(0x40_1005, 0x40_1005, callback=stopping)
    stop = processor.run()
    assert stop.reason is StopReason.BREAK
    assert stop.step == 1
    assert stop.messages[0] == "first"
    for handle in processor.breakpoints:
        handle.remove()
    assert processor.run().reason is StopReason.END


def test_a_single_step_always_moves(make: Make) -> None:
    processor = make(LOOP)
    processor.breakpoints.add_instruction(0, TOP, callback=stopping)
    processor.run()
    for step in range(1, 5):
        stop = processor.step_insn()
        assert (stop.reason, stop.step, processor.pc) == (StopReason.STEPS, step, LOOP_STEPS[step])


def test_a_limit_is_a_number_of_instructions(make: Make) -> None:
    processor = make(LOOP)
    assert (processor.run(5).reason, processor.step) == (StopReason.STEPS, 5)
    assert (processor.run(0).reason, processor.step) == (StopReason.STEPS, 5)
    assert (processor.run(100).reason, processor.step) == (StopReason.END, len(LOOP_STEPS))
    for limit, error in [(-1, ValueError), (1.5, TypeError), (True, TypeError)]:
        with pytest.raises(error):
            processor.run(limit)  # type: ignore[arg-type]


class Trouble(Exception):
    pass


def test_an_exception_comes_out_as_it_is(make: Make) -> None:
    processor, trouble, later = make(LOOP), Trouble(), []

    def callback(cpu: Processor, address: int, size: int) -> None:
        raise trouble

    handle = processor.breakpoints.add_instruction(0x40_1007, 0x40_1007, callback=callback)
    other = processor.breakpoints.add_instruction(0x40_1007, 0x40_1007, callback=lambda *_: later.append(1))
    with pytest.raises(Trouble) as raised:
        processor.run()
    assert raised.value is trouble
    assert (processor.pc, processor.step) == (0x40_1007, 2)
    assert later == []
    assert other.alive
    handle.remove()
    assert processor.run().reason is StopReason.END
    assert len(later) == 3


def test_ctrl_c_in_a_callback_ends_the_run(make: Make) -> None:
    processor = make(LOOP)
    handle = processor.breakpoints.add_instruction(
        0x40_1007, 0x40_1007, callback=lambda *_: signal.raise_signal(signal.SIGINT)
    )
    with pytest.raises(KeyboardInterrupt):
        processor.run()
    assert processor.step in (2, 3)
    handle.remove()
    assert processor.run().reason is StopReason.END


def test_moving_a_processor_inside_its_callbacks_is_refused(make: Make) -> None:
    processor, refused = make(LOOP), []

    def moving(cpu: Processor, *_: object) -> bool:
        for move in (cpu.run, cpu.step_insn, lambda: cpu.goto(0), cpu.close):
            with pytest.raises((Reentered, RuntimeError)) as raised:
                move()  # type: ignore[operator]
            refused.append(raised.value)
        return True

    processor.breakpoints.add_instruction(0x40_1000, 0x40_1000, callback=moving, filter=moving)
    assert processor.run().reason is StopReason.END
    assert len(refused) == 8


def test_another_thread_may_stop_it(make: Make) -> None:
    processor = make(LOOP)

    def callback(cpu: Processor, address: int, size: int) -> None:
        other = threading.Thread(target=cpu.stop, args=("from outside",))
        other.start()
        other.join()

    processor.breakpoints.add_instruction(0x40_1009, 0x40_1009, callback=callback)
    stop = processor.run()
    assert (stop.reason, stop.pc, stop.messages) == (StopReason.BREAK, 0x40_1009, ("from outside",))


# Adding and removing


def test_a_breakpoint_may_remove_itself(make: Make) -> None:
    processor, calls = make(LOOP), []
    for _ in range(300):

        def callback(cpu: Processor, address: int, size: int) -> None:
            calls.append(address)
            next(iter(cpu.breakpoints)).remove()

        processor.breakpoints.add_instruction(0x40_1005, 0x40_1005, callback=callback)
    processor.run()
    assert len(calls) == 300
    assert len(processor.breakpoints) == 0


def test_a_breakpoint_may_remove_itself_and_add_another_ten_thousand_times(make: Make) -> None:
    # mov ecx, 10000; 401005: dec ecx; jne 401005
    processor, calls = make(bytes.fromhex("b910270000 ffc9 75fc")), []

    def callback(cpu: Processor, address: int, size: int) -> None:
        calls.append(cpu.step)
        (self,) = cpu.breakpoints
        self.remove()
        add(address, address, callback=callback)

    add = processor.breakpoints.add_instruction
    add(0x40_1005, 0x40_1005, callback=callback)
    assert processor.run().reason is StopReason.END
    assert calls == list(range(1, 20_001, 2))


def test_a_removed_breakpoint_is_not_called_later_in_the_same_dispatch(make: Make) -> None:
    processor, calls = make(LOOP), []
    add = processor.breakpoints.add_instruction
    add(0x40_1005, 0x40_1005, callback=lambda *_: second.alive and second.remove())
    second = add(0x40_1005, 0x40_1005, callback=lambda *_: calls.append("second"))
    add(0x40_1005, 0x40_1005, callback=lambda *_: calls.append("third"))
    processor.run()
    assert calls == 3 * ["third"]


def test_one_that_is_added_inside_a_callback_is_met_in_the_same_block(make: Make) -> None:
    processor, calls = make(LOOP), []

    def adding(cpu: Processor, address: int, size: int) -> None:
        first.remove()
        cpu.breakpoints.add_instruction(0x40_1009, 0x40_1009, callback=lambda c, a, s: calls.append(c.step))

    first = processor.breakpoints.add_instruction(0x40_1005, 0x40_1005, callback=adding)
    processor.run()
    assert calls == [3, 7, 11]


def test_one_that_is_added_in_the_second_turn_of_a_loop_is_met_from_then_on(make: Make) -> None:
    processor, calls = make(LOOP), []

    def adding(cpu: Processor, address: int, size: int) -> None:
        if cpu.step == 7:
            add(0x40_1005, 0x40_100B, callback=lambda c, a, s: calls.append(c.step))

    add = processor.breakpoints.add_instruction
    add(0x40_1009, 0x40_1009, callback=adding)
    processor.run()
    assert calls == [8, 9, 10, 11, 12]


def test_one_that_is_added_at_the_present_instruction_waits_for_the_next_execution(make: Make) -> None:
    processor, calls = make(LOOP), []

    def adding(cpu: Processor, address: int, size: int) -> None:
        first.remove()
        cpu.breakpoints.add_instruction(address, address, callback=lambda c, a, s: calls.append(c.step))

    first = processor.breakpoints.add_instruction(0x40_1005, 0x40_1005, callback=adding)
    processor.run()
    assert calls == [5, 9]


def test_one_that_is_added_at_the_present_instruction_is_met_when_it_is_met_again(make: Make) -> None:
    processor, calls = make(LOOP), []

    def adding(cpu: Processor, address: int, size: int) -> None:
        calls.append("first")
        cpu.stop()
        if len(cpu.breakpoints) == 1:
            cpu.breakpoints.add_instruction(address, address, callback=lambda *_: calls.append("second"))

    processor.breakpoints.add_instruction(0x40_1009, 0x40_1009, callback=adding)
    stops = [processor.run() for _ in range(2)]
    assert [stop.step for stop in stops] == [3, 3]
    assert calls == ["first", "first", "second"]


def test_what_is_not_there_cannot_be_removed(make: Make) -> None:
    processor, other = make(LOOP), make(LOOP)
    handle = processor.breakpoints.add_instruction(0, 1, callback=ignore)
    kept = processor.breakpoints.add_instruction(0x40_1005, 0x40_1005, callback=ignore)
    with pytest.raises(InvalidArgument):
        other.breakpoints.remove(handle)
    handle.remove()
    for remove in (handle.remove, lambda: processor.breakpoints.remove(handle)):
        with pytest.raises(InvalidArgument):
            remove()
    with pytest.raises(TypeError):
        processor.breakpoints.remove(7)  # type: ignore[arg-type]
    processor.run()
    assert kept.alive
    assert kept.hits == 3
    processor.close()
    with pytest.raises(InvalidArgument):
        kept.remove()
    with pytest.raises(InvalidArgument):
        processor.breakpoints.add_instruction(0, 1, callback=ignore)


class Owned:
    """Something to call, and to look after."""

    def __call__(self, *_: object) -> bool:
        return True


@pytest.mark.parametrize("inside", [False, True])
def test_a_breakpoint_owns_its_functions_until_it_is_removed(make: Make, inside: bool) -> None:
    processor = make(LOOP)
    callback, filter = Owned(), Owned()
    watched = [weakref.ref(callback), weakref.ref(filter)]
    handle = processor.breakpoints.add_instruction(0x40_1005, 0x40_1005, callback=callback, filter=filter)
    del callback, filter
    gc.collect()
    processor.run(3)
    assert all(each() is not None for each in watched)
    if inside:
        processor.breakpoints.add_instruction(
            0x40_1007, 0x40_1007, callback=lambda *_: handle.alive and handle.remove()
        )
        processor.run()
    else:
        handle.remove()
    gc.collect()
    assert [each() for each in watched] == [None, None]


def test_the_same_breakpoint_twice_is_two(make: Make) -> None:
    processor, calls = make(LOOP), []

    def callback(cpu: Processor, address: int, size: int) -> None:
        calls.append(address)

    add = processor.breakpoints.add_instruction
    first, second = (add(0x40_100D, 0x40_100D, callback=callback) for _ in range(2))
    assert first is not second
    first.remove()
    processor.run()
    assert calls == [0x40_100D]
    assert second.alive


def test_one_shot_and_skipped_hits(make: Make) -> None:
    processor, calls = make(LOOP), []
    add = processor.breakpoints.add_instruction
    once = add(0x40_1005, 0x40_1005, callback=lambda c, a, s: calls.append(("once", c.step)), once=True)
    third = add(0x40_1005, 0x40_1005, callback=lambda c, a, s: calls.append(("third", c.step)), skip=2)
    processor.run()
    assert calls == [("once", 1), ("third", 9)]
    assert not once.alive
    assert third.hits == 3


# Filters


def test_a_filter_gets_the_instruction_s_bytes(make: Make) -> None:
    seen: list[bytes] = []

    def filter(cpu: Processor, opcode: bytes) -> bool:
        seen.append(opcode)
        return opcode == b"\xff\xc0"

    calls = calls_of(make(LOOP), 0, TOP, filter=filter)
    assert [address for _, address, _ in calls] == 3 * [0x40_1005]
    assert seen == [LOOP[:5], LOOP[5:7], LOOP[7:9], LOOP[9:11], LOOP[11:13], LOOP[13:]]
    assert all(type(opcode) is bytes for opcode in seen)


def test_a_filter_is_asked_once_for_each_text(make: Make) -> None:
    # mov ecx, 50000; 401005: inc eax; inc eax; dec ecx; jne 401005
    code = bytes.fromhex("b950c30000 ffc0 ffc0 ffc9 75f8")
    processor, asked = make(code), []

    def filter(cpu: Processor, opcode: bytes) -> bool:
        asked.append(opcode)
        return False

    processor.breakpoints.add_instruction(0, TOP, callback=ignore, filter=filter)
    processor.run(1000)
    processor.run()
    # Both inc have one text.
    assert sorted(asked) == sorted([code[:5], code[5:7], code[9:11], code[11:]])


def test_branches_with_equal_bytes_have_different_texts(make: Make) -> None:
    # jmp +0 twice
    processor, asked = make(bytes.fromhex("eb00 eb00 90")), []
    processor.breakpoints.add_instruction(
        0, TOP, callback=ignore, filter=lambda cpu, opcode: bool(asked.append(opcode)) or True
    )
    processor.run()
    assert asked == [b"\xeb\x00", b"\xeb\x00", b"\x90"]


class Chooser:
    def __init__(self, wanted: bytes) -> None:
        self.wanted = wanted

    def wants(self, cpu: Processor, opcode: bytes) -> bool:
        return opcode == self.wanted


def test_verdicts_belong_to_a_breakpoint(make: Make) -> None:
    processor, calls = make(LOOP), []
    chooser = Chooser(LOOP[5:7])
    add = processor.breakpoints.add_instruction
    add(0, TOP, callback=lambda c, a, s: calls.append(("first", a)), filter=chooser.wants)
    processor.run(4)
    chooser.wanted = LOOP[13:]
    add(0, TOP, callback=lambda c, a, s: calls.append(("second", a)), filter=chooser.wants)
    processor.run()
    assert calls == [*3 * [("first", 0x40_1005)], ("first", 0x40_100D), ("second", 0x40_100D)]


class Poisoned:
    """A processor whose state nobody may look at."""

    def __getattr__(self, name: str) -> Any:
        raise AssertionError(f"a filter looked at {name}")


def test_ready_made_filters_look_at_nothing_of_the_processor() -> None:
    poisoned = Poisoned()
    call = bytes.fromhex("e800000000")
    assert mnemonic_prefix("CALL")(poisoned, call)
    assert not mnemonic_prefix("jmp")(poisoned, call)
    assert disassembly_contains("EAX")(poisoned, b"\xff\xc0")
    assert opcode_mask(b"\xe8")(poisoned, call)
    assert not opcode_mask(b"\xe9")(poisoned, call)
    assert opcode_mask(b"\xff\xc0", b"\xff\xc0")(poisoned, b"\xff\xc7")
    assert not opcode_mask(b"\xe8\0\0\0\0\0", b"\xff\0\0\0\0\0")(poisoned, call), "the mask is longer"
    assert all_of(mnemonic_prefix("c"), opcode_mask(b"\xe8"))(poisoned, call)
    assert all_of()(poisoned, call)
    assert any_of(mnemonic_prefix("x"), opcode_mask(b"\xe8"))(poisoned, call)
    assert not any_of()(poisoned, call)
    with pytest.raises(InvalidArgument):
        opcode_mask(b"\1\2", b"\1")


@pytest.mark.parametrize(
    ("filter", "addresses"),
    [
        (mnemonic_prefix("DEC"), 3 * [0x40_1009]),
        (disassembly_contains("0x401005"), 3 * [0x40_100B]),
        (opcode_mask(b"\xff\xc8", b"\xff\xf8"), 3 * [0x40_1009]),
        (any_of(opcode_mask(b"\x90"), mnemonic_prefix("mov")), [0x40_1000, 0x40_100D]),
    ],
)
def test_ready_made_filters(make: Make, filter: Any, addresses: list[int]) -> None:
    assert [address for _, address, _ in calls_of(make(LOOP), 0, TOP, filter=filter)] == addresses


def test_an_exception_in_a_filter_is_not_cached_as_its_verdict(make: Make) -> None:
    processor, trouble = make(LOOP), [Trouble()]

    def filter(cpu: Processor, opcode: bytes) -> bool:
        if trouble:
            raise trouble.pop()
        return True

    processor.breakpoints.add_instruction(0x40_1007, 0x40_1007, callback=stopping, filter=filter)
    with pytest.raises(Trouble):
        processor.run()
    assert (processor.pc, processor.step) == (0x40_1007, 2)
    assert processor.run().reason is StopReason.BREAK


@pytest.mark.parametrize(("answer", "calls"), [(1, 3), (0, 0), ("yes", 3), (None, 0)])
def test_what_a_filter_answers_may_be_anything(make: Make, answer: Any, calls: int) -> None:
    assert len(calls_of(make(LOOP), 0x40_1005, 0x40_1005, filter=lambda cpu, opcode: answer)) == calls
