"""Labels as a folder of pictures with `.pts` files, that a folder as a source reads."""

from __future__ import annotations

import os
import shutil
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from kdn.data import Sample
from kdn.data.convert.pictures import write_png
from kdn.data.formats.pts import PICTURE_SUFFIXES, pts_text
from kdn.data.paths import replacing

__all__ = ["PtsFolder"]


class PtsFolder:
    """A picture and a `.pts` file of six digits behind the point for each face.

    Both are named like the picture where it has one face in all. Where any picture has several,
    all are named by two numbers, that of the picture and that of the face in it, by which a folder
    as a source knows the faces of one picture.

    Args:
        folder: Where they go.
        names: The picture of each face that there will be.
        pictures: `copy`, `link` or `none`.
        signs: Write MERL-RAV's convention of signs, which says what is hidden and what has no
            position.
    """

    def __init__(self, folder: Path, names: Sequence[str], *, pictures: str, signs: bool) -> None:
        self.folder, self.how, self.signs = folder, pictures, signs
        self._several = max(Counter(names).values()) > 1
        self._numbers = {name: index for index, name in enumerate(dict.fromkeys(names))}
        self._faces: Counter[str] = Counter()
        self._given: set[str] = set()
        self._lost: set[str] = set()

    def add(self, sample: Sample) -> None:
        """Write a face.

        Raises:
            ValueError: If the convention cannot say where a landmark is, or that it has no place.
            OSError: If the picture is not there.
        """
        numbers = self._written(sample)
        stem = self._stem(sample)
        if self.how != "none":
            self._picture(sample, stem)
        with replacing(self.folder / f"{stem}.pts") as temporary:
            temporary.write_text(pts_text(numbers - 1.0, digits=6), encoding="ascii")
        self._lost.add("boxes")
        if not self.signs and not sample.visible.all():
            self._lost.add("what is hidden")
        if sample.attributes:
            self._lost.add("attributes")

    def finish(self) -> list[str]:
        """Return what was lost."""
        return [f".pts files have no place for {what}" for what in sorted(self._lost)]

    def _written(self, sample: Sample) -> np.ndarray:
        """Return the numbers of a file, counted from 1."""
        numbers = sample.landmarks + 1.0
        if not self.signs:
            if not sample.valid.all():
                missing = int((~sample.valid).sum())
                raise ValueError(
                    f"{sample.id}: {missing} landmarks have no position, for which a .pts file "
                    "has no word; merl_rav:FOLDER has one"
                )
            return numbers
        if (numbers[sample.valid, 1] <= 0).any():
            raise ValueError(f"{sample.id}: a landmark above the picture would read as hidden")
        hidden = sample.valid & ~sample.visible
        if (numbers[hidden] == 1).all(axis=1).any():
            raise ValueError(f"{sample.id}: a hidden landmark at the first pixel reads as missing")
        signed = np.where(hidden[:, None], -numbers, numbers)
        return np.where(sample.valid[:, None], signed, -1.0)

    def _stem(self, sample: Sample) -> str:
        """Return a name that was not given before."""
        picture = sample.picture or sample.id
        if self._several:
            face = self._faces[picture]
            self._faces[picture] += 1
            return f"{self._numbers[picture]:06d}_{face}"
        name = sample.id.rpartition("/")[2]
        if isinstance(sample.image, Path):
            name = sample.image.stem
        tries = (name if n == 1 else f"{name}-{n}" for n in range(1, len(self._given) + 2))
        stem = next(new for new in tries if new.casefold() not in self._given)
        self._given.add(stem.casefold())
        return stem

    def _picture(self, sample: Sample, stem: str) -> None:
        """Put the picture there."""
        if isinstance(sample.image, np.ndarray):
            write_png(self.folder / f"{stem}.png", sample.image)
            return
        source = Path(sample.image)
        if source.suffix.lower() not in PICTURE_SUFFIXES:
            write_png(self.folder / f"{stem}.png", sample.read())
            return
        if not source.is_file():
            raise FileNotFoundError(f"{sample.id}: no picture {source}")
        self.folder.mkdir(parents=True, exist_ok=True)
        target = self.folder / f"{stem}{source.suffix.lower()}"
        if self.how == "link":
            os.symlink(source.absolute(), target)
        else:
            shutil.copyfile(source, target)
