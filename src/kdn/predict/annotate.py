"""Pictures and videos named on the command line, face by face into outputs and overlays."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from jaxtyping import UInt8

from kdn.data.images import as_rgb, write_image
from kdn.predict.boxes import outside_picture
from kdn.predict.detect import Detector
from kdn.predict.face import Box, Face
from kdn.predict.inputs import Input
from kdn.predict.outputs import ImageFaces, Output
from kdn.predict.outputs.names import OutputNames
from kdn.predict.overlay import draw_faces
from kdn.predict.predictor import Landmarker
from kdn.predict.track import FaceTracker, VideoWriter, read_frames

__all__ = ["Drawing", "annotate"]

Picture = UInt8[np.ndarray, "height width 3"]

_FPS = 25.0  # of a video that does not say when its frames are shown


@dataclass(frozen=True)
class Drawing:
    """How faces are drawn over their pictures, and where that goes.

    Args:
        names: Gives each picture its file.
        videos: Gives each video its file.
        options: For `kdn.predict.overlay.draw_faces`.
    """

    names: OutputNames
    videos: OutputNames
    options: Mapping[str, Any] = field(default_factory=dict)


def annotate(
    model: Landmarker,
    inputs: Sequence[Input],
    outputs: Sequence[Output],
    *,
    detector: Detector,
    boxes: Mapping[str, Sequence[Box]] | None = None,
    drawing: Drawing | None = None,
    batch: int = 16,
    again: bool | None = None,
    judge: Callable[[Face], Face] | None = None,
    done: Callable[[int], object] | None = None,
) -> None:
    """Find faces in pictures and videos, and give each picture's to all outputs as it is done.

    A picture that fails is told to the outputs, and the rest goes on.

    Args:
        model: What finds the landmarks.
        inputs: What is looked at, in this order.
        outputs: Where the faces go.
        detector: Finds boxes where none are given.
        boxes: By name of the picture; a picture that is not in it is given to the detector.
        drawing: How and where overlays are made; None for none.
        batch: Pictures that are read, and crops that go through the network, at a time.
        again: Crop again by the landmarks' box, as for `Landmarker`.
        judge: What each face is put through before it is given out, such as `Face.abstaining`.
        done: Called with the number of inputs done.
    """
    work = _Work(model, outputs, detector, boxes or {}, drawing, batch, again, judge)
    told = done or (lambda count: None)
    for group in _groups(inputs, batch):
        if group[0].kind == "image":
            work.pictures([entry.name for entry in group])
        elif group[0].kind == "missing":
            for entry in group:
                work.fail(entry.name, entry.reason)
        else:
            work.video(group[0])
        told(len(group))


def _groups(inputs: Iterable[Input], size: int) -> Iterator[list[Input]]:
    """Yield inputs of one kind that follow each other, videos and cameras one by one."""
    group: list[Input] = []
    for entry in inputs:
        alone = entry.kind in ("video", "camera")
        if group and (alone or entry.kind != group[0].kind or len(group) == size):
            yield group
            group = []
        group.append(entry)
        if alone:
            yield group
            group = []
    if group:
        yield group


@dataclass(frozen=True)
class _Work:
    """What all inputs share; see `annotate`."""

    model: Landmarker
    outputs: Sequence[Output]
    detector: Detector
    boxes: Mapping[str, Sequence[Box]]
    drawing: Drawing | None
    batch: int
    again: bool | None
    judge: Callable[[Face], Face] | None

    def judged(self, faces: Sequence[Face]) -> list[Face]:
        """Return faces as they are given out."""
        return list(faces) if self.judge is None else [self.judge(face) for face in faces]

    def fail(self, file: str, reason: str) -> None:
        """Tell the outputs why a file was not done."""
        for output in self.outputs:
            output.fail(file, reason)

    def pictures(self, files: Sequence[str]) -> None:
        """Do some pictures together: their faces share the passes through the network."""
        read: dict[str, Picture] = {}
        asked: dict[str, list[Box] | None] = {}
        for file in files:
            try:
                picture = as_rgb(file)
                asked[file] = self._boxes(file, picture)
                read[file] = picture
            except (MemoryError, OSError, ValueError) as error:
                self.fail(file, str(error) or type(error).__name__)
        named = list(read)
        found = self.model(
            [read[file] for file in named],
            [asked[file] for file in named],
            again=self.again,
            batch=self.batch,
        )
        for file, faces in zip(named, found, strict=True):
            self._picture(file, read[file], self.judged(faces))

    def _boxes(self, file: str, picture: Picture) -> list[Box] | None:
        """Return the boxes of a picture, given or the detector's; None where it is one object."""
        if self.model.whole:
            return None
        if file not in self.boxes:
            return [found.bbox for found in self.detector(picture)]
        height, width = picture.shape[:2]
        for box in self.boxes[file]:
            if outside_picture(box, width=width, height=height):
                raise ValueError(f"box {box} lies outside the picture of {width} × {height} pixels")
        return list(self.boxes[file])

    def _picture(self, file: str, picture: Picture, faces: list[Face]) -> None:
        height, width = picture.shape[:2]
        found = ImageFaces(file=file, width=width, height=height, faces=faces)
        for output in self.outputs:
            output.add(found)
        if self.drawing is None:
            return
        try:
            write_image(
                self.drawing.names.path(file), draw_faces(picture, faces, **self.drawing.options)
            )
        except (OSError, ValueError) as error:
            self.fail(file, f"its overlay cannot be written ({error})")

    def video(self, entry: Input) -> None:
        """Do a video or a camera frame by frame, following faces from one to the next."""
        source: str | int = entry.name if entry.camera is None else entry.camera
        problems: list[str] = []
        tracker = FaceTracker(self._called, self.detector)
        try:
            with ExitStack() as stack:
                film = None if self.drawing is None else _Film(self.drawing, entry.name, stack)
                for number, (time, picture) in enumerate(read_frames(source, problems=problems)):
                    found = self._seen(tracker, picture, time)
                    faces = self.judged([face for _, face in found])
                    tracks = tuple(track for track, _ in found)
                    self._frame(entry.name, number, time, picture, faces, tracks)
                    if film is not None:
                        film.add(time, picture, faces)
        except (OSError, RuntimeError, ValueError) as error:
            problems.append(str(error))
        for problem in problems:
            self.fail(entry.name, problem)

    def _seen(self, tracker: FaceTracker, picture: Picture, time: float) -> list[tuple[int, Face]]:
        """Return the faces of a frame with their tracks; a whole picture is not followed."""
        if self.model.whole:
            return list(enumerate(self.model(picture, batch=self.batch)))
        return [(found.track, found.face) for found in tracker.update(picture, time=time)]

    def _called(self, image: Picture, boxes: Sequence[Box]) -> list[Face]:
        return self.model(image, boxes, again=False, batch=self.batch)

    def _frame(
        self,
        file: str,
        number: int,
        time: float,
        picture: Picture,
        faces: Sequence[Face],
        tracks: tuple[int, ...],
    ) -> None:
        height, width = picture.shape[:2]
        found = ImageFaces(
            file=file,
            width=width,
            height=height,
            faces=faces,
            frame=number,
            time=time,
            tracks=tracks,
        )
        for output in self.outputs:
            output.add(found)


class _Film:
    """The overlay of a video, as fast as its first two frames follow each other.

    Args:
        drawing: How faces are drawn, and where that goes.
        name: Of the video.
        stack: Closes the file in the end.
    """

    def __init__(self, drawing: Drawing, name: str, stack: ExitStack):
        self.drawing = drawing
        self.path = drawing.videos.path(name)
        self.stack = stack
        self.first: tuple[float, Picture] | None = None
        self.writer: VideoWriter | None = None

    def add(self, time: float, picture: Picture, faces: Sequence[Face]) -> None:
        """Draw a frame and write it, or keep it if it is the first."""
        drawn = draw_faces(picture, faces, **self.drawing.options)
        if self.writer is None:
            if self.first is None:
                self.first = time, drawn
                return
            before, frame = self.first
            fps = 1.0 / (time - before) if time > before else _FPS
            self.writer = self.stack.enter_context(VideoWriter(self.path, fps=fps))
            self.writer.write(frame)
        self.writer.write(drawn)
