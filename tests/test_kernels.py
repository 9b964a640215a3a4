"""A kernel from outside the package, asked everything, against SciPy and plain sums over cells."""

import itertools
import math

import numpy as np
import pytest
import torch
from scipy import stats
from torch import Tensor
from torch.distributions import Categorical, Independent, Laplace, MixtureSameFamily

from densities import BATCH, GRIDS, points_of, uniform
from kdn.density import Gaussian, Kernel, KernelDensity, LogPool, Uniform, log_pool, mixture


class LaplaceKernel(Kernel):
    """`½ exp(−|u|)` along each axis."""

    name, variance = "laplace", 2.0

    def log_density(self, u: Tensor) -> Tensor:
        return -u.abs() - math.log(2.0)

    def cdf(self, u: Tensor) -> Tensor:
        tail = 0.5 * (-u.abs()).exp()
        return torch.where(u < 0, tail, 1.0 - tail)

    def quantile(self, level: Tensor) -> Tensor:
        return (2.0 * torch.minimum(level, 1.0 - level)).log() * (0.5 - level).sign()


def make(ndim: int, form: str = "map") -> KernelDensity:
    """Return a density of Laplace kernels, float64, batch (2, 3)."""
    grid = GRIDS[ndim]
    logits = uniform(*BATCH, *grid.shape, low=-3.0, high=3.0, seed=1)
    shape = (*BATCH, *grid.shape) if form == "cell" else BATCH
    bandwidth = grid.spacing[0] * uniform(*shape, low=0.4, high=1.1, seed=4)
    offsets = uniform(*BATCH, ndim, *grid.shape, low=-1.0, high=1.0) if form == "cell" else None
    return KernelDensity(logits, grid, kernel=LaplaceKernel(), bandwidth=bandwidth, offsets=offsets)


def twin_of(density: KernelDensity) -> MixtureSameFamily:
    """Return the same density by torch's own mixture."""
    cells, ndim = density.grid.numel, density.grid.ndim
    centres = density.centres.expand(*BATCH, ndim, cells).mT
    assert density.bandwidth is not None
    width = density.bandwidth.reshape(*BATCH, -1, 1).expand(*BATCH, cells, ndim)
    kernels = Laplace(centres, width) if ndim > 1 else Laplace(centres[..., 0], width[..., 0])
    kernels = Independent(kernels, 1) if ndim > 1 else kernels
    return MixtureSameFamily(Categorical(logits=density.raw_logits.flatten(2)), kernels)


FORMS = [(1, "map"), (1, "cell"), (2, "map"), (2, "cell"), (3, "map"), (3, "cell")]


@pytest.mark.parametrize(("ndim", "form"), FORMS)
def test_log_prob_moments_and_gradients(ndim: int, form: str) -> None:
    density, points = make(ndim, form), points_of(GRIDS[ndim], 4, *BATCH)
    twin = twin_of(density)
    torch.testing.assert_close(density.log_prob(points), twin.log_prob(points))
    torch.testing.assert_close(density.mean, twin.mean)
    torch.testing.assert_close(density.variance, twin.variance)
    logits = density.raw_logits.clone().requires_grad_()
    slopes = []
    for change in (lambda d: d, twin_of):
        again = KernelDensity(
            logits,
            density.grid,
            kernel=density.kernel,
            bandwidth=density.bandwidth,
            offsets=density.offsets,
        )
        slopes.append(torch.autograd.grad(change(again).log_prob(points).sum(), logits)[0])
    torch.testing.assert_close(*slopes)


@pytest.mark.parametrize(("ndim", "form"), FORMS)
def test_what_nodes_answer_is_what_samples_say(ndim: int, form: str) -> None:
    density = make(ndim, form)
    generator = torch.Generator().manual_seed(3)
    samples = density.sample((20_000,), generator=generator)
    error = (samples.mean(0) - density.mean) / (density.variance / 20_000).sqrt()
    assert error.abs().max() < 4.5
    values = density.log_prob(samples)
    noise = values.std(0) / math.sqrt(20_000)
    assert ((density.entropy() + values.mean(0)).abs() < 4.5 * noise + 0.02).all()
    for row in range(5):
        denser = (values > values[row]).double().mean(0)
        assert ((density.hdr_level(samples[row]) - denser).abs() < 0.035).all()
        apart = samples - samples[row]
        apart = apart.abs() if ndim == 1 else apart.norm(dim=-1)
        for radius in (0.5, 4.0):
            inside = (apart <= radius).double().mean(0)
            assert ((density.mass_within(samples[row], radius) - inside).abs() < 0.035).all()
        halves = samples[:10_000] - samples[10_000:]
        halves = halves.abs() if ndim == 1 else halves.norm(dim=-1)
        score = apart.mean(0) - 0.5 * halves.mean(0)
        spread = density.covariance_matrix.diagonal(dim1=-2, dim2=-1).sum(-1).sqrt()
        assert ((density.energy_score(samples[row]) - score).abs() / spread < 0.04).all()
    area = density.hdr_area(torch.tensor([0.5, 0.9]).reshape(2, 1, 1))
    assert (area[0] < area[1]).all()
    assert density.hdr_tie(samples[0]).tolist() == torch.zeros(BATCH).tolist()


@pytest.mark.parametrize(("ndim", "form"), FORMS)
def test_no_point_is_denser_than_the_mode(ndim: int, form: str) -> None:
    density = make(ndim, form)
    best = density.log_prob(density.mode)
    tried = torch.cat([density.nodes(4096).points, density.sample((2000,))])
    assert (density.log_prob(tried) <= best + 1e-3).all()
    centres = density.centres.expand(*BATCH, ndim, -1).movedim(-1, 0)
    centres = centres.squeeze(-1) if ndim == 1 else centres
    assert (density.log_prob(centres) <= best + 1e-3).all()
    points, masses = density.modes(3)
    torch.testing.assert_close(masses.sum(-1) <= 1 + 1e-9, torch.ones(BATCH, dtype=torch.bool))
    assert points.shape == (*BATCH, 3, *density.event_shape)


@pytest.mark.parametrize("form", ["map", "cell"])
def test_on_a_line(form: str) -> None:
    density = make(1, form)
    values = uniform(5, *BATCH, low=-4.0, high=1.0, seed=8)
    assert density.bandwidth is not None
    width = density.bandwidth if density.per_cell else density.bandwidth.unsqueeze(-1)
    kernels = stats.laplace(density.centres.squeeze(-2).numpy(), width.numpy())
    probs = density.probs.numpy()
    below = (probs * kernels.cdf(values.unsqueeze(-1).numpy())).sum(-1)
    np.testing.assert_allclose(density.cdf(values).numpy(), below, atol=1e-12)
    above = (probs * kernels.cdf(values.unsqueeze(-1).numpy() + 0.7)).sum(-1)
    found = density.log_mass(values, values + 0.7)
    np.testing.assert_allclose(found.numpy(), np.log(above - below), atol=1e-9)
    torch.testing.assert_close(density.icdf(torch.from_numpy(below)), values)
    for i, j in itertools.product(range(2), range(3)):
        edges = -3.25 + 0.5 * np.arange(8)
        one = stats.laplace(density.centres.expand(*BATCH, 1, 7)[i, j, 0].numpy(),
                            width.expand(*BATCH, 7)[i, j].numpy())  # fmt: skip
        expected = np.diff((one.cdf(edges[:, None]) * probs[i, j]).sum(1))
        np.testing.assert_allclose(density.cell_masses()[i, j].numpy(), expected, atol=1e-12)


def test_it_can_be_mapped_mixed_pooled_smoothed_and_cut_down() -> None:
    density = make(2)
    other = KernelDensity(uniform(*BATCH, 5, 7), GRIDS[2], bandwidth=density.bandwidth)
    points = points_of(GRIDS[2], 4, *BATCH)
    mixed = mixture([density, other])
    expected = (0.5 * density.log_prob(points).exp() + 0.5 * other.log_prob(points).exp()).log()
    torch.testing.assert_close(mixed.log_prob(points), expected)
    alike = mixture([density, density])
    assert isinstance(alike, KernelDensity)
    assert alike.kernel == LaplaceKernel()
    pooled = log_pool([density, other])
    assert isinstance(pooled, LogPool)
    assert pooled.entropy().isfinite().all()
    assert (mixed.log_prob(mixed.mode) >= mixed.log_prob(points).amax(0) - 1e-3).all()
    smooth = density.smoothed(1.5)
    assert smooth.kernel == Gaussian()
    torch.testing.assert_close(smooth.variance, density.variance + 2.25)
    marginal = density.marginal(1)
    torch.testing.assert_close(marginal.variance, density.variance[..., 1])
    torch.testing.assert_close(
        density[1, :2].log_prob(points[:, 1, :2]), density.log_prob(points)[:, 1, :2]
    )
    mask = density.hdr_mask(0.8)
    cells = density.cell_masses()
    held = (cells * mask).sum((2, 3)) / cells.sum((2, 3))
    assert (held >= 0.8 - 1e-9).all()
    assert "laplace" in repr(density)


def test_kernels_are_equal_by_kind() -> None:
    assert KernelDensity(torch.zeros(5, 7), GRIDS[2], bandwidth=1.0).kernel == Gaussian()
    assert KernelDensity(torch.zeros(5, 7), GRIDS[2], kernel=Uniform()).kernel == Uniform()
    assert Gaussian() != Uniform()
    assert LaplaceKernel().entropy == pytest.approx(1 + math.log(2.0), abs=1e-3)
    with pytest.raises(ValueError, match="bandwidth must be given for Laplace kernels"):
        KernelDensity(torch.zeros(5, 7), GRIDS[2], kernel=LaplaceKernel())
