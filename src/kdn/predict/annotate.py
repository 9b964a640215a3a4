"""Pictures and videos named on the command line, object by object into outputs and overlays."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from jaxtyping import UInt8

from kdn.data.images import as_rgb, write_image
from kdn.data.sample import Box
from kdn.predict.boxes import outside_picture
from kdn.predict.detect import Detector
from kdn.predict.inputs import Input
from kdn.predict.outputs import Output, PictureObjects
from kdn.predict.outputs.names import OutputNames
from kdn.predict.overlay import draw_faces
from kdn.predict.predictor import Predictor, load
from kdn.predict.results import Prediction
from kdn.predict.track import FaceTracker, VideoWriter, read_frames, smooth_tracks, without_maps

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
    model: Predictor,
    inputs: Sequence[Input],
    outputs: Sequence[Output],
    *,
    detector: Detector,
    boxes: Mapping[str, Sequence[Box]] | None = None,
    drawing: Drawing | None = None,
    batch: int = 16,
    refine: bool | None = None,
    smooth: bool = False,
    judge: Callable[[Any], Any] | None = None,
    done: Callable[[int], object] | None = None,
) -> None:
    """Predict pictures and videos, and give each picture's objects to all outputs as it is done.

    Of a picture that fails the outputs get the reason, and the rest goes on.

    Args:
        model: What predicts.
        inputs: What is looked at, in this order.
        outputs: Where the objects go.
        detector: Finds boxes where none are given.
        boxes: By name of the picture; a picture that is not in it is given to the detector.
        drawing: How and where overlays are made; None for none.
        batch: Pictures that are read, and crops that go through the network, at a time.
        refine: Crop again by the landmarks' box, as for `Predictor`.
        smooth: Fuse landmarks of videos over earlier and later frames, not over earlier ones alone;
            for that a video is read twice.
        judge: What each object is put through before it is given out, such as `Face.abstaining`.
        done: Called with the number of inputs done.
    """
    work = _Work(model, outputs, detector, boxes or {}, drawing, batch, refine, smooth, judge)
    for group in _groups(inputs, batch):
        if group[0].kind == "image":
            work.pictures([entry.name for entry in group])
        elif group[0].kind == "missing":
            for entry in group:
                work.fail(entry.name, entry.reason)
        else:
            work.video(group[0])
        if done is not None:
            done(len(group))


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

    model: Predictor
    outputs: Sequence[Output]
    detector: Detector
    boxes: Mapping[str, Sequence[Box]]
    drawing: Drawing | None
    batch: int
    refine: bool | None
    smooth: bool
    judge: Callable[[Any], Any] | None

    def fail(self, file: str, reason: str) -> None:
        """Tell the outputs why a file was not done."""
        for output in self.outputs:
            output.fail(file, reason)

    def add(self, file: str, picture: Picture, faces: Sequence[Any], **frame: Any) -> list[Any]:
        """Give the objects of a picture or frame to the outputs, and return them as judged."""
        judged = list(faces) if self.judge is None else [self.judge(face) for face in faces]
        height, width = picture.shape[:2]
        entry = PictureObjects(file=file, width=width, height=height, faces=judged, **frame)
        for output in self.outputs:
            output.add(entry)
        return judged

    def pictures(self, files: Sequence[str]) -> None:
        """Do some pictures together: their objects share the passes through the network."""
        read: dict[str, Picture] = {}
        boxes: dict[str, list[Box] | None] = {}
        for file in files:
            try:
                picture = as_rgb(file)
                boxes[file] = self._boxes(file, picture)
                read[file] = picture
            except (MemoryError, OSError, ValueError) as error:
                self.fail(file, str(error) or type(error).__name__)
        names = list(read)
        asked = [boxes[file] for file in names]
        objects = self.model(list(read.values()), asked, refine=self.refine, batch=self.batch)
        for file, faces in zip(names, objects, strict=True):
            judged = self.add(file, read[file], faces)
            if self.drawing is None:
                continue
            try:
                drawn = draw_faces(read[file], judged, **self.drawing.options)
                write_image(self.drawing.names.path(file), drawn)
            except (OSError, ValueError) as error:
                self.fail(file, f"its overlay cannot be written ({error})")

    def _boxes(self, file: str, picture: Picture) -> list[Box] | None:
        """Return the boxes of a picture, given or the detector's; None where it is one object."""
        if self.model.whole:
            return None
        if file not in self.boxes:
            return [detection.bbox for detection in self.detector(picture)]
        height, width = picture.shape[:2]
        for box in self.boxes[file]:
            if outside_picture(box, width=width, height=height):
                raise ValueError(f"box {box} lies outside the picture of {width} × {height} pixels")
        return list(self.boxes[file])

    def video(self, entry: Input) -> None:
        """Do a video or a camera frame by frame, following faces from one to the next."""
        source: str | int = entry.name if entry.camera is None else entry.camera
        problems: list[str] = []
        try:
            with ExitStack() as stack:
                film = None if self.drawing is None else _Film(self.drawing, entry.name, stack)
                frames = enumerate(self._frames(source, problems))
                for number, (time, picture, tracks, faces) in frames:
                    about = {"frame": number, "time": time, "tracks": tuple(tracks)}
                    judged = self.add(entry.name, picture, faces, **about)
                    if film is not None:
                        film.add(time, picture, judged)
        except (OSError, RuntimeError, ValueError) as error:
            problems.append(str(error))
        for problem in problems:
            self.fail(entry.name, problem)

    def _frames(
        self, source: str | int, problems: list[str]
    ) -> Iterator[tuple[float, Picture, list[int], list[Any]]]:
        """Yield each frame with its time, and the tracks and the objects in it."""
        if self.model.framing.crop != "face":  # what is no face is not followed
            for time, picture in read_frames(source, problems=problems):
                boxes = self._boxes("", picture)
                objects = self.model(picture, boxes, batch=self.batch)
                yield time, picture, list(range(len(objects))), objects
            return
        follows = self.model if self.model.labels.event else load("face68")
        tracker = FaceTracker(
            lambda image, boxes: follows(image, boxes, refine=False, batch=self.batch),
            self.detector,
        )
        frames = read_frames(source, problems=problems)
        if self.smooth:
            if isinstance(source, int):
                raise ValueError("smooth needs a video that is there to its end, got a camera")
            times, tracked = [], []
            for time, picture in frames:
                times.append(time)
                tracked.append(without_maps(tracker.update(picture, time=time)))
            smoothed = smooth_tracks(times, tracked)
            steps = zip(read_frames(source, problems=[]), smoothed, strict=False)
        else:
            steps = ((frame, tracker.update(frame[1], time=frame[0])) for frame in frames)
        for (time, picture), faces in steps:
            tracks, objects = [face.track for face in faces], [face.face for face in faces]
            if follows is not self.model:  # the box of the landmarks says where to look
                boxes = [face.bbox for face in objects]
                objects = self.model(picture, boxes, batch=self.batch)
            yield time, picture, tracks, objects


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

    def add(self, time: float, picture: Picture, faces: Sequence[Prediction]) -> None:
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
