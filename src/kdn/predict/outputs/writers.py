"""Objects written to files as pictures are done: JSON, JSON Lines, CSV, Parquet and `.pts`."""

from __future__ import annotations

import csv
import importlib.metadata
import io
import json
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np

from kdn.data import Labels
from kdn.data.formats.pts import pts_text
from kdn.data.paths import replacing
from kdn.predict.outputs.names import OutputNames
from kdn.predict.outputs.rows import (
    PictureObjects,
    arrays_of,
    header_of,
    object_entry,
    object_rows,
    plain_text,
    reason_of,
)
from kdn.predictions import COLUMNS, Predictions, PredictionsWriter

__all__ = [
    "CsvRows",
    "JsonDocument",
    "JsonLines",
    "PtsFiles",
    "TextSink",
    "json_document",
    "json_head",
    "table",
]

FORMAT = 1
"""Changes when a reader of the old form would misread the new one."""

FRAME = "image pixels, integer pixel centres, (x, y)"
"""Where all coordinates are, in the words of the file."""

_GROUP = 256
"""Objects that are written to a table together."""


@runtime_checkable
class TextSink(Protocol):
    """What is needed of a text file to write to it: a file, standard output, a test's stand-in."""

    def write(self, text: str, /) -> Any:
        """Take text."""
        ...

    def flush(self) -> Any:
        """Pass on what was written."""
        ...


class JsonLines:
    """Writes a line for each picture as it is done.

    A line is whole as soon as its picture is done, so that whatever stops a run costs none of them.

    Args:
        stream: Where the lines go.
        head: What every line begins with.
    """

    def __init__(self, stream: TextSink, head: dict[str, Any]) -> None:
        self.stream, self.head = stream, head

    def add(self, objects: PictureObjects) -> None:
        """Write the objects of one picture."""
        self._line(_image_entry(objects))

    def fail(self, file: str, reason: str) -> None:
        """Write why there are no objects of a picture."""
        self._line({"file": file, "reason": reason_of(file, reason)})

    def _line(self, entry: dict[str, Any]) -> None:
        self.stream.write(_text({**self.head, **entry}) + "\n")
        self.stream.flush()


class JsonDocument:
    """Writes one document: `images`, one a line, then `failed`.

    Args:
        stream: Where the document goes.
        head: What it begins with.
    """

    def __init__(self, stream: TextSink, head: dict[str, Any]) -> None:
        self.stream = stream
        self.failed: list[dict[str, str]] = []
        self.count = 0
        stream.write(_text(head)[:-1] + ', "images": [')

    def add(self, objects: PictureObjects) -> None:
        """Write the objects of one picture."""
        self.stream.write((",\n" if self.count else "\n") + _text(_image_entry(objects)))
        self.count += 1

    def fail(self, file: str, reason: str) -> None:
        """Keep why there are no objects of a picture, for the end of the document."""
        self.failed.append({"file": file, "reason": reason_of(file, reason)})

    def finish(self) -> None:
        """Write what closes the document."""
        self.stream.write(f'\n], "failed": {_text(self.failed)}}}\n')


def json_head(labels: Labels, model: str, *, whole: bool) -> dict[str, Any]:
    """Return what a document, or a line, says of its model."""
    head: dict[str, Any] = {"format": FORMAT, "model": model}
    if whole and labels.markup:
        head |= {"markup": labels.markup.name, "frame": FRAME}
    elif not labels.markup:
        head["names"] = list(labels.names)
    return head


@contextmanager
def json_document(path: Path, labels: Labels, model: str) -> Iterator[JsonDocument]:
    """Yield the writer of a document that is moved into place when all went well, and only then."""
    with replacing(path) as temporary, open(temporary, "w", encoding="ascii") as stream:
        document = JsonDocument(stream, json_head(labels, model, whole=True))
        yield document
        document.finish()


def _image_entry(objects: PictureObjects) -> dict[str, Any]:
    """Return a picture and its objects as JSON types."""
    entry: dict[str, Any] = {"file": objects.file}
    if objects.frame is not None:
        entry["frame"] = objects.frame
    if objects.time is not None:
        entry["time"] = round(objects.time, 6)
    faces = [object_entry(face) for face in objects.faces]
    if objects.tracks is not None:
        faces = [{"track": objects.track(i), **face} for i, face in enumerate(faces)]
    return {**entry, "width": objects.width, "height": objects.height, "faces": faces}


def _text(value: Any) -> str:
    """Return JSON on one line, in ASCII: a name that is not UTF-8 has no other valid form."""
    return json.dumps(value, allow_nan=False)


class CsvRows:
    """Writes the rows of each picture as it is done; one without a face, or that failed, has none.

    Args:
        stream: Where the rows go, opened with `newline=""`.
        labels: What is predicted.
        abstaining: Whether predictions can be given up.
    """

    def __init__(self, stream: TextSink, labels: Labels, *, abstaining: bool = False) -> None:
        self.stream, self.abstaining = stream, abstaining
        self._write([header_of(labels.kind, abstaining=abstaining)])

    def add(self, objects: PictureObjects) -> None:
        """Write the rows of one picture."""
        self._write(
            [plain_text(objects.file), objects.frame, i, objects.track(i), *row]
            for i, face in enumerate(objects.faces)
            for row in object_rows(face, abstaining=self.abstaining)
        )

    def fail(self, file: str, reason: str) -> None:
        """Write nothing: a table of labels has no row for it."""

    def _write(self, rows: Iterable[Any]) -> None:
        """Write rows at one go, so that a run that dies leaves no part of a picture's."""
        text = io.StringIO()
        csv.writer(text, lineterminator="\n").writerows(rows)
        self.stream.write(text.getvalue())
        self.stream.flush()


class PtsFiles:
    """Writes a `.pts` file of the iBUG family for each face as its picture is done.

    Args:
        names: What the files are called.
    """

    def __init__(self, names: OutputNames) -> None:
        self.names = names

    def add(self, objects: PictureObjects) -> None:
        """Write the files of one picture.

        Raises:
            ValueError: If a face has a landmark that is not finite, for which the format has no
                word; the others are written all the same.
        """
        wrong = []
        for i, face in enumerate(objects.faces):
            if not np.isfinite(face.landmarks).all():
                wrong.append(i)
                continue
            with replacing(self.names.path(objects.file, frame=objects.frame, face=i)) as temporary:
                temporary.write_text(pts_text(face.landmarks), encoding="ascii")
        if wrong:
            raise ValueError(
                f"{objects.file}: faces {', '.join(map(str, wrong))} have landmarks that are not "
                "finite, and no .pts file"
            )

    def fail(self, file: str, reason: str) -> None:
        """Write nothing: there is no face."""


class _Table:
    """Writes objects as `Predictions`: id `file#face`, in videos `file@frame#face`, no target."""

    def __init__(self, writer: PredictionsWriter, labels: Labels) -> None:
        self.writer, self.labels = writer, labels
        self.ids: list[str] = []
        self.paths: list[str] = []
        self.faces: list[Any] = []
        self.failed: list[dict[str, str]] = []
        self.begun = False

    def add(self, objects: PictureObjects) -> None:
        """Add the objects of one picture."""
        file = plain_text(objects.file)
        frame = "" if objects.frame is None else f"@{objects.frame}"
        for i, face in enumerate(objects.faces):
            self.ids.append(f"{file}{frame}#{i}")
            self.paths.append(file)
            self.faces.append(face)
        if len(self.faces) >= _GROUP:
            self.write()

    def fail(self, file: str, reason: str) -> None:
        """Keep why there are no objects of a picture, for the metadata."""
        self.failed.append({"file": plain_text(file), "reason": reason_of(file, reason)})

    def write(self) -> None:
        """Write what was gathered; numbers are not rounded."""
        if not self.faces and self.begun:
            return
        boxes = np.array([face.bbox for face in self.faces], np.float64).reshape(-1, 4)
        columns: dict[str, Any]
        if self.faces:
            columns = arrays_of(self.faces)
            abstention = self.faces[0].abstention
            if abstention is not None:
                self.writer.metadata |= {"tau": abstention.tau, "abstain": abstention.limit}
        else:  # a table without rows, rather than none
            name = "landmarks" if self.labels.event else "values"
            shape = COLUMNS[name].sample_shape(self.labels.kind, self.labels.count, 0)
            columns = {name: np.zeros((0, *shape))}
        ids, paths = tuple(self.ids), tuple(self.paths)
        metadata = dict(self.writer.metadata)
        self.writer.write(Predictions(id=ids, path=paths, bbox=boxes, metadata=metadata, **columns))
        self.ids, self.paths, self.faces, self.begun = [], [], [], True


@contextmanager
def table(path: Path, labels: Labels, model: str) -> Iterator[_Table]:
    """Yield a Parquet file that is moved into place when all went well, and only then."""
    version = importlib.metadata.version("kdn")
    metadata = {**labels.metadata(), "model": model, "version": version}
    with PredictionsWriter(path, metadata) as writer:
        rows = _Table(writer, labels)
        yield rows
        rows.write()
        writer.metadata["failed"] = rows.failed
