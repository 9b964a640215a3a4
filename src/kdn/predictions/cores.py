"""The shape of a heatmap's peak, told apart from the floor under it."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

from kdn.predictions.maps import Maps

__all__ = ["core_covariances"]


def core_covariances(maps: Maps, share: float = 0.5) -> Float[np.ndarray, "n L 3"]:
    """Return the covariance of the core of each heatmap: of its cells near the peak's mass.

    The core are the cells with at least `share` of the mass of the most probable one, wherever they
    lie: two peaks of like height are both in it. It is weighted by these masses, and a cell's own
    covariance `spacing²/12` is added on the diagonal. A low floor, which can make most of the
    covariance of a whole map, is not in it.

    A Gaussian that is large against the cells has an ellipse as its core, and there
    `1 + share·log(share)/(1 − share)` times its covariance: 0.307 times for one half.

    Args:
        maps: Heatmaps.
        share: In (0, 1].

    Returns:
        `(xx, xy, yy)`, crop px²; NaN for a map without any mass.

    Raises:
        ValueError: If `share` is not in (0, 1].
    """
    if not 0 < share <= 1:
        raise ValueError(f"share must be in (0, 1], got {share}")
    height, width = maps.grid.shape
    across, down = maps.grid.spacing
    # About the middle of the map, so that the squares lose no digits to a far origin.
    x = across * (np.arange(width) - 0.5 * (width - 1))
    y = down * (np.arange(height) - 0.5 * (height - 1))
    own = np.array([across**2, 0.0, down**2]) / 12
    result = np.empty((*maps.log_probs.shape[:2], 3))
    for i, log_probs in enumerate(maps.log_probs):  # one face's in float64 at a time
        result[i] = own + _covariances(_cores(log_probs.astype(np.float64), share), x, y)
    return result


def _cores(log_probs: Float[np.ndarray, "L gh gw"], share: float) -> Float[np.ndarray, "L gh gw"]:
    """Return the masses of each core, adding up to 1."""
    highest = log_probs.max(axis=(1, 2), keepdims=True)
    with np.errstate(invalid="ignore"):  # −∞ − −∞ in a map without any mass
        masses = np.exp(log_probs - highest)
    masses[masses < share] = 0.0
    return masses / masses.sum(axis=(1, 2), keepdims=True)


def _covariances(
    masses: Float[np.ndarray, "L gh gw"], x: Float[np.ndarray, " gw"], y: Float[np.ndarray, " gh"]
) -> Float[np.ndarray, "L 3"]:
    """Return the covariance `(xx, xy, yy)` of masses at points."""
    along_x, along_y = masses.sum(axis=1), masses.sum(axis=2)
    mean_x, mean_y = along_x @ x, along_y @ y
    xx = along_x @ x**2 - mean_x**2
    xy = np.einsum("lyx,x,y->l", masses, x, y, optimize=True) - mean_x * mean_y
    yy = along_y @ y**2 - mean_y**2
    return np.stack([xx, xy, yy], axis=-1)
