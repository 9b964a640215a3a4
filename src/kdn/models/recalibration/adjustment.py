"""Densities made sharper or wider after training, by few numbers fitted on held-out labels."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from functools import singledispatch
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from kdn.density import Gaussian, GaussianDensity, KernelDensity, LaplaceDensity

__all__ = ["PARTS", "Adjustment"]

PARTS = ("temperature", "bandwidth", "covariance")
"""What can be fitted."""


@dataclass(frozen=True)
class Adjustment:
    """What is changed about every density: temperature, bandwidth, added covariance.

    A kernel density `Σ p K_h` with `p = softmax(f)` becomes the one with

        p′ ∝ p^(1/T),    h′² = (a·h)² + s²,

    the kernels' covariance `h² I` scaled and `s² I` added to it. A uniform kernel, as wide as a
    cell, becomes the Gaussian one of its own variance, `spacing² / 12` (the mean over the axes),
    scaled and added to likewise. A single Gaussian with covariance `C` becomes the one with
    `a² C + s² I`; it has no temperature. A Laplace distribution has `a` times its scale.

    Convention: bandwidths and variance are in the frame of the density, of points in a model crop
    pixels. Each number is one for all densities, or one per label, the last dimension of the batch.

    Args:
        temperature: `T`, positive; below 1 it sharpens.
        bandwidth_factor: `a`, positive.
        added_variance: `s²`, squared units of length, 0 or more.

    Raises:
        ValueError: If a number is not in its range, or numbers are for different labels.

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
                    f"{name} must be {least} and finite, one number or one per label, "
                    f"got {value.tolist()}"
                )
            shapes |= {tuple(value.shape)} if value.dim() else set()
        if len(shapes) > 1:
            raise ValueError(f"numbers must be for the same labels, got shapes {sorted(shapes)}")

    def applied(self, density: Any) -> Any:
        """Return the changed density, differentiable in the three numbers.

        One of a kind that has none of them stays as it is.

        Args:
            density: Batch shape `(*batch, labels)`.
        """
        return _applied(density, self)

    @staticmethod
    def parts_of(density: Any) -> tuple[str, ...]:
        """Return which numbers change such densities, each in a way of its own.

        Where all kernels have one bandwidth, factor and addition do the same, and only the factor
        is named.
        """
        if isinstance(density, KernelDensity):
            widths = density.bandwidth
            same = widths is None or bool((widths == widths.flatten()[0]).all())
            return PARTS[:2] if same else PARTS
        if isinstance(density, GaussianDensity):
            return PARTS[1:]
        return PARTS[1:2] if isinstance(density, LaplaceDensity) else ()


@singledispatch
def _applied(density: Any, change: Adjustment) -> Any:
    return density


@_applied.register
def _kernels(density: KernelDensity, change: Adjustment) -> KernelDensity:
    """Return `Σ p′ K_h′`."""
    grid, logits = density.grid, density.raw_logits
    cells = (1,) * grid.ndim
    # -inf / T has no derivative in T that is a number.
    empty = logits.isneginf()
    temperature = change.temperature.to(logits)
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
        for value in (change.bandwidth_factor, change.added_variance)
    )
    return KernelDensity(
        cooled.masked_fill(empty, -math.inf),
        grid,
        kernel=kernel,
        bandwidth=(factor.square() * square + added / kernel.variance).sqrt(),
        offsets=density.offsets,
    )


@_applied.register
def _gaussian(density: GaussianDensity, change: Adjustment) -> GaussianDensity:
    """Return `N(μ, a² C + s² I)`."""
    scale = density.scale_tril
    factor, added = (
        value.to(scale)[..., None, None]
        for value in (change.bandwidth_factor, change.added_variance)
    )
    identity = torch.eye(scale.shape[-1], dtype=scale.dtype, device=scale.device)
    # From the scaled factor where nothing is added: its square would lose half the digits.
    if not change.added_variance.requires_grad and not bool(change.added_variance.any()):
        return GaussianDensity(density.loc, scale_tril=factor * scale)
    covariance = factor.square() * density.covariance_matrix + added * identity
    return GaussianDensity(density.loc, covariance=covariance)


@_applied.register
def _laplace(density: LaplaceDensity, change: Adjustment) -> LaplaceDensity:
    """Return the one of `a` times the scale."""
    return LaplaceDensity(density.loc, change.bandwidth_factor.to(density.scale) * density.scale)
