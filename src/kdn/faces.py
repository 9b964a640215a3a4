"""A found face: landmarks with their densities, in image pixels."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64

from kdn.density import MappedDensity
from kdn.markup import Markup

__all__ = ["Face", "face_score"]

Box = tuple[float, float, float, float]

_NEAR = 0.05
"""Distance, as a share of the box, within which a landmark counts as found."""


@dataclass(frozen=True)
class Face:
    """One face of a picture.

    Convention: all coordinates are image pixels `(x, y)` with integer pixel centres; boxes are
    `(x0, y0, x1, y1)`.

    Args:
        bbox: What the crop followed from: the box about the landmarks, or what stood in for it.
        landmarks: `(L, 2)`, the points of the model's decoder.
        covariances: `(L, 2, 2)`, px².
        uncertainty: `(L,)`, the lengths `|Cov|^¼`, px.
        score: Between 0 and 1, see `face_score`: low where this is no face, or an unclear one.
        markup: What the landmarks are.
        density: Of every landmark, batch shape `(L,)`.
        detection: The detector's own score; NaN where the box was given.
    """

    bbox: Box
    landmarks: Float64[np.ndarray, "L 2"]
    covariances: Float64[np.ndarray, "L 2 2"]
    uncertainty: Float64[np.ndarray, " L"]
    score: float
    markup: Markup
    density: MappedDensity
    detection: float = math.nan

    @property
    def landmark_box(self) -> Box:
        """The smallest box around the landmarks."""
        (x0, y0), (x1, y1) = self.landmarks.min(axis=0), self.landmarks.max(axis=0)
        return float(x0), float(y0), float(x1), float(y1)


def face_score(uncertainty: Float64[np.ndarray, " L"], bbox: Box) -> float:
    """Return how likely a landmark is to lie within 5 % of the box of where it is said to be.

    The mean over landmarks of `1 − exp(−r²/2u²)`, the mass within `r = 0.05·√(w·h)` of a round
    Gaussian with the landmark's uncertainty `u`.

    Args:
        uncertainty: `|Cov|^¼` of each landmark, image px.
        bbox: Image px.

    Example:
        >>> round(face_score(np.array([1.0, 4.0]), (10.0, 20.0, 50.0, 60.0)), 3)
        0.491
    """
    x0, y0, x1, y1 = bbox
    radius = _NEAR * math.sqrt(max((x1 - x0) * (y1 - y0), 0.0))
    squares = np.square(radius / np.maximum(uncertainty, 1e-9))  # a point has no uncertainty
    return float(np.mean(-np.expm1(-0.5 * squares)))
