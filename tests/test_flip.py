"""The mixture of a density and its mirror image."""

import math

import pytest
import torch

from kdn.data.markup import FACE68
from kdn.density import KernelDensity
from kdn.grid import Grid
from kdn.models.heads import flip_average
from kdn.models.model import build_model
from kdn.recipe import DataRecipe, HeadRecipe, NetworkRecipe, Recipe

GRID = Grid.of_heatmap(height=5, width=7, stride=4)  # a crop 28 pixels wide
FLIP = (1, 0, 2)


def maps(seed: int) -> torch.Tensor:
    return torch.randn(2, 3, 5, 7, generator=torch.Generator().manual_seed(seed)).double()


def turned_back(points: torch.Tensor) -> torch.Tensor:
    """Return points of the crop as they lie in its mirror image, landmarks renumbered."""
    mirrored = points[:, list(FLIP)].clone()
    mirrored[..., 0] = 27 - mirrored[..., 0]
    return mirrored


@pytest.mark.parametrize("options", [{"bandwidth": 3.0}, {"kernel": "uniform"}])
def test_it_is_the_mixture(options):
    one, other = KernelDensity(maps(0), GRID, **options), KernelDensity(maps(1), GRID, **options)
    both = flip_average(one, other, FLIP)
    points = torch.rand(2, 3, 2).double() * torch.tensor([28.0, 20.0])
    # p(y) of landmark i is half its own and half that of landmark flip[i] at the mirrored point.
    seen = other.log_prob(turned_back(points))[:, list(FLIP)]
    expected = torch.logaddexp(one.log_prob(points), seen) - math.log(2)
    assert torch.allclose(both.log_prob(points), expected, atol=1e-12)
    back = turned_back(other.mean)
    assert torch.allclose(both.mean, 0.5 * (one.mean + back), atol=1e-12)


def test_learned_bandwidths_keep_mean_and_covariance():
    h = torch.tensor([2.0, 3.0, 5.0]).double()
    one = KernelDensity(maps(2), GRID, bandwidth=h)
    other = KernelDensity(maps(3), GRID, bandwidth=h)
    both = flip_average(one, other, FLIP)
    wide = one.bandwidth
    assert wide is not None
    back = turned_back(other.mean)
    turned = other.covariance_matrix[:, list(FLIP)] * torch.tensor([[1.0, -1.0], [-1.0, 1.0]])
    gap = (one.mean - back).unsqueeze(-1)
    expected = 0.5 * (one.covariance_matrix + turned) + 0.25 * gap @ gap.mT
    assert torch.allclose(both.covariance_matrix, expected, atol=1e-10)
    assert torch.allclose(both.mean, 0.5 * (one.mean + back), atol=1e-12)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"grid": Grid((5, 7), (0.0, 0.0), (4.0, 4.0))}, "grid and kernel"),
        ({"kernel": "uniform", "bandwidth": None}, "grid and kernel"),
        ({"bandwidth": torch.ones(2, 3, 5, 7).double()}, "alike in all cells"),
        ({"offsets": torch.zeros(2, 3, 2, 5, 7).double()}, "alike in all cells"),
    ],
)
def test_what_cannot_be_averaged(wrong, said):
    one = KernelDensity(maps(0), GRID, bandwidth=3.0)
    other = KernelDensity(maps(1), **{"grid": GRID, "bandwidth": 3.0, **wrong})
    with pytest.raises(ValueError, match=said):
        flip_average(one, other, FLIP)


def test_another_number_of_landmarks():
    one = KernelDensity(maps(0), GRID, bandwidth=3.0)
    with pytest.raises(ValueError, match="flip must have 3 entries, got 2"):
        flip_average(one, one, (1, 0))


def test_a_model_says_the_same_of_a_crop_and_its_mirror_image():
    recipe = Recipe(
        data=DataRecipe(height=32, width=48),
        network=NetworkRecipe(features=8, depth=1),
        head=HeadRecipe("kdn_gaussian", 1.0, "landmark", 2),
    )
    torch.manual_seed(0)
    model = build_model(recipe).eval()
    crops = torch.randint(0, 256, (2, 3, 32, 48), dtype=torch.uint8)
    with torch.no_grad():
        seen = model.density(crops, flip=True)
        mirrored = model.density(crops.flip(-1), flip=True)
        plain = model.density(crops)
    expected = seen.mean[:, list(FACE68.flip)]
    expected[..., 0] = 47 - expected[..., 0]
    assert torch.allclose(mirrored.mean, expected, atol=1e-3)
    assert not torch.allclose(plain.mean, seen.mean, atol=1e-1)


@pytest.mark.parametrize("name", ["gaussian", "kdn_adaptive"])
def test_heads_without_a_flip_average(name):
    network = NetworkRecipe(name="resnet18") if name == "gaussian" else NetworkRecipe(features=8)
    recipe = Recipe(
        data=DataRecipe(height=64, width=64),
        network=network,
        head=HeadRecipe(name, learn_bandwidth="fixed", refine=1),
    )
    model = build_model(recipe).eval()
    with torch.no_grad(), pytest.raises(ValueError, match="must"):
        model.density(torch.zeros(2, 3, 64, 64, dtype=torch.uint8), flip=True)
