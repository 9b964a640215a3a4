"""A landmark model: a network and a head put together as a recipe says."""

from __future__ import annotations

from pathlib import Path

import torch
from jaxtyping import Float
from safetensors.torch import load_file
from torch import Tensor, nn

from kdn.data.markup import Markup, markup_named
from kdn.density import GaussianDensity, KernelDensity
from kdn.models.heads import Head, build_head, mirror_average
from kdn.models.picture_model import PictureModel, build_network, stride_of
from kdn.models.recalibration import Recalibration
from kdn.recipe import Recipe

__all__ = ["LandmarkModel", "build_model", "load_initial_weights"]


class LandmarkModel(PictureModel):
    """Crops in, a density per landmark out.

    Args:
        recipe: What it was built from.
        network: Gives a list of outputs, one per stack.
        head: Turns one of them into densities.
        markup: What the landmarks are.

    Attributes:
        recalibrations: What `kdn calibrate` found, for densities averaged with those of the
            mirrored crop (True) and others (False); empty before.
    """

    def __init__(self, *, recipe: Recipe, network: nn.Module, head: Head, markup: Markup):
        super().__init__(recipe=recipe, network=network, head=head)
        self.markup = markup
        self.recalibrations: dict[bool, Recalibration] = {}

    def density(
        self, crops: Tensor, *, mirror: bool = False, adjusted: bool = True
    ) -> KernelDensity | GaussianDensity:
        """Return every landmark's density, batch shape `(batch, landmarks)`, in crop pixels.

        It is adjusted where the model has been recalibrated. Points are decoded from the density
        that is not: what is known of a landmark is mended, not where it is said to be.

        Args:
            crops: As for `forward`.
            mirror: Average with the density of the mirrored crops, turned back.
            adjusted: False for the density as the head gives it.

        Raises:
            ValueError: If `mirror` is set and the head's densities cannot be averaged: those of a
                vector, or with kernels that differ from cell to cell.
        """
        outputs = self(crops)[-1]
        density = self.density_of(outputs, self(crops.flip(-1))[-1] if mirror else None)
        return self.recalibration(mirror).adjusted(density) if adjusted else density

    def density_of(
        self,
        outputs: Float[Tensor, "batch ..."],
        mirrored: Float[Tensor, "batch ..."] | None = None,
    ) -> KernelDensity | GaussianDensity:
        """Return the densities of the network's last outputs, not recalibrated.

        Args:
            outputs: Of crops.
            mirrored: Of the mirrored crops, whose densities are averaged in.

        Raises:
            ValueError: As `density`.
        """
        density = self.head.density(outputs)
        if mirrored is None:
            return density
        other = self.head.density(mirrored)
        if isinstance(density, GaussianDensity) or isinstance(other, GaussianDensity):
            raise ValueError(f"mirror must be False for the head {self.recipe.head.name}, got True")
        return mirror_average(density, other, self.markup.flip)

    @property
    def can_mirror(self) -> bool:
        """Whether the head's densities can be averaged with those of the mirrored crop."""
        return self.recipe.head.name in ("kdn_gaussian", "kdn_uniform", "softlabel")

    def recalibration(self, mirror: bool) -> Recalibration:
        """Return the recalibration that goes with such densities; one that changes nothing if none.

        Args:
            mirror: Whether they are averaged with those of the mirrored crop.
        """
        return self.recalibrations.get(mirror, Recalibration())


def build_model(recipe: Recipe, markup: Markup | None = None) -> LandmarkModel:
    """Return a model with fresh weights drawn from torch's global generator.

    Args:
        recipe: What it is built from.
        markup: What the landmarks are; None for the one that the recipe names.

    Raises:
        ValueError: If the head and the network do not fit, or the crop is no multiple of the
            stride.
    """
    markup = markup or markup_named(recipe.data.markup)
    height, width = recipe.data.height, recipe.data.width
    fan = recipe.network.name == "fan"
    stride = stride_of(recipe)
    head = build_head(
        recipe.head, landmarks=markup.landmarks, stride=stride, height=height, width=width
    )
    if head.takes_maps != fan:
        raise ValueError(
            f"head.name {recipe.head.name} takes {'maps' if head.takes_maps else 'a vector'}, "
            f"but network.name {recipe.network.name} gives {'maps' if fan else 'a vector'}; "
            f"use {'fan' if head.takes_maps else 'resnet18, resnet50 or conv'}"
        )
    network = build_network(recipe.network, channels=head.channels)
    model = LandmarkModel(recipe=recipe, network=network, head=head, markup=markup)
    return model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]


def load_initial_weights(model: PictureModel, path: Path) -> tuple[int, int]:
    """Copy into the network the tensors of a safetensors file whose name and shape fit.

    Returns:
        How many tensors were taken, and how many the network has.

    Raises:
        ValueError: If none fits; the message names the file.
    """
    try:
        given = load_file(path)
    except Exception as error:  # safetensors raises its own type, a missing file another
        raise ValueError(f"{path}: cannot be read as safetensors ({error})") from error
    own = model.network.state_dict()
    given = {name.removeprefix("network."): tensor for name, tensor in given.items()}
    fitting = {n: t for n, t in given.items() if n in own and own[n].shape == t.shape}
    if not fitting:
        raise ValueError(f"{path}: no tensor fits the network by name and shape")
    model.network.load_state_dict(fitting, strict=False)
    return len(fitting), len(own)
