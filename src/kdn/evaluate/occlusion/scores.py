"""Scores of occlusion from the columns of predictions, and how well they tell what is hidden."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float

from kdn.evaluate.bootstrap import interval, resample_counts
from kdn.evaluate.ranking import auroc_resampled, average_precision_resampled
from kdn.evaluate.uncertainty import crop_log_prob
from kdn.predictions import Predictions

__all__ = ["Detection", "detect", "hidden_landmarks", "hidden_scores"]


def hidden_scores(predictions: Predictions) -> dict[str, Float[np.ndarray, "n L"]]:
    """Return scores of every landmark, larger where it is more likely hidden.

    * `entropy`: differential entropy, nats per crop px²;
    * `uncertainty`: `log(|Cov|^¼)`, crop px;
    * `error > τ`: `1 − mass_within` for each of its radii τ, percent of the box.

    Those of columns that are missing are left out. In the crop, faces are equally large whatever
    their size in the picture.

    Args:
        predictions: With `crop_to_image`.

    Raises:
        ValueError: If there is no column that says anything, or no `crop_to_image`.

    Example:
        >>> twice = np.array([[[2.0, 0.0, 7.0], [0.0, 2.0, 8.0]]])  # 1 crop px is 2 image px wide
        >>> one = {"id": ("a",), "landmarks": np.zeros((1, 2, 2)), "crop_to_image": twice}
        >>> told = Predictions(**one, entropy=np.array([[0.9, 2.2]]))
        >>> {name: score.round(3).tolist() for name, score in hidden_scores(told).items()}
        {'entropy': [[-0.486, 0.814]]}
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
    within = predictions.mass_within
    if within is not None:
        for index, radius in enumerate(predictions.radii):
            found[f"error > {radius:g}"] = 1.0 - within[..., index]
    if not found:
        raise ValueError("predictions must have entropy, uncertainty or mass_within, got none")
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
