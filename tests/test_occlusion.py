"""Scores of occlusion by hand, and their combination against scikit-learn."""

from dataclasses import replace

import numpy as np
import pytest
from sklearn.metrics import average_precision_score, roc_auc_score

from kdn.evaluate.occlusion import detect, occluded_landmarks, occlusion_scores
from kdn.predictions import Predictions
from labelled import gaussian_predictions
from plain import resample_counts


def told(seed: int = 0, samples: int = 60) -> Predictions:
    """Predictions that are wider where landmarks are hidden, which happens to some more often."""
    given = gaussian_predictions(samples=samples, landmarks=7, seed=seed, markup="seven")
    rng = np.random.default_rng(seed + 1)
    visible = rng.random((samples, 7)) > np.linspace(0.1, 0.5, 7)
    assert given.entropy is not None
    assert given.uncertainty is not None
    wide = np.where(visible, 0.0, 1.0)
    return replace(
        given,
        visible=visible,
        entropy=given.entropy + 1.5 * wide,
        uncertainty=given.uncertainty * np.exp(0.3 * wide + 0.2 * rng.normal(size=wide.shape)),
    )


def test_scores_do_not_depend_on_the_size_of_the_picture() -> None:
    given = told()
    scale = np.random.default_rng(3).uniform(0.5, 4.0, (60, 1))
    assert given.entropy is not None
    assert given.uncertainty is not None
    assert given.crop_to_image is not None
    larger = replace(
        given,
        entropy=given.entropy + 2 * np.log(scale),
        uncertainty=given.uncertainty * scale,
        crop_to_image=given.crop_to_image * scale[..., None],
    )
    one, two = occlusion_scores(given), occlusion_scores(larger)
    assert list(one) == ["entropy", "uncertainty"]
    for name in one:
        np.testing.assert_allclose(one[name], two[name], atol=1e-12)


def test_scores_by_hand() -> None:
    """One crop pixel is three image pixels."""
    given = Predictions(
        id=("a",),
        landmarks=np.zeros((1, 2, 2)),
        crop_to_image=np.array([[[0.0, -3.0, 1.0], [3.0, 0.0, 2.0]]]),
        entropy=np.array([[2.0, 5.0]]),
        uncertainty=np.array([[6.0, 1.5]]),
    )
    scores = occlusion_scores(given)
    np.testing.assert_allclose(scores["entropy"], [[2 - np.log(9), 5 - np.log(9)]])
    np.testing.assert_allclose(scores["uncertainty"], np.log([[2.0, 0.5]]))
    assert list(occlusion_scores(replace(given, entropy=None))) == ["uncertainty"]
    with pytest.raises(ValueError, match="must have a column crop_to_image, got none"):
        occlusion_scores(replace(given, crop_to_image=None))
    with pytest.raises(ValueError, match="uncertainty or mass_within, got none"):
        occlusion_scores(replace(given, entropy=None, uncertainty=None))


def test_masses_within_radii_are_scores_of_their_own() -> None:
    given = told(samples=5)
    within = np.random.default_rng(2).random((5, 7, 2))
    given = replace(given, metadata={**given.metadata, "radii": [2, 7.5]})
    object.__setattr__(given, "mass_within", within)  # as predictions that have the column
    scores = occlusion_scores(given)
    assert list(scores)[2:] == ["error > 2", "error > 7.5"]
    np.testing.assert_array_equal(scores["error > 7.5"], 1 - within[..., 1])


def test_landmarks_without_a_label_are_neither_hidden_nor_counted() -> None:
    given = told()
    hidden, counted = occluded_landmarks(given)
    assert given.valid is not None
    assert given.visible is not None
    assert (~given.valid & ~given.visible).any()
    np.testing.assert_array_equal(hidden, given.valid & ~given.visible)
    np.testing.assert_array_equal(counted, given.valid)
    with pytest.raises(ValueError, match="occluded and visible landmarks, got 0 and"):
        occluded_landmarks(replace(given, visible=np.ones_like(given.visible)))
    with pytest.raises(ValueError, match="columns target and visible"):
        occluded_landmarks(replace(given, visible=None))


def test_detection_equals_scikit_learn() -> None:
    given = told()
    hidden, counted = occluded_landmarks(given)
    scores = occlusion_scores(given)
    found = detect(scores, hidden, counted, bootstrap=30, seed=4)
    drawn = resample_counts(60, 30, np.random.default_rng(4))[:, np.nonzero(counted)[0]]
    for one in found:
        score, positive = scores[one.name][counted], hidden[counted]
        assert one.auroc == pytest.approx(roc_auc_score(positive, score))
        assert one.precision == pytest.approx(average_precision_score(positive, score))
        areas = [roc_auc_score(positive, score, sample_weight=row) for row in drawn]
        assert min(areas) - 1e-12 <= one.auroc_interval[0] < one.auroc < one.auroc_interval[1]
        assert one.auroc_interval[1] <= max(areas) + 1e-12
        assert one.precision_interval[0] < one.precision < one.precision_interval[1]
    assert [one.name for one in found] == list(scores)
