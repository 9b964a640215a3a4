"""The heads of values on one axis, as a recipe names them."""

from __future__ import annotations

from kdn.grid import Grid
from kdn.models.heads.coral import Coral
from kdn.models.heads.head import Head
from kdn.models.heads.kernel import KDNAdaptive, KDNGaussian, KDNUniform
from kdn.models.heads.regression import GaussianValue, Regression
from kdn.recipe import HeadRecipe, LabelsRecipe

__all__ = ["axis_of_labels", "build_value_head"]


def axis_of_labels(labels: LabelsRecipe) -> Grid:
    """Return the grid of values that a recipe describes, in the label's unit."""
    return Grid.of_interval(labels.low, labels.high, step=labels.step)


def build_value_head(recipe: HeadRecipe, labels: LabelsRecipe) -> Head:
    """Return the head of values that a recipe describes; settings are checked by `build_head`.

    `dex` is the softmax over the cells with its expectation for the prediction (Rothe, Timofte &
    Van Gool, *Deep expectation of real and apparent age from a single image without facial
    landmarks*, IJCV 2018): `kdn_uniform`, decoded by the mean.

    Args:
        recipe: Its settings.
        labels: The values.

    Raises:
        ValueError: If values cannot be told by that head.
    """
    shared = {
        "landmarks": len(labels.names),
        "grid": axis_of_labels(labels),
        "rounding": labels.rounding,
    }
    if recipe.name in ("l1", "l2"):
        head: Head = Regression(error="l1" if recipe.name == "l1" else "l2", **shared)
    elif recipe.name == "gaussian":
        head = GaussianValue(**shared)
    elif recipe.name == "coral":
        head = Coral(**shared)
    elif recipe.name in ("kdn_uniform", "dex"):
        head = KDNUniform(**shared)
        head.decoder = "mean" if recipe.name == "dex" else head.decoder
    elif recipe.name == "kdn_gaussian":
        learn = recipe.learn_bandwidth or "landmark"
        head = KDNGaussian(**shared, bandwidth=recipe.bandwidth, learn_bandwidth=learn)
    elif recipe.name == "kdn_adaptive":
        limit = recipe.offset_limit
        head = KDNAdaptive(**shared, bandwidth=recipe.bandwidth, offset_limit=limit)
    else:
        raise ValueError(f"head.name {recipe.name} is for landmarks, not for labels.names")
    return head
