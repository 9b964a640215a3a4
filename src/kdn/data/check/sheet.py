"""A sheet of faces with their labels drawn in."""

from __future__ import annotations

import math
from collections.abc import Sequence

import cv2
import numpy as np
import torch
from jaxtyping import UInt8

from kdn.data import Framing, Sample, warp
from kdn.data.markup import Markup
from kdn.recipe import CropRule

__all__ = ["contact_sheet"]

_SEEN, _HIDDEN, _LINE = (60, 230, 90), (255, 120, 0), (255, 255, 255)
_SHIFT = 4  # OpenCV takes points as whole numbers of 1/16 pixel


def contact_sheet(
    samples: Sequence[Sample],
    markup: Markup,
    *,
    count: int = 48,
    columns: int = 8,
    side: int = 192,
    seed: int = 0,
    crop: CropRule = "face",
    problems: list[str] | None = None,
) -> UInt8[np.ndarray, "height width 3"]:
    """Return a picture of faces as they are cropped, with landmarks, lines and boxes.

    Landmarks that can be seen are green, hidden ones orange; those without a position are not
    drawn. Each crop is a square of `kdn.data.Framing`.

    Args:
        samples: What is drawn; if there are more than `count`, some of them by chance.
        markup: What the landmarks are.
        count: How many at most.
        columns: How many in a row.
        side: Of a face, in pixels of the sheet.
        seed: Of the choice.
        crop: What crops show: `face`, `box` (a quarter more than the box) or `picture`.
        problems: Where to put one line about each face whose picture cannot be read, which is left
            out; None to raise.

    Raises:
        ValueError: If there is no face to draw.

    Example:
        >>> from kdn.data import SyntheticFaces
        >>> from kdn.data.markup import FACE68
        >>> contact_sheet(SyntheticFaces(5, seed=0), FACE68, columns=3, side=64).shape
        (128, 192, 3)
    """
    order = np.random.default_rng(seed).permutation(len(samples))
    framing = Framing(crop, height=side, width=side, context=1.25 if crop == "box" else 1.0)
    tiles = []
    for index in sorted(order[:count].tolist()):
        sample = samples[index]
        try:
            tiles.append(_tile(sample, markup, framing))
        except (OSError, ValueError) as error:
            if problems is None:
                raise
            problems.append(str(error))
    if not tiles:
        raise ValueError("samples must hold at least one face whose picture can be read")
    columns = min(columns, len(tiles))
    rows = math.ceil(len(tiles) / columns)
    sheet = np.full((rows * side, columns * side, 3), 32, np.uint8)
    for number, tile in enumerate(tiles):
        y, x = side * (number // columns), side * (number % columns)
        sheet[y : y + side, x : x + side] = tile
    return sheet


def _tile(sample: Sample, markup: Markup, framing: Framing) -> UInt8[np.ndarray, "side side 3"]:
    """Return one face, or what else the labels are of."""
    side, image = framing.width, sample.read()
    crop_to_image = framing.crop_to_image(sample.bbox, image.shape[:2])
    tile = np.ascontiguousarray(warp(image, crop_to_image, height=side, width=side))
    image_to_crop = crop_to_image.inverse()
    points = image_to_crop.points(torch.from_numpy(sample.landmarks)).numpy()
    corners = np.array(sample.bbox, np.float64).reshape(2, 2)
    box = _whole(image_to_crop.points(torch.from_numpy(corners)).numpy())
    cv2.rectangle(tile, box[0], box[1], (90, 140, 255), 1, cv2.LINE_AA, _SHIFT)
    drawn = [_whole(point[None])[0] if known else None for point, known in _known(sample, points)]
    for i, j in markup.edges:
        start, end = drawn[i], drawn[j]
        if start is not None and end is not None:
            cv2.line(tile, start, end, _LINE, 1, cv2.LINE_AA, _SHIFT)
    radius = round(max(1.2, side / 110) * 2**_SHIFT)
    for point, visible in zip(drawn, sample.visible, strict=True):
        if point is not None:
            colour = _SEEN if visible else _HIDDEN
            cv2.circle(tile, point, radius, colour, -1, cv2.LINE_AA, _SHIFT)
    return tile


def _known(sample: Sample, points: np.ndarray) -> list[tuple[np.ndarray, bool]]:
    """Return each landmark in the tile, and whether it has a position near it."""
    near = np.abs(np.nan_to_num(points)).max(axis=1) < 1e5
    return list(zip(points, (sample.valid & near).tolist(), strict=True))


def _whole(points: np.ndarray) -> list[tuple[int, int]]:
    """Return points as whole numbers of 1/16 pixel."""
    clipped = np.clip(points, -1e5, 1e5)
    return [(round(x), round(y)) for x, y in (clipped * 2**_SHIFT).tolist()]
