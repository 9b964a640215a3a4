"""Frames in and out: videos, cameras and folders of pictures, and a writer of videos."""

from __future__ import annotations

import glob
import math
import os
import re
import time
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType

import cv2
import numpy as np
from jaxtyping import UInt8

from kdn.data.images import PICTURE_SUFFIXES, read_image

__all__ = ["CODECS", "VideoWriter", "read_frames"]

Picture = UInt8[np.ndarray, "height width 3"]

CODECS = {".mp4": "mp4v", ".avi": "MJPG"}
"""Codec by the ending of a video's name: those that OpenCV's own build can write."""

_PATTERN = re.compile(r"[*?\[]")


def read_frames(
    source: str | Path | int, *, fps: float = 25.0, problems: list[str] | None = None
) -> Iterator[tuple[float, Picture]]:
    """Yield the frames of a source: times in seconds from its start, increasing, and RGB pictures.

    | Source | Frames | Times |
    |---|---|---|
    | number | of that camera, until the caller stops | of a clock |
    | file | of a video, turned upright by its own tag | its time stamps; else by its `fps` |
    | folder, or pattern with `*`, `?`, `[…]` | its pictures, `2.png` before `10.png` | by `fps` |

    A picture that cannot be read keeps its time and is left out.

    Args:
        source: What is read.
        fps: Frames per second of pictures.
        problems: Where to put one line about a video that ends early and each picture that cannot
            be read; what could be read is yielded all the same. None to let them raise, after the
            frames before.

    Raises:
        FileNotFoundError: If there is no such file or folder, or the pattern fits nothing.
        ValueError: If a file is not a video, a folder has no pictures, or `fps` is not positive.
        OSError: If there is no such camera.
    """
    if not (math.isfinite(fps) and fps > 0):
        raise ValueError(f"fps must be positive and finite, got {fps}")
    if isinstance(source, int):
        return _camera(source)
    path = Path(source)
    if path.is_file():
        return _video(path, problems)
    if path.is_dir():
        files = [p for p in path.iterdir() if p.suffix.lower() in PICTURE_SUFFIXES and p.is_file()]
        if not files:
            raise ValueError(f"{path}: has no pictures ({', '.join(PICTURE_SUFFIXES)})")
        return _pictures(files, fps, problems)
    if _PATTERN.search(str(source)):
        files = [p for p in map(Path, glob.glob(str(source), recursive=True)) if p.is_file()]
        if files:
            return _pictures(files, fps, problems)
    raise FileNotFoundError(f"{source}: no such file or folder")


def _told(line: str, problems: list[str] | None) -> None:
    if problems is None:
        raise ValueError(line)
    problems.append(line)


def _pictures(
    files: list[Path], fps: float, problems: list[str] | None
) -> Iterator[tuple[float, Picture]]:
    for index, path in enumerate(sorted(files, key=_natural)):
        try:
            image = read_image(path)
        except (OSError, ValueError) as error:
            _told(str(error), problems)
            continue
        yield index / fps, image


def _natural(path: Path) -> list[tuple[int, str]]:
    """Return a key that has numbers in names count as numbers."""
    parts = re.split(r"(\d+)", str(path))
    return [(int(part), "") if part.isdigit() else (-1, part) for part in parts]


def _video(path: Path, problems: list[str] | None) -> Iterator[tuple[float, Picture]]:
    capture = cv2.VideoCapture(str(path))
    try:
        # Of a file that is no video one build of OpenCV opens nothing, another gives no frame.
        good, frame = capture.read() if capture.isOpened() else (False, None)
        if not good or frame is None:
            raise ValueError(f"{path}: not a video that can be decoded")
        rate = capture.get(cv2.CAP_PROP_FPS)
        step = 1 / rate if math.isfinite(rate) and rate > 0 else 1 / 25.0
        count, last = 0, -math.inf
        while good and frame is not None:
            stamp = capture.get(cv2.CAP_PROP_POS_MSEC) / 1000
            # Some containers have no stamps, or the same one twice.
            now = stamp if math.isfinite(stamp) and stamp > last else last + step
            now = 0.0 if math.isinf(now) else now
            yield now, _rgb(frame)
            count, last = count + 1, now
            good, frame = capture.read()
        announced = capture.get(cv2.CAP_PROP_FRAME_COUNT)
    finally:
        capture.release()
    # Where the container does not count its frames, OpenCV estimates them from the duration.
    if math.isfinite(announced) and count < announced - max(1, 0.02 * announced):
        _told(f"{path}: ends after {count} of {round(announced)} frames", problems)


def _camera(number: int) -> Iterator[tuple[float, Picture]]:
    capture = cv2.VideoCapture(number)
    try:
        if not capture.isOpened():
            raise OSError(f"camera {number}: cannot be opened")
        start = last = None
        while True:
            good, frame = capture.read()
            if not good or frame is None:
                if last is None:
                    raise OSError(f"camera {number}: gives no picture")
                return
            clock = time.monotonic()
            start = clock if start is None else start
            now = clock - start
            if last is not None and now <= last:  # a clock with coarse ticks
                now = math.nextafter(last, math.inf)
            yield now, _rgb(frame)
            last = now
    finally:
        capture.release()


def _rgb(frame: np.ndarray) -> Picture:
    code = cv2.COLOR_GRAY2RGB if frame.ndim == 2 else cv2.COLOR_BGR2RGB
    return cv2.cvtColor(frame, code)  # type: ignore[return-value]


class VideoWriter:
    """Writes RGB pictures of one size as a video; use it in a `with` statement.

    The file appears under its name when the statement ends well, and not at all otherwise. These
    codecs want even sizes: of an odd one OpenCV leaves out the last row or column.

    Args:
        path: Ends in `.mp4` (MPEG-4) or `.avi` (Motion JPEG, larger and nearer to the pictures).
        fps: Frames per second.

    Raises:
        ValueError: If the ending is another or `fps` is not positive.

    Example:
        >>> with VideoWriter("overlay.avi", fps=25) as video:  # doctest: +SKIP
        ...     video.write(picture)
    """

    def __init__(self, path: str | Path, *, fps: float) -> None:
        self._path = Path(path)
        if self._path.suffix.lower() not in CODECS:
            raise ValueError(f"{path}: a video to write must end in {' or '.join(CODECS)}")
        if not (math.isfinite(fps) and fps > 0):
            raise ValueError(f"fps must be positive and finite, got {fps}")
        self._fps = fps
        self._temporary = self._path.with_name(f".{os.getpid()}.{self._path.name}")
        self._writer: cv2.VideoWriter | None = None
        self._shape: tuple[int, ...] = ()

    def __enter__(self) -> VideoWriter:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            if self._writer is not None:
                self._writer.release()
                if kind is None:
                    os.replace(self._temporary, self._path)
        finally:
            self._temporary.unlink(missing_ok=True)

    def write(self, image: Picture) -> None:
        """Add a picture.

        Raises:
            ValueError: If its size is not that of the first one.
            OSError: If the codec does not work here, or the file cannot be written.
        """
        if self._writer is None:
            self._writer = self._opened(image)
            self._shape = image.shape
        if image.shape != self._shape:
            raise ValueError(f"{self._path}: pictures must be {self._shape}, got {image.shape}")
        self._writer.write(cv2.cvtColor(image, cv2.COLOR_RGB2BGR))

    def _opened(self, image: Picture) -> cv2.VideoWriter:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        codec = CODECS[self._path.suffix.lower()]
        height, width, _ = image.shape
        fourcc = cv2.VideoWriter.fourcc(*codec)
        writer = cv2.VideoWriter(str(self._temporary), fourcc, self._fps, (width, height))
        if not writer.isOpened():
            others = " or ".join(ending for ending in CODECS if ending != self._path.suffix.lower())
            raise OSError(
                f"{self._path}: cannot be written: OpenCV has no codec {codec} here, or the folder "
                f"is not writable; try {others}"
            )
        return writer
