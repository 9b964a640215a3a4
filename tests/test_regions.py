"""Levels and regions of highest density against closed forms, quadrature and samples."""

import itertools
import math

import pytest
import torch
from scipy import stats
from torch import Tensor

from kdn.density import KernelDensity
from kdn.grid import Grid

GRID = Grid((5, 7), (1.5, -0.5), (4.0, 3.0))
KERNELS = ["fixed", "per cell", "offsets", "uniform"]


def make(kernel: str, grid: Grid = GRID, scale: float = 1.5, seed: int = 0) -> KernelDensity:
    """Return a density of batch shape (2, 3), float32."""
    generator = torch.Generator().manual_seed(seed)

    def normal(*shape: int) -> Tensor:
        return torch.randn(2, 3, *shape, generator=generator)

    logits = scale * normal(*grid.shape)
    if kernel == "uniform":
        return KernelDensity(logits, grid, kernel="uniform")
    per_map = torch.tensor([[1.2, 2.0, 3.5], [3.0, 1.6, 2.5]])
    bandwidth = per_map
    if kernel != "fixed":
        bandwidth = per_map.reshape(2, 3, *(1,) * grid.ndim) * (0.3 * normal(*grid.shape)).exp()
    offsets = 3 * torch.tanh(normal(grid.ndim, *grid.shape)) if kernel == "offsets" else None
    return KernelDensity(logits, grid, bandwidth=bandwidth, offsets=offsets)


def quadrature(density: KernelDensity, grid: Grid, part: int) -> tuple[Tensor, Tensor]:
    """Return log-densities and masses of `(n, 2, 3)` small cells that hold nearly all mass."""
    fine = grid.refine(part)
    points = fine.points(dtype=torch.float32).reshape(-1, 1, 1, grid.ndim)
    points = points.expand(-1, 2, 3, grid.ndim)
    values = torch.cat([density.log_prob(some) for some in points.split(4000)]).double()
    return values, values.exp() * fine.cell_volume


WIDE = Grid((21, 23), (1.5 - 32.0, -0.5 - 24.0), (4.0, 3.0))
"""`GRID` with eight cells more on every side, where the Gaussian kernels' tails lie."""


@pytest.mark.parametrize("ndim", [1, 2, 3])
@pytest.mark.parametrize("per_cell", [False, True])
def test_one_kernel_has_the_closed_form(ndim: int, per_cell: bool) -> None:
    grid = Grid((3, 5, 4)[:ndim], (1.0, -2.0, 0.5)[:ndim], (2.0, 3.0, 1.0)[:ndim])
    logits = torch.full((2, 3, grid.numel), -math.inf)
    logits[..., 2] = 1.0
    centre = grid.points().reshape(-1, ndim)[2]
    bandwidth = torch.tensor([[0.3, 1.0, 2.5], [7.0, 0.1, 1.7]])
    radius = torch.linspace(0.0, 4.0, 9)[:, None, None] * bandwidth
    direction = torch.tensor([0.6, -0.48, 0.64])[:ndim]
    direction = direction / direction.norm()
    points = centre + radius.unsqueeze(-1) * direction
    own = bandwidth.reshape(2, 3, *(1,) * ndim).expand(2, 3, *grid.shape)
    density = KernelDensity(
        logits.reshape(2, 3, *grid.shape), grid, bandwidth=own if per_cell else bandwidth
    )
    level = density.hdr_level(points.squeeze(-1) if ndim == 1 else points)
    squares = (radius / bandwidth).square()
    expected = (
        1 - (-0.5 * squares).exp()
        if ndim == 2
        else torch.special.gammainc(torch.tensor(0.5 * ndim), 0.5 * squares)
    )
    # In the plane the nodes' radii are spread evenly; otherwise they fill the axes.
    torch.testing.assert_close(level, expected, rtol=0, atol=0.002 if ndim < 3 else 0.01)


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("seed", [1, 2])
def test_levels_are_uniform_where_points_are_drawn_from_the_density(kernel: str, seed: int) -> None:
    density = make(kernel, seed=seed)
    generator = torch.Generator().manual_seed(10 + seed)
    levels = density.hdr_level(density.sample((4000,), generator=generator))
    assert levels.shape == (4000, 2, 3)
    if kernel == "uniform":
        # All points of a cell have one level; spread evenly over the cell's mass it is uniform.
        cells = density.grid.to_cells(density.sample((4000,), generator=generator)).round().long()
        rows = torch.arange(6).reshape(2, 3)
        own = density.probs.reshape(6, 5, 7)[rows, cells[..., 1], cells[..., 0]]
        points = density.grid.from_cells(cells.float())
        levels = density.hdr_level(points) + own * torch.rand(own.shape, generator=generator)
    for i, j in itertools.product(range(2), range(3)):
        test = stats.kstest(levels[:, i, j].double().numpy(), "uniform")
        # Nodes in place of an integral may be off by 0.005; the rest is chance, 1.95 / √n at 0.1 %.
        assert test.statistic < 1.95 / math.sqrt(4000) + 0.005, (i, j)


@pytest.mark.parametrize("kernel", ["fixed", "per cell", "offsets"])
def test_levels_agree_with_quadrature(kernel: str) -> None:
    density = make(kernel, seed=3)
    values, masses = quadrature(density, WIDE, 16)
    torch.testing.assert_close(masses.sum(0), torch.ones(2, 3).double(), rtol=0, atol=2e-3)
    points = density.sample((20,), generator=torch.Generator().manual_seed(3))
    levels, own = density.hdr_level(points), density.log_prob(points)
    errors = []
    for row in range(len(points)):
        expected = (masses * (values > own[row])).sum(0)
        errors.append((levels[row] - expected).abs())
    errors = torch.stack(errors)
    assert errors.max().item() < 0.02
    assert errors.mean().item() < 0.005


def test_levels_on_large_maps_with_a_floor_agree_with_quadrature() -> None:
    # Windows and lists of kernels leave out most of these maps.
    grid = Grid((24, 31), (0.0, 0.0), (1.0, 1.0))
    points = grid.points()
    middle = torch.tensor([[6.3, 17.2], [24.5, 3.1]])
    squares = (points - middle[:, None, None]).square().sum(-1)
    logits = ((-0.5 * squares / 1.4**2).exp() + torch.tensor([1e-7, 1e-4])[:, None, None]).log()
    wide = Grid((32, 39), (-4.0, -4.0), (1.0, 1.0)).refine(6)
    places = middle + torch.tensor([[0.0, 0.5], [1.5, -1.0], [-2.0, 3.0], [0.0, 6.0]])[:, None]
    for bandwidth in (torch.tensor([0.6, 0.8]), torch.full((2, 24, 31), 0.7)):
        density = KernelDensity(logits, grid, bandwidth=bandwidth)
        values = density.log_prob(wide.points().reshape(-1, 1, 2).expand(-1, 2, 2))
        masses = values.double().exp() * wide.cell_volume
        expected = torch.stack([(masses * (values > v)).sum(0) for v in density.log_prob(places)])
        levels = density.hdr_level(places).double()
        torch.testing.assert_close(levels, expected, rtol=0, atol=0.01)


def test_uniform_levels_done_by_hand() -> None:
    probs = torch.tensor([[[0.4, 0.1, 0.2], [0.1, 0.05, 0.15]]])
    grid = Grid((2, 3), (10.0, 20.0), (2.0, 4.0))
    density = KernelDensity(probs.log(), grid, kernel="uniform")
    points = grid.points().reshape(6, 1, 2) + torch.tensor([0.9, -1.9])
    expected = [0.0, 0.75, 0.4, 0.75, 0.95, 0.6]
    found = density.hdr_level(points)[:, 0]
    torch.testing.assert_close(found, torch.tensor(expected))
    assert density.hdr_level(torch.tensor([[8.9, 20.0]])).tolist() == pytest.approx([1.0])


@pytest.mark.parametrize("kernel", KERNELS)
def test_levels_run_from_the_mode_to_far_away_and_nan_stays(kernel: str) -> None:
    density = make(kernel, seed=4)
    far = torch.full_like(density.mode, 1e4)
    missing = torch.full_like(far, math.nan)
    levels = density.hdr_level(torch.stack([density.mode, far, missing]))
    torch.testing.assert_close(levels[0], torch.zeros(2, 3), rtol=0, atol=1e-3)
    torch.testing.assert_close(levels[1], torch.ones(2, 3))
    assert levels[2].isnan().all()


@pytest.mark.parametrize("kernel", KERNELS)
def test_a_batch_of_points_meets_its_own_maps(kernel: str) -> None:
    density = make(kernel, seed=5)
    points = density.sample((4,), generator=torch.Generator().manual_seed(5))
    levels = density.hdr_level(points)
    for i, j in itertools.product(range(2), range(3)):
        bandwidth, offsets = density.bandwidth, density.offsets
        alone = KernelDensity(
            density.raw_logits[i, j],
            density.grid,
            kernel=density.kernel,
            bandwidth=None if bandwidth is None else bandwidth[i, j],
            offsets=None if offsets is None else offsets[i, j],
        )
        torch.testing.assert_close(
            alone.hdr_level(points[:, i, j]), levels[:, i, j], rtol=0, atol=0.0021
        )


@pytest.mark.parametrize("kernel", ["fixed", "per cell", "offsets"])
@pytest.mark.parametrize("refine", [1, 3])
@pytest.mark.parametrize("level", [0.5, 0.9])
def test_a_mask_holds_its_level_and_no_cell_too_many(
    kernel: str, refine: int, level: float
) -> None:
    density = make(kernel, seed=6)
    mask = density.hdr_mask(level, refine)
    assert mask.shape == (2, 3, 5 * refine, 7 * refine)
    # The cells' masses by quadrature, 24 points per cell of the grid and axis.
    part = 24 // refine
    _, masses = quadrature(density, GRID, 24)
    cells = masses.reshape(5 * refine, part, 7 * refine, part, 2, 3).sum((1, 3)).permute(2, 3, 0, 1)
    share = cells / cells.sum((2, 3), keepdim=True)
    held = (share * mask).sum((2, 3))
    least = torch.where(mask, share, math.inf).amin((2, 3))
    assert (held >= level - 1e-4).all()
    assert (held - least < level + 1e-4).all()
    outside = torch.where(mask, 0.0, share).amax((2, 3))
    assert (outside <= least + 1e-4).all()


def test_a_mask_of_uniform_kernels_done_by_hand() -> None:
    probs = torch.tensor([[[0.4, 0.1, 0.2], [0.06, 0.08, 0.16]]])
    grid = Grid((2, 3), (10.0, 20.0), (2.0, 4.0))
    density = KernelDensity(probs.log(), grid, kernel="uniform")
    assert density.hdr_mask(0.55).tolist() == [[[True, False, True], [False, False, False]]]
    # Half of the cells of the second one complete 0.5 of the mass.
    fine = density.hdr_mask(0.5, 2)
    assert fine[0, :2, :2].all()
    assert int(fine.sum()) == 6
    assert int(fine[0, :2, 4:].sum()) == 2
    assert not density.hdr_mask(0.0).any()
    assert density.hdr_mask(1.0).all()


@pytest.mark.parametrize("kernel", ["fixed", "per cell", "offsets"])
def test_a_fine_mask_is_the_region_below_the_level(kernel: str) -> None:
    # Tails within the grid, so that the mass within it is all there is.
    grid = Grid((11, 13), (0.0, 0.0), (1.0, 1.0))
    generator = torch.Generator().manual_seed(7)
    logits = torch.full((2, 3, 11, 13), -math.inf)
    logits[..., 4:7, 5:9] = torch.randn(2, 3, 3, 4, generator=generator)
    bandwidth = 0.8 * (0.2 * torch.randn(2, 3, 11, 13, generator=generator)).exp()
    density = KernelDensity(
        logits,
        grid,
        bandwidth=0.8 if kernel == "fixed" else bandwidth,
        offsets=torch.full((2, 3, 2, 11, 13), 0.3) if kernel == "offsets" else None,
    )
    mask = density.hdr_mask(0.8, 6)
    points = grid.refine(6).points().reshape(-1, 1, 1, 2).expand(-1, 2, 3, 2)
    inside = (density.hdr_level(points) <= 0.8).permute(1, 2, 0).reshape(mask.shape)
    volume = grid.refine(6).cell_volume
    masses = density.log_prob(points).exp().permute(1, 2, 0).reshape(mask.shape) * volume
    assert ((mask != inside) * masses).sum((2, 3)).max().item() < 0.02


@pytest.mark.parametrize("kernel", KERNELS)
def test_entropy_agrees_with_quadrature(kernel: str) -> None:
    density = make(kernel, seed=8)
    values, masses = quadrature(density, GRID if kernel == "uniform" else WIDE, 8)
    expected = -(masses * values.clamp(min=-1e3)).sum(0)
    torch.testing.assert_close(density.entropy().double(), expected, rtol=0, atol=0.02)


def test_the_entropy_of_one_kernel_is_exact() -> None:
    logits = torch.full((2, 3, 5, 7), -math.inf)
    logits[..., 2, 3] = 0.0
    bandwidth = torch.tensor([[0.3, 1.0, 2.5], [7.0, 0.1, 1.7]])
    expected = (2 * math.pi * math.e * bandwidth.square()).log()
    found = KernelDensity(logits, GRID, bandwidth=bandwidth).entropy()
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-4)


def test_what_makes_no_sense_is_refused() -> None:
    density = make("fixed")
    with pytest.raises(ValueError, match=r"level must be 0 to 1, got 1\.5"):
        density.hdr_mask(1.5)
    with pytest.raises(ValueError, match="factor must be a positive whole number, got 0"):
        density.hdr_mask(0.5, 0)


@pytest.mark.parametrize("kind", ["fixed", "cell", "uniform"])
def test_cell_masses_are_integrals_of_the_density(kind: str) -> None:
    """Against the midpoint rule on a lattice ten times finer than the cells that are asked for."""
    generator = torch.Generator().manual_seed(5)
    grid = Grid.of_heatmap(height=5, width=7, stride=4)
    logits = 2 * torch.randn(2, 3, 5, 7, generator=generator, dtype=torch.float64)
    if kind == "uniform":
        density = KernelDensity(logits, grid, kernel="uniform")
    elif kind == "fixed":
        density = KernelDensity(logits, grid, bandwidth=3.0)
    else:
        bandwidth = 2 + 3 * torch.rand(logits.shape, generator=generator, dtype=torch.float64)
        offsets = 4 * torch.randn(2, 3, 2, 5, 7, generator=generator, dtype=torch.float64)
        density = KernelDensity(logits, grid, bandwidth=bandwidth, offsets=offsets)
    masses = density.cell_masses(2)
    assert masses.shape == (2, 3, 10, 14)
    fine = grid.refine(20)
    points = fine.points(dtype=torch.float64).reshape(-1, 1, 1, 2)
    inside = density.log_prob(points).exp().movedim(0, -1) * fine.cell_volume
    wanted = inside.reshape(2, 3, 10, 10, 14, 10).sum((3, 5))
    torch.testing.assert_close(masses, wanted, rtol=2e-3, atol=1e-7)
    assert density.cell_masses().shape == (2, 3, 5, 7)
    torch.testing.assert_close(density.cell_masses().sum((-2, -1)), masses.sum((-2, -1)))
