"""The mass within a distance, against noncentral χ², polar quadrature and samples."""

import math

import pytest
import torch
from scipy.stats import ncx2
from torch import Tensor

from densities import BANDWIDTHS, BATCH, GRIDS, density_of, in_single, points_of, uniform
from kdn.density import GaussianDensity, KernelDensity, MappedDensity
from kdn.grid import Affine, Grid


def stretched() -> Affine:
    """Return maps that are no similarities, one of them mirroring, one for each of two samples."""
    linear = torch.tensor([[[2.0, 0.6], [-0.5, 0.7]], [[-0.4, 1.3], [0.9, 0.2]]]).double()
    return Affine(linear, torch.tensor([[10.0, -3.0], [1.0, 6.0]]).double())


def gaussian() -> GaussianDensity:
    """Return correlated Gaussians of batch `(2, 3)`."""
    scale = torch.tensor([[1.5, 0.0], [-2.0, 0.8]]).double()
    return GaussianDensity(uniform(*BATCH, 2, low=-4.0, high=9.0), scale.expand(*BATCH, 2, 2))


def naive(density: KernelDensity, centres: Tensor, radius: float) -> Tensor:
    """Return `Σ p P(χ² ≤ r²/h²)` by SciPy, over all kernels of each map."""
    ndim = density.grid.ndim
    kernels = density.centres.expand(*BATCH, ndim, -1).mT.double()
    distance = (kernels - centres.reshape(*BATCH, 1, ndim)).square().sum(-1)
    assert density.bandwidth is not None
    width = density.bandwidth.double()
    width = width.flatten(2) if density.per_cell else width.unsqueeze(-1)
    variance = width.square().expand_as(distance)
    share = ncx2.cdf((radius**2 / variance).numpy(), ndim, (distance / variance).numpy())
    return (torch.from_numpy(share) * density.probs.double().flatten(2)).sum(-1)


def polar(log_prob, centres: Tensor, radius: float, steps: int = 400) -> Tensor:
    """Return the integral of a density over discs, by the midpoint rule in radius and angle."""
    middle = (torch.arange(steps).double() + 0.5) / steps
    r, angle = torch.meshgrid(radius * middle, 2 * math.pi * middle, indexing="ij")
    points = torch.stack([r * angle.cos(), r * angle.sin()], -1).reshape(-1, 1, 1, 2) + centres
    weight = r.reshape(-1, 1, 1) * (radius / steps) * (2 * math.pi / steps)
    return (log_prob(points).exp() * weight).sum(0)


@pytest.mark.parametrize("ndim", [1, 2, 3])
@pytest.mark.parametrize("form", BANDWIDTHS)
@pytest.mark.parametrize("offsets", [False, True])
def test_gaussian_kernels_are_noncentral_chi_squared(ndim: int, form: str, offsets: bool) -> None:
    density = density_of(form, ndim, offsets=offsets)
    centres = points_of(density.grid, *BATCH)
    size = density.grid.spacing[0]
    error = {1: 2e-6, 2: 0.015, 3: 0.03}[ndim]  # on a line it is exact, else from nodes
    for radius in (0.05 * size, 0.9 * size, 2.7 * size, 8.0 * size):
        found = density.mass_within(centres, radius)
        expected = naive(density, centres, radius)
        torch.testing.assert_close(found, expected, rtol=0, atol=error)
        single = in_single(density).mass_within(centres.float(), radius)
        assert single.dtype == torch.float32
        torch.testing.assert_close(single.double(), expected, rtol=0, atol=error + 3e-6)


def test_uniform_kernels_by_fine_subdivision() -> None:
    density = KernelDensity(uniform(*BATCH, 5, 7, low=-3.0, high=3.0), GRIDS[2], kernel="uniform")
    centres, mapped = points_of(GRIDS[2], *BATCH), density.mapped(stretched())
    fine = GRIDS[2].refine(60).points(dtype=torch.float64).reshape(-1, 1, 1, 2)
    mass = density.log_prob(fine).exp() * GRIDS[2].cell_volume / 3600
    for radius in (0.8, 4.0, 11.0):
        for where, there in ((density, fine), (mapped, mapped.forward(fine))):
            asked = centres if where is density else mapped.forward(centres)
            inside = torch.linalg.vector_norm(there - asked, dim=-1) <= radius
            expected = (mass * inside).sum(0)
            found = where.mass_within(asked, radius)
            torch.testing.assert_close(found, expected, rtol=0, atol=0.015)


def test_uniform_kernels_on_a_line() -> None:
    logits = torch.tensor([[0.1, 0.2, 0.3, 0.4], [0.4, 0.3, 0.1, 0.2]]).double().log()
    density = KernelDensity(logits, Grid((4,), (10.0,), (2.0,)), kernel="uniform")
    found = density.mass_within(torch.tensor([12.5, 16.0]).double(), 1.0)
    # 11.5 to 13.5 is ¾ of the second and ¼ of the third… cells of 11 to 13 and 13 to 15.
    expected = torch.tensor([0.75 * 0.2 + 0.25 * 0.3, 0.2]).double()
    torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("form", ["map", "cell"])
def test_maps_that_stretch_by_quadrature_and_by_samples(form: str) -> None:
    image = density_of(form, 2, offsets=form == "cell").mapped(stretched())
    generator = torch.Generator().manual_seed(5)
    samples = image.sample((20_000,), generator=generator)
    centres = image.mean + torch.tensor([2.0, -1.0]).double()
    for radius in (1.5, 6.0, 14.0):
        found = image.mass_within(centres, radius)
        expected = polar(image.log_prob, centres, radius)
        torch.testing.assert_close(found, expected, rtol=0, atol=0.015)
        inside = (torch.linalg.vector_norm(samples - centres, dim=-1) <= radius).double().mean(0)
        # Five binomial standard deviations of 20 000 samples.
        assert ((inside - found).abs() < 5 * (found * (1 - found) / 20_000).sqrt() + 0.015).all()


def test_a_similarity_is_the_inner_mass() -> None:
    density, angle = density_of("map", 2), 0.7
    turn = 3.0 * torch.tensor(
        [[math.cos(angle), math.sin(angle)], [-math.sin(angle), math.cos(angle)]]
    )
    image = MappedDensity(density, Affine(turn.double(), torch.tensor([5.0, -40.0]).double()))
    centres = points_of(GRIDS[2], *BATCH)
    found = image.mass_within(image.forward(centres), 6.0)
    torch.testing.assert_close(found, density.mass_within(centres, 2.0), rtol=0, atol=1e-3)


@pytest.mark.parametrize("mapped", [False, True])
def test_gaussians_by_quadrature(mapped: bool) -> None:
    inner = gaussian()
    density = inner.mapped(stretched()) if mapped else inner
    centres = density.mean + uniform(*BATCH, 2, low=-3.0, high=3.0, seed=4)
    for radius in (0.3, 2.0, 9.0):
        found = density.mass_within(centres, radius)
        expected = polar(density.log_prob, centres, radius, steps=900)
        torch.testing.assert_close(found, expected, rtol=0, atol=0.01)


def test_long_thin_gaussians_and_extreme_radii() -> None:
    thin = GaussianDensity(
        torch.zeros(2, 2).double(), torch.diag(torch.tensor([1e-4, 7.0])).double()
    )
    found = thin.mass_within(torch.zeros(2, 2).double(), torch.tensor([7.0, 14.0]).double())
    expected = torch.tensor([math.erf(1 / math.sqrt(2)), math.erf(2 / math.sqrt(2))]).double()
    torch.testing.assert_close(found, expected, rtol=0, atol=0.01)
    density = density_of("map", 2)
    for radius, mass in ((0.0, 0.0), (-1.0, 0.0), (1e6, 1.0), (math.inf, 1.0)):
        found = density.mass_within(density.mean, radius)
        torch.testing.assert_close(found, torch.full_like(found, mass), rtol=0, atol=2e-6)
    assert density.mass_within(density.mean, math.nan).isnan().all()
    centres = density.mean.clone()
    centres[1, 2, 0] = math.nan
    assert density.mass_within(centres, 3.0).isnan().nonzero().tolist() == [[1, 2]]


def test_radii_and_centres_broadcast() -> None:
    density = density_of("map", 2)
    centres = points_of(GRIDS[2], *BATCH)
    radii = torch.tensor([1.0, 3.0, 5.0, 9.0]).double()
    found = density.mass_within(centres, radii.reshape(4, 1, 1))
    assert found.shape == (4, *BATCH)
    assert (found.diff(dim=0) > 0).all()
    for row, radius in zip(found, radii.tolist(), strict=True):
        torch.testing.assert_close(row, density.mass_within(centres, radius))
    by_sample = density.mass_within(centres, torch.tensor([[2.0], [4.0]]).double())
    torch.testing.assert_close(by_sample[1], density.mass_within(centres, 4.0)[1])
    several = density.mass_within(points_of(GRIDS[2], 5, *BATCH), 2.0)
    assert several.shape == (5, *BATCH)
    one = density_of("number", 2)
    one = KernelDensity(one.raw_logits[:1], one.grid, bandwidth=2.0)
    assert one.mass_within(centres, 2.0).shape == BATCH
    torch.testing.assert_close(one.mass_within(centres, 2.0)[:1], one.mass_within(centres[:1], 2.0))


def test_what_does_not_fit_is_named() -> None:
    density = density_of("map", 2)
    with pytest.raises(ValueError, match="radius must be broadcastable"):
        density.mass_within(density.mean, torch.ones(5))
    with pytest.raises(ValueError, match="points must have shape"):
        density.mass_within(density.mean[..., :1], 1.0)
