"""Files of predictions: Parquet for either kind of labels, CSV and JSON for scalars.

Other people's predictions are scored by writing the same columns; only `id` and the prediction are
needed, and what is missing leaves out the scores that need it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet as pq

from kdn.data.paths import replacing
from kdn.predictions.columns import COLUMNS, POINTS, SCALARS, Column
from kdn.predictions.flat import flat_columns, flat_fields, own_columns
from kdn.predictions.record import Predictions

__all__ = ["PredictionsWriter", "read_predictions", "require_kind", "write_predictions"]

_KEY, _END_KEY = b"kdn", b"kdn_end"
_OLD_METADATA = {"values": "names"}


def require_kind(path: str | Path) -> str:
    """Return how a file of predictions ends, in small letters.

    Raises:
        ValueError: If it is not `.parquet`, `.csv` or `.json`.
    """
    kind = Path(path).suffix.lower()
    if kind not in (".parquet", ".csv", ".json"):
        raise ValueError(f"{path}: must end in .parquet, .csv or .json")
    return kind


class PredictionsWriter:
    """Writes predictions as they come, a group of rows for each chunk.

    In Parquet, lists are of fixed size, rows flattened: `landmarks` is `x0, y0, x1, y1, …`. Fields
    that are None have no column. The metadata are JSON under the key `kdn` of the schema's; what
    is put into `metadata` after the first chunk, under `kdn_end` of the file's. In `.csv` and
    `.json` (a list of objects), which hold scalars without metadata, a value `age` has columns
    `age`, `age_target` and so on. A file of that name is replaced whole, at the end, or not at all.

    Args:
        path: A file that ends in `.parquet`, `.csv` or `.json`.
        metadata: Of the file, those of the first chunk by default; more may be put into
            `metadata` until the end.
        attributes: All that the attributes of the chunks will be, from which their types follow;
            those of the first chunk by default.

    Raises:
        ValueError: If the file ends otherwise, or at the end if nothing was written.

    Example:
        >>> import tempfile
        >>> chunk = Predictions(id=("a",), landmarks=np.zeros((1, 5, 2)))
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     with PredictionsWriter(f"{folder}/new.parquet", {"decoder": "mean"}) as writer:
        ...         writer.write(chunk)
        ...         writer.write(chunk)
        ...     len(read_predictions(f"{folder}/new.parquet"))
        2
    """

    def __init__(
        self,
        path: str | Path,
        metadata: Mapping[str, Any] | None = None,
        *,
        attributes: Mapping[str, Sequence[Any]] | None = None,
    ) -> None:
        self.path, self.kind = Path(path), require_kind(path)
        self.metadata: dict[str, Any] = dict(metadata or {})
        self._types = None if attributes is None else _attributes(attributes)
        self._schema: pa.Schema | None = None
        self._stack = ExitStack()
        self._sink: Any = None

    def __enter__(self) -> PredictionsWriter:
        self._temporary = self._stack.enter_context(replacing(self.path))
        return self

    def write(self, predictions: Predictions) -> None:
        """Write a chunk, whose columns must be those of the first.

        Raises:
            ValueError: If they are not, or if the file cannot hold them.
            TypeError: If the metadata are not of JSON types.
        """
        if self.kind == ".parquet":
            columns = _list_columns(predictions)
        elif predictions.values is not None:
            columns = dict(flat_columns(predictions))
        else:
            raise ValueError(f"{self.path}: points are written to .parquet, not {self.kind}")
        taken = {*columns, *COLUMNS, "path"}
        more = _attributes(predictions.attributes)
        table = pa.table(columns | {name: more[name] for name in more if name not in taken})
        if self._schema is None:
            self._open(table.schema, predictions)
        try:
            rows = table.select(self._schema.names).cast(self._schema)  # pyright: ignore[reportOptionalMemberAccess]
        except (KeyError, ValueError) as error:
            raise ValueError(f"{self.path}: a chunk has other columns ({error})") from error
        if self.kind == ".json":
            for row in rows.to_pylist():
                self._sink.write(",\n" if self._sink.tell() > 2 else "")
                self._sink.write(json.dumps({k: _json(v) for k, v in row.items()}))
        else:
            self._sink.write_table(rows)

    def _open(self, schema: pa.Schema, first: Predictions) -> None:
        """Begin the file of the columns of the first chunk."""
        fields = [
            pa.field(field.name, self._types[field.name].type)
            if self._types and field.name in self._types and field.name in first.attributes
            else field
            for field in schema
        ]
        self.metadata = self.metadata or dict(first.metadata)
        self._begun = dict(self.metadata)
        self._schema = pa.schema(fields, metadata={_KEY: json.dumps(self.metadata)})
        if self.kind == ".parquet":
            sink = pq.ParquetWriter(self._temporary, self._schema, compression="zstd")
        elif self.kind == ".csv":
            sink = pyarrow.csv.CSVWriter(self._temporary, self._schema)
        else:
            sink = open(self._temporary, "w", encoding="utf-8")  # noqa: SIM115
            sink.write("[\n")
        self._sink = self._stack.enter_context(sink)

    def __exit__(self, kind: type | None, *error: Any) -> None:
        if kind is None and self._sink is None:
            self._stack.__exit__(ValueError, ValueError(), None)
            raise ValueError(f"{self.path}: no predictions to write")
        if kind is None and self.kind == ".parquet":
            late = {k: v for k, v in self.metadata.items() if self._begun.get(k, self) != v}
            self._sink.add_key_value_metadata({_END_KEY: json.dumps(late)} if late else {})
        elif kind is None and self.kind == ".json":
            self._sink.write("\n]\n")
        self._stack.__exit__(kind, *error)


def write_predictions(path: str | Path, predictions: Predictions) -> None:
    """Write predictions to a file, as `PredictionsWriter` does.

    Raises:
        TypeError: If the metadata is not of JSON types.
        ValueError: If the file ends otherwise than `.parquet` (or, of scalars, `.csv`, `.json`).
    """
    with PredictionsWriter(path, predictions.metadata) as writer:
        writer.write(predictions)


def _list_columns(predictions: Predictions) -> dict[str, pa.Array]:
    """Return the columns of a Parquet file: a list of fixed size for a sample's entry."""
    columns: dict[str, pa.Array] = {"id": pa.array(predictions.id, pa.string())}
    if predictions.path is not None:
        columns["path"] = pa.array(predictions.path, pa.string())
    for name, column in COLUMNS.items():
        array = getattr(predictions, name)
        if array is not None:
            size = int(np.prod(array.shape[1:]))
            kind = pa.bool_() if column.boolean else pa.float64()
            columns[name] = pa.FixedSizeListArray.from_arrays(pa.array(array.ravel(), kind), size)
    return columns


def _attributes(attributes: Mapping[str, Sequence[Any]]) -> dict[str, pa.Array]:
    """Return the columns of attributes, numbers as float64."""
    columns = {name: pa.array(list(column)) for name, column in attributes.items()}
    return {
        name: array.cast(pa.float64())
        if pa.types.is_integer(array.type) or pa.types.is_null(array.type)
        else array
        for name, array in columns.items()
    }


def _json(value: Any) -> Any:
    """Return a value as JSON can hold it: infinite numbers as text, none for what is not one."""
    if isinstance(value, float) and not np.isfinite(value):
        return None if np.isnan(value) else str(value)
    return value


def read_predictions(path: str | Path) -> Predictions:
    """Read predictions from a Parquet file, or scalars from a CSV file.

    A column that is absent or null throughout becomes None; a row that is null in a column that
    may be missing becomes NaN (False in `valid`, `visible` and `known`). Columns of one string,
    boolean or number a row that are none of ours are attributes.

    Another system's file of scalars needs `id`, and for each value `age` the columns `age` and
    `age_target` (the label, which may be empty). Where no column has a target beside it, every
    column of numbers is a value.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is no such file, or a column is missing or ill-formed; the message names
            the file and the column.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file")
    table, texts = _table(path)
    try:
        metadata = {k: v for text in texts for k, v in _metadata(text).items()}
        if "landmarks" in table.column_names or "values" in table.column_names:
            fields = _listed_fields(table, metadata)
        else:
            fields, metadata = flat_fields(table, metadata)
        return Predictions(
            id=_strings(table, "id"),
            path=_strings(table, "path") if _present(table, "path") else None,
            metadata=metadata,
            **fields,
        )
    except (ValueError, pa.ArrowException) as error:
        raise ValueError(f"{path}: {error}") from error


def _table(path: Path) -> tuple[pa.Table, list[bytes]]:
    """Return what a file holds, and its metadata as JSON."""
    kind = path.suffix.lower()
    try:
        if kind == ".parquet":
            with pq.ParquetFile(path) as file:
                metadata = file.metadata.metadata or {}
                texts = [metadata[key] for key in (_KEY, _END_KEY) if key in metadata]
                return file.read(), texts
        if kind == ".csv":
            # An id such as 007 is text, though it looks like a number.
            text = dict.fromkeys(("id", "path"), pa.string())
            options = pyarrow.csv.ConvertOptions(column_types=text)
            return pyarrow.csv.read_csv(path, convert_options=options), []
    except (OSError, pa.ArrowException) as error:
        reason = "not a Parquet file" if kind == ".parquet" else "cannot be read"
        raise ValueError(f"{path}: {reason} ({error})") from error
    raise ValueError(f"{path}: must be a .parquet or .csv file")


def _metadata(text: bytes) -> dict[str, Any]:
    """Return what a file says of its predictions, under the names of today."""
    metadata: Any = json.loads(text)
    if not isinstance(metadata, dict):
        raise ValueError(f"metadata 'kdn' must be a JSON object, got {text.decode()[:40]}")
    return {_OLD_METADATA.get(str(key), str(key)): value for key, value in metadata.items()}


def _listed_fields(table: pa.Table, metadata: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields of a file whose columns hold a list for each sample."""
    prediction = "landmarks" if "landmarks" in table.column_names else "values"
    for name in ("id", prediction):
        if not _present(table, name):
            raise ValueError(f"column {name!r} is missing")
    kind = POINTS if prediction == "landmarks" else SCALARS
    count = _list_size(table, prediction) // (2 if kind == POINTS else 1)
    radii = len(metadata.get("radii", ()))
    fields: dict[str, Any] = {
        name: _array(table, name, column, column.sample_shape(kind, count, radii))
        for name, column in COLUMNS.items()
        if column.is_of(kind) and _present(table, name)
    }
    return fields | {"attributes": own_columns(table, {"id", "path", *COLUMNS})}


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


def _array(table: pa.Table, name: str, column: Column, shape: tuple[int, ...]) -> np.ndarray:
    """Return a column of lists as an array `(n, …)`, null rows as NaN or False."""
    size, wanted = _list_size(table, name), int(np.prod(shape))
    if size != wanted and len(table):
        raise ValueError(f"column {name!r} must hold lists of {wanted}, got {size}")
    lists = table[name].combine_chunks()
    kind = pa.bool_() if column.boolean else pa.float64()
    try:
        flat = pc.cast(lists.flatten(), kind).to_numpy(zero_copy_only=False)
    except pa.ArrowException as error:
        raise ValueError(f"column {name!r} must hold {kind}, got {lists.type}") from error
    if flat.dtype == object:  # booleans with nulls among them
        raise ValueError(f"column {name!r} must not have nulls inside its lists")
    rows = ~np.asarray(lists.is_null())
    if name in ("landmarks", "values") and not rows.all():
        raise ValueError(f"column {name!r} must be given in every row, got {(~rows).sum()} nulls")
    array = np.full((len(table), wanted), False if column.boolean else np.nan)
    array[rows] = flat.reshape(rows.sum(), wanted)
    return array.reshape(len(table), *shape)
