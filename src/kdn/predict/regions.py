"""Where in pictures a predictor looks, and whether it looks again."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np

from kdn.data.framing import square_of_box
from kdn.data.sample import Box
from kdn.predict.detect import Detector, detector_for, whole_picture
from kdn.recipe import CropRule

__all__ = ["Region", "can_follow", "poor_crop", "regions_of"]

_OFF_CENTRE = 0.05
_OFF_SIZE = 0.08
"""How far the box of the landmarks may be from the one that was cropped by, as a share of its size
(on each axis) and of its logarithm, before the face is cropped again."""

_EDGE = 0.02
"""A landmark within this share of the crop's side from its edge may lie beyond it."""

_LIKELY = 4.0
"""How many times smaller or larger than its box a face may turn out; beyond, the landmarks are
wrong rather than the box, and no crop follows from them."""


@dataclass(frozen=True)
class Region:
    """A region of interest.

    Args:
        image: Index of the picture.
        bbox: Image pixels.
        detection: The detector's score; NaN where the box was given.
    """

    image: int
    bbox: Box
    detection: float


def regions_of(
    pictures: Sequence[np.ndarray],
    boxes: Sequence[Sequence[Sequence[float]] | None],
    detector: str | Detector,
    crop: CropRule,
) -> list[Region]:
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
    if crop == "picture" and any(known is not None for known in boxes):
        raise ValueError("boxes must be None for a model of whole pictures (data.crop: picture)")

    @cache  # a detector takes milliseconds to build, and is asked only where no boxes are given
    def find() -> Detector:
        if crop == "picture":
            return whole_picture
        return detector_for(detector, crop) if isinstance(detector, str) else detector

    result = []
    for index, (picture, known) in enumerate(zip(pictures, boxes, strict=True)):
        if known is not None:
            result += [Region(index, _box(box), math.nan) for box in known]
        else:
            result += [Region(index, face.bbox, face.score) for face in find()(picture)]
    return result


def _box(box: Sequence[float]) -> Box:
    """Return a box as plain numbers."""
    if len(box) != 4:
        raise ValueError(f"boxes must be (x0, y0, x1, y1), got {tuple(box)}")
    x0, y0, x1, y1 = (float(value) for value in box)
    return x0, y0, x1, y1


def poor_crop(bbox: Box, landmark_box: Box, context: float) -> bool:
    """Return whether a face was not cropped by the box of its landmarks, or is cut off.

    Args:
        bbox: What it was cropped by.
        landmark_box: Of its landmarks.
        context: The recipe's `data.context`.
    """
    old, new = np.array(bbox).reshape(2, 2), np.array(landmark_box).reshape(2, 2)
    sides = [float(side) for side in new[1] - new[0]]
    size = math.sqrt(sides[0] * sides[1])
    shift = np.abs(new.mean(axis=0) - old.mean(axis=0)).max() / size
    growth = abs(math.log(sum(sides) / (old[1] - old[0]).sum()))
    if bool(shift > _OFF_CENTRE) or growth > _OFF_SIZE:
        return True
    (x, y), side = square_of_box(bbox, context)
    outermost = float(np.abs(new - (x, y)).max())
    return outermost > (0.5 - _EDGE) * side and not np.allclose(old, new, atol=0.005 * size)


def can_follow(bbox: Box, landmark_box: Box) -> bool:
    """Return whether a crop can follow from the landmarks: they are no point, line or cloud."""
    old, new = np.array(bbox).reshape(2, 2), np.array(landmark_box).reshape(2, 2)
    factors = (new[1] - new[0]) / (old[1] - old[0])
    return bool((factors > 1 / _LIKELY).all() and (factors < _LIKELY).all())
