"""From predictions and labels to the diagnosis of their calibration."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
from jaxtyping import Bool, Float

from kdn.data.markup import Markup
from kdn.evaluate.diagnosis import Curves, Diagnosis, Part
from kdn.evaluate.labelled import Labelled, labelled
from kdn.evaluate.levels import bin_shares, share_up_to, uniformity_test
from kdn.evaluate.scores import scores_of
from kdn.evaluate.scoring import left_out, unscored
from kdn.evaluate.table import rows_of
from kdn.predictions import COLUMNS, Predictions

__all__ = ["diagnose"]

_BINS = 20
_SINGLE = 200  # replicates, at most, of the intervals of single labels
_MOST = 20  # different values of an attribute that may each be a part


def diagnose(
    predictions: Predictions,
    *,
    by: str | None = None,
    values: np.ndarray | None = None,
    bootstrap: int = 1000,
    seed: int = 0,
    markup: Markup | None = None,
) -> Diagnosis:
    """Return how well predicted densities fit the labels, and how sharp they are.

    For all labels, for each group of the mark-up, for each value of an attribute, and for each
    label (a landmark, or one of several scalars): the scores of `kdn.evaluate.table.SCORES` that
    are of calibration, and a test whether levels are uniform, whose unit is the sample. Levels are
    those of regions of highest density for points, and of the distribution function for scalars.
    Every score has a 95 % interval over resampled samples, the same resamples for all parts.

    Args:
        predictions: With labels.
        by: Attribute that landmarks are told apart by: a column of one value a landmark, as
            `visible`, or the name of what `values` are.
        values: `(n,)` or `(n, L)` of booleans, strings or numbers, one a sample or landmark of
            the predictions; numbers are cut into quartiles. From a file by
            `Predictions.attribute`.
        bootstrap: Resamples of the intervals, of which single landmarks have at most 200; 0 for
            no intervals.
        seed: Of resamples, ties and tests.
        markup: What the landmarks are called; None for what the predictions' metadata name.

    Raises:
        ValueError: If there are no valid labels, `by` is no such column, `values` come without a
            name or do not fit, or the mark-up has another number of landmarks.

    Example:
        >>> rng = np.random.default_rng(0)
        >>> shape = (40, 5)
        >>> levels = rng.uniform(size=shape) ** 0.5  # regions hold fewer labels than they should
        >>> diagnosis = diagnose(
        ...     Predictions(
        ...         id=tuple(map(str, range(40))),
        ...         landmarks=np.zeros((40, 5, 2)),
        ...         target=rng.normal(size=(40, 5, 2)),
        ...         hdr_level=levels,
        ...     ),
        ...     bootstrap=0,
        ... )
        >>> diagnosis["all"]["coverage of 50 % regions"].value < 35
        True
        >>> diagnosis["all"].uniformity.p_value < 0.01
        True
    """
    if by is None and values is not None:
        raise ValueError("by must name what values are, got None")
    if by is not None and values is None:
        values = _values_by(predictions, by)
    if values is not None and len(values) != len(predictions):
        raise ValueError(f"values must be {len(predictions)}, one a sample, got {len(values)}")
    data = labelled(predictions, bootstrap=bootstrap, seed=seed, markup=markup)
    counted = np.asarray(np.any(predictions.valid, axis=1))
    attribute = {} if by is None or values is None else _parts_by(by, values[counted], data.used)
    parts = [_part(data, name, kind, members, seed) for name, kind, members in _parts(data)]
    others = [_part(data, name, "attribute", members, seed) for name, members in attribute.items()]
    single = [part for part in parts if part.kind == "label"]
    return Diagnosis(
        parts=(*(part for part in parts if part.kind != "label"), *others, *single),
        samples=len(data.predictions),
        left_out=left_out(predictions),
        bootstrap=bootstrap,
        seed=seed,
        metadata=dict(predictions.metadata),
        notes=tuple(_notes(data, len(predictions), by, bootstrap, seed)),
        counted="valid landmarks" if predictions.kind == "points" else "labels",
    )


def _parts(data: Labelled) -> Iterator[tuple[str, str, Bool[np.ndarray, "n L"]]]:
    """Yield name, kind and labels of all parts but those of an attribute."""
    index, every = np.arange(data.used.shape[1]), np.ones_like(data.used)
    yield "all", "all", every
    for name, members in (data.markup.groups if data.markup else {}).items():
        yield name, "group", every & np.isin(index, members)
    names = data.predictions.names
    if data.predictions.kind == "points":
        names = [f"{i} {names[i]}" if names else str(i) for i in index]
    for number, name in enumerate(names):
        yield name, "label", every & (index == number)


def _part(
    data: Labelled, name: str, kind: str, members: Bool[np.ndarray, "n L"], seed: int
) -> Part:
    """Return all scores and curves of some of the labels."""
    single = kind == "label" and data.used.shape[1] > 1
    subset = data.only(members, _SINGLE if single else None)
    scores = scores_of(rows_of(subset, "calibration"))
    if single:  # their curves are kept, their resamples are not
        scores = [replace(score, replicates=np.empty(0)) for score in scores]
    curves: dict[str, np.ndarray] = {}
    test = None
    if subset.spans is not None and subset.coverage is not None:
        low, high = subset.spans
        curves |= _band("coverage", subset.coverage)
        curves |= _band("histogram", subset.items.means(bin_shares(low, high, _BINS)))
        if len(low):
            test = uniformity_test(lambda u: share_up_to(low, high, u), subset.items, seed=seed)
    if subset.curves is not None:
        risk, oracle = (curve[:, ::-1] for curve in subset.curves)
        curves |= {**_band("risk", risk), "oracle": oracle[0]}
    samples = int(subset.used.any(axis=1).sum())
    return Part(name, kind, samples, int(subset.used.sum()), tuple(scores), test, Curves(**curves))


def _band(name: str, values: Float[np.ndarray, "replicates points"]) -> dict[str, np.ndarray]:
    """Return a curve and its interval, point by point; replicates that are NaN are left out."""
    kept = values[1:][~np.isnan(values[1:]).any(axis=1)]
    low, high = np.full((2, values.shape[1]), np.nan)
    if len(kept):
        low, high = np.quantile(kept, [0.025, 0.975], axis=0)
    return {name: values[0], f"{name}_low": low, f"{name}_high": high}


def _notes(
    data: Labelled, samples: int, by: str | None, bootstrap: int, seed: int
) -> Iterator[str]:
    """Yield what is to be said below the table."""
    predictions = data.predictions
    if bootstrap:
        yield (
            f"Intervals: 95 %, percentiles of {bootstrap} resamples of the samples, seed {seed}; "
            f"for single labels, ranks and medians there may be fewer, at least 200 if so many."
        )
    yield "p: levels are uniform, by a Cramér–von Mises test whose unit is the sample."
    yield "gap, worst: mean and largest distance of coverage from 1, …, 99 %, points of %."
    if predictions.kind == "points":
        yield "area 90: mean area of the 90 % regions, % of the face box; NLL per crop px²."
    yield "AURC: mean error over shares of labels kept, the surest first."
    if predictions.hdr_level is not None and predictions.hdr_tie is None:
        yield "Labels that are exactly as dense count as inside, for want of the column hdr_tie."
    if samples > len(predictions):
        yield f"Left out: {samples - len(predictions)} samples, without a valid label."
    absent = unscored(data, "calibration")
    if absent:
        yield f"Not diagnosed for want of columns: {', '.join(absent)}."
    if by is not None:
        yield f"Labels without a value of {by!r} are in no part of it."


def _values_by(predictions: Predictions, by: str) -> np.ndarray:
    """Return a column of the predictions that may tell landmarks apart, `(n,)` or `(n, L)`.

    Raises:
        ValueError: If there is no such column, or it has several numbers a landmark.
    """
    value = getattr(predictions, by, None) if by in COLUMNS else None
    if value is None:
        return predictions.attribute(by)
    if value.shape != (len(predictions), predictions.count):
        raise ValueError(f"by must name a column of one value a landmark, got {by!r}")
    return value


def _parts_by(
    by: str, values: np.ndarray, valid: Bool[np.ndarray, "n L"]
) -> dict[str, Bool[np.ndarray, "n L"]]:
    """Return which landmarks have each value of an attribute, numbers cut into quartiles.

    Args:
        by: Name of the attribute.
        values: `(n,)` or `(n, L)` of booleans, strings or numbers; "" and NaN are in no part.
        valid: Landmarks that count; quartiles are those of their numbers (of samples, where an
            attribute is of samples).

    Raises:
        ValueError: If the shape does not fit, or there are more than 20 different strings.
    """
    n, count = valid.shape
    if values.shape not in ((n,), valid.shape):
        raise ValueError(
            f"values of {by!r} must have shape ({n},) or {valid.shape}, got {values.shape}"
        )
    counted = np.asarray(valid.any(axis=1)) if values.ndim == 1 else valid
    if values.dtype.kind in "iuf":
        members = _quartiles(values.astype(np.float64), counted)
    else:
        different = sorted(set(values[counted].tolist()) - {""})
        if len(different) > _MOST:
            raise ValueError(
                f"{by!r} must have at most {_MOST} different values, got {len(different)}"
            )
        names = {
            value: str(value).lower() if values.dtype == bool else value for value in different
        }
        members = {names[value]: values == value for value in different}
    return {
        f"{by} {name}": np.broadcast_to(mask[:, None] if mask.ndim == 1 else mask, (n, count))
        for name, mask in members.items()
    }


def _quartiles(values: np.ndarray, counted: np.ndarray) -> dict[str, np.ndarray]:
    """Return which numbers lie in each quartile; the value itself where there are at most four."""
    known = values[counted & ~np.isnan(values)]
    different = np.unique(known)
    if len(different) <= 4:
        return {f"{value:g}": values == value for value in different}
    edges = np.unique(np.quantile(known, [0.0, 0.25, 0.5, 0.75, 1.0]))
    members = {}
    for low, high in itertools.pairwise(edges):
        above = values >= low if low == edges[0] else values > low
        members[f"{low:.4g} to {high:.4g}"] = above & (values <= high)
    return members
