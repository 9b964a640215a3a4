"""From predictions and labels to the diagnosis of their calibration."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from jaxtyping import Bool, Float

from kdn.data.markup import Markup
from kdn.evaluate import crop_log_prob, normalisers, point_errors, resample_counts
from kdn.evaluate.calibration.curves import random_levels
from kdn.evaluate.calibration.diagnosis import Diagnosis, Part
from kdn.evaluate.calibration.parts import attribute_of, parts_by_attribute, parts_by_landmark
from kdn.evaluate.calibration.scores import Labelled, part_of
from kdn.predictions import Predictions

__all__ = ["diagnose"]

_SINGLE = 200
"""Resamples, at most, of the intervals of single landmarks."""

_NEEDED = {
    "log_prob": "NLL",
    "crop_to_image": "NLL per crop px²",
    "hdr_level": "coverage and uniformity",
    "hdr_areas": "sharpness",
    "energy_score": "energy score",
    "uncertainty": "correlations, AUSE and AURC",
}


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

    For all landmarks, for each group of the mark-up, for each value of an attribute, and for each
    landmark: negative log-likelihood; a test whether levels are uniform, whose unit is the image;
    coverage of regions of 1 to 99 %; mean and median areas; the energy score; correlation of
    uncertainty and error, AUSE and the area under the risk-coverage curve. Every score has a 95 %
    interval over resampled samples, the same resamples for all parts.

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
        >>> found = diagnose(
        ...     Predictions(
        ...         id=tuple(map(str, range(40))),
        ...         landmarks=np.zeros((40, 5, 2)),
        ...         target=rng.normal(size=(40, 5, 2)),
        ...         hdr_level=levels,
        ...     ),
        ...     bootstrap=0,
        ... )
        >>> found["all"]["coverage of 50 % regions"].value < 35
        True
        >>> found["all"].uniformity.p_value < 0.01
        True
    """
    target, valid = predictions.target, predictions.valid
    if target is None or valid is None:
        raise ValueError("predictions must have labels to be diagnosed, got no column 'target'")
    if by is None and values is not None:
        raise ValueError("by must name what values are, got None")
    if by is not None and values is None:
        values = attribute_of(predictions, by)
    if values is not None and len(values) != len(predictions):
        raise ValueError(f"values must be {len(predictions)}, one a sample, got {len(values)}")
    counted = valid.any(axis=1)
    if not counted.any():
        raise ValueError(f"predictions must have valid labels, got none in {len(predictions)}")
    rows = np.flatnonzero(counted)
    given, target, valid = predictions.take(rows), target[rows], valid[rows]
    markup = markup or predictions.known_markup
    if markup is not None and markup.landmarks != given.count:
        raise ValueError(
            f"markup must have {given.count} landmarks, got {markup.name} of {markup.landmarks}"
        )
    data = _labelled(given, target, valid, bootstrap, seed)
    attribute = {} if by is None or values is None else parts_by_attribute(by, values[rows], valid)
    return Diagnosis(
        parts=tuple(_parts(data, markup, attribute, bootstrap)),
        samples=len(given),
        left_out=tuple(predictions.id[row] for row in np.flatnonzero(~counted)),
        bootstrap=bootstrap,
        seed=seed,
        metadata=dict(predictions.metadata),
        notes=tuple(_notes(given, len(predictions) - len(given), by, bootstrap, seed)),
    )


def _labelled(
    given: Predictions,
    target: Float[np.ndarray, "n L 2"],
    valid: Bool[np.ndarray, "n L"],
    bootstrap: int,
    seed: int,
) -> Labelled:
    """Return what is known of every landmark, and the resamples."""
    generator = np.random.default_rng(seed)
    drawn = resample_counts(len(given), bootstrap, generator)
    log_prob = {}
    if given.log_prob is not None:
        if given.crop_to_image is not None:
            log_prob["crop"] = crop_log_prob(given.log_prob, given.crop_to_image)
        log_prob["image"] = given.log_prob
    levels = given.hdr_level
    if levels is not None:
        # Rounding may carry a sum of masses a little beyond 1.
        levels = random_levels(np.clip(levels, 0.0, 1.0), given.hdr_tie, generator)
    return Labelled(
        valid=valid,
        errors=point_errors(given.prediction, target),
        log_prob=log_prob,
        levels=levels,
        areas=given.hdr_areas,
        box=_box_areas(given, target, valid),
        energy=given.energy_score,
        uncertainty=given.uncertainty,
        counts=np.concatenate([np.ones((1, len(given))), drawn]),
        seed=seed,
    )


def _box_areas(
    given: Predictions, target: Float[np.ndarray, "n L 2"], valid: Bool[np.ndarray, "n L"]
) -> Float[np.ndarray, " n"]:
    """Return the area of each face box; of the tight box of the labels where there are no boxes."""
    if given.bbox is None:
        areas = normalisers(target, valid, None)["box"] ** 2
    else:
        areas = np.prod(given.bbox[:, 2:] - given.bbox[:, :2], axis=1)
    return np.where(areas > 0, areas, np.nan)


def _parts(
    data: Labelled, markup: Markup | None, attribute: dict[str, np.ndarray], bootstrap: int
) -> list[Part]:
    """Return all parts, in the order of the table."""
    groups, single = parts_by_landmark(data.valid.shape[1], markup)
    every = np.ones_like(data.valid)
    parts = [part_of(data, "all", "all", every, bootstrap)]
    for name, members in groups.items():
        parts.append(part_of(data, name, "group", every & members, bootstrap))
    for name, members in attribute.items():
        parts.append(part_of(data, name, "attribute", members, bootstrap))
    for name, members in single.items():
        part = part_of(data, name, "landmark", every & members, min(bootstrap, _SINGLE))
        # The curves of a single landmark are kept, its resamples are not.
        scores = tuple(replace(score, replicates=np.empty(0)) for score in part.scores)
        parts.append(replace(part, scores=scores))
    return parts


def _notes(
    given: Predictions, left_out: int, by: str | None, bootstrap: int, seed: int
) -> list[str]:
    """Return what is to be said below the table."""
    notes = []
    if bootstrap:
        notes.append(
            f"Intervals: 95 %, percentiles of {bootstrap} resamples of the samples, seed {seed}; "
            f"for single landmarks, ranks and medians there may be fewer, at least 200 if so many."
        )
    notes.append("p: levels are uniform, by a Cramér–von Mises test whose unit is the sample.")
    notes.append("gap, worst: mean and largest distance of coverage from 1, …, 99 %, points of %.")
    notes.append("area 90: mean area of the 90 % regions, % of the face box; NLL per crop px².")
    notes.append("AURC: mean error over shares of landmarks kept, the surest first; px.")
    if given.hdr_level is not None and given.hdr_tie is None:
        notes.append("Levels are not randomised within ties, for want of the column hdr_tie.")
    if left_out:
        notes.append(f"Left out: {left_out} samples, without a valid label.")
    absent = [f"{what} ({name})" for name, what in _NEEDED.items() if getattr(given, name) is None]
    if absent:
        notes.append(f"Not diagnosed for want of columns: {', '.join(absent)}.")
    if by is not None:
        notes.append(f"Landmarks without a value of {by!r} are in no part of it.")
    return notes
