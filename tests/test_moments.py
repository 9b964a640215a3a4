"""Moments, samples, marginals and shapes of a density."""

import math

import pytest
import torch
from torch import Tensor

from densities import BANDWIDTHS, BATCH, GRIDS, bandwidth_of, density_of, mixture_of, uniform
from kdn.density import KernelDensity
from kdn.grid import Grid


def lattice(density: KernelDensity, *, margin: float, step: float) -> tuple[Tensor, float]:
    """Return points `(count, ndim)` of a lattice over the grid and beyond, and a step's volume."""
    grid = density.grid
    axes = []
    for axis in range(grid.ndim):
        low, high = grid.low[axis] - margin, grid.high[axis] + margin
        count = math.ceil((high - low) / (step * grid.spacing[axis]))
        axes.append(low + (high - low) * (torch.arange(count).double() + 0.5) / count)
    points = torch.cartesian_prod(*axes).reshape(-1, grid.ndim)
    return points, math.prod(float(axis[1] - axis[0]) for axis in axes)


def integrals(density: KernelDensity, *, margin: float, step: float) -> tuple[Tensor, ...]:
    """Return mass, mean and covariance by summing the density over a lattice."""
    points, volume = lattice(density, margin=margin, step=step)
    columns = points.squeeze(-1) if density.grid.ndim == 1 else points
    log_prob = density.log_prob(columns.reshape(len(points), 1, 1, *density.event_shape))
    weights = log_prob.exp() * volume  # (count, *batch)
    mean = torch.einsum("nbl,nd->bld", weights, points)
    centred = points[:, None, None] - mean
    return weights.sum(0), mean, torch.einsum("nbl,nbli,nblj->blij", weights, centred, centred)


def check_moments(density: KernelDensity, *, margin: float, step: float, tolerance: float) -> None:
    mass, mean, covariance = integrals(density, margin=margin, step=step)
    own = density.mean.reshape(mean.shape)

    def close(found: Tensor, expected: Tensor) -> None:
        torch.testing.assert_close(found, expected, rtol=tolerance, atol=tolerance)

    close(mass, torch.ones(BATCH).double())
    close(own, mean)
    close(density.covariance_matrix, covariance)
    close(density.variance.reshape(mean.shape), covariance.diagonal(dim1=-2, dim2=-1))
    close(density.uncertainty, covariance.det().sqrt())
    close(density.uncertainty_length, covariance.det() ** (0.5 / density.grid.ndim))


@pytest.mark.parametrize("offsets", [False, True])
@pytest.mark.parametrize("form", BANDWIDTHS)
@pytest.mark.parametrize("ndim", [1, 2])
def test_moments_and_mass_by_quadrature(ndim: int, form: str, offsets: bool) -> None:
    density = density_of(form, ndim, offsets=offsets)
    # The tails beyond seven bandwidths hold less than 1e-11.
    margin = 1.0 + 7 * 1.5 * density.grid.spacing[0]
    check_moments(density, margin=margin, step=0.25, tolerance=1e-8)


@pytest.mark.parametrize("offsets", [False, True])
def test_moments_and_mass_by_quadrature_in_space(offsets: bool) -> None:
    grid = Grid((2, 4, 3), (0.5, 1.0, -1.0), (1.0, 1.25, 0.75))
    moved = uniform(*BATCH, 3, *grid.shape, low=-0.5, high=0.5) if offsets else None
    logits = uniform(*BATCH, *grid.shape, low=-3.0, high=3.0, seed=1)
    density = KernelDensity(logits, grid, bandwidth=uniform(3, low=0.7), offsets=moved)
    check_moments(density, margin=6.5, step=0.7, tolerance=1e-5)


@pytest.mark.parametrize("ndim", [1, 2, 3])
def test_moments_of_uniform_kernels_by_quadrature(ndim: int) -> None:
    """Ten points a cell on each axis, whose variance within it is (1 − 1/100)/12 cells²."""
    grid = GRIDS[ndim]
    logits = uniform(*BATCH, *grid.shape, low=-3.0, high=3.0)
    density = KernelDensity(logits, grid, kernel="uniform")
    mass, mean, covariance = integrals(density, margin=0.0, step=0.1)
    torch.testing.assert_close(mass, torch.ones(BATCH).double())
    torch.testing.assert_close(density.mean.reshape(mean.shape), mean)
    lacking = torch.tensor([size**2 / 1200 for size in grid.spacing]).double().diag()
    torch.testing.assert_close(density.covariance_matrix, covariance + lacking)


def test_the_covariance_of_one_uniform_cell() -> None:
    """`I/12` in cells²: with all the mass in one cell nothing is left but the kernel."""
    logits = torch.full((2, 3, 5, 7), -1e4)
    logits[..., 2, 4] = 0.0
    grid = Grid((5, 7), (0.0, 0.0), (1.0, 1.0))
    density = KernelDensity(logits, grid, kernel="uniform")
    torch.testing.assert_close(density.covariance_matrix, (torch.eye(2) / 12).expand(2, 3, 2, 2))
    torch.testing.assert_close(density.mean, torch.tensor([4.0, 2.0]).expand(2, 3, 2))


def test_moments_by_hand() -> None:
    """Half the mass at (0, 0), half at (2, 3), bandwidth 2: Cov = 4 I + ((1, 1½), (1½, 2¼))."""
    logits = torch.full((2, 3), -math.inf)
    logits[0, 0] = logits[1, 2] = 0.0
    density = KernelDensity(logits, Grid((2, 3), (0.0, 0.0), (1.0, 3.0)), bandwidth=2.0)
    torch.testing.assert_close(density.mean, torch.tensor([1.0, 1.5]))
    torch.testing.assert_close(density.covariance_matrix, torch.tensor([[5.0, 1.5], [1.5, 6.25]]))
    torch.testing.assert_close(density.variance, torch.tensor([5.0, 6.25]))
    torch.testing.assert_close(density.stddev, torch.tensor([5.0, 6.25]).sqrt())
    assert density.uncertainty.item() == pytest.approx(math.sqrt(29.0))
    assert density.uncertainty_length.item() == pytest.approx(29.0**0.25)


@pytest.mark.parametrize("form", ["map", "cell"])
@pytest.mark.parametrize("ndim", [1, 2])
def test_entropy_by_quadrature(ndim: int, form: str) -> None:
    """Within a few times the error that 1024 nodes have on average."""
    density = density_of(form, ndim, offsets=form == "cell")
    points, volume = lattice(density, margin=1 + 12 * density.grid.spacing[0], step=0.25)
    points = points.squeeze(-1) if ndim == 1 else points
    log_prob = density.log_prob(points.reshape(len(points), 1, 1, *density.event_shape))
    expected = -(log_prob * log_prob.exp()).sum(0) * volume
    tolerance = 0.01 if form == "map" else 0.02
    torch.testing.assert_close(density.entropy(), expected, rtol=0, atol=tolerance)


@pytest.mark.parametrize("form", ["number", "cell", "uniform"])
@pytest.mark.parametrize("ndim", [1, 2, 3])
def test_samples_have_the_moments(ndim: int, form: str) -> None:
    if form == "uniform":
        grid = GRIDS[ndim]
        logits = uniform(*BATCH, *grid.shape, low=-3.0, high=3.0)
        density = KernelDensity(logits, grid, kernel="uniform")
    else:
        density = density_of(form, ndim, offsets=form == "cell")
    generator = torch.Generator().manual_seed(1)
    shape = (50, 400)
    samples = density.sample(shape, generator=generator)
    assert samples.shape == (*shape, *BATCH, *density.event_shape)
    assert samples.dtype == torch.float64
    points = samples.reshape(20_000, *BATCH, ndim)
    variance = density.variance.reshape(*BATCH, ndim)
    error = (points.mean(0) - density.mean.reshape(*BATCH, ndim)) / (variance / 20_000).sqrt()
    assert error.abs().max() < 4.5
    centred = points - points.mean(0)
    found = torch.einsum("nbli,nblj->blij", centred, centred) / 20_000
    size = (variance.unsqueeze(-1) * variance.unsqueeze(-2)).sqrt()
    assert ((found - density.covariance_matrix) / size).abs().max() < 0.06
    again = density.sample(shape, generator=torch.Generator().manual_seed(1))
    assert torch.equal(samples, again)
    assert not torch.equal(samples[0], samples[1])


def test_samples_within_the_cells_of_uniform_kernels() -> None:
    grid = GRIDS[2]
    logits = torch.full((2, 3, 5, 7), -math.inf)
    logits[:, :, 3, 1] = 0.0
    samples = KernelDensity(logits, grid, kernel="uniform").sample((100,))
    cells = grid.to_cells(samples) - torch.tensor([1.0, 3.0])
    assert cells.min() >= -0.5
    assert cells.max() <= 0.5
    assert (cells.amax((0, 1, 2)) - cells.amin((0, 1, 2)) > 0.9).all()


def test_sample_shapes() -> None:
    density = density_of("number", 2)
    assert density.sample().shape == (2, 3, 2)
    assert density.sample((0, 4)).shape == (0, 4, 2, 3, 2)
    with pytest.raises(NotImplementedError):
        density.rsample()


@pytest.mark.parametrize("form", ["landmark", "cell", "landmark, moved", "cell, moved", "uniform"])
@pytest.mark.parametrize("axis", [0, 1])
def test_marginals_by_quadrature(axis: int, form: str) -> None:
    if form == "uniform":
        logits = uniform(*BATCH, 5, 7, low=-3.0, high=3.0)
        density = KernelDensity(logits, GRIDS[2], kernel="uniform")
    else:
        density = density_of(form.split(",")[0], 2, offsets="moved" in form)
    marginal = density.marginal(axis)
    assert marginal.batch_shape == density.batch_shape
    assert marginal.event_shape == ()
    grid = density.grid
    values = uniform(9, low=grid.low[axis], high=grid.high[axis])
    margin = 0.0 if form == "uniform" else 1 + 9 * grid.spacing[0]
    low, high = grid.low[1 - axis] - margin, grid.high[1 - axis] + margin
    across = low + (high - low) * (torch.arange(420).double() + 0.5) / 420
    pairs = torch.stack(torch.broadcast_tensors(values[:, None], across), -1)
    pairs = pairs if axis == 0 else pairs.flip(-1)
    joint = density.log_prob(pairs[:, :, None, None]).exp().sum(1) * (high - low) / 420
    found = marginal.log_prob(values[:, None, None]).exp()
    torch.testing.assert_close(found, joint, rtol=1e-8, atol=1e-10)
    torch.testing.assert_close(marginal.mean, density.mean[..., axis])
    torch.testing.assert_close(marginal.variance, density.variance[..., axis])


def test_marginals_of_three_axes_and_one() -> None:
    density = density_of("map", 3)
    for axis in range(3):
        marginal = density.marginal(axis)
        assert marginal.grid.shape == (density.grid.shape[2 - axis],)
        torch.testing.assert_close(marginal.mean, density.mean[..., axis])
    line = density_of("cell", 1)
    values = uniform(4, 2, 3, low=-4, high=1)
    torch.testing.assert_close(line.marginal(0).log_prob(values), line.log_prob(values))
    with pytest.raises(ValueError, match="axis must be 0 to 0, got 1"):
        line.marginal(1)


@pytest.mark.parametrize("form", ["map", "cell"])
def test_expand(form: str) -> None:
    density = density_of(form, 2, offsets=form == "cell")
    expanded = density.expand((4, 2, 3))
    assert expanded.batch_shape == (4, 2, 3)
    points = uniform(4, 2, 3, 2, high=20)
    torch.testing.assert_close(expanded.log_prob(points), density.log_prob(points))
    torch.testing.assert_close(expanded.mean, density.mean.expand(4, 2, 3, 2))
    assert (
        KernelDensity(density.raw_logits, density.grid, bandwidth=1.0, validate_args=True)
        .expand((4, 2, 3))
        ._validate_args
    )


def test_probs_and_logits_are_normalised() -> None:
    density = density_of("number", 2)
    expected = mixture_of(density).mixture_distribution
    torch.testing.assert_close(density.probs.flatten(2), expected.probs)
    torch.testing.assert_close(density.logits.flatten(2), expected.logits)


def test_gradients_pass_through_moments_twice() -> None:
    """What is computed without gradients, or has been walked back, must not be used again."""
    leaf = uniform(2, 3, 5, 7).requires_grad_()
    density = KernelDensity(leaf, GRIDS[2], bandwidth=bandwidth_of("map", GRIDS[2]))
    with torch.no_grad():
        density.mean  # noqa: B018
    first = torch.autograd.grad(density.mean.sum(), leaf)[0]
    assert first.any()
    assert torch.equal(torch.autograd.grad(density.mean.sum(), leaf)[0], first)
    assert torch.autograd.gradcheck(
        lambda x: KernelDensity(x, GRIDS[2], bandwidth=1.0).uncertainty_length, leaf
    )
