"""300W-LP and AFLW2000-3D: a picture and the `.mat` file of a fitted 3-D face."""

from __future__ import annotations

import re
from functools import partial
from pathlib import Path
from typing import Literal

import numpy as np

from kdn.data.formats.entries import labelled, pictures_in, read_entries
from kdn.data.formats.format import Format
from kdn.data.markup import FACE19, FACE68, Markup
from kdn.data.sample import Sample
from kdn.data.tables import mat_matrix, read_mat

__all__ = ["read_300wlp", "read_aflw2000"]

# HELEN_1269874180_1_0: the set, the photo, the face in it and the number of the turned view.
_VIEW = re.compile(r"(.+?)(?:_\d{1,2})?_\d+")
_EARS = (12, 16)


def read_300wlp(
    folder: Path,
    markup: Markup | None = FACE68,
    *,
    points: Literal["2d", "3d"] = "2d",
    problems: list[str] | None = None,
) -> list[Sample]:
    """Return the turned faces of a folder of 300W-LP (`AFW`, `HELEN_Flip`, …).

    The 68 landmarks of `NAME.jpg` are those of `NAME_pts.mat` beside it or in
    `../landmarks/FOLDER`: `pts_2d`, whose jaw runs along the contour that is seen, or `pts_3d`,
    whose jaw is that of the 3-D face, behind the cheek where it is turned away. All are valid;
    which are visible the files do not say, so all are. Without such a file, `pt2d` of `NAME.mat`
    will do for `2d`.

    Convention: written by MATLAB, so counted from 1: 1 is subtracted. The box is the tight box.

    All views of a photo, and their mirror images in the folder `…_Flip`, have the same `picture`,
    so that a split keeps them together.

    `points` says which of the two.
    """
    whole = folder.resolve()
    shared = whole.name.removesuffix("_Flip")

    def read(picture: Path) -> Sample:
        stem = picture.stem
        beside = picture.with_name(f"{stem}_pts.mat")
        apart = whole.parent / "landmarks" / whole.name / f"{stem}_pts.mat"
        file = next((path for path in (beside, apart) if path.is_file()), None)
        if file is not None:
            array = mat_matrix(read_mat(file), file, f"pts_{points}")
        elif points == "2d" and picture.with_suffix(".mat").is_file():
            file = picture.with_suffix(".mat")
            array = mat_matrix(read_mat(file), file, "pt2d").T
        else:
            raise ValueError("no _pts.mat file beside it or in ../landmarks")
        view = _VIEW.fullmatch(stem)
        return labelled(
            f"{whole.name}/{stem}",
            picture,
            _points(array, file),
            picture=f"{shared}/{view[1] if view else stem}",
        )

    return read_entries(folder, pictures_in(folder), read, markup=markup, problems=problems)


def read_aflw2000(
    folder: Path, markup: Markup | None = FACE68, *, problems: list[str] | None = None
) -> list[Sample]:
    """Return the faces of AFLW2000-3D.

    The 68 landmarks of `NAME.jpg` are `pt3d_68` of `NAME.mat`: those of the fitted 3-D face, also
    on the side that cannot be seen. Which are visible the files do not say, so all are. With the
    mark-up `face19` they are AFLW's own 21 less the ears, `pt2d`; `-1, -1` there has no position.

    Convention: written by MATLAB, so counted from 1: 1 is subtracted. The box is the tight box.
    `attributes` has the head's `pitch`, `yaw` and `roll` in degrees.
    """
    whole = folder.resolve()

    def read(picture: Path) -> Sample:
        file = picture.with_suffix(".mat")
        if not file.is_file():
            raise ValueError("no .mat file beside it")
        content = read_mat(file)
        valid = None
        if markup is not None and markup.name == FACE19.name:
            array = np.delete(mat_matrix(content, file, "pt2d"), _EARS, axis=1).T
            valid = (array != -1).any(axis=1)
        else:
            array = mat_matrix(content, file, "pt3d_68").T[:, :2]
        turned = np.degrees(mat_matrix(content, file, "Pose_Para").ravel()[:3])
        return labelled(
            f"{whole.name}/{picture.stem}",
            picture,
            _points(array, file),
            valid=valid,
            picture=f"{whole.name}/{picture.stem}",
            attributes=dict(zip(("pitch", "yaw", "roll"), turned.tolist(), strict=True)),
        )

    return read_entries(folder, pictures_in(folder), read, markup=markup, problems=problems)


def _points(array: np.ndarray, file: Path) -> np.ndarray:
    """Return landmarks in image pixels of MATLAB's."""
    if array.ndim != 2 or array.shape[1] != 2:
        raise ValueError(f"{file.name} has points of shape {array.shape}, expected two columns")
    return array.astype(np.float64) - 1.0


_300WLP = Format("300wlp", "FOLDER", read_300wlp, markup=FACE68)
_300WLP_3D = Format("300wlp-3d", "FOLDER", partial(read_300wlp, points="3d"), markup=FACE68)
AFLW2000 = Format("aflw2000", "FOLDER", read_aflw2000, markup=FACE68)
