"""Faces as CSV: one row a landmark."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from typing import Any

from kdn.predict.outputs.face import FoundFace, ImageFaces
from kdn.predict.outputs.numbers import face_entry, plain_text
from kdn.predict.outputs.sink import TextSink

__all__ = ["ABSTENTION", "COLUMNS", "CsvRows"]

COLUMNS = (
    *("file", "frame", "face", "track", "score", "landmark", "name"),
    *("x", "y", "xx", "xy", "yy", "uncertainty"),
)
"""The header. Faces and landmarks are counted from 0; what is not known is an empty cell."""

ABSTENTION = ("error_probability", "known")
"""More columns where landmarks can be given up; `known` is 1 or 0."""


class CsvRows:
    """Writes the rows of each picture as it is done; one without a face, or that failed, has none.

    Args:
        stream: Where the rows go, opened with `newline=""`.
        abstaining: Whether landmarks can be given up.
    """

    def __init__(self, stream: TextSink, *, abstaining: bool = False) -> None:
        self.stream = stream
        self.abstaining = abstaining
        self._write([(*COLUMNS, *ABSTENTION) if abstaining else COLUMNS])

    def add(self, found: ImageFaces) -> None:
        """Write the rows of one picture."""
        self._write(
            [plain_text(found.file), found.frame, i, found.track(i), *row]
            for i, face in enumerate(found.faces)
            for row in _landmark_rows(face, self.abstaining)
        )

    def fail(self, file: str, reason: str) -> None:
        """Write nothing: a table of landmarks has no place for it."""

    def _write(self, rows: Any) -> None:
        """Write rows at one go, so that a run that dies leaves no part of a picture's."""
        text = io.StringIO()
        csv.writer(text, lineterminator="\n").writerows(rows)
        self.stream.write(text.getvalue())
        self.stream.flush()


def _landmark_rows(face: FoundFace, abstaining: bool) -> Iterator[list[Any]]:
    """Yield score, landmark, name, x, y, xx, xy, yy and uncertainty of each landmark.

    If landmarks can be given up, error probability and whether it is known come after them.
    """
    entry = face_entry(face)
    none = [None] * len(entry["landmarks"])
    risks = entry.get("error_probability", none)
    known = [value if value is None else int(value) for value in entry.get("known", none)]
    numbers = zip(entry["landmarks"], entry["covariances"], entry["uncertainty"], strict=True)
    for i, (point, covariance, uncertainty) in enumerate(numbers):
        name = face.markup.names[i] if face.markup.names else ""
        more = (risks[i], known[i]) if abstaining else ()
        yield [entry["score"], i, name, *point, *covariance, uncertainty, *more]
