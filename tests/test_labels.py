"""Labels: what is learned of a sample, which samples have it and which are held out."""

import json
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from kdn.data import (
    CropDataset,
    PointLabels,
    Sample,
    ScalarLabels,
    held_out_samples,
    labels_of,
    labels_of_metadata,
    picture_names,
    training_and_validation,
)
from kdn.data.markup import FACE5, Markup
from kdn.grid import Affine, Grid
from kdn.recipe import AugmentRecipe, DataRecipe, Recipe
from labels_by_hand import picture

DATA = DataRecipe(height=16, width=24, crop="picture")
AXIS = Grid.of_interval(-20.0, 100.0, step=2.5)
LABELS = ScalarLabels(("age", "weight"), AXIS, 1.0)


def sample(name: str, seed: int = 0, **attributes) -> Sample:
    image = np.random.default_rng(seed).integers(0, 255, (20, 31, 3), dtype=np.uint8)
    nothing = np.zeros(0, bool)
    box = (-0.5, -0.5, 30.5, 19.5)
    return Sample(name, image, np.zeros((0, 2)), box, nothing, nothing, attributes=attributes)


SAMPLES = [
    sample("set/a", 0, age=31.0, weight=70.5, sex="f"),
    sample("set/b", 1, weight=12.25),
    sample("set/c", 2, age=float("nan"), weight=3.0),
    sample("set/d", 3, sex="m"),
    sample("set/e", 4, age=True, weight=float("inf")),
]


def scalars(*names: str) -> ScalarLabels:
    return ScalarLabels(names, AXIS)


def test_attributes_as_numbers():
    targets = [scalars("weight", "age").target(s) for s in SAMPLES]
    values, valid = (np.stack(rows) for rows in zip(*targets, strict=True))
    nan = np.nan
    wanted = [[70.5, 31.0], [12.25, nan], [3.0, nan], [nan, nan], [nan, 1.0]]
    np.testing.assert_array_equal(values, wanted)
    np.testing.assert_array_equal(valid, np.isfinite(wanted))
    with pytest.raises(ValueError, match="set/a: sex must be a number, got 'f'"):
        scalars("age", "sex").target(SAMPLES[0])


def test_samples_without_any_of_the_labels_are_left_out(monkeypatch):
    def read(samples: list[Sample], *names: str, problems: list[str] | None = None) -> list[str]:
        monkeypatch.setattr("kdn.data.labels.load_samples", lambda *_, **__: samples)
        return [sample.id for sample in scalars(*names).read(["set"], problems)]

    assert read(SAMPLES, "age") == ["set/a", "set/e"]
    assert read(SAMPLES, "age", "weight") == ["set/a", "set/b", "set/c", "set/e"]
    with pytest.raises(
        ValueError, match=r"labels\.names height: no sample of set .* age, weight, sex"
    ):
        read(SAMPLES, "height")
    with pytest.raises(ValueError, match="sex must be a number"):
        read(SAMPLES, "sex")
    problems: list[str] = []
    mixed = [*SAMPLES[:2], sample("set/f", 5, age="young", weight=2.0)]
    assert read(mixed, "age", problems=problems) == ["set/a"]
    assert problems == ["set/f: age must be a number, got 'young'"]
    assert read([], "age") == []


def test_points_of_a_sample_are_those_of_the_markup():
    labels = PointLabels(Markup(name="two", landmarks=2, flip=(1, 0), names=("left", "right")))
    points = np.array([[3.0, 4.5], [7.0, 1.0]])
    valid, visible = np.array([True, False]), np.array([False, True])
    own = Sample("set/a", SAMPLES[0].image, points, (0.0, 0.0, 9.0, 9.0), valid, visible)
    target, counts = labels.target(own)
    np.testing.assert_array_equal(target, [[3.0, 4.5], [np.nan, np.nan]])
    np.testing.assert_array_equal(counts, valid)
    np.testing.assert_array_equal(labels.visible(own), visible)
    assert (labels.count, labels.event, labels.names) == (2, (2,), ("left", "right"))
    assert labels.flip == (1, 0)
    with pytest.raises(ValueError, match="set/a: 0 landmarks, but the mark-up two has 2"):
        labels.target(SAMPLES[0])
    assert PointLabels(Markup(name="x", landmarks=3, flip=(0, 1, 2))).names == ("0", "1", "2")


def test_points_move_with_the_frame_and_scalars_do_not():
    twice = Affine(2.0 * torch.eye(2, dtype=torch.float64), torch.tensor([1.0, -3.0]).double())
    points = torch.tensor([[3.0, 4.5]], dtype=torch.float64)
    assert PointLabels(FACE5).mapped(points, twice).tolist() == [[7.0, 6.0]]
    assert LABELS.mapped(torch.tensor([3.0, 4.5]), twice).tolist() == [3.0, 4.5]


def test_labels_are_stored_with_what_was_made_of_them():
    own = Markup(name="two", landmarks=2, flip=(1, 0), names=("left", "right"))
    for labels in (PointLabels(FACE5), PointLabels(own), LABELS, scalars("x")):
        assert labels_of_metadata(json.loads(json.dumps(labels.metadata()))) == labels
    older = {"values": ["age"], "axis": [-20.0, 100.0, 2.5], "rounding": 1.0}
    assert labels_of_metadata(older) == ScalarLabels(("age",), AXIS, 1.0)
    assert labels_of_metadata({"markup": "face5"}) == PointLabels(FACE5)
    with pytest.raises(ValueError, match="no mark-up is named None"):
        labels_of_metadata({})


def test_a_recipe_names_its_labels():
    recipe = Recipe.of_dict({"labels": {"names": "age", "low": -20, "step": 2.5}})
    assert labels_of(recipe) == ScalarLabels(("age",), AXIS, 1.0)
    assert labels_of(Recipe.of_dict({"data": {"markup": "face5"}})) == PointLabels(FACE5)
    assert labels_of(Recipe(), FACE5) == PointLabels(FACE5)


def test_items_hold_values_and_what_counts():
    dataset = CropDataset(SAMPLES, labels=LABELS, data=DATA, augment=None, seed=0)
    assert len(dataset) == 5
    items = [dataset[i] for i in range(5)]
    values = torch.stack([item["target"] for item in items])
    valid = torch.stack([item["valid"] for item in items])
    assert values.dtype == torch.float32
    wanted = [[31.0, 70.5], [0.0, 12.25], [0.0, 3.0], [0.0, 0.0], [1.0, 0.0]]
    assert values.tolist() == wanted
    assert valid.tolist() == [[v != 0 for v in row] for row in wanted]
    assert all(item["visible"].tolist() == [True, True] for item in items)
    assert items[0]["image"].shape == (3, 16, 24)
    assert items[0]["image"].dtype == torch.uint8
    assert [int(item["index"]) for item in items] == [0, 1, 2, 3, 4]


def test_a_mirrored_picture_has_the_same_values():
    still = AugmentRecipe(
        flip=1, rotation=0, scale_low=1, scale_high=1, shift=0, colour=0, occlusion=0
    )
    plain, turned = (
        CropDataset(SAMPLES, labels=LABELS, data=DATA, augment=augment, seed=0)
        for augment in (None, still)
    )
    for index in range(5):
        one, other = plain[index], turned[index]
        assert torch.equal(one["target"], other["target"])
        assert torch.equal(one["valid"], other["valid"])
        difference = one["image"].flip(-1).int() - other["image"].int()
        assert difference.abs().max() <= 2
        assert not torch.equal(one["image"], other["image"])


def test_variation_depends_on_seed_epoch_and_sample_alone():
    def crops(seed: int, epoch: int, order: Sequence[int] = range(5)) -> list[torch.Tensor]:
        dataset = CropDataset(SAMPLES, labels=LABELS, data=DATA, augment=AugmentRecipe(), seed=seed)
        dataset.set_epoch(epoch)
        found = {index: dataset[index]["image"] for index in order}
        return [found[index] for index in range(5)]

    first = crops(0, 1)
    for one, other in zip(first, crops(0, 1, order=(3, 1, 4, 0, 2)), strict=True):
        assert torch.equal(one, other)
    for changed in (crops(1, 1), crops(0, 2)):
        assert not any(torch.equal(a, b) for a, b in zip(first, changed, strict=True))


def table(folder: Path, people: int) -> str:
    """Return a table of three pictures a person, of which one has no age."""
    rows = ["path,picture,age,score"]
    for index in range(3 * people):
        picture(folder / f"{index}.png")
        age = "" if index % 3 == 2 else str(20 + index)
        rows.append(f"{index}.png,person {index // 3},{age},1")
    (folder / "people.csv").write_text("\n".join(rows) + "\n")
    return f"table:{folder / 'people.csv'}"


def test_people_are_kept_whole(tmp_path):
    data = DataRecipe(train=table(tmp_path, 8), valid_fraction=0.25)
    halves = training_and_validation(data, scalars("age"))
    people = [set(picture_names(half)) for half in halves]
    assert [len(half) for half in halves] == [12, 4]
    assert [len(names) for names in people] == [6, 2]
    assert not people[0] & people[1]
    assert all("age" in s.attributes for half in halves for s in half)
    again = training_and_validation(data, scalars("age"))
    assert [s.id for s in again[1]] == [s.id for s in halves[1]]
    held_out = held_out_samples(data, scalars("age"), data.train)
    assert [s.id for s in held_out] == [s.id for s in halves[1]]
    assert [s.id for s in held_out_samples(data, scalars("age"))] == [s.id for s in halves[1]]


def test_sources_of_their_own_for_validation(tmp_path):
    train, valid = table(tmp_path / "a", 3), table(tmp_path / "b", 2)
    data = DataRecipe(train=train, valid=valid)
    halves = training_and_validation(data, scalars("age", "score"))
    assert [len(half) for half in halves] == [9, 6]
    with pytest.raises(ValueError, match=r"data\.train must name at least one source"):
        training_and_validation(DataRecipe(), LABELS)
    with pytest.raises(ValueError, match=r"labels\.names weight: .* there is age, score"):
        training_and_validation(data, scalars("weight"))


def test_labels_off_the_axis_are_refused_before_training(tmp_path):
    table = tmp_path / "own.csv"
    for name in "abc":
        cv2.imwrite(str(tmp_path / f"{name}.png"), np.zeros((9, 12, 3), np.uint8))
    table.write_text("path,weight,other\na.png,3,1\nb.png,-4,2\nc.png,10.4,\n")
    data = DataRecipe(train=(f"table:{table}",), valid_fraction=0.4)
    inside = ScalarLabels(("weight", "other"), Grid.of_interval(-4.0, 10.0, step=1.0))
    train, valid = training_and_validation(data, inside)
    assert len(train) + len(valid) == 3
    outside = ScalarLabels(("other", "weight"), Grid.of_interval(-3.0, 9.0, step=1.0))
    with pytest.raises(ValueError, match=r"own\.csv: 2 of 3 labels of weight .*10\.4"):
        training_and_validation(data, outside)
