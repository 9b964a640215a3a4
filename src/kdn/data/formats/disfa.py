"""DISFA: the intensity of twelve action units in every frame of videos of faces."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from kdn.data.formats.entries import labelled, pictures_in, read_entries, settle
from kdn.data.formats.format import Format
from kdn.data.images import image_size
from kdn.data.numbers import as_coordinate
from kdn.data.sample import Sample
from kdn.grid import whole_box

__all__ = ["DISFA_UNITS", "read_disfa"]

DISFA_UNITS = (1, 2, 4, 5, 6, 9, 12, 15, 17, 20, 25, 26)
"""The action units that DISFA labels."""

_LABELS = "ActionUnit_Labels"
_FRAME = re.compile(r"[0-9]+$")

_Intensities = dict[int, dict[str, float]]


def read_disfa(folder: Path, *, problems: list[str] | None = None) -> list[Sample]:
    """Return the frames of DISFA that have a picture and a label; they have no landmarks.

    * Labels lie in `ActionUnit_Labels/SUBJECT/SUBJECT_auN.txt`, a line `frame,intensity` for each
      frame, with frames from 1 and intensities from 0 to 5, for each of `DISFA_UNITS`.
    * DISFA gives out videos. Their frames are pictures in `Images/SUBJECT` or else in `SUBJECT`,
      whose names end in the number of the frame, from 1: `0001.jpg`, `SN001_0001.png`,
      `frame12.jpg`. Any part of the frames will do; one without a label is left out.

    Attributes are `AU1`, `AU2`, … with the intensity, a float, of each unit that is labelled in the
    frame, the `subject` and the `frame`. The box is the whole picture. Frames of one subject share
    the name of their `picture`, so that a split keeps subjects whole.
    """
    for needed in (folder, folder / _LABELS):
        if not needed.is_dir():
            raise FileNotFoundError(f"{needed}: no such folder")
    unusable: list[str] = []
    subjects = [path.name for path in sorted((folder / _LABELS).iterdir()) if path.is_dir()]
    folder_name = folder.resolve().name

    def read(entry: tuple[Path, str, int, dict[str, float]]) -> Sample:
        picture, subject, frame, units = entry
        return labelled(
            f"{folder_name}/{subject}/{picture.name}",
            picture,
            np.zeros((0, 2)),
            bbox=whole_box(image_size(picture)),
            picture=f"disfa/{subject}",
            attributes={**units, "subject": subject, "frame": float(frame)},
        )

    def entries() -> Iterator[tuple[str, tuple[Path, str, int, dict[str, float]]]]:
        for subject in subjects:
            units = _intensities(folder / _LABELS / subject, unusable)
            pictures = _pictures(folder, subject, unusable)
            shared = sorted(units.keys() & pictures.keys())
            if pictures and not shared:
                unusable.append(f"{folder}: no picture of {subject} has a label")
            for frame in shared:
                yield str(pictures[frame]), (pictures[frame], subject, frame, units[frame])

    unread: list[str] = []
    try:
        samples = read_entries(folder, entries(), read, markup=None, problems=unread)
    except ValueError as error:  # not a single frame; what is wrong with the files says why
        raise ValueError("\n".join([str(error), *unusable[:10]])) from None
    settle([*unusable, *unread], problems)
    return samples


def _intensities(folder: Path, unusable: list[str]) -> _Intensities:
    """Return the intensities of a subject: by frame, then by unit."""
    labels: _Intensities = defaultdict(dict)
    names = {f"{folder.name}_au{unit}.txt".casefold(): f"AU{unit}" for unit in DISFA_UNITS}
    files = {path.name.casefold(): path for path in sorted(folder.iterdir())}
    for name, path in files.items():
        if path.suffix.lower() == ".txt" and name not in names:
            unusable.append(f"{path}: must be named {folder.name}_auN.txt, N one of {DISFA_UNITS}")
    for name, unit in names.items():
        if name not in files:
            continue
        try:
            rows = files[name].read_text(encoding="utf-8-sig").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            unusable.append(f"{files[name]}: cannot be read ({error})")
            continue
        for number, row in enumerate(rows, 1):
            try:
                _add(labels, unit, row)
            except ValueError as error:
                unusable.append(f"{files[name]}:{number}: {error}")
    return labels


def _add(labels: _Intensities, unit: str, line: str) -> None:
    """Add what a line says of a unit to the labels."""
    if not line.strip():
        return
    cells = [cell.strip() for cell in line.split(",")]
    if len(cells) != 2:
        raise ValueError(f"must be frame,intensity, got {line.strip()!r}")
    if not (cells[0].isascii() and cells[0].isdigit() and int(cells[0]) > 0):
        raise ValueError(f"frame must be a whole number from 1, got {cells[0]!r}")
    frame = int(cells[0])
    try:
        intensity = as_coordinate(cells[1])
    except ValueError:
        intensity = np.nan
    if not 0 <= intensity <= 5:
        raise ValueError(f"intensity must be 0 to 5, got {cells[1]!r}")
    if unit in labels.get(frame, ()):
        raise ValueError(f"frame {frame} is there twice")
    labels[frame][unit] = intensity


def _pictures(folder: Path, subject: str, unusable: list[str]) -> dict[int, Path]:
    """Return the picture of each frame of a subject."""
    candidates = [folder / "Images" / subject, folder / subject]
    pictures = next((path for path in candidates if path.is_dir()), None)
    if pictures is None:
        unusable.append(f"{folder}: no folder of pictures Images/{subject} or {subject}")
        return {}
    frames: dict[int, Path] = {}
    for _, path in pictures_in(pictures):
        number = _FRAME.search(path.stem)
        if number is None or int(number[0]) == 0:
            unusable.append(f"{path}: its name must end in the number of the frame, from 1")
        elif int(number[0]) in frames:
            unusable.append(f"{path}: frame {int(number[0])} is also {frames[int(number[0])].name}")
        else:
            frames[int(number[0])] = path
    return frames


DISFA = Format("disfa", "FOLDER", read_disfa, landmarks=False)
