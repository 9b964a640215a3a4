"""What every density answers, from its log-density and from nodes that stand for a sample of it."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.distributions import Distribution, constraints

from kdn.density.arguments import full_precision, indexed, levels_within, points_batch
from kdn.density.ascent import climb_stencils
from kdn.density.nodes import (
    NODES,
    Nodes,
    Ordered,
    areas,
    energy_scores,
    levels,
    masses_within,
    ties,
)
from kdn.grid import Affine

__all__ = ["Density", "MappedDensity", "determinant"]

STARTS = 8
"""Nodes from which the mode is searched: the densest ones of as many shares of all nodes."""


class Density(Distribution):
    """A density over points in one to three dimensions.

    A subclass gives two things, `log_prob(points)` and `nodes(count)`, and usually `sample`,
    `expand`, `__getitem__` and its moments. All questions are answered from these here, and
    overridden where the exact answer is short.

    Convention: `event_shape` is `()` on a line, `(2,)` in the plane and `(3,)` in space. Points,
    lengths and moments are in the density's frame, log-densities in nats per unit of that frame to
    the power of the number of dimensions. What is answered from nodes carries no gradient.

    Example:
        >>> class Box(Density):  # the unit square
        ...     def log_prob(self, points):
        ...         inside = ((points >= 0) & (points <= 1)).all(-1)
        ...         return torch.where(inside, 0.0, -math.inf)
        ...     def nodes(self, count=1024):
        ...         steps = (torch.arange(32) + 0.5) / 32
        ...         points = torch.cartesian_prod(steps, steps)
        ...         log_weights = torch.full((1024,), -math.log(1024))
        ...         return Nodes(points, log_weights, torch.zeros(1024))
        >>> box = Box(event_shape=torch.Size((2,)))
        >>> abs(box.entropy().item()), round(box.hdr_area(0.5).item(), 2)
        (0.0, 0.5)
        >>> round(box.mass_within(torch.tensor([0.5, 0.5]), 0.4).item(), 1)  # π · 0.4²
        0.5
    """

    arg_constraints = {}  # type: ignore  # noqa: RUF012  (as torch.distributions declares it)
    has_rsample = False

    def log_prob(self, points: Float[Tensor, ...]) -> Float[Tensor, ...]:
        """Return the log-density at `(*sample, *batch, *event)`."""
        raise NotImplementedError

    def nodes(self, count: int = NODES) -> Nodes:
        """Return at least `count` points that stand for a sample, without gradient."""
        raise NotImplementedError

    def near_log_prob(self, points: Float[Tensor, ...]) -> Float[Tensor, ...]:
        """Return the log-density from all but a hundredth of the mass, for integrals."""
        return self.log_prob(points)

    def __getitem__(self, index: Any) -> Density:
        """Return some of the batch, as a tensor of the batch's shape would be indexed."""
        raise NotImplementedError

    def expand(self, batch_shape: Sequence[int], _instance: None = None) -> Density:
        """Return the density with its batch shape broadcast, as in `torch.distributions`."""
        raise NotImplementedError

    def sample(
        self, sample_shape: Sequence[int] = (), *, generator: torch.Generator | None = None
    ) -> Float[Tensor, ...]:
        """Return random points `(*sample, *batch, *event)`, without gradient.

        Args:
            sample_shape: Leading dimensions.
            generator: Source of randomness, on the density's device; torch's own if not given.
        """
        raise NotImplementedError

    @property
    def support(self) -> constraints.Constraint:
        """The whole space."""
        return constraints.real_vector if self.event_shape else constraints.real

    @property
    def ndim(self) -> int:
        """Number of dimensions, 1 to 3."""
        return math.prod(self.event_shape)

    @property
    def tensors(self) -> tuple[Tensor, ...]:
        """The parameters; while one of them needs a gradient, nothing is kept."""
        return ()

    def _kept(self, name: Any, compute: Callable[[], Any]) -> Any:
        """Return what is computed, kept for the next question unless the parameters are trained."""
        if any(tensor.requires_grad for tensor in self.tensors):
            return compute()
        kept = self.__dict__.setdefault("_answers", {})
        if name not in kept:
            kept[name] = compute()
        return kept[name]

    @property
    def _count(self) -> int:
        """Nodes that questions are answered from."""
        return NODES if self.ndim < 3 else 4 * NODES

    def _flat_nodes(self) -> tuple[Tensor, Tensor | None]:
        """Return nodes `(maps, nodes, ndim)` and weights `(maps, nodes)`, None where all equal."""

        def flatten() -> tuple[Tensor, Tensor | None]:
            nodes = self.nodes(self._count)
            total, maps = len(nodes.points), math.prod(self.batch_shape)
            points = nodes.points.reshape(total, maps, self.ndim).transpose(0, 1)
            if bool((nodes.log_weights == nodes.log_weights.flatten()[0]).all()):
                return points, None
            weights = nodes.log_weights.reshape(total, -1).T.exp()
            return points, weights.expand(maps, total)

        with torch.no_grad():
            return self._kept("flat", flatten)

    def _ordered(self) -> Ordered:
        """Return the nodes by their density."""

        def order() -> Ordered:
            nodes = self.nodes(self._count)
            log_prob = nodes.log_prob.reshape(len(nodes.points), -1).T
            log_weights = nodes.log_weights.reshape(len(nodes.points), -1).T
            return Ordered.of_pieces(log_prob, log_weights)

        with torch.no_grad():
            return self._kept("ordered", order)

    def _fitting(
        self, points: Tensor, *, number: Tensor | None = None
    ) -> tuple[Density, torch.Size]:
        """Return the density with the batch that points broadcast to, and their whole shape."""
        shape = points_batch(points, self.event_shape, self.batch_shape)
        if number is not None:
            try:
                shape = torch.broadcast_shapes(shape, number.shape)
            except RuntimeError as error:
                raise ValueError(
                    f"radius must be broadcastable to {tuple(shape)}, got {tuple(number.shape)}"
                ) from error
        batch = shape[len(shape) - len(self.batch_shape) :]
        return (self if batch == self.batch_shape else self.expand(batch)), shape

    def _of_log_prob(
        self, points: Tensor, answer: Callable[[Ordered, Tensor], Tensor]
    ) -> Float[Tensor, ...]:
        """Return what the log-densities at points, `(maps, samples)`, say of the order."""
        density, shape = self._fitting(points)
        with torch.no_grad(), full_precision(points.device):
            log_prob = density.log_prob(points).expand(shape)
            rows = log_prob.reshape(-1, math.prod(density.batch_shape)).T
            result = answer(density._ordered(), rows).T.reshape(shape)
            missing = points.isnan().any(-1) if self.event_shape else points.isnan()
            return result.masked_fill(missing, math.nan)

    def _rows(self, points: Tensor, shape: torch.Size, like: Tensor) -> Tensor:
        """Return points that broadcast to a shape as `(samples, maps, ndim)`."""
        points = points.detach().to(like).expand((*shape, *self.event_shape))
        return points.reshape(-1, math.prod(self.batch_shape), self.ndim)

    def entropy(self) -> Float[Tensor, ...]:
        """Return `−E[log p(Y)]` in nats, `(*batch)`."""
        with torch.no_grad():
            _, log_weights, log_prob = self.nodes(self._count)
            ones = (1,) * (log_prob.dim() - log_weights.dim())
            weights = log_weights.double().exp().reshape(*log_weights.shape, *ones)
            terms = weights * log_prob.double().masked_fill(weights == 0, 0.0)
            return -terms.sum(0).to(log_prob)

    def hdr_level(self, points: Float[Tensor, ...]) -> Float[Tensor, ...]:
        """Return the mass of the region that is denser than each point, `P(p(Y) > p(y))`.

        0 at the global mode, towards 1 far away. If `y` is drawn from the density, the level is
        uniform on [0, 1]: a 90 % region of highest density covers `y` if its level is at most 0.9.
        From the nodes: the share of those that are denser. Where all are, a node's mass is left at
        the least dense one, and beyond it less in proportion to the density.

        Args:
            points: `(*sample, *batch, *event)`, as for `log_prob`.

        Returns:
            Levels, `(*sample, *batch)`; NaN for NaN points.
        """
        return self._of_log_prob(points, levels)

    def hdr_tie(self, points: Float[Tensor, ...]) -> Float[Tensor, ...]:
        """Return the mass of all that is exactly as dense as each point, `P(p(Y) = p(y))`.

        If `y` is drawn from the density and `U` is uniform on [0, 1], then
        `hdr_level(y) + U · hdr_tie(y)` is uniform on [0, 1], which `hdr_level` alone is not where
        the density is constant over much of its mass. Arguments as for `hdr_level`.
        """
        return self._of_log_prob(points, ties)

    def hdr_area(self, level: float | Float[Tensor, ...]) -> Float[Tensor, ...]:
        """Return the area of the region of highest density that holds `level` of the mass.

        A length on a line, a volume in space. A point lies in the region if its `hdr_level` is at
        most `level`. With `p(u)` the density whose region holds `u`, the area is `∫ 1 / p(u) du`
        from 0 to `level`; it is continuous and convex in `level`. From the nodes: the sum of
        `weight / p` from the densest on, and beyond the least dense one the tail of a Gaussian;
        infinite at 1.

        Args:
            level: Shares of the mass, 0 to 1: a number, or `(*sample, *batch)` as far as they
                broadcast: one level per landmark, say, or several in front.

        Raises:
            ValueError: If a level is not within 0 to 1, or the shape does not broadcast.
        """
        asked = levels_within(level, self.batch_shape, self.mean.device)
        shape = torch.broadcast_shapes(asked.shape, self.batch_shape)
        with torch.no_grad():
            ordered = self._ordered()
            rows = asked.expand(shape).reshape(-1, math.prod(self.batch_shape)).T
            return areas(ordered, rows).T.reshape(shape).to(ordered.log_prob.dtype)

    def energy_score(self, points: Float[Tensor, ...]) -> Float[Tensor, ...]:
        """Return `E|Y − y| − ½ E|Y − Y′|`, with `Y` and `Y′` drawn from the density.

        A proper score in the density's unit of length, lower is better; on a line it is the CRPS,
        `∫ (F(t) − 1{t ≥ y})² dt`. Unlike `log_prob` it knows how far off a miss is, and stays
        finite.

        Args:
            points: `(*sample, *batch, *event)`, as for `log_prob`.

        Returns:
            Scores, `(*sample, *batch)`; NaN for NaN points.

        Source: Gneiting & Raftery, Strictly proper scoring rules, JASA 2007, eq. 20 to 22.
        """
        density, shape = self._fitting(points)
        with torch.no_grad():
            nodes, weights = density._flat_nodes()
            asked = density._rows(points, shape, nodes)
            return energy_scores(nodes, weights, asked).reshape(shape)

    def mass_within(self, centre: Float[Tensor, ...], radius: float | Tensor) -> Float[Tensor, ...]:
        """Return `P(|Y − centre| ≤ radius)`, with the Euclidean distance.

        One minus it, at a prediction, is the density's own probability that the prediction is
        farther than `radius` from the truth.

        Args:
            centre: `(*sample, *batch, *event)`, broadcast as the points of `log_prob`.
            radius: A number, or a tensor that is broadcast with `(*sample, *batch)`: several radii
                are leading dimensions, `(radii, 1, …, 1)`.

        Returns:
            Masses, `(*sample, *batch)`. NaN where centre or radius is; 0 for a negative radius.

        Raises:
            ValueError: If a shape does not fit.
        """
        length = torch.as_tensor(radius, device=centre.device)
        density, shape = self._fitting(centre, number=length)
        with torch.no_grad():
            nodes, weights = density._flat_nodes()
            alone = points_batch(centre, self.event_shape, density.batch_shape)
            alone = alone if alone.numel() == len(nodes) else shape
            centres = density._rows(centre, alone, nodes)
            radii = length.to(nodes).expand(shape).reshape(-1, len(nodes))
            return masses_within(nodes, weights, centres, radii).reshape(shape)

    @property
    def mean(self) -> Float[Tensor, ...]:
        """Mean, `(*batch, *event)`."""
        nodes, weights = self._flat_nodes()
        mean = nodes.mean(1) if weights is None else (nodes * weights.unsqueeze(-1)).sum(1)
        return mean.reshape((*self.batch_shape, *self.event_shape))

    @property
    def covariance_matrix(self) -> Float[Tensor, ...]:
        """Covariance, `(*batch, ndim, ndim)`."""
        return self._covariance().to(self.mean)

    def _covariance(self) -> Float[Tensor, ...]:
        """Return the covariance in the precision that it is known to."""
        nodes, weights = self._flat_nodes()
        shares = 1.0 / nodes.shape[1] if weights is None else weights.double().unsqueeze(-1)
        apart = nodes.double() - self.mean.double().reshape(-1, 1, self.ndim)
        covariance = (apart * shares).mT @ apart
        return covariance.reshape(*self.batch_shape, self.ndim, self.ndim)

    @property
    def variance(self) -> Float[Tensor, ...]:
        """Variance along each axis, `(*batch, *event)`: the diagonal of the covariance."""
        variance = self.covariance_matrix.diagonal(dim1=-2, dim2=-1)
        return variance.reshape((*self.batch_shape, *self.event_shape))

    @property
    def uncertainty(self) -> Float[Tensor, ...]:
        """`|Cov|^½` as published, `(*batch)`: an area in the plane, in the frame's unit squared."""
        return determinant(self._covariance()).sqrt().to(self.mean.dtype)

    @property
    def uncertainty_length(self) -> Float[Tensor, ...]:
        """`|Cov|^(1 / 2 ndim)`, `(*batch)`: a length, to be compared with an error."""
        return (determinant(self._covariance()) ** (0.5 / self.ndim)).to(self.mean.dtype)

    @property
    def mode(self) -> Float[Tensor, ...]:
        """Position of the highest density, `(*batch, *event)`, as found by climbing.

        From the densest nodes and the mean, by stencils that move uphill and shrink. It is never
        lower than a start. No gradient.
        """
        return self._kept("mode", self._search)

    def _starts(self) -> Float[Tensor, "starts *batch ndim"]:
        """Return points to climb from: the mean, and the densest node of each share of them."""
        nodes = self.nodes(self._count)
        shape = (*self.batch_shape, self.ndim)
        points = nodes.points.reshape(-1, *shape)
        starts = [self.mean.reshape(1, *shape).to(points)]
        for share in range(STARTS):
            values = nodes.log_prob[share::STARTS]
            best = values.argmax(0)[None, ..., None].expand(1, *shape)
            starts.append(points[share::STARTS].gather(0, best))
        return torch.cat(starts)

    def _search(self) -> Float[Tensor, ...]:
        event = self.event_shape
        with torch.no_grad(), full_precision(self.mean.device):
            starts = self._starts()
            step = self.uncertainty_length.to(starts)

            def log_prob(points: Tensor) -> Tensor:
                return self.near_log_prob(points.reshape(*points.shape[:-1], *event))

            points = climb_stencils(log_prob, starts, step)
            return points.reshape((*self.batch_shape, *event))

    def mapped(self, affine: Affine) -> MappedDensity:
        """Return this density in the frame that `affine` maps its own frame to.

        Args:
            affine: One map for all, or with a batch that goes with the leading dimensions of this
                density's: maps `(pictures,)` serve a density of batch `(pictures, landmarks)`.
        """
        return MappedDensity(self, affine)


def determinant(covariance: Float[Tensor, "*batch ndim ndim"]) -> Float[Tensor, "*batch"]:
    """Return the determinant of 1×1, 2×2 or 3×3 matrices, and its gradient, in closed form."""
    a = covariance
    if a.shape[-1] == 1:
        return a[..., 0, 0]
    if a.shape[-1] == 2:
        return a[..., 0, 0] * a[..., 1, 1] - a[..., 0, 1] * a[..., 1, 0]
    return (a[..., 0, :] * torch.linalg.cross(a[..., 1, :], a[..., 2, :])).sum(-1)


class MappedDensity(Density):
    """The distribution of `A · Y + b` for a density of `Y` in the plane.

    Convention: points, moments and `log_prob` are in the frame that is mapped into. With a batch
    of maps, these go with the leading dimensions of the density: maps `(pictures,)` serve a
    density of batch `(pictures, landmarks)`.

    Args:
        density: In the plane.
        affine: From the density's frame to the new one.

    Raises:
        ValueError: If the density is not one of the plane, or the maps do not fit its batch.

    Example:
        >>> from kdn.density import GaussianDensity
        >>> crop = GaussianDensity(torch.zeros(2), torch.eye(2))
        >>> image = crop.mapped(Affine.of_matrix([[2.0, 0.0, 10.0], [0.0, 2.0, 20.0]]))
        >>> image.mean.tolist(), image.uncertainty_length.item()
        ([10.0, 20.0], 2.0)
    """

    def __init__(self, density: Density, affine: Affine) -> None:
        if tuple(density.event_shape) != (2,):
            raise ValueError(
                f"density must be one of the plane, got event shape {tuple(density.event_shape)}"
            )
        self.density = density
        self.affine = _over_batch(affine, density.batch_shape)
        super().__init__(density.batch_shape, torch.Size((2,)), validate_args=False)

    def __repr__(self) -> str:
        return f"MappedDensity({self.density!r})"

    def __getitem__(self, index: Any) -> MappedDensity:
        """Return some of the batch, as a tensor of the batch's shape would be indexed."""
        linear, offset = (
            indexed(self.affine.linear, index, 2),
            indexed(self.affine.offset, index, 1),
        )
        return MappedDensity(self.density[index], Affine(linear, offset))

    def expand(self, batch_shape: Sequence[int], _instance: None = None) -> MappedDensity:
        """Return the density with its batch shape broadcast, as in `torch.distributions`."""
        linear = self.affine.linear.expand(*batch_shape, 2, 2)
        offset = self.affine.offset.expand(*batch_shape, 2)
        return MappedDensity(self.density.expand(batch_shape), Affine(linear, offset))

    @property
    def tensors(self) -> tuple[Tensor, ...]:
        """The parameters of the density and the map."""
        return *self.density.tensors, self.affine.linear, self.affine.offset

    def forward(self, points: Tensor) -> Tensor:
        """Return points `(*sample, *batch, 2)` in the new frame."""
        return _moved(self.affine, points)

    def _back(self, points: Tensor) -> Tensor:
        return _moved(self.affine.inverse(), points)

    def _log_growth(self, like: Tensor) -> Tensor:
        """Return `log |det A|`, `(*batch)`."""
        return self.affine.log_abs_det().to(like)

    def log_prob(self, points: Float[Tensor, ...]) -> Float[Tensor, ...]:
        """Return `log p(A⁻¹ (y − b)) − log |det A|` at `(*sample, *batch, 2)`."""
        log_prob = self.density.log_prob(self._back(points))
        return log_prob - self._log_growth(log_prob)

    def near_log_prob(self, points: Float[Tensor, ...]) -> Float[Tensor, ...]:
        """Return the log-density from all but a hundredth of the mass, for integrals."""
        log_prob = self.density.near_log_prob(self._back(points))
        return log_prob - self._log_growth(log_prob)

    def nodes(self, count: int = NODES) -> Nodes:
        """Return the nodes of the density, mapped."""

        def find() -> Nodes:
            points, log_weights, log_prob = self.density.nodes(count)
            return Nodes(self.forward(points), log_weights, log_prob - self._log_growth(log_prob))

        with torch.no_grad():
            return self._kept(("nodes", count), find)

    @property
    def mean(self) -> Float[Tensor, ...]:
        """Mean, `(*batch, 2)`."""
        return self.forward(self.density.mean)

    @property
    def mode(self) -> Float[Tensor, ...]:
        """Position of the highest density, `(*batch, 2)`."""
        return self.forward(self.density.mode)

    def modes(self, k: int) -> tuple[Float[Tensor, ...], Float[Tensor, ...]]:
        """Return the `k` highest modes, `(*batch, k, 2)`, and their masses.

        Raises:
            TypeError: If the density is none that finds several modes.
        """
        modes = getattr(self.density, "modes", None)
        if modes is None:
            raise TypeError("density must be a KernelDensity to have several modes")
        points, masses = modes(k)
        return self.forward(points.movedim(-2, 0)).movedim(0, -2), masses

    def _covariance(self) -> Float[Tensor, ...]:
        """Return the covariance `A C Aᵀ`."""
        covariance = self.density._covariance()
        with full_precision(covariance.device):
            return self.affine.covariances(covariance)

    @property
    def uncertainty(self) -> Float[Tensor, ...]:
        """`|Cov|^½`, an area of the new frame, `(*batch)`."""
        # Not from the covariance, whose determinant cancels where it is long and thin.
        area = self.density.uncertainty
        return area * self._log_growth(area).exp()

    @property
    def uncertainty_length(self) -> Float[Tensor, ...]:
        """`|Cov|^¼`, a length of the new frame, `(*batch)`."""
        return self.uncertainty.sqrt()

    def entropy(self) -> Float[Tensor, ...]:
        """Return `−E[log p]`, `(*batch)`: that of the density plus `log |det A|`."""
        entropy = self.density.entropy()
        return entropy + self._log_growth(entropy)

    def hdr_level(self, points: Float[Tensor, ...]) -> Float[Tensor, ...]:
        """Return the mass denser than the points, which an affine map leaves as it is."""
        return self.density.hdr_level(self._back(points))

    def hdr_tie(self, points: Float[Tensor, ...]) -> Float[Tensor, ...]:
        """Return the mass exactly as dense as the points, which the map leaves as it is."""
        return self.density.hdr_tie(self._back(points))

    def hdr_area(self, level: float | Float[Tensor, ...]) -> Float[Tensor, ...]:
        """Return the area of the region of that mass: that of the density times `|det A|`."""
        area = self.density.hdr_area(level)
        return area * self._log_growth(area).exp()

    def sample(
        self, sample_shape: Sequence[int] = (), *, generator: torch.Generator | None = None
    ) -> Float[Tensor, ...]:
        """Return random points `(*sample, *batch, 2)`."""
        return self.forward(self.density.sample(sample_shape, generator=generator))  # type: ignore

    def mapped(self, affine: Affine) -> MappedDensity:
        """Return this density in the frame that `affine` maps its own to."""
        affine = _over_batch(affine, self.batch_shape).to(self.affine.linear)
        return MappedDensity(self.density, affine @ self.affine)


def _over_batch(affine: Affine, batch: torch.Size) -> Affine:
    """Return maps for all of a batch, with whose leading dimensions they go.

    Raises:
        ValueError: If they do not fit.
    """
    maps = affine.offset.shape[:-1]
    if len(maps) > len(batch) or any(m not in (1, b) for m, b in zip(maps, batch, strict=False)):
        raise ValueError(
            f"affine must have a batch that fits the leading dimensions of {tuple(batch)}, "
            f"got {tuple(maps)}"
        )
    ones = (1,) * (len(batch) - len(maps))
    return Affine(
        affine.linear.reshape(*maps, *ones, 2, 2).expand(*batch, 2, 2),
        affine.offset.reshape(*maps, *ones, 2).expand(*batch, 2),
    )


def _moved(affine: Affine, points: Tensor) -> Tensor:
    """Return points moved, with the maps broadcast from the right, as a batch of densities is."""
    linear, offset = affine.linear.to(points), affine.offset.to(points)
    x, y = points.unbind(-1)
    rows = [linear[..., i, 0] * x + linear[..., i, 1] * y + offset[..., i] for i in (0, 1)]
    return torch.stack(rows).movedim(0, -1)
