"""A single Gaussian against torch's own and SciPy's."""

import math

import pytest
import torch
from scipy import stats
from torch.distributions import MultivariateNormal

from densities import uniform
from kdn.density import GaussianDensity
from unchecked import load


def gaussian(ndim: int = 2, dtype: torch.dtype = torch.float64) -> GaussianDensity:
    root = uniform(2, 3, ndim, ndim, low=-1.0, high=1.0)
    covariance = root @ root.mT + 0.1 * torch.eye(ndim)
    mean = uniform(2, 3, ndim, low=-5.0, high=5.0, seed=1)
    return GaussianDensity(mean.to(dtype), covariance=covariance.to(dtype))


@pytest.mark.parametrize("ndim", [1, 2, 3])
def test_equals_torchs(ndim: int) -> None:
    density = gaussian(ndim)
    expected = MultivariateNormal(density.mean, density.covariance_matrix)
    points = uniform(4, 2, 3, ndim, low=-6.0, high=6.0, seed=2)
    torch.testing.assert_close(density.log_prob(points), expected.log_prob(points))
    torch.testing.assert_close(density.entropy(), expected.entropy())
    torch.testing.assert_close(density.variance, expected.variance)
    torch.testing.assert_close(density.mode, density.mean)
    single = gaussian(ndim, torch.float32)
    torch.testing.assert_close(
        single.log_prob(points).double(), expected.log_prob(points), rtol=1e-4, atol=1e-4
    )
    assert torch.autograd.gradcheck(density.log_prob, points.requires_grad_())


def test_either_way_of_giving_the_spread() -> None:
    density = gaussian()
    other = GaussianDensity(density.mean, density.scale_tril)
    torch.testing.assert_close(other.covariance_matrix, density.covariance_matrix)
    root = density.scale_tril
    torch.testing.assert_close(density.covariance_matrix, root @ root.mT)


@pytest.mark.parametrize("ndim", [1, 2, 3])
def test_uncertainty_is_the_root_of_the_determinant(ndim: int) -> None:
    density = gaussian(ndim)
    determinant = density.covariance_matrix.det()
    torch.testing.assert_close(density.uncertainty, determinant.sqrt())
    torch.testing.assert_close(density.uncertainty_length, determinant ** (0.5 / ndim))


@pytest.mark.parametrize("ndim", [1, 2, 3])
def test_hdr_level_is_the_chi_square_distribution(ndim: int) -> None:
    density = gaussian(ndim)
    points = uniform(4, 2, 3, ndim, low=-6.0, high=6.0, seed=2)
    centred = (points - density.mean).unsqueeze(-1)
    squares = (centred.mT @ density.covariance_matrix.inverse() @ centred)[..., 0, 0]
    expected = torch.from_numpy(stats.chi2(ndim).cdf(squares.numpy()))
    torch.testing.assert_close(density.hdr_level(points), expected)
    inside = density.sample((5000,), generator=torch.Generator().manual_seed(0))
    share = (density.hdr_level(inside) <= 0.9).double().mean(0)
    assert (share - 0.9).abs().max() < 0.02


def test_hdr_level_by_hand() -> None:
    """Two standard deviations off in the plane: 1 − exp(−2)."""
    density = GaussianDensity(torch.zeros(2), torch.diag(torch.tensor([1.0, 3.0])))
    level = density.hdr_level(torch.tensor([0.0, 6.0])).item()
    assert level == pytest.approx(1 - math.exp(-2))


def test_samples_have_the_moments() -> None:
    density = gaussian()
    samples = density.sample((50, 400), generator=torch.Generator().manual_seed(0))
    assert samples.shape == (50, 400, 2, 3, 2)
    points = samples.flatten(0, 1)
    error = (points.mean(0) - density.mean) / (density.variance / 20_000).sqrt()
    assert error.abs().max() < 4.5
    centred = points - density.mean
    found = torch.einsum("nbli,nblj->blij", centred, centred) / 20_000
    assert (
        (found - density.covariance_matrix) / density.uncertainty[..., None, None]
    ).abs().max() < 0.1


def test_expand() -> None:
    density = gaussian()
    expanded = density.expand((4, 2, 3))
    points = uniform(4, 2, 3, 2)
    assert expanded.batch_shape == (4, 2, 3)
    torch.testing.assert_close(expanded.log_prob(points), density.log_prob(points))
    torch.testing.assert_close(expanded.uncertainty, density.uncertainty.expand(4, 2, 3))


def test_half_precision_and_autocast() -> None:
    density = gaussian(dtype=torch.float32)
    points = uniform(4, 2, 3, 2).float()
    names = ("covariance_matrix", "uncertainty")
    plain = [density.log_prob(points), density.hdr_level(points)]
    plain += [getattr(density, name) for name in names]
    with torch.autocast("cpu", torch.bfloat16):
        cast = [density.log_prob(points), density.hdr_level(points)]
        cast += [getattr(density, name) for name in names]
    for one, other in zip(cast, plain, strict=True):
        assert torch.equal(one, other)
    half = GaussianDensity(torch.zeros(3, 2).half(), torch.eye(2).half().expand(3, 2, 2))
    assert half.log_prob(torch.zeros(3, 2).half()).dtype == torch.float32


def test_errors_name_the_argument() -> None:
    own = load("kdn.density.gaussian").GaussianDensity
    eye = torch.eye(2)
    for spread in ({}, {"scale_tril": eye, "covariance": eye}):
        with pytest.raises(ValueError, match="exactly one of scale_tril and covariance"):
            own(torch.zeros(3, 2), **spread)
    with pytest.raises(ValueError, match=r"scale_tril .* got \(3, 2\) and \(3, 3\)"):
        own(torch.zeros(3, 2), torch.eye(3))
    with pytest.raises(ValueError, match=r"covariance .* got \(3, 3\) and \(2, 2\)"):
        own(torch.zeros(3, 3), covariance=eye)
    for call in (gaussian().log_prob, gaussian().hdr_level):
        with pytest.raises(ValueError, match=r"points must have shape .* got \(2, 3, 3\)"):
            call(torch.zeros(2, 3, 3))
