"""Ready-made sizes of a study, each with what it is expected to give."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from kdn.recipe import AugmentRecipe, DataRecipe, NetworkRecipe, OptimiseRecipe, Recipe
from kdn.study.plan import METHODS

__all__ = ["PRESETS", "Preset"]

_ALL = tuple(METHODS)
_SIGMAS = (0.1, 0.3, 1.0, 3.0, 10.0)


@dataclass(frozen=True)
class Preset:
    """A size of study.

    Args:
        name: On the command line.
        base: What every method shares, with the training data that is used unless others are named.
        test: Test data that is used unless others are named.
        seeds: Seeds of each method.
        vector_network: Network of methods that take a vector.
        vector_rate: Their learning rate.
        sweep: σ of Table 2, in cells.
        expected: What to expect, as the report says it.
        methods: Rows of the tables.
    """

    name: str
    base: Recipe
    test: tuple[str, ...]
    seeds: int
    vector_network: str
    vector_rate: float
    expected: str
    sweep: tuple[float, ...] = _SIGMAS
    methods: tuple[str, ...] = _ALL


_QUICK = Preset(
    name="quick",
    base=Recipe(
        data=DataRecipe(train=("synthetic:800:0",), valid_fraction=0.0, height=64, width=64),
        augment=AugmentRecipe(rotation=30),
        network=NetworkRecipe(features=32, depth=2),
        optimise=OptimiseRecipe(epochs=12, rate=4e-3, average=0.99),
    ),
    test=("synthetic:150:1",),
    seeds=1,
    vector_network="resnet18",
    vector_rate=1e-3,
    expected="Expected with nothing else said: NME 9.4 % for Softlabel, 6.6 % for KDN-Gaussian, "
    "4.9 % for KDN-refined; 8 minutes on two CPU cores with --jobs 2.",
)

_SMALL = Preset(
    name="small",
    base=Recipe(
        data=DataRecipe(train=("synthetic:1200:0",), valid_fraction=0.0, height=128, width=128),
        network=NetworkRecipe(stacks=1, features=96, depth=3),
        optimise=OptimiseRecipe(epochs=30, batch=10, rate=4e-3, average=0.998),
    ),
    test=("synthetic:300:1",),
    seeds=1,
    vector_network="resnet18",
    vector_rate=1e-3,
    expected="Expected on 1207 faces of HELEN and AFW, tested on HELEN: NME 3.3 % for Softlabel, "
    "3.2 % for KDN-Gaussian, 2.1 % for KDN-refined; ten to twenty minutes a training and CPU "
    "core, two hours for everything with one seed and --jobs 2.",
)

_PAPER = Preset(
    name="paper",
    base=Recipe(
        data=DataRecipe(
            train=("synthetic:3000:0",), valid_fraction=0.0, height=256, width=256, workers=4
        ),
        network=NetworkRecipe(stacks=4, features=256, depth=4),
        optimise=OptimiseRecipe(epochs=40, batch=10, rate=1e-4, schedule="steps"),
    ),
    test=("synthetic:600:1",),
    seeds=1,
    vector_network="resnet50",
    vector_rate=1e-4,
    expected="Expected, from the paper, on 300W with its training sets: NME 2.49 % for "
    "KDN-Gaussian, 2.56 % for Softlabel. Not measured here; it is meant for a GPU.",
)

PRESETS: Mapping[str, Preset] = {preset.name: preset for preset in (_QUICK, _SMALL, _PAPER)}
"""By name."""
