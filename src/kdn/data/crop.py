"""How the pixels of a crop get there."""

from __future__ import annotations

import math

import cv2
import numpy as np
import torch
from jaxtyping import UInt8

from kdn.grid import Affine, Grid

__all__ = ["warp"]


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
