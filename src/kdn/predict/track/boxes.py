"""Boxes from frame to frame: how far they overlap, and which of them are the same face."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float64

from kdn.data.sample import Box, iou

__all__ = ["box_about", "inside", "matched", "moved"]


def matched(first: Sequence[Box], second: Sequence[Box], *, least: float) -> dict[int, int]:
    """Return which boxes of two lists are one, as indices into the second by those of the first.

    The pair that overlaps most comes first, then the next whose boxes are both free: what an
    optimal assignment gives unless faces overlap each other.

    Args:
        first: Boxes.
        second: Boxes in the same frame.
        least: Pairs below this `iou` are none.
    """
    pairs = [
        (iou(a, b), i, j)
        for i, a in enumerate(first)
        for j, b in enumerate(second)
        if iou(a, b) >= least
    ]
    pairing: dict[int, int] = {}
    for _, i, j in sorted(pairs, key=lambda pair: (-pair[0], pair[1:])):
        if i not in pairing and j not in pairing.values():
            pairing[i] = j
    return pairing


def box_about(landmarks: Float64[np.ndarray, "landmarks 2"]) -> Box:
    """Return the tight box of landmarks, in their frame."""
    (x0, y0), (x1, y1) = landmarks.min(axis=0).tolist(), landmarks.max(axis=0).tolist()
    return x0, y0, x1, y1


def moved(box: Box, by: Float64[np.ndarray, " 2"]) -> Box:
    """Return a box moved by `(x, y)`."""
    x, y = by.tolist()
    return box[0] + x, box[1] + y, box[2] + x, box[3] + y


def inside(box: Box, *, height: int, width: int) -> float:
    """Return which share of a box, image pixels, lies in a picture; 0 if the box has no area."""
    if not (np.isfinite(box).all() and box[2] > box[0] and box[3] > box[1]):
        return 0.0
    # Pixels have their centres at whole numbers, so the picture ends half a pixel beyond the last.
    across = min(box[2], width - 0.5) - max(box[0], -0.5)
    down = min(box[3], height - 0.5) - max(box[1], -0.5)
    area = (box[2] - box[0]) * (box[3] - box[1])
    return max(across, 0.0) * max(down, 0.0) / area
