"""The kernels of a density. Another kernel is another class in this file, or in yours.

A kernel is the same density `k` along each axis, in units of its scale `s`:

    K(d) = Π_i k(d_i / s_i) / s_i

The scale is the bandwidth, or the side of the cell for kernels that fill it.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from functools import cached_property

import torch
from jaxtyping import Float
from torch import Tensor

__all__ = ["Gaussian", "Kernel", "Uniform", "kernel_named", "uniform_sequence"]

FAR = -35.0
"""Logarithm of what counts for nothing beside a kernel's peak, along an axis."""

_LEVELS = 4096
"""Quantiles that stand for a kernel in its entropy."""


class Kernel(ABC):
    """What densities ask of a kernel, along one axis and in units of its scale.

    A subclass gives `name`, `variance`, `log_density`, `cdf` and `quantile`; the other answers
    follow from these and are there to be overridden where they are short.

    Attributes:
        name: As in error messages.
        variance: Of `k`.
        fills_cell: True if the scale is the side of the cell and the centre that of the cell, so
            that kernels do not overlap; then there are neither bandwidth nor offsets.

    Example:
        >>> class Triangle(Kernel):
        ...     name, variance = "triangle", 1 / 6
        ...     def log_density(self, u):
        ...         return (1 - u.abs()).clamp(min=0).log()
        ...     def cdf(self, u):
        ...         u = u.clamp(-1, 1)
        ...         return 0.5 + u - 0.5 * u * u.abs()
        ...     def quantile(self, level):
        ...         side = 1 - (2 * torch.minimum(level, 1 - level)).sqrt()
        ...         return torch.where(level < 0.5, -side, side)
        >>> round(Triangle().entropy, 2), round(Gaussian().entropy, 2)
        (0.5, 1.42)
    """

    name: str
    variance: float
    fills_cell: bool = False

    def __repr__(self) -> str:
        return self.name

    def __eq__(self, other: object) -> bool:
        settings = [
            {name: value for name, value in vars(kernel).items() if name != "entropy"}
            for kernel in (self, other)
        ]
        return type(other) is type(self) and settings[0] == settings[1]

    def __hash__(self) -> int:
        return hash(type(self))

    @abstractmethod
    def log_density(self, u: Float[Tensor, "*any"]) -> Float[Tensor, "*any"]:
        """Return `log k(u)`; −∞ where there is none."""

    @abstractmethod
    def cdf(self, u: Float[Tensor, "*any"]) -> Float[Tensor, "*any"]:
        """Return the distribution function."""

    @abstractmethod
    def quantile(self, level: Float[Tensor, "*any"]) -> Float[Tensor, "*any"]:
        """Return the inverse of the distribution function, for levels in (0, 1)."""

    def share(
        self, low: Float[Tensor, "*any"], high: Float[Tensor, "*any"]
    ) -> Float[Tensor, "*any"]:
        """Return the mass from `low` to `high`."""
        return self.cdf(high) - self.cdf(low)

    def log_mass(
        self, low: Float[Tensor, "*any"], high: Float[Tensor, "*any"]
    ) -> Float[Tensor, "*any"]:
        """Return the logarithm of the mass from `low` to `high`, with a gradient of 0 where −∞."""
        mass = self.share(low, high)
        positive = mass > 0
        return torch.where(positive, torch.where(positive, mass, 1.0).log(), -math.inf)

    def weights_(self, u: Float[Tensor, "*any"]) -> Float[Tensor, "*any"]:
        """Return `k(u) / k(0)`, 0 where it is next to nothing; `u` may be overwritten."""
        log_ratio = self.log_density(u) - self.log_density(u.new_zeros(()))
        return _exp_(log_ratio)

    def draw(self, like: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Return random numbers from `k`, of the shape and dtype of a tensor."""
        level = torch.empty_like(like).uniform_(generator=generator)
        return self.quantile(level.clamp_(min=torch.finfo(level.dtype).tiny))

    def displacements(self, count: int, ndim: int) -> Float[Tensor, "count ndim"]:
        """Return a low-discrepancy sequence of draws along all axes, in float64."""
        return self.quantile(uniform_sequence(count, ndim))

    @cached_property
    def entropy(self) -> float:
        """`−E[log k]` in nats."""
        levels = (torch.arange(_LEVELS, dtype=torch.float64) + 0.5) / _LEVELS
        return -self.log_density(self.quantile(levels)).mean().item()

    def mean_distance(self, apart: Tensor, first: Tensor, second: Tensor) -> Tensor | None:
        """Return `E|U − V|` of draws with their means `apart` and scales `first` and `second`.

        A scale of 0 is a point. None where it has no short form: then the CRPS is from nodes.
        """
        return None


class Gaussian(Kernel):
    """The standard normal density; the bandwidth is its standard deviation."""

    name = "gaussian"
    variance = 1.0

    def log_density(self, u: Float[Tensor, "*any"]) -> Float[Tensor, "*any"]:
        """Return `−u²/2 − ½ log 2π`."""
        return u.square().mul_(-0.5).sub_(0.5 * math.log(2 * math.pi))

    def cdf(self, u: Float[Tensor, "*any"]) -> Float[Tensor, "*any"]:
        """Return `Φ(u)`."""
        return torch.special.ndtr(u)

    def quantile(self, level: Float[Tensor, "*any"]) -> Float[Tensor, "*any"]:
        """Return `Φ⁻¹(level)`."""
        return torch.special.ndtri(level)

    def share(
        self, low: Float[Tensor, "*any"], high: Float[Tensor, "*any"]
    ) -> Float[Tensor, "*any"]:
        """Return `Φ(high) − Φ(low)`, taken in the lower tail, where neither is 1."""
        turned = low > 0
        below = torch.special.ndtr(torch.where(turned, -low, high))
        return below - torch.special.ndtr(torch.where(turned, -high, low))

    def log_mass(
        self, low: Float[Tensor, "*any"], high: Float[Tensor, "*any"]
    ) -> Float[Tensor, "*any"]:
        """Return `log(Φ(high) − Φ(low))` for `low < high`, exact and finite however far.

        With the interval mirrored into the lower tail where its middle is positive, the difference
        is `log Φ(b) + log(1 − e^(log Φ(a) − log Φ(b)))`, in which nothing cancels.
        """
        mirrored = low + high > 0
        low, high = torch.where(mirrored, -high, low), torch.where(mirrored, -low, high)
        greater = _log_ndtr(high)
        return greater + _log1mexp(greater - _log_ndtr(low))

    def weights_(self, u: Float[Tensor, "*any"]) -> Float[Tensor, "*any"]:
        """Return `exp(−u²/2)`, 0 where it is next to nothing."""
        return _exp_(u.square_().mul_(-0.5))

    def draw(self, like: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Return standard normal numbers."""
        return torch.empty_like(like).normal_(generator=generator)

    def displacements(self, count: int, ndim: int) -> Float[Tensor, "count ndim"]:
        """Return a low-discrepancy sequence of standard normal vectors.

        In the plane the uniform sequence is spread by radius and angle, so that discs about the
        centre hold the right share.
        """
        if ndim != 2:
            return super().displacements(count, ndim)
        uniform = uniform_sequence(count, ndim)
        radius, angle = (-2.0 * uniform[:, 0].log()).sqrt(), 2.0 * math.pi * uniform[:, 1]
        points = torch.stack([radius * angle.cos(), radius * angle.sin()], -1)
        return points - points.mean(0)

    @cached_property
    def entropy(self) -> float:
        """`½ log 2πe`."""
        return 0.5 * math.log(2 * math.pi * math.e)

    def mean_distance(self, apart: Tensor, first: Tensor, second: Tensor) -> Tensor:
        """Return `2 s φ(m/s) + m (2 Φ(m/s) − 1)`, with `s² = first² + second²`."""
        scale = (first.square() + second.square()).sqrt()
        ratio = apart / scale
        density = (-0.5 * ratio.square()).exp() * math.sqrt(2.0 / math.pi)
        return scale * density + apart * torch.special.erf(ratio * math.sqrt(0.5))


class Uniform(Kernel):
    """Constant over the kernel's own cell, which holds its lower edge and not its upper one."""

    name = "uniform"
    variance = 1 / 12
    fills_cell = True

    def log_density(self, u: Float[Tensor, "*any"]) -> Float[Tensor, "*any"]:
        """Return 0 within half a side of the centre, −∞ elsewhere."""
        return torch.where((u >= -0.5) & (u < 0.5), 0.0 * u, -math.inf)

    def cdf(self, u: Float[Tensor, "*any"]) -> Float[Tensor, "*any"]:
        """Return `u + ½` within the cell."""
        return (u + 0.5).clamp(0, 1)

    def quantile(self, level: Float[Tensor, "*any"]) -> Float[Tensor, "*any"]:
        """Return `level − ½`."""
        return level - 0.5

    def draw(self, like: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Return numbers spread evenly over the cell."""
        return torch.empty_like(like).uniform_(-0.5, 0.5, generator=generator)

    def mean_distance(self, apart: Tensor, first: Tensor, second: Tensor) -> Tensor:
        """Return the mean distance in cells of one width `w`, equal or apart, or from a point.

        It is `w / 3` or `|apart|`; a point at `d` from the middle of a cell is `|d|` away on
        average, or `d²/w + w/4` within it.
        """
        far, width = apart.abs(), second
        inside = torch.where(first > 0, width / 3.0, far.square() / width + 0.25 * width)
        return torch.where(far < 0.5 * width, inside, far)


_NAMED = {kernel.name: kernel for kernel in (Gaussian(), Uniform())}


def kernel_named(kernel: str | Kernel) -> Kernel:
    """Return a kernel by its name, or as it is.

    Raises:
        ValueError: If there is none of the name.
    """
    if isinstance(kernel, Kernel):
        return kernel
    if kernel not in _NAMED:
        raise ValueError(f"kernel must be one of {', '.join(_NAMED)}, got {kernel!r}")
    return _NAMED[kernel]


def uniform_sequence(count: int, ndim: int) -> Float[Tensor, "count ndim"]:
    """Return a low-discrepancy sequence within the unit cube, in float64.

    In one and two dimensions that of Kronecker, `{½ + i α}`, `α_j = φ^−j` with
    `φ^(ndim + 1) = φ + 1`; in three that of Sobol, whose entropies err a third less.
    """
    if ndim == 3:
        sequence = torch.quasirandom.SobolEngine(ndim).draw(count, dtype=torch.float64)
        sequence = sequence + 0.5 / count
    else:
        ratio = 2.0
        for _ in range(60):
            ratio = (1.0 + ratio) ** (1.0 / (ndim + 1))
        steps = torch.arange(1, count + 1, dtype=torch.float64).unsqueeze(1)
        powers = torch.arange(1, ndim + 1, dtype=torch.float64)
        sequence = (0.5 + steps * ratio**-powers) % 1.0
    return sequence.clamp(1e-12, 1.0 - 1e-12)


def _exp_(exponent: Tensor) -> Tensor:
    """Return the exponential in place, 0 below `FAR`: numbers that underflow are slow."""
    return torch.threshold_(exponent.clamp_(min=FAR - 1).exp_(), math.exp(FAR), 0.0)


def _log_ndtr(x: Tensor) -> Tensor:
    """Return `log Φ(x)`; `log(erfcx(−x/√2) / 2) − x²/2` in the lower tail.

    The gradient of torch's own is a difference of numbers as large as x²; in float32 it is wrong by
    a twentieth at −1000, and soon in all digits.
    """
    lower = x < -1
    tail, other = torch.where(lower, x, -1.0), torch.where(lower, 0.0, x)
    of_tail = (0.5 * torch.special.erfcx(-tail * math.sqrt(0.5))).log() - 0.5 * tail.square()
    return torch.where(lower, of_tail, torch.log1p(-0.5 * torch.erfc(other * math.sqrt(0.5))))


def _log1mexp(x: Tensor) -> Tensor:
    """Return `log(1 − e^(−x))` for `x > 0`, by whichever form loses no digits (Mächler 2012)."""
    near = x < math.log(2)
    small, large = torch.where(near, x, 1.0), torch.where(near, 1.0, x)
    return torch.where(near, (-torch.expm1(-small)).log(), torch.log1p(-torch.exp(-large)))
