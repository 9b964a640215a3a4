"""OKS and PCK against slow twins, and by hand."""

import math
from dataclasses import replace

import numpy as np
import pytest

from kdn.data.markup import BODY17, Markup
from kdn.evaluate import (
    BOX_AREA,
    COCO_CONSTANTS,
    evaluate,
    normalisers,
    oks,
    pck_terms,
    point_errors,
)
from kdn.predictions import Predictions


def coco_oks(landmarks, target, flags, area) -> float:
    """Return OKS as `COCOeval.computeOks` of pycocotools computes it, for one pair."""
    sigmas = np.array([.26, .25, .25, .35, .35, .79, .79, .72, .72, .62, .62, 1.07, 1.07,
                       .87, .87, .89, .89]) / 10.0  # fmt: skip
    variances = (sigmas * 2) ** 2
    dx, dy = landmarks[:, 0] - target[:, 0], landmarks[:, 1] - target[:, 1]
    e = (dx**2 + dy**2) / variances / (area + np.spacing(1)) / 2
    if np.count_nonzero(flags > 0) > 0:
        e = e[flags > 0]
    return float(np.sum(np.exp(-e)) / e.shape[0])


def people(rng):
    target = rng.uniform((0, 0), (60, 150), (6, 17, 2))
    landmarks = target + rng.normal(0, 6, target.shape)
    flags = rng.integers(0, 3, (6, 17))
    flags[2] = (np.arange(17) == 4) * 2
    return landmarks, target, flags, rng.uniform(900, 9000, 6)


def test_oks_is_that_of_coco():
    landmarks, target, flags, area = people(np.random.default_rng(0))
    found = oks(point_errors(landmarks, target), flags > 0, area)
    twin = [coco_oks(*given) for given in zip(landmarks, target, flags, area, strict=True)]
    np.testing.assert_allclose(found, twin, rtol=1e-12)
    assert 0.02 < min(twin) < max(twin) < 0.95


def test_oks_by_hand():
    # A hip (σ 0.107) off by 2σ·√area = 21.4 px is e^(−½); a nose (σ 0.026) off by 2 · 5.2, e^(−2).
    errors, valid = np.zeros((1, 17)), np.zeros((1, 17), bool)
    valid[0, [0, 3, 11]] = True
    errors[0, [0, 5, 11]] = 10.4, 999.0, 21.4
    expected = (math.exp(-2) + 1 + math.exp(-0.5)) / 3
    assert oks(errors, valid, np.array([1e4]))[0] == pytest.approx(expected, rel=1e-12)
    assert len(COCO_CONSTANTS) == BODY17.landmarks
    assert sum(COCO_CONSTANTS) == pytest.approx(1.138)


def test_what_has_no_oks():
    errors, valid = np.ones((3, 2)), np.array([[True, False], [False, False], [True, True]])
    found = oks(errors, valid, np.array([10.0, 10.0, 0.0]), (0.1, 0.2))
    assert np.isnan(found).tolist() == [False, True, True]
    with pytest.raises(ValueError, match="constants must be 2 positive numbers"):
        oks(errors, valid, np.ones(3), COCO_CONSTANTS)
    with pytest.raises(ValueError, match="constants must be 2 positive numbers"):
        oks(errors, valid, np.ones(3), (0.1, 0.0))


def test_pck_against_a_loop():
    landmarks, target, flags, _ = people(np.random.default_rng(1))
    valid, errors = flags > 0, point_errors(landmarks, target)
    torso = normalisers(target, valid, BODY17)["pair"]
    found = pck_terms(errors, valid, torso, 0.2)
    for i, j in np.ndindex(*valid.shape):
        whole = valid[i, 5] and valid[i, 12]
        if not (whole and valid[i, j]):
            assert math.isnan(found[i, j])
            continue
        length = math.dist(target[i, 5], target[i, 12])
        near = math.dist(landmarks[i, j], target[i, j]) <= 0.2 * length
        assert found[i, j] == 100.0 * near
    assert len(np.unique(found[~np.isnan(found)])) == 2
    assert 0 < np.isnan(torso).sum() < 6


def test_a_pair_is_a_normaliser():
    markup = Markup(name="three", landmarks=3, flip=(0, 2, 1), pair=(2, 0))
    target = np.array([[[1.0, 2.0], [50.0, 60.0], [4.0, 6.0]], [[0.0, 0], [1, 2], [3, 3]]])
    valid = np.array([[True, False, True], [False, True, True]])
    found = normalisers(target, valid, markup)
    assert list(found) == ["box", "pair", "diagonal"]
    assert found["pair"][0] == 5
    assert math.isnan(found["pair"][1])


def predictions_of(landmarks, target, flags, markup: str):
    valid = flags > 0
    low = np.where(valid[..., None], target, np.inf).min(axis=1) - 3
    high = np.where(valid[..., None], target, -np.inf).max(axis=1) + 5
    return Predictions(
        id=tuple(f"person {i}" for i in range(len(target))),
        path=("",) * len(target),
        bbox=np.concatenate([low, high], axis=1),
        landmarks=landmarks,
        target=np.where(valid[..., None], target, np.nan),
        valid=valid,
        metadata={"markup": markup},
    )


def test_people_are_scored_as_people():
    landmarks, target, flags, _ = people(np.random.default_rng(2))
    given = predictions_of(landmarks, target, flags, "body17")
    result = evaluate(given, bootstrap=5)
    valid, errors = flags > 0, point_errors(landmarks, target)
    assert given.bbox is not None
    area = BOX_AREA * np.prod(given.bbox[:, 2:] - given.bbox[:, :2], axis=1)
    similar = oks(errors, valid, area)
    assert result["OKS"].value == pytest.approx(100 * similar.mean())
    assert result["OKS at least 0.5"].value == pytest.approx(100 * (similar >= 0.5).mean())
    assert result["OKS at least 0.75"].value == pytest.approx(100 * (similar >= 0.75).mean())
    near = pck_terms(errors, valid, normalisers(target, valid, BODY17)["pair"], 0.2)
    assert result["PCK@20 pair"].value == pytest.approx(np.nanmean(near))
    assert result["PCK@20 pair"].unit == "%"
    assert result["NME pair"].value > 0
    without = evaluate(replace(given, bbox=None), bootstrap=0)  # the tight box stands in
    tight = oks(errors, valid, BOX_AREA * normalisers(target, valid, BODY17)["box"] ** 2)
    assert without["OKS"].value == pytest.approx(100 * np.nanmean(tight))
    assert result["NME box, legs"].value > 0
    others = evaluate(predictions_of(landmarks, target, flags, "unknown"), bootstrap=0)
    assert not {"OKS", "PCK@20 pair"} & {score.name for score in others.scores}
