"""Labels in a table, CSV or Parquet: a face a row."""

from __future__ import annotations

import csv
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet

from kdn.data.formats.entries import Faces, labelled, read_entries
from kdn.data.formats.format import Format, Writer
from kdn.data.images import image_size
from kdn.data.markup import Markup
from kdn.data.numbers import as_coordinate, shown
from kdn.data.paths import replacing
from kdn.data.sample import Box, Sample
from kdn.data.tables import Row, csv_table, parquet_table
from kdn.grid import whole_box

__all__ = ["BOX_COLUMNS", "TableFile", "read_table"]

BOX_COLUMNS = ("box_x0", "box_y0", "box_x1", "box_y1")
"""Where a table has boxes."""

_PATHS = ("path", "file", "image")
_FIRST = ("path", "id", "picture")
_LANDMARK = re.compile(r"(?:x|y|visible)\d+")
_FLAGS = {"1": True, "true": True, "yes": True, "0": False, "false": False, "no": False}


def read_table(
    file: Path,
    markup: Markup | None = None,
    *,
    pictures: Path | None = None,
    problems: list[str] | None = None,
) -> list[Sample]:
    """Return the faces of a table.

    * `path` (or else `file`, `image`): the picture.
    * `x0`, `y0`, `x1`, `y1`, …: the landmarks, counted from 0. Where both cells are empty the
      landmark has no position. A table without these columns has attributes alone.
    * `box_x0`, `box_y0`, `box_x1`, `box_y1`: the box. Where there is none it is the tight box, or
      without landmarks the whole picture.
    * `visible0`, `visible1`, …: whether a landmark can be seen (`1`, `true`, `yes` or `0`, `false`,
      `no`); all by default.
    * `id`: what the face is called; `TABLE/PICTURE#0` and so on by default.
    * `picture`: the name that faces of one photo share; the picture's by default.
    * any other column is an attribute.

    Convention: image pixels with integer pixel centres, the first pixel's is 0; boxes too.

    No picture is opened but for the size of one that is the box of its row, which stands in its
    header. Messages name file and line, or row counted from 0 in a Parquet file.
    """
    faces = Faces(file, pictures)
    parquet = file.suffix.lower() == ".parquet"
    if not parquet and file.suffix.lower() != ".csv":
        raise ValueError(f"{file}: must be a .csv or .parquet file")
    header, rows = parquet_table(file) if parquet else csv_table(file)
    columns = _Columns(file if parquet else f"{file}:1", header)
    if markup is not None and markup.landmarks and not columns.count:
        raise ValueError(
            f"{columns.where}: has no landmarks (x0, y0, x1, y1 …), but the mark-up {markup.name} "
            f"has {markup.landmarks}"
        )

    def read(row: Row) -> Sample:
        if isinstance(row, str):
            raise ValueError(row)
        return columns.sample(row, faces)

    return read_entries(file, rows, read, markup=markup, problems=problems)


class _Columns:
    """Which columns a table has, and a face out of a row."""

    def __init__(self, where: object, header: Sequence[str]) -> None:
        self.where = where
        path = next((name for name in _PATHS if name in header), None)
        if path is None:
            raise ValueError(f"{where}: must have a column path, file or image")
        self.path = path
        twice = [name for name in header if header.count(name) > 1]
        if twice:
            raise ValueError(f"{where}: column {twice[0]!r} is there twice")
        self.count = sum(bool(re.fullmatch(r"x\d+", name)) for name in header)
        wanted = {f"{axis}{i}" for i in range(self.count) for axis in "xy"}
        coordinates = {name for name in header if re.fullmatch(r"[xy]\d+", name)}
        if wanted != coordinates:
            odd = sorted(wanted ^ coordinates)
            raise ValueError(f"{where}: must have x0, y0, x1, y1 …, of which {odd[0]!r} is odd")
        self.visible = "visible0" in header
        if self.visible and not self.count:
            raise ValueError(f"{where}: has visible0, but not x0 and y0")
        needed = {f"visible{i}" for i in range(self.count)} if self.visible else set()
        needed |= set(BOX_COLUMNS) if any(name in header for name in BOX_COLUMNS) else set()
        missing = sorted(needed - set(header))
        if missing:
            raise ValueError(f"{where}: column {missing[0]!r} is missing")
        self.box = "box_x0" in header
        known = {path, "id", "picture", *BOX_COLUMNS}
        self.others = [n for n in header if n and n not in known and not _LANDMARK.fullmatch(n)]

    def sample(self, row: Mapping[str, Any], faces: Faces) -> Sample:
        """Return the face of a row."""
        picture = row[self.path]
        if not isinstance(picture, str) or not picture.strip():
            raise ValueError(f"{self.path} is empty")
        picture = picture.strip()
        name = faces.name(picture)
        points = [[_number(row[f"{axis}{i}"]) for axis in "xy"] for i in range(self.count)]
        landmarks = np.array(points, np.float64).reshape(-1, 2)
        half = np.flatnonzero(np.isnan(landmarks).any(axis=1) & ~np.isnan(landmarks).all(axis=1))
        if len(half):
            raise ValueError(f"landmark {half[0]} has only one coordinate")
        valid = np.asarray(~np.isnan(landmarks).any(axis=1))
        visible = None
        if self.visible:
            visible = np.array([_flag(row[f"visible{i}"]) for i in range(self.count)])
        box = self._box(row) if self.box else None
        if box is None and not self.count:
            box = whole_box(image_size(faces.path(picture)))
        attributes = {
            name: _value(row[name]) for name in self.others if row[name] not in (None, "")
        }
        return labelled(
            str(row.get("id") or "").strip() or name,
            faces.path(picture),
            landmarks,
            valid=valid,
            visible=visible,
            bbox=box,
            picture=str(row.get("picture") or "").strip() or faces.picture(picture),
            attributes=attributes,
        )

    def _box(self, row: Mapping[str, Any]) -> Box | None:
        sides = [_number(row[name]) for name in BOX_COLUMNS]
        if all(np.isnan(sides)):
            return None
        if any(np.isnan(sides)):
            raise ValueError("the box lacks a side")
        return sides[0], sides[1], sides[2], sides[3]


def _number(value: Any) -> float:
    """Return a coordinate, NaN for an empty cell."""
    if value is None or value == "" or (isinstance(value, float) and np.isnan(value)):
        return np.nan
    return as_coordinate(value)


def _flag(value: Any) -> bool:
    """Return what a cell says of visibility; an empty one says yes."""
    if isinstance(value, bool):
        return value
    text = "1" if value is None else str(value).strip().casefold() or "1"
    if text not in _FLAGS:
        raise ValueError(f"visible must be 1 or 0, got {shown(value)}")
    return _FLAGS[text]


def _value(value: Any) -> str | float | bool:
    """Return an attribute: a number if it is one, a flag if it is written as one, else text."""
    if isinstance(value, bool):
        return value
    text = str(value).strip()
    if text.casefold() in ("true", "false"):
        return text.casefold() == "true"
    try:
        return as_coordinate(text)
    except ValueError:
        return text


class TableFile(Writer):
    """A row a face: path, id, picture, x0, y0, …, box, visible0, …, attributes.

    Numbers are written with all their digits. A landmark without a position is two empty cells.
    """

    title = "tables have"

    def __init__(self, path: Path, markup: Markup, names: Sequence[str], pictures: str) -> None:
        super().__init__(path, markup, names, pictures)
        numbers = range(markup.landmarks)
        self._points = [f"{axis}{i}" for i in numbers for axis in "xy"]
        self._visible = [f"visible{i}" for i in numbers]
        self._columns = {*_FIRST, *self._points, *BOX_COLUMNS, *self._visible}
        self._attributes: dict[str, None] = {}
        self._rows: list[dict[str, Any]] = []

    def add(self, sample: Sample) -> None:
        """Take a face.

        Raises:
            ValueError: If an attribute has the name of a column.
        """
        clash = sorted(self._columns & set(sample.attributes))
        if clash:
            raise ValueError(f"{sample.id}: attribute {clash[0]!r} has the name of a column")
        points = [value if value == value else None for value in sample.landmarks.ravel().tolist()]
        row = {
            "path": self.picture_name(sample),
            "id": sample.id,
            "picture": sample.picture or sample.id,
            **dict(zip(self._points, points, strict=True)),
            **dict(zip(BOX_COLUMNS, sample.bbox, strict=True)),
            **dict(zip(self._visible, sample.visible.tolist(), strict=True)),
            **sample.attributes,
        }
        self._attributes.update(dict.fromkeys(sample.attributes))
        self._rows.append(row)

    def finish(self) -> list[str]:
        """Write the file; nothing is lost."""
        names = [*_FIRST, *self._points, *BOX_COLUMNS, *self._visible, *self._attributes]
        with replacing(self.path) as temporary:
            if self.path.suffix.lower() == ".parquet":
                columns = {name: [row.get(name) for row in self._rows] for name in names}
                table = pa.table({name: _column(values) for name, values in columns.items()})
                pyarrow.parquet.write_table(table, temporary)
            else:
                with open(temporary, "w", encoding="utf-8", newline="") as file:
                    writer = csv.writer(file, lineterminator="\n")
                    writer.writerow(names)
                    writer.writerows([_cell(row.get(n)) for n in names] for row in self._rows)
        return super().finish()


def _cell(value: Any) -> Any:
    """Return a value as a cell has it."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return repr(value) if isinstance(value, float) else value


def _column(values: list[Any]) -> pa.Array:
    """Return a column of one type: text where the values have several."""
    kinds = {type(value) for value in values if value is not None}
    if len(kinds) > 1 and kinds != {int, float}:
        return pa.array([None if value is None else str(value) for value in values], pa.string())
    return pa.array(values)


TABLE = Format(
    "table",
    "FILE.csv|.parquet",
    read_table,
    pictures=True,
    writer=TableFile,
    suffixes=(".csv", ".parquet"),
)
