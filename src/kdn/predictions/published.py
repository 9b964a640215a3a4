"""Predictions of other systems: CSV or JSON files, or a folder of `.pts` files.

Nothing in a file is run or believed: an entry that does not hold the right number of finite
coordinates is left out, with a line that names it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float64

from kdn.data.formats.pts import read_pts
from kdn.data.markup import FACE68, Markup
from kdn.data.numbers import as_coordinate
from kdn.data.tables import Pairs, Row, csv_table, json_content, json_rows, named_rows
from kdn.predictions.files import read_predictions
from kdn.predictions.flat import holds_scalars
from kdn.predictions.record import Predictions

__all__ = ["read_any", "read_published"]

_FIRST_PIXELS = (0.0, 0.5, 1.0)

_NAMES = ("id", "path", "image", "file")
_COORDINATE = re.compile(r"[xy]\d+")

Rows = Iterator[tuple[str, Row]]


def read_published(
    path: str | Path,
    markup: Markup = FACE68,
    *,
    first_pixel: float | None = None,
    problems: list[str] | None = None,
) -> tuple[Predictions, list[str]]:
    """Read landmarks that another system predicted.

    * `.csv`: a header with `id` (or else `path`, `image`, `file`) and `x0`, `y0`, `x1`, `y1`, … in
      any order; other columns are ignored.
    * `.json`: an object of names and points, or a list of objects with `id` (or else `path`,
      `image`, `file`) and `landmarks`; points are `[[x, y], …]` or `[x0, y0, x1, y1, …]`.
    * a folder: one `.pts` file a face, named like the face; sub-folders are not searched.

    Args:
        path: The file or folder.
        markup: What the landmarks are; every entry must have as many.
        first_pixel: The coordinate, in the file, of the centre of a picture's first pixel: 0, 1, or
            0.5 if coordinates count from the picture's corner. None for what is usual: 1 in `.pts`
            files, 0 elsewhere.
        problems: Where to put one line about each entry that cannot be used (it is then left out);
            None to let such entries raise.

    Returns:
        The predictions by the names that the file gives them, in image pixels with integer pixel
        centres, and where each stands in the file, for messages.

    Raises:
        FileNotFoundError: If there is no such file or folder.
        ValueError: If it is none of these or cannot be read at all, or, without `problems`, if an
            entry cannot be used; the message names file and line or entry.
    """
    path = Path(path)
    if first_pixel is not None and first_pixel not in _FIRST_PIXELS:
        raise ValueError(f"first_pixel must be 0, 0.5 or 1, got {first_pixel:g}")
    if not path.exists():
        raise FileNotFoundError(f"{path}: no such file")
    unusable: list[str] = []
    if path.is_dir():
        faces = _pts_faces(path, markup, 1.0 if first_pixel is None else first_pixel, unusable)
    else:
        kind = path.suffix.lower()
        if kind not in (".csv", ".json"):
            raise ValueError(f"{path}: must be a .csv or .json file or a folder of .pts files")
        rows = _csv_rows(path, markup) if kind == ".csv" else _json_rows(path)
        faces = _numbered(rows, markup, first_pixel or 0.0, unusable)
    names, places, points = [], [], []
    for name, where, landmarks in faces:
        names.append(name)
        places.append(where)
        points.append(landmarks)
    if problems is not None:
        problems.extend(unusable)
    elif unusable:
        raise ValueError("\n".join(unusable))
    if not names and not unusable:
        raise ValueError(f"{path}: no predictions in it")
    landmarks = np.array(points, np.float64).reshape(len(points), markup.landmarks, 2)
    metadata = {"markup": markup.name, "source": path.name}
    return Predictions(id=tuple(names), landmarks=landmarks, metadata=metadata), places


def read_any(
    path: str | Path,
    markup: Markup = FACE68,
    *,
    first_pixel: float | None = None,
    problems: list[str] | None = None,
) -> tuple[Predictions, list[str]]:
    """Read predictions of any system, and return where each stands, for messages.

    A Parquet file or a CSV file of scalars is read as `read_predictions` does, anything else as
    `read_published` does.

    Raises:
        FileNotFoundError: If there is no such file or folder.
        ValueError: If it cannot be read, or `first_pixel` is given for what has no such frame.
    """
    path = Path(path)
    if path.is_dir() or (path.suffix.lower() != ".parquet" and not holds_scalars(path)):
        return read_published(path, markup, first_pixel=first_pixel, problems=problems)
    if first_pixel is not None:
        raise ValueError("first_pixel is not for Parquet files, which count from 0, or scalars")
    predictions = read_predictions(path)
    return predictions, [f"{path}: row {row}" for row in range(len(predictions))]


_Face = tuple[str, str, Float64[np.ndarray, "L 2"]]


def _pts_faces(
    folder: Path, markup: Markup, first_pixel: float, problems: list[str]
) -> Iterator[_Face]:
    """Yield the faces of the `.pts` files of a folder; their names keep the ending."""
    files = [p for p in folder.iterdir() if p.suffix.lower() == ".pts" and p.is_file()]
    if not files:
        raise ValueError(f"{folder}: no .pts file in it")
    for file in sorted(files):
        try:
            counted_from_1 = read_pts(file, landmarks=markup.landmarks) + 1.0
        except (OSError, ValueError) as error:
            problems.append(str(error))
            continue
        yield file.name, str(file), counted_from_1 - first_pixel


def _numbered(
    rows: Rows, markup: Markup, first_pixel: float, problems: list[str]
) -> Iterator[_Face]:
    """Yield the rows whose coordinates are as many finite numbers as the mark-up has."""
    for name, where, cells in named_rows(rows, _NAMES, problems):
        try:
            numbers = [as_coordinate(value) for value in _values(cells, markup)]
            if len(numbers) != 2 * markup.landmarks:
                raise ValueError(
                    f"{len(numbers)} coordinates, but the mark-up has {markup.landmarks} "
                    f"landmarks, which are {2 * markup.landmarks}"
                )
        except ValueError as error:
            problems.append(f"{where}: {error}")
            continue
        yield name, where, np.array(numbers, np.float64).reshape(-1, 2) - first_pixel


def _csv_rows(path: Path, markup: Markup) -> Rows:
    """Return the rows of a CSV file, whose header has the landmarks of a mark-up."""
    header, rows = csv_table(path, casefold=True)
    wanted = _columns(markup)
    coordinates = [name for name in header if _COORDINATE.fullmatch(name)]
    if not set(_NAMES) & set(header):
        raise ValueError(f"{path}:1: the header must have a column id, path, image or file")
    for column in (*_NAMES, *coordinates):
        if header.count(column) > 1:
            raise ValueError(f"{path}:1: column {column!r} is there {header.count(column)} times")
    if set(coordinates) != set(wanted):
        missing = [column for column in wanted if column not in coordinates]
        more = [column for column in coordinates if column not in wanted]
        what = f"{missing[0]!r} is missing" if missing else f"{more[0]!r} is one too many"
        raise ValueError(
            f"{path}:1: the header must have x0, y0 … y{markup.landmarks - 1} "
            f"({markup.landmarks} landmarks counted from 0), {what}"
        )
    return rows


def _json_rows(path: Path) -> Rows:
    """Return the rows of a JSON file."""
    content = json_content(path, pairs=True)
    if isinstance(content, Pairs):
        return (
            (f"{path}: entry {name!r}", {"id": name, "landmarks": points})
            for name, points in content
        )
    if isinstance(content, list):
        return json_rows(path, content)
    raise ValueError(f"{path}: must be an object of names and points, or a list of objects")


def _columns(markup: Markup) -> list[str]:
    return [f"{axis}{index}" for index in range(markup.landmarks) for axis in "xy"]


def _values(cells: Mapping[str, Any], markup: Markup) -> list[Any]:
    """Return `x0, y0, x1, y1, …` of a row, which has columns of that name or `landmarks`."""
    if "landmarks" in cells:
        return _flat(cells["landmarks"])
    if "x0" not in cells:
        raise ValueError("'landmarks' is missing")
    return [cells.get(column) for column in _columns(markup)]


def _flat(points: Any) -> list[Any]:
    """Return `x0, y0, x1, y1, …` from that or from pairs."""
    if not isinstance(points, list) or isinstance(points, Pairs):
        raise ValueError("landmarks must be a list of [x, y]")
    if not any(isinstance(point, list) for point in points):
        return points
    for index, point in enumerate(points):
        if not isinstance(point, list) or isinstance(point, Pairs) or len(point) != 2:
            raise ValueError(f"landmark {index} must be [x, y]")
    return [value for point in points for value in point]
