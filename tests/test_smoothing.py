"""Smoothed densities: moments, a sum of independent draws, and modes that become one."""

import math

import pytest
import torch

from densities import BANDWIDTHS, density_of, mixture_of, points_of
from kdn.density import KernelDensity
from kdn.grid import Grid


@pytest.mark.parametrize("form", BANDWIDTHS)
@pytest.mark.parametrize("ndim", [1, 2, 3])
def test_mean_stays_and_covariance_grows(form: str, ndim: int) -> None:
    density = density_of(form, ndim, offsets=form == "cell")
    smooth = density.smoothed(0.8)
    torch.testing.assert_close(smooth.mean, density.mean)
    grown = density.covariance_matrix + 0.64 * torch.eye(ndim, dtype=torch.float64)
    torch.testing.assert_close(smooth.covariance_matrix, grown)


@pytest.mark.parametrize("form", ["landmark", "cell"])
def test_density_is_the_mean_over_moved_points(form: str) -> None:
    """`(p * N)(y) = E[p(y − s Z)]`, by a product of midpoint rules for `Z`."""
    density, points = density_of(form, 2), points_of(density_of(form, 2).grid, 2, 3)
    z = torch.linspace(-6, 6, 121, dtype=torch.float64)
    weight = torch.exp(-0.5 * z * z) / math.sqrt(2 * math.pi) * 0.1
    moves = 1.5 * torch.stack(torch.meshgrid(z, z, indexing="xy"), -1)
    weights = weight[:, None] * weight
    values = mixture_of(density).log_prob(points - moves[:, :, None, None]).exp()
    wanted = (values * weights[..., None, None]).sum((0, 1))
    torch.testing.assert_close(
        density.smoothed(1.5).log_prob(points).exp(), wanted, rtol=1e-7, atol=0
    )


def test_uniform_kernels_have_the_right_moments_and_nearly_the_right_density() -> None:
    logits = torch.randn(2, 5, 7, generator=torch.Generator().manual_seed(0)).double()
    density = KernelDensity(logits, Grid((5, 7), (1.0, 2.0), (4.0, 4.0)), kernel="uniform")
    smooth = density.smoothed(2.0)
    torch.testing.assert_close(smooth.mean, density.mean)
    grown = density.covariance_matrix + 4.0 * torch.eye(2, dtype=torch.float64)
    torch.testing.assert_close(smooth.covariance_matrix, grown)
    points = points_of(density.grid, 40, 2)
    low, high = (density.centres[..., None] + d for d in (-2.0, 2.0))  # (xy, cells, 1)
    normal = torch.distributions.Normal(0.0, 2.0)
    axes = points.movedim(-1, 0).reshape(2, 1, -1)
    shares = (normal.cdf(axes - low) - normal.cdf(axes - high)).prod(0) / 16
    true = (density.probs.flatten(1)[:, :, None] * shares.reshape(1, 35, 40, 2)
            .movedim(-1, 0).reshape(2, 35, 40)).sum(1)  # fmt: skip
    off = (smooth.log_prob(points).exp().T - true).abs().max()
    assert off < 0.01 * true.max()


def test_near_modes_become_one() -> None:
    logits = torch.full((3, 9), -math.inf)
    logits[1, 2] = logits[1, 5] = 0.0
    density = KernelDensity(logits, Grid((3, 9), (0.0, 0.0), (1.0, 1.0)), bandwidth=0.3)
    assert int((density.modes(4)[1] > 0).sum()) == 2
    assert int((density.smoothed(1.2).modes(4)[1] > 0).sum()) == 2
    assert int((density.smoothed(1.6).modes(4)[1] > 0).sum()) == 1


def test_nothing_is_smoothed_by_nothing() -> None:
    density = density_of("map", 2)
    points = points_of(density.grid, 5, 2, 3)
    torch.testing.assert_close(density.smoothed(0.0).log_prob(points), density.log_prob(points))
    for wrong in (-1.0, math.nan):
        with pytest.raises(ValueError, match=f"extra must be 0 or more and finite, got {wrong}"):
            density.smoothed(wrong)
    uniform = KernelDensity(torch.zeros(2, 5, 7), Grid((5, 7), (0, 0), (4, 3)), kernel="uniform")
    with pytest.raises(ValueError, match=r"as long on all axes, got \(4"):
        uniform.smoothed(1.0)
