"""Framing: which part of a picture is shown, and how the pixels of a crop get there."""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np
import torch
from jaxtyping import UInt8

from kdn.data.sample import Box, Sample
from kdn.grid import Affine, Grid, whole_box
from kdn.recipe import CropRule, DataRecipe

__all__ = ["Framing", "square_of_box", "warp"]


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


@dataclass(frozen=True)
class Framing:
    """The rule that says what is shown of a picture, and the size of the crop that shows it.

    * `face`: FAN's square of the box (`square_of_box`) fills the crop's shorter side; a crop that
      is not square shows more of the picture along its longer side.
    * `box`: the smallest rectangle of the crop's form that holds the box `w × h`, about the same
      centre, `context` times as large: one crop pixel is
      `context · max(w / width, h / height)` image pixels.
    * `picture`: as `box`, with the whole picture in place of the box (`whole_box`), which is shown
      whole and undistorted with `context` 1, and black on two sides where its form is another.

    Convention: a crop pixel covers `[−½, ½]` too, so that `width` crop pixels are as wide as the
    rectangle, from edge to edge. The box `(10, 20, 40, 68)` is 30 wide and 48 high. A crop of 40
    rows and 60 columns shows it with context 1.25 by `1.25 · max(30/60, 48/40) = 1.5` image pixels
    per crop pixel about `(25, 44)`: 90 × 60 image pixels, of which crop pixel `(0, 0)` is
    `(25 − 1.5·29.5, 44 − 1.5·19.5) = (−19.25, 14.75)`.

    With `face`, the square of the box `(10, 20, 49, 59)`, whose sides are 39 and whose centre is
    `(29.5, 39.5)`, has sides of 80 and its centre at `(29.5, 34.82)`: one crop pixel is 2 image
    pixels, and crop pixel `(0, 0)` is `(29.5 − 2·29.5, 34.82 − 2·19.5) = (−29.5, −4.18)`.

    Args:
        crop: Which rule.
        height: Rows of the crop.
        width: Columns of the crop.
        context: How much is shown, as a share of what the rule says.

    Raises:
        ValueError: If a size or the context is not positive.

    Example:
        >>> framing = Framing("box", height=40, width=60, context=1.25)
        >>> framing.crop_to_image((10.0, 20.0, 40.0, 68.0)).offset.tolist()
        [-19.25, 14.75]
    """

    crop: CropRule
    height: int
    width: int
    context: float = 1.0

    def __post_init__(self) -> None:
        for name in ("height", "width", "context"):
            value = getattr(self, name)
            if not 0 < value < math.inf:
                raise ValueError(f"{name} must be positive, got {value}")

    @classmethod
    def of_recipe(cls, data: DataRecipe) -> Framing:
        """Return the framing of a recipe."""
        return cls(data.crop, height=data.height, width=data.width, context=data.context)

    def square(
        self, bbox: Box, picture: tuple[int, int] | None = None
    ) -> tuple[tuple[float, float], float]:
        """Return the middle of the crop, and how long its shorter side is, in image pixels.

        Args:
            bbox: Of the object, image pixels; not looked at for whole pictures.
            picture: Height and width of the picture; needed for whole pictures only.

        Raises:
            ValueError: If the box is not finite or has no area, or the picture's size is needed.
        """
        if self.crop == "face":
            return square_of_box(bbox, self.context)
        if self.crop == "picture":
            if picture is None:
                raise ValueError("picture must be its height and width where crop is picture")
            bbox = whole_box(picture)
        x0, y0, x1, y1 = bbox
        width, height = x1 - x0, y1 - y0
        if not (all(math.isfinite(value) for value in bbox) and width > 0 and height > 0):
            raise ValueError(f"bbox must be finite with x0 < x1 and y0 < y1, got {bbox}")
        scale = self.context * max(width / self.width, height / self.height)
        return (0.5 * (x0 + x1), 0.5 * (y0 + y1)), scale * min(self.height, self.width)

    def crop_to_image(
        self,
        bbox: Box,
        picture: tuple[int, int] | None = None,
        *,
        scale: float = 1.0,
        shift: tuple[float, float] = (0.0, 0.0),
        rotation: float = 0.0,
        flip: bool = False,
    ) -> Affine:
        """Return the crop → image map of an object, in float64, or of a variation of it.

        Args:
            bbox: Of the object, image pixels; not looked at for whole pictures.
            picture: Height and width of the picture; needed for whole pictures only.
            scale: Factor on what is shown: above 1 the object gets smaller.
            shift: Move along x and y of the picture, as shares of the crop's shorter side.
            rotation: Radians by which crop axes are turned in the picture, clockwise.
            flip: Mirror the crop left to right.

        Raises:
            ValueError: As `square`.
        """
        (x, y), side = self.square(bbox, picture)
        return Affine.of_crop(
            centre=(x + shift[0] * side, y + shift[1] * side),
            scale=scale * side / min(self.height, self.width),
            height=self.height,
            width=self.width,
            rotation=rotation,
            flip=flip,
        )

    def of_sample(self, sample: Sample) -> Affine:
        """Return the crop → image map of a sample.

        Raises:
            ValueError: As `square`, or if the size of its picture is needed and cannot be read.
        """
        picture = sample.size() if self.crop == "picture" else None
        return self.crop_to_image(sample.bbox, picture)


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
