"""A density seen in another frame: from the crop to the image it was cut from."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from jaxtyping import Float
from torch import Tensor
from torch.distributions import Distribution, constraints

from kdn.density import discs
from kdn.density.energy import mapped_energy_score
from kdn.density.precision import full_precision
from kdn.grid import Affine

if TYPE_CHECKING:
    from kdn.density.distribution import KernelDensity
    from kdn.density.gaussian import GaussianDensity

__all__ = ["MappedDensity"]


class MappedDensity(Distribution):
    """The distribution of `A · Y + b` for a density of `Y` in the plane.

    Convention: points, moments and `log_prob` are in the frame that is mapped into. With a batch
    of maps, these go with the leading dimensions of the density: maps `(pictures,)` serve a
    density of batch `(pictures, landmarks)`.

    Args:
        density: A `KernelDensity` on a 2-D grid, or a `GaussianDensity` in 2-D.
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

    arg_constraints = {}  # type: ignore  # noqa: RUF012  (as torch.distributions declares it)
    support = constraints.real_vector  # type: ignore
    has_rsample = False

    def __init__(self, density: KernelDensity | GaussianDensity, affine: Affine) -> None:
        batch = density.batch_shape
        if tuple(density.event_shape) != (2,):
            raise ValueError(
                f"density must be one of the plane, got event shape {tuple(density.event_shape)}"
            )
        maps = affine.offset.shape[:-1]
        if len(maps) > len(batch) or any(
            m not in (1, b) for m, b in zip(maps, batch, strict=False)
        ):
            raise ValueError(
                f"affine must have a batch that fits the leading dimensions of {tuple(batch)}, "
                f"got {tuple(maps)}"
            )
        ones = (1,) * (len(batch) - len(maps))
        self.density = density
        self.affine = Affine(
            affine.linear.reshape(*maps, *ones, 2, 2).expand(*batch, 2, 2),
            affine.offset.reshape(*maps, *ones, 2).expand(*batch, 2),
        )
        super().__init__(batch, torch.Size((2,)), validate_args=False)

    def __repr__(self) -> str:
        return f"MappedDensity({self.density!r})"

    def forward(self, points: Tensor) -> Tensor:
        """Return points `(*sample, *batch, 2)` in the new frame."""
        return _apply(self.affine, points)

    def log_prob(self, points: Float[Tensor, ...]) -> Float[Tensor, ...]:
        """Return `log p(A⁻¹ (y − b)) − log |det A|` at `(*sample, *batch, 2)`."""
        log_prob = self.density.log_prob(_apply(self.affine.inverse(), points))
        return log_prob - self.affine.log_abs_det().to(log_prob)

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
            TypeError: If the density is a `GaussianDensity`, which has the one mode.
        """
        modes = getattr(self.density, "modes", None)
        if modes is None:
            raise TypeError("density must be a KernelDensity to have several modes")
        points, masses = modes(k)
        return self.forward(points.movedim(-2, 0)).movedim(0, -2), masses

    @property
    def covariance_matrix(self) -> Float[Tensor, ...]:
        """Covariance `A C Aᵀ`, `(*batch, 2, 2)`."""
        covariance = self.density.covariance_matrix
        with full_precision(covariance.device):
            return self.affine.covariances(covariance)

    @property
    def variance(self) -> Float[Tensor, ...]:
        """Variance along each axis, `(*batch, 2)`."""
        return self.covariance_matrix.diagonal(dim1=-2, dim2=-1)

    @property
    def uncertainty(self) -> Float[Tensor, ...]:
        """`|Cov|^½`, an area of the new frame, `(*batch)`."""
        # Not from the covariance, whose determinant cancels where it is long and thin.
        own = self.density.uncertainty
        return own * self.affine.log_abs_det().exp().to(own)

    @property
    def uncertainty_length(self) -> Float[Tensor, ...]:
        """`|Cov|^¼`, a length of the new frame, `(*batch)`."""
        return self.uncertainty.sqrt()

    def entropy(self) -> Float[Tensor, ...]:
        """Return `−E[log p]`, `(*batch)`: that of the density plus `log |det A|`."""
        entropy = self.density.entropy()
        return entropy + self.affine.log_abs_det().to(entropy)

    def hdr_level(self, points: Float[Tensor, ...]) -> Float[Tensor, ...]:
        """Return the mass denser than the points, which an affine map leaves as it is."""
        return self.density.hdr_level(_apply(self.affine.inverse(), points))

    def hdr_tie(self, points: Float[Tensor, ...]) -> Float[Tensor, ...]:
        """Return the mass exactly as dense as the points, which the map leaves as it is."""
        return self.density.hdr_tie(_apply(self.affine.inverse(), points))

    def hdr_area(self, level: float | Float[Tensor, ...]) -> Float[Tensor, ...]:
        """Return the area of the region of that mass: that of the density times `|det A|`."""
        own = self.density.hdr_area(level)
        return own * self.affine.log_abs_det().exp().to(own)

    def energy_score(self, points: Float[Tensor, ...]) -> Float[Tensor, ...]:
        """Return `E|Y − y| − ½ E|Y − Y′|` in the new frame's unit, `Y` mapped as points are.

        Lengths change by more than a factor where the map stretches, so it is taken there anew.
        """
        return mapped_energy_score(self, points)

    def mapped(self, affine: Affine) -> MappedDensity:
        """Return this density in the frame that `affine` maps its own to.

        Args:
            affine: With a batch that goes with the leading dimensions of this density's.
        """
        maps = affine.offset.shape[:-1]
        ones = (1,) * (len(self.batch_shape) - len(maps))
        linear = affine.linear.reshape(*maps, *ones, 2, 2).to(self.affine.linear)
        offset = affine.offset.reshape(*maps, *ones, 2).to(self.affine.offset)
        return MappedDensity(self.density, Affine(linear, offset) @ self.affine)

    def mass_within(self, centre: Float[Tensor, ...], radius: float | Tensor) -> Float[Tensor, ...]:
        """Return `P(|Y − centre| ≤ radius)` in the new frame; see `kdn.density.discs`."""
        return discs.mass_within(self.density, centre, radius, affine=self.affine)

    def sample(
        self, sample_shape: Sequence[int] = (), *, generator: torch.Generator | None = None
    ) -> Float[Tensor, ...]:
        """Return random points `(*sample, *batch, 2)`."""
        return self.forward(self.density.sample(sample_shape, generator=generator))


def _apply(affine: Affine, points: Tensor) -> Tensor:
    """Return points moved, with the maps broadcast from the right, as a batch of densities is."""
    linear, offset = affine.linear.to(points), affine.offset.to(points)
    return (linear * points.unsqueeze(-2)).sum(-1) + offset
