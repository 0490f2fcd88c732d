"""Facts as columns."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np

    from odograph._native import RawTable

__all__ = ["Table"]


class Table:
    """Named columns of equal length.

    ``table["name"]`` is a NumPy array (a masked one if values are missing; object arrays for text and
    bytes), ``len(table)`` the number of rows, iteration gives rows as dictionaries. Polars, DuckDB,
    pandas and pyarrow take the table itself through ``__arrow_c_stream__``, for example
    ``polars.from_arrow(table)`` or ``pyarrow.table(table)``.
    """

    __slots__ = ("_columns", "_raw")

    def __init__(self, raw: RawTable) -> None:
        self._raw = raw
        self._columns: dict[str, np.ndarray[Any, Any]] = {}

    @property
    def names(self) -> list[str]:
        """Names of the columns."""
        return self._raw.names

    def __len__(self) -> int:
        return self._raw.num_rows

    def __contains__(self, name: object) -> bool:
        return name in self._raw.names

    def __getitem__(self, name: str) -> np.ndarray[Any, Any]:
        """The column with this name; raises KeyError if there is none, TypeError for what is no name."""
        if not isinstance(name, str):
            raise TypeError(
                f"a table is asked for a column by its name ({', '.join(self.names)}), not by "
                f"{type(name).__name__}; list(table) gives the rows"
            )
        if name not in self._raw.names:
            raise KeyError(f"there is no column {name!r}; there are: {', '.join(self.names)}")
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
        names = self.names
        columns = [self[name].tolist() for name in names]
        for row in zip(*columns, strict=True):
            yield dict(zip(names, row, strict=True))

    def to_dict(self) -> Mapping[str, list[Any]]:
        """All columns as lists; missing values are None."""
        return {name: self[name].tolist() for name in self.names}

    def __arrow_c_stream__(self, requested_schema: object | None = None) -> object:
        """The Arrow PyCapsule interface."""
        return self._raw.__arrow_c_stream__(requested_schema)

    def __repr__(self) -> str:
        return f"<Table of {len(self)} rows: {', '.join(self.names)}>"
