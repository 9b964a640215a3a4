"""What writers and overlays need to know of the faces found in a picture."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Bool, Float64

from kdn.data.markup import Markup

__all__ = ["FoundFace", "ImageFaces", "known_of", "reason_of"]


@runtime_checkable
class FoundFace(Protocol):
    """A face, whoever found it.

    Convention: everything is in image pixels with integer pixel centres; points are `(x, y)`,
    boxes `(x0, y0, x1, y1)`, the tight box of the landmarks.
    """

    @property
    def bbox(self) -> tuple[float, float, float, float]:
        """The box that the crop follows from."""
        ...

    @property
    def landmarks(self) -> Float64[np.ndarray, "L 2"]:
        """The points."""
        ...

    @property
    def covariances(self) -> Float64[np.ndarray, "L 2 2"]:
        """Covariance of each point, px²."""
        ...

    @property
    def uncertainty(self) -> Float64[np.ndarray, " L"]:
        """The length `|Cov|^¼` of each point, px."""
        ...

    @property
    def score(self) -> float:
        """How well the face is placed, 0 to 1."""
        ...

    @property
    def markup(self) -> Markup:
        """What the landmarks are."""
        ...


@dataclass(frozen=True)
class ImageFaces:
    """The faces found in one picture, or in one frame of a video.

    Args:
        file: The picture or video, as it was named.
        width: Columns of the picture, turned upright by its EXIF tag.
        height: Rows of the picture.
        faces: In the order that they are numbered in, from 0.
        frame: Number of the video's frame, counted from 0; None for a picture.
        time: When the frame is shown, in seconds from the start; None for a picture.
        tracks: For each face, the number of the person it belongs to over the frames of a video;
            None where faces are not followed.

    Raises:
        ValueError: If there is not one track for each face.
    """

    file: str
    width: int
    height: int
    faces: Sequence[FoundFace]
    frame: int | None = None
    time: float | None = None
    tracks: tuple[int, ...] | None = None

    def __post_init__(self) -> None:
        if self.tracks is not None and len(self.tracks) != len(self.faces):
            raise ValueError(
                f"{self.file}: tracks must be one for each of {len(self.faces)} faces, "
                f"got {len(self.tracks)}"
            )

    def track(self, face: int) -> int | None:
        """Return the track of a face; None where faces are not followed."""
        return None if self.tracks is None else self.tracks[face]


def known_of(face: FoundFace) -> Bool[np.ndarray, " L"]:
    """Return which landmarks of a face were not given up: all, where none could be.

    Args:
        face: Its attribute `abstention`, where it has one that is not None, says so by `known`.
    """
    abstention = getattr(face, "abstention", None)
    return np.ones(len(face.landmarks), bool) if abstention is None else abstention.known


def reason_of(file: str, reason: str) -> str:
    """Return why a file failed on one line, without the name that readers put in front of it."""
    return " ".join(reason.removeprefix(f"{file}:").split()) or "no reason given"
