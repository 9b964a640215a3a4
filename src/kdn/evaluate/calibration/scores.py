"""The scores and curves of one part of the landmarks, of the samples and of every resample."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int

from kdn.evaluate.bootstrap import interval, resampled_mean, resampled_median
from kdn.evaluate.calibration.curves import NOMINAL, covered_counts
from kdn.evaluate.calibration.diagnosis import Curves, Part
from kdn.evaluate.calibration.uniformity import uniformity_test
from kdn.evaluate.correlation import pearson_resampled, spearman_resampled
from kdn.evaluate.scores import Score
from kdn.evaluate.sparsification import REMOVED, sparsification_resampled
from kdn.predictions import AREA_LEVELS

__all__ = ["Labelled", "part_of"]

_BINS = 20
# Landmarks times replicates up to which statistics of ranks are resampled as often as the rest.
_RANKED = 10_000_000

# A name, a unit, and the statistic of the samples themselves and then of every replicate.
_Row = tuple[str, str, Float[np.ndarray, " replicates"]]


@dataclass(frozen=True)
class Labelled:
    """What is known of every landmark of the samples that count; None for what is not.

    Args:
        valid: Landmarks with a label.
        errors: Distances from it, px.
        log_prob: By frame, `image` and `crop`.
        levels: Randomised within ties.
        areas: Of the regions of `AREA_LEVELS`, px².
        box: Area of each face box, px², NaN where there is none.
        energy: Energy scores, px.
        uncertainty: px.
        counts: How often each sample is drawn; the first row is ones.
        seed: Of the test of uniformity.
    """

    valid: Bool[np.ndarray, "n L"]
    errors: Float[np.ndarray, "n L"]
    log_prob: dict[str, Float[np.ndarray, "n L"]]
    levels: Float[np.ndarray, "n L"] | None
    areas: Float[np.ndarray, "n L 4"] | None
    box: Float[np.ndarray, " n"]
    energy: Float[np.ndarray, "n L"] | None
    uncertainty: Float[np.ndarray, "n L"] | None
    counts: Float[np.ndarray, "replicates n"]
    seed: int


@dataclass(frozen=True)
class _Chosen:
    """The landmarks of one part in a row, with the sample of each."""

    data: Labelled
    used: Bool[np.ndarray, "n L"]
    image: Int[np.ndarray, " N"]
    counts: Float[np.ndarray, "replicates n"]

    @property
    def ranked(self) -> Float[np.ndarray, "fewer n"]:
        """The first rows of `counts`, as many as statistics of ranks are computed for."""
        return self.counts[: 1 + max(200, _RANKED // max(1, len(self.image)))]

    def mean(self, values: Float[np.ndarray, " N"]) -> Float[np.ndarray, " replicates"]:
        """Return means over the landmarks whose value is a number."""
        known = ~np.isnan(values)
        images = self.counts.shape[1]
        totals = np.bincount(self.image[known], values[known], images)
        sizes = np.bincount(self.image[known], minlength=images).astype(np.float64)
        return resampled_mean(totals, sizes, self.counts)

    def median(self, values: Float[np.ndarray, " N"]) -> Float[np.ndarray, " replicates"]:
        """Return medians over the landmarks whose value is a number."""
        known = ~np.isnan(values)
        return resampled_median(values[known], self.image[known], self.ranked)

    def shares(self, counted: Float[np.ndarray, "n bins"]) -> Float[np.ndarray, "replicates bins"]:
        """Return the share of landmarks in each bin, from how many of each sample are."""
        sizes = np.bincount(self.image, minlength=self.counts.shape[1])
        drawn = (self.counts @ sizes)[:, None]
        shares = np.full((len(drawn), counted.shape[1]), np.nan)
        return np.divide(self.counts @ counted, drawn, out=shares, where=drawn > 0)


def part_of(
    data: Labelled, name: str, kind: str, used: Bool[np.ndarray, "n L"], replicates: int
) -> Part:
    """Return all scores and curves of some of the landmarks.

    Args:
        data: All landmarks.
        name: Of the part.
        kind: `all`, `group`, `landmark` or `attribute`.
        used: Which landmarks belong to it, of which the valid ones count.
        replicates: Resamples of the intervals.
    """
    used = used & data.valid
    chosen = _Chosen(data, used, np.nonzero(used)[0], data.counts[: 1 + replicates])
    curves: dict[str, np.ndarray] = {}
    sections: dict[str, list[_Row]] = {"likelihood": _likelihood(chosen)}
    test = None
    if data.levels is not None:
        levels = data.levels[used]
        sections["coverage"] = _coverage(chosen, levels, curves)
        if len(levels):
            test = uniformity_test(levels, chosen.image, seed=data.seed)
    sections["sharpness"] = _sharpness(chosen)
    sections["error and uncertainty"] = _errors(chosen, curves)
    scores = tuple(
        Score(label, float(values[0]), *interval(values[1:]), unit, section, values[1:])
        for section, rows in sections.items()
        for label, unit, values in rows
    )
    samples = len(np.unique(chosen.image))
    return Part(name, kind, samples, len(chosen.image), scores, test, Curves(**curves))


def _likelihood(chosen: _Chosen) -> list[_Row]:
    """Return the mean negative log-likelihood in each frame."""
    return [
        (f"NLL per {frame} px²", "nats", chosen.mean(-log_prob[chosen.used]))
        for frame, log_prob in chosen.data.log_prob.items()
    ]


def _coverage(
    chosen: _Chosen, levels: Float[np.ndarray, " N"], curves: dict[str, np.ndarray]
) -> list[_Row]:
    """Return coverage, its distance from the nominal mass, and add the curve and histogram."""
    images = chosen.counts.shape[1]
    covered = chosen.shares(covered_counts(levels, chosen.image, images, NOMINAL))
    inner = np.arange(1, _BINS) / _BINS
    up_to = covered_counts(levels, chosen.image, images, inner)
    sizes = np.bincount(chosen.image, minlength=images).astype(np.float64)
    within = np.diff(up_to, axis=1, prepend=0.0, append=sizes[:, None])
    for name, values in (("coverage", covered), ("histogram", chosen.shares(within))):
        curves[name] = values[0]
        curves[f"{name}_low"], curves[f"{name}_high"] = _band(values[1:])
    gap = np.abs(covered - NOMINAL)
    rows: list[_Row] = []
    for level in AREA_LEVELS:
        index = int(np.flatnonzero(np.isclose(NOMINAL, level))[0])
        rows.append((f"coverage of {100 * level:.0f} % regions", "%", 100 * covered[:, index]))
    rows.append(("mean absolute coverage error", "%", 100 * gap.mean(axis=1)))
    rows.append(("largest coverage error", "%", 100 * gap.max(axis=1)))
    return rows


def _sharpness(chosen: _Chosen) -> list[_Row]:
    """Return mean and median areas of the regions, px² and as a share of the face box."""
    if chosen.data.areas is None:
        return []
    rows: list[_Row] = []
    areas, box = chosen.data.areas[chosen.used], chosen.data.box[chosen.image]
    units = {"": ("px²", areas), " ÷ box": ("% of box", 100 * areas / box[:, None])}
    for suffix, (unit, values) in units.items():
        for index, level in enumerate(AREA_LEVELS):
            said = f"area of {100 * level:.0f} % regions{suffix}"
            rows.append((f"mean {said}", unit, chosen.mean(values[:, index])))
            rows.append((f"median {said}", unit, chosen.median(values[:, index])))
    return rows


def _errors(chosen: _Chosen, curves: dict[str, np.ndarray]) -> list[_Row]:
    """Return errors, energy scores, how uncertainty goes with them, and add the risk curve."""
    data, image = chosen.data, chosen.image
    errors = data.errors[chosen.used]
    rows: list[_Row] = [("mean error", "px", chosen.mean(errors))]
    if data.energy is not None:
        rows.append(("energy score", "px", chosen.mean(data.energy[chosen.used])))
    if data.uncertainty is None:
        return rows
    uncertainty, ranked = data.uncertainty[chosen.used], chosen.ranked
    rows.append(("Spearman", "", spearman_resampled(uncertainty, errors, image, ranked)))
    rows.append(("Pearson", "", pearson_resampled(uncertainty, errors, image, chosen.counts)))
    removed = np.array(REMOVED)
    risk, oracle = (
        sparsification_resampled(key, errors, image, ranked, removed)
        for key in (uncertainty, errors)
    )
    whole = np.where(risk[:, 0] > 0, risk[:, 0], np.nan)
    rows.append(("AUSE", "", (risk - oracle).mean(axis=1) / whole))
    rows.append(("AURC", "px", risk.mean(axis=1)))
    rows.append(("AURC of the oracle", "px", oracle.mean(axis=1)))
    curves["risk"], curves["oracle"] = risk[0, ::-1], oracle[0, ::-1]
    curves["risk_low"], curves["risk_high"] = _band(risk[1:, ::-1])
    return rows


def _band(
    values: Float[np.ndarray, "replicates points"],
) -> tuple[Float[np.ndarray, " points"], Float[np.ndarray, " points"]]:
    """Return the interval of a curve, point by point; replicates that are NaN are left out."""
    values = values[~np.isnan(values).any(axis=1)]
    if not len(values):
        none = np.full(values.shape[1], np.nan)
        return none, none
    return np.quantile(values, 0.025, axis=0), np.quantile(values, 0.975, axis=0)
