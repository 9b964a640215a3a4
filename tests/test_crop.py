"""FAN's crop rule, and pixels that lie where the map says."""

import math

import numpy as np
import pytest
import torch

from kdn.data import Framing, warp
from kdn.grid import Affine

BOX = (10.0, 20.0, 40.0, 68.0)  # 30 wide, 48 high: the square's side is 200·78/195 = 80


def mapped(affine: Affine, x: float, y: float) -> list[float]:
    return affine.points(torch.tensor([x, y], dtype=torch.float64)).tolist()


def test_the_crop_of_a_face_by_hand():
    # Centre (25, 44 − 0.12·48) = (25, 38.24); 40 rows show 80 image pixels, so the scale is 2 and
    # the middle of the crop is crop pixel (29.5, 19.5).
    crop = Framing("face", height=40, width=60).crop_to_image(BOX)
    assert mapped(crop, 29.5, 19.5) == pytest.approx([25, 38.24], abs=1e-12)
    assert mapped(crop, 0, 0) == pytest.approx([25 - 59, 38.24 - 39], abs=1e-12)
    assert mapped(crop, 59, 3) == pytest.approx([25 + 59, 38.24 - 33], abs=1e-12)
    assert crop.matrix.dtype == torch.float64


def test_less_context_shows_the_face_larger():
    # 0.7 times the square: scale 1.4 about (25, 44 − 0.7·0.12·48) = (25, 39.968).
    crop = Framing("face", height=40, width=60, context=0.7).crop_to_image(BOX)
    assert mapped(crop, 29.5, 19.5) == pytest.approx([25, 39.968], abs=1e-12)
    assert mapped(crop, 59.5, 20.5) == pytest.approx([25 + 42, 39.968 + 1.4], abs=1e-12)


def test_the_square_fits_inside_a_crop_of_any_form():
    for height, width in ((40, 60), (60, 40)):
        crop = Framing("face", height=height, width=width).crop_to_image(BOX)
        assert math.exp(0.5 * crop.log_abs_det().item()) == pytest.approx(2)


@pytest.mark.parametrize(
    "box",
    [
        (10.0, 20.0, 10.0, 68.0),
        (10.0, 20.0, 40.0, 20.0),
        (40.0, 20.0, 10.0, 68.0),
        (10.0, 20.0, math.nan, 68.0),
        (10.0, -math.inf, 40.0, 68.0),
    ],
)
def test_boxes_without_area_are_refused(box):
    with pytest.raises(ValueError, match="bbox must be finite"):
        Framing("face", height=40, width=60).crop_to_image(box)


def ramp(height: int, width: int) -> np.ndarray:
    """Return a picture whose red is 2·x and whose green is 2·y."""
    y, x = np.mgrid[:height, :width]
    return np.stack([2 * x, 2 * y, np.full_like(x, 200)], axis=2).astype(np.uint8)


@pytest.mark.parametrize("flip", [False, True])
@pytest.mark.parametrize("scale", [0.7, 1.3, 2.0, 2.6, 4.3])
def test_each_pixel_shows_the_image_point_it_maps_to(scale, flip):
    height, width = 13, 22
    crop = Affine.of_crop(
        centre=(62.3, 57.8), scale=scale, height=height, width=width, rotation=0.4, flip=flip
    )
    pixels = warp(ramp(115, 127), crop, height=height, width=width)
    y, x = np.mgrid[:height, :width]
    points = torch.tensor(np.stack([x, y], axis=2), dtype=torch.float64)
    error = pixels[..., :2] / 2 - crop.points(points).numpy()
    assert pixels.dtype == np.uint8
    # A quarter of a pixel is rounding to whole greys; OpenCV's weights are multiples of 1/32, of a
    # pixel or of a block.
    assert np.abs(error).max() < 0.27 + scale / 32
    assert np.abs(error.mean(axis=(0, 1))).max() < 0.08


@pytest.mark.parametrize("scale", [1.0, 3.0])
def test_outside_the_picture_is_black(scale):
    crop = Affine.of_crop(centre=(0.0, 30.0), scale=scale, height=11, width=16)
    pixels = warp(ramp(60, 70), crop, height=11, width=16)
    x = crop.points(torch.tensor([[i, 5.0] for i in range(16)], dtype=torch.float64))[:, 0].numpy()
    assert (pixels[5, x < -scale] == 0).all()
    assert (pixels[5, x > scale, 2] == 200).all()
    far = Affine.of_crop(centre=(900.0, -500.0), scale=scale, height=11, width=16)
    assert not warp(ramp(60, 70), far, height=11, width=16).any()


def test_shrinking_does_not_alias():
    y, x = np.mgrid[:200, :230]
    checks = np.repeat((255 * ((x + y) % 2)).astype(np.uint8)[..., None], 3, axis=2)
    crop = Affine.of_crop(centre=(115, 100), scale=3.7, height=30, width=40, rotation=0.3)
    pixels = warp(checks, crop, height=30, width=40)
    assert pixels.std() < 20
    assert pixels.mean() == pytest.approx(127.5, abs=3)
