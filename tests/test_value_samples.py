"""From attributes of samples to batches of values, and which samples are held out."""

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from kdn.data import (
    Sample,
    ValueDataset,
    picture_names,
    sample_values,
    values_training_and_validation,
    with_values,
)
from kdn.recipe import AugmentRecipe, DataRecipe, LabelsRecipe
from labels_by_hand import picture

DATA = DataRecipe(height=16, width=24, crop="picture")
LABELS = LabelsRecipe(names=("age", "weight"))


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


def test_attributes_as_numbers():
    found = [sample_values(s, ["weight", "age"]) for s in SAMPLES]
    values, valid = (np.stack(part) for part in zip(*found, strict=True))
    nan = np.nan
    wanted = [[70.5, 31.0], [12.25, nan], [3.0, nan], [nan, nan], [nan, 1.0]]
    np.testing.assert_array_equal(values, wanted)
    np.testing.assert_array_equal(valid, np.isfinite(wanted))
    with pytest.raises(ValueError, match="set/a: sex must be a number, got 'f'"):
        sample_values(SAMPLES[0], ["age", "sex"])


def test_samples_without_any_of_the_values_are_left_out():
    assert [s.id for s in with_values(SAMPLES, ["age"], None)] == ["set/a", "set/e"]
    both = with_values(SAMPLES, ["age", "weight"], None)
    assert [s.id for s in both] == ["set/a", "set/b", "set/c", "set/e"]
    with pytest.raises(
        ValueError, match=r"labels\.names height: no sample of set .* age, weight, sex"
    ):
        with_values(SAMPLES, ["height"], None)
    with pytest.raises(ValueError, match="sex must be a number"):
        with_values(SAMPLES, ["sex"], None)
    problems: list[str] = []
    mixed = [*SAMPLES[:2], sample("set/f", 5, age="young", weight=2.0)]
    assert [s.id for s in with_values(mixed, ["age"], problems)] == ["set/a"]
    assert problems == ["set/f: age must be a number, got 'young'"]
    assert with_values([], ["age"], None) == []


def test_items_hold_values_and_what_counts():
    dataset = ValueDataset(SAMPLES, labels=LABELS, data=DATA, augment=None, seed=0)
    assert len(dataset) == 5
    items = [dataset[i] for i in range(5)]
    values = torch.stack([item["values"] for item in items])
    valid = torch.stack([item["valid"] for item in items])
    assert values.dtype == torch.float32
    wanted = [[31.0, 70.5], [0.0, 12.25], [0.0, 3.0], [0.0, 0.0], [1.0, 0.0]]
    assert values.tolist() == wanted
    assert valid.tolist() == [[v != 0 for v in row] for row in wanted]
    assert items[0]["image"].shape == (3, 16, 24)
    assert items[0]["image"].dtype == torch.uint8
    assert [int(item["index"]) for item in items] == [0, 1, 2, 3, 4]


def test_a_mirrored_picture_has_the_same_values():
    still = AugmentRecipe(
        flip=1, rotation=0, scale_low=1, scale_high=1, shift=0, colour=0, occlusion=0
    )
    plain, turned = (
        ValueDataset(SAMPLES, labels=LABELS, data=DATA, augment=augment, seed=0)
        for augment in (None, still)
    )
    for index in range(5):
        one, other = plain[index], turned[index]
        assert torch.equal(one["values"], other["values"])
        assert torch.equal(one["valid"], other["valid"])
        difference = one["image"].flip(-1).int() - other["image"].int()
        assert difference.abs().max() <= 2
        assert not torch.equal(one["image"], other["image"])


def test_variation_depends_on_seed_epoch_and_sample_alone():
    def crops(seed: int, epoch: int, order: Sequence[int] = range(5)) -> list[torch.Tensor]:
        dataset = ValueDataset(
            SAMPLES, labels=LABELS, data=DATA, augment=AugmentRecipe(), seed=seed
        )
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
    parts = values_training_and_validation(data, LabelsRecipe(names="age"))
    people = [set(picture_names(part)) for part in parts]
    assert [len(part) for part in parts] == [12, 4]
    assert [len(names) for names in people] == [6, 2]
    assert not people[0] & people[1]
    assert all("age" in s.attributes for part in parts for s in part)
    again = values_training_and_validation(data, LabelsRecipe(names="age"))
    assert [s.id for s in again[1]] == [s.id for s in parts[1]]


def test_sources_of_their_own_for_validation(tmp_path):
    train, valid = table(tmp_path / "a", 3), table(tmp_path / "b", 2)
    data = DataRecipe(train=train, valid=valid)
    parts = values_training_and_validation(data, LabelsRecipe(names=("age", "score")))
    assert [len(part) for part in parts] == [9, 6]
    with pytest.raises(ValueError, match=r"data\.train must name at least one source"):
        values_training_and_validation(DataRecipe(), LABELS)
    with pytest.raises(ValueError, match=r"labels\.names weight: .* there is age, score"):
        values_training_and_validation(data, LabelsRecipe(names="weight"))


def test_labels_off_the_axis_are_refused_before_training(tmp_path):
    table = tmp_path / "own.csv"
    for name in "abc":
        cv2.imwrite(str(tmp_path / f"{name}.png"), np.zeros((9, 12, 3), np.uint8))
    table.write_text("path,weight,other\na.png,3,1\nb.png,-4,2\nc.png,10.4,\n")
    data = DataRecipe(train=(f"table:{table}",), valid_fraction=0.4)
    inside = LabelsRecipe(names=("weight", "other"), low=-4.0, high=10.0, step=1.0)
    train, valid = values_training_and_validation(data, inside)
    assert len(train) + len(valid) == 3
    outside = LabelsRecipe(names=("other", "weight"), low=-3.0, high=9.0, step=1.0)
    with pytest.raises(ValueError, match=r"own\.csv: 2 of 3 labels of weight .*10\.4"):
        values_training_and_validation(data, outside)
