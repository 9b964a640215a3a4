"""UTKFace: aligned faces with age, gender and race in their names."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from kdn.data.formats.entries import labelled, pictures_in, read_entries
from kdn.data.formats.format import Format
from kdn.data.images import image_size
from kdn.data.sample import Sample
from kdn.grid import whole_box

__all__ = ["read_utkface"]

_GENDERS = {"0": "male", "1": "female"}
_RACES = {"0": "white", "1": "black", "2": "asian", "3": "indian", "4": "other"}


def read_utkface(folder: Path, *, problems: list[str] | None = None) -> list[Sample]:
    """Return the faces of UTKFace, which have no landmarks.

    A picture is named `AGE_GENDER_RACE_DATE.jpg.chip.jpg`, or ends in `.jpg` or `.png` alone. Its
    attributes are the `age` in years, a float, the `gender` (0 male, 1 female) and the `race`
    (0 white, 1 black, 2 asian, 3 indian, 4 other), as the data set calls them. The box is the whole
    picture. Some files of the published set lack the race: they cannot be used.

    Of each picture the header is read, for its size.
    """
    folder_name = folder.resolve().name

    def read(picture: Path) -> Sample:
        name = f"{folder_name}/{picture.name}"
        return labelled(
            name,
            picture,
            np.zeros((0, 2)),
            bbox=whole_box(image_size(picture)),
            picture=name,
            attributes=_attributes(picture.name),
        )

    return read_entries(folder, pictures_in(folder), read, markup=None, problems=problems)


def _attributes(name: str) -> dict[str, str | float | bool]:
    """Return what the name of a picture says."""
    parts = name.split("_")
    if len(parts) != 4:
        raise ValueError(f"must be named AGE_GENDER_RACE_DATE, has {len(parts)} parts, not 4")
    age, gender, race, _ = parts
    if not (age.isascii() and age.isdigit()):
        raise ValueError(f"age must be a whole number of years, got {age!r}")
    if gender not in _GENDERS:
        raise ValueError(f"gender must be 0 or 1, got {gender!r}")
    if race not in _RACES:
        raise ValueError(f"race must be 0 to 4, got {race!r}")
    return {"age": float(age), "gender": _GENDERS[gender], "race": _RACES[race]}


UTKFACE = Format("utkface", "FOLDER", read_utkface, landmarks=False)
