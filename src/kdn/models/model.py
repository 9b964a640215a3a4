"""A model: a network and a head put together as a recipe says."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from safetensors.torch import load_file
from torch import Tensor, nn

from kdn.data import Labels, labels_of
from kdn.grid import Grid
from kdn.models.heads import Head, build_head, flip_average
from kdn.models.networks import Network
from kdn.models.recalibration import Recalibration
from kdn.models.registry import class_named, settings_of
from kdn.recipe import Recipe

__all__ = ["Model", "build_model", "load_initial_weights"]

_MEAN = (0.485, 0.456, 0.406)
_DEVIATION = (0.229, 0.224, 0.225)


class Model(nn.Module):
    """Crops in, a density per label out.

    Args:
        recipe: What it was built from.
        network: Gives a list of outputs, one per stack.
        head: Turns one of them into densities.
        labels: What is learned.

    Attributes:
        recalibrations: What `kdn calibrate` fitted, for densities averaged with those of the
            flipped crop (True) and others (False); empty before.
    """

    mean: Tensor
    deviation: Tensor

    def __init__(self, *, recipe: Recipe, network: nn.Module, head: Head, labels: Labels):
        super().__init__()
        self.recipe = recipe
        self.network = network
        self.head = head
        self.labels = labels
        self.recalibrations: dict[bool, Recalibration] = {}
        self.register_buffer("mean", torch.tensor(_MEAN).view(3, 1, 1), persistent=False)
        self.register_buffer("deviation", torch.tensor(_DEVIATION).view(3, 1, 1), persistent=False)

    def forward(self, crops: Tensor) -> list[Float[Tensor, "batch ..."]]:
        """Return the network's outputs, one per stack, the last one last.

        Args:
            crops: RGB, `(batch, 3, height, width)`: `uint8`, or floating point in [0, 1].
        """
        images = crops.to(self.mean) / 255 if crops.dtype == torch.uint8 else crops
        images = (images - self.mean) / self.deviation
        return self.network(images.contiguous(memory_format=torch.channels_last))

    def density(self, crops: Tensor, *, flip: bool = False, adjusted: bool = True) -> Any:
        """Return every label's density, batch shape `(batch, labels)`.

        Points are in crop pixels, scalars in their unit. It is adjusted where the model has been
        recalibrated. Points are decoded from the density that is not: what is known of a label is
        mended, not where it is predicted.

        Args:
            crops: As for `forward`.
            flip: Average with the density of the flipped crops, turned back.
            adjusted: False for the density as the head gives it.

        Raises:
            ValueError: If `flip` is set and the head's densities cannot be averaged: those of a
                vector, or with kernels that differ from cell to cell.
        """
        outputs = self(crops)[-1]
        density = self.density_of(outputs, self(crops.flip(-1))[-1] if flip else None)
        return self.recalibration(flip).adjusted(density) if adjusted else density

    def density_of(
        self,
        outputs: Float[Tensor, "batch ..."],
        flipped: Float[Tensor, "batch ..."] | None = None,
    ) -> Any:
        """Return the densities of the network's last outputs, not recalibrated.

        Args:
            outputs: Of crops.
            flipped: Of the flipped crops, whose densities are averaged in.

        Raises:
            ValueError: As `density`.
        """
        if self.labels.axis is not None:  # on a line small masses are asked for
            outputs, flipped = outputs.double(), None if flipped is None else flipped.double()
        density = self.head.density(outputs)
        if flipped is None:
            return density
        if not self.can_flip:
            raise ValueError(f"flip must be False for the head {self.recipe.head.name}, got True")
        return flip_average(density, self.head.density(flipped), self.labels.flip)

    @property
    def can_flip(self) -> bool:
        """Whether the head's densities can be averaged with those of the flipped crop."""
        return self.head.flips

    def recalibration(self, flip: bool) -> Recalibration:
        """Return the recalibration that goes with such densities; one that changes nothing if none.

        Args:
            flip: Whether they are averaged with those of the flipped crop.
        """
        return self.recalibrations.get(flip, Recalibration())

    def decode(self, density: Any, decoder: str = "default") -> Float[Tensor, "..."]:
        """Return one point or number per label of a density, as `Head.decode` does."""
        return self.head.decode(density, decoder)


def build_model(recipe: Recipe, labels: Labels | None = None) -> Model:
    """Return a model with fresh weights drawn from torch's global generator.

    Args:
        recipe: What it is built from.
        labels: What is learned; None for what the recipe names.

    Raises:
        ValueError: If the head, the network and the labels do not fit, or the crop is no multiple
            of the stride.

    Example:
        >>> recipe = Recipe.of_dict({
        ...     "data": {"height": 32, "width": 48},
        ...     "labels": {"names": ["age"], "high": 116},
        ...     "network": {"name": "conv", "features": 8},
        ... })
        >>> model = build_model(recipe).eval()
        >>> model.density(torch.zeros(2, 3, 32, 48)).batch_shape
        torch.Size([2, 1])
    """
    labels = labels or labels_of(recipe)
    cls = class_named(recipe.network.name, Network, "network.name")
    settings = settings_of(cls, recipe.network, field="network")
    stride = cls.stride_of(**settings)
    cells = _cells(recipe, stride)
    head = build_head(recipe.head, labels, cells if labels.axis is None else labels.axis)
    if head.takes_maps != cls.gives_maps:
        others = (
            name
            for name, other in sorted(Network.registry.items())
            if other.gives_maps == head.takes_maps
        )
        raise ValueError(
            f"network.name {recipe.network.name} gives {_outputs(cls.gives_maps)}, but head.name "
            f"{recipe.head.name} of {labels.kind} takes {_outputs(head.takes_maps)}; use "
            f"{' or '.join(others)}"
        )
    network = cls(head.channels, **settings)
    model = Model(recipe=recipe, network=network, head=head, labels=labels)
    return model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]


def _outputs(maps: bool) -> str:
    return "maps" if maps else "a vector"


def _cells(recipe: Recipe, stride: int) -> Grid:
    """Return the grid of a network's maps over the crop, in crop pixels."""
    height, width = recipe.data.height, recipe.data.width
    if height % stride or width % stride:
        raise ValueError(
            f"data.height and data.width must be multiples of {stride} for {recipe.network.name}, "
            f"got {height} and {width}"
        )
    return Grid.of_heatmap(height=height // stride, width=width // stride, stride=stride)


def load_initial_weights(model: Model, path: Path) -> tuple[int, int]:
    """Copy into the network the tensors of a safetensors file whose name and shape fit.

    Returns:
        How many tensors were taken, and how many the network has.

    Raises:
        ValueError: If none fits; the message names the file.
    """
    try:
        stored = load_file(path)
    except Exception as error:  # safetensors raises its own type, a missing file another
        raise ValueError(f"{path}: cannot be read as safetensors ({error})") from error
    state = model.network.state_dict()
    stored = {name.removeprefix("network."): tensor for name, tensor in stored.items()}
    fitting = {n: t for n, t in stored.items() if n in state and state[n].shape == t.shape}
    if not fitting:
        raise ValueError(f"{path}: no tensor fits the network by name and shape")
    model.network.load_state_dict(fitting, strict=False)
    return len(fitting), len(state)
