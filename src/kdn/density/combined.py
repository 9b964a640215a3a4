"""What mixtures and products of densities have in common."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.distributions import Distribution, constraints

from kdn.density import moments
from kdn.density.lattice import (
    FINE,
    Lattice,
    extent_of,
    finest_of,
    is_fast,
    lattice_of,
    log_density_on,
    rows_of,
)
from kdn.density.precision import full_precision

if TYPE_CHECKING:
    from kdn.density.distribution import KernelDensity
    from kdn.density.gaussian import GaussianDensity
    from kdn.density.mapped import MappedDensity
    from kdn.grid import Affine

__all__ = ["CombinedDensity", "check_parts"]

_CLIMBS = 60
"""Rounds of the search for the mode."""

_MAPS = 8
"""Maps whose lattices are held at a time."""


class CombinedDensity(Distribution):
    """A density over the plane that is made of others in the same frame.

    Convention: as its components have it: points and moments in their frame, `log_prob` in nats per
    its unit squared.

    Args:
        densities: Of one batch shape, over the plane; those of a mixture over a volume too.
        weights: One for each, positive.

    Raises:
        ValueError: If there is no density, if their shapes differ or are not of the plane, or if
            the weights do not fit or are not positive.
    """

    arg_constraints = {}  # type: ignore  # noqa: RUF012  (as torch.distributions declares it)
    support = constraints.real_vector  # type: ignore
    has_rsample = False

    _events: tuple[tuple[int, ...], ...] = ((2,),)
    _where = "of the plane"
    """Event shapes that can be combined, and these in words."""

    def __init__(
        self,
        densities: Sequence[KernelDensity | GaussianDensity | MappedDensity | CombinedDensity],
        weights: Sequence[float],
    ) -> None:
        check_parts(densities, weights)
        event = tuple(densities[0].event_shape)
        if event not in self._events:
            raise ValueError(f"densities must be {self._where}, got event shape {event}")
        self.components = tuple(densities)
        self.weights = tuple(float(weight) for weight in weights)
        self._cache: dict[str, Any] = {}
        super().__init__(densities[0].batch_shape, torch.Size(event), validate_args=False)

    def __repr__(self) -> str:
        parts = ", ".join(type(part).__name__ for part in self.components)
        return f"{type(self).__name__}({parts}; weights={self.weights})"

    def _of(self, components: Sequence[Any]) -> CombinedDensity:
        """Return the same combination of other components."""
        return type(self)(components, self.weights)

    def mapped(self, affine: Affine) -> CombinedDensity:
        """Return this density in the frame that `affine` maps its own to.

        Args:
            affine: With a batch that goes with the leading dimensions of this density's.
        """
        return self._of([part.mapped(affine) for part in self.components])

    @property
    def variance(self) -> Float[Tensor, ...]:
        """Variance along each axis, `(*batch, 2)`."""
        return self.covariance_matrix.diagonal(dim1=-2, dim2=-1)

    @property
    def covariance_matrix(self) -> Float[Tensor, ...]:
        """Covariance, `(*batch, 2, 2)`."""
        raise NotImplementedError

    @property
    def uncertainty(self) -> Float[Tensor, ...]:
        """`|Cov|^½`, an area (or a volume), `(*batch)`."""
        return moments.determinant(self.covariance_matrix).sqrt()

    @property
    def uncertainty_length(self) -> Float[Tensor, ...]:
        """`|Cov|^(1/2n)` in `n` dimensions, a length, `(*batch)`."""
        return self.uncertainty ** (1.0 / self.event_shape[0])

    def mass_within(self, centre: Float[Tensor, ...], radius: float | Tensor) -> Float[Tensor, ...]:
        """Return `P(|Y − centre| ≤ radius)`, `(*sample, *batch)`.

        Args:
            centre: `(*sample, *batch, 2)`.
            radius: A number, or a tensor that is broadcast with `(*sample, *batch)`.
        """
        raise NotImplementedError

    def sample(
        self, sample_shape: Sequence[int] = (), *, generator: torch.Generator | None = None
    ) -> Float[Tensor, ...]:
        """Return random points `(*sample, *batch, 2)`, without gradient.

        Args:
            sample_shape: Leading dimensions.
            generator: Source of randomness, on the density's device; torch's own if not given.
        """
        raise NotImplementedError

    def entropy(self) -> Float[Tensor, ...]:
        """Return `−E[log p(Y)]` in nats, `(*batch)`, by the midpoint rule on a lattice."""
        with torch.no_grad(), full_precision(self._device):
            found = []
            for _, lattice in self._lattices():
                values = lattice.values.masked_fill(lattice.values == -math.inf, 0.0)
                mean = (lattice.masses * values).flatten(1).sum(1)
                found.append(lattice.log_total - mean)
            return self._batched(torch.cat(found))

    def hdr_level(self, points: Float[Tensor, ...]) -> Float[Tensor, ...]:
        """Return the mass denser than the points, `(*sample, *batch)`, from a lattice.

        Its error is what the edge of the region of that mass crosses of the cells: a few
        thousandths.
        """
        with torch.no_grad(), full_precision(self._device):
            asked = self.log_prob(points)
            shape, maps = asked.shape, math.prod(self.batch_shape)
            asked = asked.double().reshape(-1, maps).T.contiguous()
            found = torch.empty_like(asked)
            for part, lattice in self._lattices(10.0):
                values, order = lattice.values.flatten(1).sort(1, descending=True)
                mass = lattice.masses.flatten(1).gather(1, order).cumsum(1)
                mass = torch.cat([torch.zeros_like(mass[:, :1]), mass], 1)
                here = asked[part] + lattice.log_total.unsqueeze(1)
                denser = torch.searchsorted(-values, -here)
                found[part] = mass.gather(1, denser)
            found = found.clamp(0.0, 1.0).masked_fill(asked.isnan(), math.nan)
            return found.T.reshape(shape).to(self._dtype)

    def _lattices(self, fine: float = 0.0) -> Iterator[tuple[slice, Lattice]]:
        """Yield lattices of a few of the flattened maps at a time.

        Args:
            fine: Steps per uncertainty length at least, for what has edges.
        """
        total = max(1.0, self._sharpness)
        lengths = self.uncertainty_length.double().flatten() if fine else None
        for start in range(0, math.prod(self.batch_shape), _MAPS):
            part = slice(start, start + _MAPS)
            rows = rows_of(self, part)
            low, high = extent_of(rows)
            step = FINE * finest_of(rows) / math.sqrt(total)
            if lengths is not None:
                step = torch.minimum(step, lengths[part] / fine)
            fast = all(is_fast(component) for component in rows.components)
            for way in (True, False) if fast else (False,):
                lattice = lattice_of(rows._on(way), low, high, step, fast=way)
                if not way or rows._trusted(lattice):
                    break
            yield part, lattice

    def _on(self, fast: bool) -> Callable[[Tensor, Tensor], Tensor]:
        """Return the log-density of maps on lattices, up to a constant, as a function."""

        def on(x: Tensor, y: Tensor) -> Tensor:
            return self._combine([log_density_on(c, x, y, fast=fast) for c in self.components])

        return on

    def _combine(self, values: Sequence[Tensor]) -> Tensor:
        """Return the log-density up to a constant from those of the components."""
        raise NotImplementedError

    def _trusted(self, lattice: Lattice) -> bool:
        """Return whether what underflows in the fast way does not matter."""
        return True

    _sharpness = 1.0
    """How many times narrower, in variance, than its kernels the density can be."""

    @property
    def _dtype(self) -> torch.dtype:
        return self.components[0].mean.dtype

    @property
    def _device(self) -> torch.device:
        return self.components[0].mean.device

    def _batched(self, flat: Tensor) -> Tensor:
        """Return numbers of the flattened maps in batch shape and dtype."""
        return flat.reshape(*self.batch_shape, *flat.shape[1:]).to(self._dtype)

    @property
    def mode(self) -> Float[Tensor, ...]:
        """Position of the highest density, `(*batch, 2)`, as found by climbing.

        From the modes of the components and from the mean, by stencils of three points along each
        axis that move uphill and shrink; of the ends the highest is taken. It is never lower than a
        start. The place is exact to a hundredth of the narrowest kernel. No gradient.
        """
        if "mode" not in self._cache:
            with torch.no_grad(), full_precision(self._device):
                starts = torch.stack([part.mode for part in self.components] + self._starts())
                self._cache["mode"] = self._climb(starts.to(self.mean))
        return self._cache["mode"]

    def _starts(self) -> list[Tensor]:
        """Return more points to climb from."""
        return [self.mean]

    def _climb(self, points: Float[Tensor, "starts *batch ndim"]) -> Float[Tensor, "*batch ndim"]:
        """Return the highest of the points that are reached uphill."""
        ticks = torch.tensor([-1.0, 0.0, 1.0]).to(points)
        ndim = points.shape[-1]
        stencil = torch.cartesian_prod(*[ticks] * ndim)
        stencil = stencil.reshape(-1, *(1,) * (points.dim() - 1), ndim)
        middle = len(stencil) // 2
        step = 0.5 * finest_of(self).reshape(self.batch_shape).to(points)
        smallest, step = 0.01 * step, step.expand(points.shape[:-1])
        for _ in range(_CLIMBS):
            around = points + step.unsqueeze(-1) * stencil
            values = self.log_prob(around)
            best = values.argmax(0)
            # The middle stays where nothing is higher, and then the stencil shrinks.
            stays = values.gather(0, best.unsqueeze(0)).squeeze(0) <= values[middle]
            index = torch.where(stays, torch.full_like(best, middle), best)
            chosen = index.unsqueeze(0).unsqueeze(-1).expand(1, *points.shape)
            points = around.gather(0, chosen).squeeze(0)
            step = torch.where(stays, 0.5 * step, step)
            if bool((step < smallest).all()):
                break
        highest = self.log_prob(points).argmax(0)
        index = highest.unsqueeze(0).unsqueeze(-1).expand(1, *points.shape[1:])
        return points.gather(0, index).squeeze(0)


def check_parts(densities: Sequence[Any], weights: Sequence[float]) -> None:
    """Raise if densities cannot be combined, or weights do not fit them."""
    if not len(densities):
        raise ValueError("densities must hold at least one, got none")
    shapes = [(tuple(part.batch_shape), tuple(part.event_shape)) for part in densities]
    if len(set(shapes)) > 1:
        raise ValueError(f"densities must have one batch and event shape, got {shapes}")
    if len(weights) != len(densities):
        raise ValueError(f"weights must be {len(densities)}, got {len(weights)}")
    if not all(0.0 < weight < math.inf for weight in weights):
        raise ValueError(f"weights must be positive, got {tuple(weights)}")
