"""FG-NET: faces of people as they age, with the points of XM2VTS."""

from __future__ import annotations

import re
from pathlib import Path

from kdn.data.formats.entries import labelled, pictures_in, read_entries
from kdn.data.formats.format import Format
from kdn.data.formats.pts import pts_numbers
from kdn.data.markup import XM2VTS68, Markup
from kdn.data.sample import Sample

__all__ = ["read_fgnet"]

# 078A04b: the person, the age in years, and a letter where there are several of that age.
_NAME = re.compile(r"(\d+)a(\d+)[a-z]?")


def read_fgnet(
    folder: Path, markup: Markup | None = XM2VTS68, *, problems: list[str] | None = None
) -> list[Sample]:
    """Return the faces of FG-NET.

    A picture `001A02.JPG` has its points in `001a02.pts` (capitals do not matter) beside it, or the
    pictures lie in `images` and the points in `points` below the folder, as they are given out. All
    landmarks are valid and visible. `attributes` has the `age` in years and the `person`.

    Convention: the files are those of Cootes's tools for active appearance models, whose pixels
    count from 0, so coordinates are taken as they stand; their authors do not say so. The box is
    the tight box.

    They are not the 68 of iBUG, though as many.
    """
    if not folder.is_dir():
        raise FileNotFoundError(f"{folder}: no such folder")
    images, points = folder / "images", folder / "points"
    apart = images.is_dir() and points.is_dir()
    labels = {
        path.stem.casefold(): path
        for path in sorted((points if apart else folder).iterdir())
        if path.suffix.lower() == ".pts"
    }
    folder_name = folder.resolve().name

    def read(picture: Path) -> Sample:
        stem = picture.stem.casefold()
        named = _NAME.fullmatch(stem)
        if named is None:
            raise ValueError("must be named PERSONaAGE, such as 001A02")
        if stem not in labels:
            raise ValueError("no .pts file of that name")
        return labelled(
            f"{folder_name}/{picture.stem}",
            picture,
            pts_numbers(labels[stem]),
            picture=f"{folder_name}/{picture.stem}",
            attributes={"age": float(named[2]), "person": named[1]},
        )

    entries = pictures_in(images if apart else folder)
    return read_entries(folder, entries, read, markup=markup, problems=problems)


FGNET = Format("fgnet", "FOLDER", read_fgnet, markup=XM2VTS68)
