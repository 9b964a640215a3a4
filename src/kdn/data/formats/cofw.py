"""COFW: faces with hidden landmarks, whose pictures lie in a MATLAB file, and their 68 points."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, overload

import numpy as np
from jaxtyping import UInt8

from kdn.data.formats.entries import labelled, read_entries
from kdn.data.formats.format import Format
from kdn.data.images import PICTURE_SUFFIXES
from kdn.data.markup import FACE29, FACE68, Markup
from kdn.data.sample import Sample
from kdn.data.tables import h5py_module, mat_matrix, read_mat

__all__ = ["CofwFaces", "CofwFile", "read_cofw", "read_cofw68"]

_POINTS = re.compile(r"(\d+)_points")


class CofwFile:
    """The pictures and labels of `COFW_train.mat` or `COFW_test.mat`, grey or in colour.

    Version 7.3 (HDF5), in which COFW is given out, is read picture by picture; version 5 is held in
    memory.

    Args:
        path: The file.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it cannot be read, has no such variables, or SciPy or h5py is missing; the
            message names the file.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        content = read_mat(path)
        self._pictures: list[Any] | None = None
        if content is None:
            with self._opened() as file:
                self._name = self._variable(file, "Is")
                self.phis = file[self._variable(file, "phis")][()].T.astype(np.float64)
                self.boxes = file[self._variable(file, "bboxes")][()].T.astype(np.float64)
                count = file[self._name].size
        else:
            pictures = content[self._variable(content, "Is")]
            self._pictures = list(pictures.ravel())
            self.phis, self.boxes = (
                mat_matrix(content, path, self._variable(content, name)).astype(np.float64)
                for name in ("phis", "bboxes")
            )
            count = len(self._pictures)
        if not count == len(self.phis) == len(self.boxes):
            raise ValueError(
                f"{path}: {count} pictures, {len(self.phis)} rows of landmarks and "
                f"{len(self.boxes)} boxes"
            )
        self.count = count

    @contextmanager
    def _opened(self) -> Iterator[Any]:
        """Yield the open file; whatever h5py runs into in a broken one is named."""
        h5py = h5py_module(self.path)  # not kept: processes that prepare crops get a copy of this
        try:
            with h5py.File(self.path, "r") as file:
                yield file
        except (AttributeError, KeyError, OSError, RuntimeError, TypeError) as error:
            raise ValueError(f"{self.path}: cannot be read as a MATLAB file ({error})") from error

    def _variable(self, content: Any, stem: str) -> str:
        """Return what a variable is called in a file for training or for test."""
        for name in (f"{stem}Tr", f"{stem}T"):
            if name in content:
                return name
        raise ValueError(f"{self.path}: has no variable {stem}Tr or {stem}T")

    def picture(self, index: int) -> UInt8[np.ndarray, "height width 3"]:
        """Return a picture, 8-bit RGB, counted from 0.

        Raises:
            ValueError: If it is none; the message names file and number.
        """
        if self._pictures is not None:
            array = self._pictures[index]
        else:
            with self._opened() as file:
                array = file[file[self._name][()].ravel()[index]][()].T
        if array.dtype != np.uint8 or array.ndim not in (2, 3) or array.shape[2:] not in ((), (3,)):
            raise ValueError(
                f"{self.path}: picture {index + 1} must be 8-bit, grey or RGB, "
                f"got {array.dtype} of shape {array.shape}"
            )
        grey = array[..., None] if array.ndim == 2 else array
        return np.ascontiguousarray(np.broadcast_to(grey, (*grey.shape[:2], 3)))


class CofwFaces(Sequence[Sample]):
    """Faces whose pictures are taken out of a file of COFW when they are asked for.

    Args:
        labels: The faces, with any picture.
        numbers: Which picture of the file is each one's, counted from 0.
        file: Where the pictures are.
    """

    def __init__(self, labels: Sequence[Sample], numbers: Sequence[int], file: CofwFile) -> None:
        self.labels, self.numbers, self.file = tuple(labels), tuple(numbers), file
        self.pictures = tuple(face.picture for face in labels)

    def __len__(self) -> int:
        return len(self.labels)

    @overload
    def __getitem__(self, index: int) -> Sample: ...

    @overload
    def __getitem__(self, index: slice) -> Sequence[Sample]: ...

    def __getitem__(self, index):
        if isinstance(index, slice):
            return CofwFaces(self.labels[index], self.numbers[index], self.file)
        return replace(self.labels[index], image=self.file.picture(self.numbers[index]))


def read_cofw(
    file: Path, markup: Markup | None = FACE29, *, problems: list[str] | None = None
) -> CofwFaces:
    """Return the faces of `COFW_train.mat` or `COFW_test.mat`, with the pictures inside it.

    A face's row has 29 times x, 29 times y and 29 flags, 1 for a landmark that is hidden: its
    position is labelled all the same (valid, not visible).

    Convention: written by MATLAB, so counted from 1: 1 is subtracted. Boxes are `x, y, width,
    height` in the same frame.

    The file is of MATLAB's version 7.3 or 5, grey or in colour. Pictures are read when a face is
    asked for. Messages name file and face, counted from 1.
    """
    source = CofwFile(file)

    def read(index: int) -> Sample:
        row = source.phis[index]
        if len(row) % 3:
            raise ValueError(f"a row must have x, y and a flag for each landmark, got {len(row)}")
        x, y, hidden = row.reshape(3, -1)
        x0, y0, width, height = source.boxes[index] - (1.0, 1.0, 0.0, 0.0)
        name = f"{file.stem}/{index + 1:04d}"
        return labelled(
            name,
            _NO_PICTURE,
            np.stack((x, y), axis=1) - 1.0,
            visible=hidden == 0,
            bbox=(x0, y0, x0 + width, y0 + height),
            picture=name,
        )

    entries = ((f"{file}: face {index + 1}", index) for index in range(source.count))
    labels = read_entries(file, entries, read, markup=markup, problems=problems)
    return CofwFaces(labels, _indices(labels), source)


def read_cofw68(
    folder: Path,
    markup: Markup | None = FACE68,
    *,
    pictures: Path | None = None,
    problems: list[str] | None = None,
) -> Sequence[Sample]:
    """Return the faces of COFW's test set with the 68 landmarks of COFW68.

    `N_points.mat` has the `Points` and the flags `Occ`, 1 for a landmark that is hidden (valid, not
    visible), of the test set's picture `N`, counted from 1.

    Convention: written by MATLAB, so counted from 1: 1 is subtracted. The box is the tight box.

    `pictures` is `COFW_test.mat` or `COFW_test_color.mat`, or a folder with `N.jpg` or `N.png`, by
    default that of the labels.
    """
    if not folder.is_dir():
        raise FileNotFoundError(f"{folder}: no such folder")
    source = CofwFile(pictures) if pictures is not None and pictures.is_file() else None
    images = folder if pictures is None else pictures
    if source is None and not images.is_dir():
        raise FileNotFoundError(f"{images}: no such file or folder")

    def read(entry: tuple[int, Path]) -> Sample:
        number, file = entry
        content = read_mat(file)
        points = mat_matrix(content, file, "Points").astype(np.float64)
        hidden = mat_matrix(content, file, "Occ").ravel()
        if points.ndim != 2 or points.shape[1] != 2 or len(hidden) != len(points):
            raise ValueError(f"Points are {points.shape}, with {len(hidden)} flags in Occ")
        if source is not None and number > source.count:
            raise ValueError(f"{source.path} has {source.count} pictures")
        name = f"{folder.resolve().name}/{number:04d}"
        image = _NO_PICTURE if source is not None else _numbered(images, number)
        return labelled(name, image, points - 1.0, visible=hidden == 0, picture=name)

    entries = ((str(file), (number, file)) for number, file in _files(folder))
    labels = read_entries(folder, entries, read, markup=markup, problems=problems)
    if source is None:
        return labels
    return CofwFaces(labels, _indices(labels), source)


_NO_PICTURE = np.zeros((1, 1, 3), np.uint8)


def _indices(labels: Sequence[Sample]) -> list[int]:
    """Return which picture of the file is each face's: its id ends in that, counted from 1."""
    return [int(face.id.rpartition("/")[2]) - 1 for face in labels]


def _files(folder: Path) -> Iterator[tuple[int, Path]]:
    """Yield the files of points by their number."""
    numbered = ((_POINTS.fullmatch(path.stem), path) for path in folder.glob("*.mat"))
    yield from sorted((int(match[1]), path) for match, path in numbered if match)


def _numbered(folder: Path, number: int) -> Path:
    """Return the picture of a number, `N.jpg` if there is none."""
    candidates = [folder / f"{number}{suffix}" for suffix in PICTURE_SUFFIXES]
    return next((path for path in candidates if path.is_file()), candidates[0])


COFW = Format("cofw", "FILE.mat", read_cofw, markup=FACE29)
COFW68 = Format("cofw68", "FOLDER@FILE.mat", read_cofw68, pictures=True, markup=FACE68)
