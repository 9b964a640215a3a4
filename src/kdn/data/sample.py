"""One face and its labels, in image pixels, before any crop."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float64, UInt8

from kdn.data.images import image_size, read_image

__all__ = ["Box", "Sample", "attribute_columns", "iou", "read_image", "tight_box"]

Box = tuple[float, float, float, float]
"""`(x0, y0, x1, y1)`, in image pixels where nothing else is said."""


@dataclass(frozen=True)
class Sample:
    """A picture with one labelled object.

    Convention: all coordinates are image pixels with integer pixel centres; boxes are
    `(x0, y0, x1, y1)`.

    Args:
        id: Unique name within the data set; two samples may share a picture.
        image: File of the picture, or the picture itself, `(height, width, 3)` RGB.
        landmarks: `(landmarks, 2)`; rows that are not `valid` hold NaN.
        bbox: The box that crops follow from.
        valid: `(landmarks,)`; True where the position is labelled and counts.
        visible: `(landmarks,)`; True where the landmark can be seen in the picture.
        alternatives: `(landmarks, 2)` second positions that were equally likely given the
            picture, NaN where there is none; None where that is not known (all real data).
        picture: Name shared by samples cut from the same picture, by which splits are made.
        attributes: What else the data set says of it, such as an age or a flag.

    Raises:
        ValueError: If a shape or type does not fit, or if a valid landmark is not finite; the
            message names the sample.
    """

    id: str
    image: str | Path | UInt8[np.ndarray, "height width 3"]
    landmarks: Float64[np.ndarray, "landmarks 2"]
    bbox: Box
    valid: Bool[np.ndarray, " landmarks"]
    visible: Bool[np.ndarray, " landmarks"]
    alternatives: Float64[np.ndarray, "landmarks 2"] | None = None
    picture: str = ""
    attributes: Mapping[str, str | float | bool] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if isinstance(self.image, str):
            object.__setattr__(self, "image", Path(self.image))
        count = len(self.landmarks)
        arrays = {
            "landmarks": (self.landmarks, (count, 2), np.float64),
            "valid": (self.valid, (count,), np.bool_),
            "visible": (self.visible, (count,), np.bool_),
        }
        if self.alternatives is not None:
            arrays["alternatives"] = (self.alternatives, (count, 2), np.float64)
        for name, (array, shape, dtype) in arrays.items():
            if array.shape != shape or array.dtype != dtype:
                raise ValueError(
                    f"{self.id}: {name} must have shape {shape} and type {dtype.__name__}, "
                    f"got {array.shape} and {array.dtype}"
                )
        wrong = np.flatnonzero(self.valid & ~np.isfinite(self.landmarks).all(axis=1))
        if len(wrong):
            raise ValueError(
                f"{self.id}: landmarks must be finite where valid, got "
                f"{self.landmarks[wrong[0]].tolist()} at {wrong[0]}"
            )

    def read(self) -> UInt8[np.ndarray, "height width 3"]:
        """Return the picture, 8-bit RGB; a file is read as `read_image` says.

        Raises:
            ValueError: If the file is not a picture; the message names it.
            FileNotFoundError: If there is no such file.
        """
        return self.image if isinstance(self.image, np.ndarray) else read_image(Path(self.image))

    def size(self) -> tuple[int, int]:
        """Return height and width of the picture, whose pixels are not read if they need not be.

        Raises:
            ValueError: If the file is not a picture; the message names it.
            FileNotFoundError: If there is no such file.
        """
        if isinstance(self.image, np.ndarray):
            return self.image.shape[0], self.image.shape[1]
        return image_size(Path(self.image))


def tight_box(
    landmarks: Float64[np.ndarray, "landmarks 2"], valid: Bool[np.ndarray, " landmarks"]
) -> Box:
    """Return the smallest box `(x0, y0, x1, y1)` around the valid landmarks, in their frame.

    Raises:
        ValueError: If no landmark is valid.
    """
    if not valid.any():
        raise ValueError("valid must be True for at least one landmark to have a box")
    points = landmarks[valid]
    (x0, y0), (x1, y1) = points.min(axis=0), points.max(axis=0)
    return float(x0), float(y0), float(x1), float(y1)


def iou(first: Box, second: Box) -> float:
    """Return the area that two boxes share over the area that they cover together, 0 to 1.

    Convention: boxes are `(x0, y0, x1, y1)` in one frame, lengths `x1 − x0`; what has no area
    overlaps nothing.
    """
    width = min(first[2], second[2]) - max(first[0], second[0])
    height = min(first[3], second[3]) - max(first[1], second[1])
    if width <= 0 or height <= 0:
        return 0.0
    shared = width * height
    areas = [(box[2] - box[0]) * (box[3] - box[1]) for box in (first, second)]
    return shared / (sum(areas) - shared)


def attribute_columns(
    samples: Iterable[Sample], ids: Sequence[str]
) -> dict[str, list[str | float | bool | None]]:
    """Return the attributes of samples as columns of a table.

    Args:
        samples: Whose attributes; each is looked at once.
        ids: The rows of the table, in their order; one without such a sample gets None.

    Returns:
        A column of one type for each attribute that any sample has: text where they have several.

    Example:
        >>> ages = [Sample("a", "a.jpg", np.zeros((0, 2)), (0, 0, 1, 1), np.zeros(0, bool),
        ...                np.zeros(0, bool), attributes={"age": 31.0})]
        >>> attribute_columns(ages, ["b", "a"])
        {'age': [None, 31.0]}
    """
    known = {sample.id: sample.attributes for sample in samples if sample.attributes}
    names = dict.fromkeys(name for attributes in known.values() for name in attributes)
    columns = {}
    for name in names:
        values = [known.get(row, {}).get(name) for row in ids]
        several = len({type(value) for value in values if value is not None}) > 1
        columns[name] = [v if v is None or not several else str(v) for v in values]
    return columns
