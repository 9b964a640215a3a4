"""Regression of values on one axis: one number each, or one Gaussian each."""

from __future__ import annotations

from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

from kdn.density import KernelDensity, LaplaceDensity
from kdn.grid import Grid
from kdn.models.heads.head import Head, rounded_log_prob

__all__ = ["GaussianValue", "Regression", "gaussian_on_axis"]

_LOG_SCALE_LIMIT = 6.0
_GAIN = 10.0
"""A log-scale has to travel far in few steps of an adaptive optimiser, as a log-bandwidth has."""


class Regression(Head):
    """Plain regression: one number a value, by least absolute or least squared error.

    Its density is the one whose likelihood that error is, with one width for all samples: a
    Laplace for `l1`, a Gaussian for `l2`. The width is learned beside the loss, by the likelihood
    of the residuals, and the numbers do not see it: they learn by the error alone.

    Args:
        landmarks: Number of values.
        grid: Says where values are: an output of 0 is its middle, of 1 its upper end.
        error: Which error is least.
        rounding: See `Head`.
    """

    takes_maps = False

    def __init__(
        self, *, landmarks: int, grid: Grid, error: Literal["l1", "l2"], rounding: float = 0.0
    ):
        super().__init__()
        self.landmarks = landmarks
        self.channels = landmarks
        self.error = error
        self.rounding = rounding
        self.middle, self.reach = _middle_and_reach(grid)
        self.log_ratio = nn.Parameter(torch.zeros(landmarks))

    def density(self, outputs: Float[Tensor, "batch channels"]) -> KernelDensity | LaplaceDensity:
        """Return the densities, in the unit of the values."""
        return self._density(self._numbers(outputs))

    def loss(
        self, outputs: Float[Tensor, "batch channels"], points: Float[Tensor, "batch landmarks"]
    ) -> Float[Tensor, "batch landmarks"]:
        """Return the error in units of a quarter of the grid, plus the NLL of the width alone."""
        numbers = self._numbers(outputs)
        off = (numbers - points) / (0.5 * self.reach)
        error = off.abs() if self.error == "l1" else off.square()
        width = rounded_log_prob(self._density(numbers.detach()), points, self.rounding)
        return error - width

    def _numbers(self, outputs: Tensor) -> Tensor:
        """Return the predictions, in the unit of the values, in float32 or better."""
        outputs = outputs if outputs.dtype == torch.float64 else outputs.float()
        return self.middle + self.reach * outputs

    def _density(self, numbers: Tensor) -> KernelDensity | LaplaceDensity:
        scale = 0.25 * self.reach * (_GAIN * self.log_ratio).exp().to(numbers)
        if self.error == "l1":
            return LaplaceDensity(numbers, scale.expand_as(numbers))
        return gaussian_on_axis(numbers, scale.expand_as(numbers))


class GaussianValue(Head):
    """One Gaussian a value: its mean and the logarithm of its deviation, by likelihood.

    Two outputs a value: the mean in units of half the grid from its middle, and the log-deviation
    in units of a quarter of that.

    Args:
        landmarks: Number of values.
        grid: Says where values are.
        rounding: See `Head`.
    """

    takes_maps = False

    def __init__(self, *, landmarks: int, grid: Grid, rounding: float = 0.0):
        super().__init__()
        self.landmarks = landmarks
        self.channels = 2 * landmarks
        self.rounding = rounding
        self.middle, self.reach = _middle_and_reach(grid)

    def density(self, outputs: Float[Tensor, "batch channels"]) -> KernelDensity:
        """Return the Gaussians, in the unit of the values."""
        outputs = outputs if outputs.dtype == torch.float64 else outputs.float()
        mean, log_scale = outputs.unflatten(1, (2, self.landmarks)).unbind(1)
        bounded = _LOG_SCALE_LIMIT * torch.tanh(log_scale / _LOG_SCALE_LIMIT)
        return gaussian_on_axis(self.middle + self.reach * mean, 0.25 * self.reach * bounded.exp())


def gaussian_on_axis(mean: Float[Tensor, ...], deviation: Float[Tensor, ...]) -> KernelDensity:
    """Return Gaussians as kernel densities of one kernel each.

    Args:
        mean: `(*batch)`.
        deviation: Standard deviations, `(*batch)`.

    Example:
        >>> density = gaussian_on_axis(torch.tensor([3.0, 5.0]), torch.tensor([1.0, 2.0]))
        >>> density.mean.tolist(), density.variance.tolist()
        ([3.0, 5.0], [1.0, 4.0])
    """
    one = Grid.of_interval(0.0, 0.0, step=1.0)
    logits = torch.zeros_like(mean).unsqueeze(-1)
    return KernelDensity(logits, one, bandwidth=deviation, offsets=mean[..., None, None])


def _middle_and_reach(grid: Grid) -> tuple[float, float]:
    """Return the middle of a grid of values, and half its length."""
    (low,), (high,) = grid.low, grid.high
    return 0.5 * (low + high), 0.5 * (high - low)
