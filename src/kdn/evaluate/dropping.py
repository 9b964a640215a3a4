"""What giving up the least sure landmarks does to the error of the others."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from kdn.evaluate.bootstrap import interval, resample_counts
from kdn.evaluate.sparsification import sparsification_resampled

__all__ = ["Dropping", "dropping"]

_Interval = tuple[float, float]


@dataclass(frozen=True)
class Dropping:
    """By how much a mean error falls when a share of the landmarks is dropped, in percent.

    Args:
        removed: Share of the landmarks that is dropped, percent.
        lowered: By how much the mean error falls if those of the largest score are.
        lowered_interval: 95 %, over images.
        oracle: The same if those of the largest error are: the most there is to gain.
        oracle_interval: 95 %, over images.
        gained: `lowered / oracle`, percent.
        gained_interval: 95 %, over images; numerator and denominator of the same resample.
    """

    removed: float
    lowered: float
    lowered_interval: _Interval
    oracle: float
    oracle_interval: _Interval
    gained: float
    gained_interval: _Interval

    def __str__(self) -> str:
        """Return it as a sentence."""
        low, high = self.lowered_interval
        between = "" if np.isnan(low) else f" ({low:.1f} to {high:.1f})"
        return (
            f"dropping the least sure {self.removed:g} % of the landmarks lowers the mean error by "
            f"{self.lowered:.1f} %{between}; the best possible choice, by {self.oracle:.1f} %"
        )


def dropping(
    score: Float[np.ndarray, " N"],
    errors: Float[np.ndarray, " N"],
    image: Int[np.ndarray, " N"],
    removed: Float[np.ndarray, " shares"],
    *,
    bootstrap: int = 1000,
    seed: int = 0,
) -> list[Dropping]:
    """Return by how much the mean error falls when the landmarks of the largest score are dropped.

    `1 − mean(errors of the rest) / mean(errors of all)`, by `kdn.evaluate.sparsification`. The
    score is anything that ought to be large where the error is: the uncertainty `|Cov|^¼`,
    the entropy, the probability of a large error. With errors divided by their face's length
    the mean error is an NME in which every landmark counts the same.

    Args:
        score: One per landmark, of all images.
        errors: One per landmark, in any unit.
        image: The image of each, counted from 0.
        removed: Shares in (0, 1).
        bootstrap: Resamples of the images; 0 for no intervals.
        seed: Of the resampling.

    Raises:
        ValueError: If the arrays differ in length, or a share is not within (0, 1).

    Example:
        >>> errors = np.array([1.0, 1.0, 2.0, 4.0])
        >>> one, = dropping(np.array([0.0, 1.0, 9.0, 5.0]), errors, np.arange(4), np.array([0.25]),
        ...                 bootstrap=0)
        >>> one.lowered, round(one.oracle, 3), one.gained
        (0.0, 33.333, 0.0)
    """
    if not len(score) == len(errors) == len(image):
        lengths = f"{len(score)}, {len(errors)} and {len(image)}"
        raise ValueError(f"score, errors and image must be of one length, got {lengths}")
    shares = np.asarray(removed, np.float64)
    if not ((shares > 0) & (shares < 1)).all():
        raise ValueError(f"removed must be shares above 0 and below 1, got {shares.tolist()}")
    images = int(image.max()) + 1 if len(image) else 0
    drawn = resample_counts(images, bootstrap, np.random.default_rng(seed))
    counts = np.concatenate([np.ones((1, images)), drawn])
    asked = np.concatenate([[0.0], shares])
    falls = []
    for key in (score, errors):
        curve = sparsification_resampled(key, errors, image, counts, asked)
        whole = np.where(curve[:, :1] > 0, curve[:, :1], np.nan)
        falls.append(100.0 * (1.0 - curve[:, 1:] / whole))
    ours, oracle = falls
    gained = 100.0 * ours / np.where(oracle > 0, oracle, np.nan)
    return [
        Dropping(
            100.0 * float(share), *_ends(ours[:, i]), *_ends(oracle[:, i]), *_ends(gained[:, i])
        )
        for i, share in enumerate(shares)
    ]


def _ends(values: Float[np.ndarray, " replicates"]) -> tuple[float, _Interval]:
    """Return the value of the samples themselves, and the interval of the resamples."""
    return float(values[0]), interval(values[1:])
