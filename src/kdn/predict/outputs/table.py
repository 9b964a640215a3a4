"""Faces as a Parquet file of predictions without labels."""

from __future__ import annotations

import importlib.metadata
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from kdn.data.markup import Markup, facts_of_markup
from kdn.predict.outputs.face import ImageFaces, reason_of
from kdn.predict.outputs.numbers import plain_text
from kdn.predictions import Predictions, write_predictions

__all__ = ["FaceTable", "face_table"]


class FaceTable:
    """Gathers faces as `Predictions`: id `file#face`, in videos `file@frame#face`, no target.

    Args:
        model: Name of the model, for the metadata.
        markup: What the landmarks are.
    """

    def __init__(self, *, model: str, markup: Markup) -> None:
        self.model, self.markup = model, markup
        self.ids: list[str] = []
        self.paths: list[str] = []
        self.faces: list[Any] = []
        self.failed: list[dict[str, str]] = []

    def add(self, found: ImageFaces) -> None:
        """Add the faces of one picture."""
        file = plain_text(found.file)
        frame = "" if found.frame is None else f"@{found.frame}"
        for i, face in enumerate(found.faces):
            self.ids.append(f"{file}{frame}#{i}")
            self.paths.append(file)
            self.faces.append(face)

    def fail(self, file: str, reason: str) -> None:
        """Keep why there are no faces of a picture, for the metadata."""
        self.failed.append({"file": plain_text(file), "reason": reason_of(file, reason)})

    def predictions(self) -> Predictions:
        """Return what was gathered; numbers are not rounded."""
        count, n = self.markup.landmarks, len(self.faces)
        covariances = np.array([face.covariances for face in self.faces], np.float64)
        covariances = covariances.reshape(n, count, 2, 2)[:, :, (0, 0, 1), (0, 1, 1)]
        rows = {
            "landmarks": np.array([f.landmarks for f in self.faces]).reshape(n, count, 2),
            "bbox": np.array([f.bbox for f in self.faces], np.float64).reshape(n, 4),
            "uncertainty": np.array([f.uncertainty for f in self.faces]).reshape(n, count),
            "covariances": covariances,
        }
        metadata = {
            **facts_of_markup(self.markup),
            "model": self.model,
            "version": importlib.metadata.version("kdn"),
            "failed": self.failed,
        }
        judged = [face.abstention for face in self.faces if _judged(face)]
        if judged and len(judged) == n:
            names = ("error_probability", "known")
            rows |= {name: np.array([getattr(one, name) for one in judged]) for name in names}
            metadata |= {"tau": judged[0].tau, "abstain": judged[0].limit}
        return Predictions(id=tuple(self.ids), path=tuple(self.paths), metadata=metadata, **rows)


def _judged(face: Any) -> bool:
    """Return whether landmarks of a face can have been given up."""
    return getattr(face, "abstention", None) is not None


@contextmanager
def face_table(path: Path, *, model: str, markup: Markup) -> Iterator[FaceTable]:
    """Yield a table that is written when all went well, and only then."""
    table = FaceTable(model=model, markup=markup)
    yield table
    write_predictions(path, table.predictions())
