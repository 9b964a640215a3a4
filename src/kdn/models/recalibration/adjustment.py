"""Densities made sharper or wider after training, by few numbers fitted on held-out labels."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import torch
from jaxtyping import Float
from torch import Tensor

from kdn.density import Gaussian, GaussianDensity, KernelDensity

__all__ = ["Adjustment"]


@dataclass(frozen=True)
class Adjustment:
    """What is changed about every density: temperature, bandwidth, added covariance.

    A kernel density `Σ p K_h` with `p = softmax(f)` becomes the one with

        p′ ∝ p^(1/T),    h′² = (a·h)² + s²,

    the kernels' covariance `h² I` scaled and `s² I` added to it. A uniform kernel, as wide as a
    cell, becomes the Gaussian one of its own variance, `spacing² / 12` (the mean over the axes),
    scaled and added to likewise. A single Gaussian with covariance `C` becomes the one with
    `a² C + s² I`; it has no temperature.

    Convention: bandwidths and variance are in the frame of the density, crop pixels in a model.
    Each number is one for all densities, or one per landmark, the last dimension of the batch.

    Args:
        temperature: `T`, positive; below 1 it sharpens.
        bandwidth_factor: `a`, positive.
        added_variance: `s²`, crop px², 0 or more.

    Raises:
        ValueError: If a number is not in its range, or numbers are for different landmarks.

    Source: temperature scaling is that of Guo et al. (2017) for classifiers.

    Example:
        >>> from kdn.grid import Grid
        >>> one = KernelDensity(torch.zeros(3, 1, 1), Grid.of_heatmap(height=1, width=1, stride=4),
        ...                     bandwidth=3.0)
        >>> wider = Adjustment(added_variance=torch.tensor(16.0)).applied(one)
        >>> wider.uncertainty_length.tolist()
        [5.0, 5.0, 5.0]
    """

    temperature: Float[Tensor, ...] = field(default_factory=lambda: torch.tensor(1.0))
    bandwidth_factor: Float[Tensor, ...] = field(default_factory=lambda: torch.tensor(1.0))
    added_variance: Float[Tensor, ...] = field(default_factory=lambda: torch.tensor(0.0))

    def __post_init__(self) -> None:
        shapes = set()
        for name in ("temperature", "bandwidth_factor", "added_variance"):
            value = getattr(self, name)
            least = "0 or more" if name == "added_variance" else "positive"
            right = value >= 0 if name == "added_variance" else value > 0
            if value.dim() > 1 or not bool((right & value.isfinite()).all()):
                raise ValueError(
                    f"{name} must be {least} and finite, one number or one per landmark, "
                    f"got {value.tolist()}"
                )
            shapes |= {tuple(value.shape)} if value.dim() else set()
        if len(shapes) > 1:
            raise ValueError(f"numbers must be for the same landmarks, got shapes {sorted(shapes)}")

    def applied(self, density: KernelDensity | GaussianDensity) -> KernelDensity | GaussianDensity:
        """Return the changed density, differentiable in the three numbers.

        Args:
            density: Batch shape `(*batch, landmarks)`.
        """
        if isinstance(density, GaussianDensity):
            return self._gaussian(density)
        grid, logits = density.grid, density.raw_logits
        cells = (1,) * grid.ndim
        # -inf / T has no derivative in T that is a number.
        empty = logits.isneginf()
        temperature = self.temperature.to(logits)
        cooled = logits.masked_fill(empty, 0.0) / temperature.reshape((*temperature.shape, *cells))
        kernel = density.kernel
        if density.bandwidth is None:
            square = kernel.variance * sum(s**2 for s in grid.spacing) / grid.ndim
            square, kernel = torch.tensor(square).to(logits), Gaussian()
        else:
            square = density.bandwidth.square()
        inner = cells if density.per_cell else ()
        factor, added = (
            value.to(logits).reshape((*value.shape, *inner))
            for value in (self.bandwidth_factor, self.added_variance)
        )
        return KernelDensity(
            cooled.masked_fill(empty, -math.inf),
            grid,
            kernel=kernel,
            bandwidth=(factor.square() * square + added / kernel.variance).sqrt(),
            offsets=density.offsets,
        )

    def _gaussian(self, density: GaussianDensity) -> GaussianDensity:
        """Return `N(μ, a² C + s² I)`."""
        scale = density.scale_tril
        factor, added = (
            value.to(scale)[..., None, None]
            for value in (self.bandwidth_factor, self.added_variance)
        )
        identity = torch.eye(scale.shape[-1], dtype=scale.dtype, device=scale.device)
        # From the scaled factor where nothing is added: its square would lose half the digits.
        if not self.added_variance.requires_grad and not bool(self.added_variance.any()):
            return GaussianDensity(density.loc, scale_tril=factor * scale)
        covariance = factor.square() * density.covariance_matrix + added * identity
        return GaussianDensity(density.loc, covariance=covariance)
