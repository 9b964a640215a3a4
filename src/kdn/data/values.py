"""Values of samples, such as an age: their attributes as numbers, and crops that go with them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Bool, Float64
from torch import Tensor

from kdn.data.dataset import CropDataset
from kdn.data.markup import Markup
from kdn.data.sample import Sample
from kdn.recipe import AugmentRecipe, DataRecipe, LabelsRecipe

__all__ = ["ValueDataset", "require_on_axis", "sample_values", "with_values"]

_NONE = Markup("none", landmarks=0, flip=())


def sample_values(
    sample: Sample, names: Sequence[str]
) -> tuple[Float64[np.ndarray, " values"], Bool[np.ndarray, " values"]]:
    """Return the named attributes of a sample as numbers, and which of them it has.

    Args:
        sample: Whose attributes.
        names: Which of them; flags count as 0 and 1.

    Returns:
        The values, NaN where the sample says nothing, and a mask of those that it has.

    Raises:
        ValueError: If one is text; the message names the sample.

    Example:
        >>> face = Sample("a", "a.jpg", np.zeros((0, 2)), (0, 0, 9, 9), np.zeros(0, bool),
        ...               np.zeros(0, bool), attributes={"age": 31.0})
        >>> values, valid = sample_values(face, ["age", "weight"])
        >>> values.tolist(), valid.tolist()
        ([31.0, nan], [True, False])
    """
    values = np.full(len(names), np.nan)
    for position, name in enumerate(names):
        value = sample.attributes.get(name)
        if isinstance(value, str):
            raise ValueError(f"{sample.id}: {name} must be a number, got {value!r}")
        if value is not None and np.isfinite(value):
            values[position] = float(value)
    return values, np.isfinite(values)


def with_values(
    samples: Sequence[Sample], names: Sequence[str], problems: list[str] | None
) -> Sequence[Sample]:
    """Return the samples of a source that have at least one of the named values.

    A sequence that renders its samples is returned as it is, if its first sample has one.

    Args:
        samples: Of one source.
        names: The values.
        problems: Where to put one line about each sample whose value is no number; None to raise.

    Raises:
        ValueError: If no sample has any of them; the message lists what attributes there are.
    """
    rendered = not isinstance(samples, list)
    looked = [samples[0]] if rendered and len(samples) else samples
    kept, known = [], dict.fromkeys(name for sample in looked for name in sample.attributes)
    for sample in looked:
        try:
            _, valid = sample_values(sample, names)
        except ValueError as error:
            if problems is None:
                raise
            problems.append(str(error))
            continue
        if valid.any():
            kept.append(sample)
    if not kept and len(looked):
        there = ", ".join(known) or "none at all"
        raise ValueError(
            f"labels.names {', '.join(names)}: no sample of {looked[0].id.split('/')[0]} has such "
            f"an attribute; there is {there}"
        )
    return samples if rendered else kept


def require_on_axis(source: str, samples: Sequence[Sample], labels: LabelsRecipe) -> None:
    """Raise if a label lies off the axis that a recipe says, beyond the edge of an outer cell.

    What a sequence renders is not looked at.

    Args:
        source: Where the samples are from, for the message.
        samples: Of that source.
        labels: The values and their axis.

    Raises:
        ValueError: If there are such labels; the message counts them and names one.
    """
    if not isinstance(samples, list):
        return
    low, high = labels.low - 0.5 * labels.step, labels.high + 0.5 * labels.step
    for position, name in enumerate(labels.names):
        values = np.array([sample_values(s, labels.names)[0][position] for s in samples])
        off = np.flatnonzero((values < low) | (values > high))
        if len(off):
            first = off[np.argmax(np.abs(values[off] - 0.5 * (low + high)))]
            raise ValueError(
                f"{source}: {len(off)} of {len(samples)} labels of {name} lie off the axis of "
                f"labels.low {labels.low:g} to labels.high {labels.high:g}, such as "
                f"{values[first]:g} of {samples[first].id}"
            )


class ValueDataset(CropDataset):
    """Crops of samples with their values: a `CropDataset` for labels that are no landmarks.

    An item holds

    * `image`: `(3, height, width)`, **uint8** RGB;
    * `values`: `(values,)`, float32, in the label's unit, 0 where not valid;
    * `valid`: `(values,)`, bool, True for what counts;
    * `index`: int64, of the sample.

    Args:
        samples: What is cropped, as for `CropDataset`; landmarks are not looked at.
        labels: Which attributes are the values.
        data: Size of the crop and of the cache.
        augment: Limits of the variation; None shows each picture as it is.
        seed: Seed of the variation.

    Raises:
        ValueError: If there are no samples, or if the seed is negative.
    """

    def __init__(
        self,
        samples: Sequence[Sample],
        *,
        labels: LabelsRecipe,
        data: DataRecipe,
        augment: AugmentRecipe | None,
        seed: int,
    ) -> None:
        super().__init__(samples, markup=_NONE, data=data, augment=augment, seed=seed)
        self.names = tuple(labels.names)

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        sample, image = self.load(index)
        crop, _ = self.cropped(sample, image, self.augmentation(index))
        values, valid = sample_values(sample, self.names)
        return {
            "image": torch.from_numpy(crop).permute(2, 0, 1).contiguous(),
            "values": torch.from_numpy(np.where(valid, values, 0.0).astype(np.float32)),
            "valid": torch.from_numpy(valid),
            "index": torch.tensor(index),
        }
