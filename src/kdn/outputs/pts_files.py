"""Faces as `.pts` files of the iBUG family, one a face."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float64

from kdn.files import replacing
from kdn.outputs.face import ImageFaces
from kdn.outputs.names import OutputNames

__all__ = ["PtsFiles", "pts_text"]


class PtsFiles:
    """Writes a file for each face as its picture is done.

    Args:
        names: What the files are called.
    """

    def __init__(self, names: OutputNames) -> None:
        self.names = names

    def add(self, found: ImageFaces) -> None:
        """Write the files of one picture.

        Raises:
            ValueError: If a face has a landmark that is not finite, for which the format has no
                word; the others are written all the same.
        """
        wrong = []
        for i, face in enumerate(found.faces):
            if not np.isfinite(face.landmarks).all():
                wrong.append(i)
                continue
            with replacing(self.names.path(found.file, frame=found.frame, face=i)) as temporary:
                temporary.write_text(pts_text(face.landmarks), encoding="ascii")
        if wrong:
            raise ValueError(
                f"{found.file}: faces {', '.join(map(str, wrong))} have landmarks that are not "
                "finite, and no .pts file"
            )

    def fail(self, file: str, reason: str) -> None:
        """Write nothing: there is no face."""


def pts_text(landmarks: Float64[np.ndarray, "L 2"], *, digits: int = 3) -> str:
    """Return the content of a `.pts` file, which counts from 1, for landmarks in image pixels.

    Args:
        landmarks: In image pixels.
        digits: How many behind the point.
    """
    lines = [f"{x:.{digits}f} {y:.{digits}f}" for x, y in (landmarks + 1.0).tolist()]
    return "\n".join(["version: 1", f"n_points: {len(lines)}", "{", *lines, "}", ""])
