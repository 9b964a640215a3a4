"""Averaging what a network says of a crop and of its flipped image, as densities."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch

from kdn.density import KernelDensity

__all__ = ["flip_average", "turned_back"]


def flip_average(
    density: KernelDensity, flipped: KernelDensity, flip: Sequence[int]
) -> KernelDensity:
    """Return the mixture, half and half, of a density and one of the flipped crop turned back.

    Turned back, cell `(row, column)` of landmark `i` is cell `(row, columns − 1 − column)` of
    landmark `flip[i]`, because the grid of a crop is symmetric about the crop's middle; scalars
    stay as they are. The probabilities are averaged, not the logits: each look counts one half
    however peaked it is. With one bandwidth for both (`h` where it is fixed) the result is exactly
    that mixture. Where labels that flip into each other have learned bandwidths of their own, both
    get `√((hᵢ² + h_flip(i)²)/2)`, so that mean and covariance are those of the mixture.

    Args:
        density: Of crops, batch shape `(*batch, labels)`.
        flipped: Of the same crops flipped left to right, likewise.
        flip: Which label each becomes.

    Raises:
        ValueError: If the grids or kernels differ, if the kernels are moved or widened cell by
            cell, or if `flip` has another number of labels.

    Example:
        >>> from kdn.grid import Grid
        >>> grid = Grid.of_heatmap(height=1, width=3, stride=4)
        >>> one = KernelDensity(torch.tensor([[[0.0, 0.0, 9.0]]]), grid, bandwidth=4.0)
        >>> other = KernelDensity(torch.tensor([[[9.0, 0.0, 0.0]]]), grid, bandwidth=4.0)
        >>> bool(torch.allclose(flip_average(one, other, (0,)).mean, one.mean))
        True
    """
    if density.grid != flipped.grid or density.kernel != flipped.kernel:
        raise ValueError(
            f"flipped must have the grid and kernel of density, got {flipped} and {density}"
        )
    _require_alike(density)
    back = turned_back(flipped, flip)
    logits = torch.logaddexp(density.logits, back.logits) - math.log(2)
    bandwidth = None
    if density.bandwidth is not None and back.bandwidth is not None:
        bandwidth = (0.5 * (density.bandwidth.square() + back.bandwidth.square())).sqrt()
    return KernelDensity(logits, density.grid, kernel=density.kernel, bandwidth=bandwidth)


def turned_back(flipped: KernelDensity, flip: Sequence[int]) -> KernelDensity:
    """Return the density of flipped crops in the frame of the crops themselves.

    Args:
        flipped: Of crops flipped left to right, batch shape `(*batch, labels)`; in the plane on a
            grid that is symmetric about the crop's middle.
        flip: Which label each becomes.

    Raises:
        ValueError: If the kernels are moved or widened cell by cell, or if `flip` has another
            number of labels.
    """
    _require_alike(flipped)
    if len(flip) != flipped.batch_shape[-1]:
        raise ValueError(f"flip must have {flipped.batch_shape[-1]} entries, got {len(flip)}")
    order, ndim = torch.tensor(flip, device=flipped.logits.device), flipped.grid.ndim
    logits, bandwidth = flipped.logits.index_select(-1 - ndim, order), flipped.bandwidth
    return KernelDensity(
        logits.flip(-1) if ndim > 1 else logits,
        flipped.grid,
        kernel=flipped.kernel,
        bandwidth=None if bandwidth is None else bandwidth[..., order],
    )


def _require_alike(density: KernelDensity) -> None:
    if density.per_cell or density.offsets is not None:
        raise ValueError("density must have kernels that are alike in all cells, got others")
