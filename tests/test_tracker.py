"""Faces followed through made-up videos, by a stub of a model and a stub of a detector."""

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pytest
import torch
from scipy.optimize import linear_sum_assignment

from kdn.data import PointLabels
from kdn.data.markup import FACE68
from kdn.data.sample import iou
from kdn.density import GaussianDensity
from kdn.grid import Affine
from kdn.predict.detect import Detection
from kdn.predict.results import Face
from kdn.predict.track.boxes import box_about, inside, matched, moved
from kdn.predict.track.kalman import LandmarkFilter, smooth
from kdn.predict.track.motion import Motion
from kdn.predict.track.offline import smooth_tracks
from kdn.predict.track.tracker import FaceTracker, Rules, TrackedFace

HEIGHT, WIDTH, FPS = 120, 200, 25
IMAGE = np.zeros((HEIGHT, WIDTH, 3), dtype=np.uint8)
SHAPE = np.random.default_rng(0).uniform((-15, -20), (15, 20), (68, 2))


def face_at(points: np.ndarray, box: tuple, score: float, *, noise: float = 1.0) -> Face:
    covariances = noise**2 * np.tile(np.array([[1.5, 0.4], [0.4, 0.8]]), (len(points), 1, 1))
    density = GaussianDensity(torch.from_numpy(points), covariance=torch.from_numpy(covariances))
    return Face(
        bbox=box,
        landmarks=points,
        covariances=covariances,
        uncertainty=np.linalg.det(covariances) ** 0.25,
        score=score,
        labels=PointLabels(FACE68),
        density=density.mapped(Affine.identity()),
    )


@dataclass
class World:
    """Faces of which it is known where they are in each frame; None where they are not."""

    paths: list[list]  # centres
    covered: set[tuple[int, int]] = field(default_factory=set)  # (face, frame): the score is low
    unseen: set[int] = field(default_factory=set)  # faces that the detector does not see
    frame: int = -1
    detected: list[int] = field(default_factory=list)  # frames in which the detector ran
    asked: list[list[tuple]] = field(default_factory=list)  # boxes, frame by frame

    def truth(self, number: int) -> np.ndarray | None:
        centre = self.paths[number][self.frame]
        return None if centre is None else SHAPE + centre

    def detector(self, image: np.ndarray) -> list[Detection]:
        assert image is IMAGE
        self.detected.append(self.frame)
        there = [(n, self.truth(n)) for n in range(len(self.paths))]
        return [
            Detection(moved(box_about(points), np.array([1.0, -1.0])), 0.9)
            for n, points in there
            if points is not None and n not in self.unseen and (n, self.frame) not in self.covered
        ]

    def model(self, image: np.ndarray, /, boxes: list) -> list[Face]:
        assert image is IMAGE
        self.asked[-1] = list(boxes)
        return [self._face(box) for box in boxes]

    def _face(self, box: tuple) -> Face:
        rng = np.random.default_rng((1, self.frame))
        best, score = None, 0.05
        for number in range(len(self.paths)):
            points = self.truth(number)
            if points is not None and iou(box_about(points), box) > 0.4:
                best, score = points, 0.1 if (number, self.frame) in self.covered else 0.9
        if best is None:  # a network always says something
            best = SHAPE + np.array([0.5 * (box[0] + box[2]), 0.5 * (box[1] + box[3])])
        return face_at(best + rng.normal(0, 0.7, best.shape), box, score)

    def run(self, rules: Rules | None = None) -> list[list[TrackedFace]]:
        tracker = FaceTracker(self.model, self.detector, rules=rules)
        frames = []
        for frame in range(len(self.paths[0])):
            self.frame = frame
            self.asked.append([])
            frames.append(tracker.update(IMAGE, time=frame / FPS))
        return frames


def path(count: int, *, start=(60.0, 50.0), step=(2.0, 0.5)) -> list:
    return [(start[0] + step[0] * i, start[1] + step[1] * i) for i in range(count)]


def ids(frames: list[list[TrackedFace]]) -> list[list[int]]:
    return [[tracked.track for tracked in faces] for faces in frames]


def test_a_face_is_followed_with_few_detections() -> None:
    world = World([path(34)])
    frames = world.run(Rules(every=10))
    assert ids(frames) == [[0]] * 34
    assert world.detected == [0, 10, 20, 30]
    for frame in range(34):
        world.frame = frame
        truth = world.truth(0)
        assert truth is not None
        assert len(world.asked[frame]) == 1
        assert iou(world.asked[frame][0], box_about(truth)) > 0.8
        face = frames[frame][0].face
        assert np.abs(face.landmarks - truth).mean() < 1.5
        assert face.bbox == box_about(face.landmarks)


def test_the_box_is_where_the_face_will_be() -> None:
    # 6 px in a frame are 40 ms at 150 px / s: without the velocity the box would lie behind.
    world = World([path(20, start=(30.0, 50.0), step=(6.0, 0.0))])
    world.run(Rules(every=50))
    offsets = []
    for frame in range(8, 20):
        world.frame = frame
        truth, box = world.truth(0), world.asked[frame][0]
        assert truth is not None
        offsets.append(0.5 * (box[0] + box[2]) - np.mean([truth[:, 0].min(), truth[:, 0].max()]))
    assert abs(np.mean(offsets)) < 1.0


def test_faces_are_fused_as_by_a_filter_of_their_own() -> None:
    world = World([path(12), path(12, start=(150.0, 60.0), step=(-1.0, 0.0))])
    frames = world.run()
    assert ids(frames) == [[0, 1]] * 12
    for number in (0, 1):
        online = LandmarkFilter(Motion())
        for frame, faces in enumerate(frames):
            tracked = faces[number]
            assert tracked.measured is not None
            own = tracked.measured
            fused = online.filter(frame / FPS, own.landmarks, own.covariances)
            np.testing.assert_array_equal(tracked.face.landmarks, fused.landmarks)
            np.testing.assert_array_equal(tracked.face.covariances, fused.covariances)
            assert tracked.face.score == own.score
            assert tracked.face.markup is FACE68
            area = np.linalg.det(fused.covariances)
            np.testing.assert_allclose(tracked.face.uncertainty**4, area, rtol=1e-9)
            density = tracked.face.density
            assert tuple(density.batch_shape) == (68,)
            np.testing.assert_allclose(density.mean.numpy(), fused.landmarks, rtol=1e-12)
            np.testing.assert_allclose(
                density.covariance_matrix.numpy(), fused.covariances, rtol=1e-9
            )
        assert (frames[-1][number].face.uncertainty < frames[0][number].face.uncertainty).all()


def test_faces_come_and_go() -> None:
    still = path(60, start=(40.0, 50.0), step=(0.0, 0.0))
    comes = [(140.0, 60.0) if 13 <= i < 30 or i >= 45 else None for i in range(60)]
    world = World([still, comes])
    frames = world.run(Rules(every=5, patience=4))
    numbers = ids(frames)
    assert all(found[0] == 0 for found in numbers)
    second = [found[1] if len(found) > 1 else None for found in numbers]
    # Found by the next regular run, gone after four frames of patience, and then someone new.
    assert second == [None] * 15 + [1] * 19 + [None] * 11 + [2] * 15
    guessed = [i for i, faces in enumerate(frames) if len(faces) > 1 and faces[1].measured is None]
    assert guessed == [30, 31, 32, 33]
    for i in guessed:
        assert frames[i][1].face.score == 0
        assert (frames[i][1].face.uncertainty > frames[i - 1][1].face.uncertainty).all()


def test_a_covered_face_keeps_its_number() -> None:
    covered = {(0, frame) for frame in (14, 15, 16)}
    world = World(
        [path(30, step=(1.0, 0.0)), path(30, start=(150.0, 60.0), step=(0.0, 0.0))], covered
    )
    frames = world.run(Rules(every=10, patience=3))
    assert ids(frames) == [[0, 1]] * 30
    assert [faces[0].measured is None for faces in frames] == [i in (14, 15, 16) for i in range(30)]
    # The frames after a loss are looked at by the detector too.
    assert world.detected == [0, 10, 15, 16, 17, 20]
    assert ids(World(world.paths, covered).run(Rules(every=10, patience=2)))[-1] == [1, 2]


def test_a_lost_face_is_found_where_the_detector_sees_it() -> None:
    # Covered for two frames in which it jumps by a third of its width.
    jump = [(60.0, 50.0)] * 10 + [(70.0, 50.0)] * 10
    world = World([jump], {(0, 9), (0, 10)})
    frames = world.run(Rules(every=100, patience=5))
    assert ids(frames) == [[0]] * 20
    world.frame = 11
    truth = world.truth(0)
    assert truth is not None
    assert world.asked[11] == [moved(box_about(truth), np.array([1.0, -1.0]))]


def test_a_wall_is_no_face() -> None:
    # The model finds it, the detector never does after the first frame.
    world = World([path(50, step=(0.0, 0.0)), path(50, start=(150.0, 60.0), step=(0.0, 0.0))])
    tracker = FaceTracker(world.model, world.detector, rules=Rules(every=5, unconfirmed=3))
    numbers = []
    for frame in range(50):
        world.frame = frame
        world.asked.append([])
        world.unseen = {1} if frame else set()
        numbers.append([t.track for t in tracker.update(IMAGE, time=frame / FPS)])
    assert numbers == [[0, 1]] * 15 + [[0]] * 35


def test_heatmaps_of_one_cell_can_be_followed() -> None:
    world = World([path(6)])

    def certain(image: np.ndarray, /, boxes: list) -> list[Face]:
        faces = world.model(image, boxes)
        for face in faces:
            face.covariances[::2] = 0.0
        return faces

    tracker = FaceTracker(certain, world.detector)
    frames = []
    for frame in range(6):
        world.frame = frame
        world.asked.append([])
        frames.append(tracker.update(IMAGE, time=frame / FPS))
    assert ids(frames) == [[0]] * 6
    assert (frames[0][0].face.covariances[::2] == np.eye(2) / 12).all()
    assert frames[0][0].face.covariances[1] == pytest.approx(np.array([[1.5, 0.4], [0.4, 0.8]]))
    smoothed = smooth_tracks([frame / FPS for frame in range(6)], frames)
    assert (np.linalg.det(smoothed[3][0].face.covariances) > 0).all()


def test_without_faces_every_frame_is_searched() -> None:
    world = World([[None] * 7 + [(60.0, 50.0)] * 5])
    frames = world.run(Rules(every=10))
    assert ids(frames) == [[]] * 7 + [[0]] * 5
    assert world.detected == [*range(8), 10]
    assert world.asked[:7] == [[]] * 7


def test_of_two_tracks_on_one_face_the_younger_ends() -> None:
    # Two faces that become one: both tracks lead to the same landmarks.
    first = path(40, start=(50.0, 60.0), step=(1.0, 0.0))
    second = [(130.0 - i, 60.0) if i < 30 else None for i in range(40)]
    frames = World([first, second]).run(Rules(every=10))
    assert ids(frames)[0] == [0, 1]
    assert ids(frames)[-1] == [0]


def test_a_face_that_leaves_is_not_looked_for_outside() -> None:
    leaves: list = [(150.0 + 6 * i, 60.0) for i in range(20)]
    world = World([leaves])
    frames = world.run(Rules(every=100, patience=3))
    assert ids(frames)[0] == [0]
    assert ids(frames)[-1] == []
    for boxes in world.asked:
        assert all(inside(box, height=HEIGHT, width=WIDTH) > 0.25 for box in boxes)


def test_a_doubtful_detection_starts_nothing() -> None:
    world = World([path(10)], {(0, frame) for frame in range(4)})
    seen = world.detector
    world.detector = lambda image: seen(image) or [Detection((20.0, 20.0, 60.0, 70.0), 0.3)]  # type: ignore[method-assign]
    assert ids(world.run())[:5] == [[], [], [], [], [0]]


def test_frames_go_through_as_they_are() -> None:
    world = World([path(3)])
    tracker = FaceTracker(world.model, world.detector)

    def frames():
        for frame in range(3):
            world.frame = frame
            world.asked.append([])
            yield frame / FPS, IMAGE

    found = list(tracker.track(frames()))
    assert [time for time, _, _ in found] == [0, 1 / FPS, 2 / FPS]
    assert all(image is IMAGE for _, image, _ in found)
    assert [faces[0].track for _, _, faces in found] == [0, 0, 0]


def test_what_cannot_be_used() -> None:
    world = World([path(5)])
    tracker = FaceTracker(lambda image, /, boxes: [], world.detector)
    world.frame = 0
    with pytest.raises(ValueError, match="model must return a face for each of 1 boxes, got 0"):
        tracker.update(IMAGE, time=0.0)
    tracker = FaceTracker(world.model, world.detector)
    world.asked.append([])
    tracker.update(IMAGE, time=1.0)
    with pytest.raises(ValueError, match="time must be later than"):
        tracker.update(IMAGE, time=1.0)
    wrong: list[tuple[dict[str, Any], str]] = [
        ({"every": 0}, "every must be at least 1, got 0"),
        ({"patience": -1}, "patience must be at least 0, got -1"),
        ({"unconfirmed": 0}, "unconfirmed must be at least 1, got 0"),
        ({"score": 1.5}, r"score must be in \[0, 1\], got 1.5"),
        ({"overlap": 0.0}, r"overlap must be above 0 and at most 1, got 0.0"),
    ]
    for options, reason in wrong:
        with pytest.raises(ValueError, match=reason):
            Rules(**options)


def test_tracks_are_smoothed_when_the_video_is_over() -> None:
    comes = [(140.0, 60.0) if 3 <= i < 14 else None for i in range(20)]
    world = World([path(20), comes], {(0, 8), (0, 9)})
    frames = world.run(Rules(every=3, patience=4))
    times = [frame / FPS for frame in range(20)]
    found = smooth_tracks(times, frames)
    assert ids(found) == [[0, 1] if 3 <= i < 14 else [0] for i in range(20)]
    measured = [faces[0].measured for faces in frames]
    expected = smooth(
        np.array(times),
        [None if face is None else face.landmarks for face in measured],
        [None if face is None else face.covariances for face in measured],
    )
    assert [i for i, face in enumerate(measured) if face is None] == [8, 9]
    for frame, faces in enumerate(found):
        np.testing.assert_array_equal(faces[0].face.landmarks, expected.landmarks[frame])
        np.testing.assert_array_equal(faces[0].face.covariances, expected.covariances[frame])
        assert faces[0].measured is measured[frame]
    assert (found[8][0].face.uncertainty < frames[8][0].face.uncertainty).all()
    with pytest.raises(ValueError, match="one for each of 20 frames, got 3"):
        smooth_tracks(times[:3], frames)
    assert smooth_tracks([0.0, 0.1], [[], []]) == [[], []]


def test_a_track_that_is_only_guessed_at_is_left_out() -> None:
    frames = World([path(3)]).run()
    guessed = [[replace(face, measured=None) for face in faces] for faces in frames]
    assert smooth_tracks([0.0, 0.1, 0.2], guessed) == [[], [], []]


def test_overlaps_by_hand() -> None:
    assert iou((0.0, 0.0, 4.0, 2.0), (2.0, 1.0, 6.0, 3.0)) == pytest.approx(2 / 14)
    assert iou((0.0, 0.0, 4.0, 2.0), (0.0, 0.0, 4.0, 2.0)) == 1
    assert iou((0.0, 0.0, 4.0, 2.0), (4.0, 0.0, 6.0, 2.0)) == 0
    assert iou((1.0, 1.0, 1.0, 5.0), (0.0, 0.0, 4.0, 6.0)) == 0
    # A picture of 10 × 20 pixels spans −½ to 9½ and −½ to 19½.
    assert inside((-2.5, 1.0, 1.5, 3.0), height=10, width=20) == pytest.approx(0.5)
    assert inside((18.5, 8.5, 20.5, 10.5), height=10, width=20) == pytest.approx(0.25)
    assert inside((30.0, 1.0, 40.0, 3.0), height=10, width=20) == 0
    assert inside((4.0, 1.0, 4.0, 3.0), height=10, width=20) == 0
    assert inside((float("nan"), 1.0, 4.0, 3.0), height=10, width=20) == 0


@pytest.mark.parametrize("seed", range(5))
def test_pairs_are_the_best_assignment_of_faces_apart(seed: int) -> None:
    rng = np.random.default_rng(seed)
    spots = rng.permutation(12)[:6]
    corners = np.stack([60.0 * (spots % 4), 70.0 * (spots // 4)], axis=1)
    first = [(x, y, x + 40.0, y + 50.0) for x, y in corners.tolist()]
    order = rng.permutation(6)[:4]
    second = [moved(first[i], rng.uniform(-12, 12, 2)) for i in order]
    gains = np.array([[iou(a, b) for b in second] for a in first])
    rows, columns = linear_sum_assignment(-gains)
    best = {
        i: j for i, j in zip(rows.tolist(), columns.tolist(), strict=True) if gains[i, j] >= 0.3
    }
    assert matched(first, second, least=0.3) == best
    assert len(best) >= 3


def test_the_closest_pair_comes_first() -> None:
    box = (10.0, 10.0, 50.0, 50.0)
    near, far = (12.0, 10.0, 52.0, 50.0), (25.0, 10.0, 65.0, 50.0)
    assert matched([box, far], [near, far], least=0.3) == {0: 0, 1: 1}
    assert matched([box, near], [near], least=0.3) == {1: 0}
    assert matched([box], [far], least=0.5) == {}
