"""Faces as `.pts` files of the iBUG family, one a face."""

from __future__ import annotations

import numpy as np

from kdn.data.formats.pts import pts_text
from kdn.data.paths import replacing
from kdn.predict.outputs.face import ImageFaces
from kdn.predict.outputs.names import OutputNames

__all__ = ["PtsFiles"]


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
