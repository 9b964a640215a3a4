"""What dropping landmarks does to the error, against doing it."""

import dataclasses

import numpy as np
import pytest

import kdn.evaluate as metrics
from kdn.evaluate import dropping
from kdn.evaluate.landmarks import evaluate
from labelled import gaussian_predictions


def naive(key, errors, share):
    """Return by how much the mean falls, percent, when the landmarks are sorted and cut."""
    kept = np.argsort(key)[: round(len(key) * (1 - share))]
    return 100 * (1 - errors[kept].mean() / errors.mean())


@pytest.fixture
def data():
    rng = np.random.default_rng(3)
    image = np.repeat(np.arange(20), [3 + i % 5 for i in range(20)])
    score = rng.uniform(0.5, 3.0, len(image))
    return score, score * rng.rayleigh(size=len(image)), image


def test_it_is_sorting_and_cutting(data):
    score, errors, image = data
    assert len(image) == 100
    found = dropping(score, errors, image, np.array([0.1, 0.25, 0.5]), bootstrap=200)
    for entry, share in zip(found, (0.1, 0.25, 0.5), strict=True):
        assert entry.removed == pytest.approx(100 * share)
        assert entry.lowered == pytest.approx(naive(score, errors, share))
        assert entry.oracle == pytest.approx(naive(errors, errors, share))
        assert entry.gained == pytest.approx(100 * entry.lowered / entry.oracle)
        low, high = entry.lowered_interval
        assert low < entry.lowered < high
        assert entry.oracle > entry.lowered
    again = dropping(7 * score + 1, errors / 3, image, np.array([0.1]), bootstrap=200)[0]
    assert again.lowered == pytest.approx(found[0].lowered)
    assert again.lowered_interval == pytest.approx(found[0].lowered_interval)
    assert "lowers the mean error by" in str(again)


def test_intervals_are_over_images(data):
    """Four landmarks that say the same in one picture are worth one."""
    score, errors, image = data
    fourfold = [np.repeat(values, 4) for values in data]
    once, repeated = (
        dropping(*values, removed=np.array([0.25]), bootstrap=200)[0]  # type: ignore
        for values in (data, fourfold)
    )
    assert repeated.lowered_interval == pytest.approx(once.lowered_interval)
    single = dropping(score, errors, np.zeros_like(image), np.array([0.25]), bootstrap=50)[0]
    assert single.lowered_interval == pytest.approx((single.lowered, single.lowered))


def test_a_useless_score_gains_nothing_and_the_error_itself_all(data):
    _, errors, image = data
    same = dropping(np.ones(100), errors, image, np.array([0.3]), bootstrap=0)[0]
    assert same.lowered == pytest.approx(0.0)
    best = dropping(errors, errors, image, np.array([0.3]), bootstrap=0)[0]
    assert best.gained == pytest.approx(100.0)
    assert np.isnan(best.gained_interval).all()
    none = dropping(np.ones(100), 0 * errors, image, np.array([0.3]), bootstrap=0)[0]
    assert np.isnan(none.lowered)


def test_what_does_not_fit(data):
    score, errors, image = data
    for share in (0.0, 1.0):
        with pytest.raises(ValueError, match="removed must be shares"):
            dropping(score, errors, image, np.array([share]))


def test_evaluate_has_oracle_and_probability():
    predictions = gaussian_predictions()
    rng = np.random.default_rng(1)
    masses = rng.uniform(size=(*predictions.prediction.shape[:2], 3))
    metadata = {**predictions.metadata, "radii": [2, 4.5, 10]}
    given = dataclasses.replace(predictions, mass_within=masses, metadata=metadata)
    got = evaluate(given, bootstrap=0)
    valid = given.valid
    assert valid is not None
    assert given.target is not None
    errors = metrics.point_errors(given.prediction, given.target)
    length = metrics.normalisers(given.target, valid, None)["box"][:, None]
    for name, scale in (("px", 1.0), ("÷ box", length)):
        y = (errors / scale)[valid]
        left = 100 * metrics.sparsification(y, y, np.array([0.1, 0.5])) / y.mean()
        for share, wanted in zip((10, 50), left, strict=True):
            assert got[f"the same without the worst {share} % ({name})"].value == pytest.approx(
                wanted
            )
    left = metrics.sparsification(1 - masses[..., 1][valid], y, np.array([0.1, 0.5])) / y.mean()
    for share, wanted in zip((10, 50), 100 * left, strict=True):
        row = f"error left without the {share} % likeliest beyond 4.5 % (÷ box)"
        assert got[row].value == pytest.approx(wanted)
    plain = [score.name for score in evaluate(predictions, bootstrap=0).scores]
    assert not any("likeliest" in name for name in plain)
