"""Several looks at one face: other crops, the mirror image, other models; and one density."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import UInt8

from kdn.data import Framing, warp
from kdn.density import GaussianDensity, MappedDensity, log_pool, mixture
from kdn.grid import Affine
from kdn.models.heads import turned_back
from kdn.models.model import Model
from kdn.predict.face import Box
from kdn.recipe import DataRecipe

__all__ = ["COMBINATIONS", "Look", "Looks", "View", "densities_of_views", "views_of"]

COMBINATIONS = {"mixture": mixture, "product": log_pool}
"""How densities of several looks become one."""


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

    def crop_to_image(
        self, bbox: Box, data: DataRecipe, picture: tuple[int, int] | None = None
    ) -> Affine:
        """Return the crop → image map of a box; the usual one is `kdn.data.Framing`'s.

        Args:
            bbox: Image pixels.
            data: Of the model's recipe.
            picture: Height and width of the picture; needed where crops are whole pictures.
        """
        framing = Framing.of_recipe(data)
        shift = (self.right, self.down)
        return framing.crop_to_image(bbox, picture, scale=self.scale, shift=shift)


def views_of(views: Sequence[float | Sequence[float] | View]) -> tuple[View, ...]:
    """Return views from scales, or triples of scale, right and down.

    Raises:
        ValueError: If there is none, or one is none of these.

    Example:
        >>> views_of([1, (0.9, 0.0, 0.05)])
        (View(scale=1.0, right=0.0, down=0.0), View(scale=0.9, right=0.0, down=0.05))
    """
    found = []
    for view in views:
        if isinstance(view, View):
            found.append(view)
            continue
        numbers = (view,) if isinstance(view, (int, float)) else tuple(view)
        if not 1 <= len(numbers) <= 3:
            raise ValueError(f"views must be scales or (scale, right, down), got {view!r}")
        found.append(View(*(float(number) for number in numbers)))
    if not found:
        raise ValueError("views must hold at least one, got none")
    return tuple(found)


class Look(NamedTuple):
    """What one look says, in image pixels, batch shape `(faces, landmarks)`.

    Attributes:
        density: Recalibrated where the model is.
        before: As the model's head gives it, from which points are decoded.
    """

    density: MappedDensity
    before: MappedDensity


def densities_of_views(
    models: Sequence[Model],
    pictures: Sequence[UInt8[np.ndarray, "_ _ 3"]],
    boxes: Sequence[Box],
    views: Sequence[View],
    *,
    mirror: Sequence[bool],
    apart: bool,
) -> list[Look]:
    """Return the densities of each look.

    Args:
        models: With one mark-up.
        pictures: The picture of each face, RGB.
        boxes: Of each face, image px.
        views: Crops of each face, for every model.
        mirror: For each model, whether the mirrored crops are looked at too.
        apart: Whether their densities come by themselves, turned back, rather than averaged with
            those of the crops.
    """
    found = []
    for model, both in zip(models, mirror, strict=True):
        data, device = model.recipe.data, model.mean.device
        size = {"height": data.height, "width": data.width}
        for view in views:
            maps = [
                view.crop_to_image(box, data, picture.shape[:2])
                for box, picture in zip(boxes, pictures, strict=True)
            ]
            crops = [warp(p, a, **size) for p, a in zip(pictures, maps, strict=True)]
            stacked = torch.from_numpy(np.stack(crops)).permute(0, 3, 1, 2).contiguous().to(device)
            crop_to_image = Affine(
                torch.stack([one.linear for one in maps]), torch.stack([one.offset for one in maps])
            ).to(device)
            averaged = both and not apart
            looks: list[Any] = [model.density(stacked, flip=averaged, adjusted=False)]
            if both and apart:
                mirrored = model.density(stacked.flip(-1), adjusted=False)
                if isinstance(mirrored, GaussianDensity):
                    raise ValueError("mirror must be False for densities without a map, got True")
                looks.append(turned_back(mirrored, model.labels.flip))
            recalibration = model.recalibration(averaged)
            for before in looks:
                density = recalibration.adjusted(before).mapped(crop_to_image)
                same = recalibration.adjustment is None
                found.append(Look(density, density if same else before.mapped(crop_to_image)))
    return found


class Looks:
    """The looks that a landmarker takes at each face.

    Args:
        models: With one mark-up.
        views: Crops of each face, for every model.
        combine: One of `COMBINATIONS`.
        mirror: Whether mirrored crops are looked at too; None where a model's head can.

    Raises:
        ValueError: If there is no such combination, or the models' mark-ups differ.
    """

    def __init__(
        self,
        models: Sequence[Model],
        views: Sequence[View],
        combine: str,
        mirror: bool | None,
    ) -> None:
        if combine not in COMBINATIONS:
            raise ValueError(f"combine must be one of {', '.join(COMBINATIONS)}, got {combine!r}")
        names = [model.labels.markup.name for model in models]
        if len(set(names)) > 1:
            raise ValueError(f"model must be of one mark-up, got {', '.join(names)}")
        rules = dict.fromkeys(model.recipe.data.crop for model in models)
        if len(rules) > 1 and "picture" in rules:
            raise ValueError(f"model must have one data.crop, got {', '.join(rules)}")
        self.models, self.views, self.combine = tuple(models), tuple(views), combine
        self.mirror = [model.can_flip if mirror is None else mirror for model in models]

    @property
    def single(self) -> bool:
        """Whether one crop by one model, with its mirror image averaged, is all there is."""
        usual = self.views == (View(),) and len(self.models) == 1
        return usual and (self.combine == "mixture" or not self.mirror[0])

    def densities(
        self, pictures: Sequence[UInt8[np.ndarray, "_ _ 3"]], boxes: Sequence[Box]
    ) -> list[Look]:
        """Return the densities of each look at some faces, as `densities_of_views` does."""
        apart = self.combine == "product"
        return densities_of_views(
            self.models, pictures, boxes, self.views, mirror=self.mirror, apart=apart
        )

    def combined(self, looks: Sequence[Look], face: int) -> tuple[Any, Any]:
        """Return the densities of one face, `(landmarks,)`, and those that points are decoded from.

        The latter are not recalibrated.
        """
        combine = COMBINATIONS[self.combine]
        density = combine([look.density[face] for look in looks])
        if all(look.before is look.density for look in looks):
            return density, density
        return density, combine([look.before[face] for look in looks])
