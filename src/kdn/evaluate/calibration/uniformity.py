"""Whether levels are uniform, when the landmarks of an image err together."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from kdn.evaluate.calibration.curves import covered_counts

__all__ = ["Uniformity", "uniformity_test"]

STEPS = 100
"""Midpoints of [0, 1] at which distribution functions are compared."""


@dataclass(frozen=True)
class Uniformity:
    """A Cramér–von Mises test with the image as its unit.

    Args:
        statistic: `Σ_landmarks · ∫ (F̂(u) − u)² du`.
        p_value: Share of sign changes with a statistic at least as large, at least
            `1 / (replicates + 1)`.
        images: Images with at least one level.
        replicates: Sign changes drawn.
    """

    statistic: float
    p_value: float
    images: int
    replicates: int


def uniformity_test(
    levels: Float[np.ndarray, " N"],
    image: Int[np.ndarray, " N"],
    *,
    replicates: int = 1000,
    seed: int = 0,
) -> Uniformity:
    """Test whether levels are uniform on [0, 1], images being independent and landmarks not.

    With `g_i(u)` the number of levels of image `i` up to `u` less the number expected, the
    statistic is `∫ (Σ g_i(u))² du / N`. If levels are uniform, every `g_i` has mean zero however
    much the landmarks of an image depend on each other, and its sign may be turned: the statistics
    of `∫ (Σ ± g_i(u))² du / N` are what it is compared with (a wild bootstrap that imposes the
    hypothesis; exact if deviations of an image are as likely as their opposites). A test that
    took landmarks for independent would reject right densities: 68 landmarks that all lie in the
    tail together are one surprise, not 68.

    The statistic is Cramér–von Mises's and not Anderson–Darling's, whose weight at the ends would
    test the thousandths to which levels are computed.

    Args:
        levels: In [0, 1], randomised within ties.
        image: The image of each.
        replicates: Sign changes drawn.
        seed: Of the draws.

    Raises:
        ValueError: If there is no level, one is not within [0, 1], or `replicates` is not positive.

    Example:
        >>> image = np.repeat(np.arange(50), 4)
        >>> levels = np.random.default_rng(1).uniform(size=200)
        >>> uniformity_test(levels, image).p_value > 0.05
        True
        >>> uniformity_test(levels**2, image).p_value < 0.01
        True
    """
    if replicates < 1:
        raise ValueError(f"replicates must be positive, got {replicates}")
    if not len(levels):
        raise ValueError("levels must hold at least one, got none")
    if not ((levels >= 0) & (levels <= 1)).all():
        raise ValueError("levels must be 0 to 1, got others")
    steps = (np.arange(STEPS) + 0.5) / STEPS
    _, image = np.unique(image, return_inverse=True)
    images = int(image.max()) + 1
    sizes = np.bincount(image, minlength=images).astype(np.float64)
    deviations = covered_counts(levels, image, images, steps) - sizes[:, None] * steps
    statistic = float(np.square(deviations.sum(axis=0)).mean() / len(levels))
    generator = np.random.default_rng(seed)
    signs = generator.integers(0, 2, (replicates, images)) * 2.0 - 1.0
    drawn = np.square(signs @ deviations).mean(axis=1) / len(levels)
    # Sums in another order differ by rounding, and a sign change of all images is the same one.
    larger = int((drawn >= statistic * (1.0 - 1e-9)).sum())
    return Uniformity(statistic, (1 + larger) / (1 + replicates), images, replicates)
