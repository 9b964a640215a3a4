"""What detectors of faces have in common: their answer, and the sizes they look at."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np
from jaxtyping import UInt8

from kdn.data.sample import Box, iou

__all__ = ["Detection", "Detector", "TightBox", "largest_first", "without_overlaps", "working_copy"]


@dataclass(frozen=True)
class Detection:
    """A face that was found.

    Convention: image pixels with integer pixel centres.

    Args:
        bbox: `(x0, y0, x1, y1)`: where the *tight box* of the landmarks is expected, from the brows
            to the chin and from one edge of the face to the other, which is the box that
            `kdn.data.Framing` asks for. It may reach beyond the picture.
        score: How sure the detector is, from 0 to 1; not comparable between detectors.

    Raises:
        ValueError: If the box is not finite or has no area, or if the score is not in [0, 1].
    """

    bbox: Box
    score: float

    def __post_init__(self) -> None:
        x0, y0, x1, y1 = self.bbox
        if not (all(math.isfinite(value) for value in self.bbox) and x0 < x1 and y0 < y1):
            raise ValueError(f"bbox must be finite with x0 < x1 and y0 < y1, got {self.bbox}")
        if not 0.0 <= self.score <= 1.0:
            raise ValueError(f"score must lie in [0, 1], got {self.score}")


Detector = Callable[[UInt8[np.ndarray, "height width 3"]], list[Detection]]
"""Any function of an RGB picture that returns the faces in it; none found is an empty list."""


@dataclass(frozen=True)
class TightBox:
    """A detector's constant: from its own boxes of a face to the tight box of the landmarks.

    Args:
        down: How far the tight box's centre lies below that of the detector's box, as a share of
            the latter's height.
        width: Width of the tight box as a share of the detector's width.
        height: Height of the tight box as a share of the detector's height.
    """

    down: float
    width: float
    height: float

    def of(self, raw: Box) -> Box:
        """Return the tight box for a detector's own box, in the same frame."""
        x0, y0, x1, y1 = raw
        x, y = 0.5 * (x0 + x1), 0.5 * (y0 + y1) + self.down * (y1 - y0)
        half_width, half_height = 0.5 * self.width * (x1 - x0), 0.5 * self.height * (y1 - y0)
        return x - half_width, y - half_height, x + half_width, y + half_height


def working_copy(
    image: UInt8[np.ndarray, "height width 3"], longest: int
) -> tuple[np.ndarray, float, float]:
    """Return a picture no longer than `longest` pixels, and its pixels per image pixel in x and y.

    A position `p` of the copy is `(p + ½)/scale − ½` in image pixels. Pictures that are small
    enough are returned themselves.
    """
    height, width = image.shape[:2]
    shrink = longest / max(height, width)
    if shrink >= 1.0:
        return image, 1.0, 1.0
    columns, rows = max(1, round(shrink * width)), max(1, round(shrink * height))
    copy = cv2.resize(image, (columns, rows), interpolation=cv2.INTER_AREA)
    return copy, columns / width, rows / height


def without_overlaps(detections: list[Detection], most: float) -> list[Detection]:
    """Return the detections that overlap no better one.

    Args:
        detections: Detections of one picture.
        most: Largest share that two faces may have in common: intersection over union.
    """
    kept: list[Detection] = []
    for one in sorted(detections, key=lambda detection: (-detection.score, detection.bbox)):
        if all(iou(one.bbox, other.bbox) <= most for other in kept):
            kept.append(one)
    return kept


def largest_first(detections: list[Detection]) -> list[Detection]:
    """Return detections by the area of their boxes, the largest first, then from left to right."""
    return sorted(detections, key=lambda detection: (-_area(detection.bbox), detection.bbox))


def _area(box: Box) -> float:
    """Return the area of a box, 0 if it is turned inside out."""
    return max(0.0, box[2] - box[0]) * max(0.0, box[3] - box[1])
