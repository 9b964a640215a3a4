"""Targets for predictions that come without: which prediction is of which labelled sample."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np
from jaxtyping import Bool, Float64

from kdn.data.labels import sample_scalars
from kdn.data.markup import FACE68, Markup
from kdn.data.sample import Sample
from kdn.predictions.record import Predictions

__all__ = ["Targets", "add_labels", "match_names", "offset_note"]


@dataclass(frozen=True)
class Targets:
    """The labels of samples, without their pictures.

    Convention: points are `(x, y)` in image pixels with integer pixel centres.

    Args:
        ids: Name of each of the `n` samples.
        paths: File of each picture, "" for a drawn one.
        bbox: `(n, 4)`.
        target: `(n, L, 2)` of points or `(n, L)` of scalars, NaN where not valid.
        valid: `(n, L)`.
        visible: `(n, L)`.
    """

    ids: tuple[str, ...]
    paths: tuple[str, ...]
    bbox: Float64[np.ndarray, "n 4"]
    target: Float64[np.ndarray, "n L *E"]
    valid: Bool[np.ndarray, "n L"]
    visible: Bool[np.ndarray, "n L"]

    @classmethod
    def of_samples(
        cls,
        samples: Sequence[Sample],
        predictions: Predictions,
        markup: Markup = FACE68,
        problems: list[str] | None = None,
    ) -> Targets:
        """Return the labels of samples that predictions are of; each sample is looked at once.

        Args:
            samples: With landmarks, or the attributes that the predictions are of.
            predictions: Points or scalars.
            markup: What the landmarks are.
            problems: Where to put one line about each sample without such labels; None to raise.
        """
        scalars = predictions.kind == "scalars"
        count = predictions.count if scalars else markup.landmarks
        kept = []
        for sample in samples:
            path = sample.image.as_posix() if isinstance(sample.image, Path) else ""
            try:
                target = sample_scalars(sample, predictions.names) if scalars else sample.landmarks
            except ValueError as error:
                if problems is None:
                    raise
                problems.append(str(error))
                continue
            valid = np.isfinite(target) if scalars else sample.valid
            visible = np.ones(count, bool) if scalars else sample.visible
            kept.append((sample.id, path, sample.bbox, target, valid, visible))
        ids, paths, *arrays = zip(*kept, strict=True) if kept else ((),) * 6
        shapes = ((4,), (count,) if scalars else (count, 2), (count,), (count,))
        bbox, target, valid, visible = (
            np.array(values, kind).reshape(len(ids), *shape)
            for values, kind, shape in zip(arrays, (float, float, bool, bool), shapes, strict=True)
        )
        known = valid if scalars else valid[..., None]
        return cls(tuple(ids), tuple(paths), bbox, np.where(known, target, np.nan), valid, visible)


def match_names(
    names: Sequence[str], places: Sequence[str], ids: Sequence[str], problems: list[str]
) -> list[tuple[int, int]]:
    """Return which name is of which id, as pairs of indices in the order of the ids.

    A name is the id itself, or its last part is: with or without its ending, so that
    `/data/100_1.jpg` is of `helen/test/100_1`. Where the last part is that of several ids, the one
    with most parts in common from the end on is taken, if there is only one.

    Args:
        names: What the predictions are called.
        places: Where each stands, for messages.
        ids: The labelled samples.
        problems: Gets one line about each name that is of no sample or could be of several, about
            each sample that several names are of, and about each that no name is of.
    """
    exact: dict[str, list[int]] = defaultdict(list)
    last: dict[str, list[int]] = defaultdict(list)
    for index, text in enumerate(ids):
        exact[text].append(index)
        last[_parts(text)[-1]].append(index)
    rows_of: dict[int, list[int]] = defaultdict(list)
    claimed: set[int] = set()
    for index, (name, where) in enumerate(zip(names, places, strict=True)):
        matches = exact.get(name) or _closest(name, last, ids)
        if len(matches) == 1:
            rows_of[matches[0]].append(index)
        elif matches:
            first = ", ".join(repr(ids[sample]) for sample in matches[:3])
            problems.append(f"{where}: {name!r} could be any of {len(matches)} samples: {first}")
        else:
            problems.append(f"{where}: {name!r} names no labelled sample")
        claimed.update(matches)
    pairs = []
    for sample, text in enumerate(ids):
        rows = rows_of.get(sample, [])
        if len(rows) == 1:
            pairs.append((rows[0], sample))
        elif rows:
            first = ", ".join(places[index] for index in rows[:3])
            problems.append(f"{text}: {len(rows)} predictions of it ({first})")
        elif sample not in claimed:
            problems.append(f"{text}: labelled, but without a prediction that can be used")
    return pairs


def _parts(name: str) -> tuple[str, ...]:
    """Return the parts of a path of either kind, at least one."""
    return PurePosixPath(name.replace("\\", "/")).parts or ("",)


def _closest(name: str, last: dict[str, list[int]], ids: Sequence[str]) -> list[int]:
    """Return the samples whose id ends like a name."""
    *folders, file = _parts(name)
    alike = last.get(file) or last.get(PurePosixPath(file).stem) or []
    if len(alike) < 2:
        return alike
    shared = [_shared(tuple(folders), _parts(ids[sample])[:-1]) for sample in alike]
    return [sample for sample, count in zip(alike, shared, strict=True) if count == max(shared)]


def _shared(one: tuple[str, ...], other: tuple[str, ...]) -> int:
    """Return how many parts are the same, from the end on."""
    count = 0
    while count < min(len(one), len(other)) and one[-1 - count] == other[-1 - count]:
        count += 1
    return count


def add_labels(
    predictions: Predictions, labels: Targets, *, places: Sequence[str], problems: list[str]
) -> Predictions:
    """Return predictions with labels, samples in the order of the labels, other columns kept.

    Args:
        predictions: Without labels; their ids are matched as `match_names` says.
        labels: What they are to be scored against.
        places: Where each prediction stands, for messages.
        problems: Gets one line about each prediction that is not finite, and about each name and
            each sample without a partner; all of these are left out.

    Raises:
        ValueError: If there are labels already, if the numbers of landmarks differ, or if no
            prediction is of a labelled sample.
    """
    if predictions.target is not None:
        raise ValueError("predictions must have no labels of their own, got a column 'target'")
    if predictions.count != labels.target.shape[1]:
        raise ValueError(
            f"predictions must have {labels.target.shape[1]} landmarks as the labels have, "
            f"got {predictions.count}"
        )
    finite = np.isfinite(predictions.prediction.reshape(len(predictions), -1))
    scalars = predictions.kind == "scalars"  # of which some may be missing
    usable_rows = np.asarray(finite.any(axis=1) if scalars else finite.all(axis=1))
    what = "values" if scalars else "landmarks"
    problems += [
        f"{places[row]}: {what} must be finite" for row in np.flatnonzero(~usable_rows).tolist()
    ]
    usable = np.flatnonzero(usable_rows)
    names = [predictions.id[row] for row in usable.tolist()]
    pairs = match_names(names, [places[row] for row in usable.tolist()], labels.ids, problems)
    if not pairs:
        first = f"the first is called {names[0]!r}" if names else "there is none that can be used"
        labelled = f", the first labelled sample {labels.ids[0]!r}" if labels.ids else ""
        raise ValueError(f"no prediction is of a labelled sample: {first}{labelled}")
    rows, samples = np.array(pairs, np.int64).T
    chosen = predictions.take(usable[rows])
    path = tuple(labels.paths[row] for row in samples) if chosen.path is None else chosen.path
    return chosen.with_labels(
        labels.target[samples],
        id=tuple(labels.ids[row] for row in samples),
        path=path,
        bbox=labels.bbox[samples] if chosen.bbox is None else chosen.bbox,
        valid=labels.valid[samples],
        visible=labels.visible[samples],
        metadata={**({} if scalars else {"markup": FACE68.name}), **chosen.metadata},
    )


def offset_note(predictions: Predictions) -> str:
    """Return a warning if landmarks lie half a pixel or one pixel off on both axes, else "".

    Errors of a system cancel in their mean; a frame that was mistaken does not. The mean must be
    within a tenth of a pixel of ±½ or ±1 on both axes, with the same sign, and known to a tenth.

    Args:
        predictions: With labels.
    """
    if predictions.landmarks is None or predictions.target is None:
        return ""
    moved = predictions.landmarks - predictions.target
    known = np.asarray(np.isfinite(moved).all(axis=2))
    count = known.sum(axis=1)
    total = np.where(known[..., None], moved, 0.0).sum(axis=1)
    faces = total[count > 0] / count[count > 0][:, None]
    if len(faces) < 2:
        return ""
    mean, unsure = faces.mean(axis=0), faces.std(axis=0, ddof=1) / np.sqrt(len(faces))
    for frame in (-1.0, -0.5, 0.5, 1.0):
        if (np.abs(mean - frame) < 0.1).all() and (unsure < 0.1).all():
            return (
                f"Predictions lie {mean[0]:+.2f}, {mean[1]:+.2f} px (x, y) off the labels on "
                "average: is --first-pixel right?"
            )
    return ""
