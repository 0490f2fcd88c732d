"""Indexes: histories that were saved are the same again, or are not used."""

from __future__ import annotations

import io
import os
import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import odograph
from odograph import History, Image, InvalidArgument, Packet, PacketEncoder, Recording, TraceConfig, decode
from odograph.errors import OutputError, TraceError, UnsupportedOperation
from odograph.history.index import Index, IndexUse, write_index
from support.sharedtraces import Unpacker, bench_image, mapped_image, shared_paths

CODE = 0x401000
#: loop: dec eax; jne loop; ret
CODE_BYTES = bytes.fromhex("ff c8 75 fc c3")
RECORDED = ("set01/multi-core-45", "set02/static-59234", "set06/dyn_test", "set07/hello")
GENERATED = ("gzip-s-def", "py-s-irq", "py-s-mix", "pt-py-s-cyc")


def loop_trace(turns: int = 200) -> bytes:
    encoder = PacketEncoder()
    for _ in range(3):
        encoder.add(Packet("psb")).add(Packet("psbend"))
        encoder.add(Packet("mode.exec", csl=True, csd=False, iflag=False))
        encoder.add(Packet("tip.pge", compression=3, ip=CODE))
        for _ in range(turns):
            encoder.add(Packet("tnt8", size=1, bits=1))
        encoder.add(Packet("tnt8", size=1, bits=0))
        encoder.add(Packet("tip.pgd", compression=0, ip=0))
    return bytes(encoder)


def loop_image() -> Image:
    image = Image()
    image.add_bytes(CODE_BYTES, CODE)
    return image


def check_same(one: History, other: History, seed: int) -> None:
    """Both answer every question alike."""
    assert len(one) == len(other)
    assert one.hash() == other.hash()
    assert one.gaps() == other.gaps()
    assert one.time_range() == other.time_range()
    assert one.events().to_dict() == other.events().to_dict()
    assert one.counts().to_dict() == other.counts().to_dict()
    chance = random.Random(seed)
    for _ in range(5):
        if not len(one):
            break
        start = chance.randrange(len(one))
        stop = min(start + 300, len(one))
        assert np.array_equal(one.ips(start, stop), other.ips(start, stop))
        assert one.instructions(start, stop).to_dict() == other.instructions(start, stop).to_dict()
        assert one.blocks(start, stop).to_dict() == other.blocks(start, stop).to_dict()
        ip = one[start].ip
        assert np.array_equal(one.find(ip, limit=50), other.find(ip, limit=50))
        time = one[start].time
        if time is not None:
            assert one.at_time(time) == other.at_time(time)


def check_saved(trace: Any, image: Callable[[], Image], config: TraceConfig, index: Path) -> None:
    history = decode(trace, image(), config)
    assert history.index_use is None
    history.save(index)
    again = decode(trace, image(), config, index=index)
    assert again.index_use is not None
    assert again.index_use.reason is None
    check_same(history, again, 1)


@pytest.mark.parametrize("name", GENERATED)
def test_generated_traces(shared: Path, unpacked: Unpacker, tmp_path: Path, name: str) -> None:
    folder, workload = shared / "bench", name.rsplit("-", 2)[0]
    check_saved(
        unpacked(folder / f"{name}.pt.xz"),
        lambda: bench_image(folder, workload, unpacked),
        TraceConfig(nom_freq=24),
        tmp_path / "index",
    )


@pytest.mark.parametrize("name", RECORDED)
def test_traces_by_real_processors(shared: Path, tmp_path: Path, name: str) -> None:
    folder = shared / "traces" / name
    check_saved(folder / "pt.bin", lambda: mapped_image(folder), TraceConfig(), tmp_path / "index")


@pytest.mark.acceptance
@pytest.mark.parametrize(
    "name", ["/".join(path.parts[-3:-1]) for path in shared_paths("traces/set*/*/image.map")]
)
def test_all_traces_by_real_processors(shared: Path, tmp_path: Path, name: str) -> None:
    folder = shared / "traces" / name
    check_saved(folder / "pt.bin", lambda: mapped_image(folder), TraceConfig(), tmp_path / "index")


@pytest.fixture
def index(tmp_path: Path) -> Path:
    """An index of the loop."""
    path = tmp_path / "loop.odx"
    decode(loop_trace(), loop_image()).save(path)
    return path


def reason(index: Path, trace: bytes, image: Image, **how: Any) -> str | None:
    """Why the index is not used; the history is right in any case."""
    history = decode(trace, image, index=index, **how)
    check_same(history, decode(trace, image, **how), 2)
    assert history.index_use is not None
    assert history.index_use.used == (history.index_use.reason is None)
    return history.index_use.reason


def test_the_very_same_is_used(index: Path) -> None:
    assert reason(index, loop_trace(), loop_image()) is None
    assert reason(index, loop_trace(), loop_image(), threads=1) is None


def test_another_trace(index: Path) -> None:
    assert reason(index, loop_trace(199), loop_image()) == "the trace is another one"
    trace = bytearray(loop_trace())
    trace[100] ^= 2
    assert reason(index, bytes(trace), loop_image()) == "the trace is another one"


def test_other_memory(index: Path) -> None:
    image = Image()
    image.add_bytes(CODE_BYTES[:-1] + b"\xcb", CODE)
    assert reason(index, loop_trace(), image) == "memory at 0x401000 holds something else"
    assert reason(index, loop_trace(), Image()) == "memory at 0x401000 holds something else"


def test_another_way_to_decode(index: Path) -> None:
    config = TraceConfig(mtc_freq=3)
    told = "the trace was decoded with another configuration"
    assert reason(index, loop_trace(), loop_image(), config=config) == told
    assert (
        reason(index, loop_trace(), loop_image(), resync="psb") == "the trace was decoded with other options"
    )


def test_no_index(tmp_path: Path) -> None:
    assert reason(tmp_path / "nothing", loop_trace(), loop_image()) == "No such file or directory"
    (tmp_path / "empty").touch()
    assert reason(tmp_path / "empty", loop_trace(), loop_image()) == "it is damaged"


def test_a_damaged_index(index: Path) -> None:
    whole = index.read_bytes()
    for at in range(0, len(whole), 9):
        index.write_bytes(whole[:at])
        assert reason(index, loop_trace(10), loop_image()) == "it is damaged", at
        damaged = bytearray(whole)
        damaged[at] ^= 1 << at % 8
        index.write_bytes(damaged)
        assert reason(index, loop_trace(10), loop_image()) == "it is damaged", at


def test_contents_that_do_not_belong(index: Path) -> None:
    content = Index(index).get("trace")
    assert content is not None
    write_index(index, {"trace": bytes(content)[:-1]})
    assert reason(index, loop_trace(), loop_image()) == "it is damaged"
    write_index(index, {"other": bytes(content)})
    assert reason(index, loop_trace(), loop_image()) == "this was not decoded when it was made"
    write_index(index, {})
    assert reason(index, loop_trace(), loop_image()) == "this was not decoded when it was made"


def test_gaps_are_raised_from_an_index_as_well(index: Path) -> None:
    decode(loop_trace()).save(index)
    assert decode(loop_trace(), index=index).index_use == IndexUse(str(index), True)
    with pytest.raises(TraceError) as decoded:
        decode(loop_trace(), on_error="raise")
    with pytest.raises(TraceError) as loaded:
        decode(loop_trace(), on_error="raise", index=index)
    assert str(loaded.value) == str(decoded.value)
    assert (loaded.value.offset, loaded.value.ip) == (decoded.value.offset, decoded.value.ip)


def test_callbacks_are_not_saved(index: Path) -> None:
    image = Image()
    image.set_callback(lambda address, size, asid: CODE_BYTES[address - CODE :][:size])
    history = decode(loop_trace(), image, index=index)
    assert history.index_use is not None
    assert history.index_use.reason == "a callback takes part"
    with pytest.raises(UnsupportedOperation, match="memory comes from a callback"):
        history.save(index)
    config = TraceConfig(unknown_packet=lambda trace, offset: 1)
    with pytest.raises(UnsupportedOperation, match="sizes of unknown packets come from a callback"):
        decode(loop_trace(), loop_image(), config).save(index)


def test_an_index_is_replaced_at_once_or_not_at_all(index: Path, tmp_path: Path) -> None:
    before = index.read_bytes()
    with pytest.raises(OutputError, match="there is no directory"):
        write_index(tmp_path / "nowhere" / "index", {})
    with pytest.raises(TypeError):
        write_index(index, {"trace": "no bytes"})  # type: ignore[dict-item]
    assert index.read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == [index.name], "nothing is left behind"


@pytest.fixture
def recording(tmp_path: Path) -> Path:
    """A raw trace, with its code beside it."""
    path = tmp_path / "loop.pt"
    path.write_bytes(loop_trace())
    path.with_suffix(".bin").write_bytes(CODE_BYTES)
    return path


def opened(recording: Path, **how: Any) -> Recording:
    image = Image()
    image.add_file(recording.with_suffix(".bin"), 0, len(CODE_BYTES), CODE)
    return odograph.open(recording, image=image, **how)


def used(recording: Path, **how: Any) -> IndexUse | None:
    """What came of an index; the history is right in any case."""
    one = opened(recording, **how)
    check_same(one.history(), opened(recording, index=False, **how).history(), 3)
    return one.index_use


def change(path: Path, content: bytes) -> None:
    """Other bytes in a file that looks the same afterwards."""
    before = path.stat()
    path.write_bytes(content)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def test_the_index_beside_a_recording_is_found(recording: Path, tmp_path: Path) -> None:
    assert used(recording) is None
    path = opened(recording).save_index()
    assert path == f"{recording}.odx"
    assert used(recording) == IndexUse(path, True)
    assert opened(recording).check_index() == IndexUse(path, True)
    assert opened(recording, index=False).index_use is None
    other = str(tmp_path / "elsewhere")
    opened(recording).save_index(other)
    os.unlink(path)
    assert used(recording) is None
    assert opened(recording).check_index() == IndexUse(path, False, "No such file or directory")
    plain = opened(recording, index=other)
    plain.history()
    assert plain.index_use == IndexUse(other, True)


def test_a_recording_that_changed_without_looking_so(recording: Path) -> None:
    path = opened(recording).save_index()
    trace = bytearray(recording.read_bytes())
    trace[60] ^= 2
    change(recording, trace)
    assert used(recording) == IndexUse(path, False, "the trace is another one")
    assert opened(recording).check_index() == IndexUse(path, False, "the trace is another one")


def test_code_that_changed_without_looking_so(recording: Path) -> None:
    path = opened(recording).save_index()
    change(recording.with_suffix(".bin"), CODE_BYTES[:-1] + b"\xcb")
    assert used(recording) == IndexUse(path, False, "memory at 0x401000 holds something else")


def test_a_recording_that_was_cut(recording: Path) -> None:
    path = opened(recording).save_index()
    recording.write_bytes(recording.read_bytes()[:-1])
    assert used(recording) == IndexUse(path, False, "the trace is another one")


def test_other_options_for_a_recording(recording: Path) -> None:
    path = opened(recording).save_index()
    stale = "the trace was decoded with other options"
    assert used(recording, resync="psb") == IndexUse(path, False, stale)
    stale = "the trace was decoded with another configuration"
    assert used(recording, config=TraceConfig(mtc_freq=3)) == IndexUse(path, False, stale)


def test_an_index_knows_the_packets(recording: Path) -> None:
    plain = opened(recording)
    counted = plain.packets()
    path = plain.save_index()
    loaded = opened(recording)
    loaded.history()
    assert loaded.packets() == counted
    entries = {"0/0": bytes(Index(path).get("0/0") or b""), "0/packets": b'[[["psb", 77]], 5]'}
    write_index(path, entries)
    told = opened(recording)
    assert told.packets() == counted, "nothing has compared the trace yet"
    told.history()
    assert told.packets() == ({"psb": 77}, 5), "they are not counted again"


def test_the_history_of_a_recording_is_not_saved_alone(recording: Path, tmp_path: Path) -> None:
    with pytest.raises(UnsupportedOperation, match=r"use Recording\.save_index"):
        opened(recording).history().save(tmp_path / "index")


def test_parts_of_histories_are_not_saved(index: Path) -> None:
    with pytest.raises(UnsupportedOperation, match="only a whole trace"):
        decode(loop_trace(), loop_image()).part(1).save(index)


def test_standard_input_has_no_place_for_an_index(recording: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with recording.open("rb") as stream:
        monkeypatch.setattr("sys.stdin", io.TextIOWrapper(stream))
        piped = odograph.open("-", image=loop_image())
        assert len(piped.history()) > 0
    with pytest.raises(InvalidArgument, match="give a path"):
        piped.save_index()


def test_a_recording_of_several_processors(shared: Path, tmp_path: Path) -> None:
    recording = tmp_path / "perf.data"
    shutil.copy(shared / "traces" / "set03" / "file.perf.data", recording)
    plain = odograph.open(recording, index=False)
    histories = plain.histories()
    assert len(plain.source.streams) > 1
    path = plain.save_index()
    loaded = odograph.open(recording)
    for tid, history in loaded.histories().items():
        check_same(history, histories[tid], tid)
    assert loaded.index_use == IndexUse(path, True)
    assert loaded.packets() == plain.packets()
    assert odograph.open(recording).check_index().used
