"""What users hold shows itself: addresses in hexadecimal, and no bare object at an address of Python's."""

from __future__ import annotations

import re
from importlib import import_module
from inspect import isclass

import pytest

import odograph
from odograph.code.objects import object_file
from odograph.debug import Target
from odograph.frame import Frame
from odograph.processor import ReplayProcessor
from odograph.symbols import KnownFunction, Lines, Place, Symbols
from odograph.text.reprs import hex_repr
from odograph.unwind import CfiUnwinder
from support.paths import CORPUS


@pytest.fixture(scope="module")
def recording() -> odograph.Recording:
    return odograph.open(CORPUS / "static.qemu.data", index=False)


def test_facts_show_addresses_in_hexadecimal(recording: odograph.Recording) -> None:
    history = recording.history()
    first = history[0]
    assert f"Instruction(step=0, ip={first.ip:#x}, size={first.size}, " in repr(first)
    assert "Frame(address=0x401000, " in repr(Frame(0x401000, registers={"rsp": 255}))
    assert "registers={'rsp': 0xff}" in repr(Frame(0x401000, registers={"rsp": 255}))
    assert repr(Place("lib", "f", 16, 4096, "symbol")).startswith(
        "Place(module='lib', name='f', offset=0x10, start=0x1000"
    )
    assert "start=0x1000, size=0x20" in repr(KnownFunction("f", 0x1000, 0x20, "lib", "symbol"))
    assert "vaddr=0x" in repr(recording.image().sections[0])


def test_objects_say_what_they_are(recording: odograph.Recording) -> None:
    history = recording.history()
    trace = b"\x02\x82" * 8
    target = Target(recording)
    shown = {
        odograph.PacketEncoder(): "<PacketEncoder: 0 bytes>",
        odograph.PacketDecoder(trace): "<PacketDecoder before synchronisation>",
        odograph.EventDecoder(trace): "<EventDecoder at offset 0x0>",
        odograph.QueryDecoder(trace): "<QueryDecoder at offset 0x0>",
        odograph.BlockDecoder(trace): "<BlockDecoder at offset 0x0>",
        odograph.InstructionDecoder(trace): "<InstructionDecoder at offset 0x0>",
        Symbols(): "<Symbols: 0 modules>",
        Lines("/dev/null"): "<Lines of '/dev/null': no debug information>",
        CfiUnwinder(Symbols()): "<CfiUnwinder for x86-64: 0 modules>",
        target: f"<Target: thread {target.thread.tid}, step 0 of {len(history)}>",
        ReplayProcessor(history): f"<ReplayProcessor: step 0, at {history[0].ip:#x}>",
    }
    assert {repr(one): text for one, text in shown.items()} == {text: text for text in shown.values()}
    assert re.fullmatch(
        r"<ObjectFile: 64 bits, \w+ endian, machine \d+, entry 0x\w+>", repr(object_file("/bin/ls"))
    )


def test_every_public_class_has_a_repr_of_its_own() -> None:
    for room in ("", ".unwind", ".unwind.ia64", ".processor", ".symbols", ".debug", ".cluster"):
        module = import_module(f"odograph{room}")
        for name in module.__all__:
            found = getattr(module, name)
            if (
                isclass(found)
                and not issubclass(found, BaseException)
                and not getattr(found, "_is_protocol", False)
            ):
                assert found.__repr__ is not object.__repr__, f"odograph{room}.{name} has no repr"


def test_a_field_that_is_not_there_cannot_be_hexadecimal() -> None:
    with pytest.raises(AssertionError, match=r"Frame has no fields \['adress'\]"):
        hex_repr("adress")(Frame)
