"""What is written of each object: one description of a row, for JSON, CSV and Parquet alike."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from kdn.predict.results import Prediction
from kdn.predictions import COLUMNS, QUANTILES

__all__ = [
    "FIELDS",
    "Field",
    "PictureObjects",
    "arrays_of",
    "header_of",
    "object_entry",
    "object_rows",
    "plain_text",
    "reason_of",
    "rounded",
    "significant",
]


@dataclass(frozen=True)
class PictureObjects:
    """The objects in one picture, or in one frame of a video.

    Args:
        file: The picture or video, as it was named.
        width: Columns of the picture, turned upright by its EXIF tag.
        height: Rows of the picture.
        faces: In the order that they are numbered in, from 0.
        frame: Number of the video's frame, counted from 0; None for a picture.
        time: When the frame is shown, in seconds from the start; None for a picture.
        tracks: For each face, the number of the person it belongs to over the frames of a video;
            None where faces are not followed.

    Raises:
        ValueError: If there is not one track for each face.
    """

    file: str
    width: int
    height: int
    faces: Sequence[Any]
    frame: int | None = None
    time: float | None = None
    tracks: tuple[int, ...] | None = None

    def __post_init__(self) -> None:
        if self.tracks is not None and len(self.tracks) != len(self.faces):
            raise ValueError(
                f"{self.file}: tracks must be one for each of {len(self.faces)} faces, "
                f"got {len(self.tracks)}"
            )

    def track(self, face: int) -> int | None:
        """Return the track of a face; None where faces are not followed."""
        return None if self.tracks is None else self.tracks[face]


def rounded(value: float, digits: int = 3) -> float | None:
    """Return a number with that many digits behind the point; None if it is not finite."""
    # Adding zero turns −0.0, which reads like a mistake, into 0.0.
    return round(float(value), digits) + 0.0 if math.isfinite(value) else None


def significant(value: float, digits: int = 6) -> float | None:
    """Return a number with that many digits in all; None if it is not finite."""
    return float(f"{value:.{digits}g}") + 0.0 if math.isfinite(value) else None


class Field(NamedTuple):
    """What is written of each label of an object.

    Attributes:
        name: In JSON, and in Parquet where there is such a column.
        columns: In CSV, one for each number; none where text does not have it.
        numbers: Gives them of a prediction, `(L)` or `(L, columns)`.
        rounding: To enough digits to lose nothing: coordinates have three behind the point,
            covariances six in all, since they run from thousandths to thousands.
    """

    name: str
    columns: tuple[str, ...]
    numbers: Callable[[Any], np.ndarray]
    rounding: Callable[[float], float | None] = significant


_UNCERTAINTY = Field("uncertainty", ("uncertainty",), lambda face: face.uncertainty)

FIELDS = {
    "points": (
        Field("landmarks", ("x", "y"), lambda face: face.landmarks, rounded),
        Field("covariances", ("xx", "xy", "yy"), lambda f: f.covariances[:, (0, 0, 1), (0, 1, 1)]),
        _UNCERTAINTY,
    ),
    "scalars": (
        Field("values", ("value",), lambda scalars: scalars.values),
        _UNCERTAINTY,
        Field("interval", ("low", "high"), lambda scalars: scalars.interval(0.9)),
        Field("quantiles", (), lambda scalars: scalars.quantiles(QUANTILES)),
    ),
}
"""What is written of landmarks and of scalars, in this order."""

_ABSTENTION = (
    Field(
        "error_probability",
        ("error_probability",),
        lambda face: face.abstention.error_probability,
        lambda value: rounded(value, 4),
    ),
    Field("known", ("known",), lambda face: face.abstention.known, lambda value: int(value)),
)


def _fields(face: Prediction) -> tuple[Field, ...]:
    """Return what is written of an object."""
    return FIELDS[face.labels.kind] + (_ABSTENTION if face.abstention is not None else ())


def arrays_of(faces: Sequence[Prediction]) -> dict[str, np.ndarray]:
    """Return the columns of a table of objects, numbers not rounded."""
    return {
        field.name: np.array([field.numbers(face) for face in faces])
        for field in _fields(faces[0])
        if field.name in COLUMNS
    }


def object_entry(face: Prediction) -> dict[str, Any]:
    """Return an object as JSON types, in image pixels or the unit of its scalars.

    The score has four digits. One with an `abstention` has `tau`, and `error_probability` (four
    digits) and `known` of each label.
    """
    entry: dict[str, Any] = {"bbox": [rounded(value) for value in face.bbox]}
    score = getattr(face, "score", None)
    if score is not None:
        entry["score"] = rounded(score, 4)
    if face.abstention is not None:
        entry["tau"] = face.abstention.tau
    for field in _fields(face):
        if field.columns:
            entry[field.name] = _nested(field.numbers(face), field.rounding)
    if face.abstention is not None:
        entry["known"] = [bool(value) for value in entry["known"]]
    return entry


def _nested(numbers: np.ndarray, rounding: Callable[[float], float | None]) -> list[Any]:
    """Return an array as lists of rounded numbers."""
    if numbers.ndim == 1:
        return [rounding(value) for value in numbers]
    return [_nested(row, rounding) for row in numbers]


def header_of(kind: str, *, abstaining: bool) -> tuple[str, ...]:
    """Return the columns of a CSV file: one row is a label of an object.

    Objects and landmarks are counted from 0; what is not known is an empty cell, `known` is 1 or 0.
    """
    fields = FIELDS[kind] + (_ABSTENTION if abstaining else ())
    first = ("score", "landmark", "name") if kind == "points" else ("name",)
    columns = (column for field in fields for column in field.columns)
    return ("file", "frame", "face", "track", *first, *columns)


def object_rows(face: Prediction, *, abstaining: bool) -> Iterator[list[Any]]:
    """Yield the cells of each label of an object, from `score` or `name` on."""
    fields = FIELDS[face.labels.kind] + (_ABSTENTION if abstaining else ())
    cells = [[] for _ in face.uncertainty]
    for field in fields:
        width = len(field.columns)
        if not width:
            continue
        if field in _ABSTENTION and face.abstention is None:
            numbers = [[None] * width] * len(cells)
        else:
            numbers = _nested(field.numbers(face).reshape(len(cells), width), field.rounding)
        for row, values in zip(cells, numbers, strict=True):
            row += values
    score = getattr(face, "score", None)
    score = None if score is None else rounded(score, 4)
    names = face.labels.markup.names if face.labels.markup else face.labels.names
    for i, row in enumerate(cells):
        name = names[i] if names else ""
        yield [score, i, name, *row] if face.labels.kind == "points" else [name, *row]


def plain_text(name: str) -> str:
    """Return a file name that any program can read: what is not UTF-8 in it becomes `�`."""
    return name.encode("utf-8", "surrogateescape").decode("utf-8", "replace")


def reason_of(file: str, reason: str) -> str:
    """Return why a file failed on one line, without the name that readers put in front of it."""
    return " ".join(reason.removeprefix(f"{file}:").split()) or "no reason given"
