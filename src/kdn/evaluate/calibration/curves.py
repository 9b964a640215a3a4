"""Curves of a diagnosis: coverage against nominal mass, error against share of landmarks kept."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Int

from kdn.evaluate.sparsification import REMOVED, sparsification

__all__ = ["NOMINAL", "coverage_curve", "covered_counts", "random_levels", "risk_coverage"]

NOMINAL = np.arange(1, 100) / 100
"""Masses of the regions whose coverage is compared: 1, 2, …, 99 %."""


def random_levels(
    hdr_level: Float[np.ndarray, "*any"],
    hdr_tie: Float[np.ndarray, "*any"] | None,
    generator: np.random.Generator,
) -> Float[np.ndarray, "*any"]:
    """Return `hdr_level + U · hdr_tie`, `U` uniform on [0, 1]: the level, randomised within ties.

    The probability integral transform of a density in the plane: uniform on [0, 1] if labels are
    drawn from the densities, also where cells of equal density hold much, as uniform kernels' do.

    Args:
        hdr_level: Mass of all that is denser than the density at the label.
        hdr_tie: Mass of all that is as dense; None for none.
        generator: Of `U`; one number is drawn for every entry, tied or not.

    Source: Czado, Gneiting & Held, Predictive model assessment for count data, Biometrics 2009
    (the randomised transform).

    Example:
        >>> generator = np.random.default_rng(0)
        >>> random_levels(np.array([0.5, 0.5]), np.array([0.0, 0.2]), generator).round(3).tolist()
        [0.5, 0.554]
    """
    if hdr_tie is None:
        return hdr_level
    return np.clip(hdr_level + generator.uniform(size=hdr_level.shape) * hdr_tie, 0.0, 1.0)


def covered_counts(
    levels: Float[np.ndarray, " N"],
    image: Int[np.ndarray, " N"],
    images: int,
    nominal: Float[np.ndarray, " masses"],
) -> Float[np.ndarray, "images masses"]:
    """Return how many landmarks of every image lie in the region of each nominal mass."""
    first = np.searchsorted(nominal, levels, side="left")  # the smallest region with the label
    counts = np.zeros((images, len(nominal) + 1))
    np.add.at(counts, (image, first), 1.0)
    return counts[:, :-1].cumsum(axis=1)


def coverage_curve(
    levels: Float[np.ndarray, " N"], nominal: Float[np.ndarray, " masses"] = NOMINAL
) -> Float[np.ndarray, " masses"]:
    """Return the share of labels inside the regions of each nominal mass, as a share.

    Example:
        >>> coverage_curve(np.array([0.1, 0.4, 0.4, 0.95]), np.array([0.25, 0.4, 0.9])).tolist()
        [0.25, 0.75, 0.75]
    """
    image = np.zeros(len(levels), np.int64)
    return covered_counts(levels, image, 1, np.asarray(nominal))[0] / max(1, len(levels))


def risk_coverage(
    uncertainty: Float[np.ndarray, " N"], errors: Float[np.ndarray, " N"]
) -> tuple[
    Float[np.ndarray, " shares"], Float[np.ndarray, " shares"], Float[np.ndarray, " shares"]
]:
    """Return shares of landmarks kept, the mean error of the surest of them, and the oracle's.

    The sparsification curve read from the other end and in the unit of the errors: what a user who
    answers for a share of all landmarks only has to expect. The oracle keeps those that err least.
    The mean over the shares is the area under the curve (AURC).

    Example:
        >>> errors = np.array([1.0, 4.0, 2.0, 3.0])
        >>> kept, risk, oracle = risk_coverage(np.array([1.0, 2.0, 3.0, 4.0]), errors)
        >>> kept[[24, 49, 99]].round(2).tolist()
        [0.25, 0.5, 1.0]
        >>> risk[[24, 49, 99]].round(2).tolist(), oracle[[24, 49, 99]].round(2).tolist()
        ([1.0, 2.5, 2.5], [1.0, 1.5, 2.5])
    """
    removed = np.array(REMOVED)
    risk, oracle = (sparsification(key, errors, removed)[::-1] for key in (uncertainty, errors))
    return 1.0 - removed[::-1], risk, oracle
