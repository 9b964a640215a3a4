"""Augmentation: what a training picture is varied by, drawn once and applied in one warp."""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np
from jaxtyping import Bool, Float64, UInt8

from kdn.data.framing import Framing
from kdn.data.sample import Box
from kdn.grid import Affine
from kdn.recipe import AugmentRecipe

__all__ = [
    "Augmentation",
    "augment_pixels",
    "draw_augmentation",
    "occluded",
    "varied_crop",
]


@dataclass(frozen=True)
class Augmentation:
    """One variation of one picture; the default changes nothing.

    Args:
        flip: Mirror the crop left to right.
        rotation: Angle in radians by which crop axes are turned in the picture, clockwise.
        scale: Factor on the side of the crop: above 1 the face gets smaller.
        shift: Move of the crop's centre along x and y of the picture, as shares of its side.
        gains: Factors on red, green and blue.
        contrast: Factor on the distance from middle grey, before the gains.
        occluder: Rectangle `(x0, y0, x1, y1)` as shares of the crop's width and height.
        colour: Colour of the occluder in RGB; None fills it with noise.
        blur: Standard deviation of a Gaussian blur, crop pixels; 0 is none.
        noise: Standard deviation of added pixel noise, as a share of white; 0 is none.
        noise_seed: Seed of the noise, in the occluder and over the crop.
    """

    flip: bool = False
    rotation: float = 0.0
    scale: float = 1.0
    shift: tuple[float, float] = (0.0, 0.0)
    gains: tuple[float, float, float] = (1.0, 1.0, 1.0)
    contrast: float = 1.0
    occluder: tuple[float, float, float, float] | None = None
    colour: tuple[int, int, int] | None = None
    blur: float = 0.0
    noise: float = 0.0
    noise_seed: int = 0


def draw_augmentation(recipe: AugmentRecipe, rng: np.random.Generator) -> Augmentation:
    """Return a random variation within the limits of a recipe.

    As many random numbers are drawn whatever they say, so that changing one limit leaves all other
    variations as they were.
    """
    u = rng.random(20).tolist()

    def between(low: float, high: float, position: int) -> float:
        return low + (high - low) * u[position]

    limit = math.radians(recipe.rotation)
    low, high = 1 - recipe.colour, 1 + recipe.colour
    return Augmentation(
        flip=u[0] < recipe.flip,
        rotation=between(-limit, limit, 1),
        scale=between(recipe.scale_low, recipe.scale_high, 2),
        shift=(
            between(-recipe.shift, recipe.shift, 3),
            between(-recipe.shift, recipe.shift, 4),
        ),
        gains=(between(low, high, 5), between(low, high, 6), between(low, high, 7)),
        contrast=between(low, high, 8),
        occluder=_rectangle(u[10:14], recipe.occlusion_size) if u[9] < recipe.occlusion else None,
        colour=(int(256 * u[14]), int(256 * u[15]), int(256 * u[16])) if u[17] < 0.5 else None,
        blur=0.3 + 1.2 * u[18] / recipe.blur if u[18] < recipe.blur else 0.0,
        noise=between(0.0, recipe.noise, 19),
        noise_seed=int(rng.integers(2**62)),
    )


def varied_crop(
    framing: Framing, bbox: Box, picture: tuple[int, int] | None, augmentation: Augmentation
) -> Affine:
    """Return the crop → image map of a framing and a variation, as one affine map.

    Args:
        framing: What is shown.
        bbox: Of the object, image pixels.
        picture: Height and width of the picture; needed for whole pictures only.
        augmentation: What is varied; the default gives `framing.crop_to_image`.

    Raises:
        ValueError: As `Framing.square`.
    """
    return framing.crop_to_image(
        bbox,
        picture,
        scale=augmentation.scale,
        shift=augmentation.shift,
        rotation=augmentation.rotation,
        flip=augmentation.flip,
    )


def augment_pixels(
    crop: UInt8[np.ndarray, "height width 3"], augmentation: Augmentation
) -> UInt8[np.ndarray, "height width 3"]:
    """Return a crop with changed pixels: colours, blur, occluder and noise, in that order."""
    height, width, _ = crop.shape
    rng = np.random.default_rng(augmentation.noise_seed)
    crop = cv2.LUT(crop, _colour_table(augmentation))  # type: ignore[assignment]
    if augmentation.blur > 0:
        crop = cv2.GaussianBlur(crop, (0, 0), augmentation.blur)  # type: ignore[assignment]
    if augmentation.occluder is not None:
        rows, columns = _pixels(augmentation.occluder, height, width)
        region = crop[rows, columns]
        if augmentation.colour is None:
            region[...] = rng.integers(256, size=region.shape, dtype=np.uint8)
        else:
            region[...] = augmentation.colour
    if augmentation.noise > 0:
        noise = rng.standard_normal(crop.shape, dtype=np.float32)
        noise *= np.float32(255 * augmentation.noise)
        noise += crop
        crop = np.rint(np.clip(noise, 0, 255)).astype(np.uint8)
    return crop


def occluded(
    points: Float64[np.ndarray, "landmarks 2"],
    augmentation: Augmentation,
    *,
    height: int,
    width: int,
) -> Bool[np.ndarray, " landmarks"]:
    """Return which points, in crop pixels, lie on a pixel that the occluder covers."""
    if augmentation.occluder is None:
        return np.zeros(len(points), dtype=bool)
    rows, columns = _pixels(augmentation.occluder, height, width)
    x, y = np.rint(points).T
    return (columns.start <= x) & (x < columns.stop) & (rows.start <= y) & (y < rows.stop)


def _rectangle(u: list[float], size: float) -> tuple[float, float, float, float]:
    """Return a rectangle of sides from a quarter of `size` to `size`, its centre anywhere."""
    half_width, half_height = (0.5 * size * (0.25 + 0.75 * value) for value in u[2:])
    return u[0] - half_width, u[1] - half_height, u[0] + half_width, u[1] + half_height


def _pixels(
    rectangle: tuple[float, float, float, float], height: int, width: int
) -> tuple[slice, slice]:
    """Return the rows and columns of a crop that a rectangle covers; what is drawn and hidden."""
    x0, y0, x1, y1 = (min(max(value, 0.0), 1.0) for value in rectangle)
    return (
        slice(round(y0 * height), round(y1 * height)),
        slice(round(x0 * width), round(x1 * width)),
    )


def _colour_table(augmentation: Augmentation) -> UInt8[np.ndarray, "1 256 3"]:
    """Return what each value of red, green and blue becomes."""
    values = np.arange(256, dtype=np.float32)[None, :, None]
    values = (values - 127.5) * np.float32(augmentation.contrast) + 127.5
    values = values * np.array(augmentation.gains, dtype=np.float32)
    return np.clip(np.rint(values), 0, 255).astype(np.uint8)
