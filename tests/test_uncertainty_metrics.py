"""Correlation, sparsification and frames against SciPy and hand-made cases."""

import math

import numpy as np
import pytest
import torch
from scipy import stats

from kdn.evaluate import crop_log_prob
from kdn.grid import Affine
from plain import ause, pearson, sparsification, spearman


@pytest.fixture
def pooled() -> tuple[np.ndarray, np.ndarray]:
    """Uncertainties and errors of 300 landmarks, rounded so that there are many ties."""
    rng = np.random.default_rng(0)
    uncertainty = rng.gamma(3.0, 1.0, 300)
    errors = np.abs(rng.normal(size=300)) * uncertainty
    return uncertainty.round(1), errors.round(1)


@pytest.mark.parametrize("digits", [0, 1, 6])
def test_correlations_equal_scipy(digits):
    rng = np.random.default_rng(1)
    x = rng.gamma(2.0, 1.0, 211).round(digits)
    y = (x + rng.normal(size=211)).round(digits)
    assert pearson(x, y) == pytest.approx(np.asarray(stats.pearsonr(x, y))[0], abs=1e-12)
    assert spearman(x, y) == pytest.approx(np.asarray(stats.spearmanr(x, y))[0], abs=1e-12)


@pytest.mark.parametrize("metric", [pearson, spearman])
def test_correlations_at_their_ends(metric):
    x = np.array([3.0, 1.0, 2.0, 7.0])
    assert metric(x, 5 * x - 3) == pytest.approx(1.0)
    assert metric(x, -x) == pytest.approx(-1.0)
    assert math.isnan(metric(x, np.full(4, 0.1)))
    assert math.isnan(metric(np.full(4, 0.1), x))
    assert math.isnan(metric(np.zeros(0), np.zeros(0)))


def test_an_infinite_uncertainty_has_a_rank_but_no_product():
    x, y = np.array([3.0, 1.0, np.inf, 2.0]), np.array([5.0, 1.0, 6.0, 7.0])
    assert spearman(x, y) == pytest.approx(np.asarray(stats.spearmanr([3, 1, 4, 2], y))[0])
    assert math.isnan(pearson(x, y))


def test_spearman_sees_order_only(pooled):
    uncertainty, errors = pooled
    assert spearman(np.exp(uncertainty), errors**3) == pytest.approx(spearman(uncertainty, errors))
    assert pearson(np.exp(uncertainty), errors) < pearson(uncertainty, errors) - 0.1


def naive_curve(key: np.ndarray, errors: np.ndarray) -> list[float]:
    """Mean error of the k surest landmarks, k = n…1, for keys without ties."""
    ordered = errors[np.argsort(key)]
    return [float(ordered[:kept].mean()) for kept in range(len(errors), 0, -1)]


def test_sparsification_against_sorting():
    rng = np.random.default_rng(2)
    key, errors = rng.uniform(size=40), rng.gamma(2.0, size=40)
    removed = np.arange(40) / 40
    np.testing.assert_allclose(sparsification(key, errors, removed), naive_curve(key, errors))


def test_sparsification_of_ties_does_not_depend_on_their_order():
    """Two landmarks are equally unsure: either goes first, and the mean of both cases counts."""
    errors = np.array([1.0, 2.0, 6.0, 4.0])
    key = np.array([1.0, 2.0, 3.0, 3.0])
    removed = np.array([0.0, 0.25, 0.5, 0.75])
    wanted = [13 / 4, (1 + 2 + 5) / 3, 1.5, 1.0]
    for order in ([0, 1, 2, 3], [3, 0, 1, 2], [2, 3, 1, 0]):
        np.testing.assert_allclose(sparsification(key[order], errors[order], removed), wanted)


def test_ause_by_sorting():
    """100 landmarks, so that each percent removed is one landmark."""
    rng = np.random.default_rng(3)
    key, errors = rng.uniform(size=100), rng.gamma(2.0, size=100)
    gap = np.array(naive_curve(key, errors)) - np.array(naive_curve(errors, errors))
    assert ause(key, errors) == pytest.approx(gap.mean() / errors.mean())


def test_ause_at_its_ends(pooled):
    uncertainty, errors = pooled
    assert ause(errors, errors) == pytest.approx(0.0, abs=1e-12)
    assert 0 < ause(uncertainty, errors) < ause(np.ones(300), errors) < ause(-uncertainty, errors)
    assert ause(uncertainty * 7, errors * 0.3) == pytest.approx(ause(uncertainty, errors))
    assert math.isnan(ause(uncertainty, np.zeros(300)))
    assert math.isnan(ause(np.zeros(0), np.zeros(0)))


@pytest.mark.parametrize("metric", [pearson, spearman, ause])
def test_order_of_landmarks_does_not_matter(metric, pooled):
    order = np.random.default_rng(4).permutation(300)
    assert metric(*(x[order] for x in pooled)) == pytest.approx(metric(*pooled), rel=1e-12)


def test_frames_of_log_prob_agree_with_affine():
    """A crop pixel that covers 6 image pixels holds 6 times their density."""
    matrix = np.array([[[0.0, -3.0, 11.0], [2.0, 1.0, 4.0]], [[1.5, 0.0, 0.0], [0.3, -0.5, 9.0]]])
    log_prob = np.array([[-1.0, -2.0, -np.inf], [0.5, np.nan, -4.0]])
    got = crop_log_prob(log_prob, matrix)
    np.testing.assert_allclose(got[0], log_prob[0] + math.log(6))
    to_image = Affine.of_matrix(torch.as_tensor(matrix))
    back = to_image.log_densities(torch.as_tensor(got)).numpy()
    np.testing.assert_allclose(back, log_prob)
