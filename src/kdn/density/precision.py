"""Densities are computed in float32 or better, also where the network runs in half precision."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor

__all__ = ["at_least_single", "full_precision"]


def at_least_single(tensor: Tensor) -> Tensor:
    """Return the tensor in float32, or as it is if it is float64."""
    return tensor if tensor.dtype == torch.float64 else tensor.float()


def full_precision(device: torch.device) -> AbstractContextManager:
    """Return a context in which matrix products keep the dtype of their inputs.

    `torch.autocast` would run them in bfloat16, which has no more than three digits.
    """
    available = torch.amp.is_autocast_available(device.type)
    if available and torch.is_autocast_enabled(device.type):
        return torch.autocast(device.type, enabled=False)
    return nullcontext()
