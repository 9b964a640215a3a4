"""Grids: every cell's place, against plain loops and against cases done by hand."""

import itertools
import math

import pytest
import torch
import torch.nn.functional as F

import unchecked
from kdn.grid import Grid

# No two sizes, origins or spacings alike, so that no axis can be taken for another.
GRIDS = [
    Grid((7,), (-2.0,), (0.25,)),
    Grid((3, 5), (1.5, -4.0), (4.0, 2.5)),
    Grid((2, 3, 4), (10.0, -1.0, 0.5), (0.5, 3.0, 7.0)),
]


def slow_points(grid: Grid) -> dict[tuple[int, ...], list[float]]:
    """Return the centre of every cell, by plain loops over tensor indices."""
    points = {}
    for index in itertools.product(*(range(cells) for cells in grid.shape)):
        event = index[::-1]  # (row, column) → (column, row)
        points[index] = [grid.origin[i] + c * grid.spacing[i] for i, c in enumerate(event)]
    return points


@pytest.mark.parametrize("grid", GRIDS)
def test_points_agree_with_plain_loops(grid: Grid) -> None:
    points = grid.points(dtype=torch.float64)
    assert points.shape == (*grid.shape, grid.ndim)
    for index, expected in slow_points(grid).items():
        assert points[index].tolist() == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("grid", GRIDS)
def test_centres_are_the_points_along_an_axis(grid: Grid) -> None:
    points = grid.points(dtype=torch.float64)
    for axis in range(grid.ndim):
        line = points.select(-1, axis).movedim(-1 - axis, -1).reshape(-1, grid.shape[-1 - axis])
        expected = grid.centres(axis, dtype=torch.float64).expand_as(line)
        torch.testing.assert_close(line, expected, rtol=0, atol=0)


def test_a_heatmap_cell_done_by_hand() -> None:
    # Stride 4: cell 0 covers crop pixels 0, 1, 2, 3, whose middle is 1.5. Cell (x 2, y 1) covers
    # columns 8 to 11 and rows 4 to 7: (9.5, 5.5).
    grid = Grid.of_heatmap(height=3, width=5, stride=4)
    assert grid.points()[1, 2].tolist() == [9.5, 5.5]
    assert grid.to_cells(torch.tensor([9.5, 5.5])).tolist() == [2.0, 1.0]
    assert grid.from_cells(torch.tensor([2.0, 1.0])).tolist() == [9.5, 5.5]
    assert grid.to_cells(torch.tensor([-0.5, 11.5])).tolist() == [-0.5, 2.5]
    assert (grid.low, grid.high) == ((-0.5, -0.5), (19.5, 11.5))
    assert (grid.ndim, grid.numel, grid.cell_volume) == (2, 15, 16.0)


@pytest.mark.parametrize("stride", [1, 2, 3, 4, 8])
def test_a_heatmap_cell_is_the_middle_of_its_pixels(stride: int) -> None:
    # torch's average pooling takes the same whole pixels together; average the coordinates.
    height, width = 3 * stride, 5 * stride
    rows = torch.arange(height, dtype=torch.float64).view(1, 1, -1, 1).expand(1, 1, -1, width)
    columns = torch.arange(width, dtype=torch.float64).expand(1, 1, height, -1)
    pooled = F.avg_pool2d(torch.cat([columns, rows], dim=1), stride)[0].movedim(0, -1)
    points = Grid.of_heatmap(height=3, width=5, stride=stride).points(dtype=torch.float64)
    torch.testing.assert_close(points, pooled, rtol=0, atol=1e-12)


def test_an_interval_done_by_hand() -> None:
    years = Grid.of_interval(1, 116, step=1)
    assert years.shape == (116,)
    assert years.centres(0)[[0, 41, 115]].tolist() == [1.0, 42.0, 116.0]
    assert (years.low, years.high) == ((0.5,), (116.5,))
    # 0.1 has no exact form in binary: (0.7 − 0.1) / 0.1 is 5.999…
    assert Grid.of_interval(0.1, 0.7, step=0.1).shape == (7,)
    assert Grid.of_interval(3.0, 3.0, step=2.0).shape == (1,)


@pytest.mark.parametrize("grid", GRIDS)
def test_round_trips(grid: Grid) -> None:
    generator = torch.Generator().manual_seed(0)
    points = torch.randn(2, 3, grid.ndim, generator=generator, dtype=torch.float64) * 1000
    torch.testing.assert_close(grid.from_cells(grid.to_cells(points)), points, rtol=0, atol=1e-6)
    torch.testing.assert_close(grid.to_cells(grid.from_cells(points)), points, rtol=0, atol=1e-6)


@pytest.mark.parametrize("grid", GRIDS)
def test_cells_of_the_points_are_the_indices(grid: Grid) -> None:
    cells = grid.to_cells(grid.points(dtype=torch.float64))
    for index in itertools.product(*(range(size) for size in grid.shape)):
        assert cells[index].tolist() == pytest.approx(list(index[::-1]), abs=1e-12)


@pytest.mark.parametrize("grid", GRIDS)
@pytest.mark.parametrize("factor", [1, 2, 3, 4])
def test_refining_keeps_the_edges_and_splits_cells_evenly(grid: Grid, factor: int) -> None:
    fine = grid.refine(factor)
    assert fine.shape == tuple(size * factor for size in grid.shape)
    assert fine.low == pytest.approx(grid.low, abs=1e-12)
    assert fine.high == pytest.approx(grid.high, abs=1e-12)
    assert fine.cell_volume * fine.numel == pytest.approx(grid.cell_volume * grid.numel)
    for axis in range(grid.ndim):
        parts = fine.centres(axis, dtype=torch.float64).reshape(-1, factor)
        expected = grid.centres(axis, dtype=torch.float64)
        torch.testing.assert_close(parts.mean(dim=1), expected, rtol=0, atol=1e-12)


def test_refining_done_by_hand() -> None:
    # The cell of pixels 0…3 with centre 1.5 becomes two, of pixels 0, 1 and 2, 3.
    fine = Grid.of_heatmap(height=3, width=5, stride=4).refine(2)
    assert fine == Grid.of_heatmap(height=6, width=10, stride=2)
    assert fine.centres(0)[:3].tolist() == [0.5, 2.5, 4.5]


@pytest.mark.parametrize("factor", [2, 4])
def test_refining_matches_interpolation_of_torch(factor: int) -> None:
    # Interpolating a ramp that gives each cell its own coordinate must give the finer cells
    # theirs, away from the border, where interpolation repeats the last cell.
    coarse = Grid.of_heatmap(height=9, width=11, stride=4)
    ramp = coarse.points(dtype=torch.float64).movedim(-1, 0)[None]
    fine = F.interpolate(ramp, scale_factor=factor, mode="bilinear", align_corners=False)[0]
    expected = coarse.refine(factor).points(dtype=torch.float64).movedim(-1, 0)
    inner = (slice(None), slice(factor, -factor), slice(factor, -factor))
    torch.testing.assert_close(fine[inner], expected[inner], rtol=0, atol=1e-9)


def test_large_indices_stay_exact_in_float32() -> None:
    centres = Grid((100_000,), (0.5,), (0.1,)).centres(0, dtype=torch.float32)
    expected = torch.tensor([0.5 + 0.1 * i for i in range(100_000)])
    torch.testing.assert_close(centres, expected, rtol=1e-7, atol=0)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_dtype_follows_the_points(dtype: torch.dtype) -> None:
    grid = GRIDS[1]
    points = torch.zeros(7, 2, dtype=dtype)
    assert grid.to_cells(points).dtype == dtype
    assert grid.from_cells(points).dtype == dtype
    assert grid.points(dtype=dtype).dtype == dtype
    assert grid.points().dtype == torch.get_default_dtype()


def test_equal_grids_are_equal_and_can_be_keys() -> None:
    here = {Grid.of_heatmap(height=3, width=5, stride=4): "found"}
    assert here[Grid((3, 5), (1.5, 1.5), (4.0, 4.0))] == "found"
    assert Grid.of_heatmap(height=5, width=3, stride=4) not in here


@pytest.mark.parametrize(
    ("shape", "origin", "spacing", "said"),
    [
        ((), (), (), "1, 2 or 3 dimensions"),
        ((2, 2, 2, 2), (0.0,) * 4, (1.0,) * 4, "1, 2 or 3 dimensions"),
        ((2, 3), (0.0,), (1.0, 1.0), "one entry per dimension"),
        ((2, 3), (0.0, 0.0), (1.0,), "one entry per dimension"),
        ((2, 0), (0.0, 0.0), (1.0, 1.0), r"shape must be positive whole numbers, got \(2, 0\)"),
        ((2, 3), (0.0, math.nan), (1.0, 1.0), "origin must be finite"),
        ((2, 3), (0.0, 0.0), (1.0, -2.0), r"spacing must be positive .*-2\.0"),
        ((2, 3), (0.0, 0.0), (1.0, math.inf), "spacing must be positive and finite"),
    ],
)
def test_wrong_grids_are_refused(shape, origin, spacing, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        Grid(shape, origin, spacing)


@pytest.mark.parametrize("stride", [0, -4, math.nan, math.inf])
def test_a_wrong_stride_is_refused(stride: float) -> None:
    with pytest.raises(ValueError, match="stride must be positive and finite"):
        Grid.of_heatmap(height=3, width=5, stride=stride)


@pytest.mark.parametrize(
    ("low", "high", "step", "said"),
    [
        (0, 10, 0, "step must be positive"),
        (0, 10, -1, "step must be positive"),
        (0, 10, math.nan, "step must be positive"),
        (0, 10, 3, "multiple of step, got 0, 10, 3"),
        (10, 0, 1, "multiple of step"),
        (0, math.inf, 1, "must be finite"),
        (math.nan, 10, 1, "must be finite"),
    ],
)
def test_a_wrong_interval_is_refused(low: float, high: float, step: float, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        Grid.of_interval(low, high, step=step)


@pytest.mark.parametrize("factor", [0, -1, 1.5])
def test_a_wrong_factor_is_refused(factor: float) -> None:
    with pytest.raises(ValueError, match="factor must be a positive whole number"):
        unchecked.load("kdn.grid").Grid((3, 5), (0.0, 0.0), (1.0, 1.0)).refine(factor)


def test_axes_and_points_of_another_dimension_are_refused() -> None:
    with pytest.raises(ValueError, match="axis must be 0 to 1, got 2"):
        GRIDS[1].centres(2)
    with pytest.raises(ValueError, match="axis must be 0 to 1, got -1"):
        GRIDS[1].centres(-1)
    with pytest.raises(ValueError, match=r"points must be \(…, 2\), got \(7, 1\)"):
        GRIDS[1].to_cells(torch.zeros(7, 1))
    with pytest.raises(ValueError, match=r"cells must be \(…, 1\), got \(7,\)"):
        GRIDS[0].from_cells(torch.zeros(7))
