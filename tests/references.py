"""Densities written out as lists of kernels, and every answer from very many draws of them.

Slow, in float64 throughout, and apart from the library: nothing here is imported from `kdn`. Every
kernel gives its share of the draws, placed by a scrambled Sobol sequence, and the log-density there
is exact; so parts of any width are seen at their own scale.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torch.quasirandom import SobolEngine

SPREADS = {"gaussian": 1.0, "uniform": 1.0 / 12.0, "laplace": 2.0, "triangle": 1.0 / 6.0}
"""Variance of each shape along an axis."""

_BLOCK = 1 << 18


@dataclass(frozen=True)
class Kernels:
    """`Σ p_k K(F_k⁻¹ (y − μ_k)) / |det F_k|`, with `K` a product of one shape along all axes.

    Args:
        shape: One of `SPREADS`.
        probs: `(kernels,)`, not necessarily of sum 1.
        centres: `(kernels, ndim)`.
        factors: `(kernels, ndim, ndim)`: root of the covariance, sides of the cell, scale.
    """

    shape: str
    probs: Tensor
    centres: Tensor
    factors: Tensor

    @property
    def ndim(self) -> int:
        """Number of dimensions."""
        return self.centres.shape[1]

    def weighted(self, weight: float) -> "Kernels":
        """Return them with all probabilities times a number."""
        return replace(self, probs=self.probs * weight)

    def mapped(self, linear: Tensor, offset: Tensor) -> "Kernels":
        """Return them in the frame of `linear · y + offset`."""
        centres = self.centres @ linear.T + offset
        return replace(self, centres=centres, factors=linear @ self.factors)

    def log_terms(self, points: Tensor) -> Tensor:
        """Return the logarithm of every kernel's share of the density, `(points, kernels)`."""
        diagonal = self.factors.diagonal(dim1=1, dim2=2)
        apart = [points[:, None, i] - self.centres[:, i] for i in range(self.ndim)]
        if bool((self.factors == torch.diag_embed(diagonal)).all()):
            away = [apart[i] / diagonal[:, i] for i in range(self.ndim)]
        else:
            inverse = torch.linalg.inv(self.factors)
            away = [_dot(inverse[:, i].T, apart) for i in range(self.ndim)]
        constant = self.probs.log() - torch.linalg.slogdet(self.factors).logabsdet
        if self.shape == "gaussian":
            return constant - 0.5 * _dot(away, away) - 0.5 * self.ndim * math.log(2.0 * math.pi)
        if self.shape == "laplace":
            return (
                constant - torch.stack([u.abs() for u in away]).sum(0) - self.ndim * math.log(2.0)
            )
        if self.shape == "triangle":
            return constant + torch.stack([1 - u.abs() for u in away]).clamp(min=0).log().sum(0)
        inside = torch.stack([part.abs() <= 0.5 for part in away]).all(0)
        return torch.where(inside, constant, -math.inf)

    def log_prob(self, points: Tensor) -> Tensor:
        """Return the log-density at `(points, ndim)`."""
        turns = points.split(max(1, _BLOCK // len(self.probs)))
        return torch.cat([self.log_terms(turn).logsumexp(1) for turn in turns])

    def moments(self) -> tuple[Tensor, Tensor]:
        """Return the integrals of `y` and of `y yᵀ`."""
        second = SPREADS[self.shape] * self.factors @ self.factors.mT
        second = second + self.centres.unsqueeze(2) * self.centres.unsqueeze(1)
        return self.probs @ self.centres, (self.probs[:, None, None] * second).sum(0)

    def draws(self, count: int, seed: int) -> tuple[Tensor, Tensor]:
        """Return about `count` points and what each of them stands for of the mass."""
        kept = self.probs > 1e-9
        counts = torch.where(kept, (count * self.probs).long() + 8, 0)
        sequence = SobolEngine(self.ndim, scramble=True, seed=seed)
        cube = sequence.draw(int(counts.sum()), dtype=torch.float64).clamp(1e-12, 1 - 1e-12)
        if self.shape == "gaussian":
            away = torch.special.ndtri(cube)
        elif self.shape == "laplace":
            away = -torch.sign(cube - 0.5) * torch.log1p(-2.0 * (cube - 0.5).abs())
        elif self.shape == "triangle":
            away = torch.sign(cube - 0.5) * (1.0 - (1.0 - 2.0 * (cube - 0.5).abs()).sqrt())
        else:
            away = cube - 0.5
        kernel = torch.arange(len(counts)).repeat_interleave(counts)
        moved = (self.factors[kernel] @ away.unsqueeze(2)).squeeze(2)
        return self.centres[kernel] + moved, (self.probs / counts)[kernel]


def _dot(left: Sequence[Tensor] | Tensor, right: Sequence[Tensor]) -> Tensor:
    """Return the sum of products along the axes."""
    total = left[0] * right[0]
    for i in range(1, len(right)):
        total = total + left[i] * right[i]
    return total


def _cells(
    log_prob: Callable[[Tensor], Tensor], kernels: list[Kernels]
) -> tuple[Tensor, Tensor, Tensor]:
    """Return middles, sides and log-masses of boxes that are as small as the kernels nearby."""
    centres = torch.cat([one.centres for one in kernels])
    widths = torch.cat([torch.linalg.svdvals(one.factors) for one in kernels])
    longest, shortest = widths[:, 0], widths[:, -1]
    ndim = centres.shape[1]
    reach = (9.0 if ndim > 1 else 40.0) * longest.unsqueeze(1)
    low, high = (centres - reach).amin(0), (centres + reach).amax(0)
    side = (high - low) / 8
    middle = low + side * (torch.cartesian_prod(*[torch.arange(8).double()] * ndim) + 0.5).reshape(
        -1, ndim
    )
    done, most = [], -math.inf
    for _ in range(16):
        log_mass = log_prob(middle) + side.log().sum()
        close = torch.cat(
            [
                (
                    ((turn.unsqueeze(1) - centres).norm(dim=2) < 8 * longest + side.norm())
                    & (side.amax() > 0.5 * shortest)
                ).any(1)
                for turn in middle.split(max(1, _BLOCK // len(centres)))
            ]
        )
        # What is narrow may lie between the middles of large boxes, but not of those as small.
        small = side.amax() < shortest.amin() if most > -math.inf else False
        close &= (log_mass > most - 25.0) if bool(small) else True
        done.append((middle[~close], side.expand(int((~close).sum()), ndim), log_mass[~close]))
        most = max(most, float(log_mass.logsumexp(0)))
        middle = middle[close]
        if not len(middle):
            break
        corners = torch.cartesian_prod(*[torch.tensor([-0.25, 0.25]).double()] * ndim)
        middle = (middle.unsqueeze(1) + corners.reshape(-1, ndim) * side).reshape(-1, ndim)
        side = side / 2
    return tuple(torch.cat(rows) for rows in zip(*done, strict=True))  # type: ignore


def _from_cells(
    log_prob: Callable[[Tensor], Tensor], kernels: list[Kernels], count: int, seed: int
) -> tuple[Tensor, Tensor]:
    """Return draws of a density that is constant in boxes, and its logarithm there."""
    middle, side, log_mass = _cells(log_prob, kernels)
    probs = log_mass.softmax(0)
    levels = (torch.arange(count).double() + 0.5) / count
    box = torch.searchsorted(probs.cumsum(0), levels).clamp(max=len(probs) - 1)
    cube = SobolEngine(middle.shape[1], scramble=True, seed=seed).draw(count, dtype=torch.float64)
    points = middle[box] + side[box] * (cube - 0.5)
    return points, probs[box].log() - side[box].log().sum(1)


class Truth:
    """All answers about `Π (Σ kernels)^exponent / Z`; one group is a density or a mixture.

    Args:
        groups: Each a list of `Kernels` whose probabilities sum to 1.
        exponents: One for each group, of sum at most 1.
        count: Draws.
        seed: Of the draws.
    """

    def __init__(
        self,
        groups: list[list[Kernels]],
        exponents: tuple[float, ...] = (1.0,),
        *,
        count: int = 1 << 16,
        seed: int = 0,
    ) -> None:
        self.groups, self.exponents, self.seed = groups, exponents, seed
        self.log_total = 0.0
        if len(groups) == 1:
            draws = [kernels.draws(count, 977 * seed + i) for i, kernels in enumerate(groups[0])]
            points, masses = (torch.cat(rows) for rows in zip(*draws, strict=True))
            values = self.log_prob(points)
        else:
            every = [kernels for group in groups for kernels in group]
            points, log_proposal = _from_cells(self.log_prob, every, count, seed)
            values = self.log_prob(points)
            log_masses = values - log_proposal - math.log(len(points))
            self.log_total = float(log_masses.logsumexp(0))
            masses, values = (log_masses - self.log_total).exp(), values - self.log_total
        self.values, order = values.sort(descending=True)
        self.points, self.masses = points[order], (masses / masses.sum())[order]

    def log_prob(self, points: Tensor) -> Tensor:
        """Return the log-density at `(points, ndim)`."""
        logs = [
            exponent * torch.stack([kernels.log_prob(points) for kernels in group]).logsumexp(0)
            for group, exponent in zip(self.groups, self.exponents, strict=True)
        ]
        return torch.stack(logs).sum(0) - self.log_total

    def entropy(self) -> float:
        """Return `−E[log p]`, nats."""
        return -float(self.masses @ self.values)

    def levels(self, points: Tensor, slack: float) -> tuple[Tensor, Tensor]:
        """Return the masses denser than points whose log-density is off by `slack` either way."""
        asked, sums = self.log_prob(points), self.masses.cumsum(0)
        sums = torch.cat([sums.new_zeros(1), sums])
        denser = [torch.searchsorted(-self.values, -asked - d) for d in (slack, -slack)]
        return sums[denser[0]], sums[denser[1]]

    def area(self, level: float) -> float:
        """Return the volume of the region of highest density."""
        sums = self.masses.cumsum(0)
        within = ((level - sums) / self.masses + 1.0).clamp(0.0, 1.0)
        return float((within * self.masses * (-self.values).exp()).sum())

    def moments(self) -> tuple[Tensor, Tensor]:
        """Return mean and covariance; exact but for products."""
        if len(self.groups) > 1:
            mean = self.masses @ self.points
            apart = self.points - mean
            return mean, apart.T @ (self.masses[:, None] * apart)
        middle = self.masses @ self.points  # about it the squares do not cancel
        eye = torch.eye(len(middle), dtype=middle.dtype)
        sums = [kernels.mapped(eye, -middle).moments() for kernels in self.groups[0]]
        mean, second = (torch.stack(rows).sum(0) for rows in zip(*sums, strict=True))
        return mean + middle, second - mean.unsqueeze(1) * mean.unsqueeze(0)

    def mass_within(self, centre: Tensor, radius: float) -> float:
        """Return the mass within a distance of a point."""
        return float(self.masses @ ((self.points - centre).norm(dim=1) <= radius).double())

    def energy(self, points: Tensor) -> Tensor:
        """Return `E|Y − y| − ½ E|Y − Y′|`."""
        near = torch.stack([self.masses @ (self.points - y).norm(dim=1) for y in points])
        generator = torch.Generator().manual_seed(self.seed)
        # One of each pair is drawn evenly over the masses, the other by chance.
        sums, count = self.masses.cumsum(0), 4 * len(self.points)
        even = (torch.arange(count, dtype=torch.float64) + 0.5) / count
        chance = torch.rand(count, dtype=torch.float64, generator=generator)
        pairs = [
            self.points[torch.searchsorted(sums, levels).clamp(max=len(sums) - 1)]
            for levels in (even, chance)
        ]
        return near - 0.5 * (pairs[0] - pairs[1]).norm(dim=1).mean()

    def spread(self) -> float:
        """Return the square root of the total variance."""
        return float(self.moments()[1].trace().sqrt())

    def best(self, start: Tensor, rounds: int = 200) -> float:
        """Return the highest log-density that is found, from the draws, the centres and `start`.

        Each step goes to the top of the parabola that touches `log p` from below (mean shift).
        """
        centres = torch.cat([kernels.centres for group in self.groups for kernels in group])
        heights = self.log_prob(centres)
        centres = centres[heights.argsort(descending=True)[:12]]
        points = torch.cat([self.points[:8], centres, start.reshape(1, -1)])
        heights = self.log_prob(points)
        for _ in range(rounds):
            points, before = self._climbed(points), heights
            heights = torch.maximum(before, self.log_prob(points))
            if bool((heights - before < 1e-6).all()):
                break
        return max(float(self.values[0]), float(heights.max()))

    def _climbed(self, points: Tensor) -> Tensor:
        """Return the points after one step of mean shift."""
        ndim = points.shape[1]
        matrix = points.new_zeros(len(points), ndim, ndim)
        vector = points.new_zeros(len(points), ndim)
        for group, exponent in zip(self.groups, self.exponents, strict=True):
            total = torch.stack([kernels.log_prob(points) for kernels in group]).logsumexp(0)
            for kernels in group:
                if kernels.shape == "gaussian":
                    shares = (kernels.log_terms(points) - total.unsqueeze(1)).exp() * exponent
                    precision = torch.linalg.inv(kernels.factors @ kernels.factors.mT)
                    apart = kernels.centres - points.unsqueeze(1)
                    matrix = matrix + torch.einsum("nk,kij->nij", shares, precision)
                    vector = vector + torch.einsum("nk,kij,nkj->ni", shares, precision, apart)
        still = matrix.diagonal(dim1=1, dim2=2).sum(1) <= 0
        matrix = torch.where(still[:, None, None], torch.eye(ndim).to(matrix), matrix)
        return points + torch.linalg.solve(matrix, vector)
