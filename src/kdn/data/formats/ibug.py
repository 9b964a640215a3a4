"""Folders of the iBUG family (300W, HELEN, LFPW, AFW): a picture and a `.pts` file side by side."""

from __future__ import annotations

import re
from pathlib import Path

from kdn.data.formats.entries import labelled
from kdn.data.formats.format import Format
from kdn.data.formats.pts import PtsFolder, read_pairs, read_pts
from kdn.data.markup import FACE68, Markup
from kdn.data.sample import Sample

__all__ = ["read_ibug"]

# HELEN and AFW name a face PHOTO_FACE, both whole numbers: 111076519_1 and 111076519_2 are two
# faces of one photo. Names such as indoor_001 or image_0001 are one photo each.
_PHOTO_AND_FACE = re.compile(r"(\d+)_\d+")


def read_ibug(
    folder: Path, markup: Markup | None = FACE68, *, problems: list[str] | None = None
) -> list[Sample]:
    """Return the labelled faces of a folder, one for each picture with a `.pts` file beside it.

    Landmarks are in image pixels with integer pixel centres: the files count from 1, so 1 is
    subtracted. The box is the tight box of the landmarks; all landmarks are valid and visible.
    Sub-folders are not searched, and no picture is decoded here.

    A face's `id` is the names of its folder's parent, its folder and its file without ending
    (`helen/trainset/100040721_1`). Its `picture` is the same without the face number where the
    file is named by two numbers, as in HELEN and AFW (`helen/trainset/100040721`).
    """

    def read(picture: Path, pts: Path, prefix: str) -> Sample:
        photo = _PHOTO_AND_FACE.fullmatch(picture.stem)
        return labelled(
            f"{prefix}/{picture.stem}",
            picture,
            read_pts(pts, landmarks=None if markup is None else markup.landmarks),
            picture=f"{prefix}/{photo[1] if photo else picture.stem}",
        )

    return read_pairs(folder, read, markup, problems)


IBUG = Format("ibug", "FOLDER", read_ibug, writer=PtsFolder)
