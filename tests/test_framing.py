"""Framings: boxes and whole pictures, never square, in image pixels."""

import math

import numpy as np
import pytest
import torch
from PIL import Image

from kdn.data import (
    Augmentation,
    CropDataset,
    Framing,
    PointLabels,
    Sample,
    varied_crop,
    warp,
)
from kdn.data.markup import Markup
from kdn.grid import Affine, whole_box
from kdn.recipe import AugmentRecipe, DataRecipe

BOX = (10.0, 20.0, 40.0, 68.0)  # 30 wide, 48 high
POINTS = Markup(name="three", landmarks=3, flip=(1, 0, 2))


def mapped(affine: Affine, *points: tuple[float, float]) -> np.ndarray:
    return affine.points(torch.tensor(points, dtype=torch.float64)).numpy()


def edges(framing: Framing, crop: Affine) -> np.ndarray:
    """Return upper left and lower right edge of a crop, image pixels."""
    return mapped(crop, (-0.5, -0.5), (framing.width - 0.5, framing.height - 0.5))


def test_a_box_by_hand():
    # 40 rows for 48 · 1.25 = 60 image px (60 columns for 30 · 1.25 would take less): scale 1.5.
    framing = Framing("box", height=40, width=60, context=1.25)
    crop = framing.crop_to_image(BOX)
    assert mapped(crop, (29.5, 19.5), (0, 0), (59, 3)) == pytest.approx(
        np.array([[25, 44], [25 - 1.5 * 29.5, 44 - 1.5 * 19.5], [25 + 44.25, 44 - 24.75]])
    )
    assert edges(framing, crop) == pytest.approx(np.array([[-20, 14], [70, 74]]))
    assert framing.square(BOX) == ((25, 44), 60)
    assert crop.matrix.dtype == torch.float64
    # In an upright crop the width of a wide box decides: 48 · 1 / 24 = 2.
    upright = Framing("box", height=64, width=24)
    assert edges(upright, upright.crop_to_image((20.0, 10.0, 68.0, 40.0))) == pytest.approx(
        np.array([[20, 25 - 64], [68, 25 + 64]])
    )


@pytest.mark.parametrize(("height", "width"), [(40, 60), (60, 40), (24, 96)])
def test_a_box_is_held_as_tightly_as_can_be(height, width):
    for box in (BOX, (3.5, 4.0, 90.0, 12.0), (0.0, -30.0, 5.0, 200.0)):
        framing = Framing("box", height=height, width=width)
        low, high = edges(framing, framing.crop_to_image(box))
        room = np.concatenate([np.array(box[:2]) - low, high - np.array(box[2:])])
        assert room.min() == pytest.approx(0, abs=1e-9)
        assert room[[0, 1]] == pytest.approx(room[[2, 3]])
        assert (high - low)[0] / (high - low)[1] == pytest.approx(width / height)


def test_a_whole_picture_by_hand():
    # 300 columns in 60 at 5, which leaves 40·5 − 180 = 20 image px of black, half of it above.
    framing = Framing("picture", height=40, width=60)
    crop = framing.crop_to_image(BOX, (180, 300))
    assert edges(framing, crop) == pytest.approx(np.array([[-0.5, -10.5], [299.5, 189.5]]))
    assert mapped(crop, (0, 0), (29.5, 19.5)) == pytest.approx(np.array([[2, -8], [149.5, 89.5]]))
    assert whole_box((180, 300)) == (-0.5, -0.5, 299.5, 179.5)
    more = Framing("picture", height=40, width=60, context=1.5)
    assert mapped(more.crop_to_image(BOX, (180, 300)), (0, 0))[0] == pytest.approx(
        [149.5 - 7.5 * 29.5, 89.5 - 7.5 * 19.5]
    )


def test_a_picture_of_the_crops_own_size_is_shown_as_it_is():
    picture = np.random.default_rng(0).integers(0, 256, (24, 40, 3), dtype=np.uint8)
    framing = Framing("picture", height=24, width=40)
    crop = framing.crop_to_image(BOX, (24, 40))
    assert torch.equal(crop.matrix, Affine.identity().matrix)
    assert (warp(picture, crop, height=24, width=40) == picture).all()


def test_the_crop_of_a_face_does_not_depend_on_the_size_of_its_picture():
    framing = Framing("face", height=40, width=60, context=0.7)
    varied = Augmentation(flip=True, rotation=0.3, scale=1.1, shift=(0.05, -0.1))
    for size in ((9, 7), None):
        same = varied_crop(framing, BOX, size, varied)
        assert torch.equal(same.matrix, varied_crop(framing, BOX, (500, 400), varied).matrix)


@pytest.mark.parametrize("crop", ["box", "picture"])
def test_a_variation_by_hand(crop):
    framing = Framing(crop, height=40, width=60)
    size = (48, 30) if crop == "picture" else (500, 500)
    middle = np.array([14.5, 23.5]) if crop == "picture" else np.array([25, 44])
    varied = Augmentation(flip=True, rotation=math.pi / 2, scale=0.5, shift=(0.25, -0.125))
    found = varied_crop(framing, BOX, size, varied)
    # The shorter side is 48 image px; a crop px is half of 1.2. Right goes up, as it is mirrored.
    middle = middle + np.array([12, -6])
    steps = np.array([[0, 0], [0, -0.6], [-0.6, 0]])
    points = mapped(found, (29.5, 19.5), (30.5, 19.5), (29.5, 20.5))
    assert points == pytest.approx(middle + steps)


@pytest.mark.parametrize(
    ("crop", "box", "said"),
    [
        ("box", (10.0, 20.0, 10.0, 68.0), "bbox must be finite"),
        ("box", (10.0, 20.0, 40.0, math.nan), "bbox must be finite"),
        ("face", (10.0, 20.0, 40.0, 20.0), "bbox must be finite"),
        ("picture", BOX, "picture must be its height and width"),
    ],
)
def test_what_cannot_be_framed(crop, box, said):
    with pytest.raises(ValueError, match=said):
        Framing(crop, height=40, width=60).crop_to_image(box)


@pytest.mark.parametrize("name", ["height", "width", "context"])
def test_sizes_are_positive(name):
    given = {"height": 40, "width": 60, name: 0}
    with pytest.raises(ValueError, match=f"{name} must be positive, got 0"):
        Framing("box", **given)


def sample_of(path) -> Sample:
    points = np.array([[4.0, 9.0], [33.5, 3.0], [np.nan, np.nan]])
    valid = np.array([True, True, False])
    return Sample("one", path, points, (4.0, 3.0, 33.5, 9.0), valid, valid.copy())


def test_a_sample_is_framed_by_the_size_of_its_picture(tmp_path):
    path = tmp_path / "one.png"
    Image.fromarray(np.zeros((18, 42, 3), np.uint8)).save(path)
    given = sample_of(path)
    assert given.size() == (18, 42)
    whole = Framing("picture", height=24, width=40)
    assert torch.equal(
        whole.of_sample(given).matrix, whole.crop_to_image(given.bbox, (18, 42)).matrix
    )
    path.unlink()  # for a box the picture is not opened
    box = Framing("box", height=24, width=40)
    assert torch.equal(box.of_sample(given).matrix, box.crop_to_image(given.bbox).matrix)


@pytest.mark.parametrize("augment", [None, AugmentRecipe(flip=1.0, occlusion=0.0)])
@pytest.mark.parametrize("crop", ["box", "picture"])
def test_items_of_a_data_set(crop, augment):
    y, x = np.mgrid[:18, :42]
    picture = np.stack([5 * x, 9 * y, np.full_like(x, 200)], axis=2).astype(np.uint8)
    given = sample_of(picture)
    data = DataRecipe(height=24, width=40, crop=crop, context=1.2)
    dataset = CropDataset([given], labels=PointLabels(POINTS), data=data, augment=augment, seed=3)
    item = dataset[0]
    to_image = Affine.of_matrix(item["crop_to_image"])
    found = to_image.points(item["target"].double()).numpy()
    order = [0, 1] if augment is None else [1, 0]
    assert found[:2] == pytest.approx(given.landmarks[order], abs=1e-4)
    assert item["valid"].tolist() == [True, True, False]
    if augment is None:
        framing = Framing.of_recipe(data)
        assert torch.equal(to_image.matrix, framing.crop_to_image(given.bbox, (18, 42)).matrix)
        column, row = (round(v) for v in item["target"][0].tolist())
        shown = mapped(to_image, (column, row))[0]
        colours = item["image"][:2, row, column].double().numpy() / [5, 9]
        assert colours == pytest.approx(shown, abs=0.3)
