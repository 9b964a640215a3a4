"""The adjustment that makes held-out labels most likely."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from kdn.models.heads import rounded_log_prob
from kdn.models.recalibration.adjustment import PARTS, Adjustment

__all__ = ["fit_adjustment", "mean_nll"]

Batch = tuple[Any, Float[Tensor, "_ labels *event"], Bool[Tensor, "_ labels"]]

_START = 0.3
"""Added deviation that the search starts from, as a share of the kernels'."""


def fit_adjustment(
    batches: Callable[[], Iterable[Batch]],
    *,
    parts: Sequence[str] = PARTS,
    per_label: bool = False,
    rounding: float = 0.0,
    steps: int = 25,
    progress: Callable[[float], object] | None = None,
) -> Adjustment:
    """Return the adjustment with the least mean `−log p` of the labels.

    L-BFGS on `log T`, `log a` and `log s²`, as far as densities of the kind have them
    (`Adjustment.parts_of`), with the exact gradient.

    Args:
        batches: Gives the densities `(batch, labels)` with their labels, in their frame, and which
            of those count; called once for each evaluation of the likelihood, on samples that were
            not trained on.
        parts: What is fitted: `temperature`, `bandwidth`, `covariance`.
        per_label: Fit numbers for every label rather than one for all.
        rounding: Of the labels, see `kdn.models.heads.rounded_log_prob`.
        steps: L-BFGS iterations at most.
        progress: Called with the mean NLL, in nats, after each evaluation.

    Raises:
        ValueError: If there is no such part, or no label that counts.
    """
    wrong = [name for name in parts if name not in PARTS]
    if wrong or not parts:
        raise ValueError(f"parts must be some of {', '.join(PARTS)}, got {list(parts)}")
    first, _, _ = next(iter(batches()))
    shape = (first.batch_shape[-1],) if per_label else ()
    useful = [name for name in Adjustment.parts_of(first) if name in parts]
    search = _Search(useful, shape, start=_START * _width(first))
    if not search.logs:
        return search.adjustment()
    logs = list(search.logs.values())
    optimiser = torch.optim.LBFGS(
        logs,
        max_iter=steps,
        tolerance_grad=1e-5,
        tolerance_change=1e-6,
        line_search_fn="strong_wolfe",
    )

    def evaluate() -> float:
        optimiser.zero_grad()
        total, seen = 0.0, 0
        for batch in batches():
            loss, count = _nll_of(batch, search.adjustment(), rounding)
            loss.backward()
            total, seen = total + float(loss.detach()), seen + count
        _require_labels(seen)
        for logarithm in logs:
            logarithm.grad = None if logarithm.grad is None else logarithm.grad / seen
        if progress is not None:
            progress(total / seen)
        return total / seen

    optimiser.step(evaluate)
    with torch.no_grad():
        return search.adjustment()


def mean_nll(
    batches: Iterable[Batch], adjustment: Adjustment | None = None, *, rounding: float = 0.0
) -> float:
    """Return the mean `−log p` of the labels that count, in nats.

    Args:
        batches: Densities, labels and which of them count.
        adjustment: Changes the densities first.
        rounding: Of the labels.

    Raises:
        ValueError: If no label counts.
    """
    total, seen = 0.0, 0
    with torch.no_grad():
        for batch in batches:
            loss, count = _nll_of(batch, adjustment, rounding)
            total, seen = total + float(loss), seen + count
    _require_labels(seen)
    return total / seen


def _nll_of(batch: Batch, adjustment: Adjustment | None, rounding: float) -> tuple[Tensor, int]:
    """Return the sum of `−log p` over a batch's labels that count, and their number."""
    density, target, valid = batch
    changed = density if adjustment is None else adjustment.applied(density)
    # Where a label is missing one is made up, and its likelihood left out.
    log_prob = rounded_log_prob(changed, target.nan_to_num(0.0), rounding)
    log_prob = log_prob.masked_fill(~valid, 0.0)
    return -log_prob.double().sum(), int(valid.sum())


def _require_labels(count: int) -> None:
    if not count:
        raise ValueError("batches must have a label that counts, got none")


class _Search:
    """The logarithms that are searched over."""

    def __init__(self, parts: Sequence[str], shape: tuple[int, ...], *, start: float) -> None:
        self.shape = shape
        self.start = start
        self.logs = {name: torch.zeros(shape, requires_grad=True) for name in parts}

    def adjustment(self) -> Adjustment:
        """Return the adjustment of the present logarithms."""
        one, logs = torch.ones(self.shape), self.logs
        return Adjustment(
            logs["temperature"].exp() if "temperature" in logs else one,
            logs["bandwidth"].exp() if "bandwidth" in logs else one,
            self.start**2 * logs["covariance"].exp() if "covariance" in logs else 0.0 * one,
        )


def _width(density: Any) -> float:
    """Return the mean deviation of the kernels, or of densities without."""
    bandwidth = getattr(density, "bandwidth", None)
    return float((density.variance.sqrt() if bandwidth is None else bandwidth).mean())
