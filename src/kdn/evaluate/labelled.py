"""The labels that count, what is predicted of them, and their resamples."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from jaxtyping import Bool, Float

from kdn.data.markup import Markup
from kdn.evaluate.accuracy import normalisers, point_errors
from kdn.evaluate.levels import NOMINAL, central_share, level_spans, share_up_to
from kdn.evaluate.resamples import Resamples
from kdn.predictions import Predictions

__all__ = ["Labelled", "crop_log_prob", "labelled"]


@dataclass(frozen=True)
class Labelled:
    """Some labels of samples, in a row as far as they are pooled, and their resamples.

    Args:
        predictions: Of the samples with at least one valid label.
        used: Labels that count.
        samples: Resamples of the samples.
        markup: What points are; None for scalars, or where it is not known.
        within: `k` of `CS@k`, in the unit of scalars; None for none.
        at_least: `t` of `F1 at ≥ t`, likewise.
    """

    predictions: Predictions
    used: Bool[np.ndarray, "n L"]
    samples: Resamples
    markup: Markup | None = None
    within: float | None = None
    at_least: float | None = None

    def only(self, members: Bool[np.ndarray, "n L"], count: int | None = None) -> Labelled:
        """Return those of the labels that are members, with up to `count` replicates."""
        samples = self.samples.of(np.arange(len(self.used)), count)
        return replace(self, used=self.used & members, samples=samples)

    @cached_property
    def items(self) -> Resamples:
        """Resamples of the labels."""
        return self.samples.of(np.nonzero(self.used)[0])

    def column(self, name: str) -> Float[np.ndarray, "N *rest"]:
        """Return the entries of a column that belong to the labels.

        Raises:
            ValueError: If it is missing.
        """
        column = getattr(self.predictions, name)
        if column is None:
            raise ValueError(f"predictions must have a column {name}, got none")
        return column[self.used]

    def mean(self, values: Float[np.ndarray, "n L"]) -> Float[np.ndarray, " replicates"]:
        """Return means over the labels whose value is a number."""
        return self.items.mean(values[self.used])

    @property
    def target(self) -> np.ndarray:
        """The labels, `(n, L, 2)` or `(n, L)`."""
        if self.predictions.target is None:
            raise ValueError("predictions must have labels, got no column 'target'")
        return self.predictions.target

    def errors_of(self, prediction: np.ndarray) -> Float[np.ndarray, "n L"]:
        """Return distances of a prediction from the labels: px of points, the unit of scalars."""
        if prediction.ndim == 3:
            return point_errors(prediction, self.target)
        return np.abs(prediction - self.target)

    @cached_property
    def errors(self) -> Float[np.ndarray, "n L"]:
        """Distances of the prediction from the labels."""
        return self.errors_of(self.predictions.prediction)

    @cached_property
    def lengths(self) -> dict[str, Float[np.ndarray, " n"]]:
        """The lengths that errors of points are divided by; none for scalars."""
        if self.predictions.values is not None:
            return {}
        return normalisers(self.target, self.used, self.markup)

    @cached_property
    def log_probs(self) -> dict[str, Float[np.ndarray, "n L"]]:
        """Log-likelihoods by their frame, as it is written behind `NLL`."""
        log_prob, affine = self.predictions.log_prob, self.predictions.crop_to_image
        if log_prob is None:
            return {}
        if self.predictions.values is not None:
            return {"": log_prob}
        frames = {" per image px²": log_prob}
        if affine is not None:
            frames[" per crop px²"] = crop_log_prob(log_prob, affine)
        return frames

    @cached_property
    def region_spans(self) -> tuple[Float[np.ndarray, " N"], Float[np.ndarray, " N"]] | None:
        """Mass that is denser than each label, and with all as dense; None without levels."""
        if self.predictions.hdr_level is None:
            return None
        level, tie = self.column("hdr_level"), self.predictions.hdr_tie
        return level_spans(level, level if tie is None else level + tie[self.used])

    @cached_property
    def pit_spans(self) -> tuple[Float[np.ndarray, " N"], Float[np.ndarray, " N"]] | None:
        """Mass below each label of scalars, and below its end; None without."""
        if self.predictions.cdf_low is None or self.predictions.cdf_high is None:
            return None
        return level_spans(self.column("cdf_low"), self.column("cdf_high"))

    @property
    def spans(self) -> tuple[Float[np.ndarray, " N"], Float[np.ndarray, " N"]] | None:
        """Levels of the labels, uniform if calibrated: PIT of scalars, of regions of points."""
        return self.pit_spans or self.region_spans

    @cached_property
    def coverage(self) -> Float[np.ndarray, "replicates 99"] | None:
        """Share of labels inside the regions of 1 to 99 %; of scalars the central intervals."""
        if self.spans is None:
            return None
        low, high = self.spans
        share = share_up_to if self.pit_spans is None else central_share
        return self.items.means(share(low, high, level) for level in NOMINAL.tolist())

    @cached_property
    def curves(self) -> tuple[np.ndarray, np.ndarray] | None:
        """Sparsification by uncertainty and by the error itself, `(replicates, 100)` each."""
        if self.predictions.uncertainty is None:
            return None
        errors = self.errors[self.used]
        keys = (self.column("uncertainty"), errors)
        risk, oracle = (self.items.sparsification(key, errors) for key in keys)
        return risk, oracle


def crop_log_prob(
    log_prob: Float[np.ndarray, "n L"], crop_to_image: Float[np.ndarray, "n 2 3"]
) -> Float[np.ndarray, "n L"]:
    """Return log-densities per crop pixel² from those per image pixel²: `+ log|det A|`.

    Example:
        >>> twice = np.array([[[2.0, 0.0, 7.0], [0.0, 2.0, 8.0]]])  # 1 crop px is 2 image px wide
        >>> crop_log_prob(np.array([[-3.0]]), twice).round(4).tolist()
        [[-1.6137]]
    """
    with np.errstate(divide="ignore"):
        return log_prob + np.linalg.slogdet(crop_to_image[..., :2])[1][:, None]


def labelled(
    predictions: Predictions,
    *,
    bootstrap: int,
    seed: int,
    markup: Markup | None = None,
    within: float | None = None,
    at_least: float | None = None,
) -> Labelled:
    """Return the labels that count, checked, with their resamples.

    Raises:
        ValueError: If there are no valid labels, if a prediction is NaN where its label is valid,
            if the mark-up has another number of landmarks, or if landmarks are to be `at_least`
            something.
    """
    if at_least is not None and predictions.kind == "points":
        raise ValueError(f"at_least is for scalars, got {at_least:g} for landmarks")
    if predictions.target is None or predictions.valid is None:
        raise ValueError("predictions must have labels to be evaluated, got no column 'target'")
    counted = np.flatnonzero(predictions.valid.any(axis=1))
    if not len(counted):
        raise ValueError(
            f"predictions must have valid labels, got none in {len(predictions)} samples"
        )
    kept = predictions.take(counted)
    valid = predictions.valid[counted]
    for name, numbers in _predicted(kept):
        rows = np.flatnonzero((~numbers & valid).any(axis=1))
        if len(rows):
            raise ValueError(
                f"{name} must be a number where the label is valid, got others in {len(rows)} "
                f"samples, the first being {kept.id[rows[0]]!r}"
            )
    markup = markup or predictions.known_markup
    if markup is not None and markup.landmarks != kept.count:
        raise ValueError(
            f"markup {markup.name!r} has {markup.landmarks} landmarks, got {kept.count}"
        )
    resamples = Resamples(len(kept), bootstrap, seed)
    return Labelled(kept, valid, resamples, markup, within, at_least)


def _predicted(predictions: Predictions) -> Iterator[tuple[str, Bool[np.ndarray, "n L"]]]:
    """Yield where predictions are numbers, and points finite, by column."""
    name = "landmarks" if predictions.values is None else "values"
    for column, points in {name: predictions.prediction, **predictions.decoders}.items():
        yield column, np.asarray(np.isfinite(points).all(axis=tuple(range(2, points.ndim))))
    for column in ("uncertainty", "entropy"):
        numbers = getattr(predictions, column)
        if numbers is not None:
            yield column, ~np.isnan(numbers)
