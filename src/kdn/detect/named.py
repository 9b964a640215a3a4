"""Detectors by the names that the command line gives them."""

from __future__ import annotations

import numpy as np
from jaxtyping import UInt8

from kdn.detect.detection import Detection, Detector
from kdn.detect.haar import HAAR_BOX, HaarDetector
from kdn.detect.yunet import YuNetDetector

__all__ = ["WholePicture", "detector_named"]


class WholePicture:
    """Says that every picture is one face, for pictures that a detector has cut out already.

    The largest square in the middle of the picture is taken for the box of a frontal-face detector
    (from above the brows to below the mouth) and becomes a tight box as Haar's boxes do. The score
    is 1, as nothing was looked for.
    """

    def __call__(self, image: UInt8[np.ndarray, "height width 3"]) -> list[Detection]:
        """Return the one face, image pixels."""
        height, width = image.shape[:2]
        x, y, half = 0.5 * (width - 1), 0.5 * (height - 1), 0.5 * min(height, width)
        return [Detection(HAAR_BOX.of((x - half, y - half, x + half, y + half)), 1.0)]


def detector_named(name: str) -> Detector:
    """Return a detector: `haar`, `yunet:FILE` with YuNet's ONNX file, or `none`.

    `none` finds no faces but takes the whole picture for one (`WholePicture`).

    Raises:
        ValueError: If there is no detector of that name, or if the file is not YuNet's.
        FileNotFoundError: If there is no such file.
    """
    kind, _, file = name.partition(":")
    if name == "haar":
        return HaarDetector()
    if name == "none":
        return WholePicture()
    if kind == "yunet" and file:
        return YuNetDetector(file)
    raise ValueError(f"detector must be `haar`, `yunet:FILE` or `none`, got {name!r}")
