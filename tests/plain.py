"""Scores of numbers in a row, without resamples; some by the plainest formula there is."""

import math

import numpy as np

from kdn.evaluate import Resamples


def pearson(x: np.ndarray, y: np.ndarray) -> float:
    return float(Resamples(len(x)).pearson(x, y)[0])


def spearman(x: np.ndarray, y: np.ndarray) -> float:
    return float(Resamples(len(x)).spearman(x, y)[0])


def auroc(score: np.ndarray, positive: np.ndarray) -> float:
    return float(Resamples(len(score)).auroc(score, positive)[0])


def average_precision(score: np.ndarray, positive: np.ndarray) -> float:
    return float(Resamples(len(score)).average_precision(score, positive)[0])


def sparsification(key: np.ndarray, errors: np.ndarray, removed: np.ndarray) -> np.ndarray:
    return Resamples(len(key)).sparsification(key, errors, removed)[0]


def ause(uncertainty: np.ndarray, errors: np.ndarray) -> float:
    removed = np.arange(100) / 100
    curve, oracle = (sparsification(key, errors, removed) for key in (uncertainty, errors))
    return float((curve - oracle).mean() / curve[0]) if curve[0] > 0 else math.nan


def coverage(level: np.ndarray, valid: np.ndarray, nominal: float) -> float:
    """Return the percentage of labels inside the regions of a mass, none of which is tied."""
    return float(100 * np.mean(level[valid] <= nominal))


def weighted(group: np.ndarray, counts: np.ndarray) -> Resamples:
    """Return resamples that are drawn as counts say."""
    resamples = Resamples(counts.shape[1]).of(group)
    resamples.counts = counts
    return resamples


def resample_counts(groups: int, replicates: int, rng: np.random.Generator) -> np.ndarray:
    """Return how often each group is drawn in each replicate."""
    return rng.multinomial(groups, np.full(groups, 1 / groups), size=replicates).astype(float)
