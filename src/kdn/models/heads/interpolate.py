"""Bicubic interpolation of maps to a finer grid, as two matrix products."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

__all__ = ["interpolate_maps"]


def interpolate_maps(
    maps: Float[Tensor, "*batch rows columns"], factor: int
) -> Float[Tensor, "*batch fine_rows fine_columns"]:
    """Return maps on `Grid.refine(factor)`: `Rᵀ · map · C`, bicubic (a = −¾) with edges repeated.

    The same numbers as `F.interpolate(…, mode="bicubic", align_corners=False)`, several times
    faster on a CPU, forwards and backwards, because the filter is separable.

    Args:
        maps: Values at the cells.
        factor: How many times finer the grid is on each axis.
    """
    if factor == 1:
        return maps
    rows = _bicubic_matrix(maps.shape[-2], factor, maps)
    columns = _bicubic_matrix(maps.shape[-1], factor, maps)
    return torch.matmul(torch.matmul(rows, maps), columns.T)


def _bicubic_matrix(cells: int, factor: int, like: Tensor) -> Float[Tensor, "fine coarse"]:
    """Return the matrix that interpolates one axis: the image of every unit vector."""
    units = torch.eye(cells, dtype=like.dtype, device=like.device)[None, None]
    size = (cells * factor, cells)
    return F.interpolate(units, size=size, mode="bicubic", align_corners=False)[0, 0]
