"""The small convolutional network: shapes, strides, and dropout in training only."""

import pytest
import torch

from kdn.models.model import build_model
from kdn.models.networks.conv import ConvNet
from kdn.recipe import Recipe


@pytest.mark.parametrize(("depth", "height", "width"), [(1, 6, 10), (2, 12, 20), (3, 24, 8)])
def test_one_vector_per_picture_and_halvings_by_depth(depth, height, width):
    network = ConvNet(channels=7, features=8, depth=depth)
    maps = []
    network.stages.register_forward_hook(lambda module, inputs, output: maps.append(output.shape))
    [vectors] = network(torch.zeros(3, 3, height, width))
    assert vectors.shape == (3, 7)
    assert network.stride == 2**depth
    cells = (height // 2**depth, width // 2**depth)
    assert maps == [torch.Size([3, 8 * 2 ** (depth - 1), *cells])]


def test_every_weight_learns_and_pictures_are_told_apart():
    torch.manual_seed(0)
    network = ConvNet(channels=5, features=8, depth=2)
    pictures = torch.randn(4, 3, 12, 20)
    [vectors] = network(pictures)
    vectors.square().sum().backward()
    for name, weights in network.named_parameters():
        assert weights.grad is not None, name
        assert (weights.grad != 0).any(), name
    network.eval()
    [first] = network(pictures[:1])
    [all_four] = network(pictures)
    torch.testing.assert_close(all_four[:1], first)
    assert (all_four[1:] - first).abs().amax(dim=1).min() > 1e-3


def test_dropout_is_for_training_only():
    torch.manual_seed(0)
    network = ConvNet(channels=5, features=8, depth=2, dropout=0.5)
    pictures = torch.randn(2, 3, 12, 20)
    assert not torch.equal(network(pictures)[0], network(pictures)[0])
    network.eval()
    assert torch.equal(network(pictures)[0], network(pictures)[0])
    without = ConvNet(channels=5, features=8, depth=2)
    assert torch.equal(without(pictures)[0], without(pictures)[0])


def test_recipes_that_do_not_fit():
    parts = {"labels": {"names": ["age"]}, "network": {"name": "conv", "features": 8, "depth": 3}}
    for height, width in ((20, 24), (24, 20)):
        recipe = Recipe.of_dict({**parts, "data": {"height": height, "width": width}})
        with pytest.raises(ValueError, match=f"multiples of 8 for conv, got {height} and {width}"):
            build_model(recipe)
    recipe = Recipe.of_dict({"labels": {"names": ["age"]}})
    with pytest.raises(ValueError, match=r"network\.name fan gives maps"):
        build_model(recipe)
    recipe = Recipe.of_dict({**parts, "data": {"height": 24, "width": 32}})
    model = build_model(recipe).eval()
    crops = torch.randint(0, 256, (2, 3, 24, 32), dtype=torch.uint8)
    density = model.density(crops)
    assert density.batch_shape == (2, 1)
    torch.testing.assert_close(model.density(crops.float() / 255).mean, density.mean)
