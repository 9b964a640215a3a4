"""Heads: how the outputs of a network become a density over crop pixels, and a loss."""

from __future__ import annotations

from kdn.heads.gaussian import Gaussian
from kdn.heads.head import Head
from kdn.heads.kernel import KDNAdaptive, KDNGaussian, KDNUniform
from kdn.heads.mirror import mirror_average, turned_back
from kdn.heads.softlabel import SoftLabel
from kdn.recipe import HeadRecipe

__all__ = [
    "Gaussian",
    "Head",
    "KDNAdaptive",
    "KDNGaussian",
    "KDNUniform",
    "SoftLabel",
    "build_head",
    "mirror_average",
    "turned_back",
]

_SETTINGS: dict[str, tuple[str, ...]] = {
    "softlabel": (),
    "kdn_uniform": (),
    "kdn_gaussian": ("bandwidth", "learn_bandwidth", "refine"),
    "kdn_adaptive": ("bandwidth", "offset_limit", "refine"),
    "gaussian": (),
}
"""What each head can be told."""

_NEUTRAL = {"learn_bandwidth": "fixed", "refine": 1}
"""What is true of every head that cannot be told otherwise."""


def build_head(recipe: HeadRecipe, *, landmarks: int, stride: int, height: int, width: int) -> Head:
    """Return the head that a recipe describes.

    Args:
        recipe: Its settings.
        landmarks: Number of landmarks.
        stride: Crop pixels per cell of the network's maps.
        height: Rows of the crop, in crop pixels.
        width: Columns of the crop, in crop pixels.

    Raises:
        ValueError: If the recipe changes a setting that the head does not have.
    """
    _require_settings(recipe)
    if recipe.name == "gaussian":
        head: Head = Gaussian(landmarks=landmarks, height=height, width=width)
    elif recipe.name == "softlabel":
        head = SoftLabel(landmarks=landmarks, stride=stride)
    elif recipe.name == "kdn_uniform":
        head = KDNUniform(landmarks=landmarks, stride=stride)
    elif recipe.name == "kdn_gaussian":
        head = KDNGaussian(
            landmarks=landmarks,
            stride=stride,
            bandwidth=recipe.bandwidth,
            learn_bandwidth=recipe.learn_bandwidth or "landmark",
            refine=recipe.refine or 4,
        )
    else:
        head = KDNAdaptive(
            landmarks=landmarks,
            stride=stride,
            bandwidth=recipe.bandwidth,
            offset_limit=recipe.offset_limit,
            refine=recipe.refine or 1,
        )
    if recipe.decoder != "default":
        head.decoder = recipe.decoder
    return head


def _require_settings(recipe: HeadRecipe) -> None:
    """Raise if a recipe tells a head what it cannot be told."""
    usual = HeadRecipe()
    for name in ("bandwidth", "learn_bandwidth", "offset_limit", "refine"):
        value = getattr(recipe, name)
        meant = value not in (getattr(usual, name), _NEUTRAL.get(name))
        if meant and name not in _SETTINGS[recipe.name]:
            raise ValueError(f"head.{name} has no meaning for {recipe.name}, got {value!r}")
