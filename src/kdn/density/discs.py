"""The mass within a distance of a point: how likely a prediction is to be off by at most that."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor
from torch.distributions import MultivariateNormal

from kdn.density.disc_shares import (
    REACH,
    ball_share,
    box_share,
    cell_share,
    ellipse_share,
    ellipsoid_share,
    round_share,
)
from kdn.density.kernels import flat_logits, kernels_of
from kdn.density.parameters import points_batch
from kdn.density.precision import full_precision
from kdn.grid import Affine

if TYPE_CHECKING:
    from kdn.density.distribution import KernelDensity
    from kdn.density.gaussian import GaussianDensity

__all__ = ["mass_within"]

_TAIL = 1e-6
"""Bound of the mass of the least probable kernels of a map, which are left out."""

_ROUND = 1e-6
"""Kernels whose axes differ by no larger share count as round."""


def mass_within(
    density: KernelDensity | GaussianDensity,
    centre: Float[Tensor, "*any"],
    radius: float | Tensor,
    *,
    affine: Affine | None = None,
) -> Float[Tensor, "*sample_and_batch"]:
    """Return `P(|Y − centre| ≤ radius)`, `Y ~ p`, with the Euclidean distance.

    One minus it, at a prediction, is the density's own probability that the prediction is farther
    than `radius` from the truth.

    Convention: centre and radius are in the density's frame, or in that which `affine` maps into.

    The mass is the sum of the shares of the kernels that the disc holds: 1 or 0 far from its
    edge; near it, for Gaussian kernels, `1 − Q₁(d/h, r/h)` with Marcum's function (a noncentral
    χ²), for uniform kernels the area (of a volume's cells the volume) of cell and disc in common. A
    map that is no similarity makes kernels ellipses or parallelograms, for which the same is done.
    The error is below 2e-6 plus the rounding of the density's dtype. Deterministic; carries no
    gradient.

    Args:
        density: A `KernelDensity` or a `GaussianDensity`, in one to three dimensions.
        centre: `(*sample, *batch, *event)`, broadcast as the points of `log_prob`.
        radius: A number, or a tensor that is broadcast with `(*sample, *batch)`: several radii are
            leading dimensions, `(radii, 1, …, 1)`.
        affine: From the density's frame to that of centre and radius, of the density's batch shape.

    Returns:
        Masses, `(*sample, *batch)`. NaN where centre or radius is; 0 for a negative radius.

    Raises:
        ValueError: If a shape does not fit, or `affine` is given for a volume.

    Example:
        >>> from kdn.density import GaussianDensity
        >>> density = GaussianDensity(torch.zeros(3, 2), torch.eye(2))
        >>> radii = torch.tensor([1.0, 2.0]).reshape(2, 1)
        >>> mass_within(density, torch.zeros(3, 2), radii)[:, 0]
        tensor([0.3935, 0.8647])
    """
    with torch.no_grad(), full_precision(density.mean.device):
        ndim, batch = math.prod(density.event_shape), torch.Size(density.batch_shape)
        if affine is not None and ndim != 2:
            raise ValueError(f"affine must be None but in the plane, got one in {ndim}-D")
        shape = points_batch(centre, density.event_shape, batch)
        length = torch.as_tensor(radius, dtype=torch.float64, device=density.mean.device)
        try:
            shape = torch.broadcast_shapes(shape, length.shape)
        except RuntimeError as error:
            raise ValueError(
                f"radius must be broadcastable to {tuple(shape)}, got {tuple(length.shape)}"
            ) from error
        wanted = shape[len(shape) - len(batch) :]
        if wanted != batch:
            density, affine = density.expand(wanted), _expanded(affine, wanted)
        line = () if len(density.event_shape) else (1,)
        centre = centre.to(length).reshape(*centre.shape, *line).expand(*shape, ndim)
        centre = centre.reshape(-1, math.prod(wanted), ndim)
        length = length.expand(shape).reshape(-1, math.prod(wanted))
        kernels = _kernels(density, affine)
        found = torch.empty_like(length)
        for disc, (middle, reach) in enumerate(zip(centre, length, strict=True)):
            found[disc] = _of_discs(kernels, middle, reach, ndim)
        found = found.masked_fill(length.isnan() | centre.isnan().any(-1), math.nan)
        return found.reshape(shape).to(density.mean.dtype)


def _expanded(affine: Affine | None, batch: torch.Size) -> Affine | None:
    """Return the maps broadcast to a batch shape."""
    if affine is None:
        return None
    return Affine(affine.linear.expand(*batch, 2, 2), affine.offset.expand(*batch, 2))


class _Flat(NamedTuple):
    """The kernels of all maps that matter, in one list, in the frame of the discs.

    Attributes:
        row: The map of each.
        probs: Its probability.
        centres: `(kernels, ndim)`.
        axes: `(kernels, ndim, ndim)`, unit vectors in columns, or None where no kernel needs any.
        deviations: `(kernels, ndim)` standard deviations along them, the largest first; for uniform
            kernels half the sides of the cell as vectors, `(kernels, ndim, ndim)`, in columns.
        maps: How many maps there are.
        uniform: Whether the kernels are uniform.
    """

    row: Tensor
    probs: Tensor
    centres: Tensor
    axes: Tensor | None
    deviations: Tensor
    maps: int
    uniform: bool


def _kernels(density: KernelDensity | GaussianDensity, affine: Affine | None) -> _Flat:
    """Return the kernels of a density, mapped."""
    if isinstance(density, MultivariateNormal):
        return _of_gaussian(density, affine)  # type: ignore[arg-type]
    return _of_cells(density, affine)  # type: ignore[arg-type]


def _of_gaussian(density: GaussianDensity, affine: Affine | None) -> _Flat:
    """Return Gaussians as one kernel a map."""
    ndim = density.event_shape[0]
    mean = density.mean.double().reshape(-1, ndim)
    factor = density.scale_tril.double().reshape(-1, ndim, ndim)
    if affine is not None:
        linear, offset = _flat_maps(affine, mean)
        mean, factor = (linear @ mean.unsqueeze(-1)).squeeze(-1) + offset, linear @ factor
    axes, deviations, _ = torch.linalg.svd(factor)
    rows = torch.arange(len(mean), device=mean.device)
    return _Flat(rows, torch.ones_like(mean[:, 0]), mean, axes, deviations, len(mean), False)


def _of_cells(density: KernelDensity, affine: Affine | None) -> _Flat:
    """Return the kernels of a kernel density that hold all but `_TAIL` of the mass."""
    grid, ndim = density.grid, density.grid.ndim
    probs = flat_logits(density).double().flatten(1).softmax(1)
    row, cell = (probs > _TAIL / probs.shape[1]).nonzero(as_tuple=True)
    mass = probs[row, cell]
    if density.kernel == "uniform":
        centres = grid.points(dtype=torch.float64, device=mass.device).reshape(-1, ndim)[cell]
        sides = 0.5 * torch.diag(centres.new_tensor(grid.spacing)).expand(len(probs), ndim, ndim)
        if affine is not None:
            linear, offset = _flat_maps(affine, centres)
            centres = (linear[row] @ centres.unsqueeze(-1)).squeeze(-1) + offset[row]
            sides = linear @ sides
        return _Flat(row, mass, centres, None, sides[row], len(probs), True)
    kernels = kernels_of(density)
    centres = kernels.centres[row, cell].double()
    bandwidth = kernels.bandwidth[row, cell].double().unsqueeze(-1).expand(-1, ndim)
    axes = None
    if affine is not None:
        linear, offset = _flat_maps(affine, centres)
        centres = (linear[row] @ centres.unsqueeze(-1)).squeeze(-1) + offset[row]
        turned, scales, _ = torch.linalg.svd(linear)
        if bool((scales[:, 0] - scales[:, 1] > _ROUND * scales[:, 0]).any()):
            axes, bandwidth = turned[row], bandwidth * scales[row]
        else:
            bandwidth = bandwidth * scales.prod(-1).sqrt()[row].unsqueeze(-1)
    return _Flat(row, mass, centres, axes, bandwidth, len(probs), False)


def _flat_maps(affine: Affine, like: Tensor) -> tuple[Tensor, Tensor]:
    """Return the maps as `(maps, 2, 2)` and `(maps, 2)`."""
    return affine.linear.to(like).reshape(-1, 2, 2), affine.offset.to(like).reshape(-1, 2)


def _of_discs(kernels: _Flat, centre: Tensor, radius: Tensor, ndim: int) -> Float[Tensor, " maps"]:
    """Return the mass that one disc for each map, `(maps, ndim)` and `(maps,)`, holds."""
    offset = kernels.centres - centre[kernels.row]
    length, distance = radius[kernels.row], torch.linalg.vector_norm(offset, dim=-1)
    if kernels.uniform:
        reach = kernels.deviations.square().sum((-2, -1)).sqrt() * math.sqrt(2.0)
    else:
        reach = REACH * kernels.deviations[:, 0]
    shares = (distance <= length).double()
    edge = ((distance - length).abs() < reach) & (length > 0.0)
    near = edge.nonzero().squeeze(-1)
    if kernels.uniform:
        shares[near] = _uniform(offset[near], kernels.deviations[near], length[near], ndim)
    elif ndim == 3 and kernels.axes is not None:
        turned = (kernels.axes[near].mT @ offset[near].unsqueeze(-1)).squeeze(-1)
        shares[near] = ellipsoid_share(turned, kernels.deviations[near], length[near])
    elif ndim != 2:
        deviation = kernels.deviations[near, 0]
        shares[near] = ball_share(distance[near], deviation, length[near], ndim)
    elif kernels.axes is None:
        deviation = kernels.deviations[near, 0]
        shares[near] = round_share(distance[near], deviation, length[near])
    else:
        turned = (kernels.axes[near].mT @ offset[near].unsqueeze(-1)).squeeze(-1)
        shares[near] = ellipse_share(turned, kernels.deviations[near], length[near])
    shares = shares.masked_fill(length <= 0.0, 0.0)
    return shares.new_zeros(kernels.maps).index_add_(0, kernels.row, kernels.probs * shares)


def _uniform(offset: Tensor, sides: Tensor, radius: Tensor, ndim: int) -> Tensor:
    """Return what intervals, discs or balls hold of cells."""
    if ndim == 1:
        half = sides[:, 0, 0]
        low, high = offset[:, 0] - half, offset[:, 0] + half
        shared = torch.minimum(high, radius) - torch.maximum(low, -radius)
        return (shared / (2.0 * half)).clamp(0.0, 1.0)
    if ndim == 3:
        return box_share(offset, sides.diagonal(dim1=-2, dim2=-1), radius)
    x, y = sides.unbind(-1)
    corners = torch.stack([-x - y, x - y, x + y, y - x], -2)
    return cell_share(offset.unsqueeze(-2) + corners, radius)
