"""The product of several densities: all of them are right, and each says something of its own."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from kdn.density.combined import CombinedDensity, check_parts
from kdn.density.distribution import KernelDensity
from kdn.density.gaussian import GaussianDensity
from kdn.density.lattice import Lattice, log_density_on
from kdn.density.mapped import MappedDensity
from kdn.density.mixture import MixtureDensity, same_kernels, same_map
from kdn.density.precision import full_precision

__all__ = ["ProductDensity", "product"]


class ProductDensity(CombinedDensity):
    """`p(y) = Π p_i(y)^w_i / Z`, `Z = ∫ Π p_i^w_i`.

    `log Z` and the moments come from the midpoint rule on a lattice over all kernels and their
    tails, with 1.25 steps per standard deviation of the narrowest kernel of the product, in
    log-space. For kernels and Gaussians the error of `log_prob` is below 1e-3 nats; with uniform
    kernels, whose cells the lattice cuts, it may reach 0.05. It holds also where the components
    hardly overlap. Where no place has a positive density under all of them, which only uniform
    kernels can bring about, they contradict each other, and the mixture with the same weights
    stands for the product.

    `log_prob` carries gradients to the points only.

    Args:
        densities: Over the plane, in one frame and of one batch shape.
        weights: Exponents, positive, one for each.

    Raises:
        ValueError: If shapes or weights do not fit.

    Example:
        >>> one, other = (GaussianDensity(torch.full((3, 2), x), torch.eye(2)) for x in (0.0, 4.0))
        >>> both = ProductDensity([one, other], (1.0, 1.0))
        >>> both.mean[0].tolist(), both.variance[0].tolist()
        ([2.0, 2.0], [0.5, 0.5])
    """

    @property
    def _sharpness(self) -> float:  # type: ignore[override]
        return sum(self.weights)

    def _combine(self, values: Sequence[Tensor]) -> Tensor:
        return sum(w * value for value, w in zip(values, self.weights, strict=True))  # type: ignore

    def _trusted(self, lattice: Lattice) -> bool:
        # A component that underflows is below exp(−667); the others are hardly above exp(10).
        most = -667.0 * min(self.weights) + 10.0 * sum(self.weights)
        return bool((lattice.values.flatten(1).amax(1) > most + 40.0).all())

    def _on(self, fast: bool) -> Callable[[Tensor, Tensor], Tensor]:
        def on(x: Tensor, y: Tensor) -> Tensor:
            values = [log_density_on(part, x, y, fast=fast) for part in self.components]
            own = self._combine(values)
            void = (own == -math.inf).flatten(1).all(1)
            if fast or not bool(void.any()):  # in the fast way it may be mere underflow
                return own
            return torch.where(void.reshape(-1, 1, 1), self._instead._combine(values), own)

        return on

    def _facts(self) -> dict[str, Tensor]:
        """Return `log_total`, `mean`, `covariance`, `peak`, and `void` where there is none."""
        if not self._cache.get("facts"):
            with torch.no_grad(), full_precision(self._device):
                parts = [_facts_of(lattice) for _, lattice in self._lattices()]
                flat = {name: torch.cat([part[name] for part in parts]) for name in parts[0]}
                shape = tuple(self.batch_shape)
                facts = {name: v.reshape(*shape, *v.shape[1:]) for name, v in flat.items()}
                peak = facts["peak"].to(self._dtype)
                there = self._combine([part.log_prob(peak) for part in self.components])
                facts["void"] = there == -math.inf
                facts["log_total"].masked_fill_(facts["void"], -math.inf)
            self._cache["facts"] = facts
        return self._cache["facts"]

    @property
    def _instead(self) -> MixtureDensity:
        """What stands for the product where there is none."""
        return MixtureDensity(self.components, self.weights)

    def _chosen(self, own: Tensor, name: str) -> Tensor:
        """Return a moment, of the mixture where there is no product."""
        void = self._facts()["void"]
        own = own.to(self._dtype)
        if not bool(void.any()):
            return own
        void = void.reshape(*void.shape, *(1,) * (own.dim() - void.dim()))
        return torch.where(void, getattr(self._instead, name), own)

    @property
    def log_normaliser(self) -> Float[Tensor, ...]:
        """`log Z`, `(*batch)`: how well the components agree; −∞ where they contradict."""
        return self._facts()["log_total"].to(self._dtype)

    def log_prob(self, points: Float[Tensor, ...]) -> Float[Tensor, ...]:
        """Return `Σ w_i log p_i(y) − log Z` at `(*sample, *batch, 2)`."""
        facts = self._facts()
        total = self._combine([part.log_prob(points) for part in self.components])
        void = facts["void"]
        own = total - facts["log_total"].masked_fill(void, 0.0).to(total)
        if not bool(void.any()):
            return own
        return torch.where(void, self._instead.log_prob(points), own)

    @property
    def mean(self) -> Float[Tensor, ...]:
        """Mean, `(*batch, 2)`."""
        return self._chosen(self._facts()["mean"], "mean")

    @property
    def covariance_matrix(self) -> Float[Tensor, ...]:
        """Covariance, `(*batch, 2, 2)`."""
        return self._chosen(self._facts()["covariance"], "covariance_matrix")

    def _starts(self) -> list[Tensor]:
        return [self.mean, self._facts()["peak"].to(self.mean)]

    def mass_within(self, centre: Float[Tensor, ...], radius: float | Tensor) -> Float[Tensor, ...]:
        """Return `P(|Y − centre| ≤ radius)` from a lattice; the error is about 1e-3.

        Args:
            centre: `(*sample, *batch, 2)`.
            radius: A number, or a tensor that is broadcast with `(*sample, *batch)`.
        """
        with torch.no_grad(), full_precision(self._device):
            length = torch.as_tensor(radius).to(centre.device).double()
            shape = torch.broadcast_shapes(centre.shape[:-1], length.shape, self.batch_shape)
            maps = math.prod(self.batch_shape)
            centre = centre.double().expand(*shape, 2).reshape(-1, maps, 2)
            length = length.expand(shape).reshape(-1, maps)
            found = torch.empty_like(length)
            for part, lattice in self._lattices(5.0):
                for disc, (middle, reach) in enumerate(zip(centre, length, strict=True)):
                    found[disc, part] = _within(lattice, middle[part], reach[part])
            found = found.masked_fill(centre.isnan().any(-1) | length.isnan(), math.nan)
            return found.reshape(shape).to(self._dtype)

    def sample(
        self, sample_shape: Sequence[int] = (), *, generator: torch.Generator | None = None
    ) -> Float[Tensor, ...]:
        """Return random points `(*sample, *batch, 2)`: a cell of the lattice, a place in it.

        Args:
            sample_shape: Leading dimensions.
            generator: Source of randomness, on the density's device; torch's own if not given.
        """
        count = math.prod(sample_shape)
        drawn = []
        with torch.no_grad(), full_precision(self._device):
            for _, lattice in self._lattices(5.0):
                cells = torch.multinomial(
                    lattice.masses.flatten(1), max(1, count), True, generator=generator
                )[:, :count]
                columns = lattice.x.shape[1]
                x = lattice.x.gather(1, cells % columns)
                y = lattice.y.gather(1, cells.div(columns, rounding_mode="floor"))
                points = torch.stack([x, y], -1)
                step = torch.stack([p[:, 1] - p[:, 0] for p in (lattice.x, lattice.y)], -1)
                place = torch.empty_like(points).uniform_(-0.5, 0.5, generator=generator)
                drawn.append(points + place * step.unsqueeze(1))
        points = torch.cat(drawn).transpose(0, 1).to(self._dtype)
        return points.reshape(*sample_shape, *self.batch_shape, 2)


def _facts_of(lattice: Lattice) -> dict[str, Tensor]:
    """Return integral, moments and highest point of a lattice."""
    masses = lattice.masses
    down, across = masses.sum(2), masses.sum(1)
    mean = torch.stack([(across * lattice.x).sum(1), (down * lattice.y).sum(1)], -1)
    x, y = lattice.x - mean[:, :1], lattice.y - mean[:, 1:]
    xx, yy = (across * x.square()).sum(1), (down * y.square()).sum(1)
    xy = ((masses * x.unsqueeze(1)).sum(2) * y).sum(1)
    best = lattice.values.flatten(1).argmax(1, keepdim=True)
    columns = lattice.x.shape[1]
    peak = torch.cat(
        [lattice.x.gather(1, best % columns), lattice.y.gather(1, best // columns)], -1
    )
    covariance = torch.stack([xx, xy, xy, yy], -1).reshape(-1, 2, 2)
    return {"log_total": lattice.log_total, "mean": mean, "covariance": covariance, "peak": peak}


def _within(lattice: Lattice, centre: Tensor, radius: Tensor) -> Tensor:
    """Return the mass of the cells within a disc, those at its edge by how far they reach in."""
    x, y = lattice.x - centre[:, :1], lattice.y - centre[:, 1:]
    distance = (x.square().unsqueeze(1) + y.square().unsqueeze(2)).sqrt()
    step = lattice.log_area.mul(0.5).exp().reshape(-1, 1, 1)
    share = ((radius.reshape(-1, 1, 1) - distance) / step + 0.5).clamp(0.0, 1.0)
    mass = (lattice.masses * share).flatten(1).sum(1)
    return mass.masked_fill(radius <= 0.0, 0.0)


def product(
    densities: Sequence[Any], weights: Sequence[float] | None = None
) -> KernelDensity | GaussianDensity | MappedDensity | ProductDensity:
    """Return the normalised product `Π p_i^w_i / Z` of densities in one frame.

    Where all are Gaussian the product is Gaussian, with precision `Σ w_i Λ_i`; where all are
    uniform kernels on one grid, it is such a density again, with logits `Σ w_i log p_i`; likewise
    under one map. These are exact. Else it is a `ProductDensity`.

    Args:
        densities: Of one batch and event shape: `KernelDensity`, `GaussianDensity`,
            `MappedDensity` or combinations of them.
        weights: Exponents, positive, one for each. If not given, `1/n` each: densities that agree
            give themselves back (the logarithmic opinion pool), as is right for views of one
            picture, which err together. Exponents of 1 are for evidence that is independent.

    Raises:
        ValueError: If shapes or weights do not fit, or if densities that are not of the plane are
            neither all Gaussian nor all uniform.

    Source: Genest and Zidek, "Combining probability distributions", Statistical Science, 1986.

    Example:
        >>> one, other = (GaussianDensity(torch.full((3, 2), x), torch.eye(2)) for x in (0.0, 4.0))
        >>> product([one, other]).mean[0].tolist(), product([one, other]).variance[0].tolist()
        ([2.0, 2.0], [1.0, 1.0])
    """
    weights = [1.0 / len(densities) for _ in densities] if weights is None else weights
    check_parts(densities, weights)
    first, rest = densities[0], densities[1:]
    if not rest and weights[0] == 1.0:
        return first
    if all(isinstance(part, GaussianDensity) for part in densities):
        return _gaussian(densities, weights)
    if all(isinstance(part, MappedDensity) for part in densities) and same_map(densities):
        inner = product([part.density for part in densities], weights)
        if not isinstance(inner, ProductDensity):
            return MappedDensity(inner, first.affine)  # type: ignore[arg-type]
    uniform = isinstance(first, KernelDensity) and first.kernel == "uniform"
    if uniform and all(same_kernels(first, part) for part in rest):
        logits = torch.stack(
            [w * part.logits for part, w in zip(densities, weights, strict=True)]
        ).sum(0)
        if bool((logits > -math.inf).flatten(-first.grid.ndim).any(-1).all()):
            return KernelDensity(logits, first.grid, kernel="uniform")
    return ProductDensity(densities, weights)


def _gaussian(densities: Sequence[GaussianDensity], weights: Sequence[float]) -> GaussianDensity:
    """Return the product of Gaussians."""
    total, pull = 0.0, 0.0
    for part, weight in zip(densities, weights, strict=True):
        precision = weight * torch.cholesky_inverse(part.scale_tril)
        total = total + precision
        pull = pull + precision @ part.mean.unsqueeze(-1)
    covariance = torch.linalg.inv(total)  # type: ignore[arg-type]
    mean = (covariance @ pull).squeeze(-1)
    return GaussianDensity(mean, covariance=0.5 * (covariance + covariance.mT))
