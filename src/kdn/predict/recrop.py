"""Whether a face is to be cropped again, by the box of the landmarks that were found."""

from __future__ import annotations

import math

import numpy as np

from kdn.data.framing import square_of_box
from kdn.predict.face import Face

__all__ = ["can_follow", "poor_crop"]

_OFF_CENTRE = 0.05
_OFF_SIZE = 0.08
"""How far the box of the landmarks may be from the one that was cropped by, as a share of its size
(on each axis) and of its logarithm, before the face is cropped again."""

_EDGE = 0.02
"""A landmark within this share of the crop's side from its edge may lie beyond it."""

_LIKELY = 4.0
"""How many times smaller or larger than its box a face may turn out; beyond, the landmarks are
wrong rather than the box, and no crop follows from them."""


def poor_crop(face: Face, context: float) -> bool:
    """Return whether a face was not cropped by the box of its landmarks, or is cut off.

    Args:
        face: Cropped by its `bbox`.
        context: The recipe's `data.context`.
    """
    old, new = np.array(face.bbox).reshape(2, 2), np.array(face.landmark_box).reshape(2, 2)
    sides = [float(side) for side in new[1] - new[0]]
    size = math.sqrt(sides[0] * sides[1])
    was = (old[1] - old[0]).sum()
    shift = np.abs(new.mean(axis=0) - old.mean(axis=0)).max() / size
    if bool(shift > _OFF_CENTRE) or abs(math.log(sum(sides) / was)) > _OFF_SIZE:
        return True
    (x, y), side = square_of_box(face.bbox, context)
    outermost = float(np.abs(new - (x, y)).max())
    return outermost > (0.5 - _EDGE) * side and not np.allclose(old, new, atol=0.005 * size)


def can_follow(face: Face) -> bool:
    """Return whether a crop can follow from the landmarks: they are no point, line or cloud."""
    old, new = np.array(face.bbox).reshape(2, 2), np.array(face.landmark_box).reshape(2, 2)
    factors = (new[1] - new[0]) / (old[1] - old[0])
    return bool((factors > 1 / _LIKELY).all() and (factors < _LIKELY).all())
