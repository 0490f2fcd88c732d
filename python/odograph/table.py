"""Facts as columns."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, overload

from odograph.errors import InvalidArgument
from odograph.text.counted import counted

if TYPE_CHECKING:
    import numpy as np
    import pandas
    import polars
    import pyarrow

    from odograph._native import RawTable

__all__ = ["Table"]

#: Rows that are made at a time when a table is iterated.
_AT_A_TIME = 4096
#: Rows and characters of a value that a preview shows.
_SHOWN_ROWS, _SHOWN_WIDTH = 8, 24
#: Columns of addresses, which are shown in hexadecimal.
_ADDRESSES = frozenset({"ip", "end_ip", "to", "from", "caller", "callee", "cr3", "vmcs"})


class Table:
    """Named columns of equal length; rows are in the order of the question.

    - ``table["name"]`` is a column as a NumPy array. Missing values make it a masked array; text and bytes
      make it an array of objects.
    - ``table[5]`` is a row as a dictionary, ``table[10:20]`` a table of these rows (nothing is copied; the
      step of a slice is 1).
    - ``len(table)`` is the number of rows, iteration gives them as dictionaries, :attr:`columns` names the
      columns. ``print(table)`` shows the first rows.
    - :meth:`to_polars`, :meth:`to_pandas` and :meth:`to_arrow` hand the table on. Other tools take the table
      itself through Arrow's PyCapsule interface: ``polars.DataFrame(table)``, ``pyarrow.table(table)``,
      ``duckdb.sql("select * from blocks")``.

    Example::

        blocks = odograph.decode(trace, image).blocks()
        blocks["ip"]             # numpy.ndarray of uint64
        blocks[:10].to_polars()  # the first ten as a data frame
    """

    __slots__ = ("_columns", "_raw")

    def __init__(self, raw: RawTable) -> None:
        self._raw = raw
        self._columns: dict[str, np.ndarray[Any, Any]] = {}

    @property
    def columns(self) -> list[str]:
        """Names of the columns, in order."""
        return self._raw.names

    def __len__(self) -> int:
        return self._raw.num_rows

    def __contains__(self, name: object) -> bool:
        """Whether there is a column of this name."""
        return name in self._raw.names

    @overload
    def __getitem__(self, key: str) -> np.ndarray[Any, Any]: ...
    @overload
    def __getitem__(self, key: int) -> dict[str, Any]: ...
    @overload
    def __getitem__(self, key: slice) -> Table: ...
    def __getitem__(self, key: str | int | slice) -> np.ndarray[Any, Any] | dict[str, Any] | Table:
        """A column by its name, a row by its number, or a part of the rows by a slice.

        KeyError if there is no such column, IndexError if there is no such row,
        :class:`~odograph.InvalidArgument` for a slice with a step, TypeError for other keys.
        """
        if isinstance(key, str):
            return self._column(key)
        if isinstance(key, slice):
            start, stop, step = key.indices(len(self))
            if step != 1:
                raise InvalidArgument(
                    f"a table is sliced without a step; table['name'][::{step}] takes a column in steps"
                )
            return Table(self._raw.rows(start, max(stop - start, 0)))
        try:
            number = key.__index__()
        except AttributeError:
            raise TypeError(
                f"a table is asked for a column by its name ({', '.join(self.columns)}), or for rows by a "
                f"number or a slice, not by {type(key).__name__}"
            ) from None
        row = number + len(self) if number < 0 else number
        if not 0 <= row < len(self):
            raise IndexError(f"there is no row {number}; the table has {counted(len(self), 'row')}")
        return next(iter(self[row : row + 1]))

    def _column(self, name: str) -> np.ndarray[Any, Any]:
        if name not in self._raw.names:
            raise KeyError(f"there is no column {name!r}; there are: {', '.join(self.columns)}")
        if name not in self._columns:
            import numpy as np

            kind, values, validity = self._raw.column(name)
            if isinstance(values, bytes):
                array = np.frombuffer(values, dtype=kind)
            else:
                array = np.empty(len(values), dtype=object)
                array[:] = values
            if validity is not None:
                array = np.ma.masked_array(array, mask=~np.frombuffer(validity, dtype=bool))
            self._columns[name] = array
        return self._columns[name]

    def __iter__(self) -> Iterator[dict[str, Any]]:
        names = self.columns
        for start in range(0, len(self), _AT_A_TIME):
            some = self[start : start + _AT_A_TIME] if len(self) > _AT_A_TIME else self
            columns = [some[name].tolist() for name in names]
            for row in zip(*columns, strict=True):
                yield dict(zip(names, row, strict=True))

    def to_dict(self) -> Mapping[str, list[Any]]:
        """All columns as lists; missing values are None."""
        return {name: self[name].tolist() for name in self.columns}

    def to_arrow(self) -> pyarrow.Table:
        """The table for pyarrow. Nothing is copied. ImportError if pyarrow is not installed."""
        import pyarrow

        return pyarrow.table(self)

    def to_polars(self) -> polars.DataFrame:
        """The table as a data frame of polars. ImportError if polars is not installed."""
        import polars

        return polars.DataFrame(self)

    def to_pandas(self) -> pandas.DataFrame:
        """The table as a data frame of pandas. ImportError if pandas or pyarrow is not installed.

        Integers with missing values become pandas' integers with a mask (``Int64``, ``UInt64``): as floating
        point numbers, addresses would be rounded.
        """
        import pandas
        import pyarrow

        kinds = {
            getattr(pyarrow, kind.lower())(): getattr(pandas, f"{kind}Dtype")()
            for kind in ("Int64", "UInt64", "Int32", "UInt32", "UInt16", "UInt8")
        }
        table = pyarrow.table(self)
        masked = {field.type for field, column in zip(table.schema, table, strict=True) if column.null_count}
        return table.to_pandas(types_mapper=lambda kind: kinds.get(kind) if kind in masked else None)

    def __arrow_c_stream__(self, requested_schema: object | None = None) -> object:
        """The Arrow PyCapsule interface: one stream of record batches. The schema cannot be negotiated."""
        return self._raw.__arrow_c_stream__(requested_schema)

    def __repr__(self) -> str:
        """The number of rows, and the first ones; addresses are hexadecimal."""
        lines = [self.columns]
        lines += [[_shown(name, value) for name, value in row.items()] for row in self[:_SHOWN_ROWS]]
        widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
        text = [
            "  ".join(word.rjust(width) for word, width in zip(line, widths, strict=True)) for line in lines
        ]
        if len(self) > _SHOWN_ROWS:
            text.append("...")
        return "\n".join([f"<Table: {counted(len(self), 'row')}>", *text])


def _shown(name: str, value: object) -> str:
    """A value for a preview."""
    if value is None:
        return "-"
    if isinstance(value, bytes):
        text = value.hex(" ")
    elif name in _ADDRESSES and isinstance(value, int):
        text = hex(value)
    else:
        text = str(value)
    return text if len(text) <= _SHOWN_WIDTH else text[: _SHOWN_WIDTH - 3] + "..."
