"""Tables of users' files, CSV in UTF-8, JSON, Parquet or MATLAB: rows, and where each stands.

Nothing in a file is believed. A row that is none is a line of text that says why, so that whoever
reads the rows can leave it out and name it.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet

__all__ = [
    "Pairs",
    "csv_table",
    "h5py_module",
    "json_content",
    "json_rows",
    "mat_matrix",
    "named_rows",
    "parquet_table",
    "read_mat",
]


Row = Mapping[str, Any] | str
"""The cells of a row by column, or what is wrong with it."""


class Pairs(list):
    """A JSON object as its pairs of name and value, in which a name may stand twice."""


def csv_table(file: Path, *, casefold: bool = False) -> tuple[list[str], Iterator[tuple[str, Row]]]:
    """Return the header of a CSV file, and each row that is not empty with its place.

    Names and cells are text without the spaces around them.

    Args:
        file: The file.
        casefold: Whether capitals in the header do not matter; it comes in small letters then.

    Raises:
        ValueError: If it is no CSV file in UTF-8; the message names it.
    """
    try:
        with open(file, encoding="utf-8-sig", newline="") as stream:
            lines = csv.reader(stream)
            header = [name.strip() for name in next(lines, [])]
            rows = [(lines.line_num, cells) for cells in lines if any(c.strip() for c in cells)]
    except (csv.Error, UnicodeDecodeError) as error:
        raise ValueError(f"{file}: not a CSV file in UTF-8 ({error})") from error
    header = [name.casefold() for name in header] if casefold else header

    def cells_of(cells: Sequence[str]) -> Row:
        if len(cells) != len(header):
            return f"{len(cells)} cells, the header has {len(header)}"
        return {name: cell.strip() for name, cell in zip(header, cells, strict=True)}

    return header, ((f"{file}:{number}", cells_of(cells)) for number, cells in rows)


def parquet_table(file: Path) -> tuple[list[str], Iterator[tuple[str, Row]]]:
    """Return the columns of a Parquet file, and each row with its place, counted from 0.

    Raises:
        ValueError: If it is no Parquet file; the message names it.
    """
    try:
        table = pyarrow.parquet.read_table(file)
    except (OSError, ValueError) as error:  # pyarrow's own errors are among them
        raise ValueError(f"{file}: not a Parquet file ({error})") from error
    rows = ((f"{file}: row {index}", row) for index, row in enumerate(table.to_pylist()))
    return list(table.column_names), rows


def json_content(file: Path, *, pairs: bool = False) -> Any:
    """Return the content of a JSON file.

    Args:
        file: The file.
        pairs: Return objects as `Pairs`, which keep a name that stands there twice.

    Raises:
        ValueError: If it is no JSON file in UTF-8; the message names it.
    """
    try:
        return json.loads(
            file.read_text(encoding="utf-8-sig"), object_pairs_hook=Pairs if pairs else None
        )
    except (UnicodeDecodeError, ValueError, RecursionError) as error:
        raise ValueError(f"{file}: not a JSON file in UTF-8 ({error})") from error


def json_rows(file: Path, content: Sequence[Any]) -> Iterator[tuple[str, Row]]:
    """Yield the objects of a JSON list with their places, counted from 0."""
    for index, entry in enumerate(content):
        cells = dict(entry) if isinstance(entry, Pairs) else {}
        row: Row = cells
        if not isinstance(entry, Pairs):
            row = "must be an object"
        elif len(cells) < len(entry):
            row = "a key stands there twice"
        yield f"{file}: entry {index}", row


def named_rows(
    rows: Iterable[tuple[str, Row]], names: Sequence[str], problems: list[str]
) -> Iterator[tuple[str, str, Mapping[str, Any]]]:
    """Yield the name of each row, its place and its cells.

    Args:
        rows: As the functions of this module give them.
        names: Columns that may hold the name; the first that is there does.
        problems: Where to put one line about each row that is none or has no name.
    """
    for where, row in rows:
        cells = {} if isinstance(row, str) else row
        name = next((cells[column] for column in names if column in cells), None)
        if isinstance(row, str):
            problems.append(f"{where}: {row}")
        elif isinstance(name, str) and name.strip():
            yield name.strip(), where, row
        else:
            problems.append(f"{where}: {names[0]!r} (or {', '.join(names[1:])}) must be a name")


_HINT = "MATLAB files need SciPy and h5py: pip install 'kdn[mat]'"


def read_mat(path: Path) -> dict[str, Any] | None:
    """Return the variables of a file of version 5; None of one of version 7.3.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it cannot be read, or SciPy is not installed; the message says which.
    """
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file")
    try:
        from scipy.io import loadmat
    except ImportError:
        raise ValueError(f"{path}: {_HINT}") from None
    try:
        return loadmat(path)
    except NotImplementedError:  # how it says that the version is 7.3
        return None
    except Exception as error:  # it raises whatever a broken file runs into
        raise ValueError(f"{path}: cannot be read as a MATLAB file ({error})") from error


def mat_matrix(content: dict[str, Any] | None, path: Path, name: str) -> Any:
    """Return a variable of numbers.

    Args:
        content: What `read_mat` gave.
        path: The file, for messages.
        name: The variable.

    Raises:
        ValueError: If it is not there or holds no numbers; the message names the file.
    """
    if content is None:
        raise ValueError(f"{path}: is of MATLAB's version 7.3, expected version 5")
    value = content.get(name)
    if not isinstance(value, np.ndarray) or value.dtype.kind not in "buif":
        names = ", ".join(key for key in content if not key.startswith("__"))
        raise ValueError(f"{path}: has no numbers {name!r}, only {names}")
    return value


def h5py_module(path: Path) -> Any:
    """Return h5py.

    Raises:
        ValueError: If it is not installed; the message names the file and the extra.
    """
    try:
        import h5py
    except ImportError:
        raise ValueError(f"{path}: {_HINT}") from None
    return h5py
