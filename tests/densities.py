"""Densities to test with, and the same ones by torch's own mixture."""

import torch
from torch import Tensor
from torch.distributions import Categorical, Independent, MixtureSameFamily, Normal

from kdn.density import KernelDensity
from kdn.grid import Grid

GRIDS = {
    1: Grid((7,), (-3.0,), (0.5,)),
    2: Grid((5, 7), (1.5, -2.0), (4.0, 3.0)),
    3: Grid((4, 5, 3), (0.5, 1.0, -1.0), (1.0, 2.0, 0.5)),
}
BANDWIDTHS = ("number", "landmark", "sample", "map", "cell")
BATCH = (2, 3)


def uniform(*shape: int, low: float = 0.0, high: float = 1.0, seed: int = 0) -> Tensor:
    """Return reproducible float64 numbers."""
    generator = torch.Generator().manual_seed(seed)
    return low + (high - low) * torch.rand(shape, generator=generator, dtype=torch.float64)


def bandwidth_of(form: str, grid: Grid) -> float | Tensor:
    """Return a bandwidth between half and one and a half spacings."""
    size = grid.spacing[0]
    shape = {
        "number": (),
        "landmark": (3,),
        "sample": (2, 1),
        "map": (2, 3),
        "cell": (*BATCH, *grid.shape),
    }[form]
    return 0.7 * size if form == "number" else uniform(*shape, low=0.5 * size, high=1.5 * size)


def density_of(form: str, ndim: int, *, offsets: bool = False) -> KernelDensity:
    """Return a float64 density with lively logits."""
    grid = GRIDS[ndim]
    moved = uniform(*BATCH, ndim, *grid.shape, low=-1.0, high=1.0, seed=2) if offsets else None
    logits = uniform(*BATCH, *grid.shape, low=-3.0, high=3.0, seed=1)
    return KernelDensity(logits, grid, bandwidth=bandwidth_of(form, grid), offsets=moved)


def points_of(grid: Grid, *leading: int) -> Tensor:
    """Return points in and around the grid, in event form."""
    low, high = torch.tensor(grid.low).double(), torch.tensor(grid.high).double()
    points = low + (high - low) * uniform(*leading, grid.ndim, low=-0.3, high=1.3, seed=3)
    return points.squeeze(-1) if grid.ndim == 1 else points


def mixture_of(density: KernelDensity) -> MixtureSameFamily:
    """Return the same density by torch's own mixture, with all kernels in memory."""
    grid, batch = density.grid, density.batch_shape
    mesh = torch.meshgrid(
        *(grid.origin[i] + grid.spacing[i] * torch.arange(grid.shape[-1 - i]).double()
          for i in reversed(range(grid.ndim))),
        indexing="ij",
    )  # fmt: skip
    centres = torch.stack(mesh[::-1], -1).expand(*batch, *grid.shape, grid.ndim)
    if density.offsets is not None:
        centres = centres + density.offsets.movedim(len(batch), -1)
    assert density.bandwidth is not None
    scale = density.bandwidth
    if not density.per_cell:
        scale = scale.reshape(*batch, *(1,) * grid.ndim)
    kernels = Normal(centres.flatten(len(batch), -2), scale.expand(*batch, *grid.shape)
                     .flatten(len(batch)).unsqueeze(-1))  # fmt: skip
    if grid.ndim == 1:
        kernels = Normal(kernels.loc.squeeze(-1), kernels.scale.squeeze(-1))
    else:
        kernels = Independent(kernels, 1)
    return MixtureSameFamily(Categorical(logits=density.raw_logits.flatten(len(batch))), kernels)


def in_single(density: KernelDensity) -> KernelDensity:
    """Return the same density computed in float32."""
    offsets = density.offsets
    return KernelDensity(
        density.raw_logits.float(),
        density.grid,
        bandwidth=density.bandwidth,
        offsets=None if offsets is None else offsets.float(),
    )
