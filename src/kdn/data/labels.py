"""What is learned of a sample: points in its picture, or scalars such as an age.

This is the one place that knows landmarks from scalars.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from jaxtyping import Bool, Float, Float64
from torch import Tensor

from kdn.data.formats.sources import load_samples
from kdn.data.markup import Markup, facts_of_markup, markup_named, markup_of_facts
from kdn.data.sample import Sample
from kdn.data.split import Selection, join_samples
from kdn.grid import Affine, Grid
from kdn.recipe import Recipe

__all__ = [
    "Labels",
    "PointLabels",
    "ScalarLabels",
    "labels_of",
    "labels_of_metadata",
    "sample_scalars",
]


class Labels(ABC):
    """What a model learns: how many numbers or points, what they are called, where they are read.

    Attributes:
        kind: `points` or `scalars`.
        names: What the labels are called; points that have no name are called by their number.
        event: Shape of one label: `(2,)` for points, `()` for scalars.
        markup: What the points are; None for scalars.
        axis: Grid over the scalars, in their unit; None for points.
        rounding: Labels are known to within half of this either way; 0 for those that are exact.
    """

    kind: ClassVar[str]
    event: ClassVar[tuple[int, ...]]
    names: tuple[str, ...]
    markup: Any = None
    axis: Any = None
    rounding: float = 0.0

    @property
    def count(self) -> int:
        """How many labels a sample has."""
        return len(self.names)

    @property
    @abstractmethod
    def flip(self) -> tuple[int, ...]:
        """Which label each becomes in a flipped picture."""

    @abstractmethod
    def target(
        self, sample: Sample
    ) -> tuple[Float64[np.ndarray, "labels *event"], Bool[np.ndarray, " labels"]]:
        """Return the labels of a sample, NaN where it has none, and which of them count.

        Points are in image pixels, scalars in their unit.

        Raises:
            ValueError: If the sample has labels of another kind; the message names it.
        """

    @abstractmethod
    def visible(self, sample: Sample) -> Bool[np.ndarray, " labels"]:
        """Return which labels can be seen in the picture; all of them for scalars."""

    @abstractmethod
    def mapped(self, target: Float[Tensor, "*labels"], affine: Affine) -> Float[Tensor, "*labels"]:
        """Return labels in another frame of the picture; scalars are the same in all of them."""

    @abstractmethod
    def source(self, source: str, problems: list[str] | None = None) -> Sequence[Sample]:
        """Return the labelled samples of one source, as `read` does."""

    def read(self, sources: Sequence[str], problems: list[str] | None = None) -> Selection:
        """Return the samples of several sources that have such labels, one after the other.

        Args:
            sources: As `kdn.data.load_samples` takes them.
            problems: Where to put one line about each sample that cannot be used; None to raise.

        Raises:
            FileNotFoundError: If a source is not there.
            ValueError: If one cannot be used, has no such labels or some that are off the axis.
        """
        return join_samples([self.source(source, problems) for source in sources])

    @abstractmethod
    def metadata(self) -> dict[str, Any]:
        """Return what a file stores of the labels, which `labels_of_metadata` reads."""


@dataclass(frozen=True)
class PointLabels(Labels):
    """Landmarks: points in the plane of the picture.

    Args:
        markup: What they are.
    """

    kind = "points"
    event = (2,)
    markup: Markup

    @property
    def names(self) -> tuple[str, ...]:
        """What the landmarks are called, by the mark-up or by their number."""
        return self.markup.names or tuple(map(str, range(self.markup.landmarks)))

    @property
    def flip(self) -> tuple[int, ...]:
        return self.markup.flip

    def target(self, sample: Sample) -> tuple[np.ndarray, np.ndarray]:
        if len(sample.landmarks) != self.markup.landmarks:
            raise ValueError(
                f"{sample.id}: {len(sample.landmarks)} landmarks, but the mark-up "
                f"{self.markup.name} has {self.markup.landmarks}"
            )
        return np.where(sample.valid[:, None], sample.landmarks, np.nan), sample.valid

    def visible(self, sample: Sample) -> np.ndarray:
        return sample.visible

    def mapped(self, target: Tensor, affine: Affine) -> Tensor:
        return affine.points(target)

    def source(self, source: str, problems: list[str] | None = None) -> Sequence[Sample]:
        return load_samples(source, self.markup, problems=problems)

    def metadata(self) -> dict[str, Any]:
        return {"kind": self.kind, **facts_of_markup(self.markup)}


@dataclass(frozen=True)
class ScalarLabels(Labels):
    """Numbers on a line, such as an age or the intensities of facial actions.

    Args:
        names: Attributes of the samples.
        axis: Their grid, in the label's unit.
        rounding: What they were rounded to, in their unit; 0 for exact ones.
    """

    kind = "scalars"
    event = ()
    names: tuple[str, ...]
    axis: Grid
    rounding: float = 0.0

    @property
    def flip(self) -> tuple[int, ...]:
        return tuple(range(self.count))

    def target(self, sample: Sample) -> tuple[np.ndarray, np.ndarray]:
        values = sample_scalars(sample, self.names)
        return values, np.isfinite(values)

    def visible(self, sample: Sample) -> np.ndarray:
        return np.ones(self.count, dtype=bool)

    def mapped(self, target: Tensor, affine: Affine) -> Tensor:
        return target

    def source(self, source: str, problems: list[str] | None = None) -> Sequence[Sample]:
        samples = load_samples(source, None, problems=problems)
        if not isinstance(samples, list):  # one that draws its samples: each has the same labels
            self._labelled(samples[:1], None)
            return samples
        kept = self._labelled(samples, problems)
        self._require_on_axis(source, kept)
        return kept

    def metadata(self) -> dict[str, Any]:
        low, high = self._ends()
        axis = [low, high, self.axis.spacing[0]]
        return {
            "kind": self.kind,
            "names": list(self.names),
            "axis": axis,
            "rounding": self.rounding,
        }

    def _ends(self) -> tuple[float, float]:
        """Return the centres of the first and the last cell of the axis."""
        low, step = self.axis.origin[0], self.axis.spacing[0]
        return low, low + step * (self.axis.numel - 1)

    def _labelled(self, samples: Sequence[Sample], problems: list[str] | None) -> list[Sample]:
        """Return the samples that have at least one of the labels."""
        kept = []
        for sample in samples:
            try:
                if self.target(sample)[1].any():
                    kept.append(sample)
            except ValueError as error:
                if problems is None:
                    raise
                problems.append(str(error))
        if not kept and len(samples):
            known = dict.fromkeys(name for sample in samples for name in sample.attributes)
            raise ValueError(
                f"labels.names {', '.join(self.names)}: no sample of "
                f"{samples[0].id.split('/')[0]} has such an attribute; there is "
                f"{', '.join(known) or 'none at all'}"
            )
        return kept

    def _require_on_axis(self, source: str, samples: Sequence[Sample]) -> None:
        """Raise if a label lies off the axis, beyond the edge of an outer cell."""
        (low,), (high,) = self.axis.low, self.axis.high
        first, last = self._ends()
        for position, name in enumerate(self.names):
            values = np.array([self.target(sample)[0][position] for sample in samples])
            off = np.flatnonzero((values < low) | (values > high))
            if len(off):
                worst = off[np.argmax(np.abs(values[off] - 0.5 * (low + high)))]
                raise ValueError(
                    f"{source}: {len(off)} of {len(samples)} labels of {name} lie off the axis of "
                    f"labels.low {first:g} to labels.high {last:g}, such as {values[worst]:g} of "
                    f"{samples[worst].id}"
                )


def sample_scalars(sample: Sample, names: Sequence[str]) -> Float64[np.ndarray, " labels"]:
    """Return the named attributes of a sample as numbers, NaN where it has none.

    Args:
        sample: Whose attributes.
        names: Which of them; flags count as 0 and 1.

    Raises:
        ValueError: If one is text; the message names the sample.

    Example:
        >>> face = Sample("a", "a.jpg", np.zeros((0, 2)), (0, 0, 9, 9), np.zeros(0, bool),
        ...               np.zeros(0, bool), attributes={"age": 31.0})
        >>> sample_scalars(face, ["age", "weight"]).tolist()
        [31.0, nan]
    """
    values = np.full(len(names), np.nan)
    for position, name in enumerate(names):
        value = sample.attributes.get(name)
        if isinstance(value, str):
            raise ValueError(f"{sample.id}: {name} must be a number, got {value!r}")
        if value is not None and np.isfinite(value):
            values[position] = float(value)
    return values


def labels_of(recipe: Recipe, markup: Markup | None = None) -> Labels:
    """Return what a recipe learns: scalars where it names some, landmarks otherwise.

    Args:
        recipe: Names the scalars or the mark-up.
        markup: What the landmarks are; None for the one that the recipe names.
    """
    scalars = recipe.labels
    if not scalars.names:
        return PointLabels(markup or markup_named(recipe.data.markup))
    axis = Grid.of_interval(scalars.low, scalars.high, step=scalars.step)
    return ScalarLabels(tuple(scalars.names), axis, scalars.rounding)


def labels_of_metadata(metadata: Mapping[str, Any]) -> Labels:
    """Return the labels that a checkpoint or a file of predictions was made with.

    Args:
        metadata: What `Labels.metadata` gave. Of files before 0.1, `values` are the names.

    Raises:
        KeyError: If scalars have no axis.
        ValueError: If neither scalars nor a mark-up are named.
    """
    names = metadata.get("names") or metadata.get("values")
    if not names:
        return PointLabels(markup_of_facts(metadata))
    low, high, step = metadata["axis"]
    axis = Grid.of_interval(low, high, step=step)
    return ScalarLabels(tuple(names), axis, metadata.get("rounding", 0.0))
