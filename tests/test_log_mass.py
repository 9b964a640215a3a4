"""Masses of intervals on a line, against SciPy and quadrature."""

import math

import numpy as np
import pytest
import scoringrules
import torch
from scipy import integrate, stats
from torch import Tensor

from densities import BATCH, GRIDS, density_of, uniform
from kdn.density import KernelDensity, LaplaceDensity, decode
from kdn.grid import Grid


def line(form: str) -> KernelDensity:
    if form == "uniform":
        return KernelDensity(uniform(*BATCH, 7, low=-3.0, high=3.0), GRIDS[1], kernel="uniform")
    return density_of(form.split(",")[0], 1, offsets="moved" in form)


FORMS = ["number", "landmark", "cell", "landmark, moved", "cell, moved", "uniform"]


@pytest.mark.parametrize("form", FORMS)
def test_the_mass_of_an_interval_is_the_difference_of_the_distribution_function(form: str) -> None:
    density = line(form)
    low = uniform(4, *BATCH, low=-3.0, high=-1.0, seed=4)
    high = low + uniform(4, *BATCH, low=0.01, high=2.0, seed=5)
    expected = density.cdf(high) - density.cdf(low)
    torch.testing.assert_close(density.log_mass(low, high).exp(), expected, atol=1e-13, rtol=1e-9)


def test_the_mass_of_an_interval_is_the_integral_of_the_density() -> None:
    density = line("cell, moved")

    def at(y: float) -> float:
        return density.log_prob(torch.tensor(y, dtype=torch.float64))[1, 2].exp().item()

    expected = integrate.quad(at, -1.7, -0.4, limit=200)[0]
    low, high = (torch.tensor(y, dtype=torch.float64) for y in (-1.7, -0.4))
    assert density.log_mass(low, high)[1, 2].exp().item() == pytest.approx(expected, rel=1e-7)


@pytest.mark.parametrize("side", [-1.0, 1.0])
def test_it_is_finite_and_exact_far_out(side: float) -> None:
    grid = Grid.of_interval(0.0, 2.0, step=1.0)
    density = KernelDensity(torch.zeros(2, 3, dtype=torch.float64), grid, bandwidth=0.5)
    ends = torch.tensor([[40.0, 41.0], [55.0, 55.5]], dtype=torch.float64)
    ends = (1.0 + side * (ends.T - 1.0)).sort(0)[0]  # mirrored, the ends change places
    found = density.log_mass(ends[0], ends[1])
    for row in range(2):
        nearest = (abs(ends[:, row] - 1.0).min().item() + 1.0 - 2.0) / 0.5
        farther = (abs(ends[:, row] - 1.0).max().item() + 1.0 - 2.0) / 0.5
        # The nearest kernel has all the mass there.
        expected = stats.norm.logsf(nearest) + math.log1p(
            -math.exp(stats.norm.logsf(farther) - stats.norm.logsf(nearest))
        )
        assert found[row].item() == pytest.approx(expected - math.log(3.0), rel=1e-9)


def test_a_narrow_interval_has_the_density_times_its_length() -> None:
    density = line("cell")
    middle = uniform(*BATCH, low=-3.0, high=1.0, seed=7)
    found = density.log_mass(middle - 5e-6, middle + 5e-6) - math.log(1e-5)
    torch.testing.assert_close(found, density.log_prob(middle), atol=1e-8, rtol=0)


@pytest.mark.parametrize("form", ["number", "cell, moved"])
def test_gradients_are_those_of_finite_differences(form: str) -> None:
    given = line(form)
    logits = given.raw_logits.clone().requires_grad_()
    low = uniform(*BATCH, low=-9.0, high=4.0, seed=8).requires_grad_()

    def mass(logits: Tensor, low: Tensor) -> Tensor:
        density = KernelDensity(
            logits, given.grid, bandwidth=given.bandwidth, offsets=given.offsets
        )
        return density.log_mass(low, low + 0.5)

    assert torch.autograd.gradcheck(mass, (logits, low))


def test_by_hand_cross_entropy_is_the_mass_of_a_cell() -> None:
    logits = torch.tensor([[0.0, 1.0, 2.0], [1.0, 0.0, 0.0]])
    density = KernelDensity(logits, Grid.of_interval(10.0, 12.0, step=1.0), kernel="uniform")
    label = torch.tensor([11.0, 10.0])
    expected = torch.tensor([1.0 - math.log(1 + math.e + math.e**2), 1.0 - math.log(math.e + 2)])
    torch.testing.assert_close(density.log_mass(label - 0.5, label + 0.5), expected)
    assert density.log_mass(label + 5, label + 6).tolist() == [-math.inf, -math.inf]


def test_on_a_plane_it_says_that_there_is_no_interval() -> None:
    density = density_of("number", 2)
    with pytest.raises(NotImplementedError, match="1-D"):
        density.log_mass(torch.tensor(0.0), torch.tensor(1.0))


def test_the_median_halves_the_mass() -> None:
    density = line("cell, moved")
    median = decode(density, "median")
    assert median.shape == BATCH
    torch.testing.assert_close(density.cdf(median), torch.full_like(median, 0.5))
    with pytest.raises(ValueError, match="decoder must be one of argmax, quarter"):
        decode(density_of("number", 2), "median")


LOC = uniform(2, 3, low=-2.0, high=2.0)
SCALE = uniform(3, low=0.3, high=2.0, seed=3)


def test_laplace_masses_are_scipys() -> None:
    density = LaplaceDensity(LOC, SCALE)
    low = uniform(40, 2, 3, low=-6.0, high=5.0, seed=4)
    high = low + uniform(40, 2, 3, low=0.01, high=3.0, seed=5)
    own = stats.laplace(LOC.numpy(), SCALE.numpy())
    expected = own.cdf(high.numpy()) - own.cdf(low.numpy())
    np.testing.assert_allclose(density.log_mass(low, high).exp().numpy(), expected, atol=1e-14)
    far = torch.full((2, 3), 900.0, dtype=torch.float64)
    expected = np.log(0.5) - (900.0 - LOC.numpy()) / SCALE.numpy()  # SciPy's own is -inf there
    expected = expected + np.log(-np.expm1(-1 / SCALE.numpy()))
    np.testing.assert_allclose(density.log_mass(far, far + 1).numpy(), expected, rtol=1e-12)
    mirrored = LaplaceDensity(-LOC, SCALE).log_mass(-far - 1, -far)
    torch.testing.assert_close(mirrored, density.log_mass(far, far + 1))


def test_laplace_crps_is_that_of_scoringrules() -> None:
    density = LaplaceDensity(LOC, SCALE)
    points = uniform(5, 2, 3, low=-6.0, high=6.0, seed=6)
    expected = scoringrules.crps_laplace(points.numpy(), LOC.numpy(), SCALE.expand(2, 3).numpy())
    np.testing.assert_allclose(density.energy_score(points).numpy(), expected, atol=1e-12)
    assert density.expand((4, 2, 3)).batch_shape == (4, 2, 3)


@pytest.mark.parametrize("at", [-2e5, -1e3, -60.0, -1.2, 0.3, 40.0, 3e4])
def test_gradients_in_single_precision_are_those_in_double(at: float) -> None:
    """With bandwidth 1 and an interval of 2, the gradient of the centre goes as the distance."""
    slopes = []
    for dtype in (torch.float32, torch.float64):
        centre = torch.zeros(2, 1, 1, dtype=dtype, requires_grad=True)
        grid = Grid.of_interval(0.0, 0.0, step=1.0)
        logits = torch.zeros(2, 1, dtype=dtype)
        density = KernelDensity(logits, grid, bandwidth=1.0, offsets=centre)
        ends = torch.tensor([[at - 1], [at + 1]], dtype=dtype)
        density.log_mass(*ends).sum().backward()
        assert centre.grad is not None
        slopes.append(centre.grad.double())
    torch.testing.assert_close(slopes[0], slopes[1], rtol=2e-3, atol=1e-6)
    assert slopes[1][0].item() == pytest.approx(at, rel=0.05, abs=1.0)


def test_an_interval_that_no_uniform_kernel_touches_has_no_gradient() -> None:
    logits = torch.zeros(2, 3, requires_grad=True)
    density = KernelDensity(logits, Grid.of_interval(2.0, 6.0, step=2.0), kernel="uniform")
    ends = torch.tensor([[-3.0, 2.5], [0.5, 3.5]], requires_grad=True)
    found = density.log_mass(ends[0], ends[1])
    # The second: ¼ of the first cell, from 1 to 3, and ¼ of the second.
    torch.testing.assert_close(found.exp(), torch.tensor([0.0, 1 / 6]))
    found[1].backward()
    for leaf in (logits, ends):
        assert leaf.grad is not None
        assert bool(leaf.grad.isfinite().all())
    found = density.log_mass(ends[0].detach(), ends[1].detach())
    torch.where(found.isfinite(), found, 0.0).sum().backward()
    assert logits.grad is not None
    assert bool(logits.grad.isfinite().all())
