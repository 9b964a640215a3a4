"""Face boxes from a file: what it says, and which picture each box is of.

Boxes are `(x0, y0, x1, y1)` in image pixels with integer pixel centres, the tight box of the
landmarks. Nothing in a file is believed: a box that is none is left out, with a line that names it.
"""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path, PurePath
from typing import Any

from kdn.data.numbers import as_coordinate, shown
from kdn.data.sample import Box
from kdn.data.tables import Pairs, csv_table, json_content, json_rows, named_rows

__all__ = ["match_boxes", "outside_picture", "read_boxes"]

_NAMES = ("file", "path", "image", "id")
_SIDES = ("x0", "y0", "x1", "y1")

# Where an entry stands (for messages), its picture, and its box as written; None for no face.
_Entry = tuple[str, str, Any]


def read_boxes(path: str | Path, *, problems: list[str] | None = None) -> dict[str, list[Box]]:
    """Read face boxes by picture from a CSV or JSON file.

    * `.csv`: a header with `file` (or else `path`, `image`, `id`) and `x0`, `y0`, `x1`, `y1` in any
      order, one box a row; other columns are ignored.
    * `.json`: an object of names and lists of boxes `[x0, y0, x1, y1]`; or a list of objects with
      `file` (or else as above) and either `bbox`, or `x0` … `y1`; or the document that
      `kdn.predict.outputs` writes, of which the boxes are taken.

    Args:
        path: The file.
        problems: Where to put one line about each box that cannot be used (it is then left out);
            None to let such boxes raise.

    Returns:
        The boxes of each name, in their order. An empty list says that the picture has no face; a
        picture of which no box can be used is not in it.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is none of these or cannot be read at all, or, without `problems`, if a
            box has no area, is inverted or not finite; messages name file and line or entry.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file")
    read = {".csv": _csv_entries, ".json": _json_entries}.get(path.suffix.lower())
    if read is None:
        raise ValueError(f"{path}: must be a .csv or .json file")
    unusable: list[str] = []
    boxes: dict[str, list[Box]] = {}
    for where, name, values in read(path, unusable):
        try:
            box = None if values is None else _box(values)
        except ValueError as error:
            unusable.append(f"{where}: {error}")
            continue
        boxes.setdefault(name, []).extend([] if box is None else [box])
    if problems is not None:
        problems.extend(unusable)
    elif unusable:
        raise ValueError("\n".join(unusable))
    if not boxes and not unusable:
        raise ValueError(f"{path}: no boxes in it")
    return boxes


def match_boxes(
    boxes: Mapping[str, Sequence[Box]], names: Sequence[str]
) -> tuple[dict[str, list[Box]], list[str]]:
    """Return the boxes of each picture, and the names in the file that are of no picture.

    A name is a picture's if it is its path, relative to where the program runs or absolute.
    Otherwise the file names must be the same, and where that is so for several, the one with most
    folders alike, counted from the file upwards.

    Args:
        boxes: By names as `read_boxes` returns them.
        names: The pictures, as they were named.

    Returns:
        The boxes by the picture's name, without those pictures that the file says nothing of; and
        the names that were not used.

    Raises:
        ValueError: If a picture fits two names equally well, or a name two pictures.
    """
    known: dict[str, list[str]] = defaultdict(list)
    for key in boxes:
        known[PurePath(key).name].append(key)
    claims: dict[str, list[tuple[int, str]]] = defaultdict(list)
    wrong = []
    for name in dict.fromkeys(names):
        fits = [(_alike(key, name), key) for key in known.get(PurePath(name).name, ())]
        best = [key for fit, key in fits if fit == max(fits)[0]]
        if len(best) > 1:
            wrong.append(f"{name}: fits the boxes of {best[0]!r} and of {best[1]!r}")
        elif best:
            claims[best[0]].append((max(fits)[0], name))
    matched = {}
    for key, claimed in claims.items():
        best = [name for fit, name in claimed if fit == max(claimed)[0]]
        if len(best) > 1:
            wrong.append(f"boxes of {key!r}: fit {best[0]} and {best[1]}")
        matched[best[0]] = list(boxes[key])
    if wrong:
        more = [f"… and {len(wrong) - 10} more"] if len(wrong) > 10 else []
        raise ValueError("\n".join([*wrong[:10], *more]))
    return matched, [key for key in boxes if key not in claims]


def outside_picture(box: Box, *, width: int, height: int) -> bool:
    """Return whether no part of a box lies among the centres of a picture's pixels.

    Such a box cannot be used. One that lies outside in part can: crops are filled with black there.
    """
    x0, y0, x1, y1 = box
    return x1 < 0 or y1 < 0 or x0 > width - 1 or y0 > height - 1


def _alike(key: str, name: str) -> int:
    """Return how many parts of two paths are alike from the file upwards; most for one path."""
    if os.path.abspath(key) == os.path.abspath(name):
        return 1 << 30
    ours, theirs = PurePath(key).parts[::-1], PurePath(os.path.abspath(name)).parts[::-1]
    pairs = zip(ours, theirs, strict=False)
    return next((n for n, (a, b) in enumerate(pairs) if a != b), min(len(ours), len(theirs)))


def _box(values: Any) -> Box:
    """Return a box of four values that are one."""
    if not isinstance(values, list) or isinstance(values, Pairs) or len(values) != 4:
        raise ValueError(f"must be [x0, y0, x1, y1], got {shown(values)}")
    x0, y0, x1, y1 = (as_coordinate(value) for value in values)
    if not (x1 > x0 and y1 > y0):
        raise ValueError(
            f"x1 must be above x0 and y1 above y0, got {x0:g}, {y0:g}, {x1:g}, {y1:g}"
            " (x1, y1 is a corner, not width and height)"
        )
    return x0, y0, x1, y1


def _csv_entries(path: Path, problems: list[str]) -> Iterator[_Entry]:
    """Yield the rows of a CSV file."""
    header, rows = csv_table(path, casefold=True)
    names = [name for name in _NAMES if name in header]
    if any(header.count(column) != 1 for column in (*names[:1], *_SIDES)) or not names:
        raise ValueError(
            f"{path}:1: the header must have each of file, x0, y0, x1, y1 once, "
            f"got {', '.join(header[:8])}"
        )
    for name, where, cells in named_rows(rows, _NAMES, problems):
        yield where, name, [cells[side] for side in _SIDES]


def _json_entries(path: Path, problems: list[str]) -> Iterator[_Entry]:
    """Yield the boxes of a JSON file."""
    content = json_content(path, pairs=True)
    if isinstance(content, Pairs):
        known = dict(content)
        images = known.get("images") if "format" in known else None
        named = _of_document(images) if isinstance(images, list) else _of_object(content)
        yield from _of_names(path, named, problems)
    elif isinstance(content, list):
        for name, where, cells in named_rows(json_rows(path, content), _NAMES, problems):
            yield where, name, cells.get("bbox", [cells.get(side) for side in _SIDES])
    else:
        raise ValueError(f"{path}: must be an object of names and boxes, or a list of objects")


def _of_names(
    path: Path, named: Iterator[tuple[str, Any]], problems: list[str]
) -> Iterator[_Entry]:
    """Yield the boxes of pictures, counted from 0."""
    seen = set()
    for name, boxes in named:
        where = f"{path}: entry {name!r}"
        if name in seen:
            problems.append(f"{where}: stands there twice")
        elif not isinstance(boxes, list) or isinstance(boxes, Pairs):
            problems.append(f"{where}: must be a list of boxes")
        elif not boxes:
            yield where, name, None
        else:
            yield from ((f"{where}, box {index}", name, box) for index, box in enumerate(boxes))
        seen.add(name)


def _of_object(content: Pairs) -> Iterator[tuple[str, Any]]:
    """Yield names with lists of boxes; one box that stands alone will do."""
    for name, boxes in content:
        alone = isinstance(boxes, list) and len(boxes) == 4 and not isinstance(boxes, Pairs)
        yield name, [boxes] if alone and not any(isinstance(b, list) for b in boxes) else boxes


def _of_document(images: list[Any]) -> Iterator[tuple[str, Any]]:
    """Yield names with lists of boxes from the document that `kdn` writes."""
    for image in images:
        known = dict(image) if isinstance(image, Pairs) else {}
        faces = known.get("faces")
        if isinstance(faces, list):
            faces = [dict(f).get("bbox") if isinstance(f, Pairs) else f for f in faces]
        yield str(known.get("file")), faces
