"""What is predicted of one object: landmarks or scalars, with their densities."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float64
from numpy.typing import ArrayLike

from kdn.data import Labels
from kdn.data.markup import Markup
from kdn.data.numbers import length_of
from kdn.data.sample import Box
from kdn.density import Density
from kdn.models.recalibration import Recalibration

__all__ = ["Abstention", "Face", "Prediction", "Scalars", "face_score"]

_NEAR = 0.05
"""Distance, as a share of the box, within which a landmark counts as found."""


@dataclass(frozen=True)
class Abstention:
    """Which predictions are reported as unknown.

    Args:
        tau: The error that is too large: image px or the unit, or text like `5%`.
        limit: The probability of it above which a prediction is given up.
        error_probability: `(L,)`, that of each.
        known: `(L,)`, True where it is at most `limit`.
    """

    tau: float | str
    limit: float
    error_probability: Float64[np.ndarray, " L"]
    known: Bool[np.ndarray, " L"]


@dataclass(frozen=True, kw_only=True)
class Prediction:
    """What is predicted of one object in a picture.

    Convention: coordinates are image pixels `(x, y)` with integer pixel centres, boxes are
    `(x0, y0, x1, y1)`; scalars are in their unit.

    Args:
        bbox: What the crop followed from; the whole picture for models of whole pictures.
        labels: What is predicted.
        uncertainty: `(L,)`: of points the lengths `|Cov|^¼`, px, of scalars the standard deviation.
        density: Of every label, batch shape `(L,)`.
        detection: The detector's own score; NaN where the box was given.
        abstention: Which predictions are reported as unknown, and why; None where none is.
        recalibration: Of the model; the density is adjusted already.
    """

    bbox: Box
    labels: Labels
    uncertainty: Float64[np.ndarray, " L"]
    density: Density
    detection: float = math.nan
    abstention: Abstention | None = None
    recalibration: Recalibration = field(default_factory=Recalibration)

    @property
    def prediction(self) -> Float64[np.ndarray, "L *E"]:
        """The points or scalars."""
        raise NotImplementedError

    @property
    def size(self) -> float:
        """What lengths in percent are a share of."""
        raise NotImplementedError

    @property
    def known(self) -> Bool[np.ndarray, " L"]:
        """Which predictions were not given up."""
        everything = np.ones(len(self.uncertainty), bool)
        return everything if self.abstention is None else self.abstention.known

    def hdr_level(self, points: ArrayLike) -> Float64[np.ndarray, " L"]:
        """Return the least nominal level whose region holds a point, for each label.

        A 90 % region, say, is all points with a level of at most 0.9. Where the model is
        recalibrated it holds the true label in at least 90 % of objects like those of the
        calibration.

        Args:
            points: `(L, 2)`, one per landmark, or `(2,)`, one for all, image px; of scalars `(L,)`
                or a number.

        Raises:
            ValueError: If they have another shape.
        """
        array, shape = np.asarray(points, np.float64), self.prediction.shape
        if array.shape not in (shape[1:], shape):
            raise ValueError(f"points must be {shape[1:]} or {shape}, got shape {array.shape}")
        array = np.broadcast_to(array, shape).copy()
        asked = torch.from_numpy(array).to(self.density.mean)
        return self.recalibration.hdr_level(self.density, asked).double().cpu().numpy()

    def own_level(self, nominal: float) -> Float64[np.ndarray, " L"]:
        """Return the level of each label's own density whose region is that of a nominal level.

        What `density.hdr_level` is compared with, and what ellipses are drawn for; the nominal
        level itself where the model is not recalibrated.
        """
        return self.recalibration.own_level(nominal, len(self.uncertainty))

    def error_probability(self, tau: float | str) -> Float64[np.ndarray, " L"]:
        """Return the probability that each label is farther than `tau` from its prediction.

        `P(|Y − prediction| > tau)`, `Y ~ density`, by `mass_within`. Its mean over the labels is
        the share of them that is expected to be off by more.

        Args:
            tau: Image px, or text like `5%` for so much of `√(w·h)` of the box of the landmarks;
                of scalars in their unit, or for so much of their axis.

        Returns:
            In [0, 1]; NaN for a landmark that is not finite.

        Raises:
            ValueError: If `tau` is neither, or not above 0.
        """
        radius = length_of(tau, self.size, name="tau")
        centres = torch.from_numpy(self.prediction).to(self.density.mean)
        mass = self.density.mass_within(centres, radius)
        return 1.0 - mass.double().cpu().numpy()

    def abstaining(self, limit: float, tau: float | str) -> Any:
        """Return this with the predictions given up whose error probability exceeds a limit.

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


@dataclass(frozen=True, kw_only=True)
class Face(Prediction):
    """The landmarks of one face of a picture, or of another object.

    Args:
        landmarks: `(L, 2)`, the points of the model's decoder, image px.
        covariances: `(L, 2, 2)`, px².
        score: Between 0 and 1, see `face_score`: low where this is no face, or an unclear one.
    """

    landmarks: Float64[np.ndarray, "L 2"]
    covariances: Float64[np.ndarray, "L 2 2"]
    score: float

    @property
    def markup(self) -> Markup:
        """What the landmarks are."""
        return self.labels.markup

    @property
    def prediction(self) -> Float64[np.ndarray, "L 2"]:
        """The landmarks."""
        return self.landmarks

    @property
    def landmark_box(self) -> Box:
        """The smallest box around the landmarks."""
        (x0, y0), (x1, y1) = self.landmarks.min(axis=0), self.landmarks.max(axis=0)
        return float(x0), float(y0), float(x1), float(y1)

    @property
    def size(self) -> float:
        """`√(w·h)` of the box of the landmarks, px."""
        x0, y0, x1, y1 = self.landmark_box
        return math.sqrt(max((x1 - x0) * (y1 - y0), 0.0))


@dataclass(frozen=True, kw_only=True)
class Scalars(Prediction):
    """The scalars of one object, such as the age of a face.

    Args:
        values: `(L,)`, those of the model's decoder, in the label's unit.
    """

    values: Float64[np.ndarray, " L"]

    @property
    def names(self) -> tuple[str, ...]:
        """What the scalars are called."""
        return self.labels.names

    @property
    def prediction(self) -> Float64[np.ndarray, " L"]:
        """The values."""
        return self.values

    @property
    def size(self) -> float:
        """The length of the axis."""
        return float(self.labels.axis.high[0] - self.labels.axis.low[0])

    def __getitem__(self, name: str) -> float:
        """Return one of the values by its name.

        Raises:
            KeyError: If there is none of that name; the message lists those there are.
        """
        if name not in self.names:
            raise KeyError(f"no value {name!r}; there are {', '.join(self.names)}")
        return float(self.values[self.names.index(name)])

    def interval(self, level: float = 0.9) -> Float64[np.ndarray, "L 2"]:
        """Return the central interval of each scalar that holds it with a probability of `level`.

        Raises:
            ValueError: If the level is not between 0 and 1.
        """
        if not 0 < level < 1:
            raise ValueError(f"level must be between 0 and 1, got {level}")
        return self.quantiles((0.5 - 0.5 * level, 0.5 + 0.5 * level))

    def quantiles(self, levels: Sequence[float]) -> Float64[np.ndarray, "L Q"]:
        """Return quantiles of each scalar."""
        density: Any = self.density
        ends = torch.tensor(levels, dtype=torch.float64).to(density.mean).unsqueeze(-1)
        return density.icdf(ends).T.double().cpu().numpy()


def face_score(uncertainty: Float64[np.ndarray, " L"], bbox: Box) -> float:
    """Return how likely a landmark is to lie within 5 % of the box of where it is predicted.

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
