"""Mean and covariance of a mixture of kernels (eq. 5 of the paper)."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from kdn.grid import Grid

__all__ = ["cell_covariance", "cell_mean", "determinant", "kernel_covariance"]


def cell_mean(
    probs: Float[Tensor, "*maps"], grid: Grid, offsets: Float[Tensor, "*offsets"] | None
) -> Float[Tensor, "*batch ndim"]:
    """Return `Σ μ p` in event order, in the grid's frame.

    Args:
        probs: `(*batch, *grid.shape)`.
        grid: Where the cells are.
        offsets: `(*batch, ndim, *grid.shape)`, from cells to kernel centres.
    """
    means = []
    for axis in range(grid.ndim):
        marginal = _marginal(probs, grid, axis)
        means.append((marginal * _centres(grid, axis, probs)).sum(-1))
    mean = torch.stack(means, -1)
    if offsets is None:
        return mean
    return mean + (offsets * probs.unsqueeze(-1 - grid.ndim)).flatten(-grid.ndim).sum(-1)


def cell_covariance(
    probs: Float[Tensor, "*maps"],
    mean: Float[Tensor, "*batch ndim"],
    grid: Grid,
    offsets: Float[Tensor, "*offsets"] | None,
) -> Float[Tensor, "*batch ndim ndim"]:
    """Return `Σ (μ − μ̄)(μ − μ̄)ᵀ p` in event order; shapes as in `cell_mean`."""
    # Products are summed, not multiplied as matrices: these may be rounded to fewer digits, under
    # autocast and by `torch.set_float32_matmul_precision`.
    if offsets is not None:
        centres = _moved_centres(grid, offsets).flatten(-grid.ndim)
        centred = centres - mean.unsqueeze(-1)
        weighted = centred * probs.flatten(-grid.ndim).unsqueeze(-2)
        rows = [(row.unsqueeze(-2) * centred).sum(-1) for row in weighted.unbind(-2)]
        return torch.stack(rows, -2)
    centred = [_centres(grid, i, probs) - mean[..., i, None] for i in range(grid.ndim)]
    entries = [[mean[..., 0]] * grid.ndim for _ in range(grid.ndim)]
    for i in range(grid.ndim):
        entries[i][i] = (_marginal(probs, grid, i) * centred[i].square()).sum(-1)
        for j in range(i):
            along = (_marginal(probs, grid, i, j) * centred[j].unsqueeze(-2)).sum(-1)
            entries[i][j] = entries[j][i] = (along * centred[i]).sum(-1)
    return torch.stack([torch.stack(row, -1) for row in entries], -2)


def kernel_covariance(
    probs: Float[Tensor, "*maps"], grid: Grid, bandwidth: Float[Tensor, "*kernels"] | None
) -> Float[Tensor, "*batch ndim ndim"]:
    """Return the mean covariance of the kernels.

    `h² I` for Gaussian kernels, averaged as `Σ p h²` where `h` differs from cell to cell;
    `diag(spacing² / 12)` for uniform kernels, which have no bandwidth.
    """
    batch = probs.shape[: probs.dim() - grid.ndim]
    if bandwidth is None:
        diagonal = probs.new_tensor(grid.spacing).square() / 12
        return torch.diag(diagonal).expand(*batch, grid.ndim, grid.ndim)
    variance = bandwidth.square()
    if bandwidth.dim() == probs.dim():
        variance = (probs * variance).flatten(-grid.ndim).sum(-1)
    eye = torch.eye(grid.ndim, dtype=probs.dtype, device=probs.device)
    return variance[..., None, None] * eye


def determinant(covariance: Float[Tensor, "*batch ndim ndim"]) -> Float[Tensor, "*batch"]:
    """Return the determinant of 1×1, 2×2 or 3×3 matrices, and its gradient, in closed form."""
    a = covariance
    if a.shape[-1] == 1:
        return a[..., 0, 0]
    if a.shape[-1] == 2:
        return a[..., 0, 0] * a[..., 1, 1] - a[..., 0, 1] * a[..., 1, 0]
    return (a[..., 0, :] * torch.linalg.cross(a[..., 1, :], a[..., 2, :])).sum(-1)


def _centres(grid: Grid, axis: int, like: Tensor) -> Tensor:
    """Return the cell centres along an event axis."""
    return grid.centres(axis, dtype=like.dtype, device=like.device)


def _marginal(probs: Tensor, grid: Grid, *axes: int) -> Tensor:
    """Return the probabilities summed over all event axes but those given, in tensor order.

    Two axes are given with the larger first, which is tensor order.
    """
    rest = [-1 - axis for axis in range(grid.ndim) if axis not in axes]
    return probs.sum(rest) if rest else probs


def _moved_centres(grid: Grid, offsets: Tensor) -> Tensor:
    """Return the kernel centres, `(*batch, ndim, *grid.shape)`."""
    points = grid.points(dtype=offsets.dtype, device=offsets.device)
    return points.movedim(-1, 0) + offsets
