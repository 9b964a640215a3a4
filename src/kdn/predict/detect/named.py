"""Detectors by the names that the command line gives them."""

from __future__ import annotations

import numpy as np
from jaxtyping import UInt8

from kdn.grid import whole_box
from kdn.predict.detect.detection import Detection, Detector
from kdn.predict.detect.detectors import HAAR_BOX, HaarDetector, YuNetDetector
from kdn.recipe import CropRule

__all__ = ["WholePicture", "detector_for", "detector_named", "whole_picture"]


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


def whole_picture(image: UInt8[np.ndarray, "height width 3"]) -> list[Detection]:
    """Return a picture as one object, whatever it shows: its box from edge to edge, with score 1.

    Convention: image pixels, so that the box is `(−½, −½, width − ½, height − ½)`.

    Example:
        >>> whole_picture(np.zeros((180, 300, 3), np.uint8))[0].bbox
        (-0.5, -0.5, 299.5, 179.5)
    """
    return [Detection(whole_box(image.shape[:2]), 1.0)]


def detector_for(name: str, crop: CropRule) -> Detector:
    """Return the detector of a name for a model whose crops show so much.

    Whole pictures are never looked for: that of `picture` is `whole_picture` whatever the name is.

    Args:
        name: As for `detector_named`, or `auto`, which is `haar` for crops of faces; for crops of
            boxes it raises a `ValueError` for each picture, which should have come with boxes.
            `none` is `whole_picture` for crops of boxes.
        crop: The recipe's `data.crop`.

    Raises:
        ValueError: If there is no such detector.
        FileNotFoundError: If its file is not there.
    """
    if crop == "picture":
        return whole_picture
    if crop == "box" and name == "none":
        return whole_picture
    if crop == "box" and name == "auto":
        return _no_boxes
    return detector_named("haar" if name == "auto" else name)


def _no_boxes(image: UInt8[np.ndarray, "height width 3"]) -> list[Detection]:
    """Say what is missing for a picture."""
    raise ValueError(
        "boxes must be given for this model (data.crop: box), or detector must say who finds "
        "them: a function, or none where each picture shows one object alone"
    )


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
