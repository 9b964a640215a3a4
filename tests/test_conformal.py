"""Split-conformal levels: by brute force, and that they keep their promise."""

import numpy as np
import pytest
import scipy.stats

from kdn.models.recalibration import ConformalLevels


def held_out(seed: int = 0, n: int = 23, landmarks: int = 3) -> np.ndarray:
    """Return levels that lean to one side, with ties and missing labels."""
    rng = np.random.default_rng(seed)
    levels = rng.beta(2.0, 1.0, (n, landmarks)).round(2)
    levels[rng.random((n, landmarks)) < 0.2] = np.nan
    return levels


@pytest.mark.parametrize("nominal", [0.0, 0.05, 0.5, 0.8, 0.9, 0.95, 1.0])
def test_own_levels_are_the_ranks_that_the_formula_says(nominal):
    levels = held_out()
    found = ConformalLevels(levels).own(nominal)
    for landmark, value in enumerate(found):
        ordered = sorted(u for u in levels[:, landmark] if u == u)
        rank = int(np.floor((len(ordered) + 1) * nominal + 1e-12)) + 1
        assert value == (ordered[rank - 1] if rank <= len(ordered) else 1.0)


def test_pooled_own_levels_are_the_least_that_keep_the_share():
    levels = held_out()
    pooled = ConformalLevels(levels, pooled=True)
    for nominal in (0.31, 0.5, 0.77, 0.9):
        value = pooled.own(nominal)
        assert (value == value[0]).all()

        def held(edge: float) -> float:  # sum of the samples' shares, the further one's being 0
            shares = [np.mean(row[row == row] <= edge) for row in levels if (row == row).any()]
            return sum(shares) / (len(shares) + 1)

        assert held(value[0]) > nominal
        lower = [u for u in levels[levels == levels] if u < value[0]]
        assert all(held(u) <= nominal for u in lower)


@pytest.mark.parametrize("pooled", [False, True])
def test_a_level_is_corrected_to_the_least_nominal_one_whose_region_holds_it(pooled):
    conformal = ConformalLevels(held_out(), pooled=pooled)
    asked = np.concatenate([held_out(1), [[0.0] * 3, [1.0] * 3]])
    corrected = conformal.corrected(asked)
    assert np.array_equal(np.isnan(corrected), np.isnan(asked))
    for nominal in np.linspace(0, 1, 49):
        inside = asked <= conformal.own(nominal)
        known = ~np.isnan(asked) & (asked < 1.0)
        assert np.array_equal(inside[known], (corrected <= nominal)[known])


def test_levels_of_more_dimensions_are_corrected_landmark_by_landmark():
    conformal = ConformalLevels(held_out())
    asked = np.random.default_rng(2).random((4, 5, 3))
    each = [conformal.corrected(asked[:, i]) for i in range(5)]
    assert np.array_equal(conformal.corrected(asked), np.stack(each, axis=1))


def _coverage(pooled: bool, correct: bool, nominal: float) -> tuple[float, float]:
    """Return how often a further sample's landmark is held, and the standard error of that.

    Landmarks of a sample are correlated, and the model is overconfident in different ways.
    """
    rng = np.random.default_rng(5)
    trials, n, landmarks = 4000, 19, 3
    shared = rng.normal(size=(trials, n + 1, 1))
    mixed = 0.8 * shared + 0.6 * rng.normal(size=(trials, n + 1, landmarks))
    levels = scipy.stats.norm.cdf(mixed) ** np.array([0.3, 1.0, 2.0])
    shares = []
    for held, further in zip(levels[:, :-1], levels[:, -1], strict=True):
        conformal = ConformalLevels(held, pooled=pooled)
        level = conformal.corrected(further) if correct else further
        shares.append(np.mean(level <= nominal) if pooled else float(level[0] <= nominal))
    return float(np.mean(shares)), float(np.std(shares) / np.sqrt(trials))


@pytest.mark.parametrize("pooled", [False, True])
@pytest.mark.parametrize("nominal", [0.5, 0.8, 0.93])
def test_regions_hold_what_they_promise_whatever_the_densities(pooled, nominal):
    """With 19 samples only, and at least: within four standard errors of `α` to `α + 1/(n + 1)`."""
    share, error = _coverage(pooled, True, nominal)
    assert nominal - 4 * error <= share <= nominal + 1 / 20 + 4 * error


def test_without_correction_they_do_not():
    share, error = _coverage(False, False, 0.8)
    assert share < 0.8 - 20 * error


def test_too_few_labels_give_the_whole_plane():
    conformal = ConformalLevels(np.array([[0.2, 0.3], [0.1, np.nan]]))
    assert conformal.own(0.6).tolist() == [0.2, 1.0]
    assert conformal.own(0.7).tolist() == [1.0, 1.0]


def test_bad_levels_are_refused():
    with pytest.raises(ValueError, match=r"levels must be in \[0, 1\], got -0\.5 to 0\.1"):
        ConformalLevels(np.array([[0.1, -0.5]]))
    with pytest.raises(ValueError, match=r"one of each label, got none of \[1\]"):
        ConformalLevels(np.array([[0.1, np.nan], [0.2, np.nan]]))
    ConformalLevels(np.array([[0.1, np.nan], [0.2, np.nan]]), pooled=True)
    with pytest.raises(ValueError, match=r"nominal must be in \[0, 1\], got 1\.1"):
        ConformalLevels(np.array([[0.1]])).own(1.1)


@pytest.mark.parametrize("pooled", [False, True])
def test_a_random_share_of_the_step_makes_levels_uniform(pooled):
    """Of nine samples each, so that the steps are large; by the Kolmogorov distance."""
    rng = np.random.default_rng(7)
    found = []
    for _ in range(3000):
        levels = rng.beta(3.0, 1.0, (10, 2)).round(1 if pooled else 2)
        conformal = ConformalLevels(levels[:9], pooled=pooled)
        step = conformal.corrected_tie(levels[9], np.full(2, 0.0))
        found.append(conformal.corrected(levels[9])[0] + rng.random() * step[0])
    assert min(found) >= 0.0
    assert max(found) <= 1.0
    if not pooled:
        ties = conformal.corrected_tie(np.array([[0.05, 0.5]]), np.zeros((1, 2)))
        assert np.allclose(ties, 0.1)
