"""How much of the mass lies together: the heaviest square of a given side."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
from jaxtyping import Float
from torch import Tensor

from kdn.density.masses import cell_masses
from kdn.density.precision import full_precision

if TYPE_CHECKING:
    from kdn.density.distribution import KernelDensity
    from kdn.density.gaussian import GaussianDensity

__all__ = ["peak_mass"]

_NODES = 64
"""Of Gauss and Legendre, across the square; errors below 1e-9 down to a fiftieth of the side."""


def peak_mass(density: KernelDensity | GaussianDensity, side: float) -> Float[Tensor, "*batch"]:
    """Return the mass of the heaviest square with sides along the axes, `max_c P(Y ∈ c ± side/2)`.

    1 for a density that is all in one place, towards 0 for one that is spread out; two equal modes
    further apart than the side have ½. An affine map that leaves squares squares leaves it as it
    is, if the side goes with it.

    For a `KernelDensity` the mass of each square is exact, and the squares are those whose edges
    lie on edges of the grid's cells, or of halves (thirds, …) of cells where a cell is more than
    half a side. So the result is below that of the heaviest square anywhere, by no more than a
    quarter of a side out of place on each axis makes. Squares lie within the grid. For a
    `GaussianDensity` it is the square about the mean, by quadrature.

    Carries no gradient.

    Args:
        density: On a 2-D grid, or in the plane.
        side: Of the square, in the density's frame and unit; on a grid a whole number of cells, or
            a cell a whole number of sides.

    Returns:
        Masses, `(*batch)`, 0 to 1.

    Raises:
        ValueError: If the density is not one of the plane, or the side is not positive or does not
            fit the grid.

    Example:
        >>> from kdn.density import KernelDensity
        >>> from kdn.grid import Grid
        >>> grid = Grid.of_heatmap(height=3, width=5, stride=4)
        >>> probs = torch.tensor([[0, 0.1, 0, 0, 0], [0, 0.2, 0.3, 0, 0], [0, 0, 0, 0, 0.4]])
        >>> density = KernelDensity(probs.log(), grid, kernel="uniform")
        >>> [round(peak_mass(density, side).item(), 3) for side in (4.0, 8.0)]
        [0.4, 0.6]
    """
    if tuple(density.event_shape) != (2,):
        raise ValueError(
            f"density must be one of the plane, got event shape {tuple(density.event_shape)}"
        )
    if not (math.isfinite(side) and side > 0):
        raise ValueError(f"side must be positive and finite, got {side}")
    with torch.no_grad():
        if not hasattr(density, "grid"):
            return _of_gaussian(density, side)  # type: ignore[arg-type]
        return _of_grid(density, side)  # type: ignore[arg-type]


def _of_grid(density: KernelDensity, side: float) -> Float[Tensor, "*batch"]:
    """Return the largest sum of cell masses over a window of the side."""
    grid = density.grid
    refine = max(1, math.ceil(2 * max(grid.spacing) / side - 1e-9))
    windows = [side * refine / step for step in reversed(grid.spacing)]
    cells = [round(window) for window in windows]
    if any(abs(w - c) > 1e-6 * c for w, c in zip(windows, cells, strict=True)):
        raise ValueError(
            f"side must be a whole number of cells of {grid.spacing}, or the other way round, "
            f"got {side}"
        )
    masses = cell_masses(density, refine).double()
    for dim, count in ((-2, cells[0]), (-1, cells[1])):
        size = masses.shape[dim]
        sums = torch.cat([torch.zeros_like(masses.narrow(dim, 0, 1)), masses.cumsum(dim)], dim)
        count = min(count, size)
        masses = sums.narrow(dim, count, size + 1 - count) - sums.narrow(dim, 0, size + 1 - count)
    largest = masses.amax((-2, -1)).clamp(0.0, 1.0)
    return largest.to(density.logits.dtype).reshape(density.batch_shape)


def _of_gaussian(density: GaussianDensity, side: float) -> Float[Tensor, "*batch"]:
    """Return the mass of the square about the mean: across by quadrature, along in closed form.

    With the factor `[[a, 0], [b, c]]`, `y` given `x = a u` is normal about `b u` with deviation
    `c`. The nodes cover the square or ten deviations, whichever is less.
    """
    with full_precision(density.loc.device):
        tril = density.scale_tril.double()
        a, b, c = tril[..., 0, 0], tril[..., 1, 0], tril[..., 1, 1]
        half = 0.5 * side
        nodes, weights = _gauss_legendre(tril)
        reach = (half / a).clamp(max=10.0)
        u = reach.unsqueeze(-1) * nodes
        middle, deviation = b.unsqueeze(-1) * u, c.unsqueeze(-1)
        across = torch.special.ndtr((half - middle) / deviation)
        across = across - torch.special.ndtr((-half - middle) / deviation)
        terms = weights * across * torch.exp(-0.5 * u * u) / math.sqrt(2 * math.pi)
        return (reach * terms.sum(-1)).to(density.loc.dtype).clamp(0.0, 1.0)


def _gauss_legendre(like: Tensor) -> tuple[Float[Tensor, " nodes"], Float[Tensor, " nodes"]]:
    """Return nodes and weights on [−1, 1], from the Jacobi matrix (Golub and Welsch, 1969)."""
    k = torch.arange(1, _NODES, dtype=torch.float64)
    beside = k / (4 * k * k - 1).sqrt()
    nodes, vectors = torch.linalg.eigh(torch.diag(beside, 1) + torch.diag(beside, -1))
    return nodes.to(like), (2 * vectors[0].square()).to(like)
