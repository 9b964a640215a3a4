"""`.pts` files, and folders of pictures with one beside each."""

from __future__ import annotations

import os
import shutil
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Float64

from kdn.data.formats.entries import read_entries, settle
from kdn.data.formats.format import Writer
from kdn.data.images import PICTURE_SUFFIXES, write_image
from kdn.data.markup import Markup
from kdn.data.numbers import as_coordinate
from kdn.data.paths import replacing
from kdn.data.sample import Sample

__all__ = ["PtsFolder", "pts_numbers", "pts_text", "read_pairs", "read_pts"]

Lines = list[tuple[int, str]]


def read_pairs(
    folder: Path,
    read: Callable[[Path, Path, str], Sample],
    markup: Markup | None,
    problems: list[str] | None,
) -> list[Sample]:
    """Return a sample for each picture of a folder that has a `.pts` file beside it.

    Args:
        folder: Where the files lie; sub-folders are not searched.
        read: Makes a sample of the picture, its `.pts` file and what its id begins with, the names
            of the folder and its parent.
        markup: What the landmarks are; None for any number that is the same in all files.
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
    lines: list[str] = []
    pairs = _pairs(folder, lines)
    if not pairs:
        raise ValueError(f"{folder}: no picture with a .pts file beside it")
    prefix = "/".join(folder.resolve().parts[-2:])
    entries = ((str(pts), (picture, pts, prefix)) for picture, pts in pairs)
    samples = read_entries(
        folder, entries, lambda entry: read(*entry), markup=markup, problems=lines
    )
    settle(lines, problems)
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
        key, _, value = (field.strip() for field in line.partition(":"))
        if key.lower() == "n_points":
            if not value.isdecimal():
                raise ValueError(f"{path}:{number}: n_points must be a whole number, got {value!r}")
            announced = int(value)
    return lines[opening + 1 : closing], announced


def _read_points(path: Path, lines: Lines) -> list[list[float]]:
    points = []
    for number, line in lines:
        fields = line.split()
        if len(fields) != 2:
            raise ValueError(f"{path}:{number}: expected two numbers, got {line!r}")
        try:
            points.append([as_coordinate(field) for field in fields])
        except ValueError as error:
            raise ValueError(f"{path}:{number}: {error}") from None
    return points


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


class PtsFolder(Writer):
    """A picture and a `.pts` file of six digits behind the point for each face.

    Both are named like the picture where it has one face in all. Where any picture has several,
    all are named by two numbers, that of the picture and that of the face in it, by which a folder
    as a source knows the faces of one picture.

    Raises:
        ValueError: If there are files in the folder.
    """

    title = ".pts files have"

    def __init__(self, path: Path, markup: Markup, names: Sequence[str], pictures: str) -> None:
        super().__init__(path, markup, names, pictures)
        if path.exists() and (not path.is_dir() or any(path.iterdir())):
            raise ValueError(f"{path}: must be a new or an empty folder")
        self._several = max(Counter(names).values()) > 1
        self._numbers = {name: index for index, name in enumerate(dict.fromkeys(names))}
        self._faces: Counter[str] = Counter()
        self._stems: set[str] = set()

    def numbers(self, sample: Sample) -> Float64[np.ndarray, "landmarks 2"]:
        """Return the numbers of a face's file, counted from 1.

        Raises:
            ValueError: If a landmark has no position.
        """
        if not sample.valid.all():
            raise ValueError(
                f"{sample.id}: {int((~sample.valid).sum())} landmarks have no position, for which "
                "a .pts file has no word; merl_rav:FOLDER has one"
            )
        if not sample.visible.all():
            self.lost.add("what is hidden")
        return sample.landmarks + 1.0

    def add(self, sample: Sample) -> None:
        """Write a face."""
        numbers = self.numbers(sample)
        stem = self._stem(sample)
        if self.pictures != "none":
            self._picture(sample, stem)
        with replacing(self.path / f"{stem}.pts") as temporary:
            temporary.write_text(pts_text(numbers - 1.0, digits=6), encoding="ascii")
        self.lost |= {"boxes", "attributes"} if sample.attributes else {"boxes"}

    def _stem(self, sample: Sample) -> str:
        """Return a name that no other face has."""
        picture = sample.picture or sample.id
        if self._several:
            face = self._faces[picture]
            self._faces[picture] += 1
            return f"{self._numbers[picture]:06d}_{face}"
        name = sample.id.rpartition("/")[2]
        if isinstance(sample.image, Path):
            name = sample.image.stem
        tries = (name if n == 1 else f"{name}-{n}" for n in range(1, len(self._stems) + 2))
        stem = next(new for new in tries if new.casefold() not in self._stems)
        self._stems.add(stem.casefold())
        return stem

    def _picture(self, sample: Sample, stem: str) -> None:
        """Put the picture there."""
        if isinstance(sample.image, np.ndarray):
            write_image(self.path / f"{stem}.png", sample.image)
            return
        source = Path(sample.image)
        if source.suffix.lower() not in PICTURE_SUFFIXES:
            write_image(self.path / f"{stem}.png", sample.read())
            return
        if not source.is_file():
            raise FileNotFoundError(f"{sample.id}: no picture {source}")
        self.path.mkdir(parents=True, exist_ok=True)
        target = self.path / f"{stem}{source.suffix.lower()}"
        if self.pictures == "link":
            os.symlink(source.absolute(), target)
        else:
            shutil.copyfile(source, target)
