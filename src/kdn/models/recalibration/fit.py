"""The adjustment that makes held-out labels most likely."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from kdn.density import GaussianDensity, KernelDensity
from kdn.models.recalibration.adjustment import Adjustment

__all__ = ["PARTS", "fit_adjustment", "mean_nll"]

Density = KernelDensity | GaussianDensity
Batch = tuple[Density, Float[Tensor, "_ landmarks 2"], Bool[Tensor, "_ landmarks"]]

PARTS = ("temperature", "bandwidth", "covariance")
"""What can be fitted."""

_START = 0.3
"""Added deviation that the search starts from, as a share of the kernels'."""


def fit_adjustment(
    batches: Callable[[], Iterable[Batch]],
    *,
    parts: Sequence[str] = PARTS,
    per_landmark: bool = False,
    steps: int = 25,
    progress: Callable[[float], object] | None = None,
) -> Adjustment:
    """Return the adjustment with the least mean `−log p` of the labels.

    L-BFGS on `log T`, `log a` and `log s²`, with the exact gradient. Where all kernels have one
    bandwidth, factor and addition do the same, and only the factor is fitted; likewise a single
    Gaussian has no temperature.

    Args:
        batches: Gives the densities `(batch, landmarks)` with their labels, in their frame, and
            which of those count; called once for each evaluation of the likelihood, on samples
            that were not trained on.
        parts: What is fitted: `temperature`, `bandwidth`, `covariance`.
        per_landmark: Fit numbers for every landmark rather than one for all.
        steps: L-BFGS iterations at most.
        progress: Called with the mean NLL, nats per crop px², after each evaluation.

    Raises:
        ValueError: If there is no such part, or no label that counts.
    """
    wrong = [part for part in parts if part not in PARTS]
    if wrong or not parts:
        raise ValueError(f"parts must be some of {', '.join(PARTS)}, got {list(parts)}")
    first, _, _ = next(iter(batches()))
    shape = (first.batch_shape[-1],) if per_landmark else ()
    search = _Search(_useful(first, parts), shape, start=_START * _width(first))
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
            loss, count = _nll_of(batch, search.adjustment())
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


def mean_nll(batches: Iterable[Batch], adjustment: Adjustment | None = None) -> float:
    """Return the mean `−log p` of the labels that count, nats per crop px².

    Args:
        batches: Densities, labels and which of them count.
        adjustment: Changes the densities first.

    Raises:
        ValueError: If no label counts.
    """
    total, seen = 0.0, 0
    with torch.no_grad():
        for batch in batches:
            loss, count = _nll_of(batch, adjustment)
            total, seen = total + float(loss), seen + count
    _require_labels(seen)
    return total / seen


def _nll_of(batch: Batch, adjustment: Adjustment | None) -> tuple[Tensor, int]:
    """Return the sum of `−log p` over a batch's labels that count, and their number."""
    density, points, valid = batch
    changed = density if adjustment is None else adjustment.applied(density)
    # Where a label is missing its place is made up, and its likelihood left out.
    log_prob = changed.log_prob(points.nan_to_num(0.0)).masked_fill(~valid, 0.0)
    return -log_prob.double().sum(), int(valid.sum())


def _require_labels(count: int) -> None:
    if not count:
        raise ValueError("batches must have a label that counts, got none")


class _Search:
    """The logarithms that are searched over."""

    def __init__(self, parts: Sequence[str], shape: tuple[int, ...], *, start: float) -> None:
        self.shape = shape
        self.start = start
        self.logs = {part: torch.zeros(shape, requires_grad=True) for part in parts}

    def adjustment(self) -> Adjustment:
        """Return the adjustment of the present logarithms."""
        one, logs = torch.ones(self.shape), self.logs
        return Adjustment(
            logs["temperature"].exp() if "temperature" in logs else one,
            logs["bandwidth"].exp() if "bandwidth" in logs else one,
            self.start**2 * logs["covariance"].exp() if "covariance" in logs else 0.0 * one,
        )


def _width(density: Density) -> float:
    """Return the mean deviation of the kernels, or of the Gaussians."""
    if isinstance(density, GaussianDensity):
        return float(density.uncertainty_length.mean())
    if density.bandwidth is None:
        square = sum(s**2 for s in density.grid.spacing) / density.grid.ndim
        return (density.kernel.variance * square) ** 0.5
    return density.kernel.variance**0.5 * float(density.bandwidth.mean())


def _useful(density: Density, parts: Sequence[str]) -> list[str]:
    """Return the parts, in a fixed order, that differ in what they do to such densities."""
    parts = [part for part in PARTS if part in parts]
    left = [part for part in parts if part != "temperature" or isinstance(density, KernelDensity)]
    bandwidth = density.bandwidth if isinstance(density, KernelDensity) else torch.arange(2)
    same = bandwidth is None or bool((bandwidth == bandwidth.flatten()[0]).all())
    if same and "bandwidth" in left:
        left = [part for part in left if part != "covariance"]
    return left
