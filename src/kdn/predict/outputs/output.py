"""From the name of a file to the writer of its format."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import Protocol, TextIO, runtime_checkable

from kdn.data import Labels
from kdn.predict.outputs.names import OutputNames, refuse_inputs
from kdn.predict.outputs.rows import PictureObjects
from kdn.predict.outputs.writers import (
    CsvRows,
    JsonLines,
    PtsFiles,
    TextSink,
    json_document,
    json_head,
    table,
)

__all__ = ["FORMATS", "Output", "open_output"]

FORMATS: Mapping[str, tuple[str, ...]] = {
    "json": (".json",),
    "jsonl": (".jsonl", ".ndjson"),
    "csv": (".csv",),
    "parquet": (".parquet",),
    "pts": (),
}
"""Names of the formats and the endings that stand for them; a folder stands for `pts`."""


@runtime_checkable
class Output(Protocol):
    """Where found faces go."""

    def add(self, objects: PictureObjects) -> None:
        """Take the faces of one picture, of which there may be none."""
        ...

    def fail(self, file: str, reason: str) -> None:
        """Take the reason why a picture was not done."""
        ...


def open_output(
    target: str | Path,
    *,
    model: str,
    labels: Labels,
    inputs: Sequence[str] = (),
    keep: Sequence[str] = (),
    form: str = "",
    overwrite: bool = False,
    abstaining: bool = False,
) -> AbstractContextManager[Output]:
    """Return a writer of found faces, to be used in a `with` statement.

    JSON and Parquet files appear when the `with` statement is left without an error, or not at all;
    until then, what was there before stays. JSON Lines, CSV and `.pts` files grow picture by
    picture, from an empty file on.

    Args:
        target: A file, whose ending says the format; a folder, for one `.pts` file a face; or `-`
            for standard output, as JSON Lines or CSV.
        model: Name of the model.
        labels: What is predicted; `.pts` files are for points only.
        inputs: Names of the pictures and videos, which are never overwritten.
        keep: More files that are not overwritten, such as that of the boxes.
        form: The format where the ending does not say it, one of `FORMATS`.
        abstaining: Whether faces say which landmarks were given up; for CSV, whose header says it.
        overwrite: For `.pts` files: whether those of an earlier run may be replaced. (A file that
            is named is always replaced.)

    Raises:
        ValueError: If there is no such format, or a file that must not be replaced is in the way.
    """
    form = form or _format_of(target)
    if form not in FORMATS:
        raise ValueError(f"form must be one of {', '.join(FORMATS)}, got {form!r}")
    streams = {
        "jsonl": lambda stream: JsonLines(stream, json_head(labels, model, whole=False)),
        "csv": lambda stream: CsvRows(stream, labels, abstaining=abstaining),
    }
    if str(target) == "-":
        if form not in streams:
            raise ValueError(f"standard output takes jsonl or csv, got {form}")
        return nullcontext(streams[form](sys.stdout))
    path = Path(target)
    if form == "pts":
        if not labels.event:
            raise ValueError(f"{path}: .pts files are for landmarks, not for scalars")
        names = OutputNames(path, inputs, suffix=".pts", overwrite=overwrite)
        return nullcontext(PtsFiles(names))
    refuse_inputs(path, [*inputs, *keep])
    if path.is_dir():
        raise ValueError(f"{path}: is a folder, not a file to write")
    if form == "json":
        return json_document(path, labels, model)
    if form == "parquet":
        return table(path, labels, model)
    return _streamed(path, streams[form])


def _format_of(target: str | Path) -> str:
    """Return the format that the name of a file or folder stands for."""
    if str(target) == "-":
        return "jsonl"
    suffix = Path(target).suffix.lower()
    if str(target).endswith("/") or Path(target).is_dir() or not suffix:
        return "pts"
    name = next((form for form, suffixes in FORMATS.items() if suffix in suffixes), None)
    if name is None:
        endings = ", ".join(suffix for suffixes in FORMATS.values() for suffix in suffixes)
        raise ValueError(f"{target}: must end in one of {endings}, or name a folder for .pts files")
    return name


@contextmanager
def _streamed(path: Path, opened: Callable[[TextSink], Output]) -> Iterator[Output]:
    """Yield a writer to a file that grows as pictures are done."""
    path.parent.mkdir(parents=True, exist_ok=True)
    new = not path.exists()
    with open(path, "a", encoding="utf-8", newline="") as stream:
        late = _Late(stream)
        output = opened(late)
        late.ready = True
        try:
            yield output
            late.begin()
        finally:
            if new and not late.begun:
                path.unlink()


class _Late:
    """A file that is emptied when the first picture is done, so that a run that never gets there
    loses nothing; what is written before `ready` (a header) waits until then.
    """

    def __init__(self, stream: TextIO) -> None:
        self.stream, self.held = stream, ""
        self.ready = self.begun = False

    def write(self, text: str, /) -> None:
        """Take text."""
        if not self.ready:
            self.held += text
            return
        self.begin()
        self.stream.write(text)

    def begin(self) -> None:
        """Empty the file and write what has waited, the first time."""
        if not self.begun:
            self.begun = True
            self.stream.seek(0)
            self.stream.truncate()
            self.stream.write(self.held)

    def flush(self) -> None:
        """Pass on what was written."""
        self.stream.flush()
