"""The core of a heatmap against a loop over its cells and the closed form of a Gaussian."""

import math

import numpy as np
import pytest

from kdn.evaluate import elongation
from kdn.grid import Grid
from kdn.predictions import Maps, core_covariances

GRID = Grid((41, 52), (-3.0, 40.0), (0.5, 0.8))
"""Not square, cells not square, off-centre."""


def maps_of(log_probs: np.ndarray, grid: Grid = GRID) -> Maps:
    n, landmarks = log_probs.shape[:2]
    return Maps(
        ids=tuple(f"face {i}" for i in range(n)),
        crops=np.zeros((n, 9, 7, 3), np.uint8),
        log_probs=log_probs.astype(np.float16),
        target=np.zeros((n, landmarks, 2), np.float32),
        visible=np.ones((n, landmarks), bool),
        grid=grid,
    )


COVARIANCES = np.array(
    [
        [[9.0, 4.0, 4.0], [3.0, -2.0, 6.0], [2.0, 0.0, 2.0]],
        [[1.5, 0.5, 8.0], [10.0, 0.0, 2.0], [6.0, 3.0, 3.0]],
    ]
)


def gaussians() -> np.ndarray:
    """Masses of rotated Gaussians of 2 faces with 3 landmarks, about the middle of the map."""
    x, y = np.moveaxis(GRID.points().numpy(), -1, 0)
    middle = np.random.default_rng(0).uniform((9, 55), (11, 57), (2, 3, 2))
    dx, dy = (at - middle[..., axis, None, None] for axis, at in ((0, x), (1, y)))
    xx, xy, yy = (COVARIANCES[..., i, None, None] for i in range(3))
    squares = (yy * dx**2 - 2 * xy * dx * dy + xx * dy**2) / (xx * yy - xy**2)
    masses = np.exp(-0.5 * squares)
    return masses / masses.sum(axis=(-2, -1), keepdims=True)


def naive(log_probs: np.ndarray, share: float) -> list[float]:
    """The covariance of one core, cell by cell."""
    highest = max(math.exp(value) for value in log_probs.ravel())
    rows = []
    for j in range(log_probs.shape[0]):
        for i in range(log_probs.shape[1]):
            mass = math.exp(log_probs[j, i])
            if mass >= share * highest:
                rows.append((mass, -3.0 + 0.5 * i, 40.0 + 0.8 * j))
    mass, x, y = np.array(rows).T
    xx, xy, yy = np.cov(x, y, aweights=mass, ddof=0)[(0, 0, 1), (0, 1, 1)]
    return [xx + 0.25 / 12, xy, yy + 0.64 / 12]


@pytest.mark.parametrize("share", [0.2, 0.5, 1.0])
def test_cores_cell_by_cell(share):
    maps = maps_of(np.log(gaussians()))
    got = core_covariances(maps, share)
    assert got.shape == (2, 3, 3)
    for face, landmark in ((0, 0), (1, 2), (1, 0)):
        wanted = naive(maps.log_probs[face, landmark].astype(np.float64), share)
        np.testing.assert_allclose(got[face, landmark], wanted, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("share", [0.1, 0.5])
def test_cores_of_gaussians_keep_their_shape(share):
    """Within the contour of that share the covariance is a known part of the whole one."""
    part = 1 + share * math.log(share) / (1 - share)
    got = core_covariances(maps_of(np.log(gaussians())), share)
    # Cells at the edge of the core are in or out as a whole: some per cent of its size.
    size = part * (COVARIANCES[..., 0] + COVARIANCES[..., 2])[..., None]
    np.testing.assert_allclose(got / size, part * COVARIANCES / size, atol=0.05)


def test_a_floor_changes_the_whole_covariance_but_not_the_core():
    masses = gaussians()
    floor = np.full_like(masses, 1 / masses[0, 0].size)
    mixed = 0.8 * masses + 0.2 * floor
    clean, floored = (core_covariances(maps_of(np.log(each))) for each in (masses, mixed))
    np.testing.assert_allclose(elongation(floored), elongation(clean), rtol=0.06)
    whole = core_covariances(maps_of(np.log(mixed)), 1e-6)
    assert (whole[..., 0] > 3 * floored[..., 0]).all()


def test_one_cell_is_as_wide_as_a_cell():
    log_probs = np.full((2, 3, *GRID.shape), -6e4)
    log_probs[:, :, 7, 50] = 0.0
    got = core_covariances(maps_of(log_probs))
    np.testing.assert_allclose(got, np.broadcast_to([0.25 / 12, 0, 0.64 / 12], (2, 3, 3)))


def test_cells_of_minus_infinity_have_no_mass():
    log_probs = np.full((1, 2, *GRID.shape), -np.inf)
    log_probs[0, 0, 3, 4] = log_probs[0, 0, 3, 8] = -1.0
    got = core_covariances(maps_of(log_probs))
    np.testing.assert_allclose(got[0, 0], [1.0 + 0.25 / 12, 0, 0.64 / 12])  # 4 cells of ½ apart
    assert np.isnan(got[0, 1]).all()


@pytest.mark.parametrize("share", [0.0, 1.1, math.nan])
def test_share_is_a_share(share):
    with pytest.raises(ValueError, match="share must be in"):
        core_covariances(maps_of(np.log(gaussians())), share)
