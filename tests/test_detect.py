"""Detectors of faces: boxes in the right frame, by the right convention, in a steady order."""

import math
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cv2
import matplotlib as mpl
import numpy as np
import pytest

from kdn.data.formats.ibug import read_ibug
from kdn.data.images import as_rgb
from kdn.predict.detect import (
    Detection,
    HaarDetector,
    WholePicture,
    YuNetDetector,
    box_of_five,
    detector_named,
)
from kdn.predict.detect.detection import TightBox, largest_first, without_overlaps, working_copy
from kdn.predict.detect.detectors import HAAR_BOX, score_of

PORTRAIT = Path(mpl.get_data_path()) / "sample_data" / "grace_hopper.jpg"
# The tight box of the landmarks in that portrait, by eye: brows to chin, ear to ear.
FACE = (176.0, 162.0, 356.0, 334.0)
NEAR = 0.17  # the cascade sees this face large: by 15 %


def size_and_centre(box: tuple[float, ...]) -> tuple[float, np.ndarray]:
    low, high = np.array(box).reshape(2, 2)
    return float((high - low).mean()), 0.5 * (low + high)


def assert_near(box: tuple[float, ...], expected: tuple[float, ...], share: float) -> None:
    """Check centre and size against another box, in shares of the latter's mean side."""
    size, centre = size_and_centre(box)
    true_size, true_centre = size_and_centre(expected)
    assert np.abs(centre - true_centre).max() < share * true_size, (box, expected)
    assert abs(math.log(size / true_size)) < share, (box, expected)


def scaled(box: tuple[float, ...], factor: float) -> tuple[float, ...]:
    """Return a box in the pixels of an enlarged picture."""
    return tuple(factor * (value + 0.5) - 0.5 for value in box)


def moved(box: tuple[float, ...], x: float, y: float) -> tuple[float, ...]:
    return box[0] + x, box[1] + y, box[2] + x, box[3] + y


@pytest.fixture(scope="module")
def portrait() -> np.ndarray:
    return as_rgb(PORTRAIT)


# ---- what detectors share


@pytest.mark.parametrize(
    ("bbox", "score", "reason"),
    [
        ((1.0, 2.0, 1.0, 5.0), 0.5, "x0 < x1"),
        ((1.0, 2.0, 3.0, math.inf), 0.5, "finite"),
        ((1.0, 2.0, 3.0, 4.0), 1.5, "score"),
        ((1.0, 2.0, 3.0, 4.0), math.nan, "score"),
    ],
)
def test_a_detection_that_makes_no_sense_is_refused(bbox, score, reason):
    with pytest.raises(ValueError, match=reason):
        Detection(bbox, score)


def test_a_tight_box_by_hand():
    # Raw: 40 wide, 80 high, centre (30, 60). A quarter of 80 lower; half as wide; three quarters.
    tight = TightBox(down=0.25, width=0.5, height=0.75).of((10.0, 20.0, 50.0, 100.0))
    assert tight == (20.0, 50.0, 40.0, 110.0)


def test_a_working_copy_keeps_places():
    image = np.zeros((300, 403, 3), dtype=np.uint8)
    image[200:206, 102:106] = 255  # its centre is (103.5, 202.5)
    copy, scale_x, scale_y = working_copy(image, 100)
    assert copy.shape == (74, 100, 3)
    y, x = np.mgrid[:74, :100]
    total = copy[..., 0].sum(dtype=float)
    place = np.array([(x * copy[..., 0]).sum() / total, (y * copy[..., 0]).sum() / total])
    np.testing.assert_allclose((place + 0.5) / (scale_x, scale_y) - 0.5, [103.5, 202.5], atol=0.1)
    same, *scales = working_copy(image, 403)
    assert same is image
    assert scales == [1.0, 1.0]


def test_of_overlapping_boxes_the_better_stays():
    # The first two share 50 of 150; the third touches none.
    low = Detection((0.0, 0.0, 10.0, 10.0), 0.3)
    high = Detection((5.0, 0.0, 15.0, 10.0), 0.9)
    far = Detection((40.0, 7.0, 43.0, 9.0), 0.1)
    assert without_overlaps([low, high, far], 0.3) == [high, far]
    assert without_overlaps([far, low, high], 0.34) == [high, low, far]
    assert largest_first([far, high, low]) == [low, high, far]


# ---- Haar


def test_the_portrait_has_one_face_where_it_is(portrait):
    found = HaarDetector()(portrait)
    assert len(found) == 1
    assert_near(found[0].bbox, FACE, NEAR)
    assert 0.5 < found[0].score <= 1.0


@pytest.mark.parametrize("factor", [0.5, 3.0])
def test_boxes_are_in_pixels_of_the_picture_whatever_its_size(portrait, factor):
    height, width = portrait.shape[:2]
    size = (round(factor * width), round(factor * height))
    way = cv2.INTER_AREA if factor < 1 else cv2.INTER_CUBIC
    found = HaarDetector()(cv2.resize(portrait, size, interpolation=way))
    assert len(found) == 1
    assert_near(found[0].bbox, scaled(FACE, factor), NEAR)


def test_faces_come_largest_first_and_every_time_the_same(portrait):
    small = cv2.resize(portrait, None, fx=0.6, fy=0.6, interpolation=cv2.INTER_AREA)
    both = np.full((700, 900, 3), 90, dtype=np.uint8)
    both[20 : 20 + small.shape[0], 10 : 10 + small.shape[1]] = small
    both[50 : 50 + portrait.shape[0], 350 : 350 + portrait.shape[1]] = portrait
    found = HaarDetector()(both)
    large, little = moved(FACE, 350, 50), moved(scaled(FACE, 0.6), 10, 20)
    assert len(found) == 2
    assert_near(found[0].bbox, large, NEAR)
    assert_near(found[1].bbox, little, NEAR)
    assert HaarDetector()(both) == found


@pytest.mark.parametrize("shape", [(1, 1, 3), (7, 300, 3), (90, 140, 3)])
def test_where_there_is_no_face_none_is_found(shape):
    flat = np.full(shape, 128, dtype=np.uint8)
    noise = np.random.default_rng(0).integers(0, 255, shape, dtype=np.uint8)
    assert HaarDetector()(flat) == []
    assert HaarDetector()(noise) == []


def test_a_doubtful_face_counts_alone_and_large(portrait):
    number = HaarDetector().raw(portrait)[0][1]
    doubted = HaarDetector(neighbours=2 * number - 1)  # as many again would have been needed
    (only,) = doubted(portrait)
    assert_near(only.bbox, FACE, NEAR)
    assert HaarDetector(neighbours=2 * number + 1)(portrait) == []
    lost = np.full((1400, 1800, 3), 128, dtype=np.uint8)
    lost[100:700, 200:712] = portrait  # less than a fifth of the longer side now
    assert len(HaarDetector(neighbours=4, longest=1800)(lost)) == 1
    count = HaarDetector(neighbours=4, longest=1800).raw(lost)[0][1]
    assert HaarDetector(neighbours=count + 1, longest=1800)(lost) == []


def test_faces_smaller_than_asked_for_are_not_looked_for(portrait):
    raw, _, _ = HaarDetector().raw(portrait)[0]
    side = (raw[2] - raw[0]) / max(portrait.shape)
    assert HaarDetector(smallest=0.8 * side)(portrait)
    assert HaarDetector(smallest=1.5 * side)(portrait) == []


def test_the_score_rises_with_agreement_and_certainty():
    scores = [[score_of(count, certainty) for certainty in (54.0, 56.0, 58.0)] for count in (3, 60)]
    assert (np.diff(scores, axis=0) > 0).all()
    assert (np.diff(scores, axis=1) > 0).all()
    assert 0 < np.min(scores) < np.max(scores) < 1


@pytest.mark.parametrize(
    "wrong",
    [
        {"longest": 19},
        {"smallest": 0.0},
        {"smallest": 1.1},
        {"step": 1.0},
        {"neighbours": 0},
        {"overlap": -0.1},
    ],
)
def test_settings_out_of_range_are_named(wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        HaarDetector(**wrong)


# ---- YuNet, by a stand-in


class FakeNetwork:
    """Says what it is told, and remembers what it was shown."""

    def __init__(self, rows: np.ndarray | None) -> None:
        self.rows, self.size, self.shown = rows, (0, 0), None

    def setInputSize(self, size: tuple[int, int]) -> None:  # noqa: N802
        self.size = size

    def detect(self, image: np.ndarray) -> tuple[int, np.ndarray | None]:
        if image.shape != (32, 64, 3):  # not the trial
            assert (image.shape[1], image.shape[0]) == self.size
            self.shown = image
        return 1, self.rows


def yunet(monkeypatch, tmp_path, rows, **settings) -> tuple[YuNetDetector, FakeNetwork, list]:
    path, network, asked = tmp_path / "yunet.onnx", FakeNetwork(rows), []
    path.write_bytes(b"stands in for a model")

    def create(*args, **kwargs):
        asked.append((args, kwargs))
        return network

    monkeypatch.setattr(cv2, "FaceDetectorYN", SimpleNamespace(create=create))
    return YuNetDetector(path, **settings), network, asked


def row_of(five: np.ndarray, score: float) -> np.ndarray:
    """Return a row of the network's answer; its box is nonsense, as it is not to be used."""
    return np.array([[1, 2, 3, 4, *five.ravel(), score]], dtype=np.float32)


FIVE = np.array([[40.0, 50.0], [80.0, 48.0], [62.0, 70.0], [45.0, 90.0], [78.0, 91.0]])


def test_yunet_answers_in_pixels_of_the_picture(monkeypatch, tmp_path):
    small = 0.5 * (FIVE + 0.5) - 0.5 + (30, 10)  # half as large, elsewhere
    rows = np.concatenate([row_of(small, 0.95), row_of(FIVE, 0.8)])
    detector, network, asked = yunet(
        monkeypatch, tmp_path, rows, longest=160, score=0.6, overlap=0.4
    )
    image = np.random.default_rng(0).integers(0, 255, (240, 320, 3), dtype=np.uint8)
    found = detector(image)
    assert network.size == (160, 120)
    expected = cv2.resize(image, (160, 120), interpolation=cv2.INTER_AREA)[..., ::-1]
    np.testing.assert_array_equal(network.shown, expected)  # BGR
    np.testing.assert_allclose([d.score for d in found], [0.8, 0.95], rtol=1e-6)
    for one, five in zip(found, (FIVE, small), strict=True):
        box = box_of_five(2 * (five + 0.5) - 0.5)
        np.testing.assert_allclose(one.bbox, box, rtol=1e-5)
    assert asked[0][1] == {"score_threshold": 0.6, "nms_threshold": 0.4}


def test_yunet_finds_none(monkeypatch, tmp_path):
    for rows in (None, np.zeros((0, 15), np.float32), row_of(np.full((5, 2), 9.0), 0.9)):
        detector, _, _ = yunet(monkeypatch, tmp_path, rows)
        assert detector(np.zeros((40, 70, 3), np.uint8)) == []


def test_a_score_beyond_one_is_one(monkeypatch, tmp_path):
    detector, _, _ = yunet(monkeypatch, tmp_path, row_of(FIVE, 1.0001))
    assert detector(np.zeros((140, 170, 3), np.uint8))[0].score == 1.0


def test_a_wrong_file_is_named(tmp_path, capfd):
    with pytest.raises(FileNotFoundError, match=r"none\.onnx: no such file"):
        YuNetDetector(tmp_path / "none.onnx")
    path = tmp_path / "text.onnx"
    path.write_text("not a network")
    with pytest.raises(ValueError, match=r"text\.onnx: not an ONNX file") as caught:
        YuNetDetector(path)
    assert "\n" not in str(caught.value)
    settings: list[dict[str, Any]] = [{"longest": 31}, {"score": 1.5}, {"overlap": -1.0}]
    for wrong in settings:
        with pytest.raises(ValueError, match=next(iter(wrong))):
            YuNetDetector(path, **wrong)
    assert capfd.readouterr() == ("", "")


def test_the_box_of_five_points_by_hand():
    """A frontal face: mirrored it is mirrored, moved it moves, larger it is larger."""
    x0, y0, x1, y1 = box_of_five(FIVE)
    assert x0 < FIVE[:, 0].min()
    assert x1 > FIVE[:, 0].max()
    assert y0 < FIVE[:, 1].min()
    assert y1 > FIVE[:, 1].max()
    moved = box_of_five(3 * FIVE + (7, -5))
    np.testing.assert_allclose(moved, 3 * np.array([x0, y0, x1, y1]) + (7, -5, 7, -5))
    mirrored = (FIVE * (-1, 1))[[1, 0, 2, 4, 3]]
    np.testing.assert_allclose(box_of_five(mirrored), (-x1, y0, -x0, y1))
    left = FIVE.copy()
    left[2, 0] -= 12  # the nose turns to the left: the face lies further to the right of it
    assert box_of_five(left)[0] + box_of_five(left)[2] > x0 + x1
    for none in (np.full((5, 2), np.nan), np.full((5, 2), 7.0)):
        with pytest.raises(ValueError, match="points must be finite and not all the same"):
            box_of_five(none)


# ---- by name


def test_detectors_by_name(monkeypatch, tmp_path):
    assert isinstance(detector_named("haar"), HaarDetector)
    assert isinstance(detector_named("none"), WholePicture)
    yunet(monkeypatch, tmp_path, None)
    assert isinstance(detector_named(f"yunet:{tmp_path / 'yunet.onnx'}"), YuNetDetector)
    for name in ("", "Haar", "yunet", "yunet:", "haar:", "mtcnn"):
        with pytest.raises(ValueError, match="`haar`, `yunet:FILE` or `none`, got"):
            detector_named(name)


def test_the_whole_picture_is_a_face():
    (one,) = WholePicture()(np.zeros((81, 201, 3), np.uint8))
    # The square in the middle: 81 wide, centre (100, 40).
    np.testing.assert_allclose(one.bbox, HAAR_BOX.of((59.5, -0.5, 140.5, 80.5)))
    assert one.score == 1.0
    assert 0 < one.bbox[1] < one.bbox[3] < 90


# ---- real pictures


@pytest.mark.data
@pytest.mark.parametrize(("name", "faces"), [("mona_lisa", 1), ("obamas", 2), ("the_beatles", 4)])
def test_all_faces_in_three_photographs(real_data, name, faces):
    found = HaarDetector()(as_rgb(real_data / "formats" / "photos" / f"{name}.jpg"))
    assert len(found) == faces


@pytest.mark.data
@pytest.mark.slow
def test_boxes_follow_the_landmarks(real_data):
    """The median over training faces must be where the constants put it."""
    offsets, sizes, missed = [], [], 0
    samples = read_ibug(real_data / "300w" / "afw")[::12]
    for sample in samples:
        size, centre = size_and_centre(sample.bbox)
        boxes = [size_and_centre(d.bbox) for d in HaarDetector()(sample.read())]
        near = [b for b in boxes if np.abs(b[1] - centre).max() < 0.4 * size]
        missed += not near
        offsets += [(b[1] - centre) / size for b in near]
        sizes += [b[0] / size for b in near]
    assert missed < 0.3 * len(samples)
    np.testing.assert_allclose(np.median(offsets, axis=0), [0, 0], atol=0.05)
    assert abs(np.median(sizes) - 1) < 0.05
