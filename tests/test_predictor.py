"""From pictures and boxes to faces in image pixels."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from kdn.data import CropDataset, PointLabels, Sample, SyntheticFaces
from kdn.models.checkpoint import save_model
from kdn.models.model import build_model
from kdn.predict.detect import Detection
from kdn.predict.predictor import Predictor, load
from kdn.predict.results import face_score
from kdn.recipe import DataRecipe, HeadRecipe, NetworkRecipe, Recipe
from predicting import predicted

RECIPE = Recipe(
    data=DataRecipe(height=32, width=48, context=0.9),
    network=NetworkRecipe(features=8, depth=1),
    head=HeadRecipe("kdn_gaussian", 1.0, "landmark", 2),
)
FACES = SyntheticFaces(3, seed=2, size=(150, 170))


@pytest.fixture(scope="module")
def model() -> Predictor:
    torch.manual_seed(0)
    return Predictor(build_model(RECIPE).eval())


def boxes_of(index: int) -> list[tuple[float, float, float, float]]:
    """Return two boxes in a picture: the face's own and another one, off its centre."""
    x0, y0, x1, y1 = FACES[index].bbox
    return [FACES[index].bbox, (x0 - 9, y0 + 4, x1 + 7, y1 + 12)]


def test_a_face_is_what_predict_gives_for_the_same_box(model):
    expected = predicted(model.model, FACES[:], flip=True)
    for index, sample in enumerate(FACES):
        (face,) = model(sample.read(), [sample.bbox], refine=False)
        np.testing.assert_allclose(face.landmarks, expected.prediction[index], atol=1e-3)
        assert expected.uncertainty is not None
        assert expected.covariances is not None
        np.testing.assert_allclose(face.uncertainty, expected.uncertainty[index], rtol=1e-4)
        xx, xy, yy = expected.covariances[index].T
        np.testing.assert_allclose(face.covariances[:, 0, 0], xx, rtol=1e-3)
        np.testing.assert_allclose(face.covariances[:, 0, 1], xy, rtol=1e-3, atol=1e-2)
        np.testing.assert_allclose(face.covariances[:, 1, 1], yy, rtol=1e-3)
        assert face.bbox == sample.bbox
        assert math.isnan(face.detection)


def test_the_density_is_in_image_pixels(model):
    (face,) = model(FACES[1].read(), [FACES[1].bbox], refine=False)
    np.testing.assert_allclose(face.density.mean.numpy(), face.landmarks, atol=1e-3)
    assert tuple(face.density.batch_shape) == (68,)
    assert bool(face.density.log_prob(torch.from_numpy(face.landmarks).float()).isfinite().all())
    assert face.score == pytest.approx(face_score(face.uncertainty, face.landmark_box))


def test_pictures_together_are_pictures_apart(model):
    pictures = [sample.read() for sample in FACES]
    given = [boxes_of(0), [], boxes_of(2)[:1]]
    together = model(pictures, given, batch=2)
    assert [len(faces) for faces in together] == [2, 0, 1]
    for picture, boxes, faces in zip(pictures, given, together, strict=True):
        for face, alone in zip(faces, model(picture, boxes), strict=True):
            np.testing.assert_allclose(face.landmarks, alone.landmarks, atol=1e-2)
            assert face.bbox == pytest.approx(alone.bbox, abs=1e-2)


def test_a_path_an_image_and_an_array_are_the_same(model, tmp_path):
    picture, box = FACES[0].read(), [FACES[0].bbox]
    path = tmp_path / "face.png"
    Image.fromarray(picture).save(path)
    (array,), (file,), (pil,) = (
        model(given, box) for given in (picture, path, Image.fromarray(picture))
    )
    for other in (file, pil):
        np.testing.assert_array_equal(other.landmarks, array.landmarks)


def test_the_detector_is_asked_where_no_boxes_are_given(model):
    seen = []

    def detector(image: np.ndarray) -> list[Detection]:
        seen.append(image.shape)
        return [Detection(box, 0.25 * (i + 1)) for i, box in enumerate(boxes_of(0))]

    pictures = [FACES[0].read(), FACES[1].read()[:, :100]]
    found = model(pictures, [None, [FACES[1].bbox]], detector=detector)
    assert seen == [(150, 170, 3)]
    assert [face.detection for face in found[0]] == [0.25, 0.5]
    assert [len(faces) for faces in found] == [2, 1]
    assert [len(f) for f in model(pictures, detector=detector)] == [2, 2]


def test_no_detector_is_built_where_boxes_are_given(model, monkeypatch):
    """Building Haar's cascade takes as long as a face does."""
    built = []

    def nobody(image: np.ndarray) -> list[Detection]:
        return []

    monkeypatch.setattr("kdn.predict.detect.named.HaarDetector", lambda: built.append(1) or nobody)
    pictures = [sample.read() for sample in FACES]
    assert len(model(pictures, [boxes_of(0), [], boxes_of(2)])) == 3
    assert model(pictures[1], [FACES[1].bbox])[0].bbox
    assert not built
    assert [len(faces) for faces in model(pictures, [None, boxes_of(1), None])] == [0, 2, 0]
    assert len(built) == 1


def test_a_poor_crop_is_made_again(model):
    """A stand-in network whose landmarks lie where they are, whatever the crop."""
    sample = FACES[1]
    picture = sample.read()
    (x0, y0, x1, y1), side = sample.bbox, 1.6
    middle = ((x0 + x1) / 2 + 20, (y0 + y1) / 2 - 15)
    wide, high = side * (x1 - x0) / 2, side * (y1 - y0) / 2
    poor = (middle[0] - wide, middle[1] - high, middle[0] + wide, middle[1] + high)
    told = _Told(model.model, sample.landmarks)
    (once,), (again,), (own,) = (told(picture, [poor], refine=how) for how in (False, None, True))
    assert once.bbox == poor
    for face in (again, own):
        assert face.bbox == pytest.approx(once.landmark_box)
    (good,) = told(picture, [sample.bbox])
    assert good.bbox == sample.bbox  # it fits, so it is not made again


@pytest.mark.parametrize(("second", "kept"), [(0.86, True), (0.84, False)])
def test_a_second_crop_may_score_a_little_less(model, second, kept):
    """A box that is too small makes the first crop look surer than it is."""
    sample = FACES[2]
    x0, y0, x1, y1 = sample.bbox
    small = (x0 + 0.1 * (x1 - x0), y0 + 0.1 * (y1 - y0), x1 - 0.1 * (x1 - x0), y1 - 0.1 * (y1 - y0))
    told = _Told(model.model, sample.landmarks, {small: 0.9}, otherwise=second)
    (face,) = told(sample.read(), [small])
    assert (face.bbox != small) == kept
    assert face.score == (second if kept else 0.9)


class _Told(Predictor):
    """Knows the true landmarks, and is as sure as its crop is small, or as it is told."""

    def __init__(self, model, landmarks, scores=None, otherwise=None):
        super().__init__(model)
        self.truth = landmarks
        self.scores = scores or {}
        self.otherwise = otherwise

    def _predicted(self, pictures, regions, batch):
        for face in super()._predicted(pictures, regions, batch):
            crop_to_image = self.framing.crop_to_image(face.bbox)
            sure = np.full(68, math.exp(0.5 * float(crop_to_image.log_abs_det())))
            score = self.scores.get(face.bbox, self.otherwise or 1 / sure[0])
            yield replace(face, landmarks=self.truth, uncertainty=sure, score=score)


class _CutOff(Predictor):
    """Knows the true landmarks as far as they are in its crop."""

    def __init__(self, model, landmarks):
        super().__init__(model)
        self.truth = landmarks

    def _predicted(self, pictures, regions, batch):
        edge = torch.tensor([self.framing.width - 1.0, self.framing.height - 1.0])
        for face in super()._predicted(pictures, regions, batch):
            crop_to_image = self.framing.crop_to_image(face.bbox)
            inside = crop_to_image.inverse().points(torch.from_numpy(self.truth))
            points = crop_to_image.points(inside.clamp(min=0).minimum(edge)).numpy()
            yield replace(face, landmarks=points, score=0.5)


def test_landmarks_at_one_point_are_no_crop(model):
    told = _Told(model.model, np.full((68, 2), 40.0))
    (face,) = told(FACES[0].read(), [FACES[0].bbox], refine=True)
    assert face.bbox == FACES[0].bbox


def test_a_face_that_is_cut_off_is_cropped_again_until_it_is_not(model):
    """A stand-in network that sees no further than its crop: what lies below is put at its edge."""
    sample = FACES[1]
    x0, y0, x1, y1 = sample.bbox
    high = (x0, y0 - 0.7 * (y1 - y0), x1, y1 - 0.7 * (y1 - y0))
    (once,), (settled,) = (
        _CutOff(model.model, sample.landmarks)(sample.read(), [high], refine=how)
        for how in (False, None)
    )
    assert once.landmark_box[3] < y1 - 0.1 * (y1 - y0)
    assert settled.landmark_box == pytest.approx(sample.bbox, abs=1.0)


def test_landmarks_far_smaller_than_their_box_are_no_crop(model):
    corner = np.array(FACES[0].bbox[:2])
    shrunk = corner + 0.2 * (FACES[0].landmarks - corner)
    told = _Told(model.model, shrunk)
    (face,) = told(FACES[0].read(), [FACES[0].bbox])
    assert face.bbox == FACES[0].bbox


def test_the_score_by_hand():
    # A box of 40 × 90 has √(w·h) = 60: 5 % are 3 px.
    got = face_score(np.array([3.0, 1.5, 1e-12]), (10.0, 20.0, 50.0, 110.0))
    assert got == pytest.approx((3 - math.exp(-0.5) - math.exp(-2)) / 3)
    assert face_score(np.array([1.0, 2.0]), (5.0, 5.0, 5.0, 9.0)) == 0


def test_a_checkpoint_is_loaded_by_its_path(model, tmp_path):
    path = tmp_path / "mine.safetensors"
    save_model(path, model.model, {"epoch": 3})
    loaded = load(path)
    assert loaded.metadata["epoch"] == 3
    assert loaded.looks.flips == [True]
    assert load(path, flip=False).looks.flips == [False]
    (one,), (other,) = (m(FACES[0].read(), [FACES[0].bbox]) for m in (model, loaded))
    np.testing.assert_array_equal(one.landmarks, other.landmarks)
    adaptive = replace(RECIPE, head=HeadRecipe("kdn_adaptive", refine=1))
    save_model(path, build_model(adaptive), {})
    assert load(path).looks.flips == [False]


def test_what_is_not_there(model, tmp_path):
    with pytest.raises(FileNotFoundError, match=r"absent\.safetensors"):
        load(tmp_path / "absent.safetensors")
    with pytest.raises(FileNotFoundError, match=r"absent\.jpg"):
        model(str(tmp_path / "absent.jpg"))


@pytest.mark.parametrize(
    ("boxes", "said"),
    [
        ([(1.0, 2.0, 3.0)], r"boxes must be \(x0, y0, x1, y1\)"),
        ([(5.0, 5.0, 5.0, 9.0)], "bbox must be finite with x0 < x1"),
        ([(5.0, 5.0, math.nan, 9.0)], "bbox must be finite"),
    ],
)
def test_boxes_that_are_none(model, boxes, said):
    with pytest.raises(ValueError, match=said):
        model(FACES[0].read(), boxes)


def test_boxes_for_each_picture(model):
    pictures = [FACES[0].read(), FACES[1].read()]
    with pytest.raises(ValueError, match="boxes must be a list for each of 2 images, got 1"):
        model(pictures, [boxes_of(0)])


def test_the_crop_is_the_one_that_was_trained_on(model):
    """Through the dataset, whose crops training sees."""
    sample = FACES[2]
    data = CropDataset(
        [sample], labels=PointLabels(model.markup), data=RECIPE.data, augment=None, seed=0
    )
    with torch.no_grad():
        expected = model.model.density(data[0]["image"][None], flip=True).mean[0]
    (face,) = model(sample.read(), [sample.bbox], refine=False)
    matrix = data[0]["crop_to_image"].numpy()
    points = expected.double().numpy() @ matrix[:, :2].T + matrix[:, 2]
    np.testing.assert_allclose(face.landmarks, points, atol=1e-3)


# Models of other things than faces


def model_cropping(crop: str, **data) -> Predictor:
    """Return a landmarker for crops of boxes or whole pictures; five points, not square."""
    size = {"height": 32, "width": 48, "markup": "face5", **data}
    recipe = replace(RECIPE, data=DataRecipe(crop=crop, **size))  # pyright: ignore[reportArgumentType]
    torch.manual_seed(0)
    return Predictor(build_model(recipe).eval(), flip=False)


def five(sample: Sample) -> Sample:
    """Return a sample with five of its landmarks, which is all that predict looks at."""
    return replace(
        sample,
        landmarks=sample.landmarks[:5],
        valid=sample.valid[:5],
        visible=sample.visible[:5],
        alternatives=None,
    )


@pytest.mark.parametrize("crop", ["box", "picture"])
def test_other_things_are_what_predict_gives(crop):
    model, samples = model_cropping(crop, context=1.2), [five(sample) for sample in FACES]
    expected = predicted(model.model, samples)
    for index, sample in enumerate(samples):
        boxes = None if crop == "picture" else [sample.bbox]
        (face,) = model(sample.read(), boxes)
        np.testing.assert_allclose(face.landmarks, expected.prediction[index], atol=1e-3)
        height, width = sample.size()
        whole = (-0.5, -0.5, width - 0.5, height - 0.5)
        assert face.bbox == (sample.bbox if boxes else whole)
        assert math.isnan(face.detection) is (crop == "box")
        (seen,) = Predictor(model.model, flip=False, views=(1.0, 1.0))(sample.read(), boxes)
        np.testing.assert_allclose(seen.density.mean, face.density.mean, atol=1e-3)


def test_whole_pictures_have_no_boxes_and_no_detector():
    def find(image):
        raise AssertionError("asked")

    model, picture = model_cropping("picture"), FACES[1].read()
    for detector in ("auto", "haar", "none", find):
        (face,) = model(picture, detector=detector, refine=True)
        assert face.detection == 1
    assert [len(faces) for faces in model([picture, picture[:40]])] == [1, 1]
    for boxes in (boxes_of(1), []):
        with pytest.raises(ValueError, match="boxes must be None for a model of whole pictures"):
            model(picture, boxes)


def test_boxes_of_other_things_are_asked_for(monkeypatch):
    model, picture = model_cropping("box"), FACES[1].read()
    with pytest.raises(ValueError, match="boxes must be given for this model"):
        model(picture)
    (face,) = model(picture, detector="none")
    assert face.bbox == (-0.5, -0.5, picture.shape[1] - 0.5, picture.shape[0] - 0.5)
    monkeypatch.setattr("kdn.predict.predictor.can_follow", lambda *boxes: True)
    monkeypatch.setattr("kdn.predict.predictor.poor_crop", lambda *boxes: True)
    box = boxes_of(1)[1]
    (moved,) = model(picture, [box], refine=True)
    assert moved.bbox != box
    assert model(picture, [box])[0].bbox == box


def test_whole_pictures_and_boxes_are_not_looked_at_together():
    whole, boxed = model_cropping("picture").model, model_cropping("box").model
    with pytest.raises(ValueError, match=r"one data\.crop, got picture, box"):
        Predictor(whole, boxed)
