"""Plain regression of scalars: one number each, by least absolute or least squared error."""

from __future__ import annotations

from abc import abstractmethod

import torch
from jaxtyping import Float
from torch import Tensor, nn

from kdn.density import KernelDensity, LaplaceDensity
from kdn.grid import Grid
from kdn.models.heads.gaussian import gaussian_on_axis
from kdn.models.heads.head import Head, at_least_single, rounded_log_prob

__all__ = ["L1", "L2", "Regression"]

_GAIN = 10.0
"""A log-scale has to travel far in few steps of an adaptive optimiser, as a log-bandwidth has."""


class Regression(Head):
    """One number a label, by the error of a subclass.

    Its density is the one whose likelihood that error is, with one width for all samples. The width
    is learned beside the loss, by the likelihood of the residuals, and the numbers do not see it:
    they learn by the error alone.

    Args:
        count: Number of labels.
        grid: Says where they are: an output of 0 is its middle, of 1 its upper end.
        rounding: See `Head`.
    """

    fits = ("scalars",)

    def __init__(self, count: int, grid: Grid, rounding: float = 0.0):
        super().__init__(count, grid, rounding)
        (low,), (high,) = grid.low, grid.high
        self.channels = count
        self.middle, self.reach = 0.5 * (low + high), 0.5 * (high - low)
        self.log_ratio = nn.Parameter(torch.zeros(count))

    @abstractmethod
    def error(self, off: Float[Tensor, "batch labels"]) -> Float[Tensor, "batch labels"]:
        """Return what is least, of differences in units of a quarter of the grid."""

    @abstractmethod
    def around(
        self, numbers: Float[Tensor, "batch labels"], scale: Float[Tensor, "batch labels"]
    ) -> KernelDensity | LaplaceDensity:
        """Return the density about numbers whose log-likelihood is minus the error."""

    def density(self, outputs: Float[Tensor, "batch channels"]) -> KernelDensity | LaplaceDensity:
        """Return the densities, in the unit of the labels."""
        return self._density(self._numbers(outputs))

    def loss(
        self, outputs: Float[Tensor, "batch channels"], target: Float[Tensor, "batch labels"]
    ) -> Float[Tensor, "batch labels"]:
        """Return the error in units of a quarter of the grid, plus the NLL of the width alone."""
        numbers = self._numbers(outputs)
        error = self.error((numbers - target) / (0.5 * self.reach))
        return error - rounded_log_prob(self._density(numbers.detach()), target, self.rounding)

    def _numbers(self, outputs: Tensor) -> Tensor:
        """Return the predictions, in the unit of the labels, in float32 or better."""
        return self.middle + self.reach * at_least_single(outputs)

    def _density(self, numbers: Tensor) -> KernelDensity | LaplaceDensity:
        scale = 0.25 * self.reach * (_GAIN * self.log_ratio).exp().to(numbers)
        return self.around(numbers, scale.expand_as(numbers))


class L1(Regression):
    """Least absolute error: a Laplace density."""

    name = "l1"

    def error(self, off: Float[Tensor, "batch labels"]) -> Float[Tensor, "batch labels"]:
        return off.abs()

    def around(self, numbers: Tensor, scale: Tensor) -> LaplaceDensity:
        return LaplaceDensity(numbers, scale)


class L2(Regression):
    """Least squared error: a Gaussian density."""

    name = "l2"

    def error(self, off: Float[Tensor, "batch labels"]) -> Float[Tensor, "batch labels"]:
        return off.square()

    def around(self, numbers: Tensor, scale: Tensor) -> KernelDensity:
        return gaussian_on_axis(numbers, scale)
