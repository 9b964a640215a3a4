"""Learning rates, sample orders and averaged weights, by the step alone."""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch
from torch import nn
from torch.utils.data import Sampler

from kdn.recipe import OptimiseRecipe

__all__ = ["EpochBatches", "rate_at", "update_average"]


_WARM_UP = 0.3
_START_DIVISOR = 25.0
_END_DIVISOR = 25e4


def rate_at(recipe: OptimiseRecipe, progress: float) -> float:
    """Return the learning rate at a share of the run done, 0 to 1.

    `one_cycle` rises by a cosine from `rate/25` to `rate` over the first 30 % and falls by a cosine
    to `rate/250 000` (Smith and Topin, *Super-convergence*, 2018). `steps` is `rate`, a tenth of it
    from 15/40 of the run, a hundredth from 30/40 (the paper's appendix A). `constant` is `rate`.

    Raises:
        ValueError: If `progress` is not in [0, 1].
    """
    if not 0 <= progress <= 1:
        raise ValueError(f"progress must be in [0, 1], got {progress}")
    if recipe.schedule == "constant":
        return recipe.rate
    if recipe.schedule == "steps":
        return recipe.rate * (1.0 if progress < 15 / 40 else 0.1 if progress < 30 / 40 else 0.01)
    if progress < _WARM_UP:
        return _cosine(recipe.rate / _START_DIVISOR, recipe.rate, progress / _WARM_UP)
    return _cosine(recipe.rate, recipe.rate / _END_DIVISOR, (progress - _WARM_UP) / (1 - _WARM_UP))


def _cosine(start: float, end: float, share: float) -> float:
    return end + (start - end) * (1 + math.cos(math.pi * share)) / 2


class EpochBatches(Sampler[list[int]]):
    """The batches of one epoch for one process: a permutation drawn from (seed, epoch) alone.

    A last batch that is not full is left out, since batch normalisation over a few samples
    disturbs the weights; which samples it would hold changes with every epoch. If there are fewer
    samples than one batch, they make one.

    Args:
        count: Number of samples.
        batch: Samples per step over all processes, a multiple of `world`.
        seed: Seed of the orders.
        rank: Which process this is.
        world: Number of processes.

    Raises:
        ValueError: If `batch` is not a multiple of `world`.
    """

    def __init__(self, count: int, *, batch: int, seed: int, rank: int = 0, world: int = 1):
        if batch % world:
            raise ValueError(f"batch must be a multiple of the {world} processes, got {batch}")
        self.count, self.batch, self.seed = count, min(batch, count - count % world), seed
        self.rank, self.world = rank, world
        self.epoch = 0

    def __len__(self) -> int:
        return self.count // self.batch

    def __iter__(self) -> Iterator[list[int]]:
        generator = torch.Generator().manual_seed(self.seed * 1_000_003 + self.epoch)
        order = torch.randperm(self.count, generator=generator).tolist()
        for step in range(len(self)):
            yield order[step * self.batch : (step + 1) * self.batch][self.rank :: self.world]


def update_average(average: nn.Module, model: nn.Module, *, decay: float, step: int) -> None:
    """Move an averaged copy of a model towards it: `a ← d·a + (1 − d)·w`.

    The decay warms up, `d = min(decay, (1 + step) / (10 + step))`, so that the first weights are
    soon forgotten. Buffers of floating point, such as the statistics of batch normalisation, are
    averaged likewise; others are copied.

    Args:
        average: The averaged copy, changed in place.
        model: The model that is trained.
        decay: Weight of the past, in [0, 1).
        step: Optimiser steps done before this one.
    """
    weight = 1 - min(decay, (1 + step) / (10 + step))
    with torch.no_grad():
        for ours, theirs in zip(average.parameters(), model.parameters(), strict=True):
            ours.lerp_(theirs, weight)
        for ours, theirs in zip(average.buffers(), model.buffers(), strict=True):
            if ours.is_floating_point():
                ours.lerp_(theirs, weight)
            else:
                ours.copy_(theirs)
