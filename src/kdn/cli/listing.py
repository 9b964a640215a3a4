"""Faces printed for a person to read."""

from __future__ import annotations

import math

from kdn.predict.outputs import ImageFaces, known_of
from kdn.predict.outputs.numbers import plain_text

__all__ = ["Listing"]


class Listing:
    """Prints each face's landmarks with their error bars, in image pixels, on standard output;
    landmarks are counted from 0.

    The error bar is the standard deviation on each axis. A landmark that was given up has `?`.
    """

    def add(self, found: ImageFaces) -> None:
        """Print the faces of a picture or a frame."""
        where = plain_text(found.file) + ("" if found.frame is None else f", frame {found.frame}")
        for number, face in enumerate(found.faces):
            x0, y0, x1, y1 = (f"{side:.1f}" for side in face.bbox)
            track = found.track(number)
            who = f"face {number}" if track is None else f"track {track}"
            print(f"{where}: {who}, score {face.score:.2f}, box {x0}, {y0} to {x1}, {y1}")
            names = face.markup.names or ("",) * len(face.landmarks)
            for index, ((x, y), covariance, name, known) in enumerate(
                zip(face.landmarks, face.covariances, names, known_of(face), strict=True)
            ):
                across, down = (math.sqrt(covariance[i, i]) for i in (0, 1))
                mark = " " if known else "?"
                numbers = f"{x:8.1f} ± {across:4.1f} {y:8.1f} ± {down:4.1f}"
                print(f"  {index:3d} {numbers} {mark}{name}".rstrip())

    def fail(self, file: str, reason: str) -> None:
        """Print nothing: the summary names what failed."""
