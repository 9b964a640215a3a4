"""Where in pictures a landmarker looks: boxes that are given, found, or of whole pictures."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np

from kdn.predict.detect import Detector, detector_for, whole_picture
from kdn.predict.face import Box
from kdn.recipe import CropRule

__all__ = ["Place", "places_of"]


@dataclass(frozen=True)
class Place:
    """An object whose landmarks are to be found.

    Args:
        image: Index of the picture.
        bbox: Image pixels.
        detection: What the detector said; NaN where the box was given.
    """

    image: int
    bbox: Box
    detection: float


def places_of(
    pictures: Sequence[np.ndarray],
    boxes: Sequence[Sequence[Sequence[float]] | None],
    detector: str | Detector,
    crop: CropRule,
) -> list[Place]:
    """Return what is looked at in each picture, in the order of boxes or detections.

    Args:
        pictures: RGB.
        boxes: Of each picture; None to ask the detector, and for whole pictures.
        detector: A name for `kdn.predict.detect.detector_for`, or a function; not asked for whole
            pictures.
        crop: What the model's crops show.

    Raises:
        ValueError: If there are boxes for whole pictures, one has not four sides, or there is no
            such detector.
    """
    if crop == "picture" and any(given is not None for given in boxes):
        raise ValueError("boxes must be None for a model of whole pictures (data.crop: picture)")

    @cache  # a detector takes milliseconds to build, and is asked only where no boxes are given
    def find() -> Detector:
        if crop == "picture":
            return whole_picture
        return detector_for(detector, crop) if isinstance(detector, str) else detector

    result = []
    for index, (picture, known) in enumerate(zip(pictures, boxes, strict=True)):
        if known is not None:
            result += [Place(index, _box(box), math.nan) for box in known]
        else:
            result += [Place(index, face.bbox, face.score) for face in find()(picture)]
    return result


def _box(box: Sequence[float]) -> Box:
    """Return a box as plain numbers."""
    if len(box) != 4:
        raise ValueError(f"boxes must be (x0, y0, x1, y1), got {tuple(box)}")
    x0, y0, x1, y1 = (float(value) for value in box)
    return x0, y0, x1, y1
