"""Every decoder by hand, on a map whose answers all differ."""

import math

import pytest
import torch

from densities import density_of
from kdn.density import DECODERS, GaussianDensity, KernelDensity, decode
from kdn.grid import Affine, Grid

GRID = Grid.of_heatmap(height=5, width=7, stride=4)


def peaked(offsets: torch.Tensor | None = None) -> KernelDensity:
    """Return 5×7 maps with masses ½, ⅕, ⅒, ⅕ in cells (x, y) = (2, 1), (3, 1), (2, 0), (6, 4).

    In crop pixels these lie at (9.5, 5.5), (13.5, 5.5), (9.5, 1.5) and (25.5, 17.5).
    """
    probs = torch.zeros(2, 3, 5, 7, dtype=torch.float64)
    probs[..., 1, 2], probs[..., 1, 3], probs[..., 0, 2], probs[..., 4, 6] = 0.5, 0.2, 0.1, 0.2
    return KernelDensity(probs.log(), GRID, bandwidth=4.0, offsets=offsets)


BY_HAND = {
    "argmax": (9.5, 5.5),
    "quarter": (10.5, 4.5),
    "mean": (0.6 * 9.5 + 0.2 * 13.5 + 0.2 * 25.5, 0.7 * 5.5 + 0.1 * 1.5 + 0.2 * 17.5),
    "local_mean": ((0.6 * 9.5 + 0.2 * 13.5) / 0.8, (0.7 * 5.5 + 0.1 * 1.5) / 0.8),
}


@pytest.mark.parametrize("decoder", BY_HAND)
def test_by_hand(decoder: str) -> None:
    found = decode(peaked(), decoder)
    expected = torch.tensor(BY_HAND[decoder]).double().expand(2, 3, 2)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-6)


def test_mode_by_hand() -> None:
    """Two equal kernels, a cell apart, at a bandwidth of one cell: halfway between them."""
    logits = torch.full((2, 3, 5, 7), -math.inf)
    logits[..., 3, 2] = logits[..., 3, 3] = 0.0
    found = decode(KernelDensity(logits, GRID, bandwidth=4.0), "mode")
    torch.testing.assert_close(found, torch.tensor([11.5, 13.5]).expand(2, 3, 2), rtol=0, atol=1e-3)
    best = decode(peaked(), "mode")
    beside = peaked().log_prob(best + torch.tensor([[[[0.5, 0]]], [[[0, 0.5]]], [[[-0.5, -0.5]]]]))
    assert (beside < peaked().log_prob(best)).all()


def test_quarter_at_the_edges_and_between_equals() -> None:
    """The axis on which the cell is at the edge stays; so does one with equal neighbours."""
    logits = torch.zeros(2, 3, 5, 7)
    logits[0, :, 0, 3], logits[0, :, 0, 2] = 5.0, 1.0  # at the top, heavier to the left
    logits[1, :, 2, 6], logits[1, :, 3, 6] = 5.0, 1.0  # at the right, heavier below
    logits[1, 2] = 0.0
    logits[1, 2, 2, 3] = 5.0  # neighbours equal
    found = GRID.to_cells(decode(KernelDensity(logits, GRID, bandwidth=4.0), "quarter"))
    expected = torch.tensor([[2.75, 0.0], [6.0, 2.25]])[:, None].repeat(1, 3, 1)
    expected[1, 2] = torch.tensor([3.0, 2.0])
    torch.testing.assert_close(found, expected)


def test_offsets_move_the_kernels() -> None:
    offsets = torch.tensor([1.0, -2.0]).double()[:, None, None].expand(2, 3, 2, 5, 7).clone()
    offsets[:, :, :, 4, 6] = 0.0
    density = peaked(offsets=offsets)
    torch.testing.assert_close(decode(density, "argmax")[1, 2].tolist(), [10.5, 3.5])
    torch.testing.assert_close(decode(density, "quarter"), decode(peaked(), "quarter"))
    moved = torch.tensor([1.0, -2.0]).double()
    torch.testing.assert_close(
        decode(density, "local_mean"), decode(peaked(), "local_mean") + moved
    )
    torch.testing.assert_close(decode(density, "mean"), decode(peaked(), "mean") + 0.8 * moved)


def test_the_radius_of_the_local_mean() -> None:
    """Crop pixels on each axis: 3 is less than a cell, 4 just takes the neighbours in."""
    near = decode(peaked(), "local_mean", radius=3.0)
    torch.testing.assert_close(near, decode(peaked(), "argmax"))
    wide = decode(peaked(), "local_mean", radius=4.0)
    torch.testing.assert_close(wide, decode(peaked(), "local_mean"))
    whole = decode(peaked(), "local_mean", radius=100.0)
    torch.testing.assert_close(whole, decode(peaked(), "mean"))


@pytest.mark.parametrize("decoder", DECODERS)
@pytest.mark.parametrize("ndim", [1, 3])
def test_on_lines_and_in_space(ndim: int, decoder: str) -> None:
    density = density_of("map", ndim)
    found = decode(density, decoder)
    assert found.shape == (2, 3, *density.event_shape)
    best = density.raw_logits.flatten(2).argmax(-1)
    centres = density.grid.points(dtype=torch.float64).reshape(-1, ndim)[best].reshape(found.shape)
    limit = {"argmax": 0.0, "quarter": 0.25, "local_mean": 2.5}.get(decoder, math.inf)
    spacing = torch.tensor(density.grid.spacing).double()
    assert ((found - centres).abs() <= limit * spacing + 1e-9).all()


@pytest.mark.parametrize("decoder", DECODERS)
def test_a_gaussian_has_its_mean(decoder: str) -> None:
    density = GaussianDensity(torch.rand(2, 3, 2), torch.eye(2))
    assert torch.equal(decode(density, decoder), density.mean)


@pytest.mark.parametrize("decoder", DECODERS)
def test_decoded_in_the_map_and_then_moved(decoder: str) -> None:
    """A quarter of a cell is taken along the map's own axes, also where these are turned."""
    affine = Affine.of_crop(centre=(50.0, 40.0), scale=2.0, height=20, width=28, rotation=0.5)
    found = decode(peaked().mapped(affine), decoder)
    torch.testing.assert_close(found, affine.points(decode(peaked(), decoder)))


def test_errors_name_the_argument() -> None:
    with pytest.raises(ValueError, match=r"decoder must be one of argmax, .*, got 'median'"):
        decode(peaked(), "median")
    with pytest.raises(ValueError, match=r"radius .* got 2.0 for 'mean'"):
        decode(peaked(), "mean", radius=2.0)
    with pytest.raises(ValueError, match=r"radius must not be negative .* got -1.0"):
        decode(peaked(), "local_mean", radius=-1.0)
