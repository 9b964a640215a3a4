"""Which samples a recipe trains on, and which it keeps out of training."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from kdn.data.formats.format import foreign_package
from kdn.data.labels import Labels
from kdn.data.sample import Sample
from kdn.data.split import Selection, join_samples, picture_names, split_by_picture
from kdn.recipe import DataRecipe

__all__ = ["held_out_samples", "training_and_validation"]


def training_and_validation(
    data: DataRecipe, labels: Labels, *, problems: list[str] | None = None
) -> tuple[Sequence[Sample], Sequence[Sample]]:
    """Return the samples that are trained on, and those that are validated on.

    Args:
        data: Names the sources, and what is held out of them.
        labels: What is learned of them.
        problems: Where to put one line about each sample that cannot be used; None to let it raise.

    Raises:
        FileNotFoundError: If a source is not there.
        ValueError: If there is no source to train on, or one cannot be used.
    """
    if not data.train:
        raise ValueError("data.train must name at least one source of training samples")
    samples = labels.read(data.train, problems)
    if data.valid:
        return samples, labels.read(data.valid, problems)
    return split_by_picture(samples, data.valid_fraction, seed=0)


def held_out_samples(
    data: DataRecipe,
    labels: Labels,
    sources: Sequence[str] = (),
    *,
    problems: list[str] | None = None,
    trust: Sequence[str] = (),
) -> Sequence[Sample]:
    """Return samples that were not trained on.

    Args:
        data: What was trained on.
        labels: What was learned.
        sources: Where the samples are from. Of a source that was trained on there are only those
            that were held out then; it is known by its path, which may end in the recipe's. Empty
            for all that was held out.
        problems: As for `training_and_validation`.
        trust: Packages whose formats may read what `data` names, which may be the recipe of a
            stranger's checkpoint; those that `sources` name may.

    Raises:
        FileNotFoundError: If a source is not there; to know what was held out of one that was
            trained on, the others are needed too.
        ValueError: If nothing was held out, or `data` names a format that is not trusted.
    """
    for source in (*data.train, *data.valid):
        package = foreign_package(source)
        if package is not None and package not in trust and source not in sources:
            raise ValueError(
                f"{source}: the model was trained on a format that needs the code of {package}; if "
                f"you trust it, name it by trust=({package!r},) or --trust {package}"
            )
    try:
        return _held_out(data, labels, sources, problems)
    except FileNotFoundError as error:
        trained = ", ".join((*data.train, *data.valid))
        raise FileNotFoundError(
            f"{error} (the model was trained on {trained}; which of these faces were held out is "
            f"known only where they all are, or name by data faces from elsewhere)"
        ) from error


def _held_out(
    data: DataRecipe, labels: Labels, sources: Sequence[str], problems: list[str] | None
) -> Sequence[Sample]:
    """Return what `held_out_samples` does."""
    if not sources:
        held_out: Sequence[Sample] = []
        if data.train:
            _, held_out = training_and_validation(data, labels, problems=problems)
        if not len(held_out):
            raise ValueError(
                "data must name samples that were not trained on: this model's training held none "
                f"out (data.valid_fraction {data.valid_fraction:g})"
            )
        return held_out
    located = {source: _located(source, sources) for source in data.train}
    trained = {source for source in located.values() if source in sources}
    kept: set[str] = set()
    if trained and not data.valid:
        whole = labels.read(tuple(located.values()), problems)
        kept = set(picture_names(split_by_picture(whole, data.valid_fraction, seed=0)[1]))
    selected = []
    for source in sources:
        samples = labels.source(source, problems)
        names = picture_names(samples)
        rows = [i for i, name in enumerate(names) if source not in trained or name in kept]
        if not rows and len(samples):
            raise ValueError(f"data must be samples that were not trained on, got {source}")
        selected.append(Selection([(samples, i) for i in rows], [names[i] for i in rows]))
    return join_samples(selected)


def _located(trained: str, sources: Sequence[str]) -> str:
    """Return which of the sources is the one that was trained on; that itself if none is."""
    if trained in sources:
        return trained
    kind, path = _kind_and_path(trained)
    for source in sources:
        other, elsewhere = _kind_and_path(source)
        if other == kind not in ("synthetic", "expressions"):
            full = elsewhere.resolve()
            if full.parts[-len(path.parts) :] == path.parts or full == path.resolve():
                return source
    return trained


def _kind_and_path(source: str) -> tuple[str, Path]:
    """Return what stands before the colon of a source, and the file or folder that it names."""
    kind, colon, path = source.partition(":")
    return (kind, Path(path).expanduser()) if colon else ("", Path(source).expanduser())
