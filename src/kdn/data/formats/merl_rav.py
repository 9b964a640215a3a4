"""Folders in the convention of MERL-RAV, which says of each landmark whether it is hidden."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
from jaxtyping import Float64

from kdn.data.formats.entries import labelled
from kdn.data.formats.format import Format
from kdn.data.formats.pts import PtsFolder, pts_numbers, read_pairs
from kdn.data.markup import FACE68, Markup
from kdn.data.sample import Sample

__all__ = ["MerlRavFolder", "read_merl_rav"]

# A face is named by its picture in AFLW, with a number before or behind where that has several.
_PICTURE = re.compile(r"(?:\d+-)?(image\d+)(?:_\d+)?")


def read_merl_rav(
    folder: Path, markup: Markup | None = FACE68, *, problems: list[str] | None = None
) -> list[Sample]:
    """Return the labelled faces of a folder, one for each picture with a `.pts` file beside it.

    Convention: signs say what can be seen. `x y` is in sight; `-x -y` is hidden by something else,
    its position `(x, y)` an estimate (valid, not visible); `-1 -1` is hidden by the face itself and
    has no position (neither valid nor visible).

    Where a face is cut out so closely that a landmark lies left of the picture, its own `x` is
    negative and the signs differ. That of `y` decides then: `10 -20` is hidden, at `(-10, 20)`.
    Landmarks above the picture cannot be told from hidden ones and are not expected. One outside
    the picture is visible if the file says so.

    Files have the header of 300-W, whose landmarks they follow, and are taken to count from 1 as
    there: 1 is subtracted. Their authors do not say so. It was measured on 375 faces cut out at
    80 × 80 pixels, where a network trained on 300-W puts the landmarks 2.4 px left of and 2.0 px
    above the numbers in the files (2.4 px left in mirrored pictures, too), against 0.2 px left and
    0.2 px below in faces of HELEN of that size. So 1 is nearer than 0; what remains, a good pixel,
    is more than a frame explains and comes from how that copy was cut out.

    Ids and files are as in `read_ibug`. The `picture` is what AFLW calls it: that of
    `0002-image04733` or `image04733_2` is `image04733`. The box is the tight box of the valid
    landmarks, so that of a face in profile is narrower.

    A face with fewer than two valid landmarks cannot be used.
    """

    def read(picture: Path, pts: Path, prefix: str) -> Sample:
        numbers = pts_numbers(pts, landmarks=None if markup is None else markup.landmarks)
        valid = (numbers != -1.0).any(axis=1)
        if valid.sum() < 2:
            raise ValueError(f"a face needs two landmarks with a position, got {valid.sum()}")
        hidden = numbers[:, 1] < 0
        photo = _PICTURE.fullmatch(picture.stem)
        return labelled(
            f"{prefix}/{picture.stem}",
            picture,
            np.where(hidden[:, None], -numbers, numbers) - 1.0,
            valid=valid,
            visible=~hidden,
            picture=f"{prefix}/{photo[1] if photo else picture.stem}",
        )

    return read_pairs(folder, read, markup, problems)


class MerlRavFolder(PtsFolder):
    """As `PtsFolder`, with the signs that say what is hidden and what has no position."""

    def numbers(self, sample: Sample) -> Float64[np.ndarray, "landmarks 2"]:
        """Return the numbers of a face's file, counted from 1.

        Raises:
            ValueError: If the signs cannot say where a landmark is.
        """
        numbers = sample.landmarks + 1.0
        if (numbers[sample.valid, 1] <= 0).any():
            raise ValueError(f"{sample.id}: a landmark above the picture would read as hidden")
        hidden = sample.valid & ~sample.visible
        if (numbers[hidden] == 1).all(axis=1).any():
            raise ValueError(f"{sample.id}: a hidden landmark at the first pixel reads as missing")
        signed = np.where(hidden[:, None], -numbers, numbers)
        return np.where(sample.valid[:, None], signed, -1.0)


MERL_RAV = Format("merl_rav", "FOLDER", read_merl_rav, markup=FACE68, writer=MerlRavFolder)
