"""Which landmarks are hidden, told from their densities: scores, and a weighted sum of them.

A density is spread out where the picture does not show the landmark. No label of occlusion is
needed to train the network; a few are needed to weigh the scores against each other.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool, Float

from kdn.files import replacing
from kdn.metrics.bootstrap import interval, resample_counts
from kdn.metrics.ranking import auroc_resampled, average_precision_resampled
from kdn.metrics.uncertainty import crop_log_prob
from kdn.predictions import Predictions

__all__ = ["Combination", "Detection", "detect", "hidden_landmarks", "hidden_scores"]

_FORMAT = 1
_STEPS = 100


def hidden_scores(predictions: Predictions) -> dict[str, Float[np.ndarray, "n L"]]:
    """Return scores of every landmark, larger where it is more likely hidden.

    | Name | Score |
    |---|---|
    | `entropy` | differential entropy, nats per crop px² |
    | `uncertainty` | `log(\\|Cov\\|^¼)`, crop px |
    | `spread` | `1 − peak_mass` |
    | `error > τ` | `1 − mass_within` for each of its radii τ |

    Those of columns that are missing are left out. In the crop, faces are equally large whatever
    their size in the picture.

    Args:
        predictions: With `crop_to_image`.

    Raises:
        ValueError: If there is no column that says anything, or no `crop_to_image`.

    Example:
        >>> twice = np.array([[[2.0, 0.0, 7.0], [0.0, 2.0, 8.0]]])  # 1 crop px is 2 image px wide
        >>> one = {"id": ("a",), "landmarks": np.zeros((1, 2, 2)), "crop_to_image": twice}
        >>> told = Predictions(**one, peak_mass=np.array([[0.9, 0.2]]))
        >>> {name: score.round(3).tolist() for name, score in hidden_scores(told).items()}
        {'spread': [[0.1, 0.8]]}
    """
    if predictions.crop_to_image is None:
        raise ValueError("predictions must have a column crop_to_image, got none")
    to_crop = crop_log_prob(np.zeros((len(predictions), 1)), predictions.crop_to_image)
    found: dict[str, Float[np.ndarray, "n L"]] = {}
    if predictions.entropy is not None:
        found["entropy"] = predictions.entropy - to_crop
    if predictions.uncertainty is not None:
        with np.errstate(divide="ignore"):
            found["uncertainty"] = np.log(predictions.uncertainty) - 0.5 * to_crop
    if predictions.peak_mass is not None:
        found["spread"] = 1.0 - predictions.peak_mass
    within = getattr(predictions, "mass_within", None)
    if within is not None:
        radii = predictions.metadata.get("radii", range(within.shape[-1]))
        for index, radius in enumerate(radii):
            found[f"error > {radius:g}"] = 1.0 - within[..., index]
    if not found:
        raise ValueError(
            "predictions must have entropy, uncertainty, peak_mass or mass_within, got none"
        )
    return found


def hidden_landmarks(
    predictions: Predictions,
) -> tuple[Bool[np.ndarray, "n L"], Bool[np.ndarray, "n L"]]:
    """Return which labelled landmarks are hidden, and which are labelled at all.

    A landmark without a position (hidden by the face itself, in MERL-RAV) does not count: where it
    would be, nobody knows.

    Raises:
        ValueError: If the predictions say nothing of `visible`, or all that count are of one kind.
    """
    valid, visible = predictions.valid, predictions.visible
    if valid is None or visible is None:
        raise ValueError("predictions must have the columns target and visible, got none")
    hidden = valid & ~visible
    if not hidden.any() or not (valid & visible).any():
        raise ValueError(
            f"predictions must have hidden and visible landmarks, got {int(hidden.sum())} and "
            f"{int((valid & visible).sum())}"
        )
    return hidden, valid


@dataclass(frozen=True)
class Detection:
    """How well one score tells hidden from visible landmarks.

    Args:
        name: Of the score.
        auroc: Area under the receiver operating characteristic; ½ is chance.
        auroc_interval: 95 % interval over resampled images.
        precision: Average precision; the base rate is chance.
        precision_interval: 95 % interval over resampled images.
    """

    name: str
    auroc: float
    auroc_interval: tuple[float, float]
    precision: float
    precision_interval: tuple[float, float]


def detect(
    scores: Mapping[str, Float[np.ndarray, "n L"]],
    hidden: Bool[np.ndarray, "n L"],
    counted: Bool[np.ndarray, "n L"],
    *,
    bootstrap: int = 200,
    seed: int = 0,
) -> list[Detection]:
    """Return how well each score tells the hidden landmarks among those that count.

    All landmarks are pooled; images are resampled, the same ones for every score.

    Args:
        scores: Larger where hidden is more likely.
        hidden: True for hidden landmarks.
        counted: True for what counts.
        bootstrap: Replicates.
        seed: Of the resampling.

    Raises:
        ValueError: If a score that counts is NaN.
    """
    drawn = resample_counts(len(counted), bootstrap, np.random.default_rng(seed))
    counts = np.concatenate([np.ones((1, len(counted))), drawn])
    image, positive = np.nonzero(counted)[0], hidden[counted]
    found = []
    for name, score in scores.items():
        area = auroc_resampled(score[counted], positive, image, counts)
        precision = average_precision_resampled(score[counted], positive, image, counts)
        found.append(
            Detection(
                name,
                float(area[0]),
                interval(area[1:]),
                float(precision[0]),
                interval(precision[1:]),
            )
        )
    return found


@dataclass(frozen=True)
class Combination:
    """A logistic regression on several scores: `log-odds = bias + Σ_k w_k (s_k − m_k,l) / d_k`.

    `m_k,l` is the mean of score `k` over landmark `l`, so that landmarks which are harder everywhere
    do not count as hidden for that alone.

    Args:
        names: Of the scores.
        centres: `(scores, landmarks)`, their means `m`.
        scales: `(scores,)`, standard deviations `d` about these means.
        weights: `(scores,)`, `w`.
        bias: Log-odds where all scores have their means.

    Example:
        >>> rng = np.random.default_rng(0)
        >>> hidden = rng.random((400, 3)) < [0.5, 0.3, 0.1]
        >>> scores = {"entropy": rng.normal(size=(400, 3)) + 2 * hidden + [0.0, 5.0, 9.0]}
        >>> fitted = Combination.fit(scores, hidden, np.ones((400, 3), dtype=bool))
        >>> odds = fitted(scores)
        >>> odds.shape, bool(odds[hidden].mean() > odds[~hidden].mean() + 2)
        ((400, 3), True)
    """

    names: tuple[str, ...]
    centres: Float[np.ndarray, "scores L"]
    scales: Float[np.ndarray, " scores"]
    weights: Float[np.ndarray, " scores"]
    bias: float

    @classmethod
    def fit(
        cls,
        scores: Mapping[str, Float[np.ndarray, "n L"]],
        hidden: Bool[np.ndarray, "n L"],
        counted: Bool[np.ndarray, "n L"],
        *,
        ridge: float = 1.0,
    ) -> Combination:
        """Return the combination of largest likelihood less `ridge/2 · Σ w²`.

        Args:
            scores: Larger where hidden is more likely; infinite ones are not allowed.
            hidden: True for hidden landmarks.
            counted: True for what counts.
            ridge: Strength of the penalty, of weights on scores of unit deviation; the bias has
                none. It makes the result unique where scores say the same.

        Raises:
            ValueError: If there is no score, one that counts is not finite, what counts is of one
                kind, or the ridge is not positive.
        """
        if not scores:
            raise ValueError("scores must hold at least one, got none")
        if not ridge > 0:
            raise ValueError(f"ridge must be positive, got {ridge}")
        positive = hidden[counted]
        if positive.all() or not positive.any():
            raise ValueError(
                f"hidden must hold both kinds among what counts, got {int(positive.sum())} of "
                f"{len(positive)}"
            )
        stack = np.stack(list(scores.values()))
        if not np.isfinite(stack[:, counted]).all():
            raise ValueError("scores must be finite where they count")
        seen = np.where(counted, stack, 0.0).sum(axis=1)
        size = counted.sum(axis=0)
        whole = seen.sum(axis=1, keepdims=True) / size.sum()
        centres = np.where(size > 0, seen / np.maximum(size, 1), whole)
        centred = (stack - centres[:, None])[:, counted]
        spread = centred.std(axis=1)
        scales = np.where(spread > 0, spread, 1.0)
        design = np.concatenate([np.ones((1, len(positive))), centred / scales[:, None]])
        solution = _logistic(design.T, positive, ridge)
        return cls(tuple(scores), centres, scales, solution[1:], float(solution[0]))

    def __call__(self, scores: Mapping[str, Float[np.ndarray, "n L"]]) -> Float[np.ndarray, "n L"]:
        """Return the log-odds that each landmark is hidden.

        Raises:
            ValueError: If a score is missing, or has another number of landmarks.
        """
        missing = [name for name in self.names if name not in scores]
        if missing:
            raise ValueError(f"scores must have {', '.join(self.names)}, got no {missing[0]}")
        landmarks = self.centres.shape[1]
        total = self.bias
        for name, centre, scale, weight in zip(
            self.names, self.centres, self.scales, self.weights, strict=True
        ):
            if scores[name].shape[1] != landmarks:
                raise ValueError(
                    f"scores must be of {landmarks} landmarks, got {scores[name].shape[1]}"
                )
            total = total + weight * (scores[name] - centre) / scale
        return np.asarray(total)

    def as_dict(self) -> dict[str, Any]:
        """Return everything as JSON types."""
        return {
            "format": _FORMAT,
            "names": list(self.names),
            "centres": self.centres.tolist(),
            "scales": self.scales.tolist(),
            "weights": self.weights.tolist(),
            "bias": self.bias,
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
            arrays = {k: np.array(values[k], float) for k in ("centres", "scales", "weights")}
            bias = float(values["bias"])
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(f"not a combination of scores ({error!r})") from error
        count = len(names)
        fits = arrays["centres"].ndim == 2 and len(arrays["centres"]) == count
        if not fits or any(arrays[k].shape != (count,) for k in ("scales", "weights")):
            shapes = ", ".join(f"{k} {v.shape}" for k, v in arrays.items())
            raise ValueError(f"names, centres, scales and weights must fit, got {count}, {shapes}")
        return cls(names, arrays["centres"], arrays["scales"], arrays["weights"], bias)

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


def _logistic(
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
