"""Lists of WFLW: one face of 98 points a line."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from kdn.data.formats.entries import Faces, labelled, read_entries
from kdn.data.formats.format import Format
from kdn.data.markup import FACE98, Markup
from kdn.data.numbers import as_coordinate
from kdn.data.sample import Box, Sample

__all__ = ["WFLW_ATTRIBUTES", "read_wflw"]

WFLW_ATTRIBUTES = ("pose", "expression", "illumination", "make-up", "occlusion", "blur")
"""What the full lists say of each face, in their order: 1 where the face is a hard one in that."""


def read_wflw(
    file: Path,
    markup: Markup | None = FACE98,
    *,
    pictures: Path | None = None,
    problems: list[str] | None = None,
) -> list[Sample]:
    """Return the faces of a list of WFLW.

    A line is `x0 y0 … x97 y97`, in the full lists then `x_min y_min x_max y_max` and six flags, and
    the picture. All landmarks are valid and visible: the flag of occlusion is of the whole face.

    Convention: the authors do not say whether the first pixel is 0 or 1. Coordinates are taken as
    they stand, 0-based with integer pixel centres, as is usual. The box is that of the full lists;
    in the short ones, which have none, the tight box of the landmarks.

    `pictures` is by default `WFLW_images` beside the list or up to two folders above, else the
    list's own folder. `attributes` has the six flags where they are there.
    """
    faces = Faces(file, pictures, "WFLW_images")

    def read(line: str) -> Sample:
        *numbers, picture = line.split()
        name = faces.name(picture)
        count = 98 if markup is None else markup.landmarks
        extra = len(numbers) - 2 * count
        if extra not in (0, 10):
            raise ValueError(
                f"expected {2 * count} or {2 * count + 10} numbers and a picture, "
                f"got {len(numbers)} numbers"
            )
        points = np.array([as_coordinate(text) for text in numbers[: 2 * count]]).reshape(-1, 2)
        box, flags = _extras(numbers[2 * count :]) if extra else (None, {})
        return labelled(
            name,
            faces.path(picture),
            points,
            bbox=box,
            picture=faces.picture(picture),
            attributes=flags,
        )

    return read_entries(file, _lines(file), read, markup=markup, problems=problems)


def _lines(file: Path) -> Iterator[tuple[str, str]]:
    """Yield place and text of each line that is not empty."""
    text = file.read_text(encoding="utf-8-sig", errors="replace")
    for number, line in enumerate(text.splitlines(), 1):
        if line.strip():
            yield f"{file}:{number}", line


def _extras(numbers: list[str]) -> tuple[Box, dict[str, bool]]:
    """Return the box and the flags of a full list."""
    x0, y0, x1, y1 = (as_coordinate(text) for text in numbers[:4])
    wrong = [text for text in numbers[4:] if text not in ("0", "1")]
    if wrong:
        raise ValueError(f"attributes must be 0 or 1, got {wrong[0]!r}")
    flags = zip(WFLW_ATTRIBUTES, numbers[4:], strict=True)
    return (x0, y0, x1, y1), {name: text == "1" for name, text in flags}


WFLW = Format("wflw", "LIST", read_wflw, pictures=True, markup=FACE98)
