"""A single Gaussian with the interface of a kernel density."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.distributions import MultivariateNormal

from kdn.density.arguments import at_least_single, full_precision, indexed, levels_within
from kdn.density.density import Density
from kdn.density.kernels import Gaussian
from kdn.density.nodes import NODES, Nodes

__all__ = ["GaussianDensity"]


class GaussianDensity(MultivariateNormal, Density):
    """A multivariate Gaussian that answers what a `KernelDensity` answers.

    Convention: everything is in the frame of `mean`, in event order `(x, y)`; computed in float32,
    or in float64 if `mean` is.

    Args:
        mean: `(*batch, ndim)`.
        scale_tril: `(*batch, ndim, ndim)` lower Cholesky factor of the covariance.
        covariance: `(*batch, ndim, ndim)`, instead of `scale_tril`.
        validate_args: True also looks at values, which on a GPU waits for it.

    Raises:
        ValueError: If not exactly one of `scale_tril` and `covariance` is given, or if a shape
            does not fit.

    Example:
        >>> density = GaussianDensity(torch.zeros(3, 2), torch.diag(torch.tensor([1.0, 4.0])))
        >>> density.uncertainty.tolist(), density.uncertainty_length.tolist()
        ([4.0, 4.0, 4.0], [2.0, 2.0, 2.0])
    """

    def __init__(
        self,
        mean: Float[Tensor, "*batch ndim"],
        scale_tril: Float[Tensor, "*_ ndim ndim"] | None = None,
        *,
        covariance: Float[Tensor, "*_ ndim ndim"] | None = None,
        validate_args: bool | None = None,
    ) -> None:
        mean = at_least_single(mean)
        if scale_tril is not None and covariance is None:
            name, matrix = "scale_tril", scale_tril.to(mean)
        elif covariance is not None and scale_tril is None:
            name, matrix = "covariance", covariance.to(mean)
        else:
            raise ValueError("exactly one of scale_tril and covariance must be given")
        ndim = mean.shape[-1] if mean.dim() else 0
        if ndim < 1 or matrix.shape[-2:] != (ndim, ndim):
            raise ValueError(
                f"mean must have shape (*batch, ndim) and {name} (*batch, ndim, ndim), "
                f"got {tuple(mean.shape)} and {tuple(matrix.shape)}"
            )
        factor = matrix if name == "scale_tril" else torch.linalg.cholesky(matrix)
        super().__init__(mean, scale_tril=factor, validate_args=validate_args is True)

    def log_prob(self, points: Float[Tensor, ...]) -> Float[Tensor, ...]:
        """Return the log-density at `(*sample, *batch, ndim)` in nats per unit to the `ndim`.

        Raises:
            ValueError: If the points do not end in `ndim`.
        """
        with full_precision(self.loc.device):
            return super().log_prob(self._fit(points))

    @property
    def covariance_matrix(self) -> Float[Tensor, ...]:
        """Covariance, `(*batch, ndim, ndim)`."""
        return self._covariance()

    def _covariance(self) -> Float[Tensor, ...]:
        rows = self.scale_tril
        return (rows.unsqueeze(-2) * rows.unsqueeze(-3)).sum(-1)

    @property
    def uncertainty(self) -> Float[Tensor, ...]:
        """`|Cov|^½`, `(*batch)`: an area in 2-D."""
        return self.scale_tril.diagonal(dim1=-2, dim2=-1).prod(-1)

    @property
    def uncertainty_length(self) -> Float[Tensor, ...]:
        """`|Cov|^(1 / 2 ndim)`, `(*batch)`: a length."""
        return self.uncertainty ** (1 / self.event_shape[0])

    def hdr_level(self, points: Float[Tensor, ...]) -> Float[Tensor, ...]:
        """Return the mass of the region denser than the points, in closed form.

        `P(χ² ≤ m²) = γ(ndim / 2, m² / 2)`, the regularised incomplete gamma function, with `m` the
        Mahalanobis distance of the point.
        """
        with full_precision(self.loc.device):
            centred = (self._fit(points) - self.loc).unsqueeze(-1)
            scale = self.scale_tril
            whitened = torch.linalg.solve_triangular(scale, centred, upper=False).squeeze(-1)
        half = 0.5 * whitened.square().sum(-1)
        if self.event_shape[0] == 2:
            return -torch.expm1(-half)
        return torch.special.gammainc(half.new_tensor(0.5 * self.event_shape[0]), half)

    def hdr_tie(self, points: Float[Tensor, ...]) -> Float[Tensor, ...]:
        """Return the mass exactly as dense as the points, which is 0, and NaN where they are."""
        return 0.0 * self.hdr_level(points)

    def hdr_area(self, level: float | Float[Tensor, ...]) -> Float[Tensor, ...]:
        """Return the area of the region of highest density that holds `level`; infinite at 1.

        With the standard deviation `s`, `2 s Φ⁻¹(½ + ½ level)` in one dimension and
        `−2π |Cov|^½ log(1 − level)` in the plane; from nodes in space.
        """
        if self.event_shape[0] > 2:
            return super().hdr_area(level)
        levels = levels_within(level, self.batch_shape, self.loc.device)
        if self.event_shape[0] == 1:
            volume = 2.0 * torch.special.ndtri(0.5 + 0.5 * levels)
        else:
            volume = -2.0 * math.pi * torch.log1p(-levels)
        return (volume * self.uncertainty.detach()).to(self.loc)

    def energy_score(self, points: Float[Tensor, ...]) -> Float[Tensor, ...]:
        """Return `E|Y − y| − ½ E|Y − Y′|`; in one dimension the CRPS, in closed form."""
        if self.event_shape[0] > 1:
            return super().energy_score(points)
        with torch.no_grad():
            apart, scale = self._fit(points).squeeze(-1) - self.loc.squeeze(-1), self.uncertainty
            distance = Gaussian().mean_distance(apart, torch.zeros_like(scale), scale)
            return distance - scale / math.sqrt(math.pi)

    def nodes(self, count: int = NODES) -> Nodes:
        """Return `count` points that stand for a sample."""

        def find() -> Nodes:
            normal = Gaussian().displacements(count, self.event_shape[0]).to(self.loc)
            normal = normal.reshape(count, *(1,) * len(self.batch_shape), -1)
            points = self.loc + (self.scale_tril * normal.unsqueeze(-2)).sum(-1)
            return Nodes.even(points, self.log_prob(points))

        with torch.no_grad():
            return self._kept(("nodes", count), find)

    def sample(
        self, sample_shape: Sequence[int] = (), *, generator: torch.Generator | None = None
    ) -> Float[Tensor, ...]:
        """Return random points `(*sample, *batch, ndim)`, without gradient.

        Args:
            sample_shape: Leading dimensions.
            generator: Source of randomness, on the density's device; torch's own if not given.
        """
        with torch.no_grad():
            noise = self.loc.new_empty(*sample_shape, *self.batch_shape, *self.event_shape)
            noise.normal_(generator=generator)
            return self.loc + (self.scale_tril * noise.unsqueeze(-2)).sum(-1)

    def expand(self, batch_shape: Sequence[int], _instance: None = None) -> GaussianDensity:
        """Return the density with its batch shape broadcast, as in `torch.distributions`."""
        ndim = self.event_shape[0]
        scale = self.scale_tril.expand(*batch_shape, ndim, ndim)
        expanded = GaussianDensity(self.loc.expand(*batch_shape, ndim), scale)
        expanded._validate_args = self._validate_args  # the same values, checked already
        return expanded

    def __getitem__(self, index: Any) -> GaussianDensity:
        """Return some of the batch, as a tensor of the batch's shape would be indexed."""
        scale = indexed(self.scale_tril, index, 2)
        return GaussianDensity(indexed(self.loc, index, 1), scale)

    @property
    def tensors(self) -> tuple[Tensor, ...]:
        """Mean and factor of the covariance."""
        return self.loc, self.scale_tril

    def _fit(self, points: Tensor) -> Tensor:
        """Return the points in the density's dtype; raise if their shape does not fit."""
        if points.dim() < 1 or points.shape[-1] != self.event_shape[0]:
            raise ValueError(
                f"points must have shape (*sample, *batch, {self.event_shape[0]}), "
                f"got {tuple(points.shape)}"
            )
        return points.to(self.loc)
