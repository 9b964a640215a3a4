"""What a run did and did not do, in a few lines, and its exit code."""

from __future__ import annotations

import sys
from dataclasses import dataclass, field

from kdn.predict.outputs.face import ImageFaces, known_of, reason_of
from kdn.predict.outputs.numbers import plain_text
from kdn.predict.outputs.sink import TextSink

__all__ = ["Summary"]


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

    def add(self, found: ImageFaces) -> None:
        """Count a picture, or a frame of a video, that was done."""
        if found.frame is None:
            self.images += 1
            self.empty += [] if found.faces else [found.file]
        else:
            self.frames += 1
            self.videos.add(found.file)
        self.faces += len(found.faces)
        for face in found.faces:
            known = known_of(face)
            self.landmarks += len(known)
            self.unknown += int((~known).sum())

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
