"""Models and their files: what is written is what is read, and what cannot be read says why."""

import json

import pytest
import torch
from safetensors.torch import load_file, save_file

from kdn.models.checkpoint import TrainingState, load_model, read_state, save_model, write_state
from kdn.models.model import build_model, load_initial_weights
from kdn.recipe import DataRecipe, HeadRecipe, NetworkRecipe, Recipe

SMALL = NetworkRecipe(features=8, depth=1)
RECIPES = {
    "published": Recipe(
        data=DataRecipe(height=32, width=48),
        network=SMALL,
        head=HeadRecipe(learn_bandwidth="fixed", refine=1),
    ),
    "refined": Recipe(
        data=DataRecipe(height=32, width=48),
        network=SMALL,
        head=HeadRecipe(refine=2, learn_bandwidth="landmark"),
    ),
    "gaussian": Recipe(
        data=DataRecipe(height=32, width=64),
        network=NetworkRecipe(name="resnet18"),
        head=HeadRecipe(name="gaussian"),
    ),
}


def crops(recipe: Recipe) -> torch.Tensor:
    size = (2, 3, recipe.data.height, recipe.data.width)
    generator = torch.Generator().manual_seed(0)
    return torch.randint(0, 256, size, dtype=torch.uint8, generator=generator)


@pytest.mark.parametrize("name", RECIPES)
def test_a_saved_model_is_the_same_model(name, tmp_path):
    recipe = RECIPES[name]
    torch.manual_seed(1)
    model = build_model(recipe).eval()
    save_model(tmp_path / "new" / "model.safetensors", model, {"epoch": 3})
    state = torch.get_rng_state()
    loaded, facts = load_model(tmp_path / "new" / "model.safetensors")
    assert torch.equal(torch.get_rng_state(), state)
    assert not loaded.training
    assert loaded.recipe == recipe
    assert facts["epoch"] == 3
    with torch.no_grad():
        ours, theirs = model.density(crops(recipe)), loaded.density(crops(recipe))
    assert torch.equal(ours.mean, theirs.mean)
    assert torch.equal(ours.covariance_matrix, theirs.covariance_matrix)
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["model.safetensors"]


def test_a_uint8_crop_and_its_float_are_the_same_picture():
    model = build_model(RECIPES["published"]).eval()
    picture = crops(RECIPES["published"])
    with torch.no_grad():
        torch.testing.assert_close(model(picture)[0], model(picture.float() / 255)[0])


def test_the_density_s_frame_is_the_crop():
    model = build_model(RECIPES["refined"]).eval()
    density = model.density(crops(RECIPES["refined"]))
    assert density.batch_shape == (2, 68)
    assert (density.mean[..., 0] < 48 + 32).all()
    assert density.logits.shape == (2, 68, 16, 24)  # type: ignore[union-attr]


def test_training_state_round_trip(tmp_path):
    tensors = {"a": torch.randn(2, 3), "b": torch.arange(4, dtype=torch.uint8)}
    write_state(tmp_path / "state.safetensors", TrainingState(tensors, {"history": [{"x": 1.5}]}))
    state = read_state(tmp_path / "state.safetensors")
    assert state.facts["history"] == [{"x": 1.5}]
    assert all(torch.equal(state.tensors[name], tensors[name]) for name in tensors)


def test_errors_name_the_file(tmp_path):
    path = tmp_path / "x.safetensors"
    with pytest.raises(FileNotFoundError, match=r"x\.safetensors: no such file"):
        load_model(path)
    path.write_bytes(b"not a checkpoint")
    with pytest.raises(ValueError, match=r"x\.safetensors: cannot be read as safetensors"):
        load_model(path)
    save_file({"a": torch.zeros(2)}, path)
    with pytest.raises(ValueError, match=r"x\.safetensors: has no kdn metadata"):
        load_model(path)
    save_file({"a": torch.zeros(2)}, path, {"kdn": json.dumps({"format": 99})})
    with pytest.raises(ValueError, match=r"x\.safetensors: format 99 is not known"):
        load_model(path)
    save_file({"a": torch.zeros(2)}, path, {"kdn": json.dumps({"format": 1})})
    with pytest.raises(ValueError, match=r"x\.safetensors: its recipe cannot be used"):
        load_model(path)
    facts = {"format": 1, "recipe": RECIPES["published"].as_dict()}
    save_file({"a": torch.zeros(2)}, path, {"kdn": json.dumps(facts)})
    with pytest.raises(ValueError, match=r"x\.safetensors: the weights do not fit the recipe"):
        load_model(path)


def test_a_training_state_is_not_taken_for_a_model(tmp_path):
    path = tmp_path / "state.safetensors"
    write_state(path, TrainingState({"model.a": torch.zeros(2)}, {"history": []}))
    with pytest.raises(ValueError, match=r"is the state of a training run, not a model; best"):
        load_model(str(path))
    with pytest.raises(IsADirectoryError, match="is a folder, not a file"):
        load_model(tmp_path)


def test_initial_weights_by_name_and_shape(tmp_path):
    """As a user's ImageNet weights: all fit but the last layer, which has other outputs."""
    torch.manual_seed(2)
    donor = build_model(RECIPES["gaussian"])
    weights = {name: t.clone().contiguous() for name, t in donor.network.state_dict().items()}
    weights["fc.weight"], weights["fc.bias"] = torch.zeros(1000, 512), torch.zeros(1000)
    save_file(weights, tmp_path / "resnet18.safetensors")
    torch.manual_seed(3)
    model = build_model(RECIPES["gaussian"])
    before = model.network.fc.weight.clone()  # type: ignore[union-attr]
    taken, own = load_initial_weights(model, tmp_path / "resnet18.safetensors")
    assert own - taken == 2
    assert torch.equal(model.network.conv1.weight, weights["conv1.weight"])  # type: ignore[union-attr]
    assert torch.equal(model.network.fc.weight, before)  # type: ignore[union-attr]


def test_initial_weights_that_do_not_fit_are_an_error(tmp_path):
    model = build_model(RECIPES["published"])
    save_file({"other": torch.zeros(2)}, tmp_path / "w.safetensors")
    with pytest.raises(ValueError, match=r"w\.safetensors: no tensor fits"):
        load_initial_weights(model, tmp_path / "w.safetensors")
    with pytest.raises(ValueError, match=r"missing\.safetensors: cannot be read"):
        load_initial_weights(model, tmp_path / "missing.safetensors")


@pytest.mark.parametrize(
    ("network", "head", "message"),
    [
        (
            "resnet18",
            "kdn_gaussian",
            r"resnet18 gives a vector, but head\.name kdn_gaussian of points takes maps; use fan",
        ),
        (
            "fan",
            "gaussian",
            r"fan gives maps, but head\.name gaussian of points takes a vector; use conv or resnet",
        ),
        ("unet", "gaussian", r"network\.name must be one of conv, fan, .*, got 'unet'"),
        ("fan", "kdn", r"head\.name must be one of coral, dex, gaussian, .*, got 'kdn'"),
    ],
)
def test_head_and_network_must_fit(network, head, message):
    recipe = Recipe(network=NetworkRecipe(name=network), head=HeadRecipe(name=head))
    with pytest.raises(ValueError, match=message):
        build_model(recipe)


def test_the_crop_must_be_a_multiple_of_the_stride():
    recipe = Recipe(data=DataRecipe(height=34, width=48), network=SMALL)
    with pytest.raises(ValueError, match="multiples of 4 for fan, got 34 and 48"):
        build_model(recipe)


def test_files_are_plain_safetensors(tmp_path):
    save_model(tmp_path / "m.safetensors", build_model(RECIPES["published"]), {})
    assert any(name.startswith("network.stem") for name in load_file(tmp_path / "m.safetensors"))
