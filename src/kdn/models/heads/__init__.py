"""Heads: how the outputs of a network become a density over the label, and a loss."""

from __future__ import annotations

from kdn.models.heads.coral import Coral
from kdn.models.heads.gaussian import Gaussian
from kdn.models.heads.head import Head, rounded_log_prob
from kdn.models.heads.kernel import KDNAdaptive, KDNGaussian, KDNUniform
from kdn.models.heads.mirror import mirror_average, turned_back
from kdn.models.heads.regression import GaussianValue, Regression, gaussian_on_axis
from kdn.models.heads.softlabel import SoftLabel
from kdn.models.heads.values import axis_of_labels, build_value_head
from kdn.recipe import HeadRecipe, LabelsRecipe

__all__ = [
    "Coral",
    "Gaussian",
    "GaussianValue",
    "Head",
    "KDNAdaptive",
    "KDNGaussian",
    "KDNUniform",
    "Regression",
    "SoftLabel",
    "axis_of_labels",
    "build_head",
    "gaussian_on_axis",
    "mirror_average",
    "rounded_log_prob",
    "turned_back",
]

_SETTINGS: dict[str, tuple[str, ...]] = {
    "softlabel": (),
    "kdn_uniform": (),
    "kdn_gaussian": ("bandwidth", "learn_bandwidth", "refine"),
    "kdn_adaptive": ("bandwidth", "offset_limit", "refine"),
    "gaussian": (),
    "l1": (),
    "l2": (),
    "dex": (),
    "coral": (),
}
"""What each head can be told."""

_OF_VALUES = ("l1", "l2", "dex", "coral")
"""Heads that landmarks do not have."""

_NEUTRAL = {"learn_bandwidth": "fixed", "refine": 1}
"""What is true of every head that cannot be told otherwise."""


def build_head(
    recipe: HeadRecipe,
    *,
    landmarks: int = 0,
    stride: int = 0,
    height: int = 0,
    width: int = 0,
    labels: LabelsRecipe | None = None,
) -> Head:
    """Return the head that a recipe describes: of landmarks, or of values if `labels` is given.

    Args:
        recipe: Its settings.
        landmarks: Number of landmarks.
        stride: Crop pixels per cell of the network's maps.
        height: Rows of the crop, in crop pixels.
        width: Columns of the crop, in crop pixels.
        labels: The values, for which the others are not needed.

    Raises:
        ValueError: If the recipe changes a setting that the head does not have, or names a head
            that does not fit the label.
    """
    _require_settings(recipe, values=labels is not None)
    if labels is not None:
        head: Head = build_value_head(recipe, labels)
    elif recipe.name in _OF_VALUES:
        raise ValueError(f"head.name {recipe.name} is for values, but labels.names is empty")
    elif recipe.name == "gaussian":
        head = Gaussian(landmarks=landmarks, height=height, width=width)
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


def _require_settings(recipe: HeadRecipe, *, values: bool) -> None:
    """Raise if a recipe tells a head what it cannot be told."""
    if recipe.decoder == "median" and not values:
        raise ValueError("head.decoder median is for values, but labels.names is empty")
    if values and recipe.refine not in (None, 1):
        raise ValueError(f"head.refine must be 1 for values, got {recipe.refine}")
    usual = HeadRecipe()
    for name in ("bandwidth", "learn_bandwidth", "offset_limit", "refine"):
        value = getattr(recipe, name)
        meant = value not in (getattr(usual, name), _NEUTRAL.get(name))
        if meant and name not in _SETTINGS[recipe.name]:
            raise ValueError(f"head.{name} has no meaning for {recipe.name}, got {value!r}")
