"""Faces out of the entries of a file: one that cannot be used is named and stops no other."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

import numpy as np
from jaxtyping import Bool, Float64, UInt8

from kdn.data.images import PICTURE_SUFFIXES
from kdn.data.markup import Markup
from kdn.data.sample import Box, Sample, tight_box

__all__ = [
    "Faces",
    "labelled",
    "pictures_in",
    "read_entries",
    "settle",
]

Entry = TypeVar("Entry")


def read_entries(
    source: Path,
    entries: Iterable[tuple[str, Entry]],
    read: Callable[[Entry], Sample | None],
    *,
    markup: Markup | None,
    problems: list[str] | None,
) -> list[Sample]:
    """Return the sample of each entry of a file or folder.

    Args:
        source: The file or folder, for messages.
        entries: Where each entry stands, for messages, and the entry.
        read: Makes a sample of an entry, or None of one that is none by intent; raises for one that
            cannot be used.
        markup: What the landmarks are; None for any number that is the same in all entries.
        problems: Where to put one line about each entry that cannot be used; None to raise.

    Returns:
        The samples in the order of their entries.

    Raises:
        ValueError: If there is no entry, or, without `problems`, if any cannot be used.
    """
    lines: list[str] = []
    samples: list[Sample] = []
    count = 0
    for where, entry in entries:
        count += 1
        try:
            sample = read(entry)
            if sample is None:
                continue
            _check_count(sample, samples, markup)
        except (OSError, ValueError) as error:
            message = str(error)
            named = message.startswith(f"{where}:")
            lines.append(message if named else f"{where}: {message}")
            continue
        samples.append(sample)
    if not count:
        raise ValueError(f"{source}: holds no labels")
    settle(lines, problems)
    return samples


def _check_count(sample: Sample, before: Sequence[Sample], markup: Markup | None) -> None:
    """Raise if a sample has not as many landmarks as it must."""
    count = len(sample.landmarks)
    if markup is not None and count != markup.landmarks:
        raise ValueError(f"{count} points, but the mark-up {markup.name} has {markup.landmarks}")
    if markup is None and before and count != len(before[0].landmarks):
        raise ValueError(f"{count} points, but the first has {len(before[0].landmarks)}")


def settle(lines: Sequence[str], problems: list[str] | None) -> None:
    """Hand over lines about what cannot be used, or raise with the first ten of them.

    Args:
        lines: One for each thing that cannot be used.
        problems: Where to put them; None to raise if there is any.

    Raises:
        ValueError: If there are lines and no place to put them.
    """
    if problems is not None:
        problems.extend(lines)
    elif lines:
        more = [f"… and {len(lines) - 10} more"] if len(lines) > 10 else []
        raise ValueError("\n".join([*lines[:10], *more]))


def labelled(
    name: str,
    image: Path | UInt8[np.ndarray, "height width 3"],
    points: Float64[np.ndarray, "landmarks 2"],
    *,
    valid: Bool[np.ndarray, " landmarks"] | None = None,
    visible: Bool[np.ndarray, " landmarks"] | None = None,
    bbox: Box | None = None,
    picture: str = "",
    attributes: Mapping[str, str | float | bool] | None = None,
) -> Sample:
    """Return a sample with the box of its landmarks where the file has none of its own.

    Args:
        name: Its id.
        image: Its picture.
        points: Landmarks in image pixels with integer pixel centres.
        valid: Which have a position; all by default.
        visible: Which can be seen; all with a position by default.
        bbox: The file's box; None for the tight box of the valid landmarks.
        picture: Name shared by samples of the same picture.
        attributes: What else the file says.

    Raises:
        ValueError: If a valid landmark is not finite, if no landmark is valid (without landmarks at
            all: if there is no box), or if the box has no area.
    """
    valid = np.ones(len(points), bool) if valid is None else valid
    visible = valid.copy() if visible is None else visible & valid
    wrong = np.flatnonzero(valid & ~np.isfinite(points).all(axis=1))
    if len(wrong):
        raise ValueError(f"coordinates must be finite, got {points[wrong[0]].tolist()}")
    if not valid.any() and (len(points) or bbox is None):
        raise ValueError("no landmark has a position")
    box = tight_box(points, valid) if bbox is None else bbox
    if not (np.isfinite(box).all() and box[2] > box[0] and box[3] > box[1]):
        message = "the landmarks lie on one line" if bbox is None else f"got {list(bbox)}"
        raise ValueError(f"the box must have an area, {message}")
    return Sample(
        id=name,
        image=image,
        landmarks=np.where(valid[:, None], points, np.nan),
        bbox=tuple(float(side) for side in box),  # type: ignore[arg-type]
        valid=valid,
        visible=visible,
        picture=picture,
        attributes=dict(attributes or {}),
    )


def pictures_in(folder: Path) -> Iterator[tuple[str, Path]]:
    """Yield the pictures of a folder, sorted by name, each with its place for `read_entries`.

    Raises:
        FileNotFoundError: If there is no such folder.
    """
    if not folder.is_dir():
        raise FileNotFoundError(f"{folder}: no such folder")
    for path in sorted(folder.iterdir(), key=lambda path: path.name):
        if path.suffix.lower() in PICTURE_SUFFIXES and path.is_file():
            yield str(path), path


class Faces:
    """The faces that a file lists by picture: `LIST/PICTURE#0`, `LIST/PICTURE#1`, … in its order.

    Args:
        file: What lists them.
        pictures: The folder that pictures are named from, if it was named.
        names: What the folder is called where it was not: looked for beside the file and up to two
            folders above. Where none is there it is the file's own folder.

    Raises:
        FileNotFoundError: If the file, or the folder that was named, is not there.

    Example:
        >>> faces = Faces(Path(__file__), None)
        >>> faces.name("one.jpg"), faces.name("one.jpg"), faces.picture("one.jpg")
        ('entries/one.jpg#0', 'entries/one.jpg#1', 'formats/one.jpg')
    """

    def __init__(self, file: Path, pictures: Path | None, *names: str) -> None:
        if not file.is_file():
            raise FileNotFoundError(f"{file}: no such file")
        if pictures is not None and not pictures.is_dir():
            raise FileNotFoundError(f"{pictures}: no such folder")
        above = [file.parent, *file.parent.resolve().parents[:2]]
        beside = [folder / name for folder in above for name in names]
        usual = next((folder for folder in beside if folder.is_dir()), file.parent)
        self.file, self.folder = file, usual if pictures is None else pictures
        self._count: Counter[str] = Counter()

    def name(self, picture: str) -> str:
        """Return the id of the next face of a picture."""
        number = self._count[picture]
        self._count[picture] += 1
        return f"{self.file.stem}/{picture}#{number}"

    def picture(self, picture: str) -> str:
        """Return the name that the faces of a picture share, whichever file lists them."""
        return f"{self.folder.resolve().name}/{picture}"

    def path(self, picture: str) -> Path:
        """Return where a picture lies."""
        return self.folder / picture
