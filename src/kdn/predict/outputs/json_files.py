"""Faces as one JSON document, and as JSON Lines."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from kdn.data.paths import replacing
from kdn.predict.outputs.face import ImageFaces, reason_of
from kdn.predict.outputs.numbers import face_entry
from kdn.predict.outputs.sink import TextSink

__all__ = ["FORMAT", "FRAME", "JsonDocument", "JsonLines", "json_document"]

FORMAT = 1
"""Changes when a reader of the old form would misread the new one."""

FRAME = "image pixels, integer pixel centres, (x, y)"
"""Where all coordinates are, in the words of the file."""


class JsonLines:
    """Writes a line for each picture as it is done.

    A line is whole as soon as its picture is done, so that whatever stops a run costs none of them.

    Args:
        stream: Where the lines go.
        model: Name of the model, in every line.
    """

    def __init__(self, stream: TextSink, *, model: str) -> None:
        self.stream = stream
        self.head = {"format": FORMAT, "model": model}

    def add(self, found: ImageFaces) -> None:
        """Write the faces of one picture."""
        self._line({**self.head, **_image_entry(found)})

    def fail(self, file: str, reason: str) -> None:
        """Write why there are no faces of a picture."""
        self._line({**self.head, "file": file, "reason": reason_of(file, reason)})

    def _line(self, entry: dict[str, Any]) -> None:
        self.stream.write(_text(entry) + "\n")
        self.stream.flush()


class JsonDocument:
    """Writes one document: `images`, one a line, then `failed`.

    Args:
        stream: Where the document goes.
        model: Name of the model.
        markup: Name of the mark-up.
    """

    def __init__(self, stream: TextSink, *, model: str, markup: str) -> None:
        self.stream = stream
        self.failed: list[dict[str, str]] = []
        self.count = 0
        head = {"format": FORMAT, "model": model, "markup": markup, "frame": FRAME}
        stream.write(_text(head)[:-1] + ', "images": [')

    def add(self, found: ImageFaces) -> None:
        """Write the faces of one picture."""
        self.stream.write((",\n" if self.count else "\n") + _text(_image_entry(found)))
        self.count += 1

    def fail(self, file: str, reason: str) -> None:
        """Keep why there are no faces of a picture, for the end of the document."""
        self.failed.append({"file": file, "reason": reason_of(file, reason)})

    def finish(self) -> None:
        """Write what closes the document."""
        self.stream.write(f'\n], "failed": {_text(self.failed)}}}\n')


@contextmanager
def json_document(path: Path, *, model: str, markup: str) -> Iterator[JsonDocument]:
    """Yield the writer of a document that takes its place when all went well, and only then."""
    with replacing(path) as temporary, open(temporary, "w", encoding="ascii") as stream:
        document = JsonDocument(stream, model=model, markup=markup)
        yield document
        document.finish()


def _image_entry(found: ImageFaces) -> dict[str, Any]:
    """Return a picture and its faces as JSON types."""
    entry: dict[str, Any] = {"file": found.file}
    if found.frame is not None:
        entry["frame"] = found.frame
    if found.time is not None:
        entry["time"] = round(found.time, 6)
    faces = [face_entry(face) for face in found.faces]
    if found.tracks is not None:
        faces = [{"track": found.track(i), **face} for i, face in enumerate(faces)]
    return {**entry, "width": found.width, "height": found.height, "faces": faces}


def _text(value: Any) -> str:
    """Return JSON on one line, in ASCII: a name that is not UTF-8 has no other valid form."""
    return json.dumps(value, allow_nan=False)
