"""Whether predicted densities fit the labels: negative log-likelihood and coverage.

All is pooled over the valid landmarks of all images.
"""

from __future__ import annotations

import math

import numpy as np
from jaxtyping import Bool, Float

__all__ = ["coverage", "crop_log_prob", "nll", "nll_median", "zero_density"]


def crop_log_prob(
    log_prob: Float[np.ndarray, "n L"], crop_to_image: Float[np.ndarray, "n 2 3"]
) -> Float[np.ndarray, "n L"]:
    """Return log-densities per crop pixel² from those per image pixel²: `+ log|det A|`.

    Example:
        >>> twice = np.array([[[2.0, 0.0, 7.0], [0.0, 2.0, 8.0]]])  # 1 crop px is 2 image px wide
        >>> crop_log_prob(np.array([[-3.0]]), twice).round(4).tolist()
        [[-1.6137]]
    """
    linear = crop_to_image[..., :2]
    determinant = linear[:, 0, 0] * linear[:, 1, 1] - linear[:, 0, 1] * linear[:, 1, 0]
    with np.errstate(divide="ignore"):
        return log_prob + np.log(np.abs(determinant))[:, None]


def nll(log_prob: Float[np.ndarray, "n L"], valid: Bool[np.ndarray, "n L"]) -> float:
    """Return the mean negative log-likelihood of the valid landmarks, in nats, in log_prob's frame.

    It is infinite as soon as one label has zero density, as under a piecewise constant density
    that does not reach it.
    """
    return float(-log_prob[valid].mean()) if valid.any() else math.nan


def nll_median(log_prob: Float[np.ndarray, "n L"], valid: Bool[np.ndarray, "n L"]) -> float:
    """Return the median negative log-likelihood of the valid landmarks, in nats."""
    if not valid.any():
        return math.nan
    # Halfway between two middle values, which may both be infinite.
    values = np.sort(-log_prob[valid])
    low, high = values[(len(values) - 1) // 2], values[len(values) // 2]
    return float(low if low == high else 0.5 * (low + high))


def zero_density(log_prob: Float[np.ndarray, "n L"], valid: Bool[np.ndarray, "n L"]) -> float:
    """Return the percentage of valid landmarks at which the density is zero."""
    return float(100.0 * np.isneginf(log_prob[valid]).mean()) if valid.any() else math.nan


def coverage(
    hdr_level: Float[np.ndarray, "n L"], valid: Bool[np.ndarray, "n L"], nominal: float
) -> float:
    """Return the percentage of valid landmarks inside the region of mass `nominal`.

    A label is inside the region of highest density with mass `nominal` if the mass of all that is
    denser than the density at the label, its `hdr_level`, is at most that.

    Args:
        hdr_level: In [0, 1]; uniformly distributed when the densities are right.
        valid: True where the label counts.
        nominal: Between 0 and 1.

    Raises:
        ValueError: If `nominal` is not between 0 and 1.

    Example:
        >>> coverage(np.array([[0.2, 0.5, 0.9]]), np.array([[True, True, False]]), 0.5)
        100.0
    """
    if not 0 <= nominal <= 1:
        raise ValueError(f"nominal must be between 0 and 1, got {nominal}")
    return float(100.0 * (hdr_level[valid] <= nominal).mean()) if valid.any() else math.nan
