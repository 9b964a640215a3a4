"""Networks: sizes, shapes, names of weights, and that every weight learns."""

import pytest
import torch
from torch import nn

from kdn.models.networks import Network
from kdn.models.networks.fan import FAN


def parameters(network: nn.Module) -> int:
    return sum(p.numel() for p in network.parameters())


@pytest.mark.parametrize(
    ("height", "width", "stacks", "depth"),
    # 20 rows of input are 5 cells, then 3, 2, 1: odd sizes on the way down and up.
    [(32, 48, 1, 2), (20, 36, 2, 3), (64, 32, 3, 4), (4, 12, 1, 1)],
)
def test_fan_gives_maps_of_a_quarter_of_the_input_from_every_stack(height, width, stacks, depth):
    network = FAN(channels=5, stacks=stacks, features=16, depth=depth)
    outputs = network(torch.zeros(3, 3, height, width))
    assert [tuple(maps.shape) for maps in outputs] == [(3, 5, height // 4, width // 4)] * stacks


def test_fan_of_the_published_configuration_has_the_published_size():
    with torch.device("meta"):
        network = FAN(channels=68, stacks=4, features=256, depth=4)
    # 24 million in the publication; counted by hand for one block below.
    assert parameters(network) == 23_820_176


def test_multi_scale_block_has_the_parameters_counted_by_hand():
    with torch.device("meta"):
        one = parameters(FAN(channels=68, stacks=1, features=256, depth=1))
        two = parameters(FAN(channels=68, stacks=1, features=256, depth=2))
    # Three more blocks: 256→128, 128→64 and 64→64 by 3×3, each behind a batch normalisation.
    block = 9 * (256 * 128 + 128 * 64 + 64 * 64) + 2 * (256 + 128 + 64)
    assert two - one == 3 * block


def test_fan_rejects_an_input_that_is_no_multiple_of_its_stride():
    with pytest.raises(ValueError, match=r"multiples of 4, got \(2, 3, 30, 32\)"):
        FAN(channels=2, stacks=1, features=8, depth=1)(torch.zeros(2, 3, 30, 32))


def test_fan_keeps_the_place_of_what_it_sees():
    """A bright spot moved by eight pixels moves the maps by two cells: nothing is transposed."""
    torch.manual_seed(0)
    network = FAN(channels=3, stacks=1, features=8, depth=1).eval()
    image = torch.zeros(2, 3, 64, 96)
    image[0, :, 32, 40] = 10
    image[1, :, 32, 48] = 10
    with torch.no_grad():
        maps = network(image)[0]
    torch.testing.assert_close(maps[0, :, 4:-4, 6:-8], maps[1, :, 4:-4, 8:-6])
    assert (maps[0] - maps[1]).abs().max() > 1e-3


def test_every_stack_s_loss_reaches_every_weight_before_it():
    network = FAN(channels=2, stacks=2, features=8, depth=1)
    outputs = network(torch.randn(2, 3, 16, 24))
    outputs[0].square().sum().backward(retain_graph=True)
    touched = {name for name, p in network.named_parameters() if p.grad is not None}
    assert "stem.0.weight" in touched
    assert "stacks.0.to_maps.weight" in touched
    assert not any(name.startswith("stacks.1") for name in touched)
    outputs[1].square().sum().backward()
    assert all(p.grad is not None for p in network.parameters())


def resnet(layers: int) -> type[Network]:
    return Network.registry[f"resnet{layers}"]


@pytest.mark.parametrize(("layers", "expected"), [(18, 11_689_512), (50, 25_557_032)])
def test_resnet_has_torchvision_s_size(layers, expected):
    with torch.device("meta"):
        assert parameters(resnet(layers)(1000)) == expected


@pytest.mark.parametrize(("layers", "entries"), [(18, 122), (50, 320)])
def test_resnet_has_torchvision_s_names(layers, entries):
    with torch.device("meta"):
        state = resnet(layers)(1000).state_dict()
    assert len(state) == entries
    last = {18: "layer4.1.conv2.weight", 50: "layer4.2.conv3.weight"}[layers]
    shapes = {name: tuple(state[name].shape) for name in ("conv1.weight", "fc.weight", last)}
    assert shapes["conv1.weight"] == (64, 3, 7, 7)
    assert shapes[last] == {18: (512, 512, 3, 3), 50: (2048, 512, 1, 1)}[layers]
    assert len(state["layer2.0.downsample.0.weight"]) == {18: 128, 50: 512}[layers]
    assert "layer2.0.downsample.1.num_batches_tracked" in state
    # ResNet-18's first layer keeps resolution and width: no projection there.
    assert ("layer1.0.downsample.0.weight" in state) == (layers == 50)


@pytest.mark.parametrize("layers", [18, 50])
def test_resnet_gives_one_vector_per_picture(layers):
    vectors = resnet(layers)(7).eval()(torch.zeros(2, 3, 32, 64))
    assert [tuple(v.shape) for v in vectors] == [(2, 7)]
