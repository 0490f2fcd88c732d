"""Tables: columns, rows, parts, previews, and what other tools make of them."""

from __future__ import annotations

import numpy as np
import pytest

import odograph
from odograph import InvalidArgument, Table


@pytest.fixture(scope="module")
def history() -> odograph.History:
    """Seven instructions: a loop that is taken twice, left once, and a return."""
    encoder = odograph.PacketEncoder()
    encoder.add(odograph.Packet("psb")).add(odograph.Packet("psbend"))
    encoder.add(odograph.Packet("mode.exec", csl=True, csd=False, iflag=False))
    encoder.add(odograph.Packet("tip.pge", compression=3, ip=0x401000))
    encoder.add(odograph.Packet("tnt8", size=3, bits=0b110))
    encoder.add(odograph.Packet("tip.pgd", compression=0, ip=0))
    image = odograph.Image()
    image.add_bytes(bytes.fromhex("ff c8 75 fc c3"), 0x401000)
    return odograph.decode(bytes(encoder), image)


@pytest.fixture(scope="module")
def blocks(history: odograph.History) -> Table:
    return history.blocks()


def test_a_name_gives_a_column_a_number_a_row_and_a_slice_a_table(blocks: Table) -> None:
    assert blocks["ip"].dtype == np.uint64
    assert blocks.columns[:4] == ["step", "ip", "end_ip", "ninsn"]
    rows = list(blocks)
    assert [blocks[number] for number in range(len(blocks))] == rows
    assert blocks[-1] == rows[-1]
    for start, stop in ((0, 2), (1, 3), (2, 2), (-1, None), (3, 1), (0, 100), (100, 200)):
        assert list(blocks[start:stop]) == rows[start:stop]
    assert list(blocks[1:][1:]) == rows[2:]
    assert blocks[1:]["ip"].tolist() == blocks["ip"][1:].tolist()


def test_parts_keep_missing_values_text_and_bytes(history: odograph.History) -> None:
    events = history.events()
    assert list(events[1:2]) == list(events)[1:2]
    instructions = history.instructions()
    assert instructions[2:5]["raw"].tolist() == instructions["raw"][2:5].tolist()
    assert instructions[2:5].to_dict()["time"] == [None, None, None]


def test_unknown_columns_rows_and_keys_are_refused(blocks: Table) -> None:
    with pytest.raises(IndexError, match="there is no row 99; the table has"):
        blocks[99]
    with pytest.raises(KeyError, match="there is no column 'nothing'; there are: step, ip"):
        blocks["nothing"]
    with pytest.raises(InvalidArgument, match="sliced without a step"):
        blocks[::2]
    with pytest.raises(TypeError, match="by a number or a slice, not by tuple"):
        blocks[1, 2]  # type: ignore[call-overload]


def test_a_preview_shows_the_first_rows_and_hexadecimal_addresses(history: odograph.History) -> None:
    lines = repr(history.instructions()[:2]).splitlines()
    assert lines[0] == "<Table: 2 rows>"
    assert lines[1].split()[:3] == ["step", "ip", "raw"]
    assert lines[2].split()[:4] == ["0", "0x401000", "ff", "c8"]
    assert len(lines) == 4
    many = history.instructions()
    assert len(repr(many).splitlines()) == 2 + len(many)
    assert repr(history.counts()).splitlines()[0] == "<Table: 3 rows>"


def test_polars_pandas_pyarrow_and_duckdb_take_tables(history: odograph.History) -> None:
    polars, pandas = pytest.importorskip("polars"), pytest.importorskip("pandas")
    pyarrow, duckdb = pytest.importorskip("pyarrow"), pytest.importorskip("duckdb")
    for table in (
        history.blocks(),
        history.events(),
        history.instructions(),
        history.counts(),
        history.pairs(),
    ):
        expected = table.to_dict()
        assert table.to_polars().to_dict(as_series=False) == expected
        assert table.to_arrow().to_pydict() == expected
        assert pyarrow.table(table).to_pydict() == expected
        assert polars.DataFrame(table).to_dict(as_series=False) == expected
        # DuckDB finds Python's variables by their names; ``table`` is a word of SQL.
        rows = table
        relation = duckdb.sql("select * from rows")
        assert rows is table
        assert relation.columns == table.columns
        assert [dict(zip(relation.columns, row, strict=True)) for row in relation.fetchall()] == list(table)
        frame = table.to_pandas()
        assert list(frame.columns) == table.columns
        for name, values in expected.items():
            assert [None if pandas.isna(one) else one for one in frame[name].tolist()] == values


def test_addresses_with_missing_values_are_not_rounded(history: odograph.History) -> None:
    pandas = pytest.importorskip("pandas")
    pytest.importorskip("pyarrow")
    frame = history.events().to_pandas()
    assert history.events()["value"].mask.any()
    assert all(not pandas.api.types.is_float_dtype(kind) for kind in frame.dtypes)
