"""Where the pictures of a written file lie."""

from __future__ import annotations

import os
from pathlib import Path

import cv2
import numpy as np
from jaxtyping import UInt8

from kdn.data import Sample
from kdn.data.paths import replacing

__all__ = ["Pictures", "write_png"]


class Pictures:
    """Names pictures from a folder; what lies in no file is written as PNG.

    Args:
        base: Folder that names are relative to.
        own: Folder for pictures that lie in no file.
    """

    def __init__(self, base: Path, own: Path) -> None:
        self.base, self.own = base, own
        self._written = 0

    def name(self, sample: Sample) -> str:
        """Return how a file in the folder names the picture of a face."""
        if isinstance(sample.image, np.ndarray):
            path = self.own / f"{self._written:06d}.png"
            self._written += 1
            write_png(path, sample.image)
        else:
            path = Path(sample.image)
        try:
            return Path(os.path.relpath(path.absolute(), self.base.absolute())).as_posix()
        except ValueError:  # on another drive
            return path.absolute().as_posix()


def write_png(path: Path, rgb: UInt8[np.ndarray, "height width 3"]) -> None:
    """Write a picture as PNG, which loses nothing; the folder is made if there is none."""
    done, data = cv2.imencode(".png", rgb[..., ::-1])
    if not done:
        raise ValueError(f"{path}: the picture cannot be encoded as PNG")
    with replacing(path) as temporary:
        temporary.write_bytes(data.tobytes())
