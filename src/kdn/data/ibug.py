"""Folders of the iBUG family (300W, HELEN, LFPW, AFW): a picture and a `.pts` file side by side."""

from __future__ import annotations

import math
import re
from pathlib import Path

import numpy as np
from jaxtyping import Float64

from kdn.data.sample import Sample, tight_box
from kdn.markup import FACE68, Markup

__all__ = ["read_ibug", "read_pts"]

PICTURE_SUFFIXES = (".jpg", ".jpeg", ".png")

# HELEN and AFW name a face PHOTO_FACE, both whole numbers: 111076519_1 and 111076519_2 are two
# faces of one photo. Names such as indoor_001 or image_0001 are one photo each.
_PHOTO_AND_FACE = re.compile(r"(\d+)_\d+")


def read_ibug(
    folder: Path, markup: Markup = FACE68, *, problems: list[str] | None = None
) -> list[Sample]:
    """Return the labelled faces of a folder, one for each picture with a `.pts` file beside it.

    Landmarks are in image pixels with integer pixel centres: the files count from 1, so 1 is
    subtracted. The box is the tight box of the landmarks; all landmarks are valid and visible.
    Sub-folders are not searched, and no picture is decoded here.

    A face's `id` is the names of its folder's parent, its folder and its file without ending
    (`helen/trainset/100040721_1`). Its `picture` is the same without the face number where the
    file is named by two numbers, as in HELEN and AFW (`helen/trainset/100040721`).

    Args:
        folder: Where the files lie.
        markup: What the landmarks are; every file must have as many.
        problems: Where to put one line about each file that cannot be used (the file is then left
            out); None to let such files raise.

    Returns:
        The faces, sorted by file name.

    Raises:
        FileNotFoundError: If there is no such folder.
        ValueError: If the folder holds no pair of files, or, without `problems`, if any file in it
            cannot be used; the message names files and lines.
    """
    if not folder.is_dir():
        raise FileNotFoundError(f"{folder}: no such folder")
    found: list[str] = []
    samples = []
    pairs = _pairs(folder, found)
    prefix = "/".join(folder.resolve().parts[-2:])
    for picture, pts in pairs:
        try:
            samples.append(_read_sample(picture, pts, markup, prefix))
        except (OSError, ValueError) as error:
            found.append(str(error))
    if not pairs:
        raise ValueError(f"{folder}: no picture ({', '.join(PICTURE_SUFFIXES)}) with a .pts file")
    if problems is not None:
        problems.extend(found)
    elif found:
        more = [f"… and {len(found) - 10} more"] if len(found) > 10 else []
        raise ValueError("\n".join([*found[:10], *more]))
    return samples


def read_pts(path: Path, *, landmarks: int | None = None) -> Float64[np.ndarray, "landmarks 2"]:
    """Return the landmarks of a `.pts` file, 0-based, in image pixels.

    The file holds one `x y` per line, 1-based, either alone or as
    `version: 1`, `n_points: N`, `{`, N points, `}`. Empty lines are skipped.

    Args:
        path: The file.
        landmarks: How many there must be; None takes any number.

    Raises:
        ValueError: If the file does not have this form, if its number of points is not
            `landmarks` or what its header says, or if a coordinate is not a finite number; the
            message names file and line.
    """
    text = path.read_text(encoding="utf-8-sig", errors="replace")
    lines = [(n, line.strip()) for n, line in enumerate(text.splitlines(), 1) if line.strip()]
    body, announced = _without_header(path, lines)
    points = _read_points(path, body)
    for expected, source in ((announced, "n_points says"), (landmarks, "the mark-up has")):
        if expected is not None and len(points) != expected:
            last = body[-1][0] if body else 1
            raise ValueError(f"{path}:{last}: {len(points)} points, but {source} {expected}")
    if not points:
        raise ValueError(f"{path}:1: no points")
    return np.array(points, dtype=np.float64) - 1.0


Lines = list[tuple[int, str]]


def _without_header(path: Path, lines: Lines) -> tuple[Lines, int | None]:
    """Return the lines of points, and how many points the header announces."""
    opening = next((i for i, (_, line) in enumerate(lines) if line == "{"), None)
    if opening is None:
        if lines and lines[0][1].lower().startswith(("version", "n_points")):
            raise ValueError(f"{path}:{lines[-1][0]}: the header is not followed by a line '{{'")
        return lines, None
    closing = next((i for i, (_, line) in enumerate(lines) if line == "}"), None)
    if closing is None:
        raise ValueError(f"{path}:{lines[-1][0]}: no line '}}' closes the points")
    announced = None
    for number, line in lines[:opening]:
        key, _, value = (part.strip() for part in line.partition(":"))
        if key.lower() == "n_points":
            if not value.isdecimal():
                raise ValueError(f"{path}:{number}: n_points must be a whole number, got {value!r}")
            announced = int(value)
    return lines[opening + 1 : closing], announced


def _read_points(path: Path, lines: Lines) -> list[tuple[float, float]]:
    points = []
    for number, line in lines:
        try:
            x, y = (_number(field) for field in line.split())
        except ValueError:
            raise ValueError(f"{path}:{number}: expected two numbers, got {line!r}") from None
        if not (math.isfinite(x) and math.isfinite(y)):
            raise ValueError(f"{path}:{number}: coordinates must be finite, got {line!r}")
        points.append((x, y))
    return points


def _number(text: str) -> float:
    """Return a number; unlike Python's own, it has no underscores between its digits."""
    if "_" in text:
        raise ValueError(f"expected a number, got {text!r}")
    return float(text)


def _pairs(folder: Path, problems: list[str]) -> list[tuple[Path, Path]]:
    """Return pictures with their `.pts` files by name; files that have no partner are problems."""
    pictures: dict[str, Path] = {}
    labels: dict[str, Path] = {}
    for path in sorted(folder.iterdir(), key=lambda path: path.name):
        suffix = path.suffix.lower()
        if suffix not in (*PICTURE_SUFFIXES, ".pts") or not path.is_file():
            continue
        known = labels if suffix == ".pts" else pictures
        if path.stem in known:
            problems.append(f"{path}: {known[path.stem].name} is another file of that name")
        known.setdefault(path.stem, path)
    problems += [f"{pictures[stem]}: no .pts file beside it" for stem in pictures.keys() - labels]
    problems += [f"{labels[stem]}: no picture beside it" for stem in labels.keys() - pictures]
    problems.sort()
    return [(pictures[stem], labels[stem]) for stem in sorted(pictures.keys() & labels)]


def _read_sample(picture: Path, pts: Path, markup: Markup, prefix: str) -> Sample:
    landmarks = read_pts(pts, landmarks=markup.landmarks)
    valid = np.ones(len(landmarks), dtype=bool)
    box = tight_box(landmarks, valid)
    if not (box[2] > box[0] and box[3] > box[1]):
        raise ValueError(f"{pts}: all points lie on one line, so the face has no box")
    photo = _PHOTO_AND_FACE.fullmatch(picture.stem)
    return Sample(
        id=f"{prefix}/{picture.stem}",
        image=picture,
        landmarks=landmarks,
        bbox=box,
        valid=valid,
        visible=valid.copy(),
        picture=f"{prefix}/{photo[1] if photo else picture.stem}",
    )
