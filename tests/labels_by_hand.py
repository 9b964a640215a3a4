"""Pictures and points for hand-made files of labels."""

from pathlib import Path

import cv2
import numpy as np


def picture(path: Path, *, shape: tuple[int, int] = (24, 31)) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), np.full((*shape, 3), 90, np.uint8))
    return path


def shape(count: int, seed: int = 0) -> np.ndarray:
    """Return points in a region that is not square and off-centre, with quarters of pixels."""
    rng = np.random.default_rng(seed)
    return np.round(rng.uniform((3, 40), (60, 55), (count, 2)) * 4) / 4
