"""`.pts` files, and folders of pictures with one beside each."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float64

from kdn.data.sample import Box, Sample, tight_box

__all__ = ["PICTURE_SUFFIXES", "face_box", "pts_numbers", "pts_text", "read_pairs", "read_pts"]

PICTURE_SUFFIXES = (".jpg", ".jpeg", ".png")
"""Endings of pictures, in small letters."""

Lines = list[tuple[int, str]]


def read_pairs(
    folder: Path, read: Callable[[Path, Path, str], Sample], problems: list[str] | None
) -> list[Sample]:
    """Return a sample for each picture of a folder that has a `.pts` file beside it.

    Args:
        folder: Where the files lie; sub-folders are not searched.
        read: Makes a sample of the picture, its `.pts` file and what its id begins with, the names
            of the folder and its parent.
        problems: Where to put one line about each file that cannot be used; None to raise.

    Returns:
        The samples, sorted by file name.

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
            sample = read(picture, pts, prefix)
            count, first = (len(s.landmarks) for s in (sample, (samples or [sample])[0]))
            if count != first:
                raise ValueError(f"{pts}: {count} points, but the first file has {first}")
            samples.append(sample)
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
    return pts_numbers(path, landmarks=landmarks) - 1.0


def pts_numbers(path: Path, *, landmarks: int | None = None) -> Float64[np.ndarray, "landmarks 2"]:
    """Return the numbers of a `.pts` file as they stand there, whatever they mean.

    Args:
        path: The file, of the form that `read_pts` takes.
        landmarks: How many points there must be; None takes any number.

    Raises:
        ValueError: As `read_pts`.
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
    return np.array(points, dtype=np.float64)


def pts_text(landmarks: Float64[np.ndarray, "L 2"], *, digits: int = 3) -> str:
    """Return the content of a `.pts` file, which counts from 1, for landmarks in image pixels.

    Args:
        landmarks: In image pixels.
        digits: How many behind the point.
    """
    lines = [f"{x:.{digits}f} {y:.{digits}f}" for x, y in (landmarks + 1.0).tolist()]
    return "\n".join(["version: 1", f"n_points: {len(lines)}", "{", *lines, "}", ""])


def face_box(
    pts: Path, landmarks: Float64[np.ndarray, "landmarks 2"], valid: Bool[np.ndarray, " landmarks"]
) -> Box:
    """Return the tight box of a face's valid landmarks.

    Raises:
        ValueError: If it has no area; the message names the file.
    """
    box = tight_box(landmarks, valid)
    if not (box[2] > box[0] and box[3] > box[1]):
        raise ValueError(f"{pts}: all points lie on one line, so the face has no box")
    return box


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
