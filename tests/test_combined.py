"""Mixtures and logarithmic pools against torch's mixtures, closed forms and dense sums."""

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from densities import BATCH, GRIDS, density_of, mixture_of, points_of, uniform
from kdn.density import (
    GaussianDensity,
    KernelDensity,
    LogPool,
    MappedDensity,
    MixtureDensity,
    decode,
    log_pool,
    mixture,
)
from kdn.grid import Affine, Grid


def gaussian(seed: int = 0) -> GaussianDensity:
    """Return correlated Gaussians within the grid of `GRIDS[2]`."""
    scale = torch.tensor([[2.5, 0.0], [-1.0, 1.8]]).double()
    means = uniform(*BATCH, 2, low=2.0, high=12.0, seed=seed)
    return GaussianDensity(means, scale.expand(*BATCH, 2, 2))


def scaled(factor: float = 0.7, turn: float = 0.0) -> Affine:
    """Return a map for each of two samples."""
    turned = [[math.cos(turn), math.sin(turn)], [-math.sin(turn), math.cos(turn)]]
    linear = factor * torch.tensor(turned).double().expand(2, 2, 2)
    return Affine(linear, torch.tensor([[4.0, 1.0], [-2.0, 3.0]]).double())


PAIRS: dict[str, Callable[[], list]] = {
    "bandwidths": lambda: [density_of("number", 2), density_of("map", 2)],
    "frames": lambda: [density_of("map", 2), density_of("number", 2).mapped(scaled())],
    "turned": lambda: [density_of("number", 2), density_of("map", 2).mapped(scaled(0.9, 0.4))],
    "per cell": lambda: [density_of("cell", 2, offsets=True), density_of("map", 2)],
    "gaussian": lambda: [density_of("map", 2), gaussian()],
    "three": lambda: [density_of("map", 2), gaussian(), gaussian(5).mapped(scaled(1.2))],
}


def dense(log_density: Callable[[Tensor], Tensor], steps: int = 440) -> dict[str, Tensor]:
    """Return integral, mean, covariance and entropy by a sum over a wide lattice."""
    x = -40.0 + 110.0 * (torch.arange(steps).double() + 0.5) / steps
    total, log = torch.zeros(BATCH).double(), torch.zeros(BATCH).double()
    first, second = torch.zeros(*BATCH, 2).double(), torch.zeros(*BATCH, 2, 2).double()
    for row in x.split(110):
        points = torch.cartesian_prod(row, x).reshape(-1, 1, 1, 2)
        values = log_density(points)
        mass = values.exp() * (110.0 / steps) ** 2
        total = total + mass.sum(0)
        first = first + (mass[..., None] * points).sum(0)
        outer = points.unsqueeze(-1) * points.unsqueeze(-2)
        second = second + (mass[..., None, None] * outer).sum(0)
        log = log + (mass * values).sum(0)
    mean = first / total[..., None]
    covariance = second / total[..., None, None] - mean.unsqueeze(-1) * mean.unsqueeze(-2)
    entropy = total.log() - log / total
    return {"total": total, "mean": mean, "covariance": covariance, "entropy": entropy}


@pytest.mark.parametrize("name", PAIRS)
def test_a_mixture_is_one(name: str) -> None:
    parts = PAIRS[name]()
    weights = (0.5, 2.0, 1.0)[: len(parts)]
    mixed = mixture(parts, weights)
    assert isinstance(mixed, MixtureDensity)
    shares = torch.tensor(weights).double() / sum(weights)
    points = points_of(GRIDS[2], 9, *BATCH)
    densities = [w * p.log_prob(points).exp() for w, p in zip(shares, parts, strict=True)]
    expected = torch.stack(densities).sum(0)
    torch.testing.assert_close(mixed.log_prob(points), expected.log())
    found = dense(mixed.log_prob)
    torch.testing.assert_close(found["total"], torch.ones(BATCH).double(), rtol=0, atol=1e-6)
    torch.testing.assert_close(mixed.mean, found["mean"], rtol=0, atol=1e-5)
    torch.testing.assert_close(mixed.covariance_matrix, found["covariance"], rtol=1e-5, atol=1e-4)
    torch.testing.assert_close(mixed.entropy(), found["entropy"], rtol=0, atol=0.02)
    determinant = found["covariance"].det()
    torch.testing.assert_close(mixed.uncertainty, determinant.sqrt(), rtol=1e-4, atol=0)
    torch.testing.assert_close(mixed.uncertainty_length, determinant**0.25, rtol=1e-4, atol=0)


@pytest.mark.parametrize("exponents", [None, (0.2, 0.8, 0.0), (0.2, 0.5, 0.1)])
@pytest.mark.parametrize("name", PAIRS)
def test_a_pool_is_normalised(name: str, exponents: tuple[float, ...] | None) -> None:
    parts = PAIRS[name]()
    if exponents is not None:
        exponents = tuple(max(e, 1e-9) for e in exponents[: len(parts)])
    combined = log_pool(parts, exponents)
    assert isinstance(combined, LogPool)
    powers = exponents or [1.0 / len(parts)] * len(parts)

    def raw(y: Tensor) -> Tensor:
        return torch.stack([e * p.log_prob(y) for e, p in zip(powers, parts, strict=True)]).sum(0)

    found = dense(raw)
    points = points_of(GRIDS[2], 9, *BATCH)
    expected = raw(points) - found["total"].log()
    torch.testing.assert_close(combined.log_prob(points), expected, rtol=0, atol=0.01)
    torch.testing.assert_close(combined.log_normaliser, found["total"].log(), rtol=0, atol=0.01)
    spread = found["covariance"].diagonal(dim1=-2, dim2=-1).sum(-1).sqrt()
    assert ((combined.mean - found["mean"]).norm(dim=-1) / spread).max() < 0.01
    area = combined.uncertainty / found["covariance"].det().sqrt()
    assert (area - 1.0).abs().max() < 0.03
    torch.testing.assert_close(combined.entropy(), found["entropy"], rtol=0, atol=0.02)


@pytest.mark.parametrize("combine", [mixture, log_pool])
@pytest.mark.parametrize("name", ["bandwidths", "frames", "gaussian"])
def test_levels_masses_and_samples(combine: Callable, name: str) -> None:
    combined = combine(PAIRS[name]())
    generator = torch.Generator().manual_seed(3)
    samples = combined.sample((6000,), generator=generator)
    assert samples.shape == (6000, *BATCH, 2)
    error = (samples.mean(0) - combined.mean) / (combined.variance / 6000).sqrt()
    assert error.abs().max() < 4.5
    points = points_of(GRIDS[2], 4, *BATCH)
    values = combined.log_prob(samples)
    for point in points:
        denser = (values > combined.log_prob(point)).double().mean(0)
        # Five binomial standard deviations, and what the nodes may add.
        level = combined.hdr_level(point)
        assert ((denser - level).abs() < 5 * (level * (1 - level) / 6000).sqrt() + 0.01).all()
        for radius in (2.0, 6.0):
            inside = (torch.linalg.vector_norm(samples - point, dim=-1) <= radius).double().mean(0)
            mass = combined.mass_within(point, radius)
            assert ((inside - mass).abs() < 5 * (mass * (1 - mass) / 6000).sqrt() + 0.015).all()
    radii = torch.tensor([1.0, 4.0, 9.0]).reshape(3, 1, 1)
    masses = combined.mass_within(points[0], radii)
    assert masses.shape == (3, *BATCH)
    assert (masses.diff(dim=0) >= 0).all()


@pytest.mark.parametrize("combine", [mixture, log_pool])
@pytest.mark.parametrize("name", ["bandwidths", "frames", "gaussian"])
def test_the_mode_is_the_highest_point(combine: Callable, name: str) -> None:
    combined = combine(PAIRS[name]())
    highest = combined.log_prob(combined.mode)
    x, y = torch.linspace(-6.0, 24.0, 500).double(), torch.linspace(-8.0, 20.0, 500).double()
    lattice = torch.cartesian_prod(x, y).reshape(-1, 1, 1, 2)
    best = torch.stack([combined.log_prob(part).amax(0) for part in lattice.split(50_000)]).amax(0)
    assert (highest >= best - 1e-3).all()
    for decoder, wanted in (("mean", combined.mean), ("argmax", combined.mode)):
        torch.testing.assert_close(decode(combined, decoder), wanted)


def test_two_equal_hills_meet_in_the_middle() -> None:
    """The mode of a mixture need not be one of a component."""
    hills = [
        GaussianDensity(torch.tensor([[x, 5.0]] * 3).double(), torch.eye(2).double())
        for x in (0, 1.8)
    ]
    torch.testing.assert_close(
        mixture(hills).mode, torch.tensor([[0.9, 5.0]] * 3).double(), rtol=0, atol=0.02
    )


def test_another_frame() -> None:
    for combine in (mixture, log_pool):
        combined = combine(PAIRS["frames"]())
        affine = Affine(
            torch.tensor([[[2.0, 0.5], [0.0, 1.5]], [[1.0, 0.0], [0.3, 3.0]]]).double(),
            torch.tensor([[1.0, 2.0], [-3.0, 0.0]]).double(),
        )
        image = combined.mapped(affine)
        grown = affine.log_abs_det()[:, None]
        points = points_of(GRIDS[2], 4, *BATCH)
        there = (affine.linear[:, None] @ points.unsqueeze(-1)).squeeze(-1) + affine.offset[:, None]
        expected = combined.log_prob(points) - grown
        torch.testing.assert_close(image.log_prob(there), expected, rtol=0, atol=0.01)
        torch.testing.assert_close(image.entropy(), combined.entropy() + grown, rtol=0, atol=0.02)


def test_kernels_alike_stay_kernels() -> None:
    parts = [
        density_of("number", 2),
        KernelDensity(uniform(*BATCH, 5, 7, seed=9), GRIDS[2], bandwidth=2.8),
    ]
    mixed = mixture(parts, (1.0, 3.0))
    assert isinstance(mixed, KernelDensity)
    points = points_of(GRIDS[2], 9, *BATCH)
    expected = torch.stack(
        [mixture_of(p).log_prob(points).exp() * w for p, w in zip(parts, (0.25, 0.75), strict=True)]
    )
    torch.testing.assert_close(mixed.log_prob(points), expected.sum(0).log())
    image = mixture([part.mapped(scaled()) for part in parts])
    assert isinstance(image, MappedDensity)
    line = mixture([density_of("map", 1), density_of("map", 1)])
    assert isinstance(line, KernelDensity)


def test_gaussians_pool_to_a_gaussian() -> None:
    parts, exponents = [gaussian(), gaussian(7)], (0.4, 0.6)
    combined = log_pool(parts, exponents)
    assert isinstance(combined, GaussianDensity)
    numeric = LogPool(parts, exponents)
    points = points_of(GRIDS[2], 9, *BATCH)
    torch.testing.assert_close(
        numeric.log_prob(points), combined.log_prob(points), rtol=0, atol=0.01
    )
    torch.testing.assert_close(numeric.mean, combined.mean, rtol=0, atol=0.02)


def test_uniform_kernels() -> None:
    parts = [
        KernelDensity(uniform(*BATCH, 5, 7, low=-3.0, high=3.0, seed=s), GRIDS[2], kernel="uniform")
        for s in (0, 1)
    ]
    combined = log_pool(parts)
    assert isinstance(combined, KernelDensity)
    numeric = LogPool(parts, (0.5, 0.5))
    points = GRIDS[2].points(dtype=torch.float64).reshape(-1, 1, 1, 2)
    torch.testing.assert_close(
        numeric.log_prob(points), combined.log_prob(points), rtol=0, atol=0.02
    )
    torch.testing.assert_close(numeric.mean, combined.mean, rtol=0, atol=0.1)


def test_one_density_is_left_alone() -> None:
    one = density_of("map", 2)
    assert mixture([one]) is one
    assert log_pool([one]) is one


def test_densities_that_agree_give_themselves_back() -> None:
    one = density_of("map", 2)
    points = points_of(GRIDS[2], 9, *BATCH)
    pooled = LogPool([one, one.mapped(Affine.identity())], (0.5, 0.5))
    torch.testing.assert_close(pooled.log_prob(points), one.log_prob(points), rtol=0, atol=0.01)
    torch.testing.assert_close(
        pooled.log_normaliser, torch.zeros(BATCH).double(), rtol=0, atol=0.01
    )


def peaked(cell: tuple[int, int], bandwidth: float = 0.3) -> KernelDensity:
    """Return maps with all mass in one cell of 12 × 30."""
    logits = torch.full((*BATCH, 12, 30), -math.inf, dtype=torch.float64)
    logits[..., cell[0], cell[1]] = 0.0
    return KernelDensity(logits, Grid((12, 30), (0.0, 0.0), (1.0, 1.0)), bandwidth=bandwidth)


def test_far_apart_there_is_still_a_pool() -> None:
    """25 px are 83 bandwidths: between the densities, where the pool lies, both are next to 0."""
    bandwidths = (0.3, 0.4)
    parts = [peaked((3, 2), bandwidths[0]), peaked((10, 27), bandwidths[1])]
    for combined in (
        log_pool(parts),
        LogPool([p.mapped(Affine.identity()) for p in parts], (0.5, 0.5)),
    ):
        precision = [0.5 * h**-2 for h in bandwidths]
        share = precision[1] / sum(precision)
        middle = torch.tensor([2.0 + 25.0 * share, 3.0 + 7.0 * share]).double().expand(*BATCH, 2)
        torch.testing.assert_close(combined.mean, middle, rtol=0, atol=1e-2)
        torch.testing.assert_close(combined.mode, middle, rtol=0, atol=1e-2)
        spread = torch.full((*BATCH, 2), 1.0 / sum(precision)).double()
        torch.testing.assert_close(combined.variance, spread, rtol=2e-2, atol=0)
        expected = torch.full(BATCH, math.log(sum(precision) / (2 * math.pi))).double()
        torch.testing.assert_close(combined.log_prob(middle), expected, rtol=0, atol=2e-2)


def test_what_contradicts_itself_is_mixed() -> None:
    parts = []
    for column in (1, 5):
        logits = torch.full((*BATCH, 5, 7), -math.inf, dtype=torch.float64)
        logits[..., 2, column] = 0.0
        logits[0, 1, 3, 3] = 0.0  # one map where they have a cell in common
        parts.append(KernelDensity(logits, GRIDS[2], kernel="uniform"))
    combined = log_pool(parts)
    assert isinstance(combined, LogPool)
    void = torch.ones(BATCH, dtype=torch.bool)
    void[0, 1] = False
    assert ((combined.log_normaliser == -math.inf) == void).all()
    mixed = MixtureDensity(parts, (1.0, 1.0))
    points = points_of(GRIDS[2], 30, *BATCH)
    torch.testing.assert_close(combined.log_prob(points)[:, void], mixed.log_prob(points)[:, void])
    torch.testing.assert_close(combined.mean[void], mixed.mean[void], rtol=0, atol=0.2)
    common = GRIDS[2].points(dtype=torch.float64)[3, 3]
    torch.testing.assert_close(combined.mean[0, 1], common, rtol=0, atol=0.1)
    for value in (combined.mean, combined.covariance_matrix, combined.entropy(), combined.mode):
        assert value.isfinite().all()


def test_what_does_not_fit_is_named() -> None:
    one = density_of("map", 2)
    for combine in (mixture, log_pool):
        for arguments, said in (
            (([],), "densities must hold at least one"),
            (
                ([one, GaussianDensity(torch.zeros(3, 2), torch.eye(2))],),
                "one batch and event shape",
            ),
            (([one, one], (1.0,)), "weights must be 2, got 1"),
            (([one, one], (1.0, -2.0)), "weights must be positive"),
        ):
            with pytest.raises(ValueError, match=said):
                combine(*arguments)  # type: ignore


def test_exponents_that_add_up_to_more_than_one() -> None:
    with pytest.raises(ValueError, match=r"exponents must add up to at most 1, got \(1.0, 1.0\)"):
        log_pool([density_of("map", 2), density_of("number", 2)], (1.0, 1.0))


def test_gradients_reach_the_components() -> None:
    logits = uniform(*BATCH, 5, 7).requires_grad_()
    parts = [KernelDensity(logits, GRIDS[2], bandwidth=2.0), density_of("map", 2)]
    mixture(parts).log_prob(points_of(GRIDS[2], *BATCH)).sum().backward()
    assert logits.grad is not None
    assert (logits.grad != 0).any()
