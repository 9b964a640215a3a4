"""Augmentation: limits, seeds, pixels and what an occluder hides."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from kdn.data import (
    Augmentation,
    Framing,
    augment_pixels,
    draw_augmentation,
    occluded,
    varied_crop,
)
from kdn.recipe import AugmentRecipe

BOX = (10.0, 20.0, 40.0, 68.0)
EVERYTHING = AugmentRecipe(blur=0.6, noise=0.1)


def draw(recipe: AugmentRecipe, count: int = 400) -> list[Augmentation]:
    return [draw_augmentation(recipe, np.random.default_rng((3, i))) for i in range(count)]


def test_limits_are_kept_and_reached():
    recipe = AugmentRecipe(rotation=40, scale_low=0.7, scale_high=1.1, shift=0.1, noise=0.2)
    drawn = draw(recipe)
    degrees = [math.degrees(a.rotation) for a in drawn]
    for values, low, high in (
        (degrees, -40, 40),
        ([a.scale for a in drawn], 0.7, 1.1),
        ([a.shift[0] for a in drawn], -0.1, 0.1),
        ([a.shift[1] for a in drawn], -0.1, 0.1),
        ([g for a in drawn for g in a.gains], 0.7, 1.3),
        ([a.contrast for a in drawn], 0.7, 1.3),
        ([a.noise for a in drawn], 0, 0.2),
    ):
        margin = 0.03 * (high - low)
        assert low <= min(values) < low + margin
        assert high - margin < max(values) <= high
    assert np.mean([a.flip for a in drawn]) == pytest.approx(0.5, abs=0.1)
    assert np.mean([a.occluder is not None for a in drawn]) == pytest.approx(0.5, abs=0.1)


def test_blur_and_occluders_are_as_likely_as_the_recipe_says():
    drawn = draw(AugmentRecipe(blur=0.25, occlusion=0.8, occlusion_size=0.3))
    blurs = [a.blur for a in drawn if a.blur > 0]
    assert len(blurs) / len(drawn) == pytest.approx(0.25, abs=0.08)
    assert 0.3 <= min(blurs) < max(blurs) <= 1.5
    rectangles = [a.occluder for a in drawn if a.occluder is not None]
    assert len(rectangles) / len(drawn) == pytest.approx(0.8, abs=0.08)
    for x0, y0, x1, y1 in rectangles:
        assert 0.075 <= x1 - x0 <= 0.3 + 1e-12
        assert 0.075 <= y1 - y0 <= 0.3 + 1e-12


def test_one_limit_leaves_the_other_draws_as_they_were():
    first, second = draw(EVERYTHING, 20), draw(replace(EVERYTHING, occlusion=0.0), 20)
    assert [replace(a, occluder=None) for a in first] == second


def test_nothing_is_varied_by_a_recipe_of_nothing():
    recipe = AugmentRecipe(0, 0, 1, 1, 0, 0, 0, 0, 0, 0)
    drawn = draw_augmentation(recipe, np.random.default_rng(0))
    assert replace(drawn, colour=None, noise_seed=0) == Augmentation()
    crop = np.random.default_rng(0).integers(256, size=(9, 14, 3), dtype=np.uint8)
    np.testing.assert_array_equal(augment_pixels(crop, drawn), crop)
    for context in (1.0, 0.8):
        framing = Framing("face", height=40, width=60, context=context)
        same = varied_crop(framing, BOX, None, drawn)
        assert torch.equal(same.matrix, framing.crop_to_image(BOX).matrix)


def test_a_varied_crop_by_hand():
    # The square's side is 80 and its centre (25, 38.24). Shifted by (0.1, −0.05)·80 the centre is
    # (33, 34.24). At scale 1.5 in 40 rows a crop pixel is 3 image pixels. Turned by 90°, crop x
    # runs along image y and crop y against image x; mirrored, crop x runs against image y.
    varied = Augmentation(flip=True, rotation=math.pi / 2, scale=1.5, shift=(0.1, -0.05))
    crop = varied_crop(Framing("face", height=40, width=60), BOX, None, varied)
    points = torch.tensor([[29.5, 19.5], [31.5, 24.5]], dtype=torch.float64)
    expected = [[33, 34.24], [33 - 3 * 5, 34.24 - 3 * 2]]
    np.testing.assert_allclose(crop.points(points), expected, atol=1e-12)


def test_flipping_is_the_mirror_image_of_the_crop():
    varied = Augmentation(rotation=0.3, scale=0.9, shift=(0.02, 0.03))
    plain = varied_crop(Framing("face", height=40, width=60), BOX, None, varied)
    flipped = varied_crop(
        Framing("face", height=40, width=60), BOX, None, replace(varied, flip=True)
    )
    points = torch.rand(7, 2, dtype=torch.float64) * 40
    mirrored = torch.stack([59 - points[:, 0], points[:, 1]], dim=1)
    np.testing.assert_allclose(flipped.points(points), plain.points(mirrored), atol=1e-12)


def test_colours_by_hand():
    crop = np.full((3, 5, 3), 100, dtype=np.uint8)
    crop[1, 2] = 250
    varied = Augmentation(gains=(1.2, 1.0, 0.5), contrast=0.8)
    pixels = augment_pixels(crop, varied)
    # (100 − 127.5)·0.8 + 127.5 = 105.5 and (250 − 127.5)·0.8 + 127.5 = 225.5
    np.testing.assert_array_equal(pixels[0, 0], [127, 106, 53])
    np.testing.assert_array_equal(pixels[1, 2], [255, 226, 113])
    assert (crop == 100).sum() == 42, "the crop that was given must stay as it was"


@pytest.mark.parametrize("colour", [(10, 200, 30), None])
def test_an_occluder_hides_exactly_what_it_covers(colour):
    height, width = 20, 40
    # Columns 0.3·40 = 12 to 0.55·40 − 1 = 21 and rows 0.5·20 = 10 to 0.8·20 − 1 = 15.
    varied = Augmentation(occluder=(0.3, 0.5, 0.55, 0.8), colour=colour, noise_seed=5)
    pixels = augment_pixels(np.full((height, width, 3), 77, dtype=np.uint8), varied)
    changed = (pixels != 77).any(axis=2)
    expected = np.zeros((height, width), dtype=bool)
    expected[10:16, 12:22] = True
    np.testing.assert_array_equal(changed, expected)
    y, x = np.mgrid[:height, :width]
    points = np.stack([x, y], axis=2).reshape(-1, 2).astype(np.float64)
    hidden = occluded(points, varied, height=height, width=width)
    np.testing.assert_array_equal(hidden.reshape(height, width), expected)
    edges = np.array([[11.4, 12.0], [11.6, 12.0], [21.4, 15.4], [21.6, 12.0], [15.0, 15.6]])
    hidden = occluded(edges, varied, height=height, width=width)
    assert hidden.tolist() == [False, True, True, False, False]


def test_occluders_at_the_edge_and_outside_points():
    varied = Augmentation(occluder=(-0.1, 0.8, 0.2, 1.2), colour=(1, 2, 3))
    points = np.array([[-1.0, 18.0], [0.0, 18.0], [0.0, 20.0], [7.0, 16.0], [8.0, 16.0]])
    hidden = occluded(points, varied, height=20, width=40)
    assert hidden.tolist() == [False, True, False, True, False]
    assert not occluded(points, Augmentation(), height=20, width=40).any()


def test_noise_and_blur_change_what_they_should():
    crop = np.full((60, 80, 3), 120, dtype=np.uint8)
    noisy = augment_pixels(crop, Augmentation(noise=0.05, noise_seed=1))
    assert noisy.std() == pytest.approx(0.05 * 255, rel=0.05)
    # The mean of 14,400 values is known to 0.11 greys; cutting off what follows the point takes ½.
    assert noisy.mean() == pytest.approx(120, abs=0.35)
    np.testing.assert_array_equal(
        noisy, augment_pixels(crop, Augmentation(noise=0.05, noise_seed=1))
    )
    assert (noisy != augment_pixels(crop, Augmentation(noise=0.05, noise_seed=2))).any()
    dot = np.zeros((21, 31, 3), dtype=np.uint8)
    dot[10, 15] = 255
    blurred = augment_pixels(dot, Augmentation(blur=1.2)).astype(float)[..., 0]
    x = np.arange(31)
    weights = blurred.sum(axis=0) / blurred.sum()
    assert weights @ x == pytest.approx(15)
    assert weights @ (x - 15) ** 2 == pytest.approx(1.44, rel=0.1)
