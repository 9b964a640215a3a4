"""Every question to a density on a volume, against slow and obvious sums over all of its cells.

The volume is no cube, its voxels are not either, and there is a batch of pictures and landmarks.
The twin knows nothing of the package: loops over `z, y, x`, NumPy and SciPy in float64.
"""

import itertools
import math
from typing import NamedTuple

import numpy as np
import pytest
import torch
from scipy import optimize, special, stats
from torch import Tensor

from densities import BATCH, GRIDS, density_of, points_of, uniform
from kdn.density import (
    GaussianDensity,
    KernelDensity,
    MixtureDensity,
    mixture,
)
from kdn.grid import Affine, Grid

GRID = GRIDS[3]  # (depth, height, width) = (4, 5, 3), voxels of 1 × 2 × ½
FORMS = ("number", "landmark", "map", "cell", "offsets")
MAPS = list(itertools.product(range(BATCH[0]), range(BATCH[1])))


def make(form: str) -> KernelDensity:
    """Return a density on the volume, batch (2, 3), float64."""
    if form == "uniform":
        return KernelDensity(
            uniform(*BATCH, *GRID.shape, low=-3.0, high=3.0, seed=1), GRID, kernel="uniform"
        )
    return density_of("cell" if form == "offsets" else form, 3, offsets=form == "offsets")


class Twin(NamedTuple):
    """The kernels of one map: probabilities `(n,)`, centres `(n, 3)`, bandwidths `(n,)`."""

    probs: np.ndarray
    centres: np.ndarray
    bandwidth: np.ndarray

    def log_prob(self, points: np.ndarray) -> np.ndarray:
        """Return the log-density at `(m, 3)` points."""
        squares = ((points[:, None] - self.centres) ** 2).sum(-1)
        terms = -squares / (2 * self.bandwidth**2) - 3 * np.log(
            math.sqrt(math.tau) * self.bandwidth
        )
        return np.asarray(special.logsumexp(terms + np.log(self.probs), axis=1))


def twin_of(density: KernelDensity, i: int, j: int) -> Twin:
    """Return the kernels of one map, read off its tensors cell by cell."""
    logits = density.raw_logits[i, j].numpy()
    weights = np.exp(logits - logits.max())
    width = density.bandwidth
    assert width is not None
    probs, centres, bandwidth = [], [], []
    for z, y, x in itertools.product(*map(range, GRID.shape)):
        place = [0.5 + 1.0 * x, 1.0 + 2.0 * y, -1.0 + 0.5 * z]
        if density.offsets is not None:
            place = [place[k] + density.offsets[i, j, k, z, y, x].item() for k in range(3)]
        probs.append(weights[z, y, x] / weights.sum())
        centres.append(place)
        bandwidth.append((width[i, j, z, y, x] if density.per_cell else width[i, j]).item())
    return Twin(np.array(probs), np.array(centres), np.array(bandwidth))


class Dense(NamedTuple):
    """A map on a fine lattice beyond its tails: points, log-densities, and a step's volume."""

    points: np.ndarray
    values: np.ndarray
    volume: float

    @property
    def masses(self) -> np.ndarray:
        """What each step holds."""
        return np.exp(self.values) * self.volume


def dense_of(twin: Twin, step: float = 0.3) -> Dense:
    """Return a map on a lattice, axis after axis multiplied out."""
    reach = 4.5 * twin.bandwidth.max()
    axes = [
        np.arange(twin.centres[:, k].min() - reach, twin.centres[:, k].max() + reach, step)
        for k in range(3)
    ]
    along = [stats.norm.pdf(a[:, None], twin.centres[:, k], twin.bandwidth)
             for k, a in enumerate(axes)]  # fmt: skip
    value = np.einsum("xk,yk,zk,k->xyz", *along, twin.probs, optimize=True)
    points = np.stack(np.meshgrid(*axes, indexing="ij"), -1).reshape(-1, 3)
    return Dense(points, np.log(np.maximum(value.ravel(), 1e-300)), step**3)


@pytest.mark.parametrize("form", FORMS)
def test_log_prob_is_the_sum_over_all_voxels(form: str) -> None:
    density, points = make(form), points_of(GRID, 4, *BATCH)
    found = density.log_prob(points)
    for i, j in MAPS:
        expected = twin_of(density, i, j).log_prob(points[:, i, j].numpy())
        np.testing.assert_allclose(found[:, i, j].numpy(), expected, rtol=1e-11, atol=1e-11)


@pytest.mark.parametrize("form", FORMS)
def test_gradients_are_those_of_the_written_out_sum(form: str) -> None:
    density = make(form)
    assert density.bandwidth is not None
    leaves = [density.raw_logits, points_of(GRID, *BATCH), density.bandwidth.contiguous()]
    leaves += [] if density.offsets is None else [density.offsets]
    leaves = [leaf.clone().requires_grad_() for leaf in leaves]
    weights = uniform(*BATCH, low=0.5, high=2.0, seed=9)

    def written_out(logits: Tensor, points: Tensor, width: Tensor, *moved: Tensor) -> Tensor:
        z, y, x = torch.meshgrid(*(torch.arange(n).double() for n in GRID.shape), indexing="ij")
        centres = torch.stack([0.5 + x, 1.0 + 2.0 * y, -1.0 + 0.5 * z]).expand(*BATCH, 3, 4, 5, 3)
        centres = centres + moved[0] if moved else centres
        squares = (centres - points[..., None, None, None]).square().sum(2)
        width = width if width.dim() == 5 else width[..., None, None, None]
        terms = logits - squares / (2 * width.square()) - 3 * width.log()
        return terms.flatten(2).logsumexp(2) - logits.flatten(2).logsumexp(2)

    def own(logits: Tensor, points: Tensor, width: Tensor, *moved: Tensor) -> Tensor:
        offsets = moved[0] if moved else None
        return KernelDensity(logits, GRID, bandwidth=width, offsets=offsets).log_prob(points)

    found, expected = (
        torch.autograd.grad((f(*leaves) * weights).sum(), leaves) for f in (own, written_out)
    )
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("form", [*FORMS, "uniform"])
def test_moments_are_sums_over_all_voxels(form: str) -> None:
    density = make(form)
    for i, j in MAPS:
        if form == "uniform":
            flat = density.probs[i, j].numpy().ravel()
            cells = list(itertools.product(*map(range, GRID.shape)))
            centres = np.array([[0.5 + x, 1.0 + 2.0 * y, -1.0 + 0.5 * z] for z, y, x in cells])
            kernel = np.diag([1.0, 4.0, 0.25]) / 12
        else:
            flat, centres, width = twin_of(density, i, j)
            kernel = np.eye(3) * (flat * width**2).sum()
        mean = (flat[:, None] * centres).sum(0)
        spread = np.einsum("n,na,nb->ab", flat, centres - mean, centres - mean)
        np.testing.assert_allclose(density.mean[i, j].numpy(), mean, rtol=1e-11)
        np.testing.assert_allclose(
            density.covariance_matrix[i, j].numpy(), spread + kernel, rtol=1e-10, atol=1e-12
        )
        volume = np.linalg.det(spread + kernel) ** 0.5  # in the unit cubed
        assert density.uncertainty[i, j].item() == pytest.approx(volume)
        assert density.uncertainty_length[i, j].item() == pytest.approx(volume ** (1 / 3))


@pytest.mark.parametrize("form", FORMS)
def test_modes_are_where_an_optimiser_ends_from_the_heaviest_voxels(form: str) -> None:
    density = make(form)
    modes, masses = density.modes(2)
    compared = 0
    for i, j in MAPS:
        twin = twin_of(density, i, j)
        ends = []
        for start in twin.centres[np.argsort(-twin.probs)[:15]]:
            end = optimize.minimize(lambda p, t=twin: -t.log_prob(p[None])[0], start, tol=1e-10)
            if all(np.linalg.norm(end.x - other) > 1e-2 for _, other in ends):
                ends.append((-end.fun, end.x))
        ends.sort(key=lambda pair: -pair[0])
        np.testing.assert_allclose(density.mode[i, j].numpy(), ends[0][1], atol=2e-3)
        np.testing.assert_allclose(modes[i, j, 0].numpy(), ends[0][1], atol=2e-3)
        assert 0 < masses[i, j].nansum() <= 1 + 1e-9
        if len(ends) > 1 and masses[i, j, 1] > 0.02:
            np.testing.assert_allclose(modes[i, j, 1].numpy(), ends[1][1], atol=2e-3)
            compared += 1
    assert compared > 0


def test_modes_and_levels_of_uniform_kernels_are_those_of_voxels() -> None:
    density = make("uniform")
    points, masses = density.modes(3)
    levels = density.hdr_level(GRID.points(dtype=torch.float64).reshape(-1, 1, 1, 3))
    for i, j in MAPS:
        probs = density.probs[i, j].numpy()
        z, y, x = np.unravel_index(probs.argmax(), probs.shape)
        expected = [0.5 + x, 1.0 + 2.0 * y, -1.0 + 0.5 * z]
        assert density.mode[i, j].tolist() == points[i, j, 0].tolist() == expected
        higher = [probs[probs > p].sum() for p in probs.ravel()]
        np.testing.assert_allclose(levels[:, i, j].numpy(), higher, atol=1e-12)
        assert density.entropy()[i, j].item() == pytest.approx(stats.entropy(probs.ravel()))
        ordered = np.sort(probs.ravel())[::-1]
        whole = ordered[:7].sum()  # seven voxels of volume 1 hold so much
        assert density.hdr_area(whole)[i, j].item() == pytest.approx(7.0)
    assert bool((masses > 0).all())


@pytest.mark.parametrize("form", FORMS)
def test_entropy_levels_and_volumes_agree_with_a_dense_lattice(form: str) -> None:
    density = make(form)
    points = density.sample((12,), generator=torch.Generator().manual_seed(2))
    levels, entropy = density.hdr_level(points), density.entropy()
    shares = torch.tensor([0.5, 0.8, 0.95])
    volumes = density.hdr_area(shares.reshape(3, 1, 1))
    errors = []
    for i, j in MAPS:
        twin = twin_of(density, i, j)
        dense = dense_of(twin)
        assert dense.masses.sum() == pytest.approx(1.0, abs=2e-3)
        expected = -(dense.masses * dense.values).sum()
        assert entropy[i, j].item() == pytest.approx(expected, abs=0.02)
        own = twin.log_prob(points[:, i, j].numpy())
        held = np.array([dense.masses[dense.values > value].sum() for value in own])
        errors.append(np.abs(levels[:, i, j].numpy() - held))
        held = np.sort(dense.masses)[::-1].cumsum()
        for share, volume in zip(shares.tolist(), volumes[:, i, j].tolist(), strict=True):
            wanted = dense.volume * (1 + np.searchsorted(held, share))
            assert volume == pytest.approx(wanted, rel=0.06)
    assert np.max(errors) < 0.02
    assert np.mean(errors) < 0.005


@pytest.mark.parametrize("form", FORMS)
def test_masses_of_voxels_are_differences_of_the_normal_distribution(form: str) -> None:
    density = make(form)
    found, fine, mask = density.cell_masses(), density.cell_masses(2), density.hdr_mask(0.9)
    assert tuple(fine.shape) == (*BATCH, 8, 10, 6)
    for i, j in MAPS:
        twin = twin_of(density, i, j)
        along = []
        for k, (origin, spacing) in enumerate(zip(GRID.origin, GRID.spacing, strict=True)):
            edges = origin + spacing * (np.arange(GRID.shape[2 - k] + 1) - 0.5)
            below = stats.norm.cdf(edges[:, None], twin.centres[:, k], twin.bandwidth)
            along.append(np.diff(below, axis=0))
        expected = np.einsum("xk,yk,zk,k->zyx", *along, twin.probs)
        np.testing.assert_allclose(found[i, j].numpy(), expected, atol=1e-11)
        eighths = fine[i, j].numpy().reshape(4, 2, 5, 2, 3, 2).sum((1, 3, 5))
        np.testing.assert_allclose(eighths, expected, atol=1e-11)
        order = np.argsort(-expected, axis=None, kind="stable")
        count = 1 + np.searchsorted(expected.ravel()[order].cumsum(), 0.9 * expected.sum())
        chosen = np.zeros(expected.size, dtype=bool)
        chosen[order[:count]] = True
        np.testing.assert_array_equal(mask[i, j].numpy().ravel(), chosen)


def test_masses_of_kernels_that_differ_are_the_same_in_turns(monkeypatch) -> None:
    """As on a large volume, where not all kernels and voxels fit in memory."""
    density = make("offsets")
    whole = density.cell_masses()
    monkeypatch.setattr("kdn.density.masses.BLOCK", 700)
    torch.testing.assert_close(density.cell_masses(), whole, rtol=0, atol=1e-12)


@pytest.mark.parametrize("form", FORMS)
def test_the_energy_score_is_a_mean_distance_less_half_another(form: str) -> None:
    density, points = make(form), points_of(GRID, *BATCH)
    found, draw = density.energy_score(points), np.random.default_rng(4)
    for i, j in MAPS:
        twin = twin_of(density, i, j)
        which = draw.choice(len(twin.probs), 40000, p=twin.probs)
        noise = draw.standard_normal((40000, 3))
        sample = twin.centres[which] + twin.bandwidth[which, None] * noise
        away = np.linalg.norm(sample - points[i, j].numpy(), axis=1).mean()
        apart = np.linalg.norm(sample[:20000] - sample[20000:], axis=1).mean()
        spread = math.sqrt(density.covariance_matrix[i, j].trace().item())
        # 2 % is what the nodes may be off, the rest is chance: 3 · spread / √20000.
        assert abs(found[i, j].item() - (away - 0.5 * apart)) < 0.04 * spread


@pytest.mark.parametrize("form", ["map", "offsets", "uniform"])
def test_samples_have_the_marginals(form: str) -> None:
    density = make(form)
    sample = density.sample((3000,), generator=torch.Generator().manual_seed(6))
    assert sample.shape == (3000, *BATCH, 3)
    for axis in range(3):
        marginal = density.marginal(axis)
        # Drawn from the density, the marginals' distribution functions are uniform.
        below = marginal.cdf(sample[..., axis])
        for i, j in MAPS:
            assert stats.kstest(below[:, i, j].numpy(), "uniform").statistic < 1.95 / math.sqrt(
                3000
            )


@pytest.mark.parametrize("form", FORMS)
def test_marginals_are_mixtures_along_one_axis(form: str) -> None:
    density, places = make(form), torch.linspace(-2.0, 9.0, 8).double()
    for axis in range(3):
        marginal = density.marginal(axis)
        assert marginal.event_shape == ()
        found = marginal.log_prob(places[:, None, None].expand(8, *BATCH))
        for i, j in MAPS:
            twin = twin_of(density, i, j)
            pdf = stats.norm.pdf(places.numpy()[:, None], twin.centres[:, axis], twin.bandwidth)
            np.testing.assert_allclose(
                found[:, i, j].numpy(), np.log((pdf * twin.probs).sum(1)), rtol=1e-9, atol=1e-9
            )


def test_uniform_voxels_and_balls_share_what_a_lattice_says() -> None:
    density, centres = make("uniform"), points_of(GRID, *BATCH)
    part = 24
    fine = GRID.refine(part).points(dtype=torch.float64).reshape(-1, 3)
    mass = density.probs.double()
    for axis in (2, 3, 4):
        mass = mass.repeat_interleave(part, axis)
    mass = mass.flatten(2) / part**3
    for radius in (0.3, 1.1, 2.6, 5.0, 40.0):
        found = density.mass_within(centres, radius)
        for i, j in MAPS:
            inside = (fine - centres[i, j]).square().sum(-1) <= radius**2
            assert found[i, j].item() == pytest.approx(mass[i, j][inside].sum().item(), abs=0.02)
    torch.testing.assert_close(found, torch.ones(BATCH).double())


def test_a_gaussian_in_a_ball_is_what_samples_and_closed_forms_say() -> None:
    loc = uniform(*BATCH, 3, low=-2.0, high=2.0)
    tril = torch.tensor([[1.5, 0.0, 0.0], [-1.0, 0.4, 0.0], [0.5, 0.3, 0.9]]).double()
    density = GaussianDensity(loc, tril.expand(*BATCH, 3, 3))
    centres = uniform(*BATCH, 3, low=-2.0, high=2.0, seed=5)
    noise = torch.randn(200_000, 3, generator=torch.Generator().manual_seed(0)).double()
    for radius in (0.5, 2.0, 4.0):
        found = density.mass_within(centres, radius)
        for i, j in MAPS:
            distance = (noise @ tril.T + loc[i, j] - centres[i, j]).norm(dim=-1)
            share = (distance <= radius).double().mean().item()
            assert abs(found[i, j].item() - share) < 0.015
    round_one = GaussianDensity(loc, 0.7 * torch.eye(3).double().expand(*BATCH, 3, 3))
    distance = (loc - centres).norm(dim=-1)
    expected = stats.ncx2.cdf((2.0 / 0.7) ** 2, 3, (distance / 0.7).square().numpy())
    np.testing.assert_allclose(round_one.mass_within(centres, 2.0).numpy(), expected, atol=0.015)


def test_refined_volumes_keep_their_edges() -> None:
    fine = GRID.refine(2)
    assert fine == Grid((8, 10, 6), (0.25, 0.5, -1.125), (0.5, 1.0, 0.25))
    assert (fine.low, fine.high) == (GRID.low, GRID.high)


def test_volumes_are_placed_in_millimetres() -> None:
    grid = Grid.of_volume(depth=4, height=5, width=3, spacing=(0.8, 0.7, 2.5))
    assert grid == Grid((4, 5, 3), (0.0, 0.0, 0.0), (0.8, 0.7, 2.5))
    voxel_z, voxel_y, voxel_x = 3, 1, 2
    place = grid.points(dtype=torch.float64)[voxel_z, voxel_y, voxel_x].tolist()
    assert place == pytest.approx([1.6, 0.7, 7.5])
    half = Grid.of_volume(depth=4, height=5, width=3, spacing=(0.8, 0.7, 2.5), stride=2)
    assert half.spacing == (1.6, 1.4, 5.0)
    assert half.origin == pytest.approx((0.4, 0.35, 1.25))  # between the first two voxels
    slices = Grid.of_volume(depth=4, height=5, width=3, spacing=(0.8, 0.7, 2.5), stride=(2, 2, 1))
    assert slices.origin == pytest.approx((0.4, 0.35, 0.0))
    with pytest.raises(ValueError, match="spacing must be three"):
        Grid.of_volume(depth=4, height=5, width=3, spacing=(1.0, 2.0))
    with pytest.raises(ValueError, match="stride must be positive"):
        Grid.of_volume(depth=4, height=5, width=3, spacing=(1.0, 1.0, 2.0), stride=0)


def test_a_mixture_of_volumes_has_its_log_prob_and_moments() -> None:
    parts, points = [make("map"), make("offsets")], points_of(GRID, 4, *BATCH)
    both = mixture(parts, [0.3, 0.7])
    one, other = (part.log_prob(points).exp() for part in parts)
    torch.testing.assert_close(both.log_prob(points), (0.3 * one + 0.7 * other).log())
    mean = 0.3 * parts[0].mean + 0.7 * parts[1].mean
    torch.testing.assert_close(both.mean, mean)
    second = sum(
        share * (part.covariance_matrix + part.mean[..., None] * part.mean[..., None, :])
        for share, part in zip((0.3, 0.7), parts, strict=True)
    )
    expected = second - mean[..., None] * mean[..., None, :]
    torch.testing.assert_close(both.covariance_matrix, expected)


def joined(parts: list[Twin], weights: tuple[float, ...]) -> Twin:
    """Return the kernels of a mixture of maps."""
    return Twin(
        np.concatenate([w * part.probs for part, w in zip(parts, weights, strict=True)]),
        np.concatenate([part.centres for part in parts]),
        np.concatenate([part.bandwidth for part in parts]),
    )


@pytest.mark.parametrize("other", ["offsets", "gaussian", "nested"])
def test_entropy_levels_and_mode_of_a_mixture_of_volumes(other: str) -> None:
    one, weights = make("map"), (0.3, 0.7)
    loc = uniform(*BATCH, 3, low=0.5, high=2.5, seed=8)
    normal = GaussianDensity(loc, 0.8 * torch.eye(3).double().expand(*BATCH, 3, 3))
    second = {
        "offsets": lambda: make("offsets"),
        "gaussian": lambda: normal,
        "nested": lambda: mixture([make("number"), normal], (0.5, 0.5)),
    }[other]()
    both = mixture([one, second], weights)
    assert isinstance(both, MixtureDensity)
    assert (both.event_shape, both.mode.shape) == ((3,), (*BATCH, 3))
    points = both.sample((12,), generator=torch.Generator().manual_seed(2))
    levels, entropy, log_prob = both.hdr_level(points), both.entropy(), both.log_prob(points)
    errors = []
    for i, j in MAPS:
        ball = Twin(np.ones(1), loc[i, j].numpy()[None], np.array([0.8]))
        parts = {
            "offsets": lambda i=i, j=j: twin_of(make("offsets"), i, j),
            "gaussian": lambda ball=ball: ball,
            "nested": lambda i=i, j=j, ball=ball: joined(
                [twin_of(make("number"), i, j), ball], (0.5, 0.5)
            ),
        }
        twin = joined([twin_of(one, i, j), parts[other]()], weights)
        own = twin.log_prob(points[:, i, j].numpy())
        np.testing.assert_allclose(log_prob[:, i, j].numpy(), own, rtol=1e-9, atol=1e-9)
        dense = dense_of(twin)
        expected = -(dense.masses * dense.values).sum()
        assert entropy[i, j].item() == pytest.approx(expected, abs=0.02)
        held = np.array([dense.masses[dense.values > value].sum() for value in own])
        errors.append(np.abs(levels[:, i, j].numpy() - held))
        ends = [
            optimize.minimize(lambda p, t=twin: -t.log_prob(p[None])[0], start, tol=1e-10)
            for start in twin.centres[np.argsort(-twin.probs / twin.bandwidth**3)[:20]]
        ]
        best = min(ends, key=lambda end: end.fun)
        np.testing.assert_allclose(both.mode[i, j].numpy(), best.x, atol=2e-2)
    assert np.max(errors) < 0.02
    assert np.mean(errors) < 0.005
    volume = both.covariance_matrix.det().sqrt()
    torch.testing.assert_close(both.uncertainty_length, volume ** (1 / 3))


def test_levels_of_a_mixture_with_uniform_voxels_are_even() -> None:
    both = mixture([make("uniform"), make("map")], (0.4, 0.6))
    points = both.sample((3000,), generator=torch.Generator().manual_seed(7))
    levels, values = both.hdr_level(points), both.log_prob(points)
    for i, j in MAPS:
        assert stats.kstest(levels[:, i, j].numpy(), "uniform").statistic < 1.95 / math.sqrt(3000)
    noise = values.std(0) / math.sqrt(3000)
    assert bool(((both.entropy() + values.mean(0)).abs() < 4 * noise + 0.02).all())
    nothing = both.hdr_level(torch.full((*BATCH, 3), math.nan).double())
    assert bool(nothing.isnan().all())
    far = both.hdr_level(torch.full((*BATCH, 3), 1e3).double())
    torch.testing.assert_close(far, torch.ones(BATCH).double())


def test_what_is_for_the_plane_alone_says_so() -> None:
    density = make("map")
    with pytest.raises(ValueError, match="density must be"):
        density.mapped(Affine.identity())
    with pytest.raises(NotImplementedError, match="1-D grid"):
        density.cdf(density.mean)
