"""How far the library's answers about a density are off from its `Truth`."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from references import Kernels, Truth

LIMITS = {
    "log_prob": 1e-3,
    "hdr_level": 0.02,
    "hdr_tie": 1e-3,
    "entropy": 0.02,
    "mode": 1e-3,
    "mean": 2e-3,
    "covariance": 2e-3,
    "uncertainty": 2e-3,
    "hdr_area": 0.03,
    "mass_within": 0.015,
    "energy_score": 0.02,
}
"""Errors allowed: nats for `log_prob` (by `1 + |log p|`), `entropy` and `mode` (how much lower the
density is than the highest found), masses for levels, ties and `mass_within`, shares of the value
for areas and uncertainties, shares of the spread for lengths."""

POOL_LIMITS = LIMITS | {"log_prob": 0.02, "mean": 0.02, "covariance": 0.05, "uncertainty": 0.05}
"""Of products, whose normaliser and moments are integrals too."""

LEVELS = (0.5, 0.8, 0.9)


@dataclass(frozen=True)
class Case:
    """A density, and the groups of kernels that each row of its flattened batch is made of.

    Args:
        kind: The row of the table it belongs to.
        name: Tells it from others.
        about: All that is needed to build it again.
        density: Of the library.
        groups: For each row its groups, one but for products.
        dtype: In which the library computes.
        exponents: Of the groups.
    """

    kind: str
    name: str
    about: str
    density: Any
    groups: list[list[list[Kernels]]]
    dtype: torch.dtype
    exponents: tuple[float, ...] = (1.0,)

    @property
    def limits(self) -> dict[str, float]:
        """Errors allowed."""
        return LIMITS if len(self.exponents) == 1 else POOL_LIMITS


def wrong_of(case: Case, *, count: int = 1 << 16) -> dict[str, Any]:
    """Return the errors that are not allowed, NaN among them, and what was raised."""
    errors = errors_of(case, count=count).items()
    return {n: e for n, e in errors if isinstance(e, str) or not bool(e.max() <= case.limits[n])}


def errors_of(case: Case, *, count: int = 1 << 16) -> dict[str, Tensor | str]:
    """Return how far each answer is off in every row, or what was raised instead.

    Args:
        case: Its density may be a function and its arguments, since that may raise too.
        count: Draws of the reference.
    """
    density = case.density
    if isinstance(density, tuple):
        try:
            density = density[0](*density[1:])
        except Exception as error:
            return {"building": f"{type(error).__name__}: {error}"}
    truths = [Truth(groups, case.exponents, count=count) for groups in case.groups]
    asked = Asked(density, truths, case.dtype)
    errors: dict[str, Tensor | str] = {}
    for name in LIMITS:
        try:
            errors[name] = getattr(asked, name)().double().reshape(len(truths), -1).abs().amax(1)
        except Exception as error:
            errors[name] = f"{type(error).__name__}: {error}"
    return errors


class Asked:
    """The questions, each answering with errors, the rows of the batch first.

    Args:
        density: Of the library.
        truths: Of each row of its flattened batch.
        dtype: In which it computes.
    """

    def __init__(self, density: Any, truths: list[Truth], dtype: torch.dtype) -> None:
        self.density, self.truths = density, truths
        self.batch, self.event = tuple(density.batch_shape), tuple(density.event_shape)
        ndim = truths[0].points.shape[1]
        generator = torch.Generator().manual_seed(0)
        rows = []
        for truth in truths:
            draws = truth.points[torch.multinomial(truth.masses, 6, True, generator=generator)]
            mean, covariance = truth.moments()
            far = mean + torch.tensor([[3.0], [-5.0]]).double() * covariance.diagonal().sqrt()
            rows.append(torch.cat([draws, far]))
        points = torch.stack(rows, 1).reshape(-1, *self.batch, ndim)
        self.slack = 1e-4 if dtype == torch.float32 else 1e-7
        self.points = points.squeeze(-1).to(dtype) if not self.event else points.to(dtype)
        self.rows = self.vectors(self.points)

    def vectors(self, points: Tensor) -> Tensor:
        """Return points as `(rows, points, ndim)` in float64."""
        points = points if self.event else points.unsqueeze(-1)
        return points.double().reshape(-1, len(self.truths), points.shape[-1]).transpose(0, 1)

    def each(self, answers: Tensor) -> Tensor:
        """Return answers at points as `(rows, points)`."""
        return answers.double().reshape(-1, len(self.truths)).T

    @property
    def pairs(self) -> list[tuple[Truth, Tensor]]:
        """Rows with their points."""
        return list(zip(self.truths, self.rows, strict=True))

    def log_prob(self) -> Tensor:
        """By `1 + |log p|`."""
        exact = torch.stack([truth.log_prob(points) for truth, points in self.pairs])
        got = self.each(self.density.log_prob(self.points))
        wrong = (got - exact).abs() / (1.0 + exact.abs())
        return torch.where(got == exact, 0.0, wrong)

    def hdr_level(self) -> Tensor:
        """How far outside the levels of points that are a rounding denser or less dense."""
        got = self.each(self.density.hdr_level(self.points))
        ends = [truth.levels(points, self.slack) for truth, points in self.pairs]
        low, high = (torch.stack(side) for side in zip(*ends, strict=True))
        if self.exact:
            high = low
        return (low - got).clamp(min=0.0) + (got - high).clamp(min=0.0)

    def hdr_tie(self) -> Tensor:
        """Of uniform kernels what is as dense, of all others nothing."""
        got = self.each(self.density.hdr_tie(self.points))
        if not self.exact:
            return got
        ends = [truth.levels(points, self.slack) for truth, points in self.pairs]
        return got - torch.stack([high - low for low, high in ends])

    @property
    def exact(self) -> bool:
        """Whether the density is constant in pieces."""
        groups = self.truths[0].groups
        return len(groups) == 1 and all(kernels.shape == "uniform" for kernels in groups[0])

    def entropy(self) -> Tensor:
        """Difference."""
        exact = [truth.entropy() for truth in self.truths]
        return self.density.entropy().double().flatten() - torch.tensor(exact).double()

    def mode(self) -> Tensor:
        """How much lower the density is there than at the highest point found."""
        modes = self.vectors(self.density.mode.unsqueeze(0))
        pairs = zip(self.truths, modes, strict=True)
        return torch.stack([truth.best(y[0]) - truth.log_prob(y)[0] for truth, y in pairs])

    def mean(self) -> Tensor:
        """By the spread."""
        got = self.vectors(self.density.mean.unsqueeze(0))[:, 0]
        exact = torch.stack([truth.moments()[0] for truth in self.truths])
        return (got - exact) / self.spreads.unsqueeze(1)

    @property
    def spreads(self) -> Tensor:
        """Square roots of the total variances."""
        return torch.tensor([truth.spread() for truth in self.truths]).double()

    def covariance(self) -> Tensor:
        """By the deviations along the two axes."""
        exact = torch.stack([truth.moments()[1] for truth in self.truths])
        scale = exact.diagonal(dim1=1, dim2=2).sqrt()
        scale = scale.unsqueeze(1) * scale.unsqueeze(2)
        if hasattr(self.density, "covariance_matrix"):
            got = self.density.covariance_matrix
        else:
            got = self.density.variance
        return (got.double().reshape(exact.shape) - exact) / scale

    def uncertainty(self) -> Tensor:
        """By itself."""
        exact = torch.stack([truth.moments()[1] for truth in self.truths])
        log = 0.5 * torch.linalg.slogdet(exact).logabsdet
        return self.density.uncertainty.double().flatten() / log.exp() - 1.0

    def hdr_area(self) -> Tensor:
        """By itself, beyond the areas at levels 0.005 lower and higher, where it may jump."""
        ends = [
            [[truth.area(level + d) for level in LEVELS] for truth in self.truths]
            for d in (-0.005, 0.005)
        ]
        low, high = torch.tensor(ends).double()
        levels = torch.tensor(LEVELS).reshape(-1, *(1,) * len(self.batch))
        got = self.each(self.density.hdr_area(levels))
        return (1.0 - got / low).clamp(min=0.0) + (got / high - 1.0).clamp(min=0.0)

    def mass_within(self) -> Tensor:
        """Difference, at three draws and three radii."""
        spreads = self.spreads.reshape(self.batch)
        errors = []
        for share in (0.1, 0.6, 1.5):
            got = self.each(self.density.mass_within(self.points[:3], share * spreads))
            exact = [
                [truth.mass_within(y, share * truth.spread()) for y in points[:3]]
                for truth, points in self.pairs
            ]
            errors.append(got - torch.tensor(exact).double())
        return torch.cat(errors, 1)

    def energy_score(self) -> Tensor:
        """By the spread."""
        got = self.each(self.density.energy_score(self.points))
        exact = torch.stack([truth.energy(points) for truth, points in self.pairs])
        return (got - exact) / self.spreads.unsqueeze(1)
