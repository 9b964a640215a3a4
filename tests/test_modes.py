"""Modes against an exhaustive search of the density, written out independently of the package."""

import itertools
import math

import pytest
import torch
from torch import Tensor

from kdn.density import KernelDensity
from kdn.grid import Grid

GRIDS = [
    Grid((9,), (-3.0,), (1.0,)),
    Grid((5, 7), (1.5, -0.5), (4.0, 3.0)),
    Grid((2, 3, 4), (0.0, 5.0, -2.0), (1.0, 1.5, 1.0)),
]
BANDWIDTHS = [0.05, 0.4, 0.6, 1.0, 3.0]
MAPS = ["random", "flat", "one cell", "two cells", "three equal cells", "edge", "corner", "extreme"]


def logits_of(kind: str, grid: Grid, generator: torch.Generator) -> Tensor:
    """Return the logits of one map, float64."""
    noise = torch.randn(grid.shape, generator=generator, dtype=torch.float64)
    cells = torch.randperm(grid.numel, generator=generator)
    if kind == "random":
        return 2 * noise
    if kind == "flat":
        return torch.zeros_like(noise)
    if kind == "extreme":
        return 1e4 * noise
    if kind == "edge":
        noise[..., 0] += 5
        return noise
    if kind == "corner":
        noise[(-1,) * grid.ndim] += 5
        return noise
    count = {"one cell": 1, "two cells": 2, "three equal cells": 3}[kind]
    logits = torch.full_like(noise, -math.inf if kind == "one cell" else -25.0).flatten()
    logits[cells[:count]] = 0.0
    if kind == "two cells":
        logits[cells[0]] = 0.3
    return logits.view(grid.shape)


def density_at(points: Tensor, logits: Tensor, centres: Tensor, bandwidth: Tensor) -> Tensor:
    """Return the log-density of one map at `(n, ndim)` points by the textbook formula, float64."""
    weights = logits.flatten().log_softmax(0)
    squares = (points[:, None] - centres).square().sum(-1)
    kernels = -squares / (2 * bandwidth**2) - centres.shape[1] * (
        bandwidth.log() + 0.5 * math.log(2 * math.pi)
    )
    return (weights + kernels).logsumexp(1)


def exhaustive(
    logits: Tensor, centres: Tensor, bandwidth: Tensor, grid: Grid, part: int
) -> tuple[Tensor, float, float, bool]:
    """Return the highest point, the lattice's and its own log-density, and if no other is as high.

    The lattice of `part` points per cell spans the kernels' centres, between which all modes lie;
    about its best point it is refined to 1e-7 cells.
    """
    spacing = torch.tensor(grid.spacing, dtype=torch.float64)
    low, high = centres.amin(0), centres.amax(0)
    axes = [
        torch.arange(math.ceil(part * float((b - a) / s) - 1e-9) + 1, dtype=torch.float64)
        * (s / part)
        + a
        for a, b, s in zip(low, high, spacing, strict=True)
    ]
    lattice = torch.cartesian_prod(*axes).reshape(-1, grid.ndim)
    heights = logits.flatten().log_softmax(0) - grid.ndim * bandwidth.log()
    values = (heights - heights.max()).exp()
    for axis, centre in zip(axes, centres.T, strict=True):
        squares = (axis[:, None] - centre).square()
        values = values.unsqueeze(-2) * (-squares / (2 * bandwidth**2)).exp()
    values = values.sum(-1).flatten().log() + heights.max() - 0.5 * grid.ndim * math.log(math.tau)
    best = lattice[values.argmax()]
    step = spacing / part
    around = torch.cartesian_prod(*[torch.linspace(-1, 1, 7, dtype=torch.float64)] * grid.ndim)
    for _ in range(16):
        near = best + around.reshape(-1, grid.ndim) * step
        best = near[density_at(near, logits, centres, bandwidth).argmax()]
        step = step / 2
    top = density_at(best[None], logits, centres, bandwidth).item()
    # Another maximum's lattice points may lie half a step off, and are lower by this at most.
    off = 0.125 * float((spacing / part / bandwidth.min()).square().sum())
    far = ((lattice - best) / spacing).norm(dim=1) > 0.1
    unique = not far.any() or values[far].max().item() < top - off - 1e-5
    return best, values.max().item(), top, unique


def check_mode(density: KernelDensity, part: int) -> int:
    """Check every map of a density; return for how many the position could be compared."""
    grid = density.grid
    modes = density.mode.double().reshape(-1, grid.ndim)
    logits = density.raw_logits.double().reshape(-1, grid.numel)
    centres = grid.points(dtype=torch.float64).reshape(1, -1, grid.ndim)
    if density.offsets is not None:
        centres = centres + density.offsets.double().reshape(len(logits), grid.ndim, -1).mT
    assert density.bandwidth is not None
    bandwidth = density.bandwidth.double().reshape(len(logits), -1).expand(len(logits), grid.numel)
    compared = 0
    for row, mode in enumerate(modes):
        own = logits[row], centres[row % len(centres)], bandwidth[row]
        best, lattice, _, unique = exhaustive(*own, grid, part)
        assert density_at(mode[None], *own).item() >= lattice + math.log1p(-1e-6)
        if unique:
            apart = (mode - best) / torch.tensor(grid.spacing)
            assert apart.norm().item() < 1e-3
            compared += 1
    return compared


def part_of(grid: Grid) -> int:
    """Return lattice points per cell: 64, or as many as a test has memory for in 3-D."""
    return 64 if grid.ndim < 3 else 16


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("grid", GRIDS, ids=["1-D", "2-D", "3-D"])
def test_it_is_the_global_mode_for_one_bandwidth_per_map(grid: Grid, dtype: torch.dtype) -> None:
    generator = torch.Generator().manual_seed(1)
    maps = torch.stack([logits_of(kind, grid, generator) for kind in MAPS]).to(dtype)
    logits = maps.expand(len(BANDWIDTHS), *maps.shape)
    bandwidth = max(grid.spacing) * torch.tensor(BANDWIDTHS, dtype=dtype)[:, None]
    density = KernelDensity(logits, grid, bandwidth=bandwidth)
    assert density.mode.dtype == dtype
    assert check_mode(density, part_of(grid)) >= len(BANDWIDTHS) * (len(MAPS) - 4)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("moved", [False, True], ids=["cells", "offsets"])
@pytest.mark.parametrize("grid", GRIDS, ids=["1-D", "2-D", "3-D"])
def test_it_is_the_global_mode_for_kernels_that_differ(
    grid: Grid, moved: bool, dtype: torch.dtype
) -> None:
    generator = torch.Generator().manual_seed(2)

    def normal(*shape: int) -> Tensor:
        return torch.randn(shape, generator=generator, dtype=torch.float64)

    batch = (2, 3)
    kinds = [MAPS[i] for i in (0, 2, 3, 4, 6, 7)]
    logits = torch.stack([logits_of(kind, grid, generator) for kind in kinds])
    spread = torch.tensor([[0.1, 0.4, 0.9], [0.6, 2.0, 0.3]], dtype=torch.float64)
    spread = spread.reshape(*batch, *(1,) * grid.ndim) * max(grid.spacing)
    bandwidth = spread * (0.4 * normal(*batch, *grid.shape)).exp()
    spacing = torch.tensor(grid.spacing, dtype=torch.float64).reshape(-1, *(1,) * grid.ndim)
    offsets = 1.5 * spacing * torch.tanh(normal(*batch, grid.ndim, *grid.shape))
    density = KernelDensity(
        logits.reshape(*batch, *grid.shape).to(dtype),
        grid,
        bandwidth=bandwidth.to(dtype),
        offsets=offsets.to(dtype) if moved else None,
    )
    assert check_mode(density, part_of(grid)) >= (3 if grid.ndim < 3 else 1)


def test_moved_kernels_of_one_bandwidth_per_landmark() -> None:
    generator = torch.Generator().manual_seed(3)
    grid = GRIDS[1]
    logits = torch.randn(2, 3, 5, 7, generator=generator)
    offsets = 6 * torch.rand(2, 3, 2, 5, 7, generator=generator) - 3
    bandwidth = torch.tensor([0.7, 2.0, 6.0])
    density = KernelDensity(logits, grid, bandwidth=bandwidth, offsets=offsets)
    assert check_mode(density, 64) >= 3


def test_a_map_that_is_mostly_floor_is_searched_where_the_mass_is() -> None:
    # Large enough for windows to leave most of it out, with blobs near opposite edges.
    generator = torch.Generator().manual_seed(4)
    grid = Grid((23, 38), (2.0, -1.0), (1.0, 1.0))
    points = grid.points(dtype=torch.float64)
    centres = torch.tensor([[[3.3, 0.2], [37.6, 19.8]], [[20.4, 10.1], [23.2, 10.4]]])
    squares = (points - centres[:, :, None, None].double()).square().sum(-1)
    blobs = (-squares / (2 * 1.3**2)).exp() * torch.tensor([1.0, 0.9])[:, None, None]
    noise = torch.randn(2, 23, 38, generator=generator, dtype=torch.float64)
    logits = (blobs.sum(1) + 1e-5).log() + 0.2 * noise
    bandwidth = torch.tensor([[0.3], [0.45], [1.2]], dtype=torch.float64)
    density = KernelDensity(logits.expand(3, 2, 23, 38), grid, bandwidth=bandwidth)
    assert check_mode(density, 10) >= 5


def test_two_modes_that_the_cells_do_not_show() -> None:
    # Equal kernels 2.02 bandwidths apart have two modes that are hardly apart from a saddle.
    grid = Grid((1, 3), (0.0, 0.0), (1.0, 1.0))
    logits = torch.tensor([[[0.0, -math.inf, 1e-3]]], dtype=torch.float64)
    density = KernelDensity(logits, grid, bandwidth=2 / 2.02)
    mode = density.mode[0]
    best, _, _, _ = exhaustive(
        logits[0],
        grid.points(dtype=torch.float64).reshape(-1, 2),
        torch.full((3,), 2 / 2.02, dtype=torch.float64),
        grid,
        64,
    )
    assert (mode - best).norm().item() < 1e-3
    assert mode[0] > 1.05


@pytest.mark.parametrize("per_cell", [False, True])
def test_a_mode_between_centres_beats_the_highest_centre(per_cell: bool) -> None:
    # Two kernels 1.6 bandwidths apart: 1.28 q at their centres, 1.45 q half-way. With q = 0.74
    # that is 0.95 and 1.07, beside 1 at the centre of a kernel far away.
    grid = Grid((3, 12), (0.0, 1.0), (2.0, 2.0))
    weights = torch.zeros(2, 3, 12)
    weights[0, 1, 1:3] = weights[1, 1, 9:11] = 0.74
    weights[0, 1, 10] = weights[1, 1, 2] = 1.0
    bandwidth = torch.full((2, 3, 12), 2 / 1.6) if per_cell else 2 / 1.6
    mode = KernelDensity(weights.log(), grid, bandwidth=bandwidth).mode
    torch.testing.assert_close(mode, torch.tensor([[3.0, 3.0], [19.0, 3.0]]), rtol=0, atol=1e-4)


def test_the_mode_lies_between_cells_as_done_by_hand() -> None:
    # Two equal kernels closer than two bandwidths have one mode, half-way.
    grid = Grid((1, 2), (4.0, -1.0), (2.0, 2.0))
    density = KernelDensity(torch.zeros(3, 1, 2), grid, bandwidth=2.0)
    torch.testing.assert_close(density.mode, torch.tensor([[5.0, -1.0]]).expand(3, 2))


def test_one_kernel_has_its_centre_as_mode_and_all_the_mass() -> None:
    grid = GRIDS[1]
    logits = torch.full((2, 5, 7), -math.inf)
    logits[0, 1, 5] = logits[1, 4, 0] = 3.0
    expected = torch.stack([grid.points()[1, 5], grid.points()[4, 0]])
    density = KernelDensity(logits, grid, bandwidth=1.7)
    points, masses = density.modes(2)
    torch.testing.assert_close(density.mode, expected)
    torch.testing.assert_close(points[:, 0], expected)
    assert points[:, 1].isnan().all()
    assert masses.tolist() == [[1.0, 0.0], [1.0, 0.0]]


def test_a_uniform_kernel_has_the_centre_of_its_most_probable_cell() -> None:
    generator = torch.Generator().manual_seed(5)
    grid = GRIDS[1]
    logits = torch.randn(2, 3, 5, 7, generator=generator)
    density = KernelDensity(logits, grid, kernel="uniform")
    for sample, landmark in itertools.product(range(2), range(3)):
        row, column = divmod(int(logits[sample, landmark].argmax()), 7)
        assert density.mode[sample, landmark].tolist() == grid.points()[row, column].tolist()


def test_the_modes_of_uniform_kernels_done_by_hand() -> None:
    probs = torch.tensor([[[0.1, 0.3, 0.1, 0.02], [0.05, 0.1, 0.03, 0.3 - 1e-3]]])
    grid = Grid((2, 4), (0.0, 0.0), (1.0, 1.0))
    points, masses = KernelDensity(probs.log(), grid, kernel="uniform").modes(3)
    # Only 0.02 has the last cell as its highest neighbour; those before it touch the first mode.
    assert points[0, :2].tolist() == [[1.0, 0.0], [3.0, 1.0]]
    assert points[0, 2].isnan().all()
    total = probs.sum()
    near_first = probs[0, 0, :3].sum() + probs[0, 1, :3].sum()
    expected = torch.stack([near_first / total, 1 - near_first / total, torch.zeros(())])
    torch.testing.assert_close(masses[0], expected)


@pytest.mark.parametrize("own", ["map", "cell", "offsets"])
def test_masses_of_well_separated_modes_are_those_of_the_mixture(own: str) -> None:
    grid = Grid((9, 16), (1.0, 2.0), (2.0, 2.0))
    points = grid.points(dtype=torch.float64)
    middles = torch.tensor([[7.3, 8.1], [25.6, 12.2]], dtype=torch.float64)
    shares = torch.tensor([0.35, 0.65], dtype=torch.float64)
    squares = (points - middles[:, None, None]).square().sum(-1)
    blobs = (-squares / (2 * 1.5**2)).exp()
    probs = (shares[:, None, None] * blobs / blobs.sum((1, 2), keepdim=True)).sum(0)
    options = {
        "map": {"bandwidth": 2.0},
        "cell": {"bandwidth": torch.full((2, 9, 16), 2.0, dtype=torch.float64)},
        "offsets": {"bandwidth": 2.0, "offsets": torch.full((2, 2, 9, 16), 0.25).double()},
    }[own]
    density = KernelDensity(probs.log().expand(2, 9, 16), grid, **options)
    modes, masses = density.modes(3)
    expected = middles.flip(0) + (0.25 if own == "offsets" else 0.0)
    torch.testing.assert_close(modes[:, :2], expected.expand(2, 2, 2), rtol=0, atol=0.1)
    wanted = shares.flip(0).expand(2, 2)
    torch.testing.assert_close(masses[:, :2], wanted, rtol=0, atol=1e-3)
    torch.testing.assert_close(modes[:, 0], density.mode, rtol=0, atol=1e-5)


@pytest.mark.parametrize("per_cell", [False, True])
def test_modes_are_stationary_and_fall_in_height_and_hold_all_mass(per_cell: bool) -> None:
    generator = torch.Generator().manual_seed(6)
    grid = GRIDS[1]
    logits = 2 * torch.randn(2, 3, 5, 7, generator=generator, dtype=torch.float64)
    bandwidth = torch.full((2, 3, 5, 7), 1.6, dtype=torch.float64)
    bandwidth = bandwidth if per_cell else bandwidth[..., 0, 0]
    density = KernelDensity(logits, grid, bandwidth=bandwidth)
    points, masses = density.modes(20)
    assert points.shape == (2, 3, 20, 2)
    found = ~points[..., 0].isnan()
    assert (found == (masses > 0)).all()
    assert (found.sum(-1) > 1).all()
    torch.testing.assert_close(masses.sum(-1), torch.ones(2, 3, dtype=torch.float64))
    places = points.nan_to_num(0.0).permute(2, 0, 1, 3).requires_grad_()
    heights = density.log_prob(places)
    (slopes,) = torch.autograd.grad(heights.sum(), places)
    assert slopes.permute(1, 2, 0, 3)[found].abs().max().item() < 1e-5
    falls = heights.detach().permute(1, 2, 0)
    assert (falls[..., 1:] <= falls[..., :-1] + 1e-9)[found[..., 1:]].all()


def test_nearby_starts_are_one_mode() -> None:
    generator = torch.Generator().manual_seed(7)
    logits = 0.3 * torch.randn(2, 3, 5, 7, generator=generator)
    points, masses = KernelDensity(logits, GRIDS[1], bandwidth=12.0).modes(4)
    assert (points[..., 0, 0].isfinite()).all()
    assert points[..., 1:, :].isnan().all()
    torch.testing.assert_close(masses[..., 0], torch.ones(2, 3))


def test_batches_agree_with_maps_one_by_one() -> None:
    generator = torch.Generator().manual_seed(8)
    grid = GRIDS[1]
    logits = torch.randn(2, 3, 5, 7, generator=generator)
    bandwidth = torch.tensor([[0.4, 1.0, 3.0], [6.0, 2.0, 8.0]])
    modes = KernelDensity(logits, grid, bandwidth=bandwidth).mode
    for i, j in itertools.product(range(2), range(3)):
        alone = KernelDensity(logits[i, j], grid, bandwidth=bandwidth[i, j])
        assert alone.mode.shape == (2,)
        torch.testing.assert_close(alone.mode, modes[i, j], rtol=0, atol=1e-5)


def test_points_on_one_axis_have_no_last_dimension() -> None:
    density = KernelDensity(torch.zeros(2, 3, 9), GRIDS[0], bandwidth=4.0)
    points, masses = density.modes(2)
    assert density.mode.shape == (2, 3)
    assert points.shape == masses.shape == (2, 3, 2)
    torch.testing.assert_close(density.mode, torch.ones(2, 3), rtol=0, atol=1e-3)


def test_a_number_of_modes_that_is_not_positive_is_refused() -> None:
    with pytest.raises(ValueError, match="k must be positive, got 0"):
        KernelDensity(torch.zeros(2, 3, 5, 7), GRIDS[1], bandwidth=1.0).modes(0)
