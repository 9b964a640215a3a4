"""Recalibration of a model on samples that it was not trained on."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor
from torch.utils.data import default_collate

from kdn.data import CropDataset, Labels, Sample, read_batches
from kdn.models.model import Model
from kdn.models.recalibration import (
    Adjustment,
    ConformalLevels,
    Recalibration,
    fit_adjustment,
    mean_nll,
)

__all__ = ["calibrate", "nll_unit", "recalibrations"]


def calibrate(
    model: Model,
    samples: Sequence[Sample],
    *,
    flip: bool = False,
    parts: Sequence[str] = ("temperature", "bandwidth", "covariance"),
    per_label: bool = False,
    conformal: str = "label",
    batch: int = 16,
    problems: list[str] | None = None,
    progress: Callable[[str], object] | None = None,
) -> Recalibration:
    """Return the recalibration of a model's densities, for `model.recalibrations[flip]`.

    First the adjustment with the least NLL of the labels is fitted, then conformal levels are taken
    from the adjusted densities on the same samples. The adjustment has three numbers, so
    that what it owes to these very samples is far below the `1/n` of the levels.

    Args:
        model: In evaluation mode. What recalibration it has is not looked at.
        samples: Not trained on, cropped by their boxes.
        flip: For densities averaged with those of the flipped crop.
        parts: What is fitted, of `kdn.models.recalibration.PARTS`; empty for no adjustment.
        per_label: Fit these for every label.
        conformal: `label`, `pooled`, or `none`; see `kdn.models.recalibration.ConformalLevels`.
        batch: Samples at a time.
        problems: Where to put one line about each sample that cannot be read, which is then left
            out; None to let it raise.
        progress: Called with a line about each step.

    Raises:
        ValueError: If no sample can be used, a label is missing in all, or an argument is none of
            these.
    """
    if conformal not in ("label", "pooled", "none"):
        raise ValueError(f"conformal must be label, pooled or none, got {conformal!r}")
    report = progress or (lambda line: None)
    outputs = _Outputs.of(model, samples, flip, batch, problems)
    rounding = model.labels.rounding
    before = mean_nll(outputs.batches(), rounding=rounding)
    adjustment, after = None, before
    if parts:
        report(f"{outputs.count} samples: NLL {before:.3f} {nll_unit(model.labels)}")
        adjustment = fit_adjustment(
            outputs.batches,
            parts=parts,
            per_label=per_label,
            rounding=rounding,
            progress=lambda nll: report(f"NLL {nll:.4f}"),
        )
        after = mean_nll(outputs.batches(), adjustment, rounding=rounding)
        if not after < before:  # also where the likelihood has no maximum to be found
            adjustment, after = None, before
    levels = None
    if conformal != "none":
        levels = ConformalLevels(outputs.levels(adjustment), pooled=conformal == "pooled")
    facts = {"samples": outputs.count, "nll": _number(before), "nll_adjusted": _number(after)}
    return Recalibration(adjustment, levels, {**facts, "conformal": conformal})


def recalibrations(
    model: Model, samples: Sequence[Sample], **options: Any
) -> dict[bool, Recalibration]:
    """Return the recalibrations of a model's densities for single crops and averaged with flipped.

    The latter only where the head's densities can be averaged. To be used, they are put into
    `model.recalibrations`; `kdn.models.checkpoint.save_model` writes them then.

    Args:
        model: In evaluation mode.
        samples: Not trained on.
        options: Of `calibrate`.

    Raises:
        ValueError: As `calibrate`.
    """
    views = (False, True) if model.can_flip else (False,)
    return {flip: calibrate(model, samples, flip=flip, **options) for flip in views}


def nll_unit(labels: Labels) -> str:
    """Return what a likelihood of such labels is counted in."""
    return "nats per crop px²" if labels.event else "nats per unit"


def _number(nll: float) -> float | None:
    """Return a number that JSON has: None for an infinite NLL."""
    return nll if math.isfinite(nll) else None


@dataclass(frozen=True)
class _Outputs:
    """What the network says of all samples, kept so that it runs once, with their labels.

    Args:
        model: Whose head turns it into densities.
        rows: Outputs, outputs of the flipped crops, labels, which of them count.
    """

    model: Model
    rows: list[tuple[Tensor, Tensor | None, Tensor, Tensor]]

    @classmethod
    def of(
        cls,
        model: Model,
        samples: Sequence[Sample],
        flip: bool,
        batch: int,
        problems: list[str] | None,
    ) -> _Outputs:
        """Return the outputs of all samples that can be read."""
        data, device = model.recipe.data, model.mean.device
        dataset = CropDataset(samples, labels=model.labels, data=data, augment=None, seed=0)
        rows = []
        for _, items in read_batches(dataset, batch, problems):
            inputs = default_collate(items)
            crops = inputs["image"].to(device)
            with torch.no_grad():
                outputs = model(crops)[-1].cpu()
                flipped = model(crops.flip(-1))[-1].cpu() if flip else None
            rows.append((outputs, flipped, inputs["target"], inputs["valid"]))
        if not any(bool(valid.any()) for *_, valid in rows):
            raise ValueError("samples must hold at least one that can be read and has a label")
        return cls(model, rows)

    @property
    def count(self) -> int:
        """Number of samples with a label."""
        return sum(int(valid.any(dim=-1).sum()) for *_, valid in self.rows)

    def batches(self) -> Iterator[tuple[Any, Tensor, Tensor]]:
        """Yield densities, not recalibrated, with labels and which of them count."""
        device = self.model.mean.device
        for outputs, flipped, target, valid in self.rows:
            with torch.no_grad():
                other = None if flipped is None else flipped.to(device)
                density = self.model.density_of(outputs.to(device), other)
            yield density, target.to(device), valid.to(device)

    def levels(self, adjustment: Adjustment | None) -> Float[np.ndarray, "n labels"]:
        """Return the adjusted densities' own levels of the labels, NaN where there is none."""
        levels = []
        for density, target, valid in self.batches():
            changed = density if adjustment is None else adjustment.applied(density)
            levels.append(changed.hdr_level(target).masked_fill(~valid, math.nan))
        return torch.cat(levels).double().cpu().numpy()
