"""What is printed of a run: the objects, what was and was not done, and the exit code."""

from __future__ import annotations

import math
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from kdn.predict.outputs.rows import PictureObjects, plain_text, reason_of
from kdn.predict.outputs.writers import TextSink

__all__ = ["Listing", "Summary"]


@dataclass
class Summary:
    """Counts pictures, faces and failures. A picture without a face is done, and no failure.

    It has `add` and `fail` like an output, so that it can be one of several. `abstaining` says
    whether landmarks can be given up, and are to be counted in the first line.
    """

    images: int = 0
    frames: int = 0
    videos: set[str] = field(default_factory=set)
    faces: int = 0
    landmarks: int = 0
    unknown: int = 0
    abstaining: bool = False
    empty: list[str] = field(default_factory=list)
    failures: list[tuple[str, str]] = field(default_factory=list)

    def add(self, objects: PictureObjects) -> None:
        """Count a picture, or a frame of a video, that was done."""
        if objects.frame is None:
            self.images += 1
            self.empty += [] if objects.faces else [objects.file]
        else:
            self.frames += 1
            self.videos.add(objects.file)
        self.faces += len(objects.faces)
        for face in objects.faces:
            self.landmarks += len(face.known)
            self.unknown += int((~face.known).sum())

    def fail(self, file: str, reason: str) -> None:
        """Count a file that was not done, or not wholly."""
        self.failures.append((file, reason_of(file, reason)))

    @property
    def exit_code(self) -> int:
        """0 if everything was done, 1 if something failed."""
        return 1 if self.failures else 0

    def lines(self, *, most: int = 20) -> list[str]:
        """Return the summary: one line of counts, then names, no more than `most` of a kind."""
        done = []
        if self.images or not self.videos:
            done.append(_counted(self.images, "picture"))
        if self.videos:
            done.append(f"{_counted(len(self.videos), 'video')} ({_counted(self.frames, 'frame')})")
        counts = [f"{', '.join(done)}: {_counted(self.faces, 'face')}"]
        if self.abstaining:
            landmarks = _counted(self.landmarks, "landmark")
            counts.append(f"{self.unknown} of {landmarks} given up")
        if self.empty:
            counts.append(f"{len(self.empty)} without a face")
        if self.failures:
            counts.append(f"{len(self.failures)} failed")
        failed = [f"failed: {plain_text(file)}: {reason}" for file, reason in self.failures]
        empty = [f"no face: {plain_text(file)}" for file in self.empty]
        return [", ".join(counts), *_first(empty, most), *_first(failed, most)]

    def print(self, stream: TextSink | None = None) -> None:
        """Print the summary, on standard error unless told otherwise."""
        print("\n".join(self.lines()), file=stream or sys.stderr)


def _counted(count: int, noun: str) -> str:
    return f"{count} {noun}{'' if count == 1 else 's'}"


def _first(lines: list[str], most: int) -> list[str]:
    """Return the first lines, and how many more there are, with the words they begin with."""
    if len(lines) <= most:
        return lines
    kind = lines[0].split(":")[0]
    return [*lines[:most], f"{kind}: … and {len(lines) - most} more"]


class Listing:
    """Prints each object's labels with their error bars on standard output, counted from 0.

    The error bar is the standard deviation, of landmarks on each axis in image pixels; of scalars
    the 90 % interval follows. What was given up has `?`.
    """

    def add(self, objects: PictureObjects) -> None:
        """Print the objects of a picture or a frame."""
        where = plain_text(objects.file) + (
            "" if objects.frame is None else f", frame {objects.frame}"
        )
        for number, face in enumerate(objects.faces):
            x0, y0, x1, y1 = (f"{side:.1f}" for side in face.bbox)
            track = objects.track(number)
            who = f"face {number}" if track is None else f"track {track}"
            score = f", score {face.score:.2f}" if face.labels.event else ""
            print(f"{where}: {who}{score}, box {x0}, {y0} to {x1}, {y1}")
            for line in _landmark_lines(face) if face.labels.event else _scalar_lines(face):
                print(line.rstrip())

    def fail(self, file: str, reason: str) -> None:
        """Print nothing: the summary names what failed."""


def _landmark_lines(face: Any) -> Iterator[str]:
    """Yield a line for each landmark."""
    names = face.markup.names or ("",) * len(face.landmarks)
    rows = zip(face.landmarks, face.covariances, names, face.known, strict=True)
    for index, ((x, y), covariance, name, known) in enumerate(rows):
        across, down = (math.sqrt(covariance[i, i]) for i in (0, 1))
        numbers = f"{x:8.1f} ± {across:4.1f} {y:8.1f} ± {down:4.1f}"
        yield f"  {index:3d} {numbers} {' ' if known else '?'}{name}"


def _scalar_lines(scalars: Any) -> Iterator[str]:
    """Yield a line for each scalar."""
    rows = zip(
        scalars.names,
        scalars.values,
        scalars.uncertainty,
        scalars.interval(0.9),
        scalars.known,
        strict=True,
    )
    for name, value, deviation, (low, high), known in rows:
        mark = "" if known else "  ?"
        yield f"  {name} {value:.1f} ± {deviation:.1f} ({low:.1f} – {high:.1f}){mark}"
