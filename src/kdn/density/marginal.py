"""The density of one coordinate alone."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import Tensor

from kdn.grid import Grid

if TYPE_CHECKING:
    from kdn.density.distribution import KernelDensity

__all__ = ["marginal_parameters"]


def marginal_parameters(
    density: KernelDensity, axis: int
) -> tuple[Tensor, Grid, Tensor | None, Tensor | None]:
    """Return logits, grid, bandwidth and offsets of the marginal along one event axis.

    Where kernels differ in their cell alone, those of one row or column become one. Where they
    differ otherwise all are kept: the grid then divides the axis into as many cells as the whole
    grid has, and offsets lead from there to the kernels' own centres.

    Raises:
        ValueError: If the axis does not exist.
    """
    grid, logits, bandwidth = density.grid, density.logits, density.bandwidth
    if not 0 <= axis < grid.ndim:
        raise ValueError(f"axis must be 0 to {grid.ndim - 1}, got {axis}")
    if density.bandwidth is None or density.separable:
        others = [-1 - other for other in range(grid.ndim) if other != axis]
        logits = logits.logsumexp(others) if others else logits
        own = Grid((logits.shape[-1],), (grid.origin[axis],), (grid.spacing[axis],))
        return logits, own, bandwidth, None
    spacing = (grid.high[axis] - grid.low[axis]) / grid.numel
    own = Grid((grid.numel,), (grid.low[axis] + 0.5 * spacing,), (spacing,))
    centres = density.centres[..., axis, :].expand(*density.batch_shape, grid.numel)
    offsets = centres - own.centres(0, dtype=logits.dtype, device=logits.device)
    if bandwidth is not None and density.per_cell:
        bandwidth = bandwidth.flatten(-grid.ndim)
    return logits.flatten(-grid.ndim), own, bandwidth, offsets.unsqueeze(-2)
