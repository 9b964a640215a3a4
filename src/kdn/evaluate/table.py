"""The one table of scores: what each is, which columns it needs, and the code that computes it.

The first paragraph of a score's docstring is its definition in the documentation.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from kdn.data.markup import BODY17
from kdn.evaluate.accuracy import (
    BOX_AREA,
    auc_terms,
    failure_terms,
    image_errors,
    oks,
    pck_terms,
)
from kdn.evaluate.bounds import Rule
from kdn.evaluate.labelled import Labelled
from kdn.evaluate.levels import NOMINAL, central_share, share_up_to
from kdn.evaluate.scalars import f1_at, icc31
from kdn.predictions import AREA_LEVELS, QUANTILES

__all__ = ["SCORES", "THRESHOLDS", "Definition", "Row", "rows_of"]

Row = tuple[str, str, Float[np.ndarray, " replicates"]]
"""A name, a unit, and the statistic of the samples themselves and then of every replicate."""

Rows = Iterator[Row]

THRESHOLDS: dict[str, tuple[int, tuple[Rule, ...]]] = {
    "box": (7, ("exact", "fan70")),
    "inter-ocular": (8, ("exact",)),
}
"""Thresholds of AUC and failure rate, percent, and their rules, by normaliser."""

_POINTS, _SCALARS = "points", "scalars"
_EVALUATE, _CALIBRATION = "evaluate", "calibration"
_REMOVED = (10, 50)  # percent of labels
_PCK = 20  # percent of the normalising pair
_SIMILAR = (0.5, 0.75)
_RADIUS = 5.0  # percent of the face's box: beyond it an error is large


@dataclass(frozen=True)
class Definition:
    """One line of the table.

    Args:
        section: Where it stands.
        name: As in the documentation; several numbers may bear variants of it.
        rows: What computes them.
        kind: Kind of labels, None for both.
        tables: `evaluate`, `calibration` or both.
        needs: Columns without which it is left out.
    """

    section: str
    name: str
    rows: Callable[[Labelled], Rows]
    kind: str | None
    tables: tuple[str, ...]
    needs: tuple[str, ...]

    @property
    def about(self) -> str:
        """The definition: the first paragraph of the code's docstring."""
        return " ".join((self.rows.__doc__ or "").split("\n\n")[0].split())

    def is_of(self, data: Labelled, table: str) -> bool:
        """Return whether it stands in a table of such labels."""
        return table in self.tables and self.kind in (None, data.predictions.kind)

    def missing(self, data: Labelled) -> list[str]:
        """Return the columns that it needs and that are missing."""
        return [name for name in self.needs if getattr(data.predictions, name) is None]


SCORES: list[Definition] = []
"""All scores, in the order in which they are printed."""


def rows_of(data: Labelled, table: str) -> Iterator[tuple[str, Row]]:
    """Yield the scores that labels allow, each after the section that it stands in."""
    for definition in SCORES:
        if definition.is_of(data, table) and not definition.missing(data):
            for row in definition.rows(data):
                yield definition.section, row


def _score(
    section: str,
    name: str,
    kind: str | None = None,
    *,
    tables: tuple[str, ...] = (_EVALUATE,),
    needs: tuple[str, ...] = (),
) -> Callable[[Callable[[Labelled], Rows]], Callable[[Labelled], Rows]]:
    """Return a decorator that puts a function into the table."""

    def register(rows: Callable[[Labelled], Rows]) -> Callable[[Labelled], Rows]:
        SCORES.append(Definition(section, name, rows, kind, tables, needs))
        return rows

    return register


_BOTH = (_EVALUATE, _CALIBRATION)


@_score("accuracy", "NME (eq. 6)", _POINTS)
def _nme(data: Labelled) -> Rows:
    """mean error over a face's landmarks, divided by a length of that face, mean over faces, in
    percent"""
    for name, length in data.lengths.items():
        each = image_errors(data.errors, data.used, length)
        yield f"NME {name}", "%", data.samples.mean(each)


@_score("accuracy", "AUC at `t`", _POINTS)
def _auc(data: Labelled) -> Rows:
    """area under the CED, the share of faces with NME at most `s`, from 0 to `t`, divided by `t`,
    in percent"""
    for name, threshold, rule, each in _thresholds(data):
        terms = auc_terms(each, threshold, rule)
        yield f"AUC@{threshold} {name} ({rule})", "%", data.samples.mean(terms)


@_score("accuracy", "failure at `t`", _POINTS)
def _failure(data: Labelled) -> Rows:
    """share of faces with NME above `t`, in percent; by the rule `fan70`, of 69/999 or more"""
    for name, threshold, rule, each in _thresholds(data):
        terms = failure_terms(each, threshold, rule)
        yield f"failure@{threshold} {name} ({rule})", "%", data.samples.mean(terms)


def _thresholds(data: Labelled) -> Iterator[tuple[str, int, Rule, np.ndarray]]:
    """Yield the normalisers that have a threshold, with it, its rules and each face's NME."""
    for name, (threshold, rules) in THRESHOLDS.items():
        if name in data.lengths:
            each = image_errors(data.errors, data.used, data.lengths[name])
            for rule in rules:
                yield name, threshold, rule, each


@_score("accuracy", "PCK@20 `pair`", _POINTS)
def _pck(data: Labelled) -> Rows:
    """share of all landmarks that are within 20 % of the `pair` length of where they should be, in
    percent"""
    if "pair" in data.lengths:
        near = pck_terms(data.errors, data.used, data.lengths["pair"], _PCK / 100)
        yield f"PCK@{_PCK} pair", "%", data.mean(near)


@_score("accuracy", "OKS", _POINTS)
def _oks(data: Labelled) -> Rows:
    """COCO's object keypoint similarity of people (`body17`), `Σᵢ exp(−eᵢ²/(2·area·(2σᵢ)²))/n` over
    the labelled keypoints, with COCO's constants `σᵢ`; mean over people in percent, and the share
    of people with at least 0.5 and 0.75. The area is 0.53 of that of the box, as outlines are not
    in the file"""
    if data.markup != BODY17:
        return
    boxes, area = data.predictions.bbox, np.square(data.lengths["box"])
    if boxes is not None:
        area = (boxes[:, 2:] - boxes[:, :2]).prod(axis=1)
    similar = oks(data.errors, data.used, BOX_AREA * area)
    yield "OKS", "%", data.samples.mean(100 * similar)
    for least in _SIMILAR:
        reached = np.where(np.isnan(similar), np.nan, 100.0 * (similar >= least))
        yield f"OKS at least {least:g}", "%", data.samples.mean(reached)


@_score("accuracy", "mean error", _POINTS, tables=_BOTH)
def _mean_error(data: Labelled) -> Rows:
    """Euclidean distance of prediction and label, image px; mean over all valid landmarks"""
    yield "mean error", "px", data.mean(data.errors)


@_score("accuracy", "MAE", _SCALARS, tables=_BOTH)
def _mae(data: Labelled) -> Rows:
    """mean of `|prediction − label|`, in the label's unit"""
    yield "MAE", "", data.mean(data.errors)


@_score("accuracy", "bias", _SCALARS)
def _bias(data: Labelled) -> Rows:
    """mean of `prediction − label`, in the label's unit"""
    yield "bias", "", data.mean(data.predictions.prediction - data.target)


@_score("accuracy", "CS@k", _SCALARS)
def _cumulative(data: Labelled) -> Rows:
    """cumulative score: share of errors of at most k (`--within`, 5 by default), in percent"""
    if data.within is not None:
        near = 100.0 * (data.errors <= data.within)
        yield f"CS@{data.within:g}", "%", data.mean(near)


@_score("accuracy", "ICC(3,1)", _SCALARS)
def _icc(data: Labelled) -> Rows:
    """agreement of predictions with labels, for consistency, two-way mixed, one rater:
    `(BMS − EMS) / (BMS + EMS)` (Shrout & Fleiss 1979)"""
    if len(data.used) > 1:
        ratings = np.stack([data.column("target"), data.column("values")], axis=1)
        yield "ICC(3,1)", "", icc31(ratings, data.items)


@_score("accuracy", "F1 at ≥ t", _SCALARS)
def _f1(data: Labelled) -> Rows:
    """F1 of *t or more*, `2·TP/(2·TP + FP + FN)`, with `--at-least t`, as for action units at
    t = 2"""
    if data.at_least is not None:
        score = f1_at(data.column("target"), data.column("values"), data.at_least, data.items)
        yield f"F1 at ≥ {data.at_least:g}", "", score


@_score("NME by decoder", "NME of a decoder", _POINTS)
def _decoders(data: Labelled) -> Rows:
    """NME under the box of the points of each decoder"""
    for name, points in data.predictions.decoders.items():
        each = image_errors(data.errors_of(points), data.used, data.lengths["box"])
        yield f"NME box, {name}", "%", data.samples.mean(each)


@_score("NME by group", "NME of a group", _POINTS)
def _groups(data: Labelled) -> Rows:
    """NME under the box of each group of landmarks; faces without one of them do not count"""
    for name, members in (data.markup.groups if data.markup else {}).items():
        mask = np.isin(np.arange(data.used.shape[1]), members)
        each = image_errors(data.errors, data.used & mask, data.lengths["box"])
        yield f"NME box, {name}", "%", data.samples.mean(each)


@_score("density", "NLL", tables=_BOTH, needs=("log_prob",))
def _nll(data: Labelled) -> Rows:
    """mean of −`log_prob`, nats: of points per image px², and per crop px² with `log |det|` of
    `crop_to_image` added to `log_prob`, which does not depend on the size of pictures; of scalars
    per unit, of the label or its interval"""
    for frame, log_prob in data.log_probs.items():
        yield f"NLL{frame}", "nats", data.mean(-log_prob)


@_score("density", "NLL, median", _POINTS, needs=("log_prob",))
def _nll_median(data: Labelled) -> Rows:
    """median of the same"""
    for frame, log_prob in data.log_probs.items():
        yield f"NLL{frame}, median", "nats", data.items.median(-log_prob[data.used])


@_score("density", "labels of zero density", _POINTS, needs=("log_prob",))
def _zero_density(data: Labelled) -> Rows:
    """share of labels at which the density is zero; any makes the mean NLL infinite"""
    zero = 100.0 * np.isneginf(data.column("log_prob"))
    yield "labels of zero density", "%", data.items.mean(zero)


@_score("density", "entropy", needs=("entropy",))
def _entropy(data: Labelled) -> Rows:
    """mean of the column"""
    frame = " per image px²" if data.predictions.kind == _POINTS else ""
    yield f"entropy{frame}", "nats", data.items.mean(data.column("entropy"))


@_score("density", "uncertainty", needs=("uncertainty",))
def _uncertainty(data: Labelled) -> Rows:
    """mean of the column"""
    yield "uncertainty", _unit(data), data.items.mean(data.column("uncertainty"))


@_score("density", "energy score", _POINTS, tables=(_CALIBRATION,), needs=("energy_score",))
def _energy(data: Labelled) -> Rows:
    """mean of `E|Y − y| − ½ E|Y − Y′|`, px; `Y`, `Y′` drawn from the density, `y` the label"""
    yield "energy score", "px", data.items.mean(data.column("energy_score"))


@_score("density", "CRPS", _SCALARS, tables=_BOTH, needs=("energy_score",))
def _crps(data: Labelled) -> Rows:
    """mean of `∫ (F(t) − 1{t ≥ y})² dt`, in the label's unit; of a number without a density it
    would be the absolute error"""
    yield "CRPS", "", data.items.mean(data.column("energy_score"))


@_score("density", "PIT mean, PIT variance × 12", _SCALARS, needs=("cdf_low", "cdf_high"))
def _pit(data: Labelled) -> Rows:
    """of the density's mass below the label, even between its ends where labels are rounded: ½ and
    1 where densities are calibrated; a mean below ½ says that predictions are too high, a variance
    above 1 that densities are too narrow"""
    low, high = data.pit_spans or (np.empty(0), np.empty(0))
    mean = data.items.mean(0.5 * (low + high))
    square = data.items.mean((low * low + low * high + high * high) / 3)
    yield "PIT mean", "", mean
    yield "PIT variance × 12", "", 12 * (square - mean * mean)


@_score("density", "`q` % intervals hold", _SCALARS, tables=_BOTH, needs=("cdf_low", "cdf_high"))
def _central(data: Labelled) -> Rows:
    """share of labels in the central intervals of 50, 80, 90 and 95 %; of a rounded label, the
    share of its own interval"""
    low, high = data.pit_spans or (np.empty(0), np.empty(0))
    for level in AREA_LEVELS:
        inside = 100 * central_share(low, high, level)
        yield f"{100 * level:g} % intervals hold", "%", data.items.mean(inside)


@_score("density", "coverage of `q` % regions", tables=_BOTH, needs=("hdr_level",))
def _coverage(data: Labelled) -> Rows:
    """share of labels inside the regions of highest density that hold 50, 80, 90, 95 %: with
    `hdr_level` at most that, and where `hdr_tie` crosses it the share of the tie that is needed to
    fill the region; equal to the nominal share when the densities are right"""
    low, high = data.region_spans or (np.empty(0), np.empty(0))
    for level in AREA_LEVELS:
        inside = 100 * share_up_to(low, high, level)
        yield f"coverage of {100 * level:g} % regions", "%", data.items.mean(inside)


@_score("density", "mean absolute and largest coverage error", tables=(_CALIBRATION,))
def _coverage_errors(data: Labelled) -> Rows:
    """of the distances of coverage from 1, 2, …, 99 % (`gap`, `worst`); of scalars, that of central
    intervals"""
    if data.coverage is not None:
        gap = np.abs(data.coverage - NOMINAL)
        yield "mean absolute coverage error", "%", 100 * gap.mean(axis=1)
        yield "largest coverage error", "%", 100 * gap.max(axis=1)


@_score("density", "width of 90 % intervals", _SCALARS, tables=_BOTH, needs=("quantiles",))
def _width(data: Labelled) -> Rows:
    """how sharp the densities are: mean width of the central interval, in the label's unit"""
    first, last = (QUANTILES.index(level) for level in (0.05, 0.95))
    quantiles = data.column("quantiles")
    yield "width of 90 % intervals", "", data.items.mean(quantiles[:, last] - quantiles[:, first])


@_score("density", "area of `q` % regions", tables=(_CALIBRATION,), needs=("hdr_areas",))
def _areas(data: Labelled) -> Rows:
    """sharpness: mean and median area, image px² and % of the face box (`÷ box`); the length, of
    scalars"""
    areas, box = data.column("hdr_areas"), _box_areas(data)
    units = {"": ("" if box is None else "px²", areas)}
    if box is not None:
        units[" ÷ box"] = ("% of box", 100 * areas / box[np.nonzero(data.used)[0], None])
    for suffix, (unit, values) in units.items():
        for index, level in enumerate(AREA_LEVELS):
            name = f"area of {100 * level:.0f} % regions{suffix}"
            yield f"mean {name}", unit, data.items.mean(values[:, index])
            yield f"median {name}", unit, data.items.median(values[:, index])


def _box_areas(data: Labelled) -> Float[np.ndarray, " n"] | None:
    """Return the area of each face box, of the tight box of the labels where there are none."""
    if data.predictions.kind != _POINTS:
        return None
    boxes = data.predictions.bbox
    if boxes is None:
        areas = data.lengths["box"] ** 2
    else:
        areas = np.prod(boxes[:, 2:] - boxes[:, :2], axis=1)
    return np.where(areas > 0, areas, np.nan)


def _unit(data: Labelled) -> str:
    return "px" if data.predictions.kind == _POINTS else ""


_AGAINST = "uncertainty against error"


def _lengths(data: Labelled) -> Iterator[tuple[str, Labelled, np.ndarray, np.ndarray]]:
    """Yield the units of points' errors: a suffix, the labels, their uncertainty and error."""
    every = np.ones(len(data.used))
    for name, length in ((" (px)", every), (" (÷ box)", data.lengths["box"])):
        subset = data.only(~np.isnan(length)[:, None] & data.used)
        each = length[np.nonzero(subset.used)[0]]
        yield name, subset, subset.column("uncertainty") / each, subset.errors[subset.used] / each


@_score(_AGAINST, "Spearman", _POINTS, needs=("uncertainty",))
def _spearman(data: Labelled) -> Rows:
    """Pearson's coefficient of the ranks, ties sharing their mean rank"""
    for name, subset, uncertainty, errors in _lengths(data):
        yield f"Spearman{name}", "", subset.items.spearman(uncertainty, errors)


@_score(_AGAINST, "Pearson", _POINTS, needs=("uncertainty",))
def _pearson(data: Labelled) -> Rows:
    """of `uncertainty` and error"""
    for name, subset, uncertainty, errors in _lengths(data):
        yield f"Pearson{name}", "", subset.items.pearson(uncertainty, errors)


@_score(_AGAINST, "error left without the least sure 10 %, 50 %", _POINTS, needs=("uncertainty",))
def _least_sure(data: Labelled) -> Rows:
    """mean error of the landmarks that remain when that share, by uncertainty, is removed, as a
    share of that of all"""
    for name, subset, uncertainty, errors in _lengths(data):
        for share, left in _left(subset, uncertainty, errors):
            yield f"error left without the least sure {share} %{name}", "%", left


@_score(_AGAINST, "the same without the worst 10 %, 50 %", _POINTS, needs=("uncertainty",))
def _worst(data: Labelled) -> Rows:
    """likewise, by the error itself: the least that any order leaves"""
    for name, subset, _, errors in _lengths(data):
        for share, left in _left(subset, errors, errors):
            yield f"the same without the worst {share} %{name}", "%", left


@_score(
    _AGAINST, "error left without the likeliest beyond 5 %", _POINTS,
    needs=("mass_within",),
)  # fmt: skip
def _likeliest(data: Labelled) -> Rows:
    """likewise, without the 10 %, 50 % of most `1 − mass_within` of the radius nearest to 5 %"""
    radii = data.predictions.radii
    nearest = int(np.argmin(np.abs(np.array(radii) - _RADIUS)))
    length = data.lengths["box"]
    subset = data.only(~np.isnan(length)[:, None] & data.used)
    errors = subset.errors[subset.used] / length[np.nonzero(subset.used)[0]]
    for share, left in _left(subset, 1.0 - subset.column("mass_within")[:, nearest], errors):
        name = f"error left without the {share} % likeliest beyond {radii[nearest]:g} % (÷ box)"
        yield name, "%", left


def _left(
    subset: Labelled, key: np.ndarray, errors: np.ndarray
) -> Iterator[tuple[int, np.ndarray]]:
    """Yield the percentages that are removed, and the error left, in percent of that of all."""
    curves = subset.items.sparsification(key, errors, np.array([0, *_REMOVED]) / 100)
    whole = np.where(curves[:, 0] > 0, curves[:, 0], np.nan)
    yield from zip(_REMOVED, (100.0 * curves[:, 1:].T / whole), strict=True)


@_score(_AGAINST, "AUSE", _POINTS, needs=("uncertainty",))
def _ause(data: Labelled) -> Rows:
    """mean over 0, 1, …, 99 % removed of (mean error of what is left when the least sure landmarks
    are removed − the same when the worst are removed), divided by the mean error of all; 0 is
    best"""
    for name, subset, uncertainty, errors in _lengths(data):
        curve, oracle = (subset.items.sparsification(key, errors) for key in (uncertainty, errors))
        whole = np.where(curve[:, 0] > 0, curve[:, 0], np.nan)
        yield f"AUSE{name}", "", (curve - oracle).mean(axis=1) / whole


@_score(_AGAINST, "Spearman, Pearson, AUSE", tables=(_CALIBRATION,), needs=("uncertainty",))
def _associations(data: Labelled) -> Rows:
    """the same of `uncertainty` and error, in image px or the label's unit"""
    uncertainty, errors = data.column("uncertainty"), data.errors[data.used]
    yield "Spearman", "", data.items.spearman(uncertainty, errors)
    yield "Pearson", "", data.items.pearson(uncertainty, errors)
    risk, oracle = data.curves or (np.empty((0, 1)), np.empty((0, 1)))
    yield "AUSE", "", (risk - oracle).mean(axis=1) / np.where(risk[:, 0] > 0, risk[:, 0], np.nan)


@_score(_AGAINST, "AURC", tables=(_CALIBRATION,), needs=("uncertainty",))
def _aurc(data: Labelled) -> Rows:
    """area under the risk-coverage curve: mean over 1, 2, …, 100 % of labels kept, the surest
    first, of their mean error. Beside it that of the oracle, which keeps those that err least"""
    risk, oracle = data.curves or (np.empty((0, 1)), np.empty((0, 1)))
    yield "AURC", _unit(data), risk.mean(axis=1)
    yield "AURC of the oracle", _unit(data), oracle.mean(axis=1)
