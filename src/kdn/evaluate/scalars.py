"""All metrics of one file of predicted values, with their intervals."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Float64

from kdn.evaluate.bootstrap import interval, resample_counts, resampled_mean
from kdn.evaluate.rounded import central_coverage
from kdn.evaluate.scores import Evaluation, Score
from kdn.evaluate.values import cumulative_score, f1_at, icc31, mean_absolute_error
from kdn.predictions import QUANTILES, Predictions

__all__ = ["evaluate_values"]

_COVERAGES = (50, 80, 90, 95)
_SHARPNESS = (0.05, 0.95)

_Row = tuple[str, str, Float[np.ndarray, " replicates"]]


def evaluate_values(
    predictions: Predictions,
    *,
    within: float | None = 5.0,
    at_least: float | None = None,
    bootstrap: int = 1000,
    seed: int = 0,
) -> Evaluation:
    """Return all scores that the predictions allow; of several values their means, and each alone.

    * MAE in the label's unit, bias (mean of prediction − label), `CS@k`: share of errors of at most
      k, ICC(3,1) of labels and predictions, `F1 at ≥ t` of both above a threshold.
    * NLL (nats per unit), CRPS (unit), mean of the probability integral transform (½ if unbiased)
      and its variance times 12 (1 if calibrated, more where densities are too narrow), coverage of
      the central intervals of 50, 80, 90 and 95 %, and the mean width of the 90 % interval.

    A mean over values is taken within each resample. Intervals are percentiles over resampled
    samples, the same resamples for every score; samples of one picture or subject are not kept
    together.

    Args:
        predictions: With labels.
        within: `k` of `CS@k`, in the label's unit; None for none.
        at_least: `t` of `F1 at ≥ t`, likewise.
        bootstrap: Replicates; 0 for no intervals.
        seed: Of the resampling.

    Raises:
        ValueError: If there are no labels, or if a prediction is NaN where there is a label.
    """
    if predictions.target is None or np.isnan(predictions.target).all():
        raise ValueError("predictions must have labels, got none")
    labelled = ~np.isnan(predictions.target)
    _require_scored(predictions, labelled)
    some = np.flatnonzero(labelled.any(axis=1))
    drawn = resample_counts(len(some), bootstrap, np.random.default_rng(seed))
    counts = np.concatenate([np.ones((1, len(some))), drawn])
    parts = [
        _Value(predictions, predictions.target, position, some, counts, within, at_least)
        for position in range(len(predictions.names))
    ]
    sections = [(part.name, list(part.rows())) for part in parts]
    if len(parts) > 1:
        sections.insert(0, (f"mean of {len(parts)} values", _means([rows for _, rows in sections])))
    scores = [
        Score(
            name if len(parts) == 1 else f"{section}: {name}",
            float(values[0]),
            *interval(values[1:]),
            unit,
            section,
            values[1:],
        )
        for section, rows in sections
        for name, unit, values in rows
    ]
    left_out = [predictions.id[row] for row in np.flatnonzero(~labelled.any(axis=1))]
    return Evaluation(
        scores=tuple(scores),
        samples=len(some),
        landmarks=int(labelled.sum()),
        left_out=tuple(left_out),
        bootstrap=bootstrap,
        seed=seed,
        metadata=predictions.metadata,
        notes=tuple(_notes(predictions, left_out)),
        counted="labels",
    )


def _require_scored(predictions: Predictions, labelled: np.ndarray) -> None:
    """Raise if something about a label is missing, which a mean would leave out in silence."""
    for part in ("values",):
        found = getattr(predictions, part)
        if found is None:
            continue
        wrong = np.argwhere(labelled & ~np.isfinite(found))
        if len(wrong):
            row, column = wrong[0]
            raise ValueError(
                f"{predictions.id[row]}: {predictions.names[column]} must be finite where there "
                f"is a label, got {found[row, column]}"
            )


def _notes(predictions: Predictions, left_out: Sequence[str]) -> Iterator[str]:
    """Yield what is to be said below the table."""
    if left_out:
        yield f"Left out for want of a label: {len(left_out)} samples."
    if predictions.log_prob is None:
        yield "No NLL: there is no column of log_prob."
    elif predictions.rounding:
        yield (
            f"NLL, coverage: labels are known to within ±{predictions.rounding / 2:g}; NLL is of "
            f"the mean density there."
        )


@dataclass(frozen=True)
class _Value:
    """One of the values, and how often each sample is drawn."""

    predictions: Predictions
    target: Float64[np.ndarray, "all values"]
    position: int
    some: np.ndarray
    counts: Float[np.ndarray, "replicates n"]
    within: float | None
    at_least: float | None

    @property
    def name(self) -> str:
        return self.predictions.names[self.position]

    def _own(self, values: Float64[np.ndarray, "all values"]) -> Float64[np.ndarray, " n"]:
        """Return one field of this value, of the samples that count."""
        return values[self.some, self.position]

    def _of(self, part: str) -> Float64[np.ndarray, " n"] | None:
        """Return a field by its name, None if it is missing."""
        values = getattr(self.predictions, part)
        return None if values is None else self._own(values)

    def rows(self) -> Iterator[_Row]:
        """Yield the scores: a name, a unit, the statistic and its replicates."""
        target, value = self._own(self.target), self._own(self.predictions.prediction)
        yield "MAE", "", mean_absolute_error(target, value, self.counts)
        yield "bias", "", self._mean(value - target)
        if self.within is not None:
            score = cumulative_score(value - target, self.within, self.counts)
            yield f"CS@{self.within:g}", "%", score
        if len(target) > 1:
            yield "ICC(3,1)", "", icc31(np.stack([target, value], axis=1), self.counts)
        if self.at_least is not None:
            score = f1_at(target, value, self.at_least, self.counts)
            yield f"F1 at ≥ {self.at_least:g}", "", score
        yield from self._densities(target)

    def _densities(self, target: np.ndarray) -> Iterator[_Row]:
        log_prob, crps = self._of("log_prob"), self._of("energy_score")
        if log_prob is not None:
            yield "NLL", "nats", self._mean(-log_prob)
        if crps is not None:
            yield "CRPS", "", self._mean(crps)
        low, high = self._of("cdf_low"), self._of("cdf_high")
        if low is not None and high is not None:
            # The transform of a sample is spread evenly between its two ends.
            mean = self._mean(0.5 * (low + high))
            square = self._mean((low * low + low * high + high * high) / 3)
            yield "PIT mean", "", mean
            yield "PIT variance × 12", "", 12 * (square - mean * mean)
            for nominal in _COVERAGES:
                held = central_coverage(low, high, nominal / 100, self.counts)
                yield f"{nominal} % intervals hold", "%", held
        quantiles = self.predictions.quantiles
        if quantiles is not None:
            first, last = (QUANTILES.index(level) for level in _SHARPNESS)
            own = quantiles[self.some, self.position]
            width = np.where(np.isnan(target), np.nan, own[:, last] - own[:, first])
            yield "width of 90 % intervals", "", self._mean(width)

    def _mean(self, values: np.ndarray) -> Float[np.ndarray, " replicates"]:
        return resampled_mean(values, (~np.isnan(values)).astype(np.float64), self.counts)


def _means(sections: Sequence[Sequence[_Row]]) -> list[_Row]:
    """Return the means of the same scores of several values; NaN ones, undefined, are left out."""
    rows = []
    for same in zip(*sections, strict=True):
        name, unit, _ = same[0]
        stacked = np.stack([values for _, _, values in same])
        defined = ~np.isnan(stacked)
        total = np.where(defined, stacked, 0.0).sum(axis=0)
        count = defined.sum(axis=0)
        mean = np.divide(total, count, out=np.full(len(total), np.nan), where=count > 0)
        rows.append((name, unit, mean))
    return rows
