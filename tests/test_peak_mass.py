"""The heaviest square against sampled masses, a dense sum, SciPy and cases done by hand."""

import math

import numpy as np
import pytest
import torch
from scipy.integrate import dblquad
from scipy.stats import multivariate_normal

from densities import GRIDS, density_of, uniform
from kdn.density import GaussianDensity, KernelDensity, peak_mass
from kdn.grid import Grid


def heaviest(density: KernelDensity, width: int, rows: int) -> torch.Tensor:
    """Return the same by going through all windows of a density's own cells."""
    masses = density.cell_masses()
    height, across = masses.shape[-2:]
    found = torch.zeros(density.batch_shape, dtype=masses.dtype)
    for top in range(height - rows + 1):
        for left in range(across - width + 1):
            window = masses[..., top : top + rows, left : left + width].sum((-2, -1))
            found = torch.maximum(found, window)
    return found


@pytest.mark.parametrize("form", ["number", "map", "cell"])
def test_whole_cells_equal_all_windows(form: str) -> None:
    density = density_of(form, 2, offsets=form == "cell")
    assert density.grid.spacing == (4.0, 3.0)
    torch.testing.assert_close(peak_mass(density, 12.0), heaviest(density, 3, 4))


def test_a_side_below_a_cell_takes_parts_of_cells() -> None:
    logits = uniform(2, 3, 5, 7, low=-2.0, high=2.0, seed=4)
    grid = Grid((5, 7), (0.5, 1.5), (4.0, 4.0))
    density = KernelDensity(logits, grid, bandwidth=1.3)
    fine = density.cell_masses(4)
    windows = torch.nn.functional.avg_pool2d(fine, 2, stride=1) * 4
    torch.testing.assert_close(peak_mass(density, 2.0), windows.amax((-2, -1)))


def test_two_equal_places_have_half_each() -> None:
    grid = Grid.of_heatmap(height=6, width=11, stride=4)
    logits = torch.full((2, 6, 11), -math.inf)
    logits[0, 2, 3] = logits[0, 2, 8] = logits[1, 4, 1] = 0.0
    density = KernelDensity(logits, grid, bandwidth=0.05)
    torch.testing.assert_close(peak_mass(density, 4.0), torch.tensor([0.5, 1.0]))
    torch.testing.assert_close(peak_mass(density, 24.0), torch.tensor([1.0, 1.0]))


def test_a_single_kernel_is_known_in_closed_form() -> None:
    """A kernel in the middle of a cell: `erf(side/2 / (√2 h))` along each axis."""
    grid = GRIDS[2]
    square = Grid(grid.shape, grid.origin, (4.0, 4.0))
    logits = torch.full((1, *grid.shape), -math.inf, dtype=torch.float64)
    logits[0, 2, 4] = 0.0
    density = KernelDensity(logits, square, bandwidth=1.7)
    share = math.erf(2.0 / (math.sqrt(2) * 1.7))
    torch.testing.assert_close(peak_mass(density, 4.0).item(), share**2)


def test_gaussians_equal_scipy() -> None:
    tril = torch.tensor(
        [[[1.0, 0.0], [0.6, 0.5]], [[5.0, 0.0], [-2.0, 3.0]], [[0.1, 0], [0.02, 9]]]
    )
    mean = torch.tensor([[3.0, -7.0], [40.0, 2.0], [0.0, 1.0]], dtype=torch.float64)
    density = GaussianDensity(mean, tril.double())
    for row in range(2):
        spread = density.covariance_matrix[row].tolist()
        normal = multivariate_normal(mean[row].tolist(), spread)  # type: ignore
        x, y = mean[row].tolist()
        wanted = dblquad(lambda v, u, n=normal: n.pdf([u, v]), x - 2, x + 2, y - 2, y + 2)[0]
        assert peak_mass(density, 4.0)[row].item() == pytest.approx(wanted, abs=1e-8)
    narrow = math.erf(2 / math.sqrt(2) / math.hypot(0.02, 9))
    assert peak_mass(density, 4.0)[2].item() == pytest.approx(narrow, rel=1e-4)


def test_a_fine_grid_of_a_gaussian_nears_the_gaussian() -> None:
    grid = Grid((81, 121), (-30.0, -20.0), (0.5, 0.5))
    gaussian = GaussianDensity(torch.tensor([0.2, -0.3]), torch.tensor([[4.0, 0.0], [1.0, 2.5]]))
    centres = grid.points(dtype=torch.float64, device=torch.device("cpu"))
    logits = gaussian.log_prob(centres).unsqueeze(0)
    density = KernelDensity(logits, grid, kernel="uniform")
    got, wanted = peak_mass(density, 4.0).item(), peak_mass(gaussian, 4.0).item()
    assert got == pytest.approx(wanted, abs=2e-3)


def test_no_drawn_square_is_heavier() -> None:
    density = density_of("map", 2)
    drawn = density.sample((20000,), generator=torch.Generator().manual_seed(0)).numpy()
    side, rng = 12.0, np.random.default_rng(1)
    found = peak_mass(density, side).numpy()
    low, high = density.grid.low, density.grid.high
    corners = rng.uniform(low, np.array(high) - side, (200, 2))
    for corner in corners:
        inside = ((drawn >= corner) & (drawn < corner + side)).all(-1).mean(0)
        assert (inside < found + 0.03).all()


def test_what_cannot_be_asked() -> None:
    with pytest.raises(ValueError, match="side must be positive and finite, got -1"):
        peak_mass(density_of("map", 2), -1.0)
    with pytest.raises(ValueError, match=r"whole number of cells .* got 5\.5"):
        peak_mass(density_of("map", 2), 5.5)
    with pytest.raises(ValueError, match=r"one of the plane, got event shape \(\)"):
        peak_mass(density_of("map", 1), 1.0)
