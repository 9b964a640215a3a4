"""Areas of regions of highest density and ties, against closed forms and fine quadrature."""

import itertools
import math

import pytest
import torch
from scipy import stats

from densities import uniform
from kdn.density import GaussianDensity, KernelDensity
from kdn.grid import Affine, Grid
from test_regions import GRID, WIDE, make, quadrature

LEVELS = (0.3, 0.5, 0.8, 0.9, 0.95)


@pytest.mark.parametrize("kernel", ["fixed", "per cell", "offsets"])
@pytest.mark.parametrize("seed", [3, 4])
def test_areas_agree_with_quadrature(kernel: str, seed: int) -> None:
    density = make(kernel, seed=seed)
    _, masses = quadrature(density, WIDE, 16)
    ordered = masses.flatten(1).sort(0, descending=True).values
    held = ordered.cumsum(0) / ordered.sum(0)
    volume = WIDE.refine(16).cell_volume
    expected = torch.stack([volume * (held <= level).sum(0) for level in LEVELS]).reshape(-1, 2, 3)
    found = density.hdr_area(torch.tensor(LEVELS)[:, None, None])
    assert found.shape == (5, 2, 3)
    errors = (found / expected - 1).abs()
    assert errors.max().item() < 0.06
    assert errors.mean().item() < 0.012


def ball(level: float, ndim: int) -> float:
    """Return the volume of the ball that holds a share of a standard normal distribution."""
    radius = math.sqrt(stats.chi2.ppf(level, ndim))
    return {1: 2.0, 2: math.pi, 3: 4 * math.pi / 3}[ndim] * radius**ndim


@pytest.mark.parametrize("ndim", [1, 2, 3])
def test_one_kernel_has_the_closed_form(ndim: int) -> None:
    grid = Grid((3, 5, 4)[:ndim], (1.0, -2.0, 0.5)[:ndim], (2.0, 3.0, 1.0)[:ndim])
    logits = torch.full((2, 3, grid.numel), -math.inf)
    logits[..., 2] = 1.0
    bandwidth = torch.tensor([[0.3, 1.0, 2.5], [7.0, 0.1, 1.7]])
    density = KernelDensity(logits.reshape(2, 3, *grid.shape), grid, bandwidth=bandwidth)
    for level in LEVELS:
        expected = ball(level, ndim) * bandwidth**ndim
        # In three dimensions the nodes fill the axes, not the radius.
        torch.testing.assert_close(
            density.hdr_area(level), expected, rtol=0.01 if ndim < 3 else 0.05, atol=0.0
        )
    assert density.hdr_area(0.0).tolist() == [[0.0] * 3] * 2
    assert density.hdr_area(1.0).isinf().all()


@pytest.mark.parametrize("ndim", [1, 2, 3])
def test_a_gaussian_has_the_closed_form(ndim: int) -> None:
    root = uniform(2, 3, ndim, ndim, low=-1.0, high=1.0)
    covariance = root @ root.mT + 0.1 * torch.eye(ndim)
    density = GaussianDensity(uniform(2, 3, ndim), covariance=covariance)
    for level in LEVELS:
        expected = ball(level, ndim) * covariance.det().sqrt()
        # In space the volume is from nodes.
        tolerance = 0.05 if ndim == 3 else 1e-7
        torch.testing.assert_close(density.hdr_area(level), expected, rtol=tolerance, atol=0.0)
    per_landmark = torch.tensor([0.5, 0.9, 1.0], dtype=torch.float64)
    found = density.hdr_area(per_landmark)
    torch.testing.assert_close(found[:, 0], density.hdr_area(0.5)[:, 0])
    torch.testing.assert_close(found[:, 1], density.hdr_area(0.9)[:, 1])
    assert found[:, 2].isinf().all()
    assert density.hdr_tie(density.mean).tolist() == [[0.0] * 3] * 2


@pytest.mark.parametrize("kernel", ["fixed", "per cell", "offsets", "uniform"])
def test_levels_may_differ_by_landmark_and_areas_grow_with_them(kernel: str) -> None:
    density = make(kernel, seed=5)
    levels = torch.tensor([[0.1, 0.5, 0.9], [0.95, 0.2, 0.7]])
    found = density.hdr_area(levels)
    for i, j in itertools.product(range(2), range(3)):
        alone = density.hdr_area(levels[i, j].item())
        torch.testing.assert_close(found[i, j], alone[i, j])
    many = density.hdr_area(torch.linspace(0, 0.99, 100)[:, None, None])
    steps = many.diff(dim=0)
    assert (steps >= 0).all()
    assert (steps.diff(dim=0) >= -1e-3 * many[-1]).all()  # convex, up to float32
    with pytest.raises(ValueError, match=r"level must be 0 to 1, got 1\.5"):
        density.hdr_area(1.5)
    with pytest.raises(ValueError, match=r"broadcasts to \(\*sample, 2, 3\), got \(4,\)"):
        density.hdr_area(torch.full((4,), 0.5))


def test_a_region_holds_the_points_whose_level_is_within() -> None:
    density = make("offsets", seed=6)
    fine = WIDE.refine(16)
    points = fine.points(dtype=torch.float32).reshape(-1, 1, 1, 2).expand(-1, 2, 3, 2)
    levels = torch.cat([density.hdr_level(some) for some in points.split(4000)])
    for level in (0.5, 0.9):
        area = (levels < level).sum(0) * fine.cell_volume
        torch.testing.assert_close(density.hdr_area(level), area.float(), rtol=0.03, atol=0.0)


def test_uniform_areas_and_ties_done_by_hand() -> None:
    probs = torch.tensor([[[0.4, 0.1, 0.2], [0.1, 0.0, 0.2]], [[0.0, 0.3, 0.0], [0.3, 0.1, 0.3]]])
    grid = Grid((2, 3), (10.0, 20.0), (2.0, 4.0))
    density = KernelDensity(probs.log(), grid, kernel="uniform")
    levels = torch.tensor([0.0, 0.2, 0.4, 0.5, 0.8, 0.95, 1.0])
    found = density.hdr_area(levels[:, None])
    torch.testing.assert_close(found[:, 0] / 8, torch.tensor([0.0, 0.5, 1, 1.5, 3, 4.5, 5]))
    third = torch.tensor([0.0, 2 / 3, 4 / 3, 5 / 3, 8 / 3, 3.5, 4])
    torch.testing.assert_close(found[:, 1] / 8, third)
    for level in (0.4, 0.8, 1.0):  # held by whole cells
        cells = density.hdr_mask(level).sum((1, 2))
        torch.testing.assert_close(density.hdr_area(level)[0], 8.0 * cells[0].float())
    points = grid.points().reshape(6, 1, 2) + torch.tensor([0.9, -1.9])
    expected = [[0.4, 0.2, 0.4, 0.2, 0.0, 0.4], [0.0, 0.9, 0.0, 0.9, 0.1, 0.9]]
    torch.testing.assert_close(density.hdr_tie(points).T, torch.tensor(expected))
    outside = density.hdr_tie(torch.tensor([[8.9, 20.0], [math.nan, 20.0]]))
    assert outside[0].item() == 0.0
    assert outside[1].isnan()


@pytest.mark.parametrize("seed", [1, 2])
def test_levels_and_a_share_of_the_tie_are_uniform(seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randint(0, 3, (2, 3, 5, 7), generator=generator).float()  # equal cells abound
    density = KernelDensity(logits, GRID, kernel="uniform")
    points = density.sample((4000,), generator=generator)
    share = torch.rand(4000, 2, 3, generator=generator)
    plain = density.hdr_level(points)
    levels = plain + share * density.hdr_tie(points)
    for i, j in itertools.product(range(2), range(3)):
        test = stats.kstest(levels[:, i, j].double().numpy(), "uniform")
        assert test.statistic < 1.95 / math.sqrt(4000), (i, j)
        assert stats.kstest(plain[:, i, j].double().numpy(), "uniform").statistic > 0.1


def test_gaussian_kernels_have_no_ties_and_maps_change_areas_alone() -> None:
    density = make("fixed", seed=7)
    points = density.sample((4,), generator=torch.Generator().manual_seed(7))
    assert density.hdr_tie(points).tolist() == torch.zeros(4, 2, 3).tolist()
    assert density.hdr_tie(torch.full_like(points, math.nan)).isnan().all()
    linear = torch.tensor([[[2.0, 1.0], [0.5, -1.5]], [[0.0, 3.0], [1.0, 1.0]]])
    image = density.mapped(Affine(linear, torch.tensor([[5.0, 1.0], [-2.0, 0.0]])))
    areas = torch.tensor([3.5, 3.0])[:, None] * density.hdr_area(0.8)
    torch.testing.assert_close(image.hdr_area(0.8), areas)
    cells = make("uniform", seed=7)
    mapped = cells.mapped(Affine(linear, torch.tensor([[5.0, 1.0], [-2.0, 0.0]])))
    inside = cells.mode
    torch.testing.assert_close(mapped.hdr_tie(mapped.forward(inside)), cells.hdr_tie(inside))


def test_nodes_are_kept_unless_the_density_is_trained() -> None:
    density = make("fixed", seed=8)
    before = density.hdr_area(0.5)
    with torch.no_grad():
        density.raw_logits[:] = 0.0  # what is kept does not see it
    torch.testing.assert_close(density.hdr_area(0.5), before)
    assert density.nodes().log_prob.data_ptr() == density.nodes().log_prob.data_ptr()
    logits = make("fixed", seed=8).raw_logits.requires_grad_()
    trained = KernelDensity(logits, GRID, bandwidth=density.bandwidth)
    torch.testing.assert_close(trained.hdr_area(0.5), before)
    with torch.no_grad():
        logits *= 3.0
    assert (trained.hdr_area(0.5) < before).all()
    with torch.inference_mode():
        torch.testing.assert_close(make("fixed", seed=8).hdr_area(0.5), before)


def test_the_tail_beyond_all_nodes_is_that_of_a_gaussian() -> None:
    """One kernel of 3 px: mass `exp(−r²/2h²)` is left beyond `r`, `2πh²·log(1/left)` px² within."""
    grid = Grid((1, 2), (10.0, 20.0), (4.0, 4.0))
    logits = torch.tensor([[[0.0, -torch.inf]], [[0.0, -torch.inf]]], dtype=torch.float64)
    density = KernelDensity(logits, grid, bandwidth=3.0)
    radius = 3.0 * torch.tensor([3.5, 4.0, 5.0, 6.0], dtype=torch.float64)
    far = density.mean[0] + torch.stack([radius, torch.zeros(4)], -1)[:, None]
    left = 1.0 - density.hdr_level(far.expand(4, 2, 2))[:, 0]
    expected = (-0.5 * (radius / 3.0) ** 2).exp()
    torch.testing.assert_close(left[1:], expected[1:], rtol=0.2, atol=0.0)
    assert (left[1:] < left[:-1]).all()
    levels = 1.0 - expected
    areas = density.hdr_area(levels[:, None].expand(4, 2))[:, 0]
    torch.testing.assert_close(areas, -2 * math.pi * 9.0 * expected.log(), rtol=0.1, atol=0.0)
    assert density.hdr_area(1.0).isinf().all()
