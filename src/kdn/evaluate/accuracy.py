"""How far predicted landmarks are from the true ones: NME, CED, AUC, failure rate, PCK and OKS.

Errors of images and thresholds are in percent of the normaliser throughout. NME, CED, AUC and
failure rate are means over images; an image whose error is NaN (its normaliser is not defined, or
it has no valid landmark) does not count.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, Float

from kdn.data.markup import Markup
from kdn.evaluate.bounds import FAN70, Rule, check_rule

__all__ = [
    "BOX_AREA",
    "COCO_CONSTANTS",
    "auc",
    "auc_terms",
    "ced",
    "failure_rate",
    "failure_terms",
    "image_errors",
    "nme",
    "normalisers",
    "oks",
    "pck_terms",
    "point_errors",
]

COCO_CONSTANTS = tuple(
    0.01 * value
    for value in (
        *(2.6, 2.5, 2.5, 3.5, 3.5),
        *(7.9, 7.9, 7.2, 7.2, 6.2, 6.2),
        *(10.7, 10.7, 8.7, 8.7, 8.9, 8.9),
    )
)
"""Standard deviations of the annotators' errors of the 17 keypoints of people, as shares of `√area`
(COCO's `kpt_oks_sigmas`)."""

BOX_AREA = 0.53
"""Area of a person as a share of that of the box, where no outline is labelled (xtcocotools)."""


def point_errors(
    landmarks: Float[np.ndarray, "n L 2"], target: Float[np.ndarray, "n L 2"]
) -> Float[np.ndarray, "n L"]:
    """Return the Euclidean distance of each landmark from its target, in their frame's pixels.

    NaN where either is NaN.
    """
    return np.hypot(*np.moveaxis(np.asarray(landmarks - target, np.float64), -1, 0))


def normalisers(
    target: Float[np.ndarray, "n L 2"],
    valid: Bool[np.ndarray, "n L"],
    markup: Markup | None,
) -> dict[str, Float[np.ndarray, " n"]]:
    """Return the lengths that errors are divided by, in the target's frame.

    * `box`: `√(w·h)` of the tight box of the true valid landmarks;
    * `diagonal`: `√(w² + h²)` of that box;
    * `inter-ocular`: distance of the outer eye corners, if the mark-up has them;
    * `inter-pupil`: distance of the centroids of the two eyes' landmarks, if the mark-up has them;
    * `pair`: distance of the mark-up's normalising pair, if it has one; of `body17` the torso.

    NaN where a landmark that is needed is not valid, and where the length is zero.

    Args:
        target: True landmarks; what they hold where not valid does not matter.
        valid: True where the label counts.
        markup: What the landmarks are called; None for the first two only.

    Raises:
        ValueError: If the mark-up has another number of landmarks.
    """
    if markup is not None and markup.landmarks != target.shape[1]:
        raise ValueError(
            f"markup {markup.name!r} has {markup.landmarks} landmarks, got {target.shape[1]}"
        )
    points = np.where(valid[..., None], np.asarray(target, np.float64), np.nan)
    low = np.where(valid[..., None], points, np.inf).min(axis=1, initial=np.inf)
    high = np.where(valid[..., None], points, -np.inf).max(axis=1, initial=-np.inf)
    size = np.where(np.isfinite(high), high, np.nan) - np.where(np.isfinite(low), low, np.nan)
    lengths = {"box": np.sqrt(size.prod(axis=-1))}
    if markup is not None and markup.eye_corners is not None:
        left, right = (points[:, i] for i in markup.eye_corners)
        lengths["inter-ocular"] = np.hypot(*(right - left).T)
    if markup is not None and markup.eyes is not None:
        left, right = (points[:, list(eye)].mean(axis=1) for eye in markup.eyes)
        lengths["inter-pupil"] = np.hypot(*(right - left).T)
    if markup is not None and markup.pair is not None:
        left, right = (points[:, i] for i in markup.pair)
        lengths["pair"] = np.hypot(*(right - left).T)
    lengths["diagonal"] = np.hypot(*size.T)
    return {name: np.where(length > 0, length, np.nan) for name, length in lengths.items()}


def image_errors(
    errors: Float[np.ndarray, "n L"],
    valid: Bool[np.ndarray, "n L"],
    normaliser: Float[np.ndarray, " n"],
) -> Float[np.ndarray, " n"]:
    """Return each image's mean error over its valid landmarks, in percent of its normaliser.

    NaN where no landmark is valid or the normaliser is NaN.
    """
    total = np.where(valid, errors, 0.0).sum(axis=1)
    count = valid.sum(axis=1)
    return 100.0 * np.divide(
        total, count * normaliser, out=np.full(len(count), np.nan), where=count > 0
    )


def nme(
    errors: Float[np.ndarray, "n L"],
    valid: Bool[np.ndarray, "n L"],
    normaliser: Float[np.ndarray, " n"],
) -> float:
    """Return the normalised mean error in percent: `image_errors` averaged over images.

    Example:
        >>> errors = np.array([[1.0, 3.0], [4.0, 99.0]])
        >>> valid = np.array([[True, True], [True, False]])
        >>> nme(errors, valid, np.array([100.0, 100.0]))
        3.0
    """
    return _mean(image_errors(errors, valid, normaliser))


def ced(
    errors: Float[np.ndarray, " n"], thresholds: Float[np.ndarray, " thresholds"]
) -> Float[np.ndarray, " thresholds"]:
    """Return the cumulative error distribution: percent of images with error at most a threshold.

    Args:
        errors: Error per image, as from `image_errors`.
        thresholds: In the same unit, in any order.
    """
    ordered = np.sort(errors[~np.isnan(errors)])
    if not len(ordered):
        return np.full(len(thresholds), np.nan)
    return 100.0 * np.searchsorted(ordered, thresholds, side="right") / len(ordered)


def auc_terms(
    errors: Float[np.ndarray, " n"], threshold: float, rule: Rule = "exact"
) -> Float[np.ndarray, " n"]:
    """Return what each image adds to the AUC, whose mean over images is `auc`; see there."""
    check_rule(threshold, rule)
    if rule == "fan70":
        # Strict <, so that of the 70 thresholds those above the error count.
        below = np.searchsorted(FAN70, errors / 100.0, side="right")
        return np.where(np.isnan(errors), np.nan, 100.0 * (70 - below) / 70)
    return 100.0 * np.maximum(0.0, 1.0 - errors / threshold)


def auc(errors: Float[np.ndarray, " n"], threshold: float, *, rule: Rule) -> float:
    """Return the area under the CED up to a threshold, in percent of the whole.

    * `exact`: `(1/t) ∫₀ᵗ CED(s) ds = mean(max(0, 1 − e/t))`;
    * `fan70`, at 7 % only: the reference FAN's sum `(1/70) Σᵢ share(e < i/999)`, i = 0…69, with
      strict `<` and errors as fractions. It is some 0.7 points lower, and 98.6 for a perfect
      prediction.

    Args:
        errors: Error per image, in percent.
        threshold: In percent.
        rule: Which of the two; they are never to be compared with each other.

    Raises:
        ValueError: If the rule is unknown, or `fan70` is asked for at a threshold other than 7.

    Example:
        >>> round(auc(np.array([0.0, 3.5, 9.0]), 7, rule="exact"), 3)
        50.0
        >>> round(auc(np.array([0.0, 3.5, 9.0]), 7, rule="fan70"), 3)
        49.524
    """
    return _mean(auc_terms(errors, threshold, rule))


def failure_terms(
    errors: Float[np.ndarray, " n"], threshold: float, rule: Rule = "exact"
) -> Float[np.ndarray, " n"]:
    """Return 100 for each image that fails and 0 for the others; the mean is `failure_rate`."""
    check_rule(threshold, rule)
    failed = errors / 100.0 >= FAN70[-1] if rule == "fan70" else errors > threshold
    return np.where(np.isnan(errors), np.nan, 100.0 * failed)


def failure_rate(errors: Float[np.ndarray, " n"], threshold: float, *, rule: Rule) -> float:
    """Return the percentage of images that fail: those that the CED does not reach at its end.

    * `exact`: images with an error above the threshold, `100 − CED(threshold)`;
    * `fan70`, at 7 % only: images with an error of 69/999 ≈ 6.907 % or more, for that is the last
      threshold of the reference FAN's sum, and its comparison is strict.

    Args:
        errors: Error per image, in percent.
        threshold: In percent.
        rule: Which of the two.

    Raises:
        ValueError: If the rule is unknown, or `fan70` is asked for at a threshold other than 7.

    Example:
        >>> errors = np.array([1.0, 3.0, 6.95, 9.0])
        >>> failure_rate(errors, 7, rule="exact"), failure_rate(errors, 7, rule="fan70")
        (25.0, 50.0)
    """
    return _mean(failure_terms(errors, threshold, rule))


def oks(
    errors: Float[np.ndarray, "n L"],
    valid: Bool[np.ndarray, "n L"],
    area: Float[np.ndarray, " n"],
    constants: Sequence[float] = COCO_CONSTANTS,
) -> Float[np.ndarray, " n"]:
    """Return the object keypoint similarity of each object, in [0, 1].

    `OKS = Σᵢ exp(−eᵢ² / (2·area·(2σᵢ)²)) / n`, over the `n` keypoints that are labelled, hidden
    ones too (`v > 0`): how far off they are, where annotators themselves err by `σᵢ·√area`. As
    `COCOeval.computeOks` of pycocotools, but predictions are not matched to objects: which box is
    whose is known.

    Args:
        errors: Distances, in any pixels.
        valid: Which keypoints are labelled.
        area: Of each object, in the square of those pixels; COCO's is that of the outline.
        constants: `σᵢ` of each keypoint.

    Returns:
        NaN where no keypoint is labelled or the area is not positive.

    Raises:
        ValueError: If there are not as many constants as keypoints, or one is not positive.

    Example:
        >>> errors, labelled = np.array([[0.0, 20.0, 99.0]]), np.array([[True, True, False]])
        >>> oks(errors, labelled, np.array([1e4]), (0.1, 0.1, 0.1)).round(4).tolist()
        [0.8033]
    """
    sigmas = np.asarray(constants, np.float64)
    if sigmas.shape != errors.shape[1:] or not (sigmas > 0).all():
        raise ValueError(
            f"constants must be {errors.shape[1]} positive numbers, got {sigmas.tolist()}"
        )
    known = np.where(area > 0, area, np.nan)
    terms = np.exp(-np.square(errors) / (2 * known[:, None] * np.square(2 * sigmas)))
    count = valid.sum(axis=1)
    total = np.where(valid, terms, 0.0).sum(axis=1)
    whole = np.divide(total, count, out=np.full(len(count), np.nan), where=count > 0)
    return np.where(np.isnan(known), np.nan, whole)


def pck_terms(
    errors: Float[np.ndarray, "n L"],
    valid: Bool[np.ndarray, "n L"],
    normaliser: Float[np.ndarray, " n"],
    share: float,
) -> Float[np.ndarray, "n L"]:
    """Return 100 for each keypoint within `share` of the normaliser, 0 for the others.

    Their mean over valid keypoints is the percentage of correct keypoints, PCK (Yang & Ramanan,
    2013); with the torso for a normaliser and `share` 0.2 PCK@0.2.

    Args:
        errors: Distances, in any pixels.
        valid: Which keypoints count.
        normaliser: Of each object, in the same pixels.
        share: How far is correct.

    Returns:
        NaN where a keypoint is not valid or the normaliser is NaN.

    Example:
        >>> valid = np.array([[True, True, False]])
        >>> pck_terms(np.array([[2.0, 2.1, 0.0]]), valid, np.array([10.0]), 0.2).tolist()
        [[100.0, 0.0, nan]]
    """
    near = 100.0 * (errors <= share * normaliser[:, None])
    return np.where(valid & ~np.isnan(normaliser)[:, None], near, np.nan)


def _mean(values: Float[np.ndarray, " n"]) -> float:
    """Return the mean of what is not NaN, NaN if nothing is left."""
    kept = values[~np.isnan(values)]
    return float(kept.mean()) if len(kept) else math.nan
