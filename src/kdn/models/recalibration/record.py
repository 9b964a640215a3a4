"""What a model carries after recalibration: how to change its densities, and what levels hold."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from kdn.models.recalibration.adjustment import Adjustment
from kdn.models.recalibration.conformal import ConformalLevels

__all__ = ["Recalibration"]

_NUMBERS = ("temperature", "bandwidth_factor", "added_variance")


@dataclass(frozen=True)
class Recalibration:
    """An adjustment of densities, and conformal levels of the adjusted ones.

    Args:
        adjustment: None where the densities stay as they are.
        levels: None where their own levels are taken at their word.
        facts: About the fit, of JSON types: on what, on how many samples, NLL before and after.
    """

    adjustment: Adjustment | None = None
    levels: ConformalLevels | None = None
    facts: Mapping[str, Any] = field(default_factory=dict)

    def adjusted(self, density: Any) -> Any:
        """Return the density as the adjustment changes it."""
        return density if self.adjustment is None else self.adjustment.applied(density)

    def hdr_level(self, density: Any, points: Float[Tensor, ...]) -> Float[Tensor, ...]:
        """Return the least nominal level whose region holds each point, `(*sample, *batch)`.

        Args:
            density: Adjusted, batch shape `(*batch, labels)`.
            points: `(*sample, *batch, labels, *event)` in its frame.
        """
        level = density.hdr_level(points)
        if self.levels is None:
            return level
        corrected = self.levels.corrected(level.double().cpu().numpy())
        return torch.from_numpy(corrected).to(level)

    def hdr_tie(self, density: Any, points: Float[Tensor, ...]) -> Float[Tensor, ...]:
        """Return how much of the nominal level is due to all that is as dense as each point.

        Args:
            density: Adjusted, batch shape `(*batch, labels)`.
            points: `(*sample, *batch, labels, *event)` in its frame.
        """
        tie = density.hdr_tie(points)
        if self.levels is None:
            return tie
        level = density.hdr_level(points).double().cpu().numpy()
        corrected = self.levels.corrected_tie(level, tie.double().cpu().numpy())
        return torch.from_numpy(corrected).to(tie)

    def own_level(self, nominal: float, labels: int) -> Float[np.ndarray, " labels"]:
        """Return the level of highest density whose region holds a label this often."""
        if self.levels is None:
            if not 0 <= nominal <= 1:
                raise ValueError(f"nominal must be in [0, 1], got {nominal}")
            return np.full(labels, nominal)
        return self.levels.own(nominal)

    def summary(self) -> dict[str, Any]:
        """Return the facts with the adjustment's numbers (means where they are per label)."""
        summary = dict(self.facts)
        if self.adjustment is not None:
            summary |= {name: float(getattr(self.adjustment, name).mean()) for name in _NUMBERS}
        return summary

    def tensors(self) -> dict[str, Tensor]:
        """Return what a checkpoint stores of it beside the facts."""
        tensors: dict[str, Tensor] = {}
        if self.adjustment is not None:
            tensors |= {name: getattr(self.adjustment, name) for name in _NUMBERS}
        if self.levels is not None:
            name = "pooled_levels" if self.levels.pooled else "levels"
            tensors[name] = torch.from_numpy(self.levels.levels).float()
        return tensors

    @classmethod
    def of_tensors(cls, tensors: Mapping[str, Tensor], facts: Mapping[str, Any]) -> Recalibration:
        """Return what `tensors` was taken from.

        Raises:
            KeyError: If a tensor is missing.
            ValueError: If a number is not in its range.
        """
        adjustment = levels = None
        if "temperature" in tensors:
            adjustment = Adjustment(**{name: tensors[name].float() for name in _NUMBERS})
        for name in ("levels", "pooled_levels"):
            if name in tensors:
                levels = ConformalLevels(tensors[name].double().numpy(), pooled=name != "levels")
        return cls(adjustment, levels, dict(facts))
