"""Adjusted densities against their definition, and fits against known and independent answers."""

import math

import numpy as np
import pytest
import scipy.optimize
import scipy.stats
import torch
from torch.distributions import MultivariateNormal

from densities import BATCH, GRIDS, density_of, mixture_of, points_of, uniform
from kdn.density import GaussianDensity, KernelDensity, LaplaceDensity
from kdn.grid import Grid
from kdn.models.recalibration import Adjustment, fit_adjustment, mean_nll

BANDWIDTHS = torch.tensor([1.0, 2.5])
NUMBERS = {
    "one": (torch.tensor(0.6), torch.tensor(1.4), torch.tensor(0.8)),
    "each": (
        torch.tensor([0.6, 1.0, 1.7]),
        torch.tensor([1.4, 0.5, 1.0]),
        torch.tensor([0.8, 0.0, 2.5]),
    ),
}


@pytest.mark.parametrize("numbers", NUMBERS)
@pytest.mark.parametrize("ndim", [1, 2, 3])
@pytest.mark.parametrize("form", ["number", "landmark", "map", "cell"])
def test_kernels_are_scaled_and_widened_and_the_mixture_sharpened(form, ndim, numbers):
    """Against torch's own mixture of kernels with the numbers put in by hand."""
    given = density_of(form, ndim, offsets=form == "cell")
    temperature, factor, added = (
        value.double().expand(BATCH).reshape(*BATCH, *(1,) * ndim) for value in NUMBERS[numbers]
    )
    own = given.bandwidth
    assert own is not None
    own = own.reshape(*own.shape, *(1,) * (0 if given.per_cell else ndim))
    by_hand = KernelDensity(
        given.probs.pow(1 / temperature).log(),
        given.grid,
        bandwidth=((factor * own) ** 2 + added).sqrt().expand(given.raw_logits.shape),
        offsets=given.offsets,
    )
    points = points_of(given.grid, 4, *BATCH)
    adjusted = Adjustment(*NUMBERS[numbers]).applied(given)
    torch.testing.assert_close(adjusted.log_prob(points), mixture_of(by_hand).log_prob(points))


def test_a_uniform_kernel_becomes_the_gaussian_of_its_variance():
    """5 × 7 cells of 4 by 3 px: a mean variance of (16 + 9) / 24."""
    grid = GRIDS[2]
    assert grid.spacing == (4.0, 3.0)
    logits = uniform(*BATCH, *grid.shape, low=-3, high=3, seed=1)
    given = KernelDensity(logits, grid, kernel="uniform")
    changed = Adjustment(bandwidth_factor=torch.tensor(2.0)).applied(given)
    by_hand = KernelDensity(logits, grid, bandwidth=2 * math.sqrt(25 / 24))
    points = points_of(grid, 4, *BATCH)
    torch.testing.assert_close(changed.log_prob(points), by_hand.log_prob(points))


@pytest.mark.parametrize("numbers", NUMBERS)
def test_a_gaussian_is_scaled_and_widened(numbers):
    root = uniform(*BATCH, 2, 2, low=-1, high=1, seed=3)
    covariance = root @ root.mT + 0.1 * torch.eye(2).double()
    mean = uniform(*BATCH, 2, seed=4)
    _, factor, added = (value.double().expand(BATCH)[..., None, None] for value in NUMBERS[numbers])
    by_hand = MultivariateNormal(mean, factor**2 * covariance + added * torch.eye(2).double())
    adjusted = Adjustment(*NUMBERS[numbers]).applied(GaussianDensity(mean, covariance=covariance))
    points = uniform(4, *BATCH, 2, seed=5)
    torch.testing.assert_close(adjusted.log_prob(points), by_hand.log_prob(points))


def test_the_default_changes_nothing():
    given, points = density_of("landmark", 2), points_of(GRIDS[2], 4, *BATCH)
    torch.testing.assert_close(Adjustment().applied(given).log_prob(points), given.log_prob(points))


def test_cells_without_mass_stay_without_and_give_finite_gradients():
    grid = GRIDS[2]
    logits = uniform(*BATCH, *grid.shape, seed=1)
    logits[..., 0, :] = -math.inf
    temperature = torch.tensor(0.5, requires_grad=True)
    given = KernelDensity(logits, grid, kernel="uniform")
    adjusted = Adjustment(temperature=temperature).applied(given)
    assert isinstance(adjusted, KernelDensity)
    assert (adjusted.probs[..., 0, :] == 0).all()
    adjusted.log_prob(points_of(grid, *BATCH)).sum().backward()
    assert temperature.grad is not None
    assert bool(temperature.grad.isfinite())


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"temperature": torch.tensor(0.0)}, "temperature must be positive and finite"),
        ({"added_variance": torch.tensor([1.0, -1.0])}, "added_variance must be 0 or more"),
        ({"bandwidth_factor": torch.ones(2, 2)}, "one number or one per label"),
        (
            {"temperature": torch.ones(2), "bandwidth_factor": torch.ones(3)},
            r"same labels, got shapes \[\(2,\), \(3,\)\]",
        ),
    ],
)
def test_numbers_out_of_range_are_refused(wrong, message):
    with pytest.raises(ValueError, match=message):
        Adjustment(**wrong)


def batches_of(truth: Adjustment, *, samples: int, seed: int = 0):
    """Return densities of two landmarks with bandwidths of their own, labels drawn as `truth` says.

    One label in ten is missing; its place holds NaN.
    """
    grid = Grid((6, 9), (1.5, -2.0), (4.0, 3.0))
    generator = torch.Generator().manual_seed(seed)
    logits = 1.5 * torch.randn((samples, 2, *grid.shape), generator=generator)
    density = KernelDensity(logits, grid, bandwidth=BANDWIDTHS)
    points = truth.applied(density).sample(generator=generator)
    valid = torch.rand((samples, 2), generator=generator) > 0.1
    points = points.masked_fill(~valid.unsqueeze(-1), math.nan)
    halves = [slice(0, samples // 3), slice(samples // 3, samples)]
    return [
        (
            KernelDensity(logits[rows], grid, bandwidth=BANDWIDTHS),
            points[rows],
            valid[rows],
        )
        for rows in halves
    ]


def test_the_numbers_that_labels_were_drawn_with_are_found():
    truth = Adjustment(torch.tensor(0.7), torch.tensor(0.5), torch.tensor(1.0))
    batches = batches_of(truth, samples=6000)
    found = fit_adjustment(lambda: batches)
    assert float(found.temperature) == pytest.approx(0.7, abs=0.04)
    assert float(found.bandwidth_factor) == pytest.approx(0.5, abs=0.1)
    assert float(found.added_variance) == pytest.approx(1.0, abs=0.25)
    assert mean_nll(batches, found) <= mean_nll(batches, truth) + 1e-4
    assert mean_nll(batches, found) < mean_nll(batches) - 0.05


def test_numbers_of_each_landmark_are_found_apart():
    truth = Adjustment(torch.tensor([0.6, 1.5]), torch.tensor([1.8, 0.6]), torch.tensor(0.0))
    batches = batches_of(truth, samples=6000)
    found = fit_adjustment(lambda: batches, parts=("bandwidth", "temperature"), per_label=True)
    torch.testing.assert_close(found.temperature, truth.temperature, rtol=0.08, atol=0)
    torch.testing.assert_close(found.bandwidth_factor, truth.bandwidth_factor, rtol=0.1, atol=0)
    assert not found.added_variance.any()


def test_the_fit_is_the_one_that_scipy_finds():
    """Nelder and Mead's search without derivatives, on the sum over all kernels."""
    batches = batches_of(Adjustment(torch.tensor(1.4)), samples=300, seed=3)
    count = sum(int(valid.sum()) for _, _, valid in batches)

    def nll(logs: np.ndarray) -> float:
        temperature, factor, deviation = np.exp(logs)
        total = 0.0
        for density, points, valid in batches:
            wide = (
                (factor * BANDWIDTHS.double().expand(density.batch_shape)) ** 2 + deviation**2
            ).sqrt()
            cooled = KernelDensity(
                density.logits.double() / temperature, density.grid, bandwidth=wide
            )
            total -= float(mixture_of(cooled).log_prob(points.double().nan_to_num())[valid].sum())
        return total / count

    best = scipy.optimize.minimize(nll, [0.0, 0.0, -1.0], method="Nelder-Mead", tol=1e-6)
    found = fit_adjustment(lambda: batches)
    assert mean_nll(batches, found) == pytest.approx(best.fun, abs=2e-4)
    assert float(found.temperature.log()) == pytest.approx(best.x[0], abs=0.02)


def test_where_all_kernels_are_alike_only_one_width_is_fitted():
    grid = Grid((6, 9), (1.5, -2.0), (4.0, 3.0))
    density = KernelDensity(torch.randn(5, 2, 6, 9), grid, bandwidth=2.0)
    batch = (density, density.sample(), torch.ones(5, 2, dtype=torch.bool))
    found = fit_adjustment(lambda: [batch], steps=3)
    assert float(found.added_variance) == 0.0
    assert float(found.bandwidth_factor) != 1.0


def test_a_gaussian_s_covariance_is_fitted():
    """Drawn with 4 C: the maximum of the likelihood is the mean squared distance over two."""
    generator = torch.Generator().manual_seed(1)
    scale = torch.tensor([[2.0, 0.0], [1.0, 0.5]]).expand(3000, 2, 2, 2)
    density = GaussianDensity(torch.zeros(3000, 2, 2), scale_tril=scale)
    points = 2 * density.sample(generator=generator)
    valid = torch.ones(3000, 2, dtype=torch.bool)
    found = fit_adjustment(lambda: [(density, points, valid)], parts=("temperature", "bandwidth"))
    whitened = torch.linalg.solve_triangular(scale, points.unsqueeze(-1), upper=False)
    assert float(found.bandwidth_factor) == pytest.approx(
        float((whitened.square().sum((-2, -1)).mean() / 2).sqrt()), rel=1e-3
    )
    assert float(found.temperature) == 1.0


def test_rounded_scalars_are_fitted_by_the_mass_of_their_intervals():
    """Whole years under kernels a third as wide as one: SciPy's search on SciPy's masses."""
    grid = Grid.of_interval(20.0, 50.0, step=2.5)
    generator = torch.Generator().manual_seed(4)
    logits = torch.randn((150, 2, 13), generator=generator).double()
    density = KernelDensity(logits, grid, bandwidth=torch.tensor([0.3, 1.2]).double())
    target = (density.sample(generator=generator) + 0.8 * torch.randn(150, 2)).round()
    valid = torch.rand((150, 2), generator=generator) > 0.2
    batches = [(density, target.masked_fill(~valid, math.nan), valid)]
    centres = 20.0 + 2.5 * np.arange(13)

    def nll(logs: np.ndarray) -> float:
        temperature, factor, deviation = np.exp(logs)
        widths = np.hypot(factor * np.array([0.3, 1.2]), deviation)[:, None]
        probs = torch.softmax(logits / temperature, -1).numpy()
        y = target.numpy()[..., None]
        upper, lower = (scipy.stats.norm.cdf(y + end, centres, widths) for end in (0.5, -0.5))
        return -float(np.log((probs * (upper - lower)).sum(-1))[valid.numpy()].mean())

    best = scipy.optimize.minimize(nll, [0.0, 0.0, -1.0], method="Nelder-Mead", tol=1e-6)
    fitted = fit_adjustment(lambda: batches, rounding=1.0)
    assert mean_nll(batches, rounding=1.0) == pytest.approx(nll(np.array([0.0, 0.0, -50.0])))
    assert mean_nll(batches, fitted, rounding=1.0) == pytest.approx(best.fun, abs=2e-4)
    assert best.fun < mean_nll(batches, rounding=1.0) - 0.02


def test_a_laplace_distribution_has_its_scale_fitted():
    """Drawn with 2.5 times the scale: the maximum is the mean distance in units of the scale."""
    scale = torch.tensor([2.0, 0.5]).expand(4000, 2)
    density = LaplaceDensity(torch.zeros(4000, 2), scale)
    torch.manual_seed(5)
    target = 2.5 * density.sample()
    valid = torch.ones(4000, 2, dtype=torch.bool)
    fitted = fit_adjustment(lambda: [(density, target, valid)], per_label=True)
    wanted = (target.abs() / scale).mean(0)
    torch.testing.assert_close(fitted.bandwidth_factor, wanted, rtol=1e-3, atol=0)
    assert fitted.temperature.tolist() == [1.0, 1.0]
    assert fitted.added_variance.tolist() == [0.0, 0.0]
    changed = fitted.applied(density)
    torch.testing.assert_close(changed.scale, scale * fitted.bandwidth_factor)
    assert changed.loc is density.loc


def test_a_density_of_another_kind_stays_as_it_is():
    density = MultivariateNormal(torch.zeros(3, 2, 2), torch.eye(2))
    batch = (density, torch.ones(3, 2, 2), torch.ones(3, 2, dtype=torch.bool))
    assert Adjustment.parts_of(density) == ()
    fitted = fit_adjustment(lambda: [batch])
    assert fitted.applied(density) is density
    assert mean_nll([batch], fitted) == pytest.approx(math.log(2 * math.pi) + 1)


def test_what_cannot_be_fitted_says_why():
    batches = batches_of(Adjustment(), samples=6)
    with pytest.raises(ValueError, match=r"parts must be some of .*, got \['offset'\]"):
        fit_adjustment(lambda: batches, parts=["offset"])
    none = [(d, p, torch.zeros_like(v)) for d, p, v in batches]
    with pytest.raises(ValueError, match="batches must have a label that counts, got none"):
        fit_adjustment(lambda: none)
