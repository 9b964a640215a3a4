"""Which samples a recipe trains on, and which it keeps out of training."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from kdn.data.formats.sources import load_samples
from kdn.data.markup import Markup, markup_named
from kdn.data.sample import Sample
from kdn.data.split import Selection, join_samples, picture_names, split_by_picture
from kdn.data.values import require_on_axis, with_values
from kdn.recipe import DataRecipe, LabelsRecipe

__all__ = ["held_out_samples", "training_and_validation", "values_training_and_validation"]


def training_and_validation(
    data: DataRecipe, *, markup: Markup | None = None, problems: list[str] | None = None
) -> tuple[Sequence[Sample], Sequence[Sample]]:
    """Return the samples that are trained on, and those that are validated on.

    Args:
        data: Names the sources, and what is held out of them.
        markup: What the landmarks are; None for the one that `data` names.
        problems: Where to put one line about each file that cannot be used; None to let it raise.

    Raises:
        FileNotFoundError: If a source is not there.
        ValueError: If there is no source to train on, or one cannot be used.
    """
    if not data.train:
        raise ValueError("data.train must name at least one source of training samples")
    markup = markup_named(data.markup) if markup is None else markup
    samples = _joined(data.train, markup, problems)
    if data.valid:
        return samples, _joined(data.valid, markup, problems)
    return split_by_picture(samples, data.valid_fraction, seed=0)


def values_training_and_validation(
    data: DataRecipe, labels: LabelsRecipe
) -> tuple[Sequence[Sample], Sequence[Sample]]:
    """Return the samples that values are trained on, and those that they are validated on.

    Samples without any of the values are left out; landmarks are not looked at.

    Args:
        data: Names the sources, and what is held out of them.
        labels: Names the values.

    Raises:
        FileNotFoundError: If a source is not there.
        ValueError: If there is no source to train on, or one cannot be used, has no such values or
            some that are not on the axis.
    """
    if not data.train:
        raise ValueError("data.train must name at least one source of training samples")

    def valued(sources: Sequence[str]) -> Selection:
        parts = [load_samples(source, None) for source in sources]
        parts = [with_values(part, labels.names, None) for part in parts]
        for source, part in zip(sources, parts, strict=True):
            require_on_axis(source, part, labels)
        return join_samples(parts)

    samples = valued(data.train)
    if data.valid:
        return samples, valued(data.valid)
    return split_by_picture(samples, data.valid_fraction, seed=0)


def held_out_samples(
    data: DataRecipe,
    sources: Sequence[str] = (),
    *,
    markup: Markup | None = None,
    problems: list[str] | None = None,
) -> Sequence[Sample]:
    """Return samples that were not trained on.

    Args:
        data: What was trained on.
        sources: Where the samples are from. Of a source that was trained on there are only those
            that were held out then; it is known by its path, which may end in the recipe's. Empty
            for all that was held out.
        markup: What the landmarks are; None for the one that `data` names.
        problems: As for `training_and_validation`.

    Raises:
        FileNotFoundError: If a source is not there; to know what was held out of one that was
            trained on, the others are needed too.
        ValueError: If nothing was held out.
    """
    markup = markup_named(data.markup) if markup is None else markup
    try:
        return _held_out(data, sources, markup, problems)
    except FileNotFoundError as error:
        trained = ", ".join((*data.train, *data.valid))
        raise FileNotFoundError(
            f"{error} (the model was trained on {trained}; which of these faces were held out is "
            f"known only where they all are, or name by data faces from elsewhere)"
        ) from error


def _held_out(
    data: DataRecipe, sources: Sequence[str], markup: Markup, problems: list[str] | None
) -> Sequence[Sample]:
    """Return what `held_out_samples` does."""
    if not sources:
        found: Sequence[Sample] = []
        if data.train:
            _, found = training_and_validation(data, markup=markup, problems=problems)
        if not len(found):
            raise ValueError(
                "data must name samples that were not trained on: this model's training held none "
                f"out (data.valid_fraction {data.valid_fraction:g})"
            )
        return found
    there = {source: _located(source, sources) for source in data.train}
    trained = {place for place in there.values() if place in sources}
    kept: set[str] = set()
    if trained and not data.valid:
        whole = _joined(tuple(there.values()), markup, problems)
        kept = set(picture_names(split_by_picture(whole, data.valid_fraction, seed=0)[1]))
    parts = []
    for source in sources:
        part = load_samples(source, markup, problems=problems)
        names = picture_names(part)
        rows = [i for i, name in enumerate(names) if source not in trained or name in kept]
        if not rows and len(part):
            raise ValueError(f"data must be samples that were not trained on, got {source}")
        parts.append(Selection([(part, i) for i in rows], [names[i] for i in rows]))
    return join_samples(parts)


def _joined(sources: Sequence[str], markup: Markup, problems: list[str] | None) -> Sequence[Sample]:
    return join_samples([load_samples(source, markup, problems=problems) for source in sources])


def _located(trained: str, sources: Sequence[str]) -> str:
    """Return which of the sources is the one that was trained on; that itself if none is."""
    if trained in sources:
        return trained
    kind, place = _kind_and_place(trained)
    for source in sources:
        own_kind, own_place = _kind_and_place(source)
        if own_kind == kind != "synthetic":
            own = own_place.resolve()
            if own.parts[-len(place.parts) :] == place.parts or own == place.resolve():
                return source
    return trained


def _kind_and_place(source: str) -> tuple[str, Path]:
    """Return what stands before the colon of a source, and the file or folder that it names."""
    kind, colon, place = source.partition(":")
    return (kind, Path(place).expanduser()) if colon else ("", Path(source).expanduser())
