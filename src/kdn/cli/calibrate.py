"""`kdn calibrate`."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

from kdn.data import Labels, held_out_samples
from kdn.models import model_path
from kdn.models.checkpoint import load_model, save_model
from kdn.models.recalibration import PARTS
from kdn.train.calibrate import nll_unit, recalibrations

__all__ = ["calibrate"]


def calibrate(
    *,
    model: str,
    out: Path,
    data: list[str] | None = None,
    fit: list[str] | None = None,
    per_label: bool = False,
    conformal: Literal["label", "pooled", "none"] = "label",
    batch: int = 16,
    trust: list[str] | None = None,
    quiet: bool = False,
) -> int:
    """Fit the densities of a model to labels that it was not trained on, and write the model anew.

    Args:
        model: A checkpoint of kdn train, or the name of a packaged model.
        out: File to write, .safetensors: the model, whose predictions are recalibrated from now on.
        data: Labelled samples, as for kdn train; of sources the model was trained on, only what
            was held out then is taken; everything that was held out if left out.
        fit: What is fitted: temperature, bandwidth, covariance (all three by default), or none.
        per_label: Fit for every label what is otherwise one for all.
        conformal: Regions that hold what they say: label (each label's), pooled (all labels' on
            average), or none (the densities are taken at their word).
        batch: Crops at a time.
        trust: Packages of yours whose code the model may run.
        quiet: Print the result only.
    """
    if out.suffix != ".safetensors":
        raise ValueError(f"out must end in .safetensors, got {out}")
    if out.exists() and out.samefile(model_path(model)):
        raise ValueError(f"out must be another file than the model, got {out}")
    if batch < 1:
        raise ValueError(f"batch must be at least 1, got {batch}")
    parts = list(PARTS if fit is None else fit)
    if parts == ["none"]:
        parts = []
    wrong = [name for name in parts if name not in PARTS]
    if wrong:
        raise ValueError(f"fit must be some of {', '.join(PARTS)}, or none alone, got {wrong[0]!r}")
    loaded, metadata = load_model(model, trust=trust or ())
    problems: list[str] = []
    samples = held_out_samples(
        loaded.recipe.data, loaded.labels, data or [], problems=problems, trust=trust or ()
    )
    fitted = recalibrations(
        loaded,
        samples,
        parts=parts,
        per_label=per_label,
        conformal=conformal,
        batch=batch,
        problems=problems,
        progress=None if quiet else lambda line: print(line, file=sys.stderr),
    )
    source = {"data": list(data or ["held out in training"])}
    for flip, result in fitted.items():
        loaded.recalibrations[flip] = replace(result, facts={**result.facts, **source})
        name = "averaged with the flipped crop" if flip else "one crop"
        print(f"{name}: {_line(result.summary(), loaded.labels)}")
    if conformal != "none":
        print(_promise(int(fitted[False].facts["samples"])))
    save_model(out, loaded, metadata)
    print(out)
    for problem in dict.fromkeys(problems):
        print(f"left out: {problem}", file=sys.stderr)
    return 1 if problems else 0


def _line(summary: dict[str, Any], labels: Labels) -> str:
    """Return a line about a recalibration."""

    def nll(name: str) -> str:
        value = summary[name]
        return "inf" if value is None else f"{value:.3f}"

    count = summary["samples"]
    line = f"{count} sample{'s' * (count != 1)}, "
    line += f"NLL {nll('nll')} → {nll('nll_adjusted')} {nll_unit(labels)}"
    if "temperature" in summary:
        line += (
            f"; temperature {summary['temperature']:.3f}, bandwidth × "
            f"{summary['bandwidth_factor']:.3f}, added deviation "
            f"{summary['added_variance'] ** 0.5:.3f}{' crop px' if labels.event else ''}"
        )
    return line


def _promise(samples: int) -> str:
    """Return a line about the levels that so many samples are enough for."""
    most = 100.0 * samples / (samples + 1)
    line = f"regions of up to {most:.1f} % are held to their promise; larger ones are everything"
    return line if most > 95.0 else f"{line}: calibrate on more samples"
