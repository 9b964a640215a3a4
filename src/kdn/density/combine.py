"""Densities in one frame combined: their mixture, and their logarithmic pool."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from kdn.density.arguments import full_precision
from kdn.density.density import Density, MappedDensity
from kdn.density.gaussian import GaussianDensity
from kdn.density.kernel_density import KernelDensity
from kdn.density.kernels import Uniform
from kdn.density.line import bisect
from kdn.density.nodes import NODES, Nodes
from kdn.grid import Grid

__all__ = [
    "CombinedDensity",
    "LogPool",
    "MixtureDensity",
    "check_components",
    "check_exponents",
    "log_pool",
    "mixture",
]

POOLED = 4096
"""Nodes of a pool at least, which are weighted and so count for fewer."""

MEETING = 0.5
"""Weight of the Gaussians' pool in the proposal, as a share of the components'."""

CANDIDATES = 32
"""Points of the proposal of which one is drawn for a sample of the pool."""


class CombinedDensity(Density):
    """A density that is made of others in the same frame.

    Args:
        densities: Of one batch and event shape.
        weights: One for each, positive.

    Raises:
        ValueError: If there is no density, if their shapes differ, or if the weights do not fit or
            are not positive.
    """

    def __init__(self, densities: Sequence[Density], weights: Sequence[float]) -> None:
        check_components(densities, weights)
        self.components = tuple(densities)
        self.weights = tuple(float(weight) for weight in weights)
        batch, event = densities[0].batch_shape, torch.Size(densities[0].event_shape)
        super().__init__(batch, event, validate_args=False)

    def __repr__(self) -> str:
        names = ", ".join(type(component).__name__ for component in self.components)
        return f"{type(self).__name__}({names}; weights={self.weights})"

    def _of(self, change: Callable[[Density], Density]) -> CombinedDensity:
        """Return the same combination of changed components."""
        return type(self)([change(component) for component in self.components], self.weights)

    def __getitem__(self, index: Any) -> CombinedDensity:
        """Return some of the batch, as a tensor of the batch's shape would be indexed."""
        return self._of(lambda component: component[index])

    def expand(self, batch_shape: Sequence[int], _instance: None = None) -> CombinedDensity:
        """Return the density with its batch shape broadcast, as in `torch.distributions`."""
        return self._of(lambda component: component.expand(batch_shape))

    @property
    def tensors(self) -> tuple[Tensor, ...]:
        """The parameters of the components."""
        return tuple(tensor for component in self.components for tensor in component.tensors)

    def _starts(self) -> Float[Tensor, "starts *batch ndim"]:
        """Return points to climb from: those of any density, and the components' modes."""
        shape = (*self.batch_shape, self.ndim)
        modes = [component.mode.reshape(1, *shape) for component in self.components]
        starts = super()._starts()
        return torch.cat([starts, *(mode.to(starts) for mode in modes)])


class MixtureDensity(CombinedDensity):
    """`p(y) = Σ w_i p_i(y)`, `Σ w_i = 1`.

    `log_prob`, moments, samples and `mass_within` are those of the components; all else is from
    the nodes of each component. `log_prob` carries the gradients of its components.

    Args:
        densities: In one frame and of one batch shape.
        weights: Positive, one for each; they are divided by their sum.

    Raises:
        ValueError: If shapes or weights do not fit.

    Example:
        >>> one, other = (GaussianDensity(torch.full((3, 2), x), torch.eye(2)) for x in (0.0, 4.0))
        >>> both = MixtureDensity([one, other], (1.0, 3.0))
        >>> both.mean[0].tolist(), both.variance[0].tolist()
        ([3.0, 3.0], [4.0, 4.0])
    """

    def __init__(self, densities: Sequence[Density], weights: Sequence[float]) -> None:
        total = sum(weights)
        super().__init__(densities, [weight / total for weight in weights])

    def log_prob(self, points: Float[Tensor, ...]) -> Float[Tensor, ...]:
        """Return `log Σ w_i p_i(y)` at `(*sample, *batch, *event)`, in log-space throughout."""
        return self._mixed([component.log_prob(points) for component in self.components])

    def near_log_prob(self, points: Float[Tensor, ...]) -> Float[Tensor, ...]:
        """Return the log-density from all but a hundredth of the mass, for integrals."""
        return self._mixed([component.near_log_prob(points) for component in self.components])

    def _mixed(self, values: Sequence[Tensor]) -> Tensor:
        weighted = [value + math.log(w) for value, w in zip(values, self.weights, strict=True)]
        return torch.stack(torch.broadcast_tensors(*weighted)).logsumexp(0)

    def nodes(self, count: int = NODES) -> Nodes:
        """Return `count` nodes of each component, weighted as these are."""

        def find() -> Nodes:
            points, log_weights, log_probs = [], [], []
            for i, (component, weight) in enumerate(
                zip(self.components, self.weights, strict=True)
            ):
                nodes = component.nodes(count)
                points.append(nodes.points)
                log_weights.append(nodes.log_weights + math.log(weight))
                values = [
                    nodes.log_prob if j == i else other.near_log_prob(nodes.points)
                    for j, other in enumerate(self.components)
                ]
                log_probs.append(self._mixed(values))
            if len({rows.dim() for rows in log_weights}) > 1:
                log_weights = [
                    rows.reshape(*rows.shape, *(1,) * (values.dim() - rows.dim())).expand_as(values)
                    for rows, values in zip(log_weights, log_probs, strict=True)
                ]
            return Nodes(torch.cat(points), torch.cat(log_weights), torch.cat(log_probs))

        with torch.no_grad():
            return self._kept(("nodes", count), find)

    @property
    def mean(self) -> Float[Tensor, ...]:
        """Mean, `(*batch, *event)`: that of the means."""
        return self._average([component.mean for component in self.components])

    def _covariance(self) -> Float[Tensor, ...]:
        """Return the mean of the covariances plus the covariance of the means."""
        mean, spreads = self.mean, []
        for component in self.components:
            apart = (component.mean - mean).reshape(*self.batch_shape, self.ndim, 1)
            spreads.append(component._covariance() + apart * apart.mT)
        return self._average(spreads)

    def _average(self, values: Sequence[Tensor]) -> Tensor:
        weighted = [w * value for value, w in zip(values, self.weights, strict=True)]
        return torch.stack(weighted).sum(0)

    def mass_within(self, centre: Float[Tensor, ...], radius: float | Tensor) -> Float[Tensor, ...]:
        """Return `P(|Y − centre| ≤ radius)`: the mean of the components'."""
        return self._average([c.mass_within(centre, radius) for c in self.components])

    def sample(
        self, sample_shape: Sequence[int] = (), *, generator: torch.Generator | None = None
    ) -> Float[Tensor, ...]:
        """Return random points `(*sample, *batch, *event)`, without gradient.

        Args:
            sample_shape: Leading dimensions.
            generator: Source of randomness, on the density's device; torch's own if not given.
        """
        shape = (*sample_shape, *self.batch_shape)
        points = torch.stack(
            [c.sample(sample_shape, generator=generator) for c in self.components]  # type: ignore
        )
        weights = points.new_tensor(self.weights)
        drawn = torch.multinomial(weights, math.prod(shape), True, generator=generator)
        index = drawn.reshape(1, *shape, *(1,) * len(self.event_shape)).expand(1, *points.shape[1:])
        return points.gather(0, index).squeeze(0)

    def cdf(self, points: Float[Tensor, ...]) -> Float[Tensor, ...]:
        """Return `P(Y ≤ y)` on a line: the mean of the components'."""
        return self._average([component.cdf(points) for component in self.components])

    def log_mass(self, low: Float[Tensor, ...], high: Float[Tensor, ...]) -> Float[Tensor, ...]:
        """Return `log P(low < Y ≤ high)` in nats on a line."""
        return self._mixed([c.log_mass(low, high) for c in self.components])  # type: ignore

    def icdf(self, levels: Float[Tensor, ...]) -> Float[Tensor, ...]:
        """Return the quantiles on a line, which lie between those of the components."""
        quantiles = torch.stack([component.icdf(levels) for component in self.components])
        return bisect(self.cdf, levels, quantiles.amin(0), quantiles.amax(0))


class LogPool(CombinedDensity):
    """`p(y) = Π p_i(y)^e_i / Z`, `Z = ∫ Π p_i^e_i`: the logarithmic opinion pool.

    `log Z`, moments and all else are from the nodes of a proposal, weighted by `Π p_i^e_i` over its
    density: the mixture with weights `e_i`, and half as much again of the pool that Gaussians of
    the components' moments would have, which lies where they meet if they hardly overlap. Where no
    node has a positive density under all components, which only kernels that end can bring about,
    they contradict each other, and the mixture stands for the pool. `log_prob` carries gradients,
    but none through `Z`.

    Args:
        densities: In one frame and of one batch shape.
        exponents: Positive, one for each; they add up to at most 1.

    Raises:
        ValueError: If shapes or exponents do not fit.

    Source: Genest and Zidek, "Combining probability distributions", Statistical Science, 1986.

    Example:
        >>> one, other = (GaussianDensity(torch.full((3, 2), x), torch.eye(2)) for x in (0.0, 4.0))
        >>> both = LogPool([one, other], (0.5, 0.5))
        >>> [round(value, 1) for value in both.mean[0].tolist()]
        [2.0, 2.0]
    """

    def __init__(self, densities: Sequence[Density], exponents: Sequence[float]) -> None:
        super().__init__(densities, exponents)
        check_exponents(self.weights)
        self.mixture = MixtureDensity(self.components, self.weights)

    def _pooled(self, points: Tensor) -> Tensor:
        """Return `Σ e_i log p_i(y)`."""
        values = [component.log_prob(points) for component in self.components]
        return sum(e * value for value, e in zip(values, self.weights, strict=True))  # type: ignore

    @property
    def _proposal(self) -> MixtureDensity:
        """What has mass where the pool has."""

        def propose() -> MixtureDensity:
            middle = _moment_pool(self.components, self.weights)
            weights = (*self.weights, MEETING * sum(self.weights))
            return MixtureDensity([*self.components, middle], weights)

        with torch.no_grad():
            return self._kept("proposal", propose)

    def _weighted(self, count: int) -> tuple[Nodes, Tensor]:
        """Return nodes with their weights and log-densities, and `log Z`."""

        def find() -> tuple[Nodes, Tensor]:
            each = math.ceil(max(count, POOLED) / (1 + len(self.components)))
            points, log_weights, proposed = self._proposal.nodes(each)
            ones = (1,) * (proposed.dim() - log_weights.dim())
            log_weights = log_weights.reshape(*log_weights.shape, *ones) - proposed
            log_prob = self._pooled(points)
            total = (log_weights + log_prob).logsumexp(0)
            void = total == -math.inf
            if bool(void.any()):
                log_prob = torch.where(void, self.mixture.log_prob(points), log_prob)
            scale = (log_weights + log_prob).logsumexp(0)
            weights = log_weights + log_prob - scale
            return Nodes(points, weights, torch.where(void, log_prob, log_prob - scale)), total

        with torch.no_grad(), full_precision(self.tensors[0].device):
            return self._kept(("weighted", count), find)

    def nodes(self, count: int = NODES) -> Nodes:
        """Return at least 4096 nodes, weighted."""
        return self._weighted(count)[0]

    @property
    def log_normaliser(self) -> Float[Tensor, ...]:
        """`log Z`, `(*batch)`: how well the components agree; −∞ where they contradict.

        With exponents that add up to 1 it is at most 0, and 0 for densities that agree.
        """
        return self._weighted(NODES)[1]

    def log_prob(self, points: Float[Tensor, ...]) -> Float[Tensor, ...]:
        """Return `Σ e_i log p_i(y) − log Z` at `(*sample, *batch, *event)`."""
        total = self.log_normaliser
        void = total == -math.inf
        log_prob = self._pooled(points) - total.masked_fill(void, 0.0)
        if not bool(void.any()):
            return log_prob
        return torch.where(void, self.mixture.log_prob(points), log_prob)

    def sample(
        self, sample_shape: Sequence[int] = (), *, generator: torch.Generator | None = None
    ) -> Float[Tensor, ...]:
        """Return random points `(*sample, *batch, *event)`, without gradient.

        Each is one of several points of the proposal, drawn by what the pool makes of them.

        Args:
            sample_shape: Leading dimensions.
            generator: Source of randomness, on the density's device; torch's own if not given.
        """
        with torch.no_grad():
            points = self._proposal.sample((CANDIDATES, *sample_shape), generator=generator)
            log_weights = self.log_prob(points) - self._proposal.log_prob(points)
            noise = torch.empty_like(log_weights).exponential_(generator=generator).log()
            best = (log_weights - noise).argmax(0, keepdim=True)
            index = best.reshape(*best.shape, *(1,) * len(self.event_shape))
            return points.gather(0, index.expand(1, *points.shape[1:])).squeeze(0)


def mixture(densities: Sequence[Any], weights: Sequence[float] | None = None) -> Density:
    """Return the mixture `Σ w_i p_i` of densities in one frame.

    Where all are kernel densities on one grid with the same kernels, or such densities under the
    same map, the mixture is one of them again, exactly; else it is a `MixtureDensity`.

    Args:
        densities: Of one batch and event shape.
        weights: Positive, one for each; they are divided by their sum. Equal ones if not given.

    Raises:
        ValueError: If shapes or weights do not fit.

    Example:
        >>> from kdn.grid import Affine
        >>> grid = Grid.of_heatmap(height=1, width=3, stride=4)
        >>> one = KernelDensity(torch.tensor([[[0.0, 0.0, 9.0]]]), grid, bandwidth=4.0)
        >>> other = KernelDensity(torch.tensor([[[9.0, 0.0, 0.0]]]), grid, bandwidth=4.0)
        >>> type(mixture([one, other])).__name__, type(mixture([one, other.mapped(
        ...     Affine.identity())])).__name__
        ('KernelDensity', 'MixtureDensity')
    """
    weights = [1.0] * len(densities) if weights is None else weights
    check_components(densities, weights)
    if len(densities) == 1:
        return densities[0]
    if _same_map(densities):
        inner = mixture([component.density for component in densities], weights)
        if isinstance(inner, KernelDensity):
            return MappedDensity(inner, densities[0].affine)
    if not _same_kernels(densities):
        return MixtureDensity(densities, weights)
    total = math.log(sum(weights))
    logits = [c.logits + math.log(w) - total for c, w in zip(densities, weights, strict=True)]
    return _with_logits(densities[0], torch.stack(logits).logsumexp(0))


def log_pool(densities: Sequence[Any], exponents: Sequence[float] | None = None) -> Density:
    """Return the logarithmic pool `Π p_i^e_i / Z` of densities in one frame.

    Where all are Gaussian the pool is Gaussian, with precision `Σ e_i Λ_i`; where all are uniform
    kernels on one grid, it is such a density again, with logits `Σ e_i log p_i`; likewise under one
    map. These are exact. Else it is a `LogPool`.

    Args:
        densities: Of one batch and event shape.
        exponents: Positive, one for each; they add up to at most 1. If not given, `1/n` each:
            densities that agree give themselves back, as is right for views of one picture, which
            err together.

    Raises:
        ValueError: If shapes or exponents do not fit.

    Example:
        >>> one, other = (GaussianDensity(torch.full((3, 2), x), torch.eye(2)) for x in (0.0, 4.0))
        >>> log_pool([one, other]).mean[0].tolist(), log_pool([one, other]).variance[0].tolist()
        ([2.0, 2.0], [1.0, 1.0])
    """
    exponents = [1.0 / len(densities) for _ in densities] if exponents is None else exponents
    check_components(densities, exponents)
    check_exponents(exponents)
    if len(densities) == 1 and exponents[0] == 1.0:
        return densities[0]
    if all(isinstance(component, GaussianDensity) for component in densities):
        return _gaussian(densities, exponents)
    if _same_map(densities):
        inner = log_pool([component.density for component in densities], exponents)
        if not isinstance(inner, LogPool):
            return MappedDensity(inner, densities[0].affine)
    if _same_kernels(densities) and isinstance(densities[0].kernel, Uniform):
        logits = [e * c.logits for c, e in zip(densities, exponents, strict=True)]
        logits = torch.stack(logits).sum(0)
        if bool((logits > -math.inf).flatten(-densities[0].grid.ndim).any(-1).all()):
            return _with_logits(densities[0], logits)
    return LogPool(densities, exponents)


def _gaussian(densities: Sequence[GaussianDensity], exponents: Sequence[float]) -> GaussianDensity:
    """Return the pool of Gaussians."""
    precisions = [torch.cholesky_inverse(component.scale_tril) for component in densities]
    mean, covariance = _pooled_moments([c.mean for c in densities], precisions, exponents)
    return GaussianDensity(mean, covariance=covariance)


def _moment_pool(densities: Sequence[Density], exponents: Sequence[float]) -> Density:
    """Return the pool of Gaussians of the same means and covariances."""
    ndim, like = densities[0].ndim, densities[0].mean
    means = [c.mean.double().reshape(*c.batch_shape, ndim) for c in densities]
    precisions = [torch.linalg.inv(c._covariance().double()) for c in densities]
    mean, covariance = _pooled_moments(means, precisions, exponents)
    mean, factor = mean.to(like), torch.linalg.cholesky(covariance).to(like)
    if densities[0].event_shape:
        return GaussianDensity(mean, factor)
    cell = Grid((1,), (0.0,), (1.0,))  # one kernel on a line
    logits, offsets = torch.zeros_like(mean), mean.unsqueeze(-1)
    return KernelDensity(logits, cell, bandwidth=factor[..., 0, 0], offsets=offsets)


def _pooled_moments(
    means: Sequence[Tensor], precisions: Sequence[Tensor], exponents: Sequence[float]
) -> tuple[Tensor, Tensor]:
    """Return mean and covariance of the pool of Gaussians."""
    total = sum(e * precision for precision, e in zip(precisions, exponents, strict=True))
    pull = sum(
        e * precision @ mean.unsqueeze(-1)
        for precision, mean, e in zip(precisions, means, exponents, strict=True)
    )
    covariance = torch.linalg.inv(total)  # type: ignore[arg-type]
    mean = (covariance @ pull).squeeze(-1)  # type: ignore[operator]
    return mean, 0.5 * (covariance + covariance.mT)


def _with_logits(density: KernelDensity, logits: Tensor) -> KernelDensity:
    """Return the density of the same kernels with other logits."""
    return KernelDensity(
        logits,
        density.grid,
        kernel=density.kernel,
        bandwidth=density.bandwidth,
        offsets=density.offsets,
    )


def _same_kernels(densities: Sequence[Any]) -> bool:
    """Return whether densities are of the same kernels, however probable."""
    if not all(isinstance(density, KernelDensity) for density in densities):
        return False
    first = densities[0]
    return all(
        (first.grid, first.kernel) == (other.grid, other.kernel)
        and _equal(first.bandwidth, other.bandwidth)
        and _equal(first.offsets, other.offsets)
        for other in densities[1:]
    )


def _equal(one: Tensor | None, other: Tensor | None) -> bool:
    if one is None or other is None:
        return one is other
    return one.shape == other.shape and bool((one == other).all())


def _same_map(densities: Sequence[Any]) -> bool:
    """Return whether all densities are mapped, and alike."""
    if not all(isinstance(density, MappedDensity) for density in densities):
        return False
    first = densities[0].affine
    return all(
        _equal(density.affine.linear, first.linear) and _equal(density.affine.offset, first.offset)
        for density in densities
    )


def check_components(densities: Sequence[Any], weights: Sequence[float]) -> None:
    """Raise if densities cannot be combined, or weights do not fit them."""
    if not len(densities):
        raise ValueError("densities must hold at least one, got none")
    shapes = [(tuple(c.batch_shape), tuple(c.event_shape)) for c in densities]
    if len(set(shapes)) > 1:
        raise ValueError(f"densities must have one batch and event shape, got {shapes}")
    if len(weights) != len(densities):
        raise ValueError(f"weights must be {len(densities)}, got {len(weights)}")
    if not all(0.0 < weight < math.inf for weight in weights):
        raise ValueError(f"weights must be positive, got {tuple(weights)}")


def check_exponents(exponents: Sequence[float]) -> None:
    """Raise if exponents add up to more than 1, where the weights of nodes have no bound."""
    if sum(exponents) > 1.0 + 1e-6:
        raise ValueError(f"exponents must add up to at most 1, got {tuple(exponents)}")
