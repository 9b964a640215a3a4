"""A found face: landmarks with their densities, in image pixels."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from jaxtyping import Bool, Float64
from numpy.typing import ArrayLike

from kdn.data.markup import Markup
from kdn.data.numbers import length_of
from kdn.data.sample import Box
from kdn.density import Density
from kdn.models.recalibration import Recalibration

__all__ = ["Abstention", "Face", "face_score"]


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
        recalibration: Of the model; the density is adjusted already.
        abstention: Which landmarks are reported as unknown, and why; None where none is.
    """

    bbox: Box
    landmarks: Float64[np.ndarray, "L 2"]
    covariances: Float64[np.ndarray, "L 2 2"]
    uncertainty: Float64[np.ndarray, " L"]
    score: float
    markup: Markup
    density: Density
    detection: float = math.nan
    abstention: Abstention | None = None
    recalibration: Recalibration = field(default_factory=Recalibration)

    def hdr_level(self, points: ArrayLike) -> Float64[np.ndarray, " L"]:
        """Return the least nominal level whose region holds a point, for each landmark.

        A 90 % region, say, is all points with a level of at most 0.9. Where the model is
        recalibrated it holds the true landmark in at least 90 % of faces like those of the
        calibration.

        Args:
            points: `(L, 2)`, one per landmark, or `(2,)`, one for all, image px.

        Raises:
            ValueError: If they have another shape.
        """
        array = np.asarray(points, np.float64)
        if array.shape not in ((2,), self.landmarks.shape):
            raise ValueError(
                f"points must be (2,) or {self.landmarks.shape}, got shape {array.shape}"
            )
        array = np.broadcast_to(array, self.landmarks.shape).copy()
        given = torch.from_numpy(array).to(self.density.mean)
        return self.recalibration.hdr_level(self.density, given).double().cpu().numpy()

    def own_level(self, nominal: float) -> Float64[np.ndarray, " L"]:
        """Return the level of each landmark's own density whose region is that of a nominal level.

        What `density.hdr_level` is compared with, and what ellipses are drawn for; the nominal
        level itself where the model is not recalibrated.
        """
        return self.recalibration.own_level(nominal, len(self.landmarks))

    @property
    def landmark_box(self) -> Box:
        """The smallest box around the landmarks."""
        (x0, y0), (x1, y1) = self.landmarks.min(axis=0), self.landmarks.max(axis=0)
        return float(x0), float(y0), float(x1), float(y1)

    def error_probability(self, tau: float | str) -> Float64[np.ndarray, " L"]:
        """Return the probability that each landmark is farther than `tau` from where it is said.

        `P(|Y − landmark| > tau)`, `Y ~ density`, by `Density.mass_within`. Its mean over the
        landmarks is the share of them that is expected to be off by more.

        Args:
            tau: Image px, or text like `5%` for so much of `√(w·h)` of `landmark_box`.

        Returns:
            In [0, 1]; NaN for a landmark that is not finite.

        Raises:
            ValueError: If `tau` is neither, or not above 0.
        """
        (x0, y0), (x1, y1) = np.array(self.landmark_box).reshape(2, 2)
        radius = length_of(tau, math.sqrt(max((x1 - x0) * (y1 - y0), 0.0)), name="tau")
        centres = torch.from_numpy(self.landmarks).to(self.density.mean.device)
        mass = self.density.mass_within(centres, radius)
        return 1.0 - mass.double().cpu().numpy()

    def abstaining(self, limit: float, tau: float | str) -> Face:
        """Return this face with the landmarks given up whose error probability exceeds a limit.

        Args:
            limit: In [0, 1].
            tau: As for `error_probability`.

        Raises:
            ValueError: If `limit` is no probability, or `tau` no length.
        """
        if not 0.0 <= limit <= 1.0:
            raise ValueError(f"abstain must be a probability, 0 to 1, got {limit}")
        probability = self.error_probability(tau)
        known = probability <= limit  # NaN is not known
        return replace(self, abstention=Abstention(tau, limit, probability, known))


@dataclass(frozen=True)
class Abstention:
    """Which landmarks of a face are reported as unknown.

    Args:
        tau: The error that is too large: image px, or text like `5%`.
        limit: The probability of it above which a landmark is given up.
        error_probability: `(L,)`, that of each landmark.
        known: `(L,)`, True where it is at most `limit`.
    """

    tau: float | str
    limit: float
    error_probability: Float64[np.ndarray, " L"]
    known: Bool[np.ndarray, " L"]


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
