"""Checkpoints: weights with their recipe, and the state from which training goes on.

Both are safetensors files, so that reading a stranger's file runs none of its code. Both are
written beside their name and moved into place, so that a file is whole or absent.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from kdn.data.markup import facts_of_markup, markup_of_facts
from kdn.data.paths import replacing
from kdn.models import MODELS, model_path
from kdn.models.model import LandmarkModel, build_model
from kdn.models.picture_model import PictureModel
from kdn.models.recalibration import Recalibration
from kdn.models.value_model import ValueModel, build_value_model
from kdn.recipe import Recipe

__all__ = [
    "TrainingState",
    "load_model",
    "load_saved",
    "load_value_model",
    "read_state",
    "save_model",
    "write_state",
]

Model = TypeVar("Model", bound=PictureModel)

_FORMAT = 1
_RECALIBRATED = {False: "recalibration.plain.", True: "recalibration.mirrored."}
"""What the names of a recalibration's tensors begin with, in a model's file."""


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
    path: str | Path, model: PictureModel, facts: dict[str, Any], *, half: bool = False
) -> None:
    """Write the weights of a model with its recipe and facts about them (epoch, scores).

    Its recalibrations, if it has any, are written too, and never rounded.
    A mark-up that is not one of the package is stored too, so that its YAML file is not needed.

    Args:
        path: File to write; replaced at once if it exists.
        model: What is saved.
        facts: Plain values, stored as JSON.
        half: Round the weights to float16, for half the size.

    Raises:
        ValueError: If a weight is too large for float16.
    """
    tensors = model.state_dict()
    if half:
        tensors = {name: _halved(name, tensor) for name, tensor in tensors.items()}
    own = ("recalibration", "markup_content")
    facts = {name: value for name, value in facts.items() if name not in own}
    if isinstance(model, LandmarkModel):
        more, said = _beside_landmarks(model)
        tensors, facts = tensors | more, facts | said
    _write(Path(path), tensors, {**facts, "recipe": model.recipe.as_dict()})


def load_saved(model: str | Path) -> tuple[LandmarkModel | ValueModel, dict[str, Any]]:
    """Return a saved model, in evaluation mode on the CPU, and the facts stored with it.

    Weights are float32, whatever the file holds.

    Args:
        model: A file that `kdn train` or `kdn export` wrote, or the name of a packaged model.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If the file is not such a checkpoint; the message names it and says why.
    """
    path, tensors, facts, recipe = _model_parts(model)
    with _its_recipe(path):
        if recipe.labels.names:
            loaded = build_value_model(recipe)
        else:
            stored = markup_of_facts(facts) if "markup_content" in facts else None
            loaded = build_model(recipe, stored)
    try:
        if isinstance(loaded, LandmarkModel):
            loaded.recalibrations = _recalibrations(tensors, facts.get("recalibration", {}))
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{path}: its recalibration cannot be used ({error!r})") from error
    return _filled(path, loaded, tensors), facts


def load_model(model: str | Path) -> tuple[LandmarkModel, dict[str, Any]]:
    """Return a saved model of landmarks, as `load_saved` does.

    Raises:
        ValueError: Also if it is one of values.
    """
    loaded, facts = load_saved(model)
    if isinstance(loaded, ValueModel):
        said = ", ".join(loaded.names)
        raise ValueError(
            f"{model_path(model)}: gives values ({said}), not landmarks; kdn.load_values takes it"
        )
    return loaded, facts


def load_value_model(model: str | Path) -> tuple[ValueModel, dict[str, Any]]:
    """Return a saved model of values, as `load_saved` does.

    Raises:
        ValueError: Also if it is one of landmarks.
    """
    loaded, facts = load_saved(model)
    if isinstance(loaded, LandmarkModel):
        raise ValueError(f"{model_path(model)}: gives landmarks, not values; kdn.load takes it")
    return loaded, facts


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


def _beside_landmarks(model: LandmarkModel) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Return the tensors and facts of a landmark model's recalibrations and own mark-up."""
    tensors: dict[str, Tensor] = {}
    stored = {}
    for mirror, found in model.recalibrations.items():
        prefix = _RECALIBRATED[mirror]
        tensors |= {prefix + name: tensor for name, tensor in found.tensors().items()}
        stored[prefix] = dict(found.facts)
    facts: dict[str, Any] = {"recalibration": stored} if stored else {}
    own = facts_of_markup(model.markup)
    return tensors, facts | (own if "markup_content" in own else {})


def _model_parts(model: str | Path) -> tuple[Path, dict[str, Tensor], dict[str, Any], Recipe]:
    """Return the file of a model, its tensors and facts, and its recipe."""
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


def _filled(path: Path, model: Model, tensors: dict[str, Tensor]) -> Model:
    """Return a model with the weights of a file, in evaluation mode."""
    try:
        model.load_state_dict(tensors)
    except RuntimeError as error:
        raise ValueError(f"{path}: the weights do not fit the recipe ({error})") from error
    return model.eval()


def _recalibrations(tensors: dict[str, Tensor], facts: dict[str, Any]) -> dict[bool, Recalibration]:
    """Return the recalibrations of a file, taking their tensors out of those of the model."""
    result = {}
    for mirror, prefix in _RECALIBRATED.items():
        own = [name for name in tensors if name.startswith(prefix)]
        if own or prefix in facts:
            parts = {name.removeprefix(prefix): tensors.pop(name) for name in own}
            result[mirror] = Recalibration.of_tensors(parts, facts[prefix])
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
