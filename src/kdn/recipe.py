"""The recipe: everything that decides what a training run gives, in one frozen dataclass.

A recipe is filled from a YAML file and command-line flags, stored in the checkpoint and beside
every result. Each `Args:` entry below is also the help text of its flag.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import NoneType
from typing import Any, Literal, get_args, get_origin, get_type_hints

__all__ = [
    "AugmentRecipe",
    "CropRule",
    "DataRecipe",
    "Decoder",
    "HeadRecipe",
    "LabelsRecipe",
    "NetworkRecipe",
    "OptimiseRecipe",
    "Recipe",
]

Decoder = Literal["default", "argmax", "quarter", "mean", "local_mean", "mode", "median"]
"""Which point of a density may be the prediction."""

CropRule = Literal["face", "box", "picture"]
"""What a crop shows; see `kdn.data.framing.Framing`."""


@dataclass(frozen=True)
class DataRecipe:
    """What is learned from.

    Args:
        train: Sources of training samples: iBUG-style folders, `wflw:LIST`, `coco:FILE.json`,
            `synthetic:COUNT:SEED` and so on; a list (`[one, two]` on the command line), or one by
            itself.
        valid: Sources of validation samples; empty to hold out `valid_fraction` of `train`.
        valid_fraction: Share of the training pictures held out for validation when `valid` is
            empty; all samples of one picture go to the same side.
        markup: Mark-up of the landmarks: a name, a YAML file that describes yours, or what such a
            file would say, as a mapping; it is kept as JSON text.
        height: Rows of the crop, in crop pixels; a multiple of the network's stride.
        width: Columns of the crop, in crop pixels.
        crop: What a crop shows: `face` FAN's square of the face's box, `box` the box in the form
            of the crop, `picture` the whole picture, which then needs no box.
        context: How much a crop shows as a share of that: of FAN's square, whose side is about 2.05
            times the mean side of the box, or of box or picture (1.25 is usual for bodies); less
            shows the object larger.
        workers: Processes that prepare crops; 0 prepares them in the training process.
        cache_mib: Memory for decoded pictures, in MiB per process.
    """

    train: tuple[str, ...] | str = ()
    valid: tuple[str, ...] | str = ()
    valid_fraction: float = 0.1
    markup: str | dict[str, Any] = "face68"
    height: int = 128
    width: int = 128
    crop: CropRule = "face"
    context: float = 1.0
    workers: int = 0
    cache_mib: int = 2048

    def __post_init__(self) -> None:
        for name in ("train", "valid"):
            value = getattr(self, name)
            if isinstance(value, str):
                object.__setattr__(self, name, (value,))
            else:
                _require(isinstance(value, tuple), f"data.{name}", value, "a list or one source")
        _require(
            0 <= self.valid_fraction < 1, "data.valid_fraction", self.valid_fraction, "in [0, 1)"
        )
        if isinstance(self.markup, Mapping):  # text, so that recipes can be keys
            object.__setattr__(self, "markup", json.dumps(self.markup, default=str))
        _require_choices(self, "data")
        _require(self.height > 0, "data.height", self.height, "positive")
        _require(self.width > 0, "data.width", self.width, "positive")
        _require(0 < self.context < float("inf"), "data.context", self.context, "positive")
        _require(self.workers >= 0, "data.workers", self.workers, "0 or more")
        _require(self.cache_mib >= 0, "data.cache_mib", self.cache_mib, "0 or more")


@dataclass(frozen=True)
class LabelsRecipe:
    """Which scalars of a sample are learned instead of its landmarks, and the axis they lie on.

    Args:
        names: Attributes of the samples that are learned, such as `age` or `[AU1, AU12]`; empty to
            learn landmarks.
        low: Centre of the first cell of the axis, in the label's unit.
        high: Centre of the last cell.
        step: Distance of neighbouring cells.
        rounding: What the labels were rounded to, in the label's unit: the likelihood is that of
            all values within half of it either way. 0 for labels that are exact.
    """

    names: tuple[str, ...] | str = ()
    low: float = 0.0
    high: float = 100.0
    step: float = 1.0
    rounding: float = 1.0

    def __post_init__(self) -> None:
        if isinstance(self.names, str):
            object.__setattr__(self, "names", (self.names,))
        _require(isinstance(self.names, tuple), "labels.names", self.names, "a list or one name")
        _require(
            all(isinstance(name, str) and name for name in self.names),
            "labels.names",
            self.names,
            "names of attributes",
        )
        _require(len(set(self.names)) == len(self.names), "labels.names", self.names, "different")
        steps = (self.high - self.low) / self.step if self.step > 0 else -1.0
        _require(
            0 < steps < float("inf") and abs(steps - round(steps)) < 1e-6,
            "labels.low, labels.high and labels.step",
            (self.low, self.high, self.step),
            "a positive step that goes a whole number of times from low to high",
        )
        _require(0 <= self.rounding < float("inf"), "labels.rounding", self.rounding, "0 or more")


@dataclass(frozen=True)
class AugmentRecipe:
    """How training pictures are varied (the paper's appendix A, plus a shift).

    Args:
        flip: Probability of flipping left to right.
        rotation: Largest rotation either way, in degrees.
        scale_low: Smallest factor on the side of the crop.
        scale_high: Largest factor on the side of the crop.
        shift: Largest move of the crop on each axis, as a share of its side.
        colour: Strength of the colour jitter: gains lie in `[1 − colour, 1 + colour]`.
        occlusion: Probability of one occluding rectangle.
        occlusion_size: Largest side of the occluder, as a share of the crop's side.
        blur: Probability of a Gaussian blur of up to 1.5 crop pixels.
        noise: Largest standard deviation of added pixel noise, as a share of white.
    """

    flip: float = 0.5
    rotation: float = 50.0
    scale_low: float = 0.8
    scale_high: float = 1.2
    shift: float = 0.03
    colour: float = 0.3
    occlusion: float = 0.5
    occlusion_size: float = 0.4
    blur: float = 0.0
    noise: float = 0.0

    def __post_init__(self) -> None:
        for name in ("flip", "occlusion", "occlusion_size", "blur", "colour"):
            value = getattr(self, name)
            _require(0 <= value <= 1, f"augment.{name}", value, "in [0, 1]")
        for name in ("rotation", "shift", "noise"):
            value = getattr(self, name)
            _require(0 <= value < float("inf"), f"augment.{name}", value, "0 or more and finite")
        _require(
            0 < self.scale_low <= self.scale_high < float("inf"),
            "augment.scale_low",
            self.scale_low,
            f"positive and at most scale_high ({self.scale_high})",
        )


@dataclass(frozen=True)
class NetworkRecipe:
    """What scores the cells.

    Args:
        name: `fan` for maps; `resnet18`, `resnet50` or the small `conv` for the head `gaussian`
            and for scalars; or a class of yours, `package.module:Name`.
        stacks: Hourglasses one after the other (`fan`); the paper has 4.
        features: Channels of an hourglass (`fan`); the paper has 256. Of the first stage of `conv`,
            each further stage has twice as many.
        depth: Halvings within an hourglass (`fan`), or of the whole (`conv`).
        dropout: Share of the pooled features that are left out at random in training (`conv`).
        weights: A safetensors file with initial weights; keys that do not fit by name and shape
            are left out and counted.
        options: Further settings that a class of yours takes, by name.
    """

    name: str = "fan"
    stacks: int = 1
    features: int = 96
    depth: int = 4
    dropout: float = 0.0
    weights: str | None = None
    options: dict[str, Any] = field(default_factory=dict, hash=False)

    def __post_init__(self) -> None:
        _require_named(self, "network")
        _require(self.stacks >= 1, "network.stacks", self.stacks, "at least 1")
        _require(
            self.features >= 8 and self.features % 8 == 0,
            "network.features",
            self.features,
            "a positive multiple of 8",
        )
        _require(self.depth >= 1, "network.depth", self.depth, "at least 1")
        _require(0 <= self.dropout < 1, "network.dropout", self.dropout, "in [0, 1)")


@dataclass(frozen=True)
class HeadRecipe:
    """How outputs become a density, and what the loss is.

    Args:
        name: Which head: `kdn_gaussian`, `kdn_adaptive`, `kdn_uniform`, `gaussian`, for landmarks
            also `softlabel`, for scalars the baselines `l1`, `l2`, `dex` and `coral`; or a class of
            yours, `package.module:Name`.
        bandwidth: Standard deviation of the Gaussian kernel in cells of the network's own grid,
            before any refinement, or of the axis of scalars; where the bandwidth is learned, its
            initial value.
        learn_bandwidth: `fixed`, learned per `landmark` (or scalar), or predicted per `map`
            (`kdn_gaussian` only, whose own choice is `landmark`; as published it is `fixed`).
        refine: Interpolate the logits bicubically to a grid this many times finer (`kdn_gaussian`,
            whose own choice is 4, and `kdn_adaptive`, whose own is 1; as published it is 1). For
            maps only.
        offset_limit: Largest move of a kernel's centre on each axis, in cells of the network's own
            grid (`kdn_adaptive` only).
        decoder: Which point of the density is the prediction; `default` takes the head's own;
            `median` is for scalars.
        options: Further settings that a class of yours takes, by name.
    """

    name: str = "kdn_gaussian"
    bandwidth: float = 1.0
    learn_bandwidth: Literal["fixed", "landmark", "map"] | None = None
    refine: Literal[1, 2, 4] | None = None
    offset_limit: float = 1.5
    decoder: Decoder = "default"
    options: dict[str, Any] = field(default_factory=dict, hash=False)

    def __post_init__(self) -> None:
        _require_named(self, "head")
        _require_choices(self, "head")
        _require(self.bandwidth > 0, "head.bandwidth", self.bandwidth, "positive")
        _require(self.offset_limit > 0, "head.offset_limit", self.offset_limit, "positive")


@dataclass(frozen=True)
class OptimiseRecipe:
    """How the loss is driven down.

    Args:
        epochs: Passes over the training samples.
        batch: Samples per step, over all devices.
        rate: Learning rate: the largest of `one_cycle`, the first of `steps`.
        optimiser: Which optimiser.
        schedule: `one_cycle`, `steps` (divided by ten after 15/40 and 30/40 of the epochs, as in
            the paper's appendix A) or `constant`.
        weight_decay: Weight decay.
        clip: Largest norm of the gradient over all parameters; 0 does not clip.
        average: Decay per step of the moving average of the weights that is validated and saved;
            0 averages nothing.
        precision: Lightning Fabric's name of a precision, such as `32-true` or `bf16-mixed`.
        seed: Seed of the initial weights, the order of samples and the augmentation.
    """

    epochs: int = 30
    batch: int = 10
    rate: float = 1e-3
    optimiser: Literal["rmsprop", "adamw"] = "rmsprop"
    schedule: Literal["one_cycle", "steps", "constant"] = "one_cycle"
    weight_decay: float = 0.0
    clip: float = 0.0
    average: float = 0.0
    precision: Literal["32-true", "16-mixed", "bf16-mixed"] = "32-true"
    seed: int = 0

    def __post_init__(self) -> None:
        _require_choices(self, "optimise")
        _require(self.epochs >= 1, "optimise.epochs", self.epochs, "at least 1")
        _require(self.batch >= 1, "optimise.batch", self.batch, "at least 1")
        _require(self.rate > 0, "optimise.rate", self.rate, "positive")
        _require(self.weight_decay >= 0, "optimise.weight_decay", self.weight_decay, "0 or more")
        _require(self.clip >= 0, "optimise.clip", self.clip, "0 or more")
        _require(0 <= self.average < 1, "optimise.average", self.average, "in [0, 1)")


@dataclass(frozen=True)
class Recipe:
    """Everything that decides what a training run gives.

    Args:
        data: What is learned from.
        labels: Which scalars are learned instead of landmarks.
        augment: How training pictures are varied.
        network: What scores the cells.
        head: How outputs become a density, and what the loss is.
        optimise: How the loss is driven down.
    """

    data: DataRecipe = field(default_factory=DataRecipe)
    labels: LabelsRecipe = field(default_factory=LabelsRecipe)
    augment: AugmentRecipe = field(default_factory=AugmentRecipe)
    network: NetworkRecipe = field(default_factory=NetworkRecipe)
    head: HeadRecipe = field(default_factory=HeadRecipe)
    optimise: OptimiseRecipe = field(default_factory=OptimiseRecipe)

    def as_dict(self) -> dict[str, Any]:
        """Return the recipe as nested dictionaries of plain values, as YAML and JSON hold it."""
        return {name: _plain(getattr(self, name)) for name in _names(self)}

    @classmethod
    def of_dict(cls, values: Mapping[str, Any]) -> Recipe:
        """Return the recipe of nested dictionaries; what is left out keeps its default.

        Raises:
            ValueError: If a key is not a field of the recipe, or a value is out of range.
        """
        _reject_unknown("recipe", values, _names(cls))
        sections = {}
        for name, section in get_type_hints(cls).items():
            fields = values.get(name, {})
            _reject_unknown(name, fields, _names(section))
            sections[name] = section(**{key: _frozen(value) for key, value in fields.items()})
        return cls(**sections)


def _names(recipe: Any) -> list[str]:
    return [field.name for field in dataclasses.fields(recipe)]


def _plain(section: Any) -> dict[str, Any]:
    """Return a section of a recipe as a dictionary, with lists for tuples."""
    values = ((name, getattr(section, name)) for name in _names(section))
    return {name: list(value) if isinstance(value, tuple) else value for name, value in values}


def _frozen(value: Any) -> Any:
    """Return a tuple for a list, as JSON and YAML give it, so that equal recipes compare equal."""
    return tuple(value) if isinstance(value, list) else value


def _require(holds: bool, name: str, value: object, expected: str) -> None:
    if not holds:
        raise ValueError(f"{name} must be {expected}, got {value!r}")


def _require_named(section: Any, where: str) -> None:
    """Raise if a section names nothing or has options that JSON has not; keep them as JSON does.

    Lists for tuples, that is, so that a recipe that was stored is equal to this one.
    """
    name = section.name
    _require(isinstance(name, str) and name != "", f"{where}.name", name, "a name")
    try:
        object.__setattr__(section, "options", dict(json.loads(json.dumps(section.options))))
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"{where}.options must be plain values by name, got {section.options!r}"
        ) from error


def _require_choices(section: Any, where: str) -> None:
    """Raise if a field whose type is `Literal`, or one or None, holds none of its values."""
    for name, hint in get_type_hints(type(section)).items():
        value = getattr(section, name)
        optional = NoneType in get_args(hint)
        literal = get_args(hint)[0] if optional else hint
        if get_origin(literal) is Literal and not (optional and value is None):
            choices = ", ".join(map(repr, get_args(literal)))
            _require(value in get_args(literal), f"{where}.{name}", value, f"one of {choices}")


def _reject_unknown(where: str, values: Any, known: Sequence[str]) -> None:
    if not isinstance(values, Mapping):
        raise ValueError(f"{where} must be a mapping, got {values!r}")
    unknown = sorted(str(name) for name in values if name not in known)
    if unknown:
        raise ValueError(f"{where} has no field {', '.join(unknown)}; it has {', '.join(known)}")
