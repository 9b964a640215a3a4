"""A model of values: pictures in, a density over an axis out for each, such as an age."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from kdn.density import KernelDensity, LaplaceDensity
from kdn.models.heads import Head, build_head
from kdn.models.picture_model import PictureModel, build_network, stride_of
from kdn.recipe import Recipe

__all__ = ["ValueModel", "build_value_model"]


class ValueModel(PictureModel):
    """Crops in, a density per value out.

    Args:
        recipe: What it was built from; its `labels` say what the values are.
        network: Gives a list of one vector.
        head: Turns it into densities.
    """

    def __init__(self, *, recipe: Recipe, network: nn.Module, head: Head):
        super().__init__(recipe=recipe, network=network, head=head)

    @property
    def names(self) -> tuple[str, ...]:
        """What the values are called."""
        return tuple(self.recipe.labels.names)

    def density(self, crops: Tensor) -> KernelDensity | LaplaceDensity:
        """Return every value's density, batch shape `(batch, values)`, in the label's unit.

        Args:
            crops: As for `forward`.
        """
        return self.head.density(self(crops)[-1])


def build_value_model(recipe: Recipe) -> ValueModel:
    """Return a model of values with fresh weights drawn from torch's global generator.

    Args:
        recipe: What it is built from.

    Raises:
        ValueError: If the recipe names no values, if the head and the network do not fit, or if
            the crop is no multiple of the stride.

    Example:
        >>> recipe = Recipe.of_dict({
        ...     "data": {"height": 32, "width": 48},
        ...     "labels": {"names": ["age"], "high": 116},
        ...     "network": {"name": "conv", "features": 8},
        ... })
        >>> model = build_value_model(recipe).eval()
        >>> model.density(torch.zeros(2, 3, 32, 48)).batch_shape
        torch.Size([2, 1])
    """
    if not recipe.labels.names:
        raise ValueError("labels.names must name at least one value, got none")
    if recipe.network.name == "fan":
        raise ValueError(
            "network.name fan gives maps, but labels.names need a vector; use conv, resnet18 or "
            "resnet50"
        )
    stride_of(recipe)
    head = build_head(recipe.head, labels=recipe.labels)
    network = build_network(recipe.network, channels=head.channels)
    model = ValueModel(recipe=recipe, network=network, head=head)
    return model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
