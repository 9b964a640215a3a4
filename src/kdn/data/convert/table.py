"""Labels as a table, CSV or Parquet, that `table:` reads."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet

from kdn.data import Sample
from kdn.data.convert.pictures import Pictures
from kdn.data.formats.table import BOX_COLUMNS
from kdn.data.markup import Markup
from kdn.data.paths import replacing

__all__ = ["TableFile"]

_FIRST = ("path", "id", "picture")


class TableFile:
    """A row a face: path, id, picture, x0, y0, …, box, visible0, …, attributes.

    Numbers are written with all their digits. A landmark without a position is two empty cells.

    Args:
        path: A `.csv` or `.parquet` file.
        markup: What the landmarks are.
        pictures: Names the pictures.
    """

    def __init__(self, path: Path, markup: Markup, pictures: Pictures) -> None:
        self.path, self.pictures = path, pictures
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
            "path": self.pictures.name(sample),
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
        return []


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
