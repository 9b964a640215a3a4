"""Averaging what a network says of a crop and of its mirror image, as densities."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch

from kdn.density import KernelDensity

__all__ = ["mirror_average", "turned_back"]


def mirror_average(
    density: KernelDensity, mirrored: KernelDensity, flip: Sequence[int]
) -> KernelDensity:
    """Return the mixture, half and half, of a density and one of the mirrored crop turned back.

    Turned back, cell `(row, column)` of landmark `i` is cell `(row, columns − 1 − column)` of
    landmark `flip[i]`, because the grid of a crop is symmetric about the crop's middle. The
    probabilities are averaged, not the heatmaps: each view counts one half however peaked it is.
    With one bandwidth for both (`h` where it is fixed) the result is exactly that mixture. Where
    mirror landmarks have learned bandwidths of their own, both get `√((hᵢ² + h_flip(i)²)/2)`, so
    that mean and covariance are those of the mixture.

    Args:
        density: Of crops, batch shape `(*batch, landmarks)`, on a grid over the crop.
        mirrored: Of the same crops mirrored left to right, likewise.
        flip: Which landmark each becomes in a mirror.

    Raises:
        ValueError: If the grids or kernels differ, if the kernels are moved or widened cell by
            cell, or if `flip` has another number of landmarks.

    Example:
        >>> from kdn.grid import Grid
        >>> grid = Grid.of_heatmap(height=1, width=3, stride=4)
        >>> one = KernelDensity(torch.tensor([[[0.0, 0.0, 9.0]]]), grid, bandwidth=4.0)
        >>> other = KernelDensity(torch.tensor([[[9.0, 0.0, 0.0]]]), grid, bandwidth=4.0)
        >>> bool(torch.allclose(mirror_average(one, other, (0,)).mean, one.mean))
        True
    """
    if density.grid != mirrored.grid or density.kernel != mirrored.kernel:
        raise ValueError(
            f"mirrored must have the grid and kernel of density, got {mirrored} and {density}"
        )
    if not density.separable:
        raise ValueError("density must have kernels that are alike in all cells, got others")
    back = turned_back(mirrored, flip)
    logits = torch.logaddexp(density.logits, back.logits) - math.log(2)
    if density.bandwidth is None or back.bandwidth is None:
        return KernelDensity(logits, density.grid, kernel=density.kernel)
    squares = density.bandwidth.square() + back.bandwidth.square()
    bandwidth = (0.5 * squares).sqrt()
    return KernelDensity(logits, density.grid, kernel=density.kernel, bandwidth=bandwidth)


def turned_back(mirrored: KernelDensity, flip: Sequence[int]) -> KernelDensity:
    """Return the density of mirrored crops in the frame of the crops themselves.

    Args:
        mirrored: Of crops mirrored left to right, batch shape `(*batch, landmarks)`, on a grid that
            is symmetric about the crop's middle.
        flip: Which landmark each becomes in a mirror.

    Raises:
        ValueError: If the kernels are moved or widened cell by cell, or if `flip` has another
            number of landmarks.
    """
    if not mirrored.separable:
        raise ValueError("density must have kernels that are alike in all cells, got others")
    if len(flip) != mirrored.batch_shape[-1]:
        raise ValueError(f"flip must have {mirrored.batch_shape[-1]} entries, got {len(flip)}")
    order = list(flip)
    logits, bandwidth = mirrored.logits[..., order, :, :].flip(-1), mirrored.bandwidth
    if bandwidth is None:
        return KernelDensity(logits, mirrored.grid, kernel=mirrored.kernel)
    bandwidth = bandwidth[..., order]
    return KernelDensity(logits, mirrored.grid, kernel=mirrored.kernel, bandwidth=bandwidth)
