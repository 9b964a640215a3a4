"""All metrics of one file of predictions, with their intervals."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int

from kdn.data.markup import BODY17, Markup
from kdn.evaluate.accuracy import (
    Rule,
    auc_terms,
    check_auc,
    failure_terms,
    image_errors,
    normalisers,
    point_errors,
)
from kdn.evaluate.bootstrap import interval, resample_counts, resampled_mean, resampled_median
from kdn.evaluate.correlation import pearson_resampled, spearman_resampled
from kdn.evaluate.keypoints import BOX_AREA, oks, pck_terms
from kdn.evaluate.scores import Evaluation, Score
from kdn.evaluate.sparsification import ause_resampled, sparsification_resampled
from kdn.evaluate.uncertainty import crop_log_prob
from kdn.predictions import Predictions

__all__ = ["evaluate"]

_COVERAGES = (50, 80, 90, 95)
_REMOVED = (10, 50)  # percent of landmarks
_PCK = 20  # percent of the normalising pair
_SIMILAR = (0.5, 0.75)
_RADIUS = 5.0  # percent of the face's box: beyond it an error is large
_THRESHOLDS: dict[str, tuple[int, tuple[Rule, ...]]] = {
    "box": (7, ("exact", "fan70")),
    "inter-ocular": (8, ("exact",)),
}
# Landmarks times replicates up to which statistics of ranks are resampled as often as the rest;
# beyond, they have fewer replicates (at least 200), which the notes say.
_RANKED = 10_000_000
_NEEDED = {
    "log_prob": "NLL",
    "crop_to_image": "NLL per crop px²",
    "hdr_level": "coverage",
    "entropy": "entropy",
    "uncertainty": "correlations, sparsification and AUSE",
}

# A name, a unit, and the statistic of the samples themselves and then of every replicate.
_Row = tuple[str, str, Float[np.ndarray, " replicates"]]


@dataclass(frozen=True)
class _Labelled:
    """The samples with at least one valid label, and how often each is drawn.

    The first row of `counts` is ones: the samples themselves.
    """

    predictions: Predictions
    target: Float[np.ndarray, "n L 2"]
    valid: Bool[np.ndarray, "n L"]
    lengths: dict[str, Float[np.ndarray, " n"]]
    markup: Markup | None
    counts: Float[np.ndarray, "replicates n"]
    left_out: tuple[str, ...]

    def errors(self, landmarks: Float[np.ndarray, "n L 2"] | None = None) -> np.ndarray:
        """Return distances from the target, px, of the chosen landmarks by default."""
        chosen = self.predictions.prediction if landmarks is None else landmarks
        return point_errors(chosen, self.target)

    def over_samples(self, values: Float[np.ndarray, " n"]) -> Float[np.ndarray, " replicates"]:
        """Return means over the samples whose value is a number."""
        return resampled_mean(values, (~np.isnan(values)).astype(np.float64), self.counts)

    def over_landmarks(self, values: Float[np.ndarray, "n L"]) -> Float[np.ndarray, " replicates"]:
        """Return means over all valid landmarks."""
        totals = np.where(self.valid, values, 0.0).sum(axis=1)
        return resampled_mean(totals, self.valid.sum(axis=1).astype(np.float64), self.counts)

    def median(self, values: Float[np.ndarray, "n L"]) -> Float[np.ndarray, " replicates"]:
        """Return medians over all valid landmarks."""
        image: Int[np.ndarray, " N"] = np.nonzero(self.valid)[0]
        return resampled_median(values[self.valid], image, self.counts[: self.ranked])

    @property
    def ranked(self) -> int:
        """Rows of `counts` that statistics of ranks are computed for."""
        most = max(200, _RANKED // int(self.valid.sum()))
        return min(len(self.counts), 1 + most)


def evaluate(
    predictions: Predictions, *, bootstrap: int = 1000, seed: int = 0, markup: Markup | None = None
) -> Evaluation:
    """Return all scores that the predictions allow.

    Accuracy needs labels alone, groups and eye normalisers a known mark-up; NLL, coverage,
    correlations, sparsification and AUSE need their columns. Intervals are percentiles over
    resampled samples, the same resamples for every score.

    Args:
        predictions: With labels.
        bootstrap: Replicates; 0 for no intervals.
        seed: Of the resampling.
        markup: What the landmarks are called; None for what the predictions' metadata name.

    Raises:
        ValueError: If there are no valid labels, if a prediction is NaN where its label is valid,
            or if the mark-up has another number of landmarks.
        RuntimeError: If scores contradict each other.
    """
    data = _labelled(predictions, bootstrap, seed, markup)
    sections = {
        "accuracy": _accuracy(data),
        "NME by decoder": _decoders(data),
        "NME by group": _groups(data),
        "density": _densities(data),
        "uncertainty against error": _associations(data),
    }
    scores = [
        Score(name, float(values[0]), *interval(values[1:]), unit, section, values[1:])
        for section, rows in sections.items()
        for name, unit, values in rows
    ]
    result = Evaluation(
        scores=tuple(scores),
        samples=len(data.predictions),
        landmarks=int(data.valid.sum()),
        left_out=data.left_out,
        bootstrap=bootstrap,
        seed=seed,
        metadata=dict(predictions.metadata),
        notes=tuple(_notes(data, predictions, bootstrap, seed)),
    )
    for length, (threshold, rules) in _THRESHOLDS.items():
        for rule in rules if length in data.lengths else ():
            area = result[f"AUC@{threshold} {length} ({rule})"].value
            check_auc(result[f"NME {length}"].value, area, threshold, rule=rule)
    return result


def _labelled(
    predictions: Predictions, bootstrap: int, seed: int, markup: Markup | None
) -> _Labelled:
    """Return the samples that count, checked, with their resamples."""
    if predictions.target is None or predictions.valid is None:
        raise ValueError("predictions must have labels to be evaluated, got no column 'target'")
    counted = predictions.valid.any(axis=1)
    if not counted.any():
        raise ValueError(
            f"predictions must have valid labels, got none in {len(predictions)} samples"
        )
    rows = np.flatnonzero(counted)
    kept = predictions.take(rows)
    target, valid = predictions.target[rows], predictions.valid[rows]
    left_out = tuple(predictions.id[row] for row in np.flatnonzero(~counted))
    _require_numbers(kept, valid)
    markup = markup or predictions.known_markup
    drawn = resample_counts(len(kept), bootstrap, np.random.default_rng(seed))
    counts = np.concatenate([np.ones((1, len(kept))), drawn])
    lengths = normalisers(target, valid, markup)
    return _Labelled(kept, target, valid, lengths, markup, counts, left_out)


def _require_numbers(predictions: Predictions, valid: Bool[np.ndarray, "n L"]) -> None:
    """Raise if a prediction is NaN, or a point infinite, where its label is valid."""
    points = {"landmarks": predictions.prediction, **predictions.decoders}
    wrong = {name: ~np.isfinite(value).all(axis=-1) for name, value in points.items()}
    for name in ("uncertainty", "entropy"):
        value = getattr(predictions, name)
        if value is not None:
            wrong[name] = np.isnan(value)
    for name, bad in wrong.items():
        rows = np.flatnonzero((bad & valid).any(axis=1))
        if len(rows):
            raise ValueError(
                f"{name} must be a number where the label is valid, got others in {len(rows)} "
                f"samples, the first being {predictions.id[rows[0]]!r}"
            )


def _accuracy(data: _Labelled) -> list[_Row]:
    """Return NME, AUC and failure rate under every normaliser."""
    errors = data.errors()
    each = {name: image_errors(errors, data.valid, d) for name, d in data.lengths.items()}
    rows = [(f"NME {name}", "%", data.over_samples(values)) for name, values in each.items()]
    for name, (threshold, rules) in _THRESHOLDS.items():
        if name not in each:
            continue
        values = each[name]
        for rule in rules:
            terms = auc_terms(values, threshold, rule)
            rows.append((f"AUC@{threshold} {name} ({rule})", "%", data.over_samples(terms)))
        for rule in rules:
            terms = failure_terms(values, threshold, rule)
            rows.append((f"failure@{threshold} {name} ({rule})", "%", data.over_samples(terms)))
    return [*rows, *_keypoints(data), ("mean error", "px", data.over_landmarks(errors))]


def _keypoints(data: _Labelled) -> list[_Row]:
    """Return PCK of mark-ups with a normalising pair, and OKS of people."""
    rows: list[_Row] = []
    errors, each = data.errors(), data.counts
    if "pair" in data.lengths:
        near = pck_terms(errors, data.valid, data.lengths["pair"], _PCK / 100)
        used = ~np.isnan(near)
        totals, counts = np.nansum(near, axis=1), used.sum(axis=1).astype(np.float64)
        rows.append((f"PCK@{_PCK} pair", "%", resampled_mean(totals, counts, each)))
    if data.markup == BODY17:
        boxes, area = data.predictions.bbox, np.square(data.lengths["box"])
        if boxes is not None:
            area = (boxes[:, 2:] - boxes[:, :2]).prod(axis=1)
        similar = oks(errors, data.valid, BOX_AREA * area)
        rows.append(("OKS", "%", data.over_samples(100 * similar)))
        for least in _SIMILAR:
            reached = np.where(np.isnan(similar), np.nan, 100.0 * (similar >= least))
            rows.append((f"OKS at least {least:g}", "%", data.over_samples(reached)))
    return rows


def _decoders(data: _Labelled) -> list[_Row]:
    """Return the box NME of every decoder."""
    rows = []
    for name, points in data.predictions.decoders.items():
        values = image_errors(data.errors(points), data.valid, data.lengths["box"])
        rows.append((f"NME box, {name}", "%", data.over_samples(values)))
    return rows


def _groups(data: _Labelled) -> list[_Row]:
    """Return the box NME of every group of landmarks; samples without one of them do not count."""
    rows, errors = [], data.errors()
    for name, members in (data.markup.groups if data.markup else {}).items():
        mask = np.isin(np.arange(data.valid.shape[1]), members)
        values = image_errors(errors, data.valid & mask, data.lengths["box"])
        rows.append((f"NME box, {name}", "%", data.over_samples(values)))
    return rows


def _densities(data: _Labelled) -> list[_Row]:
    """Return NLL in both frames, coverage, and how wide the densities are."""
    rows: list[_Row] = []
    given = data.predictions
    if given.log_prob is not None:
        frames = {"image": given.log_prob}
        if given.crop_to_image is not None:
            frames["crop"] = crop_log_prob(given.log_prob, given.crop_to_image)
        for frame, log_prob in frames.items():
            rows.append((f"NLL per {frame} px²", "nats", data.over_landmarks(-log_prob)))
            rows.append((f"NLL per {frame} px², median", "nats", data.median(-log_prob)))
        zero = 100.0 * np.isneginf(given.log_prob)
        rows.append(("labels of zero density", "%", data.over_landmarks(zero)))
    if given.entropy is not None:
        rows.append(("entropy per image px²", "nats", data.over_landmarks(given.entropy)))
    if given.uncertainty is not None:
        rows.append(("uncertainty", "px", data.over_landmarks(given.uncertainty)))
    if given.hdr_level is not None:
        for nominal in _COVERAGES:
            inside = 100.0 * (given.hdr_level <= nominal / 100)
            rows.append((f"coverage of {nominal} % regions", "%", data.over_landmarks(inside)))
    return rows


def _associations(data: _Labelled) -> list[_Row]:
    """Return correlations, sparsification and AUSE of uncertainty and error, in px and ÷ box."""
    if data.predictions.uncertainty is None:
        return []
    rows: list[_Row] = []
    counts, errors = data.counts, data.errors()
    for name, length in (("px", np.ones(len(counts[0]))), ("÷ box", data.lengths["box"])):
        used = data.valid & ~np.isnan(length)[:, None]
        image = np.nonzero(used)[0]
        x, y = (v[used] / length[image] for v in (data.predictions.uncertainty, errors))
        ranked = counts[: data.ranked]
        rows.append((f"Spearman ({name})", "", spearman_resampled(x, y, image, ranked)))
        rows.append((f"Pearson ({name})", "", pearson_resampled(x, y, image, counts)))
        removed = np.array([0, *_REMOVED]) / 100
        curves = sparsification_resampled(x, y, image, ranked, removed)
        whole = np.where(curves[:, 0] > 0, curves[:, 0], np.nan)
        for share, left in zip(_REMOVED, curves[:, 1:].T, strict=True):
            label = f"error left without the least sure {share} % ({name})"
            rows.append((label, "%", 100.0 * left / whole))
        oracle = sparsification_resampled(y, y, image, ranked, removed)
        for share, left in zip(_REMOVED, oracle[:, 1:].T, strict=True):
            rows.append(
                (f"the same without the worst {share} % ({name})", "%", 100.0 * left / whole)
            )
        rows.append((f"AUSE ({name})", "", ause_resampled(x, y, image, ranked)))
    return [*rows, *_by_probability(data)]


def _by_probability(data: _Labelled) -> list[_Row]:
    """Return the error left without the landmarks that most probably err by more than a radius."""
    given, length = data.predictions, data.lengths["box"]
    if given.mass_within is None or not given.radii:
        return []
    nearest = int(np.argmin(np.abs(np.array(given.radii) - _RADIUS)))
    used = data.valid & ~np.isnan(length)[:, None]
    image = np.nonzero(used)[0]
    y, ranked = data.errors()[used] / length[image], data.counts[: data.ranked]
    removed = np.array([0, *_REMOVED]) / 100
    key = 1.0 - given.mass_within[..., nearest][used]
    curves = sparsification_resampled(key, y, image, ranked, removed)
    whole = np.where(curves[:, 0] > 0, curves[:, 0], np.nan)
    radius = f"{given.radii[nearest]:g} %"
    return [
        (
            f"error left without the {share} % likeliest beyond {radius} (÷ box)",
            "%",
            100 * left / whole,
        )
        for share, left in zip(_REMOVED, curves[:, 1:].T, strict=True)
    ]


def _notes(data: _Labelled, predictions: Predictions, bootstrap: int, seed: int) -> list[str]:
    """Return what is to be said below the table."""
    notes = []
    if bootstrap:
        note = f"Intervals: 95 %, percentiles of {bootstrap} resamples of the samples, seed {seed}"
        fewer = data.ranked - 1 < bootstrap
        notes.append(note + (f"; {data.ranked - 1} for medians and ranks." if fewer else "."))
    notes.append("fan70: 70 thresholds i/999, strict <; never to be compared with exact.")
    missing = len(data.left_out)
    if missing:
        notes.append(f"Left out: {missing} of {len(predictions)} samples, without a valid label.")
    for name, length in data.lengths.items():
        undefined = int(np.isnan(length).sum())
        if undefined:
            notes.append(f"Without a length for {name}, and not counted there: {undefined}.")
    if data.markup is None:
        notes.append(f"No eye normalisers and groups: mark-up {predictions.markup!r} is not known.")
    absent = [
        f"{what} ({name})" for name, what in _NEEDED.items() if getattr(predictions, name) is None
    ]
    if absent:
        notes.append(f"Not scored for want of columns: {', '.join(absent)}.")
    if predictions.uncertainty is not None:
        notes.append("Error left: of the landmarks that stay, as a share of that of all landmarks.")
        notes.append("AUSE: area between curve and oracle as a share of the mean error.")
    return notes
