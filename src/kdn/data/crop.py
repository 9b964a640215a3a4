"""Crops: which part of a picture a network sees, and how its pixels get there."""

from __future__ import annotations

import math

import cv2
import numpy as np
import torch
from jaxtyping import UInt8

from kdn.data.sample import Box
from kdn.grid import Affine, Grid

__all__ = ["crop_of_box", "square_of_box", "warp"]


def square_of_box(bbox: Box, context: float = 1.0) -> tuple[tuple[float, float], float]:
    """Return centre and side, in image pixels, of the square that is shown of a face.

    `side = c·200·(w + h)/195`, `centre = box centre − (0, c·0.12·h)` with `c` the context. With
    `c = 1` this is FAN's square: about 2.05 × the mean side of the box, with more room above than
    below (Bulat & Tzimiropoulos, ICCV 2017). A smaller one shows the face larger.

    Raises:
        ValueError: If the box is not finite or has no area.
    """
    x0, y0, x1, y1 = bbox
    width, height = x1 - x0, y1 - y0
    if not (all(math.isfinite(value) for value in bbox) and width > 0 and height > 0):
        raise ValueError(f"bbox must be finite with x0 < x1 and y0 < y1, got {bbox}")
    centre = (0.5 * (x0 + x1), 0.5 * (y0 + y1) - context * 0.12 * height)
    return centre, context * 200.0 * (width + height) / 195.0


def crop_of_box(bbox: Box, *, height: int, width: int, context: float = 1.0) -> Affine:
    """Return the crop → image map of a face by FAN's rule, in float64.

    The square fills the shorter side of the crop; a crop that is not square shows more of the
    picture along its longer side.

    Convention: the box `(10, 20, 49, 59)` has its centre at image pixel `(29.5, 39.5)` and sides
    of 39, so the square's side is 80 and its centre `(29.5, 34.82)`. In a crop of 40 rows and
    60 columns one crop pixel is 2 image pixels, and crop pixel `(0, 0)` is image pixel
    `(29.5 − 2·29.5, 34.82 − 2·19.5) = (−29.5, −4.18)`.

    Args:
        bbox: Box of the face, image pixels.
        height: Rows of the crop.
        width: Columns of the crop.
        context: Side of the square as a share of FAN's.

    Raises:
        ValueError: If the box is not finite or has no area.
    """
    centre, side = square_of_box(bbox, context)
    return Affine.of_crop(
        centre=centre, scale=side / min(height, width), height=height, width=width
    )


def warp(
    image: UInt8[np.ndarray, "image_height image_width 3"],
    crop_to_image: Affine,
    *,
    height: int,
    width: int,
) -> UInt8[np.ndarray, "height width 3"]:
    """Return the pixels of a crop by one bilinear warp; what lies outside the picture is black.

    Where a crop pixel is at least two image pixels wide, the part of the picture that is shown is
    first averaged over blocks of `⌊scale⌋ × ⌊scale⌋` pixels, so that the warp that follows shrinks
    by less than 2 and does not alias. Up to one crop pixel at the right and lower edge of the
    picture, where no whole block is left, then counts as outside.

    Args:
        image: The picture.
        crop_to_image: The map of the crop.
        height: Rows of the crop.
        width: Columns of the crop.
    """
    block = int(math.exp(0.5 * float(crop_to_image.log_abs_det())) + 1e-9)
    if block >= 2:
        image, reduced_to_image = _reduce(image, crop_to_image, height, width, block)
        crop_to_image = reduced_to_image.inverse() @ crop_to_image
    if 0 in image.shape:
        return np.zeros((height, width, 3), dtype=np.uint8)
    return cv2.warpAffine(  # type: ignore[return-value]
        image,
        crop_to_image.matrix.numpy(),
        (width, height),
        flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
        borderMode=cv2.BORDER_CONSTANT,
        borderValue=(0, 0, 0),
    )


def _reduce(
    image: np.ndarray, crop_to_image: Affine, height: int, width: int, block: int
) -> tuple[np.ndarray, Affine]:
    """Return block means of the part of a picture that a crop shows, and their map to it."""
    corners = [[x, y] for x in (-1.0, width) for y in (-1.0, height)]
    shown = crop_to_image.points(torch.tensor(corners, dtype=torch.float64))
    low = [max(0, math.floor(value) - block) for value in shown.amin(dim=0).tolist()]
    high = [math.ceil(value) + block for value in shown.amax(dim=0).tolist()]
    shown_pixels = image[low[1] : max(high[1], low[1]), low[0] : max(high[0], low[0])]
    rows, columns = shown_pixels.shape[0] // block, shown_pixels.shape[1] // block
    if not rows or not columns:
        return image[:0, :0], Affine.identity()
    whole = np.ascontiguousarray(shown_pixels[: rows * block, : columns * block])
    reduced = cv2.resize(whole, (columns, rows), interpolation=cv2.INTER_AREA)
    blocks = Grid.of_heatmap(height=rows, width=columns, stride=block)
    offset = torch.tensor(blocks.origin, dtype=torch.float64) + torch.tensor(low).double()
    return reduced, Affine(block * torch.eye(2, dtype=torch.float64), offset)
