"""Every answer of random densities against float64 references, and cases with a closed form.

`benchmarks/random_densities.py` does the same with thousands.
"""

import math

import pytest
import torch
from torch import Tensor

from answers import Case, wrong_of
from densities import BATCH, GRIDS, bandwidth_of, uniform
from kdn.density import GaussianDensity, Kernel, KernelDensity, log_pool, mixture
from kdn.grid import Grid
from random_cases import kernels_of, mixture_cases, pool_cases, single_cases
from references import Kernels, Truth

CASES = [*single_cases(40, 0), *mixture_cases(10, 0), *pool_cases(4, 0, log_pool)]

WIDTHS = torch.tensor([1.0, 3.0, 10.0, 30.0, 100.0]).double()


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_answers_are_those_of_many_draws(case: Case):
    assert not wrong_of(case, count=1 << 13), case.about


@pytest.mark.parametrize("case", CASES[::3], ids=lambda case: case.name)
def test_rows_of_a_batch_answer_as_they_do_in_it(case: Case):
    build = case.density
    density = build[0](*build[1:]) if isinstance(build, tuple) else build
    if not density.batch_shape:
        return
    points = density.mean + 0.3 * density.variance.sqrt()
    index = torch.tensor([density.batch_shape[0] - 1, 0])
    for rows in (0, slice(1, None), index):
        few = density[rows]
        assert few.batch_shape == density.mean[rows].shape[: len(few.batch_shape)]
        for few_answers, answers in (
            (few.log_prob(points[rows]), density.log_prob(points)),
            (few.mean, density.mean),
            (few.entropy(), density.entropy()),
            (few.hdr_level(points[rows]), density.hdr_level(points)),
        ):
            torch.testing.assert_close(few_answers, answers[rows], atol=5e-3, rtol=1e-3)


class Triangle(Kernel):
    """A kernel that the library does not know: `1 − |u|`, as far as 1."""

    name, variance = "triangle", 1.0 / 6.0

    def log_density(self, u: Tensor) -> Tensor:
        return (1.0 - u.abs()).clamp(min=0.0).log()

    def cdf(self, u: Tensor) -> Tensor:
        u = u.clamp(-1.0, 1.0)
        return 0.5 + u - 0.5 * u * u.abs()

    def quantile(self, level: Tensor) -> Tensor:
        side = 1.0 - (2.0 * torch.minimum(level, 1.0 - level)).sqrt()
        return torch.where(level < 0.5, -side, side)


class Laplace(Kernel):
    """Another one, with a cusp: `exp(−|u|) / 2`."""

    name, variance = "laplace", 2.0

    def log_density(self, u: Tensor) -> Tensor:
        return -u.abs() - math.log(2.0)

    def cdf(self, u: Tensor) -> Tensor:
        return 0.5 - 0.5 * u.sign() * torch.expm1(-u.abs())

    def quantile(self, level: Tensor) -> Tensor:
        return -(level - 0.5).sign() * torch.log1p(-2.0 * (level - 0.5).abs())


@pytest.mark.parametrize(
    ("kernel", "form", "ndim"),
    [
        (Triangle(), "number", 1),
        (Triangle(), "cell", 2),
        (Triangle(), "map", 3),
        (Laplace(), "cell", 1),
        (Laplace(), "number", 2),
        (Laplace(), "cell", 3),
    ],
)
def test_kernels_from_outside_answer_everything(kernel, form, ndim):
    grid = GRIDS[ndim]
    offsets = uniform(*BATCH, ndim, *grid.shape, low=-1.0, high=1.0, seed=2)
    density = KernelDensity(
        uniform(*BATCH, *grid.shape, low=-3.0, high=3.0, seed=1),
        grid,
        bandwidth=bandwidth_of(form, grid),
        offsets=offsets if form == "cell" else None,
        kernel=kernel,
    )
    groups = [[row] for row in kernels_of(density, kernel.name)]
    case = Case(f"{kernel.name}s", "outside", "", density, groups, torch.float64)
    assert not wrong_of(case, count=1 << 13)


def gaussian_truth(*scales: float, means: tuple[float, ...], exponents=(1.0,)) -> Truth:
    """Return the reference of normal distributions along a line in the plane."""
    parts = [
        Kernels("gaussian", torch.ones(1).double(), torch.full((1, 2), m).double(),
                scale * torch.eye(2).double()[None])
        for scale, m in zip(scales, means, strict=True)
    ]  # fmt: skip
    groups = [[part] for part in parts] if len(exponents) > 1 else [parts]
    return Truth(groups, exponents)


def test_reference_of_one_gaussian_is_its_closed_form():
    truth, points = (
        gaussian_truth(3.0, means=(2.0,)),
        torch.tensor([[2.0, 2.0], [5.0, 2.0]]).double(),
    )
    assert truth.entropy() == pytest.approx(math.log(2 * math.pi * math.e * 9), abs=1e-3)
    low, _ = truth.levels(points, 0.0)
    assert low.tolist() == pytest.approx([0.0, 1 - math.exp(-0.5)], abs=2e-3)
    assert truth.area(0.9) == pytest.approx(2 * math.pi * 9 * math.log(10), rel=5e-3)
    assert truth.mass_within(points[0], 3.0) == pytest.approx(1 - math.exp(-0.5), abs=2e-3)
    at_mean = 3.0 * math.sqrt(math.pi / 2) * (1 - math.sqrt(0.5))
    assert truth.energy(points)[0].item() == pytest.approx(at_mean, rel=5e-3)
    assert truth.best(points[1]) == pytest.approx(-math.log(2 * math.pi * 9), abs=1e-9)


def test_reference_of_a_product_of_gaussians_is_its_closed_form():
    # Precisions 0.25·1 + 0.75/9 = 1/3: a Gaussian of variance 3 about 0.75/9 · 4 · 3 = 1.
    truth = gaussian_truth(1.0, 3.0, means=(0.0, 4.0), exponents=(0.25, 0.75))
    mean, covariance = truth.moments()
    assert mean.tolist() == pytest.approx([1.0, 1.0], abs=2e-3)
    assert covariance.flatten().tolist() == pytest.approx([3.0, 0.0, 0.0, 3.0], abs=5e-3)
    assert truth.entropy() == pytest.approx(math.log(2 * math.pi * math.e * 3), abs=2e-3)
    assert truth.best(torch.zeros(2).double()) == pytest.approx(-math.log(6 * math.pi), abs=1e-3)


def ball(ndim: int, squares: Tensor) -> Tensor:
    """Return the mass of a standard normal within the square of a distance."""
    return torch.special.gammainc(torch.full_like(squares, 0.5 * ndim), 0.5 * squares.clamp(min=0))


@pytest.mark.parametrize("ndim", [1, 2, 3])
def test_mixture_of_far_gaussians_of_any_two_widths(ndim):
    if ndim == 1:
        grid, zeros = Grid((1,), (0.0,), (1.0,)), torch.zeros(5, 1).double()
        far = (20.0 * WIDTHS + 20.0).reshape(5, 1, 1)
        narrow: KernelDensity | GaussianDensity = KernelDensity(zeros, grid, bandwidth=1.0)
        wide: KernelDensity | GaussianDensity = KernelDensity(
            zeros, grid, bandwidth=WIDTHS, offsets=far
        )
    else:
        eye = torch.eye(ndim).double()
        narrow = GaussianDensity(torch.zeros(5, ndim).double(), eye)
        far = (20.0 * WIDTHS + 20.0).unsqueeze(1).expand(5, ndim)
        wide = GaussianDensity(far, WIDTHS.reshape(5, 1, 1) * eye)
    both = mixture([narrow, wide])
    one = 0.5 * ndim * math.log(2 * math.pi * math.e)
    exact = one + 0.5 * ndim * WIDTHS.log() + math.log(2.0)
    torch.testing.assert_close(both.entropy(), exact, atol=0.02, rtol=0)
    # The wide part is as dense as the narrow one is at `square` where its own is 2 ndim log s less.
    for square in (0.1, 1.4, 6.0):
        points = torch.zeros(5, ndim).double()
        points[:, 0] = math.sqrt(square)
        inner, outer = torch.full_like(WIDTHS, square), square - 2.0 * ndim * WIDTHS.log()
        level = 0.5 * ball(ndim, inner) + 0.5 * ball(ndim, outer)
        got = both.hdr_level(points.squeeze(1) if ndim == 1 else points)
        torch.testing.assert_close(got, level, atol=0.02, rtol=0)
    peak = math.log(0.5) - 0.5 * ndim * math.log(2 * math.pi)
    assert (both.log_prob(both.mode) > peak - 1e-3).all()


def test_mixture_of_maps_of_narrow_and_wide_kernels():
    grid = Grid.of_heatmap(height=24, width=32, stride=4)
    bandwidth, eye = torch.tensor([4.0, 2.0, 1.0, 0.5, 0.25]), torch.eye(2).double()[None]
    one, other = torch.full((5, 24, 32), -60.0), torch.full((5, 24, 32), -60.0)
    one[:, 10, 14], other[:, 12, 17] = 0.0, 0.0
    narrow = KernelDensity(one, grid, bandwidth=bandwidth)
    wide = KernelDensity(other, grid, bandwidth=40.0)
    # Cells 4 pixels wide; the other cells hold 1e-23 of the mass.
    centres = torch.tensor([[57.5, 41.5], [69.5, 49.5]]).double()
    rows = [
        [
            [
                Kernels("gaussian", torch.tensor([0.5]).double(), centre[None], h * eye)
                for centre, h in zip(centres, (float(width), 40.0), strict=True)
            ]
        ]
        for width in bandwidth
    ]
    case = Case("mixture", "maps", "", (mixture, [narrow, wide], [1.0, 1.0]), rows, torch.float32)
    assert not wrong_of(case, count=1 << 13)


@pytest.mark.parametrize("ndim", [2, 3])
def test_energy_score_of_one_kernel(ndim):
    grid = Grid((1,) * ndim, (0.0,) * ndim, (1.0,) * ndim)
    bandwidth = torch.tensor([1.0, 10.0, 0.3])
    density = KernelDensity(torch.zeros(3, *grid.shape), grid, bandwidth=bandwidth)
    # E|z| is √2 Γ((n + 1)/2) / Γ(n/2), and E|Y − Y′| is √2 times that.
    length = math.sqrt(2.0) * math.gamma(0.5 * ndim + 0.5) / math.gamma(0.5 * ndim)
    exact = bandwidth * length * (1.0 - math.sqrt(0.5))
    got = density.energy_score(torch.zeros(3, ndim))
    torch.testing.assert_close(got, exact, rtol=0.01, atol=0)


@pytest.mark.parametrize("cells", [0.5, 0.1, 0.02, 0.0067])
@pytest.mark.parametrize(
    "grid",
    [Grid((61,), (100.0,), (1.0,)), Grid.of_heatmap(height=12, width=32, stride=4)],
    ids=["line", "plane"],
)
@pytest.mark.parametrize("form", ["cell", "map"])
def test_narrow_kernels_in_single_precision(grid, cells, form):
    generator = torch.Generator().manual_seed(1)
    shape, size = (3, *grid.shape), grid.spacing[0]
    logits = torch.randn(shape, generator=generator)
    offsets = 0.4 * size * torch.randn(3, grid.ndim, *grid.shape, generator=generator)
    bandwidth = cells * size * (0.3 * torch.randn(shape, generator=generator)).exp()
    if form == "map":
        bandwidth = bandwidth.flatten(1)[:, 0]
    single = KernelDensity(logits, grid, bandwidth=bandwidth, offsets=offsets)
    double = KernelDensity(
        logits.double(), grid, bandwidth=bandwidth.double(), offsets=offsets.double()
    )
    points = double.sample((60,), generator=generator).float()
    best, got = double.log_prob(double.mode), double.log_prob(single.mode.double())
    assert (best - got < 1e-3).all()
    torch.testing.assert_close(single.entropy().double(), double.entropy(), atol=5e-3, rtol=0)
    levels = double.hdr_level(points.double())
    torch.testing.assert_close(single.hdr_level(points).double(), levels, atol=0.01, rtol=0)


def test_mode_of_one_density_on_a_line():
    density = KernelDensity(
        torch.tensor([0.0, 3.0, 1.0, -2.0]), Grid((4,), (10.0,), (2.0,)), bandwidth=0.3
    )
    assert density.mode.shape == ()
    assert density.mode.item() == pytest.approx(12.0, abs=1e-3)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_uncertainty_of_flat_and_long_densities_in_space(dtype):
    grid, rows = Grid((9, 9, 11), (40.0, -20.0, 7.0), (2.0, 2.0, 2.0)), torch.arange(9)
    long, flat = (torch.full(grid.shape, -math.inf, dtype=dtype) for _ in range(2))
    long[rows, rows, rows] = 0.0
    flat[rows, :, rows] = 0.0
    density = KernelDensity(torch.stack([long, flat]), grid, bandwidth=0.05)
    # Along (1, 1, 1), and in the plane z = x, cells 2 apart are uniform of variance 4 · 80 / 12.
    along, thin = 4.0 * 80.0 / 12.0, 0.05**2
    exact = torch.tensor([(3 * along + thin) * thin**2, (2 * along + thin) * (along + thin) * thin])
    got = density.uncertainty
    torch.testing.assert_close(got.double(), exact.double().sqrt(), rtol=2e-3, atol=0)
    length = density.uncertainty_length.double()
    torch.testing.assert_close(length, exact.double() ** (1 / 6), rtol=1e-3, atol=0)
