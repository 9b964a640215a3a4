"""The Parquet file of predictions: one row is one sample.

Other people's predictions are scored by writing the same columns; only `id` and `landmarks` are
needed, and what is missing leaves out the metrics that need it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from kdn.data.paths import replacing
from kdn.predictions.record import BOOLEAN, SHAPES, Predictions, sample_shape

__all__ = ["read_column", "read_predictions", "write_predictions"]

_METADATA_KEY = b"kdn"


def write_predictions(
    path: str | Path,
    predictions: Predictions,
    *,
    attributes: Mapping[str, Sequence[Any]] | None = None,
) -> None:
    """Write predictions to a Parquet file; a file of that name is replaced whole or not at all.

    Lists are of fixed size, rows flattened: `landmarks` is `x0, y0, x1, y1, …`. Fields that are
    None have no column. The metadata is JSON under the key `kdn` of the schema's metadata.

    Args:
        path: The file.
        predictions: What is written.
        attributes: More columns of one value a sample, such as an age, for whoever reads the file;
            `read_predictions` does not. One of a name that is taken is left out.

    Raises:
        TypeError: If the metadata is not of JSON types.
    """
    columns: dict[str, pa.Array] = {"id": pa.array(predictions.id, pa.string())}
    if predictions.path is not None:
        columns["path"] = pa.array(predictions.path, pa.string())
    for name in SHAPES:
        value = getattr(predictions, name)
        if value is None:
            continue
        size = int(np.prod(sample_shape(name, predictions.count, len(predictions.radii))))
        kind = pa.bool_() if name in BOOLEAN else pa.float64()
        columns[name] = pa.FixedSizeListArray.from_arrays(pa.array(value.ravel(), kind), size)
    own = {*columns, *SHAPES, "path"}
    for name, values in (attributes or {}).items():
        if name not in own:
            columns[name] = pa.array(list(values))
    table = pa.table(columns)
    text = json.dumps(dict(predictions.metadata)).encode()
    table = table.replace_schema_metadata({_METADATA_KEY: text})
    with replacing(Path(path)) as temporary:
        pq.write_table(table, temporary, compression="zstd")


def read_predictions(path: str | Path) -> Predictions:
    """Read predictions from a Parquet file.

    A column that is absent or null throughout becomes None; a row that is null in a column that
    may be missing becomes NaN (False in `valid`, `visible` and `known`).

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is not Parquet, or a column is missing or ill-formed; the message names
            the file and the column.
    """
    path = Path(path)
    table = _table(path)
    missing = [name for name in ("id", "landmarks") if not _present(table, name)]
    if missing:
        raise ValueError(f"{path}: column {missing[0]!r} is missing")
    try:
        count = _list_size(table, "landmarks") // 2
        metadata = _metadata(table)
        radii = len(metadata.get("radii", ()))
        present = [name for name in SHAPES if _present(table, name)]
        fields = {name: _array(table, name, count, radii) for name in present}
        return Predictions(
            id=_strings(table, "id"),
            path=_strings(table, "path") if _present(table, "path") else None,
            metadata=metadata,
            **fields,
        )
    except ValueError as error:  # pyarrow's conversion errors are ValueErrors too
        raise ValueError(f"{path}: {error}") from error


def read_column(path: str | Path, name: str) -> np.ndarray:
    """Read one column of a user's own: an attribute of each sample, to compare samples by.

    Args:
        path: A Parquet file of predictions.
        name: A column of strings, booleans or numbers.

    Returns:
        `(n,)` of strings, booleans or float64; a null is "" or NaN, and among booleans they all
        become the strings "true", "false" and "".

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is not Parquet, there is no such column, or it holds something else.
    """
    path = Path(path)
    table = _table(path)
    if name not in table.column_names:
        raise ValueError(f"{path}: column {name!r} is missing, there are {table.column_names}")
    column = table[name]
    kind = column.type
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
        column = pc.cast(column, kind)
    if pa.types.is_boolean(kind):
        if column.null_count == 0:
            return np.array(column.to_pylist(), dtype=bool)
        said = {True: "true", False: "false", None: ""}
        return np.array([said[value] for value in column.to_pylist()], dtype=str)
    if pa.types.is_string(kind) or pa.types.is_large_string(kind):
        return np.array([text or "" for text in column.to_pylist()], dtype=str)
    if pa.types.is_integer(kind) or pa.types.is_floating(kind):
        return np.array([np.nan if v is None else v for v in column.to_pylist()], dtype=np.float64)
    raise ValueError(
        f"{path}: column {name!r} must hold one string, boolean or number a row, got {column.type}"
    )


def _table(path: Path) -> pa.Table:
    """Return what a Parquet file holds."""
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file")
    try:
        return pq.read_table(path)
    except pa.ArrowException as error:
        raise ValueError(f"{path}: not a Parquet file ({error})") from error


def _metadata(table: pa.Table) -> dict[str, Any]:
    """Return what the schema's metadata say of the predictions, nothing where they say nothing."""
    text = (table.schema.metadata or {}).get(_METADATA_KEY, b"{}")
    metadata = json.loads(text)
    if not isinstance(metadata, dict):
        raise ValueError(f"metadata 'kdn' must be a JSON object, got {text.decode()[:40]}")
    return metadata


def _present(table: pa.Table, name: str) -> bool:
    """Return whether a table has a column with at least one entry (or none because it is empty)."""
    if name not in table.column_names:
        return False
    column = table[name]
    return len(column) == 0 or column.null_count < len(column)


def _strings(table: pa.Table, name: str) -> tuple[str, ...]:
    """Return a column of strings; null is "" (but an id must be given)."""
    column = table[name]
    if not (pa.types.is_string(column.type) or pa.types.is_large_string(column.type)):
        raise ValueError(f"column {name!r} must hold strings, got {column.type}")
    if name == "id" and column.null_count:
        raise ValueError(f"column 'id' must be given, got {column.null_count} nulls")
    return tuple(text or "" for text in column.to_pylist())


def _list_size(table: pa.Table, name: str) -> int:
    """Return the length that all lists of a column share."""
    column = table[name]
    if pa.types.is_fixed_size_list(column.type):
        return column.type.list_size
    if not (pa.types.is_list(column.type) or pa.types.is_large_list(column.type)):
        raise ValueError(f"column {name!r} must hold lists of numbers, got {column.type}")
    sizes = set(column.combine_chunks().value_lengths().to_pylist()) - {None}
    if len(sizes) > 1:
        raise ValueError(f"column {name!r} must hold lists of one length, got {sorted(sizes)}")
    return sizes.pop() if sizes else 0


def _array(table: pa.Table, name: str, count: int, radii: int) -> np.ndarray:
    """Return a column of lists as an array `(n, …)`, null rows as NaN or False."""
    shape, size = sample_shape(name, count, radii), _list_size(table, name)
    wanted = int(np.prod(shape))
    if size != wanted and len(table):
        raise ValueError(
            f"column {name!r} must hold lists of {wanted} ({count} landmarks), got {size}"
        )
    column = table[name].combine_chunks()
    kind = pa.bool_() if name in BOOLEAN else pa.float64()
    try:
        flat = pc.cast(column.flatten(), kind).to_numpy(zero_copy_only=False)
    except pa.ArrowException as error:
        raise ValueError(f"column {name!r} must hold {kind}, got {column.type}") from error
    if flat.dtype == object:  # booleans with nulls among them
        raise ValueError(f"column {name!r} must not have nulls inside its lists")
    there = ~np.asarray(column.is_null())
    if name == "landmarks" and not there.all():
        raise ValueError(f"column {name!r} must be given in every row, got {(~there).sum()} nulls")
    array = np.full((len(table), wanted), False if name in BOOLEAN else np.nan)
    array[there] = flat.reshape(there.sum(), wanted)
    return array.reshape(len(table), *shape)
