"""Flat files of scalars: a column of numbers for each value and for all that is said of it."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from kdn.predictions.columns import AREA_LEVELS, COLUMNS, QUANTILES, SCALARS
from kdn.predictions.record import Predictions

__all__ = ["flat_columns", "flat_fields", "holds_scalars", "own_columns"]

_OLD_COLUMNS = {"deviation": "uncertainty", "crps": "energy_score"}


def holds_scalars(path: Path) -> bool:
    """Return whether a CSV file holds scalars, by its header, and not coordinates of points."""
    try:
        with open(path, encoding="utf-8-sig", newline="") as stream:
            columns = next(csv.reader(stream), [])
    except (OSError, ValueError, csv.Error):  # whoever reads it says what is wrong
        return False
    points = any(re.fullmatch(r"\s*[xy]_?\d+\s*", name, re.IGNORECASE) for name in columns)
    return "id" in columns and len(columns) > 1 and not points


def flat_columns(predictions: Predictions) -> Iterator[tuple[str, pa.Array]]:
    """Yield the columns of a CSV or JSON file of scalars; what has no label is empty."""
    yield "id", pa.array(predictions.id, pa.string())
    if predictions.path is not None:
        yield "path", pa.array(predictions.path, pa.string())
    for index, name in enumerate(predictions.names):
        for field, suffixes in _flat_names().items():
            array = getattr(predictions, field)
            if array is not None:
                rows = array[:, index].reshape(len(predictions), -1)
                for suffix, numbers in zip(suffixes, rows.T, strict=True):
                    yield (
                        f"{name}{suffix}",
                        pa.array(np.ascontiguousarray(numbers), from_pandas=True),
                    )


def flat_fields(table: pa.Table, metadata: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the fields of a file of scalars with a column of numbers for each, and metadata."""
    columns = table.column_names
    table = table.rename_columns([_new_name(name, columns) for name in columns])
    columns = table.column_names
    names = metadata.get("names") or [c for c in columns if f"{c}_target" in columns]
    names = names or [field.name for field in table.schema if _is_number(field)]
    if not names:
        raise ValueError("no column landmarks, values or of a number for each sample")
    if "id" not in columns:
        raise ValueError("column 'id' is missing")
    fields: dict[str, Any] = {}
    taken = {"id", "path"}
    for field, suffixes in _flat_names().items():
        wanted = [f"{name}{suffix}" for name in names for suffix in suffixes]
        taken.update(wanted)
        if field == "values" or all(name in columns for name in wanted):
            numbers = np.stack([_numbers(table, name) for name in wanted], axis=1)
            shape = (len(table), len(names), *([len(suffixes)] if len(suffixes) > 1 else []))
            fields[field] = numbers.reshape(shape)
    fields["attributes"] = own_columns(table, taken)
    return fields, {**metadata, "names": list(names)}


def own_columns(table: pa.Table, taken: set[str]) -> dict[str, list[Any]]:
    """Return the columns of one string, boolean or number a row that are none of ours."""
    attributes = {}
    for field in table.schema:
        kind = field.type.value_type if pa.types.is_dictionary(field.type) else field.type
        if field.name not in taken and not pa.types.is_nested(kind):
            attributes[field.name] = table[field.name].to_pylist()
    return attributes


def _flat_names() -> dict[str, list[str]]:
    """Return the endings of a scalar's columns, by field; those need no metadata to be read."""
    endings: dict[str, list[str]] = {}
    for field, column in COLUMNS.items():
        if not column.is_of(SCALARS) or column.boolean or column.shape[0] != "L":
            continue
        last = column.shape[-1]
        if field == "values":
            endings[field] = [""]
        elif last == "Q":
            endings[field] = [f"_q{100 * level:g}" for level in QUANTILES]
        elif last == "A":
            endings[field] = [f"_{field}_{100 * level:g}" for level in AREA_LEVELS]
        elif last != "R":
            endings[field] = [f"_{field}"]
    return endings


def _new_name(name: str, columns: Sequence[str]) -> str:
    """Return what a flat column of an older file is called today."""
    for old, new in _OLD_COLUMNS.items():
        if name.endswith(f"_{old}") and name.removesuffix(f"_{old}") in columns:
            return name.removesuffix(old) + new
    return name


def _is_number(field: pa.Field) -> bool:
    numeric = pa.types.is_integer(field.type) or pa.types.is_floating(field.type)
    return numeric and field.name not in ("id", "path")


def _numbers(table: pa.Table, name: str) -> np.ndarray:
    """Return a column of numbers, NaN for empty cells."""
    if name not in table.column_names:
        raise ValueError(f"column {name!r} is missing")
    try:
        return table[name].cast(pa.float64()).to_numpy(zero_copy_only=False)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        raise ValueError(f"column {name!r} must hold numbers ({error})") from error
