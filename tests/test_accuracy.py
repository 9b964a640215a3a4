"""NME, CED, AUC and failure rate against hand-made cases, slow twins and published pairs."""

import math

import numpy as np
import pytest

from kdn.data.markup import FACE68, Markup
from kdn.evaluate import (
    auc,
    ced,
    check_auc,
    failure_rate,
    image_errors,
    nme,
    normalisers,
    point_errors,
)

FIVE = Markup(
    name="five",
    landmarks=5,
    flip=(1, 0, 2, 4, 3),
    eye_corners=(0, 1),
    eyes=((0,), (1,)),
    groups={"eyes": (0, 1), "mouth": (3, 4)},
)

# Box NME and AUC at 7 % in percent, as published by the rule fan70: table 1 and table 2.
PUBLISHED = [
    *((2.92, 57.6), (2.56, 66.9), (2.32, 67.5), (2.57, 66.3), (2.33, 67.3), (2.49, 67.3)),
    *((2.26, 68.2), (2.56, 66.3), (2.54, 66.7), (2.49, 67.2), (2.50, 66.9)),
]
CONTRADICTION = (2.67, 59.4)
"""The pair published for the Gaussian head on Menpo: no set of errors has both."""


@pytest.fixture
def labelled() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Predictions, targets and masks of four faces of five landmarks, off-centre and not square."""
    rng = np.random.default_rng(3)
    target = rng.uniform((40, 90), (70, 200), (4, 5, 2))
    landmarks = target + rng.normal(size=target.shape) * (1, 3)
    valid = rng.uniform(size=(4, 5)) < 0.8
    valid[:, 0] = True
    assert 0 < (~valid).sum() < 10
    return landmarks, np.where(valid[..., None], target, np.nan), valid


def box_errors(landmarks, target, valid) -> np.ndarray:
    length = normalisers(target, valid, FIVE)["box"]
    return image_errors(point_errors(landmarks, target), valid, length)


def test_nme_by_hand():
    """Tight box 30×120 has √(w·h) = 60; errors 3-4-5 and 6; the landmark not valid is far off."""
    target = np.array([[[10.0, 20.0], [40.0, 140.0], [1000.0, 5.0]]])
    landmarks = np.array([[[13.0, 24.0], [40.0, 146.0], [0.0, 0.0]]])
    valid = np.array([[True, True, False]])
    lengths = normalisers(target, valid, None)
    assert lengths.keys() == {"box", "diagonal"}
    assert lengths["box"][0] == pytest.approx(60.0)
    assert lengths["diagonal"][0] == pytest.approx(math.hypot(30, 120))
    errors = point_errors(landmarks, target)
    np.testing.assert_allclose(errors[0, :2], [5.0, 6.0])
    assert nme(errors, valid, lengths["box"]) == pytest.approx(100 * 5.5 / 60)


def test_nme_is_a_mean_of_means(labelled):
    """An image counts once, however many of its landmarks are valid."""
    landmarks, target, valid = labelled
    each = []
    for points, truth, mask in zip(landmarks, target, valid, strict=True):
        width, height = np.ptp(truth[mask], axis=0)
        distances = [math.dist(p, t) for p, t in zip(points[mask], truth[mask], strict=True)]
        each.append(100 * sum(distances) / len(distances) / math.sqrt(width * height))
    np.testing.assert_allclose(box_errors(landmarks, target, valid), each)
    length = normalisers(target, valid, FIVE)["box"]
    got = nme(point_errors(landmarks, target), valid, length)
    assert got == pytest.approx(sum(each) / len(each))


def test_normalisers_of_68_landmarks():
    rng = np.random.default_rng(4)
    target = rng.uniform((0, 0), (100, 300), (3, 68, 2))
    valid = np.ones((3, 68), bool)
    valid[0, 45] = False  # an outer corner, which belongs to an eye too
    valid[1, 40] = False  # an eye, but no outer corner
    valid[2, 8] = False
    got = normalisers(target, valid, FACE68)
    assert list(got) == ["box", "inter-ocular", "inter-pupil", "diagonal"]
    np.testing.assert_array_equal(np.isnan(got["inter-ocular"]), [True, False, False])
    np.testing.assert_array_equal(np.isnan(got["inter-pupil"]), [True, True, False])
    for i in (1, 2):
        assert got["inter-ocular"][i] == pytest.approx(math.dist(target[i, 36], target[i, 45]))
    eyes = target[2, 36:42].mean(axis=0), target[2, 42:48].mean(axis=0)
    assert got["inter-pupil"][2] == pytest.approx(math.dist(*eyes))
    assert np.isfinite(got["box"]).all()


def test_normalisers_that_do_not_exist():
    """No valid landmark, or a box without area, leaves the image out instead of dividing by 0."""
    target = np.array([[[1.0, 2.0], [5.0, 2.0]], [[0.0, 0.0], [3.0, 4.0]], [[0.0, 0.0]] * 2])
    valid = np.array([[True, True], [False, False], [True, False]])
    got = normalisers(target, valid, None)
    np.testing.assert_array_equal(np.isnan(got["box"]), [True, True, True])
    np.testing.assert_array_equal(np.isnan(got["diagonal"]), [False, True, True])
    errors = image_errors(np.ones((3, 2)), valid, got["diagonal"])
    np.testing.assert_allclose(errors, [25.0, np.nan, np.nan])
    with pytest.raises(ValueError, match="'face68' has 68 landmarks, got 2"):
        normalisers(target, valid, FACE68)


def test_ced_by_hand():
    errors = np.array([3.0, 1.0, np.nan, 3.0, 8.0])
    np.testing.assert_allclose(ced(errors, np.array([8.0, 0.9, 1.0, 3.0])), [100, 0, 25, 75])
    # An error at the threshold is no failure.
    assert failure_rate(errors, 3, rule="exact") == pytest.approx(25.0)
    assert failure_rate(errors, 2.9, rule="exact") == pytest.approx(75.0)


def test_auc_is_the_area_under_the_ced():
    errors = np.random.default_rng(5).gamma(4.0, 0.8, 37)
    edges = np.linspace(0, 7, 140_001)
    area = ced(errors, (edges[1:] + edges[:-1]) / 2).mean()
    assert auc(errors, 7, rule="exact") == pytest.approx(area, abs=1e-3)


def reference_fan70(errors: np.ndarray) -> float:
    """The reference evaluation, image by image and threshold by threshold, errors as fractions."""
    area = 0.0
    for i in range(70):
        area += sum(1 for error in errors if error / 100 < i / 999) / len(errors)
    return 100 * area / 70


def test_fan70_is_the_published_sum():
    errors = np.random.default_rng(6).gamma(4.0, 0.8, 41)
    got = auc(errors, 7, rule="fan70")
    assert got == pytest.approx(reference_fan70(errors))
    assert 0.5 < auc(errors, 7, rule="exact") - got < 0.9
    assert auc(np.zeros(3), 7, rule="fan70") == pytest.approx(100 * 69 / 70)  # 0 < 0 is False
    assert auc(np.array([100 * 34 / 999]), 7, rule="fan70") == pytest.approx(50.0)


def test_failures_by_fan70_are_what_its_last_threshold_does_not_reach():
    errors = np.array([6.9, 6.906, 100 * 69 / 999, 6.95, np.nan, 7.0, 7.1])
    assert failure_rate(errors, 7, rule="exact") == pytest.approx(100 / 6)
    assert failure_rate(errors, 7, rule="fan70") == pytest.approx(100 * 4 / 6)
    drawn = np.random.default_rng(7).gamma(8.0, 0.8, 101)
    reached = sum(error / 100 < 69 / 999 for error in drawn) / 101
    assert failure_rate(drawn, 7, rule="fan70") == pytest.approx(100 - 100 * reached)
    assert math.isnan(failure_rate(np.array([np.nan]), 7, rule="exact"))


@pytest.mark.parametrize("metric", [auc, failure_rate])
def test_fan70_has_one_threshold(metric):
    with pytest.raises(ValueError, match="threshold must be 7 by the rule fan70, got 8"):
        metric(np.ones(2), 8, rule="fan70")


@pytest.mark.parametrize("threshold", [0.0, -1.0, math.nan, math.inf])
def test_thresholds_are_checked(threshold):
    with pytest.raises(ValueError, match="threshold must be positive and finite"):
        auc(np.ones(2), threshold, rule="exact")


@pytest.mark.parametrize(("nme_percent", "auc_percent"), PUBLISHED)
def test_published_pairs_pass_the_check(nme_percent, auc_percent):
    check_auc(nme_percent, auc_percent, 7, rule="fan70")


def test_pairs_that_contradict_themselves():
    with pytest.raises(RuntimeError, match=r"at least 60\.4667 where the NME is 2\.67, got 59\.4"):
        check_auc(*CONTRADICTION, 7, rule="fan70")
    with pytest.raises(RuntimeError, match=r"AUC@7 \(exact\) must be at least 64\.2857"):
        check_auc(2.5, 60.0, 7)
    check_auc(3.5, 50.0, 7)  # equality, where all errors are below the threshold
    with pytest.raises(RuntimeError, match=r"AUC@7 \(fan70\) must be at most 98\.5714, got 98\.6"):
        check_auc(0.5, 98.6, 7, rule="fan70")
    check_auc(math.nan, math.nan, 7)  # no face that counts


def test_fan70_is_given_no_more_than_it_takes():
    """All errors at 34/999 are 35/70 by the sum, half of a bin below what `exact` must have."""
    nme = 100 * 34 / 999
    check_auc(nme, 50.0, 7, rule="fan70")
    with pytest.raises(RuntimeError, match=r"at least 50 where the NME is 3\.4034, got 49\.9"):
        check_auc(nme, 49.9, 7, rule="fan70")


def test_the_check_holds_for_any_errors():
    rng = np.random.default_rng(8)
    for size in (1, 2, 30):
        for scale in (0.0, 0.01, 1.0, 5.0, 20.0):
            errors = scale * rng.gamma(1.0, 1.0, size)
            for rule in ("exact", "fan70"):
                check_auc(errors.mean(), auc(errors, 7, rule=rule), 7, rule=rule)


# What every accuracy must satisfy, whatever the data: functions of (landmarks, target, valid).
METRICS = {
    "nme": lambda *x: float(np.nanmean(box_errors(*x))),
    "auc": lambda *x: auc(box_errors(*x), 7, rule="exact"),
    "fan70": lambda *x: auc(box_errors(*x), 7, rule="fan70"),
    "failure": lambda *x: failure_rate(box_errors(*x), 7, rule="exact"),
    "failure by fan70": lambda *x: failure_rate(box_errors(*x), 7, rule="fan70"),
    "ced": lambda *x: float(ced(box_errors(*x), np.array([5.0]))[0]),
}
PERFECT = {
    "nme": 0.0,
    "auc": 100.0,
    "fan70": 100 * 69 / 70,
    "failure": 0.0,
    "failure by fan70": 0.0,
    "ced": 100.0,
}


@pytest.mark.parametrize("metric", METRICS)
class TestProperties:
    def test_order_of_images_does_not_matter(self, metric, labelled):
        value = METRICS[metric](*labelled)
        order = [2, 0, 3, 1]
        assert METRICS[metric](*(x[order] for x in labelled)) == pytest.approx(value, rel=1e-12)

    def test_order_of_landmarks_does_not_matter(self, metric, labelled):
        value = METRICS[metric](*labelled)
        order = [3, 1, 4, 0, 2]
        assert METRICS[metric](*(x[:, order] for x in labelled)) == pytest.approx(value, rel=1e-12)

    def test_scale_and_place_do_not_matter(self, metric, labelled):
        landmarks, target, valid = labelled
        value = METRICS[metric](*labelled)
        moved = METRICS[metric](landmarks * 4 - 37, target * 4 - 37, valid)
        assert moved == pytest.approx(value, rel=1e-10)

    def test_what_is_not_valid_does_not_count(self, metric, labelled):
        landmarks, target, valid = labelled
        value = METRICS[metric](*labelled)
        hidden = ~valid[..., None]
        far = np.where(hidden, 1e6, landmarks)
        assert METRICS[metric](far, np.where(hidden, -1e6, target), valid) == value
        assert METRICS[metric](np.where(hidden, np.nan, landmarks), target, valid) == value

    def test_a_perfect_prediction(self, metric, labelled):
        _, target, valid = labelled
        assert METRICS[metric](target, target, valid) == pytest.approx(PERFECT[metric])

    def test_images_twice_give_the_same(self, metric, labelled):
        twice = (np.concatenate([x, x]) for x in labelled)
        assert METRICS[metric](*twice) == pytest.approx(METRICS[metric](*labelled), rel=1e-12)
