"""All scores of one file of predictions, with their intervals."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from kdn.data.markup import Markup
from kdn.evaluate.bounds import check_auc
from kdn.evaluate.labelled import Labelled, labelled
from kdn.evaluate.scores import Evaluation, Score, scores_of
from kdn.evaluate.table import SCORES, THRESHOLDS, Row, rows_of
from kdn.predictions import Predictions

__all__ = ["evaluate", "left_out", "unscored"]


def evaluate(
    predictions: Predictions,
    *,
    bootstrap: int = 1000,
    seed: int = 0,
    markup: Markup | None = None,
    within: float | None = 5.0,
    at_least: float | None = None,
) -> Evaluation:
    """Return all scores that the predictions allow; of several scalars their means, and each alone.

    What each score is stands in `kdn.evaluate.table.SCORES`. Intervals are percentiles over
    resampled samples, the same resamples for every score; a mean over scalars is taken within each
    resample.

    Args:
        predictions: With labels, points or scalars.
        bootstrap: Replicates; 0 for no intervals.
        seed: Of the resampling.
        markup: What the landmarks are called; None for what the predictions' metadata name.
        within: `k` of `CS@k`, in the unit of scalars; None for none.
        at_least: `t` of `F1 at ≥ t`, likewise.

    Raises:
        ValueError: If there are no valid labels, if a prediction is NaN where its label is valid,
            or if the mark-up has another number of landmarks.
        RuntimeError: If scores contradict each other.
    """
    data = labelled(
        predictions, bootstrap=bootstrap, seed=seed, markup=markup, within=within, at_least=at_least
    )
    points = predictions.kind == "points"
    scores = scores_of(rows_of(data, "evaluate")) if points else _scores_of_scalars(data)
    result = Evaluation(
        scores=tuple(scores),
        samples=len(data.predictions),
        labels=int(data.used.sum()),
        left_out=left_out(predictions),
        bootstrap=bootstrap,
        seed=seed,
        metadata=dict(predictions.metadata),
        notes=tuple(_notes(data, len(predictions), bootstrap, seed)),
        counted="valid landmarks" if points else "labels",
    )
    for length, (threshold, rules) in THRESHOLDS.items():
        for rule in rules if length in data.lengths else ():
            area = result[f"AUC@{threshold} {length} ({rule})"].value
            check_auc(result[f"NME {length}"].value, area, threshold, rule=rule)
    return result


def _scores_of_scalars(data: Labelled) -> list[Score]:
    """Return the scores of each of several scalars after those of all; a single one's alone."""
    names = data.predictions.names
    parts = {
        name: [row for _, row in rows_of(data.only(_member(data, index)), "evaluate")]
        for index, name in enumerate(names)
    }
    if len(parts) == 1:
        return scores_of((names[0], row) for row in parts[names[0]])
    parts = {f"mean of {len(names)} values": _means(list(parts.values())), **parts}
    return scores_of(
        (subset, (f"{subset}: {name}", unit, values))
        for subset, rows in parts.items()
        for name, unit, values in rows
    )


def _member(data: Labelled, index: int) -> np.ndarray:
    """Return which labels are of one scalar."""
    return np.broadcast_to(np.arange(data.used.shape[1]) == index, data.used.shape)


def _means(parts: Sequence[Sequence[Row]]) -> list[Row]:
    """Return the means of the same scores of several scalars; NaN ones, undefined, are left out."""
    rows = []
    for same in zip(*parts, strict=True):
        name, unit, _ = same[0]
        stacked = np.stack([values for _, _, values in same])
        defined = ~np.isnan(stacked)
        total, count = np.where(defined, stacked, 0.0).sum(axis=0), defined.sum(axis=0)
        mean = np.divide(total, count, out=np.full(len(total), np.nan), where=count > 0)
        rows.append((name, unit, mean))
    return rows


def left_out(predictions: Predictions) -> tuple[str, ...]:
    """Return the ids of the samples without a valid label."""
    if predictions.valid is None:
        return predictions.id
    return tuple(predictions.id[row] for row in np.flatnonzero(~predictions.valid.any(axis=1)))


def unscored(data: Labelled, table: str) -> list[str]:
    """Return what a table leaves out, each with the columns that it would need."""
    missing = [
        (definition.name, definition.missing(data))
        for definition in SCORES
        if definition.is_of(data, table)
    ]
    return [f"{name} ({', '.join(columns)})" for name, columns in missing if columns]


def _notes(data: Labelled, samples: int, bootstrap: int, seed: int) -> Iterator[str]:
    """Yield what is to be said below the table."""
    predictions = data.predictions
    if bootstrap:
        note = f"Intervals: 95 %, percentiles of {bootstrap} resamples of the samples, seed {seed}"
        fewer = data.items.ranked
        yield note + (f"; {fewer} for medians and ranks." if fewer < bootstrap else ".")
    if predictions.kind == "points":
        yield "fan70: 70 thresholds i/999, strict <; never to be compared with exact."
    if samples > len(predictions):
        missing = samples - len(predictions)
        yield f"Left out: {missing} of {samples} samples, without a valid label."
    for name, length in data.lengths.items():
        undefined = int(np.isnan(length).sum())
        if undefined:
            yield f"Without a length for {name}, and not counted there: {undefined}."
    if predictions.kind == "points" and data.markup is None:
        yield f"No eye normalisers and groups: mark-up {predictions.markup!r} is not known."
    if predictions.rounding and predictions.log_prob is not None:
        yield (
            f"NLL, intervals: labels are known to within ±{predictions.rounding / 2:g}; NLL is of "
            f"the mean density there."
        )
    absent = unscored(data, "evaluate")
    if absent:
        yield f"Not scored for want of columns: {', '.join(absent)}."
    if predictions.kind == "points" and predictions.uncertainty is not None:
        yield "Error left: of the landmarks that stay, as a share of that of all landmarks."
        yield "AUSE: area between curve and oracle as a share of the mean error."
