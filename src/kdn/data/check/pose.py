"""How a face is turned, as far as its landmarks in the picture say."""

from __future__ import annotations

import math

import numpy as np
from jaxtyping import Float64

from kdn.data import Sample
from kdn.data.markup import Markup

__all__ = ["pose_of", "roll_and_yaw"]


def roll_and_yaw(
    right_eye: Float64[np.ndarray, "2"],
    left_eye: Float64[np.ndarray, "2"],
    nose: Float64[np.ndarray, "2"],
) -> tuple[float, float]:
    """Return the roll in degrees and a stand-in for the yaw.

    With `v` from the person's right eye to the left one, the roll is `atan2(v_y, v_x)`: positive
    where the face is turned clockwise in the picture. The stand-in is
    `(nose − middle of the eyes) · v / |v|²`: 0 for a face seen from the front, ±½ where the tip of
    the nose stands under an eye, positive where the face looks to the right of the picture. It
    is not an angle.

    Args:
        right_eye: Centre of the person's right eye, image pixels.
        left_eye: Of the left one.
        nose: Tip of the nose.

    Returns:
        Both; NaN where the eyes are one point or something is not known.

    Example:
        >>> eyes = np.array([10.0, 20.0]), np.array([30.0, 20.0])
        >>> roll_and_yaw(*eyes, np.array([25.0, 32.0]))
        (0.0, 0.25)
    """
    along = left_eye - right_eye
    square = float(along @ along)
    if not square > 0:
        return math.nan, math.nan
    middle = 0.5 * (left_eye + right_eye)
    roll = math.degrees(math.atan2(float(along[1]), float(along[0])))
    return roll, float((nose - middle) @ along) / square


def pose_of(sample: Sample, markup: Markup) -> tuple[float, float]:
    """Return `roll_and_yaw` of a face: eyes are the centroids of `markup.eyes`.

    NaN where the mark-up has no eyes or no landmark `nose tip`, or they have no position.
    """
    if markup.eyes is None:
        return math.nan, math.nan
    right, left = (sample.landmarks[list(eye)].mean(axis=0) for eye in markup.eyes)
    missing = np.full(2, np.nan)
    tip = markup.names.index("nose tip") if "nose tip" in markup.names else None
    return roll_and_yaw(right, left, missing if tip is None else sample.landmarks[tip])
