"""Landmarks that other systems predicted: a CSV or JSON file, or a folder of `.pts` files.

Nothing in a file is run or believed: an entry that does not hold the right number of finite
coordinates is left out, with a line that names it.
"""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float64

from kdn.data.coordinates import as_coordinate
from kdn.data.formats.ibug import read_pts
from kdn.data.markup import FACE68, Markup
from kdn.predictions.record import Predictions

__all__ = ["read_published"]

_FIRST_PIXELS = (0.0, 0.5, 1.0)

_NAMES = ("id", "path", "image", "file")
_COORDINATE = re.compile(r"[xy]\d+")

# What one entry calls its face, where it stands (for messages), and its coordinates as written.
_Entry = tuple[str, str, Sequence[Any]]


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
    found: list[str] = []
    if path.is_dir():
        faces = _pts_faces(path, markup, 1.0 if first_pixel is None else first_pixel, found)
    else:
        read = {".csv": _csv_entries, ".json": _json_entries}.get(path.suffix.lower())
        if read is None:
            raise ValueError(f"{path}: must be a .csv or .json file or a folder of .pts files")
        faces = _numbered(read(path, markup, found), markup, first_pixel or 0.0, found)
    names, places, points = [], [], []
    for name, place, landmarks in faces:
        names.append(name)
        places.append(place)
        points.append(landmarks)
    if problems is not None:
        problems.extend(found)
    elif found:
        raise ValueError("\n".join(found))
    if not names and not found:
        raise ValueError(f"{path}: no predictions in it")
    landmarks = np.array(points, np.float64).reshape(len(points), markup.landmarks, 2)
    metadata = {"markup": markup.name, "source": path.name}
    return Predictions(id=tuple(names), landmarks=landmarks, metadata=metadata), places


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
    entries: Iterator[_Entry], markup: Markup, first_pixel: float, problems: list[str]
) -> Iterator[_Face]:
    """Yield the entries whose coordinates are as many finite numbers as the mark-up has."""
    for name, place, values in entries:
        try:
            numbers = [as_coordinate(value) for value in values]
            if len(numbers) != 2 * markup.landmarks:
                raise ValueError(
                    f"{len(numbers)} coordinates, but the mark-up has {markup.landmarks} "
                    f"landmarks, which are {2 * markup.landmarks}"
                )
        except ValueError as error:
            problems.append(f"{place}: {error}")
            continue
        yield name, place, np.array(numbers, np.float64).reshape(-1, 2) - first_pixel


def _csv_entries(path: Path, markup: Markup, problems: list[str]) -> Iterator[_Entry]:
    """Yield the rows of a CSV file."""
    try:
        with open(path, encoding="utf-8-sig", newline="") as file:
            lines = csv.reader(file)
            header = [name.strip().casefold() for name in next(lines, [])]
            name_at, points_at = _columns(path, header, markup)
            for cells in lines:
                place = f"{path}:{lines.line_num}"
                if not any(cell.strip() for cell in cells):
                    continue
                if len(cells) != len(header):
                    problems.append(f"{place}: {len(cells)} cells, the header has {len(header)}")
                elif not cells[name_at].strip():
                    problems.append(f"{place}: column {header[name_at]!r} is empty")
                else:
                    yield cells[name_at].strip(), place, [cells[at] for at in points_at]
    except (csv.Error, UnicodeDecodeError) as error:
        raise ValueError(f"{path}: not a CSV file in UTF-8 ({error})") from error


def _columns(path: Path, header: list[str], markup: Markup) -> tuple[int, list[int]]:
    """Return where the name is, and where the coordinates are, in their order."""
    wanted = [f"{axis}{i}" for i in range(markup.landmarks) for axis in "xy"]
    there = [name for name in header if _COORDINATE.fullmatch(name)]
    name = next((name for name in _NAMES if name in header), None)
    if name is None:
        raise ValueError(f"{path}:1: the header must have a column id, path, image or file")
    for column in (name, *there):
        if header.count(column) > 1:
            raise ValueError(f"{path}:1: column {column!r} is there {header.count(column)} times")
    if set(there) != set(wanted):
        missing = [column for column in wanted if column not in there]
        more = [column for column in there if column not in wanted]
        what = f"{missing[0]!r} is missing" if missing else f"{more[0]!r} is one too many"
        raise ValueError(
            f"{path}:1: the header must have x0, y0 … y{markup.landmarks - 1} "
            f"({markup.landmarks} landmarks counted from 0), {what}"
        )
    return header.index(name), [header.index(column) for column in wanted]


def _json_entries(path: Path, markup: Markup, problems: list[str]) -> Iterator[_Entry]:
    """Yield the entries of a JSON file."""
    try:
        text = path.read_text(encoding="utf-8-sig")
        # Pairs, since a dictionary would silently keep the last of two entries of one name.
        content = json.loads(text, object_pairs_hook=_Pairs)
    except (UnicodeDecodeError, ValueError, RecursionError) as error:
        raise ValueError(f"{path}: not a JSON file in UTF-8 ({error})") from error
    if isinstance(content, _Pairs):
        named = [(name, f"{path}: entry {name!r}", points) for name, points in content]
    elif isinstance(content, list):
        named = list(_listed(path, content, problems))
    else:
        raise ValueError(f"{path}: must be an object of names and points, or a list of objects")
    for name, place, points in named:
        try:
            yield name, place, _flat(points)
        except ValueError as error:
            problems.append(f"{place}: {error}")


class _Pairs(list):
    """A JSON object as its pairs of name and value, in the order of the file."""


def _listed(path: Path, content: list[Any], problems: list[str]) -> Iterator[tuple[str, str, Any]]:
    """Yield name, place and points of the objects of a list, counted from 0."""
    for index, entry in enumerate(content):
        place = f"{path}: entry {index}"
        if not isinstance(entry, _Pairs):
            problems.append(f"{place}: must be an object with 'id' and 'landmarks'")
            continue
        keys = [key for key, _ in entry]
        known = dict(entry)
        called = next((key for key in _NAMES if key in known), None)
        name = known.get(called)
        if not isinstance(name, str) or not name.strip():
            problems.append(f"{place}: 'id' (or path, image, file) must be a face's name")
        elif "landmarks" not in known:
            problems.append(f"{place} ({name!r}): 'landmarks' is missing")
        elif keys.count("landmarks") > 1 or keys.count(called) > 1:
            problems.append(f"{place} ({name!r}): 'landmarks' or the name stand there twice")
        else:
            yield name.strip(), f"{place} ({name!r})", known["landmarks"]


def _flat(points: Any) -> list[Any]:
    """Return `x0, y0, x1, y1, …` from that or from pairs."""
    if not isinstance(points, list) or isinstance(points, _Pairs):
        raise ValueError("landmarks must be a list of [x, y]")
    if not any(isinstance(point, list) for point in points):
        return points
    for index, point in enumerate(points):
        if not isinstance(point, list) or isinstance(point, _Pairs) or len(point) != 2:
            raise ValueError(f"landmark {index} must be [x, y]")
    return [value for point in points for value in point]
