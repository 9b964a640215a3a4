"""The baseline: heatmaps regressed towards a Gaussian patch of fixed width."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from kdn.density import KernelDensity
from kdn.models.heads.head import CellHead

__all__ = ["SoftLabel"]

_PATCH = 7
_DEVIATION = 1.75


class SoftLabel(CellHead):
    """L2 distance between the heatmap and a 7×7 Gaussian patch of standard deviation 1.75 cells.

    The patch is the part of `exp(−|cell − point|² / (2 · 1.75²))` on the 7×7 cells around the cell
    that holds the point; its peak is at the point itself, not at the cell. The density is the
    heatmap, negative values set to zero, normalised: constant within a cell. A heatmap without a
    positive value gives the uniform density.

    Source: Bulat and Tzimiropoulos, ICCV 2017; there the patch is centred on the cell.

    Arguments as for `CellHead`.
    """

    name = "softlabel"
    fits = ("points",)
    flips = True
    decoder = "quarter"
    within = True  # no patch stands for a point outside the map

    def density(self, outputs: Float[Tensor, "batch channels rows columns"]) -> KernelDensity:
        """Return the normalised non-negative heatmap as a density, in crop pixels."""
        heat = self.kinds(outputs).squeeze(1).clamp(min=0)
        empty = (heat <= 0).all(dim=-1).all(dim=-1)
        heat = torch.where(empty[..., None, None], torch.ones_like(heat), heat)
        return KernelDensity(heat.log(), self.grid, kernel="uniform")

    def loss(
        self,
        outputs: Float[Tensor, "batch channels rows columns"],
        target: Float[Tensor, "batch landmarks 2"],
    ) -> Float[Tensor, "batch landmarks"]:
        """Return the mean squared error over the cells of each map."""
        heat = self.kinds(outputs).squeeze(1)
        return (heat - self.patches(outputs, target)).square().mean(dim=(-2, -1))

    def patches(
        self,
        outputs: Float[Tensor, "batch channels rows columns"],
        points: Float[Tensor, "batch landmarks 2"],
    ) -> Float[Tensor, "batch landmarks rows columns"]:
        """Return the patches that the maps should show, for points in crop pixels."""
        cells = self.grid.to_cells(points)
        across = _profile(cells[..., 0], outputs.shape[-1])
        down = _profile(cells[..., 1], outputs.shape[-2])
        return down.unsqueeze(-1) * across.unsqueeze(-2)


def _profile(
    centres: Float[Tensor, "batch landmarks"], cells: int
) -> Float[Tensor, "batch landmarks cells"]:
    """Return one axis of the patch, for centres in continuous cell indices."""
    index = torch.arange(cells, dtype=centres.dtype, device=centres.device)
    height = torch.exp(-((index - centres.unsqueeze(-1)) ** 2) / (2 * _DEVIATION**2))
    near = (index - centres.unsqueeze(-1).round()).abs() <= _PATCH // 2
    return torch.where(near, height, torch.zeros_like(height))
