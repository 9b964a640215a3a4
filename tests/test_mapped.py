"""Densities seen in another frame, through maps that turn, stretch and mirror."""

import math

import pytest
import torch
from torch import Tensor
from torch.distributions import MultivariateNormal

from densities import BATCH, density_of, uniform
from kdn.density import GaussianDensity, KernelDensity, MappedDensity, Uniform
from kdn.grid import Affine, Grid
from unchecked import load


def gaussian() -> GaussianDensity:
    root = torch.tensor([[3.0, 0.0], [2.0, 1.5]]).double()
    return GaussianDensity(uniform(*BATCH, 2, high=20.0), root.expand(*BATCH, 2, 2))


def turned() -> Affine:
    """Return two maps, one for each sample: turned, stretched along one axis, one mirrored."""
    angles = torch.tensor([0.5, -2.0]).double()
    cos, sin = angles.cos(), angles.sin()
    rotation = torch.stack([cos, -sin, sin, cos], -1).reshape(2, 2, 2)
    stretch = torch.tensor([[2.0, 0.7], [-1.2, 0.5]]).double()
    return Affine(
        rotation * stretch.unsqueeze(-2), torch.tensor([[10.0, -5.0], [3.0, 40.0]]).double()
    )


def moved(points: Tensor, affine: Affine) -> Tensor:
    """Return points `(…, 2 samples, 3 landmarks, 2)` moved by the map of their sample."""
    moved = torch.empty_like(points)
    for sample in range(2):
        x, y = points[..., sample, :, 0], points[..., sample, :, 1]
        (a, b), (c, d) = affine.linear[sample].tolist()
        e, f = affine.offset[sample].tolist()
        moved[..., sample, :, 0] = a * x + b * y + e
        moved[..., sample, :, 1] = c * x + d * y + f
    return moved


@pytest.fixture(params=["gaussian", "fixed", "per cell", "uniform"])
def density(request: pytest.FixtureRequest) -> KernelDensity | GaussianDensity:
    if request.param == "gaussian":
        return gaussian()
    if request.param == "uniform":
        logits = uniform(*BATCH, 5, 7, low=-3.0, high=3.0)
        return KernelDensity(logits, Grid((5, 7), (1.5, -2.0), (4.0, 3.0)), kernel="uniform")
    form = "map" if request.param == "fixed" else "cell"
    return density_of(form, 2, offsets=form == "cell")


def test_the_density_integrates_to_one(density: KernelDensity | GaussianDensity) -> None:
    """Over a lattice in the new frame that covers the density generously."""
    image = density.mapped(turned())
    constant = isinstance(density, KernelDensity) and density.kernel == Uniform()
    reach = (5 if constant else 9) * image.variance.amax().sqrt().item()
    steps = (2 * torch.arange(600).double() + 1) / 600 - 1
    lattice = torch.cartesian_prod(steps, steps) * reach
    centre = image.mean
    total = torch.zeros(BATCH).double()
    for part in lattice.split(60_000):
        total += image.log_prob(part[:, None, None] + centre).exp().sum(0)
    total *= (2 * reach / 600) ** 2
    # The sum over a piecewise constant density errs at the edges of its cells.
    tolerance = 0.02 if constant else 1e-6
    torch.testing.assert_close(total, torch.ones(BATCH).double(), rtol=0, atol=tolerance)


def test_samples_have_the_moments(density: KernelDensity | GaussianDensity) -> None:
    affine = turned()
    image = density.mapped(affine)
    inner = density.sample((20_000,), generator=torch.Generator().manual_seed(2))
    points = moved(inner, affine)
    same = image.sample((20_000,), generator=torch.Generator().manual_seed(2))
    torch.testing.assert_close(same, points)
    error = (points.mean(0) - image.mean) / (image.variance / 20_000).sqrt()
    assert error.abs().max() < 4.5
    centred = points - image.mean
    found = torch.einsum("nbli,nblj->blij", centred, centred) / 20_000
    size = image.variance.amax(-1)[..., None, None]
    assert ((found - image.covariance_matrix) / size).abs().max() < 0.06
    torch.testing.assert_close(image.variance, image.covariance_matrix.diagonal(dim1=-2, dim2=-1))
    determinant = image.covariance_matrix.det()
    torch.testing.assert_close(image.uncertainty, determinant.sqrt())
    torch.testing.assert_close(image.uncertainty_length, determinant**0.25)


def test_what_an_affine_map_leaves(density: KernelDensity | GaussianDensity) -> None:
    affine = turned()
    image = density.mapped(affine)
    points = uniform(4, *BATCH, 2, high=20.0)
    there = moved(points, affine)
    torch.testing.assert_close(image.hdr_level(there), density.hdr_level(points))
    torch.testing.assert_close(image.mode, moved(density.mode, affine))
    grown = torch.tensor([math.log(2.0 * 0.7), math.log(1.2 * 0.5)]).double()[:, None]
    torch.testing.assert_close(image.entropy(), density.entropy() + grown)
    torch.testing.assert_close(image.log_prob(there), density.log_prob(points) - grown)


def test_a_gaussian_stays_one() -> None:
    affine, inner = turned(), gaussian()
    image = inner.mapped(affine)
    linear = affine.linear[:, None]
    covariance = linear @ inner.covariance_matrix @ linear.mT
    expected = MultivariateNormal(moved(inner.mean, affine), covariance)
    points = uniform(4, *BATCH, 2, low=-50, high=50)
    torch.testing.assert_close(image.log_prob(points), expected.log_prob(points))
    torch.testing.assert_close(image.covariance_matrix, covariance)
    torch.testing.assert_close(image.entropy(), expected.entropy())


def test_one_map_and_one_for_each_density() -> None:
    inner, affine = gaussian(), turned()
    one = Affine(affine.linear[1], affine.offset[1])
    torch.testing.assert_close(inner.mapped(one).mean[1], inner.mapped(affine).mean[1])
    each = Affine(affine.linear[:, None].expand(2, 3, 2, 2), affine.offset[:, None].expand(2, 3, 2))
    torch.testing.assert_close(inner.mapped(each).mean, inner.mapped(affine).mean)


def test_single_precision_and_autocast() -> None:
    """A map in float64, as crops are, does not change the density's dtype, nor its digits."""
    density = density_of("map", 2)
    single = KernelDensity(
        density.raw_logits.float(), density.grid, bandwidth=density.bandwidth
    ).mapped(turned())
    points = uniform(4, *BATCH, 2, low=-30, high=30).float()
    with torch.autocast("cpu", torch.bfloat16):
        found = [single.log_prob(points), single.mean, single.covariance_matrix]
    exact = density.mapped(turned())
    expected = [exact.log_prob(points.double()), exact.mean, exact.covariance_matrix]
    for one, other in zip(found, expected, strict=True):
        assert one.dtype == torch.float32
        torch.testing.assert_close(one.double(), other, rtol=1e-5, atol=1e-4)


def test_errors_name_the_argument() -> None:
    own = load("kdn.density.density").MappedDensity
    with pytest.raises(ValueError, match=r"density must be one of the plane, got .*\(3,\)"):
        own(density_of("map", 3), Affine.identity())
    affine = turned()
    wrong = Affine(
        affine.linear[:, None].expand(2, 4, 2, 2), affine.offset[:, None].expand(2, 4, 2)
    )
    with pytest.raises(ValueError, match=r"affine must have a batch .* \(2, 3\), got \(2, 4\)"):
        own(gaussian(), wrong)
    assert MappedDensity(gaussian(), affine).batch_shape == BATCH


def test_modes_go_where_the_points_go() -> None:
    density = density_of("sample", 2)
    there = MappedDensity(density, turned())
    assert repr(there) == f"MappedDensity({density!r})"
    points, masses = density.modes(2)
    found, same = there.modes(2)
    assert torch.equal(same.nan_to_num(), masses.nan_to_num())
    torch.testing.assert_close(
        found.movedim(-2, 0), moved(points.movedim(-2, 0), turned()), equal_nan=True
    )
    with pytest.raises(TypeError, match="several modes"):
        MappedDensity(gaussian(), turned()).modes(2)


def test_a_long_thin_density_keeps_its_uncertainty() -> None:
    """In float32 the determinant of its covariance in the new frame is lost, even its sign."""
    root = torch.tensor([[1e4, 0.0], [9e3, 1e-3]])
    thin = GaussianDensity(torch.zeros(2, 3, 2), root.expand(2, 3, 2, 2)).mapped(turned())
    areas = [10.0 * abs(torch.linalg.det(m).item()) for m in turned().linear]
    for sample, area in enumerate(areas):
        assert torch.allclose(thin.uncertainty[sample], torch.tensor(area), rtol=1e-5)
        assert torch.allclose(thin.uncertainty_length[sample], torch.tensor(area).sqrt(), rtol=1e-5)
