"""Looks at every face and every picture of labelled data once."""

from __future__ import annotations

import hashlib
import math
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from jaxtyping import Float64, UInt8

from kdn.data import Sample, load_samples, read_image, source_markup
from kdn.data.markup import Markup
from kdn.data.sample import Box, iou

__all__ = ["DataReport", "Duplicates", "SourceReport", "check_data", "pose_of", "roll_and_yaw"]

_FACTS = ("width", "height", "share", "missed", "roll", "yaw", "outside", "farthest")


@dataclass(frozen=True)
class SourceReport:
    """What one source is like.

    Convention: image pixels with integer pixel centres; a picture spans −½ to its width − ½.

    Args:
        source: As it was named.
        markup: What the landmarks are; None if no face can be used.
        faces: How many faces can be used.
        pictures: How many pictures they are of.
        landmarks: Labelled landmarks: how many there are, have a position, and can be seen.
        faces_of: For each face: `width` and `height` of its box, `share` of the box's side
            `√(w·h)` in that of its picture, share of the landmarks that the box `missed` by more
            than a tenth of its side, `roll` in degrees, `yaw` (`roll_and_yaw`), how many landmarks
            lie `outside` the picture and how far the `farthest` does; NaN where that is not known.
        numbers: The values of each attribute that is a number, of the faces that have it.
        worst: Id of the face with the landmark farthest outside, or "".
        problems: One line about each file, entry or picture that cannot be used.
    """

    source: str
    markup: Markup | None
    faces: int
    pictures: int
    landmarks: tuple[int, int, int]
    faces_of: dict[str, Float64[np.ndarray, " faces"]]
    numbers: dict[str, Float64[np.ndarray, " some"]]
    worst: str
    problems: tuple[str, ...]


@dataclass(frozen=True)
class Duplicates:
    """Pictures with the same pixels, or one in which a face is labelled twice.

    Args:
        pictures: Source and name of each.
        same_faces: Pairs of faces in them whose boxes overlap by more than 0.8 (intersection over
            union): the same face labelled twice.
    """

    pictures: tuple[tuple[str, str], ...]
    same_faces: tuple[tuple[str, str], ...]

    @property
    def between(self) -> bool:
        """Whether they lie in more than one source."""
        return len({source for source, _ in self.pictures}) > 1


@dataclass(frozen=True)
class DataReport:
    """What several sources are like, and which pictures they have twice.

    Args:
        sources: One by one.
        duplicates: Groups of pictures with the same pixels, and pictures in which a face is
            labelled twice.
    """

    sources: tuple[SourceReport, ...]
    duplicates: tuple[Duplicates, ...]


@dataclass
class _Seen:
    """The pictures seen so far."""

    names: dict[str, list[tuple[str, str]]] = field(default_factory=lambda: defaultdict(list))
    faces: dict[str, list[tuple[str, Box]]] = field(default_factory=lambda: defaultdict(list))


def check_data(
    sources: Sequence[str],
    markup: Markup | None = None,
    *,
    progress: Callable[[int], object] | None = None,
) -> DataReport:
    """Look at every face and every picture of the sources.

    Every picture is decoded; those with the same pixels are duplicates, whatever their files are
    called and however they are compressed. Pictures cut out differently are not found.

    Args:
        sources: As `load_samples` takes them.
        markup: What the landmarks are; None for each data set's own.
        progress: Called with 1 after each face.

    Raises:
        FileNotFoundError: If a source is not there.
        ValueError: If a source has none of the forms, or cannot be read at all.
    """
    seen = _Seen()
    reports = [_check_source(source, markup, seen, progress) for source in sources]
    groups = [
        Duplicates(tuple(names), _same_faces(seen.faces[digest]))
        for digest, names in seen.names.items()
    ]
    reported = (group for group in groups if len(group.pictures) > 1 or group.same_faces)
    return DataReport(tuple(reports), tuple(reported))


def _check_source(
    source: str,
    markup: Markup | None,
    seen: _Seen,
    progress: Callable[[int], object] | None,
) -> SourceReport:
    problems: list[str] = []
    samples = load_samples(source, markup, problems=problems, pictures=False)
    known = markup or (source_markup(source, samples) if len(samples) else None)
    rows: list[tuple[float, ...]] = []
    counts = np.zeros(3, np.int64)
    numbers: dict[str, list[float]] = defaultdict(list)
    worst, farthest = "", 0.0
    pictures = _Pictures(source, seen, problems)
    for index in range(len(samples)):
        try:
            sample = samples[index]
            size = pictures.size(sample)
        except (OSError, ValueError) as error:
            problems.append(str(error))
            continue
        finally:
            if progress is not None:
                progress(1)
        rows.append(_facts(sample, size, known or source_markup(source, [sample])))
        for name, value in sample.attributes.items():
            if isinstance(value, float | int) and not isinstance(value, bool):
                numbers[name].append(float(value))
        counts += (len(sample.valid), int(sample.valid.sum()), int(sample.visible.sum()))
        if rows[-1][-1] > farthest:
            worst, farthest = sample.id, rows[-1][-1]
    columns = np.array(rows, np.float64).reshape(len(rows), len(_FACTS)).T
    return SourceReport(
        source=source,
        markup=known,
        faces=len(rows),
        pictures=pictures.count,
        landmarks=(int(counts[0]), int(counts[1]), int(counts[2])),
        faces_of=dict(zip(_FACTS, columns, strict=True)),
        numbers={name: np.array(values) for name, values in numbers.items()},
        worst=worst,
        problems=tuple(problems),
    )


class _Pictures:
    """Decodes each picture of a source once and remembers what its pixels are."""

    def __init__(self, source: str, seen: _Seen, problems: list[str]) -> None:
        self.source, self.seen, self.problems = source, seen, problems
        self.count = 0
        self._files: dict[Path, tuple[tuple[int, int] | None, str]] = {}

    def size(self, sample: Sample) -> tuple[int, int] | None:
        """Return height and width of a face's picture, None if it cannot be read."""
        if isinstance(sample.image, np.ndarray):
            size, digest = self._look(sample.image, sample.picture or sample.id)
        else:
            path = Path(sample.image)
            if path not in self._files:
                self._files[path] = self._of_file(path)
            size, digest = self._files[path]
        if digest:
            self.seen.faces[digest].append((sample.id, sample.bbox))
        return size

    def _of_file(self, path: Path) -> tuple[tuple[int, int] | None, str]:
        try:
            return self._look(read_image(path), str(path))
        except (OSError, ValueError) as error:
            self.count += 1
            self.problems.append(str(error))
            return None, ""

    def _look(
        self, image: UInt8[np.ndarray, "height width 3"], name: str
    ) -> tuple[tuple[int, int], str]:
        height, width = image.shape[:2]
        whole = hashlib.sha256(np.ascontiguousarray(image).data)
        whole.update(f"{height} {width}".encode())
        digest = whole.hexdigest()
        entry = (self.source, name)
        if entry not in self.seen.names[digest]:
            self.seen.names[digest].append(entry)
            self.count += 1
        return (height, width), digest


def _facts(sample: Sample, size: tuple[int, int] | None, markup: Markup) -> tuple[float, ...]:
    """Return the facts of a face in their order."""
    x0, y0, x1, y1 = sample.bbox
    width, height = x1 - x0, y1 - y0
    points = sample.landmarks[sample.valid]
    margin = 0.1 * np.array([width, height])
    first, last = np.array([x0, y0]) - margin, np.array([x1, y1]) + margin
    within = (points >= first) & (points <= last)
    missed = 1.0 - float(within.all(axis=1).mean()) if len(points) else np.nan
    share, outside, farthest = np.nan, np.nan, np.nan
    if size is not None:
        share = float(np.sqrt(width * height / (size[0] * size[1])))
        end = np.array([size[1], size[0]]) - 0.5
        beyond = np.maximum(-0.5 - points, points - end).max(axis=1)
        outside, farthest = float((beyond > 0).sum()), float(beyond.max(initial=0.0))
    roll, yaw = pose_of(sample, markup)
    return width, height, share, missed, roll, yaw, outside, farthest


def _same_faces(faces: Sequence[tuple[str, Box]]) -> tuple[tuple[str, str], ...]:
    """Return the pairs of faces whose boxes overlap by more than 0.8."""
    pairs = []
    for index, (name, box) in enumerate(faces):
        pairs += [(name, other) for other, at in faces[:index] if iou(box, at) > 0.8]
    return tuple(pairs)


def roll_and_yaw(
    right_eye: Float64[np.ndarray, "2"],
    left_eye: Float64[np.ndarray, "2"],
    nose: Float64[np.ndarray, "2"],
) -> tuple[float, float]:
    """Return the roll in degrees and a stand-in for the yaw.

    With `v` from the person's right eye to the left one, the roll is `atan2(v_y, v_x)`: positive
    where the face is turned clockwise in the picture. The stand-in is
    `(nose − middle of the eyes) · v / |v|²`: 0 for a face seen from the front, ±½ where the tip of
    the nose stands under an eye, positive where the face looks to the right of the picture. It
    is not an angle.

    Args:
        right_eye: Centre of the person's right eye, image pixels.
        left_eye: Of the left one.
        nose: Tip of the nose.

    Returns:
        Both; NaN where the eyes are one point or something is not known.

    Example:
        >>> eyes = np.array([10.0, 20.0]), np.array([30.0, 20.0])
        >>> roll_and_yaw(*eyes, np.array([25.0, 32.0]))
        (0.0, 0.25)
    """
    along = left_eye - right_eye
    square = float(along @ along)
    if not square > 0:
        return math.nan, math.nan
    middle = 0.5 * (left_eye + right_eye)
    roll = math.degrees(math.atan2(float(along[1]), float(along[0])))
    return roll, float((nose - middle) @ along) / square


def pose_of(sample: Sample, markup: Markup) -> tuple[float, float]:
    """Return `roll_and_yaw` of a face: eyes are the centroids of `markup.eyes`.

    NaN where the mark-up has no eyes or no landmark `nose tip`, or they have no position.
    """
    if markup.eyes is None:
        return math.nan, math.nan
    right, left = (sample.landmarks[list(eye)].mean(axis=0) for eye in markup.eyes)
    missing = np.full(2, np.nan)
    tip = markup.names.index("nose tip") if "nose tip" in markup.names else None
    return roll_and_yaw(right, left, missing if tip is None else sample.landmarks[tip])
