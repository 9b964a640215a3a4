"""Several looks at one object: other crops, the flipped crop, other models; and one density."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import UInt8

from kdn.data import Framing, warp
from kdn.data.sample import Box
from kdn.density import Density, log_pool, mixture
from kdn.grid import Affine
from kdn.models.heads import turned_back
from kdn.models.model import Model
from kdn.models.recalibration import Recalibration

__all__ = ["COMBINATIONS", "Look", "Looks", "View", "crops_of", "maps_of", "views_of"]

COMBINATIONS = {"mixture": mixture, "product": log_pool}
"""How densities of several looks become one."""

Picture = UInt8[np.ndarray, "_ _ 3"]


@dataclass(frozen=True)
class View:
    """One crop of a face, or of whatever else the model is for.

    Args:
        scale: Side of what is shown, as a share of the usual one.
        right: How far that is moved to the right, as a share of its usual shorter side.
        down: How far it is moved down, likewise.

    Raises:
        ValueError: If the scale is not positive.
    """

    scale: float = 1.0
    right: float = 0.0
    down: float = 0.0

    def __post_init__(self) -> None:
        if not self.scale > 0:
            raise ValueError(f"views must have scales above 0, got {self.scale}")


def views_of(views: Sequence[float | Sequence[float] | View]) -> tuple[View, ...]:
    """Return views from scales, or triples of scale, right and down.

    Raises:
        ValueError: If there is none, or one is none of these.

    Example:
        >>> views_of([1, (0.9, 0.0, 0.05)])
        (View(scale=1.0, right=0.0, down=0.0), View(scale=0.9, right=0.0, down=0.05))
    """
    result = []
    for view in views:
        if isinstance(view, View):
            result.append(view)
            continue
        numbers = (view,) if isinstance(view, (int, float)) else tuple(view)
        if not 1 <= len(numbers) <= 3:
            raise ValueError(f"views must be scales or (scale, right, down), got {view!r}")
        result.append(View(*(float(number) for number in numbers)))
    if not result:
        raise ValueError("views must hold at least one, got none")
    return tuple(result)


class Look(NamedTuple):
    """The densities of some objects, batch shape `(objects, labels)`.

    Points are in image pixels, scalars in their unit.

    Attributes:
        density: Recalibrated where the model is.
        before: As the model's head gives it, from which points are decoded.
    """

    density: Density
    before: Density


class Looks:
    """The looks that a predictor takes at each object: every model in every view.

    Args:
        models: Of the same labels.
        views: Crops of each object, for every model.
        combine: One of `COMBINATIONS`. With `mixture` the density of a crop is averaged with that
            of the flipped crop, with `product` these are two looks.
        flip: Whether flipped crops are looked at too; None where a model's head can.

    Raises:
        ValueError: If there is no such combination, the models' labels or crops differ, or a
            head's densities cannot be flipped.
    """

    def __init__(
        self, models: Sequence[Model], views: Sequence[View], combine: str, flip: bool | None
    ) -> None:
        if combine not in COMBINATIONS:
            raise ValueError(f"combine must be one of {', '.join(COMBINATIONS)}, got {combine!r}")
        kinds = [
            model.labels.markup.name if model.labels.markup else model.labels.names
            for model in models
        ]
        if len(set(kinds)) > 1:
            raise ValueError(f"model must be of one mark-up, got {', '.join(map(str, kinds))}")
        rules = dict.fromkeys(model.recipe.data.crop for model in models)
        if len(rules) > 1 and "picture" in rules:
            raise ValueError(f"model must have one data.crop, got {', '.join(rules)}")
        for model in models:
            if flip and not model.can_flip:
                raise ValueError(f"flip must be False for the head {model.recipe.head.name}")
        self.models, self.views, self.combine = tuple(models), tuple(views), combine
        self.flips = [model.can_flip if flip is None else flip for model in models]

    @property
    def recalibration(self) -> Recalibration:
        """Levels of the density: those of the only look; of several none are fitted."""
        averaged = self.combine == "mixture"
        if len(self.models) == len(self.views) == 1 and (averaged or not self.flips[0]):
            return self.models[0].recalibration(self.flips[0])
        return Recalibration()

    def __call__(self, pictures: Sequence[Picture], boxes: Sequence[Box]) -> Look:
        """Return the densities of some objects, all looks combined.

        Args:
            pictures: The picture of each object, RGB.
            boxes: Of each object, image pixels.
        """
        with torch.no_grad():
            looks = list(self.apart(pictures, boxes))
            density = self._combined([look.density for look in looks])
            if all(look.before is look.density for look in looks):
                return Look(density, density)
            return Look(density, self._combined([look.before for look in looks]))

    def _combined(self, densities: Sequence[Density]) -> Density:
        return densities[0] if len(densities) == 1 else COMBINATIONS[self.combine](densities)

    def apart(self, pictures: Sequence[Picture], boxes: Sequence[Box]) -> Iterator[Look]:
        """Yield the densities of each look: by model, by view, the crop before the flipped crop."""
        for model, flip in zip(self.models, self.flips, strict=True):
            averaged = flip and self.combine == "mixture"
            recalibration = model.recalibration(averaged)
            for view in self.views:
                maps = maps_of(model, pictures, boxes, view)
                crops = crops_of(model, pictures, maps)
                densities = [model.density(crops, flip=averaged, adjusted=False)]
                if flip and not averaged:
                    flipped = model.density(crops.flip(-1), adjusted=False)
                    densities.append(turned_back(flipped, model.labels.flip))
                for before in densities:
                    density = recalibration.adjusted(before)
                    if model.labels.event:
                        moved = before.mapped(maps)
                        same = density is before
                        yield Look(moved if same else density.mapped(maps), moved)
                    else:
                        yield Look(density, before)


def maps_of(model: Model, pictures: Sequence[Picture], boxes: Sequence[Box], view: View) -> Affine:
    """Return the crop → image maps of some objects, on the model's device."""
    framing = Framing.of_recipe(model.recipe.data)
    how = {"scale": view.scale, "shift": (view.right, view.down)}
    maps = [
        framing.crop_to_image(box, picture.shape[:2], **how)
        for box, picture in zip(boxes, pictures, strict=True)
    ]
    linear = torch.stack([one.linear for one in maps])
    return Affine(linear, torch.stack([one.offset for one in maps])).to(model.mean.device)


def crops_of(model: Model, pictures: Sequence[Picture], maps: Affine) -> torch.Tensor:
    """Return crops as the network takes them, `(objects, 3, height, width)`.

    Args:
        model: Whose.
        pictures: The picture of each object, RGB.
        maps: Crop → image.
    """
    data = model.recipe.data
    crops = [
        warp(picture, Affine.of_matrix(matrix), height=data.height, width=data.width)
        for picture, matrix in zip(pictures, maps.matrix.cpu(), strict=True)
    ]
    stacked = torch.from_numpy(np.stack(crops)).permute(0, 3, 1, 2).contiguous()
    return stacked.to(model.mean.device)
