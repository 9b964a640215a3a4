"""Scores of occlusion from the columns of predictions, and how well they tell what is occluded."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float

from kdn.evaluate.labelled import crop_log_prob
from kdn.evaluate.resamples import Resamples, interval
from kdn.predictions import Predictions

__all__ = ["Detection", "detect", "occluded_landmarks", "occlusion_scores"]


def occlusion_scores(predictions: Predictions) -> dict[str, Float[np.ndarray, "n L"]]:
    """Return scores of every landmark, larger where it is more likely occluded.

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
        >>> wide = Predictions(**one, entropy=np.array([[0.9, 2.2]]))
        >>> {name: score.round(3).tolist() for name, score in occlusion_scores(wide).items()}
        {'entropy': [[-0.486, 0.814]]}
    """
    if predictions.crop_to_image is None:
        raise ValueError("predictions must have a column crop_to_image, got none")
    to_crop = crop_log_prob(np.zeros((len(predictions), 1)), predictions.crop_to_image)
    scores: dict[str, Float[np.ndarray, "n L"]] = {}
    if predictions.entropy is not None:
        scores["entropy"] = predictions.entropy - to_crop
    if predictions.uncertainty is not None:
        with np.errstate(divide="ignore"):
            scores["uncertainty"] = np.log(predictions.uncertainty) - 0.5 * to_crop
    within = predictions.mass_within
    if within is not None:
        for index, radius in enumerate(predictions.radii):
            scores[f"error > {radius:g}"] = 1.0 - within[..., index]
    if not scores:
        raise ValueError("predictions must have entropy, uncertainty or mass_within, got none")
    return scores


def occluded_landmarks(
    predictions: Predictions,
) -> tuple[Bool[np.ndarray, "n L"], Bool[np.ndarray, "n L"]]:
    """Return which labelled landmarks are occluded, and which are labelled at all.

    A landmark without a position (behind the face itself, in MERL-RAV) does not count: where it
    would be, nobody knows.

    Raises:
        ValueError: If the predictions say nothing of `visible`, or all that count are of one kind.
    """
    valid, visible = predictions.valid, predictions.visible
    if valid is None or visible is None:
        raise ValueError("predictions must have the columns target and visible, got none")
    occluded = valid & ~visible
    if not occluded.any() or not (valid & visible).any():
        raise ValueError(
            f"predictions must have occluded and visible landmarks, got {int(occluded.sum())} and "
            f"{int((valid & visible).sum())}"
        )
    return occluded, valid


@dataclass(frozen=True)
class Detection:
    """How well one score tells occluded from visible landmarks.

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
    occluded: Bool[np.ndarray, "n L"],
    counted: Bool[np.ndarray, "n L"],
    *,
    bootstrap: int = 200,
    seed: int = 0,
) -> list[Detection]:
    """Return how well each score tells the occluded landmarks among those that count.

    All landmarks are pooled; images are resampled, the same ones for every score.

    Args:
        scores: Larger where occluded is more likely.
        occluded: True for occluded landmarks.
        counted: True for what counts.
        bootstrap: Replicates.
        seed: Of the resampling.

    Raises:
        ValueError: If a score that counts is NaN.
    """
    items = Resamples(len(counted), bootstrap, seed).of(np.nonzero(counted)[0])
    detections = []
    for name, score in scores.items():
        area = items.auroc(score[counted], occluded[counted])
        precision = items.average_precision(score[counted], occluded[counted])
        ends = interval(area[1:]), interval(precision[1:])
        detections.append(Detection(name, float(area[0]), ends[0], float(precision[0]), ends[1]))
    return detections
