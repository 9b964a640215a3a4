"""Heads: how the outputs of a network become a density over the label, and a loss."""

from __future__ import annotations

from typing import Any

from kdn.data import Labels
from kdn.grid import Grid
from kdn.models.heads.flip import flip_average, turned_back
from kdn.models.heads.head import CellHead, Head, rounded_log_prob
from kdn.models.registry import class_named, import_modules, settings_of
from kdn.recipe import HeadRecipe

__all__ = ["CellHead", "Head", "build_head", "flip_average", "rounded_log_prob", "turned_back"]

import_modules(__name__, __path__)


def build_head(recipe: HeadRecipe, labels: Labels, grid: Grid) -> Head:
    """Return the head that a recipe describes.

    Args:
        recipe: Its name and settings.
        labels: What is learned.
        grid: Cells of the network's maps over the crop, in crop pixels; for scalars their axis.

    Raises:
        ValueError: If the recipe changes a setting that the head does not have, or names a head
            that does not fit the labels.

    Example:
        >>> from kdn.data import ScalarLabels
        >>> axis = Grid.of_interval(0, 100, step=5)
        >>> build_head(HeadRecipe("coral"), ScalarLabels(("age",), axis), axis).channels
        1
    """
    cls: Any = class_named(recipe.name, Head, "head.name")
    if labels.kind not in cls.fits:
        raise ValueError(
            f"head.name {recipe.name} is for {' or '.join(cls.fits)}, not {labels.kind}"
        )
    if recipe.decoder == "median" and labels.kind == "points":
        raise ValueError("head.decoder median is for scalars, but labels.names is empty")
    if recipe.refine not in (None, 1) and labels.kind == "scalars":
        raise ValueError(f"head.refine must be 1 for scalars, got {recipe.refine}")
    neutral = {"learn_bandwidth": "fixed", "refine": 1, "decoder": recipe.decoder}
    settings = settings_of(cls, recipe, field="head", neutral=neutral)
    head = cls(labels.count, grid, labels.rounding, **settings)
    if recipe.decoder != "default":
        head.decoder = recipe.decoder
    return head
