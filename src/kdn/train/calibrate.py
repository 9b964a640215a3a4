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

from kdn.data import CropDataset, PointLabels, Sample, read_batches
from kdn.density import GaussianDensity, KernelDensity
from kdn.models.model import LandmarkModel
from kdn.models.recalibration import (
    Adjustment,
    ConformalLevels,
    Recalibration,
    fit_adjustment,
    mean_nll,
)

__all__ = ["calibrate", "recalibrations"]


def calibrate(
    model: LandmarkModel,
    samples: Sequence[Sample],
    *,
    mirror: bool = False,
    parts: Sequence[str] = ("temperature", "bandwidth", "covariance"),
    per_landmark: bool = False,
    conformal: str = "landmark",
    batch: int = 16,
    problems: list[str] | None = None,
    progress: Callable[[str], object] | None = None,
) -> Recalibration:
    """Return the recalibration of a model's densities, for `model.recalibrations[mirror]`.

    First the adjustment with the least NLL of the labels is fitted, then conformal levels are taken
    from the adjusted densities on the same samples. The adjustment has three numbers, so
    that what it owes to these very samples is far below the `1/n` of the levels.

    Args:
        model: In evaluation mode. What recalibration it has is not looked at.
        samples: Not trained on, cropped by their boxes.
        mirror: For densities averaged with those of the mirrored crop.
        parts: What is fitted, of `kdn.models.recalibration.PARTS`; empty for no adjustment.
        per_landmark: Fit these for every landmark.
        conformal: `landmark`, `pooled`, or `none`; see `kdn.models.recalibration.ConformalLevels`.
        batch: Samples at a time.
        problems: Where to put one line about each sample that cannot be read, which is then left
            out; None to let it raise.
        progress: Called with a line about each step.

    Raises:
        ValueError: If no sample can be used, a landmark has no label, or an argument is none of the
            above.
    """
    if conformal not in ("landmark", "pooled", "none"):
        raise ValueError(f"conformal must be landmark, pooled or none, got {conformal!r}")
    said = progress or (lambda line: None)
    outputs = _Outputs.of(model, samples, mirror, batch, problems)
    before = mean_nll(outputs.batches())
    adjustment, after = None, before
    if parts:
        said(f"{outputs.count} faces: NLL {before:.3f} nats per crop px²")
        adjustment = fit_adjustment(
            outputs.batches,
            parts=parts,
            per_landmark=per_landmark,
            progress=lambda nll: said(f"NLL {nll:.4f}"),
        )
        after = mean_nll(outputs.batches(), adjustment)
        if not after < before:  # also where the likelihood has no maximum to be found
            adjustment, after = None, before
    levels = None
    if conformal != "none":
        levels = ConformalLevels(outputs.levels(adjustment), pooled=conformal == "pooled")
    facts = {"faces": outputs.count, "nll": _number(before), "nll_adjusted": _number(after)}
    return Recalibration(adjustment, levels, {**facts, "conformal": conformal})


def recalibrations(
    model: LandmarkModel, samples: Sequence[Sample], **options: Any
) -> dict[bool, Recalibration]:
    """Return the recalibrations of a model's densities for single crops and averaged with mirrored.

    The latter only where the head's densities can be averaged. To be used, they are put into
    `model.recalibrations`; `kdn.models.checkpoint.save_model` writes them then.

    Args:
        model: In evaluation mode.
        samples: Not trained on.
        options: Of `calibrate`.

    Raises:
        ValueError: As `calibrate`.
    """
    views = (False, True) if model.can_mirror else (False,)
    return {mirror: calibrate(model, samples, mirror=mirror, **options) for mirror in views}


def _number(nll: float) -> float | None:
    """Return a number that JSON has: None for an infinite NLL."""
    return nll if math.isfinite(nll) else None


@dataclass(frozen=True)
class _Outputs:
    """What the network says of all samples, kept so that it runs once, with their labels.

    Args:
        model: Whose head turns it into densities.
        rows: Outputs, outputs of the mirrored crops, labels in crop px, which of them count.
    """

    model: LandmarkModel
    rows: list[tuple[Tensor, Tensor | None, Tensor, Tensor]]

    @classmethod
    def of(
        cls,
        model: LandmarkModel,
        samples: Sequence[Sample],
        mirror: bool,
        batch: int,
        problems: list[str] | None,
    ) -> _Outputs:
        """Return the outputs of all samples that can be read."""
        data, device = model.recipe.data, model.mean.device
        dataset = CropDataset(
            samples, labels=PointLabels(model.markup), data=data, augment=None, seed=0
        )
        rows = []
        for _, items in read_batches(dataset, batch, problems):
            inputs = default_collate(items)
            crops = inputs["image"].to(device)
            with torch.no_grad():
                outputs = model(crops)[-1].cpu()
                mirrored = model(crops.flip(-1))[-1].cpu() if mirror else None
            rows.append((outputs, mirrored, inputs["target"], inputs["valid"]))
        if not any(bool(valid.any()) for *_, valid in rows):
            raise ValueError("samples must hold at least one that can be read and has a label")
        return cls(model, rows)

    @property
    def count(self) -> int:
        """Number of samples with a label."""
        return sum(int(valid.any(dim=-1).sum()) for *_, valid in self.rows)

    def batches(self) -> Iterator[tuple[KernelDensity | GaussianDensity, Tensor, Tensor]]:
        """Yield densities, not recalibrated, with labels and which of them count."""
        device = self.model.mean.device
        for outputs, mirrored, points, valid in self.rows:
            with torch.no_grad():
                other = None if mirrored is None else mirrored.to(device)
                density = self.model.density_of(outputs.to(device), other)
            yield density, points.to(device), valid.to(device)

    def levels(self, adjustment: Adjustment | None) -> Float[np.ndarray, "n landmarks"]:
        """Return the adjusted densities' own levels of the labels, NaN where there is none."""
        found = []
        for density, points, valid in self.batches():
            changed = density if adjustment is None else adjustment.applied(density)
            found.append(changed.hdr_level(points).masked_fill(~valid, math.nan))
        return torch.cat(found).double().cpu().numpy()
