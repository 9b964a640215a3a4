"""Energy scores and CRPS against `scoringrules`, integrals and closed forms."""

import math

import numpy as np
import pytest
import scoringrules
import torch
from scipy import special
from torch import Tensor

from densities import density_of, points_of, uniform
from kdn.density import GaussianDensity, KernelDensity
from kdn.grid import Affine, Grid
from test_regions import make


def mean_distance(apart: Tensor, scale: Tensor) -> Tensor:
    """Return `E|Y|` of `Y ~ N(apart, scale² I)` in the plane, the mean of a Rice distribution."""
    x = (apart / scale).square().numpy() / 4
    mean = (1 + 2 * x) * special.ive(0, x) + 2 * x * special.ive(1, x)
    return scale * math.sqrt(math.pi / 2) * torch.as_tensor(mean)


def exact(density: KernelDensity, points: Tensor) -> Tensor:
    """Return the energy scores in the plane from all kernels and all pairs of them."""
    cells, batch = density.grid.numel, density.batch_shape
    assert density.bandwidth is not None
    centres = density.centres.double().expand(*batch, 2, cells).reshape(-1, 2, cells).mT
    probs = density.probs.double().reshape(-1, cells)
    bandwidth = density.bandwidth.double().reshape(len(probs), -1).expand(-1, cells)
    scores = []
    for row in range(len(probs)):
        own = points.double().reshape(len(points), -1, 2)[:, row]
        apart = (own[:, None] - centres[row]).norm(dim=-1)
        first = (mean_distance(apart, bandwidth[row]) * probs[row]).sum(-1)
        pairs = (centres[row][:, None] - centres[row]).norm(dim=-1)
        scale = (bandwidth[row][:, None].square() + bandwidth[row].square()).sqrt()
        both = mean_distance(pairs, scale) * probs[row][:, None] * probs[row]
        scores.append(first - 0.5 * both.sum())
    return torch.stack(scores, 1).reshape(points.shape[:-1])


@pytest.mark.parametrize("kernel", ["fixed", "per cell", "offsets"])
@pytest.mark.parametrize("seed", [1, 2])
def test_agrees_with_all_pairs_of_kernels(kernel: str, seed: int) -> None:
    density = make(kernel, seed=seed)
    points = density.sample((7,), generator=torch.Generator().manual_seed(seed))
    points[0] += 40.0
    spread = density.variance.sum(-1).sqrt()
    errors = (density.energy_score(points) - exact(density, points)).abs() / spread
    assert errors.max().item() < 0.02
    assert errors.mean().item() < 0.008


@pytest.mark.parametrize("kernel", ["fixed", "offsets", "uniform"])
def test_agrees_with_the_ensemble_score_of_a_sample(kernel: str) -> None:
    density = make(kernel, seed=3)
    generator = torch.Generator().manual_seed(3)
    points = density.sample((4,), generator=generator)
    sample = density.sample((50_000,), generator=generator).double().movedim(0, 2)
    expected = scoringrules.es_ensemble(
        points.double().numpy(), sample.expand(4, -1, -1, -1, -1).numpy(), estimator="akr"
    )
    spread = density.variance.sum(-1).sqrt()
    errors = (density.energy_score(points) - torch.as_tensor(expected)).abs() / spread
    assert errors.max().item() < 0.02


@pytest.mark.parametrize("form", ["number", "map", "cell"])
@pytest.mark.parametrize("offsets", [False, True])
def test_the_crps_of_a_mixture_is_exact(form: str, offsets: bool) -> None:
    density = density_of(form, 1, offsets=offsets)
    points = points_of(density.grid, 4, 2, 3)
    assert density.bandwidth is not None
    scale = density.bandwidth if density.per_cell else density.bandwidth.unsqueeze(-1)
    shape = (4, 2, 3, 7)
    expected = scoringrules.crps_mixnorm(
        points.numpy(),
        density.centres.squeeze(-2).expand(shape).numpy(),
        scale.expand(shape).numpy(),
        density.probs.expand(shape).numpy(),
    )
    torch.testing.assert_close(density.energy_score(points), torch.as_tensor(expected))


def test_the_crps_of_uniform_cells_is_the_integral() -> None:
    grid = Grid((7,), (-3.0,), (0.5,))
    density = KernelDensity(uniform(2, 3, 7, low=-3.0, high=3.0), grid, kernel="uniform")
    points = torch.tensor([-5.0, -3.1, -2.4, -1.75, 0.3, 2.0])[:, None, None].double()
    points = points.expand(6, 2, 3) + uniform(6, 2, 3, high=0.01)
    steps = torch.linspace(-6.0, 3.0, 90001).double()[:, None, None]
    below = density.cdf(steps.expand(-1, 2, 3))
    for row, point in enumerate(points):
        squares = (below - (steps >= point).double()).square()
        expected = torch.trapezoid(squares, dx=1e-4, dim=0)
        torch.testing.assert_close(density.energy_score(point), expected, rtol=0, atol=2e-4)
        torch.testing.assert_close(density.energy_score(points)[row], density.energy_score(point))


def test_a_gaussian_in_one_dimension_is_exact() -> None:
    mean, scale = uniform(2, 3, 1, low=-2.0, high=2.0), uniform(2, 3, 1, 1, low=0.2, high=3.0)
    points = uniform(5, 2, 3, 1, low=-6.0, high=6.0, seed=4)
    expected = scoringrules.crps_normal(
        points[..., 0].numpy(), mean[..., 0].numpy(), scale[..., 0, 0].numpy()
    )
    found = GaussianDensity(mean, scale).energy_score(points)
    torch.testing.assert_close(found, torch.as_tensor(expected))


@pytest.mark.parametrize("ndim", [2, 3])
def test_a_gaussian_agrees_with_a_large_sample(ndim: int) -> None:
    root = uniform(2, 3, ndim, ndim, low=-1.0, high=1.0).tril() + 0.3 * torch.eye(ndim)
    density = GaussianDensity(uniform(2, 3, ndim), root)
    points = density.sample((4,), generator=torch.Generator().manual_seed(0))
    generator = torch.Generator().manual_seed(1)
    noise = torch.randn(100_000, 2, 3, ndim, generator=generator, dtype=torch.float64)
    apart = (root * torch.cat([noise, -noise]).unsqueeze(-2)).sum(-1)
    within = 0.5 * math.sqrt(2.0) * apart.norm(dim=-1).mean(0)
    expected = torch.stack([(apart + density.mean - p).norm(dim=-1).mean(0) for p in points])
    errors = (density.energy_score(points) - (expected - within)).abs()
    assert (errors / density.variance.sum(-1).sqrt()).max().item() < 0.01


def test_a_round_gaussian_at_its_mean_done_by_hand() -> None:
    density = GaussianDensity(torch.zeros(3, 2), 2.0 * torch.eye(2))
    expected = 2.0 * math.sqrt(math.pi / 2) * (1 - math.sqrt(0.5))  # E|Y| less half of √2 as much
    assert density.energy_score(torch.zeros(3, 2)).tolist() == pytest.approx([expected] * 3, 0.01)


@pytest.mark.parametrize("kernel", ["fixed", "offsets", "uniform", "gaussian"])
def test_maps_that_scale_and_maps_that_stretch(kernel: str) -> None:
    density = (
        GaussianDensity(uniform(2, 3, 2), torch.tensor([[3.0, 0.0], [2.0, 1.0]]))
        if kernel == "gaussian"
        else make(kernel, seed=5)
    )
    generator = torch.Generator().manual_seed(5)
    points = density.sample((4,), generator=generator)
    own = density.energy_score(points)
    cos, sin = 2.5 * math.cos(0.7), 2.5 * math.sin(0.7)
    turned = density.mapped(Affine.of_matrix(np.array([[cos, -sin, 100.0], [sin, cos, -50.0]])))
    scaled = turned.energy_score(turned.forward(points))
    torch.testing.assert_close(scaled, 2.5 * own, rtol=0.01, atol=0.01 * own.mean().item())
    linear = torch.tensor([[[4.0, 0.0], [1.0, 0.5]], [[0.0, 0.3], [2.0, 0.0]]])
    image = density.mapped(Affine(linear, torch.tensor([[5.0, 1.0], [-2.0, 9.0]])))
    there = image.forward(points)
    sample = image.sample((50_000,), generator=generator).double().movedim(0, 2)
    expected = scoringrules.es_ensemble(
        there.double().numpy(), sample.expand(4, -1, -1, -1, -1).numpy(), estimator="akr"
    )
    spread = image.variance.sum(-1).sqrt()
    errors = (image.energy_score(there) - torch.as_tensor(expected)).abs() / spread
    assert errors.max().item() < 0.02


@pytest.mark.parametrize("ndim", [1, 2, 3])
def test_shapes_gradients_and_nan(ndim: int) -> None:
    density = density_of("map", ndim)
    density.raw_logits.requires_grad_()
    points = points_of(density.grid, 3)
    one = density.energy_score(points)
    assert one.shape == (2, 3)
    assert not one.requires_grad
    several = density.energy_score(points_of(density.grid, 4, 1, 3))
    assert several.shape == (4, 2, 3)
    assert density.energy_score(torch.full_like(points, math.nan)).isnan().all()
    assert np.isfinite(density.energy_score(points + 1e4).numpy()).all()
    wide = density.expand((5, 2, 3))
    torch.testing.assert_close(wide.energy_score(points), one.expand(5, 2, 3))


def test_the_true_density_scores_best() -> None:
    density = make("fixed", seed=6)
    points = density.sample((3000,), generator=torch.Generator().manual_seed(6))
    sharper = KernelDensity(2.0 * density.raw_logits, density.grid, bandwidth=density.bandwidth)
    assert density.bandwidth is not None
    wider = KernelDensity(density.raw_logits, density.grid, bandwidth=2.5 * density.bandwidth)
    own = density.energy_score(points).mean(0)
    assert (own < sharper.energy_score(points).mean(0)).all()
    assert (own < wider.energy_score(points).mean(0)).all()
