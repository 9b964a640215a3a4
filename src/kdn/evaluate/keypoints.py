"""Scores of keypoints of bodies: COCO's similarity (OKS), and PCK."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, Float

__all__ = ["BOX_AREA", "COCO_CONSTANTS", "oks", "pck_terms"]

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
