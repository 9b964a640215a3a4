"""Scores of occlusion weighed against each other by logistic regression, on a few labels."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool, Float

from kdn.data.paths import replacing

__all__ = ["Combination", "logistic_weights"]

_FORMAT = 1
_STEPS = 100
_FACES = 256  # whose landmarks are compared at once
_ARRAYS = ("centres", "scales", "weights", "around", "bias")


@dataclass(frozen=True)
class Combination:
    """A logistic regression on scores of a landmark and of those around it.

        log-odds_l = bias_l + Σ_k w_k z_k,l + Σ_k v_k Σ_j a_lj z_k,j
        z_k,l = (s_k,l − m_k,l) / d_k

    `m_k,l` is the mean of score `k` over landmark `l`, so that landmarks that are harder anyhow do
    not count as hidden for that alone; how often each is hidden is in its `bias`. What hides a
    landmark mostly hides its neighbours too: `a_lj ∝ exp(−½ (|x_l − x_j| / (reach · size))²)`, over
    all others of the face, adding up to 1, with `size = √(w·h)` of the box of its landmarks.

    Args:
        names: Of the scores.
        centres: `(scores, landmarks)`, their means `m`.
        scales: `(scores,)`, standard deviations `d` about these means.
        weights: `(scores,)`, `w`.
        around: `(scores,)`, `v`.
        bias: `(landmarks,)`, log-odds where all scores have their means.
        reach: How far around a landmark counts, as a share of the face's size.

    Example:
        >>> rng = np.random.default_rng(0)
        >>> hidden = rng.random((400, 3)) < [0.5, 0.3, 0.1]
        >>> scores = {"entropy": rng.normal(size=(400, 3)) + 2 * hidden + [0.0, 5.0, 9.0]}
        >>> points = np.tile([[0.0, 0.0], [9.0, 1.0], [5.0, 7.0]], (400, 1, 1))
        >>> fitted = Combination.fit(scores, points, hidden, np.ones((400, 3), dtype=bool))
        >>> odds = fitted(scores, points)
        >>> odds.shape, bool(odds[hidden].mean() > odds[~hidden].mean() + 2)
        ((400, 3), True)
    """

    names: tuple[str, ...]
    centres: Float[np.ndarray, "scores L"]
    scales: Float[np.ndarray, " scores"]
    weights: Float[np.ndarray, " scores"]
    around: Float[np.ndarray, " scores"]
    bias: Float[np.ndarray, " L"]
    reach: float

    @classmethod
    def fit(
        cls,
        scores: Mapping[str, Float[np.ndarray, "n L"]],
        landmarks: Float[np.ndarray, "n L 2"],
        hidden: Bool[np.ndarray, "n L"],
        counted: Bool[np.ndarray, "n L"],
        *,
        reach: float = 0.1,
        ridge: float = 1.0,
    ) -> Combination:
        """Return the combination of largest likelihood less `ridge/2 · Σ (w² + v² + (bias − b)²)`.

        Args:
            scores: Larger where hidden is more likely; infinite ones are not allowed.
            landmarks: The predicted points, in any frame.
            hidden: True for hidden landmarks.
            counted: True for what counts.
            reach: How far around a landmark counts, as a share of the face's size.
            ridge: Strength of the penalty; the mean `b` of the biases has none. It makes the
                result unique where scores say the same.

        Raises:
            ValueError: If there is no score, one is not finite, what counts is of one kind, or
                `reach` or `ridge` is not positive.
        """
        if not scores:
            raise ValueError("scores must hold at least one, got none")
        for name, value in (("reach", reach), ("ridge", ridge)):
            if not value > 0:
                raise ValueError(f"{name} must be positive, got {value}")
        positive = hidden[counted]
        if positive.all() or not positive.any():
            raise ValueError(
                f"hidden must hold both kinds among what counts, got {int(positive.sum())} of "
                f"{len(positive)}"
            )
        stack = np.stack(list(scores.values()))
        if not np.isfinite(stack).all():
            raise ValueError("scores must be finite, got others")
        centres, scales = _standard(stack, counted)
        z = (stack - centres[:, None]) / scales[:, None, None]
        terms = np.concatenate([z, _around(z, landmarks, reach)])[:, counted]
        which = np.eye(hidden.shape[1])[np.nonzero(counted)[1]]
        design = np.concatenate([np.ones((1, len(positive))), terms, which.T]).T
        found, count = logistic_weights(design, positive, ridge), len(scores)
        weights, around, each = np.split(found[1:], [count, 2 * count])
        return cls(tuple(scores), centres, scales, weights, around, found[0] + each, reach)

    def __call__(
        self,
        scores: Mapping[str, Float[np.ndarray, "n L"]],
        landmarks: Float[np.ndarray, "n L 2"],
    ) -> Float[np.ndarray, "n L"]:
        """Return the log-odds that each landmark is hidden.

        Raises:
            ValueError: If a score is missing, or has another number of landmarks.
        """
        missing = [name for name in self.names if name not in scores]
        if missing:
            raise ValueError(f"scores must have {', '.join(self.names)}, got no {missing[0]}")
        stack = np.stack([scores[name] for name in self.names])
        if stack.shape[2] != len(self.bias):
            raise ValueError(f"scores must be of {len(self.bias)} landmarks, got {stack.shape[2]}")
        z = (stack - self.centres[:, None]) / self.scales[:, None, None]
        near = _around(z, landmarks, self.reach)
        return (
            self.bias
            + np.einsum("k,knl->nl", self.weights, z)
            + np.einsum("k,knl->nl", self.around, near)
        )

    def as_dict(self) -> dict[str, Any]:
        """Return everything as JSON types."""
        return {
            "format": _FORMAT,
            "names": list(self.names),
            "centres": self.centres.tolist(),
            "scales": self.scales.tolist(),
            "weights": self.weights.tolist(),
            "around": self.around.tolist(),
            "bias": self.bias.tolist(),
            "reach": self.reach,
        }

    @classmethod
    def of_dict(cls, values: Mapping[str, Any]) -> Combination:
        """Return the combination that `as_dict` describes.

        Raises:
            ValueError: If something is missing, of another format, or does not fit the rest.
        """
        if values.get("format") != _FORMAT:
            raise ValueError(f"format must be {_FORMAT}, got {values.get('format')!r}")
        try:
            names = tuple(str(name) for name in values["names"])
            arrays = {name: np.array(values[name], float) for name in _ARRAYS}
            reach = float(values["reach"])
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(f"not a combination of scores ({error!r})") from error
        count, landmarks = len(names), len(np.atleast_1d(arrays["bias"]))
        wanted = {**dict.fromkeys(_ARRAYS, (count,)), "centres": (count, landmarks)}
        wanted["bias"] = (landmarks,)
        for name, shape in wanted.items():
            if arrays[name].shape != shape:
                raise ValueError(f"{name} must have shape {shape}, got {arrays[name].shape}")
        return cls(names, **arrays, reach=reach)

    def write(self, path: str | Path) -> None:
        """Write the combination to a JSON file, replaced whole or not at all."""
        with replacing(Path(path)) as temporary:
            temporary.write_text(json.dumps(self.as_dict(), indent=1) + "\n", encoding="utf-8")

    @classmethod
    def read(cls, path: str | Path) -> Combination:
        """Return the combination of a JSON file.

        Raises:
            FileNotFoundError: If there is no such file.
            ValueError: If it does not hold a combination; the message names the file.
        """
        try:
            return cls.of_dict(json.loads(Path(path).read_text(encoding="utf-8")))
        except (AttributeError, ValueError) as error:
            raise ValueError(f"{path}: {error}") from error


def _standard(
    stack: Float[np.ndarray, "scores n L"], counted: Bool[np.ndarray, "n L"]
) -> tuple[Float[np.ndarray, "scores L"], Float[np.ndarray, " scores"]]:
    """Return each landmark's mean of each score, and the deviation about these means."""
    size = counted.sum(axis=0)
    total = np.where(counted, stack, 0.0).sum(axis=1)
    whole = total.sum(axis=1, keepdims=True) / size.sum()
    centres = np.where(size > 0, total / np.maximum(size, 1), whole)
    spread = (stack - centres[:, None])[:, counted].std(axis=1)
    return centres, np.where(spread > 0, spread, 1.0)


def _around(
    z: Float[np.ndarray, "scores n L"], landmarks: Float[np.ndarray, "n L 2"], reach: float
) -> Float[np.ndarray, "scores n L"]:
    """Return the mean score of the other landmarks of the face, the nearer the heavier."""
    found = np.zeros_like(z)
    others = ~np.eye(landmarks.shape[1], dtype=bool)
    for start in range(0, len(landmarks), _FACES):
        part = slice(start, start + _FACES)
        points = landmarks[part]
        extent = points.max(axis=1) - points.min(axis=1)
        unit = reach * np.sqrt(extent.prod(axis=-1))[:, None, None]
        apart = np.linalg.norm(points[:, :, None] - points[:, None], axis=-1)
        nearness = -0.5 * (apart / np.maximum(unit, 1e-300)) ** 2
        nearest = np.where(others, nearness, -np.inf).max(axis=-1, keepdims=True)
        share = np.where(others, np.exp(nearness - nearest), 0.0)
        share /= share.sum(axis=-1, keepdims=True)
        found[:, part] = np.einsum("nij,knj->kni", share, z[:, part])
    return found


def logistic_weights(
    design: Float[np.ndarray, "N terms"], positive: Bool[np.ndarray, " N"], ridge: float
) -> Float[np.ndarray, " terms"]:
    """Return the weights of largest likelihood less the penalty, by Newton's method.

    The first term is the constant, without penalty. The objective is strictly concave once both
    kinds are there; a step that does not raise it is halved.
    """
    penalty = np.full(design.shape[1], ridge)
    penalty[0] = 0.0
    sign = np.where(positive, 1.0, -1.0)

    def objective(weights: np.ndarray) -> float:
        return float(
            -np.logaddexp(0.0, -sign * (design @ weights)).sum() - 0.5 * penalty @ weights**2
        )

    weights = np.zeros(design.shape[1])
    value = objective(weights)
    for _ in range(_STEPS):
        probability = 0.5 * (1.0 + np.tanh(0.5 * (design @ weights)))
        gradient = design.T @ (positive - probability) - penalty * weights
        curvature = (design * (probability * (1 - probability))[:, None]).T @ design
        step = np.linalg.solve(curvature + np.diag(penalty), gradient)
        while (new := objective(weights + step)) < value and np.abs(step).max() > 1e-12:
            step = 0.5 * step
        weights, value = weights + step, new
        if np.abs(step).max() < 1e-10:
            break
    return weights
