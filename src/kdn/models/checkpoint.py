"""Checkpoints: weights with their recipe, and the state from which training goes on.

Both are safetensors files, so that reading a stranger's file runs none of its code. Both are
written beside their name and moved into place, so that a file is whole or absent.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.optim import Optimizer

from kdn.data import labels_of
from kdn.data.markup import markup_of_facts
from kdn.data.paths import replacing
from kdn.models import MODELS, model_path
from kdn.models.model import Model, build_model
from kdn.models.recalibration import Recalibration
from kdn.recipe import Recipe

__all__ = [
    "TrainingState",
    "capture_state",
    "load_model",
    "read_state",
    "restore_state",
    "save_model",
    "write_state",
]


_FORMAT = 1
_RECALIBRATED = {False: "recalibration.plain.", True: "recalibration.mirrored."}
"""What the names of a recalibration's tensors begin with, in a model's file."""

_OF_THE_MODEL = ("format", "labels", "markup_content", "recalibration", "recipe")
"""Metadata that a model itself says."""


@dataclass(frozen=True)
class TrainingState:
    """Everything that a resumed run starts from.

    Args:
        tensors: Weights, averaged weights and optimiser state, by name.
        facts: Plain values: the recipe, epochs done, history, optimiser settings.
    """

    tensors: dict[str, Tensor]
    facts: dict[str, Any]


def save_model(
    path: str | Path, model: Model, metadata: dict[str, Any], *, half: bool = False
) -> None:
    """Write a model: its weights, recipe, labels and recalibrations, and facts about them.

    Recalibrations are never rounded. A mark-up that is not one of the package is stored too, so
    that its YAML file is not needed.

    Args:
        path: File to write; replaced at once if it exists.
        model: What is saved.
        metadata: Facts such as the epoch, scores and a licence: plain values, stored as JSON. What
            `load_model` gave can be given back.
        half: Round the weights to float16, for half the size.

    Raises:
        ValueError: If a weight is too large for float16.
    """
    tensors = model.state_dict()
    if half:
        tensors = {name: _halved(name, tensor) for name, tensor in tensors.items()}
    stored = {name: value for name, value in metadata.items() if name not in _OF_THE_MODEL}
    recalibrations = {}
    for flip, recalibration in model.recalibrations.items():
        prefix = _RECALIBRATED[flip]
        tensors |= {prefix + name: tensor for name, tensor in recalibration.tensors().items()}
        recalibrations[prefix] = dict(recalibration.facts)
    if recalibrations:
        stored["recalibration"] = recalibrations
    stored |= {"recipe": model.recipe.as_dict(), "labels": model.labels.metadata()}
    _write(Path(path), tensors, stored)


def load_model(model: str | Path, *, trust: Sequence[str] = ()) -> tuple[Model, dict[str, Any]]:
    """Return a saved model, in evaluation mode on the CPU, and the metadata stored with it.

    Weights are float32, whatever the file holds.

    Args:
        model: A file that `kdn train` or `kdn export` wrote, or the name of a packaged model.
        trust: Packages whose code the file may run, by their names. A file that names classes
            outside `kdn` runs none of their code unless their package is among these.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If the file is not such a checkpoint, or names code that is not trusted; the
            message names it and says why.
    """
    path, tensors, metadata, recipe = _read_model(model)
    _require_trust(path, recipe, trust)
    with _its_recipe(path):
        content = metadata.get("labels", metadata)  # files before 0.1 have it at the top
        markup = markup_of_facts(content) if "markup_content" in content else None
        loaded = build_model(recipe, labels_of(recipe, markup))
    try:
        stored = metadata.get("recalibration", {})
        loaded.recalibrations = _recalibrations(tensors, stored)
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{path}: its recalibration cannot be used ({error!r})") from error
    try:
        loaded.load_state_dict(tensors)
    except RuntimeError as error:
        raise ValueError(f"{path}: the weights do not fit the recipe ({error})") from error
    return loaded.eval(), metadata


def write_state(path: Path, state: TrainingState) -> None:
    """Write the state of a training run; replaced at once if it exists."""
    _write(path, state.tensors, state.facts)


def read_state(path: Path) -> TrainingState:
    """Return the state of a training run.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If the file is not such a state; the message names it.
    """
    return TrainingState(*_read(path))


def _read_model(model: str | Path) -> tuple[Path, dict[str, Tensor], dict[str, Any], Recipe]:
    """Return the file of a model, its tensors and metadata, and its recipe."""
    path = model_path(model)
    try:
        tensors, facts = _read(path)
    except FileNotFoundError as error:
        known = ", ".join(MODELS)
        raise FileNotFoundError(f"{error}, and no model of the package ({known})") from error
    if any(name.startswith("model.") for name in tensors):
        raise ValueError(
            f"{path}: is the state of a training run, not a model; best.safetensors and "
            f"last.safetensors beside it are"
        )
    with _its_recipe(path):
        return path, tensors, facts, Recipe.of_dict(facts["recipe"])


@contextmanager
def _its_recipe(path: Path) -> Iterator[None]:
    """Say of what goes wrong that it is the recipe of a file, and leave torch's generator alone."""
    try:
        with torch.random.fork_rng(devices=[]):
            yield
    except (FileNotFoundError, KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{path}: its recipe cannot be used ({error!r})") from error


def _require_trust(path: Path, recipe: Recipe, trust: Sequence[str]) -> None:
    """Raise if a recipe names code outside `kdn` whose package is not trusted."""
    for name in (recipe.network.name, recipe.head.name):
        package = name.partition(":")[0].split(".")[0]
        if ":" in name and package not in ("kdn", *trust):
            raise ValueError(
                f"{path}: needs the code of {name}; if you trust it, name its package by "
                f"trust=({package!r},) or --trust {package}"
            )


def _recalibrations(tensors: dict[str, Tensor], facts: dict[str, Any]) -> dict[bool, Recalibration]:
    """Return the recalibrations of a file, taking their tensors out of those of the model."""
    result = {}
    for flip, prefix in _RECALIBRATED.items():
        names = [name for name in tensors if name.startswith(prefix)]
        if names or prefix in facts:
            numbers = {name.removeprefix(prefix): tensors.pop(name) for name in names}
            result[flip] = Recalibration.of_tensors(numbers, facts[prefix])
    return result


def _halved(name: str, tensor: Tensor) -> Tensor:
    """Return a tensor in float16 if it holds fractions."""
    if not tensor.is_floating_point():
        return tensor
    halved = tensor.half()
    if not bool(halved.isfinite().all()):
        raise ValueError(f"{name} has a value beyond float16, {float(tensor.abs().max()):g}")
    return halved


def _write(path: Path, tensors: dict[str, Tensor], facts: dict[str, Any]) -> None:
    """Write tensors with JSON facts in their metadata, in one move."""
    dense = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    metadata = {"kdn": json.dumps({"format": _FORMAT, **facts})}
    with replacing(path) as temporary:
        save_file(dense, temporary, metadata=metadata)


def _read(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    if path.is_dir():
        raise IsADirectoryError(f"{path}: is a folder, not a file")
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file")
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except Exception as error:  # the library's own exception type is not public
        raise ValueError(f"{path}: cannot be read as safetensors ({error})") from error
    if "kdn" not in metadata:
        raise ValueError(f"{path}: has no kdn metadata, so it was not written by kdn")
    facts = json.loads(metadata["kdn"])
    if facts.get("format") != _FORMAT:
        raise ValueError(f"{path}: format {facts.get('format')!r} is not known, expected {_FORMAT}")
    return tensors, facts


def capture_state(
    model: nn.Module, average: nn.Module | None, optimiser: Optimizer, facts: dict[str, Any]
) -> TrainingState:
    """Return everything a later process needs to go on as if nothing had happened.

    Args:
        model: The model that is trained.
        average: Its averaged copy, if there is one.
        optimiser: Its optimiser.
        facts: Plain values to keep with it.
    """
    tensors = {f"model.{name}": tensor for name, tensor in model.state_dict().items()}
    if average is not None:
        tensors |= {f"average.{name}": tensor for name, tensor in average.state_dict().items()}
    plain: dict[str, dict[str, Any]] = {}
    for index, entries in optimiser.state_dict()["state"].items():
        for name, value in entries.items():
            if isinstance(value, Tensor):
                tensors[f"optimiser.{index}.{name}"] = value
            else:
                plain.setdefault(str(index), {})[name] = value
    return TrainingState(tensors, {**facts, "optimiser": plain})


def restore_state(
    state: TrainingState, model: nn.Module, average: nn.Module | None, optimiser: Optimizer
) -> None:
    """Put a captured state into a model, its averaged copy and its optimiser, in place."""
    model.load_state_dict(_under(state, "model."))
    if average is not None:
        average.load_state_dict(_under(state, "average."))
    parameters = [p for group in optimiser.param_groups for p in group["params"]]
    entries: dict[int, dict[str, Any]] = {}
    for name, tensor in _under(state, "optimiser.").items():
        index, key = name.split(".", 1)
        entries.setdefault(int(index), {})[key] = _laid_out_like(parameters[int(index)], tensor)
    for index, values in state.facts["optimiser"].items():
        entries.setdefault(int(index), {}).update(values)
    groups = optimiser.state_dict()["param_groups"]
    optimiser.load_state_dict({"state": entries, "param_groups": groups})


def _under(state: TrainingState, prefix: str) -> dict[str, Tensor]:
    """Return the tensors whose names begin with a prefix, without it."""
    return {
        name.removeprefix(prefix): tensor
        for name, tensor in state.tensors.items()
        if name.startswith(prefix)
    }


def _laid_out_like(parameter: Tensor, value: Tensor) -> Tensor:
    """Return a value with the memory layout of its parameter, so that updates stay fast."""
    if value.shape != parameter.shape:
        return value
    return torch.empty_like(parameter, dtype=value.dtype, device="cpu").copy_(value)
