"""Scores of occlusion by hand, and their combination against scikit-learn."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import average_precision_score, roc_auc_score

from kdn.evaluate import resample_counts
from kdn.evaluate.occlusion import Combination, detect, hidden_landmarks, hidden_scores
from kdn.evaluate.occlusion.combination import logistic_weights
from kdn.predictions import Predictions
from labelled import gaussian_predictions


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
    one, two = hidden_scores(given), hidden_scores(larger)
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
    scores = hidden_scores(given)
    np.testing.assert_allclose(scores["entropy"], [[2 - np.log(9), 5 - np.log(9)]])
    np.testing.assert_allclose(scores["uncertainty"], np.log([[2.0, 0.5]]))
    assert list(hidden_scores(replace(given, entropy=None))) == ["uncertainty"]
    with pytest.raises(ValueError, match="must have a column crop_to_image, got none"):
        hidden_scores(replace(given, crop_to_image=None))
    with pytest.raises(ValueError, match="uncertainty or mass_within, got none"):
        hidden_scores(replace(given, entropy=None, uncertainty=None))


def test_masses_within_radii_are_scores_of_their_own() -> None:
    given = told(samples=5)
    within = np.random.default_rng(2).random((5, 7, 2))
    given = replace(given, metadata={**given.metadata, "radii": [2, 7.5]})
    object.__setattr__(given, "mass_within", within)  # as predictions that have the column
    scores = hidden_scores(given)
    assert list(scores)[2:] == ["error > 2", "error > 7.5"]
    np.testing.assert_array_equal(scores["error > 7.5"], 1 - within[..., 1])


def test_landmarks_without_a_label_are_neither_hidden_nor_counted() -> None:
    given = told()
    hidden, counted = hidden_landmarks(given)
    assert given.valid is not None
    assert given.visible is not None
    assert (~given.valid & ~given.visible).any()
    np.testing.assert_array_equal(hidden, given.valid & ~given.visible)
    np.testing.assert_array_equal(counted, given.valid)
    with pytest.raises(ValueError, match="hidden and visible landmarks, got 0 and"):
        hidden_landmarks(replace(given, visible=np.ones_like(given.visible)))
    with pytest.raises(ValueError, match="columns target and visible"):
        hidden_landmarks(replace(given, visible=None))


def test_detection_equals_scikit_learn() -> None:
    given = told()
    hidden, counted = hidden_landmarks(given)
    scores = hidden_scores(given)
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


@pytest.mark.parametrize("ridge", [0.5, 20.0])
def test_logistic_weights_equal_scikit_learn(ridge: float) -> None:
    rng = np.random.default_rng(5)
    design = rng.normal(size=(400, 5)) * [1.0, 3.0, 0.2, 1.0, 1.0]
    positive = rng.random(400) < 1 / (1 + np.exp(1.5 - design @ [1.0, 0.3, -2.0, 0.0, 0.5]))
    reference = LogisticRegression(C=1 / ridge, tol=1e-12, max_iter=5000)
    reference.fit(design, positive)
    found = logistic_weights(np.concatenate([np.ones((400, 1)), design], 1), positive, ridge)
    wanted = np.append(reference.intercept_, reference.coef_)
    np.testing.assert_allclose(found, wanted, atol=1e-6)


def test_a_combination_equals_scikit_learn_on_the_same_terms() -> None:
    """Terms by loops over faces and landmarks: own scores, those around, and which landmark."""
    given = told()
    hidden, counted = hidden_landmarks(given)
    scores = hidden_scores(given)
    fitted = Combination.fit(scores, given.prediction, hidden, counted, reach=0.2, ridge=2.0)
    z = []
    for score in scores.values():
        centred = score - [score[counted[:, i], i].mean() for i in range(7)]
        z.append(centred / centred[counted].std())
    terms = np.zeros((60, 7, 11))
    for face in range(60):
        points = given.prediction[face]
        size = 0.2 * np.sqrt(np.prod(np.ptp(points, axis=0)))
        for i in range(7):
            share = np.exp(-0.5 * (np.linalg.norm(points - points[i], axis=1) / size) ** 2)
            share[i] = 0.0
            for k in range(2):
                terms[face, i, k] = z[k][face, i]
                terms[face, i, 2 + k] = (share * z[k][face]).sum() / share.sum()
            terms[face, i, 4 + i] = 1.0
    reference = LogisticRegression(C=0.5, tol=1e-12, max_iter=5000)
    reference.fit(terms[counted], hidden[counted])
    np.testing.assert_allclose(fitted.weights, reference.coef_[0, :2], atol=1e-6)
    np.testing.assert_allclose(fitted.around, reference.coef_[0, 2:4], atol=1e-6)
    bias = np.asarray(reference.intercept_) + reference.coef_[0, 4:]
    np.testing.assert_allclose(fitted.bias, bias, atol=1e-6)
    odds = fitted(scores, given.prediction)
    np.testing.assert_allclose(
        odds[counted], reference.decision_function(terms[counted]), atol=1e-5
    )


def test_a_combination_beats_its_scores_on_other_images() -> None:
    train, test = told(seed=0, samples=300), told(seed=9, samples=300)
    fitted = Combination.fit(hidden_scores(train), train.prediction, *hidden_landmarks(train))
    scores = hidden_scores(test)
    both = {**scores, "all": fitted(scores, test.prediction)}
    found = detect(both, *hidden_landmarks(test), bootstrap=2)
    areas = {one.name: one.auroc for one in found}
    assert areas.pop("all") > max(areas.values()) + 0.05


def test_faces_are_done_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    given = told(samples=23)
    scores = hidden_scores(given)
    fitted = Combination.fit(scores, given.prediction, *hidden_landmarks(given))
    whole = fitted(scores, given.prediction)
    monkeypatch.setattr("kdn.evaluate.occlusion.combination._FACES", 5)
    np.testing.assert_array_equal(fitted(scores, given.prediction), whole)


def test_separable_kinds_have_finite_weights() -> None:
    hidden = np.random.default_rng(0).random((50, 3)) < 0.4
    scores = {"one": hidden * 1.0, "same": hidden * 2.0, "constant": np.ones((50, 3))}
    points = np.random.default_rng(1).normal(size=(50, 3, 2))
    fitted = Combination.fit(scores, points, hidden, np.ones_like(hidden), ridge=0.01)
    assert np.isfinite(fitted.weights).all()
    assert fitted.weights[0] == pytest.approx(fitted.weights[1])
    assert fitted.weights[2] == 0


def test_combination_as_json(tmp_path: Path) -> None:
    given = told()
    scores, points = hidden_scores(given), given.prediction
    fitted = Combination.fit(scores, points, *hidden_landmarks(given))
    fitted.write(tmp_path / "c.json")
    again = Combination.read(tmp_path / "c.json")
    np.testing.assert_array_equal(again(scores, points), fitted(scores, points))
    kept = json.loads((tmp_path / "c.json").read_text())
    wrong = {
        "format must be 1, got 7": {**kept, "format": 7},
        "not a combination": {k: v for k, v in kept.items() if k != "weights"},
        r"scales must have shape \(2,\), got \(1,\)": {**kept, "scales": [1.0]},
        r"centres must have shape \(2, 6\)": {**kept, "bias": kept["bias"][:6]},
    }
    for said, values in wrong.items():
        (tmp_path / "w.json").write_text(json.dumps(values))
        with pytest.raises(ValueError, match=rf"w\.json: .*{said}"):
            Combination.read(tmp_path / "w.json")
    (tmp_path / "w.json").write_text("[1, 2")
    with pytest.raises(ValueError, match=r"w\.json: "):
        Combination.read(tmp_path / "w.json")


def test_what_cannot_be_combined() -> None:
    hidden, counted = np.zeros((5, 3), bool), np.ones((5, 3), bool)
    rng = np.random.default_rng(0)
    scores, points = {"one": rng.normal(size=(5, 3))}, rng.normal(size=(5, 3, 2))
    with pytest.raises(ValueError, match="both kinds among what counts, got 0 of 15"):
        Combination.fit(scores, points, hidden, counted)
    hidden[2, 1] = True
    for name in ("ridge", "reach"):
        with pytest.raises(ValueError, match=f"{name} must be positive, got 0"):
            Combination.fit(scores, points, hidden, counted, **{name: 0.0})
    with pytest.raises(ValueError, match="scores must hold at least one"):
        Combination.fit({}, points, hidden, counted)
    with pytest.raises(ValueError, match="scores must be finite"):
        Combination.fit({"one": np.full((5, 3), np.inf)}, points, hidden, counted)
    fitted = Combination.fit(scores, points, hidden, counted)
    with pytest.raises(ValueError, match="got no one"):
        fitted({"two": scores["one"]}, points)
    with pytest.raises(ValueError, match="of 3 landmarks, got 2"):
        fitted({"one": scores["one"][:, :2]}, points[:, :2])
