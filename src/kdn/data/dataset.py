"""The torch dataset: samples in, crops with labels out."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable, Iterator, Sequence

import cv2
import numpy as np
import torch
from jaxtyping import UInt8
from torch import Tensor
from torch.utils.data import Dataset

from kdn.data.augment import (
    Augmentation,
    augment_pixels,
    draw_augmentation,
    occluded,
    varied_crop,
)
from kdn.data.framing import Framing, warp
from kdn.data.labels import Labels
from kdn.data.sample import Sample
from kdn.grid import Affine
from kdn.recipe import AugmentRecipe, DataRecipe

__all__ = ["CropDataset", "init_worker", "read_batches"]

MIB = 2**20


class CropDataset(Dataset[dict[str, Tensor]]):
    """Crops of samples by the rule of `data`, varied at random when `augment` is given.

    What an item is depends on the sample, `seed`, the epoch and its index alone, not on the order
    in which items are asked for nor on how many workers ask. An item holds

    * `image`: `(3, height, width)`, **uint8** RGB; divide by 255 on the device;
    * `target`: `(labels, *event)`, float32, 0 where not valid: points in crop pixels, which may lie
      outside the crop and stay valid then, or scalars in their unit;
    * `valid`: `(labels,)`, bool, True for what counts;
    * `visible`: `(labels,)`, bool, False also for points under an occluder that was put in;
    * `crop_to_image`: `(2, 3)`, float64, the matrix of the map to image pixels;
    * `index`: int64, of the sample.

    A flipped crop has its labels renumbered by `labels.flip`.

    Args:
        samples: What is cropped. A sequence that renders its samples renders each when it is
            asked for; rendered samples and decoded pictures are kept, the latest used longest, up
            to `data.cache_mib` in each process.
        labels: What is learned of a sample.
        data: What crops show, their size, and that of the cache.
        augment: Limits of the variation; None shows each face as it is.
        seed: Seed of the variation.

    Raises:
        ValueError: If there are no samples, or if the seed is negative.
    """

    def __init__(
        self,
        samples: Sequence[Sample],
        *,
        labels: Labels,
        data: DataRecipe,
        augment: AugmentRecipe | None,
        seed: int,
    ) -> None:
        if len(samples) == 0:
            raise ValueError("samples must hold at least one sample")
        if seed < 0:
            raise ValueError(f"seed must be 0 or more, got {seed}")
        self.samples = samples
        self.labels = labels
        self.framing = Framing.of_recipe(data)
        self.augment = augment
        self.seed = seed
        self._flip = np.array(labels.flip)
        self._cache = _Cache(data.cache_mib * MIB)
        # In shared memory, so that workers that outlive an epoch learn of the next one.
        self._epoch = torch.zeros((), dtype=torch.int64).share_memory_()

    def set_epoch(self, epoch: int) -> None:
        """Set the epoch, from 0, that variations are drawn for, in this process and in workers.

        Call it between passes over a loader, not during one.
        """
        if epoch < 0:
            raise ValueError(f"epoch must be 0 or more, got {epoch}")
        self._epoch.fill_(epoch)

    def __len__(self) -> int:
        return len(self.samples)

    def augmentation(self, index: int) -> Augmentation:
        """Return the variation of one sample in the current epoch."""
        if self.augment is None:
            return Augmentation()
        rng = np.random.default_rng((self.seed, int(self._epoch), index))
        return draw_augmentation(self.augment, rng)

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        sample, image = self.load(index)
        values, valid = self.labels.target(sample)
        varied = self.augmentation(index)
        crop, crop_to_image = self.cropped(sample, image, varied)
        target = self.labels.mapped(torch.from_numpy(values), crop_to_image.inverse()).numpy()
        visible = self.labels.visible(sample)
        if varied.flip:
            target, valid, visible = (x[self._flip] for x in (target, valid, visible))
        if self.labels.event:
            size = {"height": self.framing.height, "width": self.framing.width}
            visible = visible & ~occluded(target, varied, **size)
        target = np.where(np.isnan(target), 0.0, target).astype(np.float32)
        return {
            "image": torch.from_numpy(crop).permute(2, 0, 1).contiguous(),
            "target": torch.from_numpy(target),
            "valid": torch.from_numpy(valid.copy()),
            "visible": torch.from_numpy(visible.copy()),
            "crop_to_image": crop_to_image.matrix,
            "index": torch.tensor(index),
        }

    def cropped(
        self,
        sample: Sample,
        image: UInt8[np.ndarray, "height width 3"],
        varied: Augmentation,
    ) -> tuple[UInt8[np.ndarray, "crop_height crop_width 3"], Affine]:
        """Return the crop of a sample under a variation, and its crop → image map.

        Args:
            sample: Whose box is cropped by.
            image: Its picture.
            varied: What is varied.
        """
        size = {"height": self.framing.height, "width": self.framing.width}
        crop_to_image = varied_crop(self.framing, sample.bbox, image.shape[:2], varied)
        crop = warp(image, crop_to_image, **size)
        return (crop if self.augment is None else augment_pixels(crop, varied)), crop_to_image

    def load(self, index: int) -> tuple[Sample, UInt8[np.ndarray, "height width 3"]]:
        """Return a sample and its picture, from the cache if they are there."""
        rendered = self._cache.get(index)
        if rendered is not None:
            return rendered, rendered.image
        sample = self.samples[index]
        if not isinstance(sample.image, np.ndarray):
            image = self._cache.get(sample.image)
            if image is None:
                image = sample.read()
                self._cache.put(sample.image, image, image.nbytes)
            return sample, image
        self._cache.put(index, sample, sample.image.nbytes)
        return sample, sample.image


def init_worker(worker: int) -> None:
    """Keep OpenCV to one thread; give this to a `DataLoader` as its `worker_init_fn`."""
    cv2.setNumThreads(0)


def read_batches(
    dataset: CropDataset, batch: int, problems: list[str] | None
) -> Iterator[tuple[list[Sample], list[dict[str, Tensor]]]]:
    """Yield samples with their items, batch by batch, leaving out what cannot be read.

    Args:
        dataset: Read in order.
        batch: Samples at a time.
        problems: Where to put one line about each sample that is left out; None to let it raise.

    Raises:
        OSError: If a picture cannot be read.
        ValueError: If a sample cannot be used.
    """
    chunk: list[Sample] = []
    items: list[dict[str, Tensor]] = []
    for index in range(len(dataset)):
        try:
            item = dataset[index]
        except (OSError, ValueError) as error:
            if problems is None:
                raise
            problems.append(str(error))
            continue
        chunk.append(dataset.samples[index])
        items.append(item)
        if len(items) == batch:
            yield chunk, items
            chunk, items = [], []
    if items:
        yield chunk, items


class _Cache:
    """What was used last, up to a number of bytes."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._size = 0
        self._held: OrderedDict[Hashable, tuple] = OrderedDict()

    def get(self, key: Hashable):
        """Return what is held under a key, or None."""
        if key not in self._held:
            return None
        self._held.move_to_end(key)
        return self._held[key][0]

    def put(self, key: Hashable, value: object, size: int) -> None:
        """Hold a value of so many bytes, dropping what was not used for longest."""
        if size > self._limit:
            return
        self._held[key] = value, size
        self._size += size
        while self._size > self._limit:
            _, (_, dropped) = self._held.popitem(last=False)
            self._size -= dropped
