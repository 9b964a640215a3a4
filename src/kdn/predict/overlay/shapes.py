"""The shapes that stand for a face: ellipses, sizes, and which landmarks are unsure."""

from __future__ import annotations

import math

import numpy as np
from jaxtyping import Bool, Float64

from kdn.data.numbers import length_of
from kdn.predict.results import Face

__all__ = ["ellipse", "ellipse_radius", "face_size", "own_levels", "unsure"]


def ellipse_radius(level: float) -> float:
    """Return the radius, in standard deviations, of what holds `level` of a Gaussian in the plane.

    `r = √(−2 ln(1 − level))`, from the chi-squared distribution of two degrees of freedom.

    Raises:
        ValueError: If the level is not above 0 and below 1.

    Example:
        >>> round(ellipse_radius(0.9), 4)
        2.146
    """
    if not 0.0 < level < 1.0:
        raise ValueError(f"level must be above 0 and below 1, got {level}")
    return math.sqrt(-2.0 * math.log1p(-level))


def own_levels(face: Face, level: float) -> Float64[np.ndarray, " L"]:
    """Return the level that each landmark's ellipse is drawn for: the face's own for that.

    At most 0.9999, which is 4.3 standard deviations: an ellipse can be drawn for no more than that.
    """
    return np.clip(face.own_level(level), 1e-4, 0.9999)


def ellipse(
    centre: Float64[np.ndarray, "2"],
    covariance: Float64[np.ndarray, "2 2"],
    level: float,
    *,
    points: int = 64,
) -> Float64[np.ndarray, "points 2"] | None:
    """Return points on the ellipse that holds `level` of a Gaussian, in its frame.

    Args:
        centre: Mean.
        covariance: Covariance.
        level: Share of the mass inside.
        points: How many.

    Returns:
        The points; None if the covariance is not finite or not positive.
    """
    if not np.isfinite(covariance).all():
        return None
    values, vectors = np.linalg.eigh(covariance)
    if values[0] <= 0.0:
        return None
    angles = np.linspace(0.0, 2.0 * np.pi, points, endpoint=False)
    circle = ellipse_radius(level) * np.stack((np.cos(angles), np.sin(angles)), axis=-1)
    return centre + (circle * np.sqrt(values)) @ vectors.T


def face_size(face: Face) -> float:
    """Return `√(w·h)` of the tight box of a face's landmarks, px; 0 if none is finite."""
    points = face.landmarks[np.isfinite(face.landmarks).all(axis=1)]
    if not len(points):
        return 0.0
    return math.sqrt(float(np.prod(points.max(axis=0) - points.min(axis=0))))


def unsure(face: Face, threshold: float | str | None) -> Bool[np.ndarray, " L"]:
    """Return which landmarks are less sure than a threshold; all of them without one.

    Args:
        face: In image pixels.
        threshold: A length in image pixels; or text: one, or `3%` for so much of `√(w·h)` of the
            tight box of the landmarks. An uncertainty that is not finite is above any.

    Raises:
        ValueError: If it is neither, or not positive.
    """
    if threshold is None:
        return np.ones(len(face.landmarks), bool)
    return ~(face.uncertainty <= length_of(threshold, face_size(face), name="uncertain"))
