"""Rows as a polars frame and as Parquet: equal rows give equal bytes."""

import io
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from pbrl.errors import CellError

if TYPE_CHECKING:
    import polars

Row = dict[str, Any]


def from_rows(rows: list[Row]) -> "polars.DataFrame":
    """One column per key, in order of first appearance; null where a row lacks the key.

    Raises CellError for a column that holds both text and numbers.
    """
    import polars

    columns: dict[str, list[Any]] = {key: [] for row in rows for key in row}
    for key, values in columns.items():
        values.extend(row.get(key) for row in rows)
    return polars.DataFrame(
        [polars.Series(key, v, dtype=_type(key, v), strict=False) for key, v in columns.items()]
    )


def _type(key: str, values: list[Any]) -> Any:
    import polars

    found = {type(value) for value in values if value is not None}
    options: list[tuple[set[type], Any]] = [
        (set(), polars.Float64),
        ({bool}, polars.Boolean),
        ({int}, polars.Int64),
        ({int, float}, polars.Float64),
        ({str}, polars.String),
    ]
    for types, dtype in options:
        if found <= types:
            return dtype
    names = ", ".join(sorted(kind.__name__ for kind in found))
    raise CellError(f"log: column {key!r} holds {names}; expected one type in all rows")


def types(frame: "polars.DataFrame") -> dict[str, str]:
    """The type of each column, by name."""
    return {name: str(dtype) for name, dtype in frame.schema.items()}


def to_parquet(frame: "polars.DataFrame") -> bytes:
    """The Parquet file of a frame."""
    buffer = io.BytesIO()
    frame.write_parquet(buffer, compression="zstd")
    return buffer.getvalue()


def from_parquet(files: Sequence[bytes], columns: Sequence[str]) -> "polars.DataFrame":
    """Some columns of Parquet files that all have the same, one file's rows after the other's."""
    import polars

    return polars.scan_parquet(list(files)).select(columns).collect()
