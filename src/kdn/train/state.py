"""From a running training to a `TrainingState` that can be written, and back."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from kdn.models.checkpoint import TrainingState

__all__ = ["capture_state", "restore_state"]


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
