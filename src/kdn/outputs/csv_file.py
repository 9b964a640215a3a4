"""Faces as CSV: one row a landmark."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from typing import Any

from kdn.outputs.face import FoundFace, ImageFaces
from kdn.outputs.numbers import face_entry, plain_text
from kdn.outputs.sink import TextSink

__all__ = ["COLUMNS", "CsvRows"]

COLUMNS = (
    *("file", "frame", "face", "track", "score", "landmark", "name"),
    *("x", "y", "xx", "xy", "yy", "uncertainty"),
)
"""The header. Faces and landmarks are counted from 0; what is not known is an empty cell."""


class CsvRows:
    """Writes the rows of each picture as it is done; one without a face, or that failed, has none.

    Args:
        stream: Where the rows go, opened with `newline=""`.
    """

    def __init__(self, stream: TextSink) -> None:
        self.stream = stream
        self._write([COLUMNS])

    def add(self, found: ImageFaces) -> None:
        """Write the rows of one picture."""
        self._write(
            [plain_text(found.file), found.frame, i, found.track(i), *row]
            for i, face in enumerate(found.faces)
            for row in _landmark_rows(face)
        )

    def fail(self, file: str, reason: str) -> None:
        """Write nothing: a table of landmarks has no place for it."""

    def _write(self, rows: Any) -> None:
        """Write rows at one go, so that a run that dies leaves no part of a picture's."""
        text = io.StringIO()
        csv.writer(text, lineterminator="\n").writerows(rows)
        self.stream.write(text.getvalue())
        self.stream.flush()


def _landmark_rows(face: FoundFace) -> Iterator[list[Any]]:
    """Yield score, landmark, name, x, y, xx, xy, yy and uncertainty of each landmark."""
    entry = face_entry(face)
    numbers = zip(entry["landmarks"], entry["covariances"], entry["uncertainty"], strict=True)
    for i, (point, covariance, uncertainty) in enumerate(numbers):
        name = face.markup.names[i] if face.markup.names else ""
        yield [entry["score"], i, name, *point, *covariance, uncertainty]
