"""Recipes: what goes in comes out, and what is wrong is named."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest
import yaml

import unchecked
from kdn.data.markup import markup_named
from kdn.recipe import DataRecipe, HeadRecipe, NetworkRecipe, OptimiseRecipe, Recipe

ROOT = Path(__file__).parents[1]

# Nothing at its default, so that a value that is lost shows.
UNLIKE_DEFAULTS: dict[str, Any] = {
    "data": {
        "train": ["faces/a", "synthetic:10:3"],
        "valid": ["faces/b"],
        "valid_fraction": 0.2,
        "height": 96,
        "width": 160,
        "crop": "box",
        "context": 0.8,
        "workers": 2,
        "cache_mib": 64,
    },
    "augment": {
        "flip": 0.1,
        "rotation": 20.0,
        "scale_low": 0.9,
        "scale_high": 1.1,
        "shift": 0.01,
        "colour": 0.2,
        "occlusion": 0.3,
        "occlusion_size": 0.2,
        "blur": 0.4,
        "noise": 0.05,
    },
    "labels": {"names": ["age"], "low": 1.0, "high": 50.0, "step": 0.5, "rounding": 0.0},
    "network": {
        "name": "resnet18",
        "stacks": 2,
        "features": 64,
        "depth": 3,
        "dropout": 0.1,
        "weights": "w.st",
        "options": {"heads": 3, "wide": [1, 2]},
    },
    "head": {
        "name": "kdn_adaptive",
        "bandwidth": 0.5,
        "learn_bandwidth": "map",
        "refine": 4,
        "offset_limit": 2.0,
        "decoder": "mean",
        "options": {"sharp": True},
    },
    "optimise": {
        "epochs": 3,
        "batch": 7,
        "rate": 0.01,
        "optimiser": "adamw",
        "schedule": "steps",
        "weight_decay": 0.1,
        "clip": 1.0,
        "average": 0.9,
        "precision": "bf16-mixed",
        "seed": 5,
    },
}


def unlike_defaults() -> Recipe:
    return Recipe.of_dict(UNLIKE_DEFAULTS)


def test_the_example_leaves_nothing_at_its_default() -> None:
    default, other = Recipe().as_dict(), unlike_defaults().as_dict()
    same = [
        f"{part}.{name}"
        for part, values in default.items()
        for name, value in values.items()
        if other[part][name] == value
    ]
    assert same == ["data.markup"]  # there is one mark-up so far


@pytest.mark.parametrize("recipe", [Recipe(), unlike_defaults()], ids=["default", "other"])
def test_json_and_yaml_round_trip(recipe: Recipe) -> None:
    values = recipe.as_dict()
    assert json.loads(json.dumps(values)) == values
    assert yaml.safe_load(yaml.safe_dump(values)) == values
    assert Recipe.of_dict(values) == recipe
    assert list(values) == [field.name for field in dataclasses.fields(Recipe)]


def test_what_is_given_arrives_and_the_rest_keeps_its_default() -> None:
    recipe = Recipe.of_dict({"head": {"refine": 4}, "optimise": {"rate": 0.01}})
    assert recipe.head == HeadRecipe(refine=4)
    assert recipe.optimise == OptimiseRecipe(rate=0.01)
    assert (recipe.data, recipe.network) == (DataRecipe(), NetworkRecipe())
    assert Recipe.of_dict({}) == Recipe()
    other = unlike_defaults()
    assert (other.data.height, other.data.width) == (96, 160)
    assert other.data.train == ("faces/a", "synthetic:10:3")


def test_a_markup_may_stand_in_the_recipe() -> None:
    inline = {"name": "leg", "names": ["hip", "left", "right"], "flip": [["left", "right"]]}
    recipe = Recipe.of_dict({"data": {"markup": inline}})
    values = json.loads(json.dumps(recipe.as_dict()))
    assert {recipe: "found"}[Recipe.of_dict(values)] == "found"
    for given in (recipe.data.markup, inline):
        markup = markup_named(given)
        assert (markup.name, markup.flip) == ("leg", (0, 2, 1))
    with pytest.raises(ValueError, match="markup: eye: no such field"):
        markup_named({**inline, "eye": []})
    with pytest.raises(ValueError, match="markup: is no JSON"):
        markup_named("{name: leg")
    with pytest.raises(ValueError, match="name: face5 is the package's own"):
        markup_named({**inline, "name": "face5"})


def test_a_recipe_cannot_be_changed_and_can_be_a_key() -> None:
    recipe = unlike_defaults()
    with pytest.raises(dataclasses.FrozenInstanceError):
        recipe.data.height = 1  # pyright: ignore[reportAttributeAccessIssue]
    assert {recipe: "found"}[Recipe.of_dict(recipe.as_dict())] == "found"


@pytest.mark.parametrize(
    ("part", "name", "value"),
    [
        ("data", "train", 7),
        ("data", "valid_fraction", 1.0),
        ("data", "height", 0),
        ("data", "width", -1),
        ("data", "workers", -1),
        ("data", "cache_mib", -1),
        ("augment", "flip", 1.5),
        ("augment", "rotation", -10.0),
        ("augment", "scale_low", 1.3),
        ("augment", "shift", -0.1),
        ("augment", "colour", 2.0),
        ("augment", "occlusion", -0.1),
        ("augment", "occlusion_size", 1.1),
        ("augment", "noise", float("nan")),
        ("network", "name", ""),
        ("network", "stacks", 0),
        ("network", "features", 20),
        ("network", "depth", 0),
        ("head", "name", 7),
        ("head", "bandwidth", 0.0),
        ("head", "learn_bandwidth", "cell"),
        ("head", "refine", 3),
        ("head", "offset_limit", -1.0),
        ("head", "decoder", "middle"),
        ("head", "options", 3),
        ("optimise", "epochs", 0),
        ("optimise", "batch", 0),
        ("optimise", "rate", float("nan")),
        ("optimise", "optimiser", "sgd"),
        ("optimise", "schedule", "cosine"),
        ("optimise", "weight_decay", -1.0),
        ("optimise", "clip", -1.0),
        ("optimise", "average", 1.0),
        ("optimise", "precision", "64"),
    ],
)
def test_a_wrong_value_is_named(part: str, name: str, value: object) -> None:
    with pytest.raises(ValueError, match=rf"{part}\.{name} must be .*, got {value!r}"):
        unchecked.load("kdn.recipe").Recipe.of_dict({part: {name: value}})


@pytest.mark.parametrize(
    ("values", "said"),
    [
        (
            {"haed": {}},
            "recipe has no field haed; it has data, labels, augment, network, head, optimise",
        ),
        ({"head": {"sigma": 1}}, "head has no field sigma; it has name, bandwidth"),
        ({"head": "kdn_uniform"}, "head must be a mapping, got 'kdn_uniform'"),
    ],
)
def test_an_unknown_key_is_named(values: dict, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        Recipe.of_dict(values)


@pytest.mark.parametrize("path", sorted((ROOT / "recipes").glob("*.yaml")), ids=lambda p: p.name)
def test_committed_recipes_are_recipes_and_state_their_score(path: Path) -> None:
    text = path.read_text()
    Recipe.of_dict(yaml.safe_load(text))
    assert "kdn train --recipe recipes/" + path.name in text
    assert "Expected score:" in text


def test_there_are_committed_recipes() -> None:
    assert (ROOT / "recipes" / "demo.yaml").is_file()


def test_one_source_need_not_be_a_list():
    assert DataRecipe(train="faces").train == ("faces",)
    assert DataRecipe(train="faces") == DataRecipe(train=("faces",))
    recipe = Recipe.of_dict({"data": {"train": "faces", "valid": ["a", "b"]}})
    assert (recipe.data.train, recipe.data.valid) == (("faces",), ("a", "b"))
