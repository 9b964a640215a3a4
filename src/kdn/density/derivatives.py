"""Second derivatives of functions whose backward pass is written by hand."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

__all__ = ["recorded_gradients"]


def recorded_gradients(
    formula: Callable[..., Tensor], inputs: Sequence[Tensor], wanted: Sequence[bool], grad: Tensor
) -> tuple[Tensor | None, ...]:
    """Return the gradients of the plain formula, as a graph that can itself be differentiated.

    For the backward pass of a `torch.autograd.Function` under `create_graph=True`, whose own
    gradients would be taken for constants.

    Args:
        formula: A function of the inputs, in operations that autograd knows.
        inputs: The tensors.
        wanted: Which of them need a gradient; None is returned for the others.
        grad: Gradient of the formula's value.
    """
    # New names for the inputs, in case one has been computed from another.
    aliases = [tensor.view_as(tensor) for tensor in inputs]
    needed = [alias for alias, want in zip(aliases, wanted, strict=True) if want]
    found = iter(torch.autograd.grad(formula(*aliases), needed, grad, create_graph=True))
    return tuple(next(found) if want else None for want in wanted)
