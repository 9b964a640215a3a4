"""Predictions of values on disk: one row is one sample, in Parquet, CSV or JSON."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
from jaxtyping import Float64

from kdn.data.paths import replacing

__all__ = [
    "QUANTILES",
    "ValuePredictions",
    "holds_values",
    "read_values",
    "require_kind",
    "write_values",
]

QUANTILES = (0.025, 0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95, 0.975)
"""Levels of the quantiles that are kept."""

_METADATA_KEY = b"kdn"
_PARTS = (
    "target",
    "mean",
    "median",
    "mode",
    "deviation",
    "log_prob",
    "cdf_low",
    "cdf_high",
    "crps",
)
"""Fields whose column is called `NAME_FIELD`."""

Values = Float64[np.ndarray, "n values"]


@dataclass(frozen=True)
class ValuePredictions:
    """What a model says of the values of samples, and what scores need of its densities.

    All but `id`, `names` and `value` may be missing (None), and with them what needs them. NaN
    where a sample has no label.

    Args:
        id: Of each sample.
        names: What the values are called.
        value: The predictions, in the label's unit.
        path: File of each picture, or "".
        target: The labels.
        mean: Of each density.
        median: Likewise.
        mode: Likewise.
        deviation: Standard deviation of each density.
        quantiles: Those of the levels `QUANTILES`.
        log_prob: Log-likelihood of the label in nats per unit, see
            `kdn.models.heads.rounded_log_prob`.
        cdf_low: Probability of a value below the label, or below what may have been rounded to it.
        cdf_high: Likewise up to the label, or up to all that may have been rounded to it.
        crps: Continuous ranked probability score of the label, in its unit.
        attributes: Other columns, such as groups to tell apart; for whoever reads the file.
        metadata: Recipe, head, decoder, rounding and so on, JSON types.

    Raises:
        ValueError: If a shape does not fit; the message names the field.
    """

    id: tuple[str, ...]
    names: tuple[str, ...]
    value: Values
    path: tuple[str, ...] | None = None
    target: Values | None = None
    mean: Values | None = None
    median: Values | None = None
    mode: Values | None = None
    deviation: Values | None = None
    quantiles: Float64[np.ndarray, "n values levels"] | None = None
    log_prob: Values | None = None
    cdf_low: Values | None = None
    cdf_high: Values | None = None
    crps: Values | None = None
    attributes: Mapping[str, Sequence[Any]] = field(default_factory=dict)
    metadata: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        shape = (len(self.id), len(self.names))
        for name in ("value", *_PARTS):
            array = getattr(self, name)
            if array is not None and array.shape != shape:
                raise ValueError(f"{name} must have shape {shape}, got {array.shape}")
        wanted = (*shape, len(QUANTILES))
        if self.quantiles is not None and self.quantiles.shape != wanted:
            raise ValueError(f"quantiles must have shape {wanted}, got {self.quantiles.shape}")

    def __len__(self) -> int:
        return len(self.id)

    @property
    def rounding(self) -> float:
        """What the labels were rounded to, 0 where the file does not say."""
        return float(self.metadata.get("rounding", 0.0))

    def with_target(self, target: Values) -> ValuePredictions:
        """Return these predictions with labels; what was known of other labels is dropped."""
        about = dict.fromkeys(("log_prob", "cdf_low", "cdf_high", "crps"))
        return replace(self, target=target, **about)


def write_values(path: str | Path, predictions: ValuePredictions) -> None:
    """Write predictions of values; a file of that name is replaced whole or not at all.

    Columns: `id`, `path`, for a value `age` the prediction `age`, `age_target`, `age_mean` and so
    on, its quantiles `age_q2.5` … `age_q97.5`, and the attributes. Parquet holds the metadata
    too, as JSON under the key `kdn`; CSV and JSON (a list of objects) do not.

    Args:
        path: A file that ends in `.parquet`, `.csv` or `.json`.
        predictions: What is written.

    Raises:
        ValueError: If the file ends otherwise.
    """
    path = Path(path)
    kind = require_kind(path)
    table = _table(predictions)
    with replacing(path) as temporary:
        if kind == ".parquet":
            said = {**predictions.metadata, "values": list(predictions.names)}
            table = table.replace_schema_metadata({_METADATA_KEY: json.dumps(said).encode()})
            pq.write_table(table, temporary, compression="zstd")
        elif kind == ".csv":
            pyarrow.csv.write_csv(table, temporary)
        else:
            rows = [{k: _json(v) for k, v in row.items()} for row in table.to_pylist()]
            temporary.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")


def require_kind(path: str | Path) -> str:
    """Return how a file of predictions ends, in small letters.

    Args:
        path: A file that is to be written.

    Raises:
        ValueError: If it is not `.parquet`, `.csv` or `.json`.
    """
    kind = Path(path).suffix.lower()
    if kind not in (".parquet", ".csv", ".json"):
        raise ValueError(f"{path}: must end in .parquet, .csv or .json")
    return kind


def read_values(path: str | Path) -> ValuePredictions:
    """Read predictions of values from Parquet or CSV, ours or another system's.

    Another system's file needs `id`, and for each value `age` the columns `age` and `age_target`
    (the label, which may be empty); what else of ours it has is used too. Where no column has a
    target beside it, every column of numbers is a value.

    Args:
        path: A file that ends in `.parquet` or `.csv`.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is not such a file, or a column is missing or no number; the message
            names the file and the column.
    """
    path = Path(path)
    table, metadata = _read(path)
    columns = table.column_names
    names = metadata.get("values") or [c for c in columns if f"{c}_target" in columns]
    names = names or [field.name for field in table.schema if _is_number(field)]
    if not names:
        raise ValueError(f"{path}: has no values: no column but id and path holds numbers")
    if "id" not in columns:
        raise ValueError(f"{path}: column 'id' is missing")
    parts: dict[str, Any] = {"value": _stacked(path, table, list(names))}
    for part in _PARTS:
        own = [f"{name}_{part}" for name in names]
        if all(column in columns for column in own):
            parts[part] = _stacked(path, table, own)
    own = [_quantile_column(name, level) for name in names for level in QUANTILES]
    if all(column in columns for column in own):
        quantiles = _stacked(path, table, own)
        parts["quantiles"] = quantiles.reshape(len(quantiles), len(names), len(QUANTILES))
    if "path" in columns:
        parts["path"] = tuple(str(value or "") for value in table["path"].to_pylist())
    known = {"id", "path", *names, *own, *(f"{n}_{part}" for n in names for part in _PARTS)}
    others = {c: table[c].to_pylist() for c in columns if c not in known}
    ids = tuple(str(value) for value in table["id"].to_pylist())
    return ValuePredictions(
        id=ids, names=tuple(names), metadata=metadata, attributes=others, **parts
    )


def holds_values(path: Path, *, labelled: bool = False) -> bool:
    """Return whether a file holds predictions of values, by its columns, not landmarks.

    Args:
        path: The file.
        labelled: Whether its labels come from elsewhere, so that it needs no columns of targets.
    """
    if path.suffix.lower() not in (".parquet", ".csv") or not path.is_file():
        return False
    try:
        if path.suffix.lower() == ".parquet":
            schema = pq.read_schema(path)
            columns = schema.names
            if b"values" in (schema.metadata or {}).get(_METADATA_KEY, b""):
                return "landmarks" not in columns
        else:
            with open(path, encoding="utf-8-sig", newline="") as stream:
                columns = next(csv.reader(stream), [])
    except (OSError, ValueError, csv.Error):  # whoever reads it says what is wrong
        return False
    if "landmarks" in columns or any(re.fullmatch(r"\s*[xy]_?\d+\s*", name) for name in columns):
        return False
    targets = any(f"{name}_target" in columns for name in columns)
    return targets or (labelled and "id" in columns)


def _is_number(field: pa.Field) -> bool:
    numeric = pa.types.is_integer(field.type) or pa.types.is_floating(field.type)
    return numeric and field.name not in ("id", "path")


def _quantile_column(name: str, level: float) -> str:
    return f"{name}_q{100 * level:g}"


def _table(predictions: ValuePredictions) -> pa.Table:
    """Return the columns of a file."""
    columns: dict[str, pa.Array] = {"id": pa.array(predictions.id, pa.string())}
    if predictions.path is not None:
        columns["path"] = pa.array(predictions.path, pa.string())
    for position, name in enumerate(predictions.names):
        columns[name] = pa.array(predictions.value[:, position], pa.float64())
        for part in _PARTS:
            array = getattr(predictions, part)
            if array is not None:
                # A sample without a label has an empty cell, not a NaN.
                columns[f"{name}_{part}"] = pa.array(array[:, position], from_pandas=True)
        if predictions.quantiles is not None:
            for index, level in enumerate(QUANTILES):
                quantile = predictions.quantiles[:, position, index]
                columns[_quantile_column(name, level)] = pa.array(quantile)
    for name, values in predictions.attributes.items():
        if name not in columns:
            columns[name] = pa.array(list(values))
    return pa.table(columns)


def _read(path: Path) -> tuple[pa.Table, dict[str, Any]]:
    """Return the table of a file and its metadata."""
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file")
    kind = path.suffix.lower()
    if kind not in (".parquet", ".csv"):
        raise ValueError(f"{path}: must be a .parquet or .csv file")
    try:
        # An id such as 007 is text, though it looks like a number.
        text_columns = dict.fromkeys(("id", "path"), pa.string())
        options = pyarrow.csv.ConvertOptions(column_types=text_columns)
        table = (
            pq.read_table(path)
            if kind == ".parquet"
            else pyarrow.csv.read_csv(path, convert_options=options)
        )
        text = (table.schema.metadata or {}).get(_METADATA_KEY, b"{}")
        return table, dict(json.loads(text))
    except (OSError, ValueError) as error:  # pyarrow's own errors are among them
        raise ValueError(f"{path}: cannot be read ({error})") from error


def _stacked(path: Path, table: pa.Table, names: Sequence[str]) -> np.ndarray:
    """Return columns side by side, NaN for empty cells."""
    found = []
    for name in names:
        if name not in table.column_names:
            raise ValueError(f"{path}: column {name!r} is missing")
        try:
            column = table[name].cast(pa.float64())
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
            raise ValueError(f"{path}: column {name!r} must hold numbers ({error})") from error
        found.append(column.to_numpy(zero_copy_only=False))
    return np.stack(found, axis=1).astype(np.float64)


def _json(value: Any) -> Any:
    """Return a value as JSON can hold it: infinite numbers as text, none for what is not one."""
    if isinstance(value, float) and not np.isfinite(value):
        return None if np.isnan(value) else str(value)
    return value
