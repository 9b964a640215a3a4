"""Boundary maps against maps moved by SciPy, lines that are known, and ridges put there."""

import math

import numpy as np
import pytest
import torch
from scipy.ndimage import shift

from kdn.data.synthetic.drawing import curve as drawn_curve
from kdn.density import KernelDensity
from kdn.grid import Grid
from kdn.predict.boundary import Boundary, boundary_map, contour_curve, ridge

GRID = Grid((25, 31), (3.0, -2.0), (2.0, 2.0))


def blobs(centres: torch.Tensor, widths: tuple[float, float]) -> KernelDensity:
    """Densities `(batch, landmarks)` about points in the grid's frame, wider along x than y."""
    apart = (
        GRID.points(dtype=torch.float64, device=torch.device("cpu")) - centres[..., None, None, :]
    )
    logits = -0.5 * (apart / torch.tensor(widths).double()).square().sum(-1)
    return KernelDensity(logits, GRID, bandwidth=1.0)


@pytest.fixture
def contour() -> torch.Tensor:
    """A bent line of four landmarks for two faces, not where cells are."""
    x = torch.tensor([16.3, 26.0, 39.7, 48.9]).double()
    y = torch.tensor([[9.1, 22.4, 24.0, 14.2], [30.0, 21.2, 20.5, 29.1]]).double()
    return torch.stack([x.expand(2, 4), y], -1)


def test_the_curve_is_that_of_the_drawn_faces(contour: torch.Tensor) -> None:
    fine = contour_curve(contour, 400)
    for face in range(2):
        wanted = drawn_curve(contour[face].numpy())
        apart = np.linalg.norm(wanted[:, None] - fine[face].numpy(), axis=-1).min(1)
        assert apart.max() < 0.1
    steps = (fine[:, 1:] - fine[:, :-1]).norm(dim=-1)
    torch.testing.assert_close(
        steps, steps.mean(1, keepdim=True).expand_as(steps), rtol=2e-3, atol=0
    )
    torch.testing.assert_close(fine[:, [0, -1]], contour[:, [0, -1]])
    with pytest.raises(ValueError, match="got 1 points and 5 steps"):
        contour_curve(contour[:, :1], 5)


def test_the_map_equals_masses_moved_by_scipy(contour: torch.Tensor) -> None:
    density = blobs(contour, (3.0, 1.5))
    found = boundary_map(density, (0, 1, 2, 3))
    masses, means = density.cell_masses().numpy(), density.mean.numpy()
    for face in range(2):
        none = np.ones(GRID.shape)
        # Where each point lies between landmarks: by the nearest of many points of each piece.
        dense = [contour_curve(density.mean, 3001)[face].numpy()]
        ends = [np.linalg.norm(dense[0] - mean, axis=1).argmin() for mean in means[face]]
        for point in found.curve[face].numpy():
            at = np.linalg.norm(dense[0] - point, axis=1).argmin()
            first = int(np.clip(np.searchsorted(ends, at, side="right") - 1, 0, 2))
            # Catmull and Rom's parameter, not the length, is what the share is of.
            share = _parameter(means[face], first, point)
            mixed = np.zeros(GRID.shape)
            for landmark, weight in ((first, 1 - share), (first + 1, share)):
                across, down = (point - means[face, landmark]) / 2.0
                moved = shift(masses[face, landmark], (down, across), order=1, mode="grid-constant")
                mixed += weight * moved
            none *= 1 - mixed
        np.testing.assert_allclose(found.probs[face].numpy(), 1 - none, atol=2e-3)
    assert found.probs.amax() > 0.2


def _parameter(means: np.ndarray, piece: int, point: np.ndarray) -> float:
    """Return the parameter of the point of one piece of the curve that is nearest."""
    padded = np.concatenate([[2 * means[0] - means[1]], means, [2 * means[-1] - means[-2]]])
    p0, p1, p2, p3 = padded[piece : piece + 4]
    t = np.linspace(0, 1, 2001)[:, None]
    cubic = 0.5 * (
        2 * p1
        + (p2 - p0) * t
        + (2 * p0 - 5 * p1 + 4 * p2 - p3) * t**2
        + (3 * p1 - p0 - 3 * p2 + p3) * t**3
    )
    return float(t[np.linalg.norm(cubic - point, axis=1).argmin(), 0])


def test_a_boundary_of_known_width_has_that_much_in_each_cell() -> None:
    """A straight line that may be anywhere across: `Σ` over a column of cells is about 1."""
    centres = torch.tensor([[[11.0, 22.0], [27.0, 22.0], [45.0, 22.0], [57.0, 22.0]]]).double()
    found = boundary_map(blobs(centres, (2.0, 4.0)), (0, 1, 2, 3))
    across = found.probs[0, :, 10:20].sum(0)
    assert ((across > 0.85) & (across < 1.02)).all()
    peak = 2.0 / (math.sqrt(2 * math.pi) * math.hypot(4.0, 1.0))  # one cell of the true profile
    assert found.probs[0, 10:15, 15].max().item() == pytest.approx(peak, rel=0.12)


def test_the_map_turns_with_its_axes(contour: torch.Tensor) -> None:
    density = blobs(contour, (3.0, 1.5))
    turned = KernelDensity(
        density.raw_logits.mT, Grid((31, 25), (-2.0, 3.0), (2.0, 2.0)), bandwidth=1.0
    )
    there = boundary_map(turned, (0, 1, 2, 3)).probs.mT
    torch.testing.assert_close(there, boundary_map(density, (0, 1, 2, 3)).probs)
    order = boundary_map(density, (3, 2, 1, 0))
    torch.testing.assert_close(order.probs, boundary_map(density, (0, 1, 2, 3)).probs)


def test_the_ridge_finds_a_crest_between_cells() -> None:
    """The map is a wall along a wave; the curve to start from is a straight line."""
    points = GRID.points(dtype=torch.float64, device=torch.device("cpu"))
    wave = 21.3 + 2.5 * torch.sin(points[..., 0] / 9)
    probs = torch.exp(-0.5 * ((points[..., 1] - wave) / 2.2).square())[None]
    x = torch.linspace(8, 58, 40).double()
    line = torch.stack([x, torch.full_like(x, 21.0)], -1)[None]
    crest = ridge(Boundary(probs, GRID, line), reach=6.0)
    wanted = 21.3 + 2.5 * torch.sin(x / 9)
    torch.testing.assert_close(crest[0, :, 0], x)
    off = (crest[0, :, 1] - wanted).abs()
    assert off.mean() < 0.15
    assert off.max() < 0.5
    before = (line[0, :, 1] - wanted).abs().mean()
    assert before > 1.0
    near = ridge(Boundary(probs, GRID, line), reach=1.0)
    assert (near - line).norm(dim=-1).max() <= 1.0 + 1e-9


def test_the_ridge_of_densities_lies_on_their_curve(contour: torch.Tensor) -> None:
    found = boundary_map(blobs(contour, (2.0, 2.0)), (0, 1, 2, 3), refine=2)
    assert found.probs.shape == (2, 50, 62)
    crest = ridge(found, reach=4.0)
    assert (crest - found.curve).norm(dim=-1).max() < 1.0


def test_what_has_no_boundary(contour: torch.Tensor) -> None:
    density = blobs(contour, (2.0, 2.0))
    with pytest.raises(ValueError, match=r"at least two of the landmarks 0 to 3, got \(2,\)"):
        boundary_map(density, (2,))
    with pytest.raises(ValueError, match=r"got \(0, 4\)"):
        boundary_map(density, (0, 4))
    with pytest.raises(ValueError, match="2-D grid and batch"):
        boundary_map(KernelDensity(density.raw_logits[0], GRID, bandwidth=1.0), (0, 1))
    with pytest.raises(ValueError, match="reach must be positive, got 0"):
        ridge(boundary_map(density, (0, 1)), reach=0.0)
