"""What a study trains: methods, seeds and bandwidths, each a recipe with a folder of its own.

Presets are ready-made sizes of a study, each with what it is expected to give.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from kdn.recipe import (
    AugmentRecipe,
    DataRecipe,
    HeadRecipe,
    NetworkRecipe,
    OptimiseRecipe,
    Recipe,
)

__all__ = [
    "METHODS",
    "PRESETS",
    "REFERENCE",
    "Method",
    "Plan",
    "Preset",
    "Run",
    "digest",
    "sweep_key",
]

REFERENCE = "kdn_gaussian"
"""The method that all others are compared with."""


@dataclass(frozen=True)
class Method:
    """One row of the tables.

    Args:
        key: Its name on the command line and in folders.
        title: Its name in tables.
        head: What it changes of the recipe.
        vector: True if it takes a vector instead of maps, and so another network.
    """

    key: str
    title: str
    head: HeadRecipe
    vector: bool = False


def _head(name: str) -> HeadRecipe:
    return HeadRecipe(name=name, learn_bandwidth="fixed", refine=1)  # type: ignore[arg-type]


METHODS: Mapping[str, Method] = {
    method.key: method
    for method in (
        Method("gaussian", "Gaussian", _head("gaussian"), vector=True),
        Method("softlabel", "Softlabel", _head("softlabel")),
        Method("kdn_uniform", "KDN-Uniform", _head("kdn_uniform")),
        Method("kdn_gaussian", "KDN-Gaussian", _head("kdn_gaussian")),
        Method("kdn_adaptive", "KDN-Adaptive", _head("kdn_adaptive")),
        Method("kdn_refined", "KDN-refined", HeadRecipe("kdn_gaussian", 1.0, "landmark", 4)),
    )
}
"""The paper's four methods, as published, and the two mends."""


@dataclass(frozen=True)
class Run:
    """One training.

    Args:
        key: The method, or the bandwidth of a sweep.
        recipe: All that decides its result.
    """

    key: str
    recipe: Recipe

    @property
    def seed(self) -> int:
        """Seed of the run."""
        return self.recipe.optimise.seed

    @property
    def folder(self) -> str:
        """Name of its folder: another recipe has another one."""
        return f"{self.key}-seed{self.seed}-{digest(_settings(self.recipe))}"


@dataclass(frozen=True)
class Plan:
    """All trainings of a study.

    Args:
        base: The recipe that every method shares, with its training data.
        methods: Keys of `METHODS`, in the order of the tables.
        seeds: Seeds 0, 1, … of each method.
        once: Methods that are trained with the first seed only.
        sweep: The paper's σ of Table 2, in cells; empty for no sweep. Each is trained with the
            kernel's variance σ and with its standard deviation σ.
        vector_network: The network of methods that take a vector.
        vector_rate: Their learning rate.

    Raises:
        ValueError: If a method is not known or named twice, or a number is out of range.
    """

    base: Recipe
    methods: Sequence[str]
    seeds: int
    once: Sequence[str] = ()
    sweep: Sequence[float] = ()
    vector_network: str = "resnet18"
    vector_rate: float = 1e-3

    def __post_init__(self) -> None:
        for name in ("methods", "once"):
            keys = getattr(self, name)
            unknown = [key for key in keys if key not in METHODS]
            if unknown or len(set(keys)) < len(keys):
                raise ValueError(f"{name} must be among {', '.join(METHODS)}, each once: {keys}")
        if not self.methods:
            raise ValueError("methods must name at least one method, got none")
        if self.seeds < 1:
            raise ValueError(f"seeds must be at least 1, got {self.seeds}")
        if any(not (math.isfinite(value) and value > 0) for value in self.sweep):
            raise ValueError(f"sweep must hold positive bandwidths in cells, got {self.sweep}")

    def recipe(self, key: str, seed: int) -> Recipe:
        """Return the recipe of a method: the base's but for its head and maybe its network."""
        method = METHODS[key]
        network, optimise = self.base.network, replace(self.base.optimise, seed=seed)
        if method.vector:
            network = replace(network, name=self.vector_network)  # type: ignore[arg-type]
            optimise = replace(optimise, rate=self.vector_rate)
        return replace(self.base, head=method.head, network=network, optimise=optimise)

    def of_method(self, key: str) -> list[Run]:
        """Return the runs of a method, one a seed."""
        seeds = 1 if key in self.once else self.seeds
        return [Run(key, self.recipe(key, seed)) for seed in range(seeds)]

    def of_bandwidth(self, bandwidth: float) -> Run:
        """Return the run of the published head with a kernel of that standard deviation, cells."""
        recipe = self.recipe(REFERENCE, 0)
        if math.isclose(bandwidth, recipe.head.bandwidth):
            return Run(REFERENCE, recipe)  # Table 1 has it
        head = replace(recipe.head, bandwidth=bandwidth)
        return Run(sweep_key(bandwidth), replace(recipe, head=head))

    @property
    def bandwidths(self) -> list[float]:
        """Standard deviations of the sweep in cells, both readings, each once, in order."""
        both = {round(h, 12): h for s in self.sweep for h in (s, math.sqrt(s))}
        return [both[h] for h in sorted(both)]

    @property
    def runs(self) -> list[Run]:
        """All runs, each once: first seeds before further ones, the sweep last."""
        of_methods = [run for key in self.methods for run in self.of_method(key)]
        of_methods.sort(key=lambda run: run.seed)  # stable: methods keep their order
        swept = [self.of_bandwidth(h) for h in self.bandwidths]
        return list({run.folder: run for run in (*of_methods, *swept)}.values())


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
    methods: tuple[str, ...] = tuple(METHODS)


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


def sweep_key(bandwidth: float) -> str:
    """Return what the run of a bandwidth, in cells, is called.

    Example:
        >>> sweep_key(0.31622776601683794)
        'bandwidth-0.3162'
    """
    return f"bandwidth-{bandwidth:.4g}"


def _settings(recipe: Recipe) -> dict[str, Any]:
    """Return what a recipe sets otherwise than the defaults do.

    So a later version that has more fields finds the runs of an earlier one.
    """
    usual = Recipe().as_dict()
    return {
        f"{section}.{name}": value
        for section, values in recipe.as_dict().items()
        for name, value in values.items()
        if value != usual[section][name]
    }


def digest(values: object) -> str:
    """Return eight characters that tell JSON values apart."""
    text = json.dumps(values, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:8]
