"""`kdn calibrate`."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from typing import Literal

from kdn.data import PointLabels, held_out_samples
from kdn.models import model_path
from kdn.models.checkpoint import load_model, save_model
from kdn.models.recalibration import PARTS
from kdn.train.calibrate import recalibrations

__all__ = ["calibrate"]


def calibrate(
    *,
    model: str,
    out: Path,
    data: list[str] | None = None,
    fit: list[str] | None = None,
    per_landmark: bool = False,
    conformal: Literal["landmark", "pooled", "none"] = "landmark",
    batch: int = 16,
    quiet: bool = False,
) -> int:
    """Fit the densities of a model to labels that it was not trained on, and write the model anew.

    Args:
        model: A checkpoint of kdn train, or the name of a packaged model.
        out: File to write, .safetensors: the model, whose predictions are recalibrated from now on.
        data: Labelled samples, as for kdn train; of sources the model was trained on, only what
            was held out then is taken; everything that was held out if left out.
        fit: What is fitted: temperature, bandwidth, covariance (all three by default), or none.
        per_landmark: Fit for every landmark what is otherwise one for all.
        conformal: Regions that hold what they say: landmark (each landmark's), pooled (all
            landmarks' on average), or none (the densities are taken at their word).
        batch: Crops at a time.
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
    wrong = [part for part in parts if part not in PARTS]
    if wrong:
        raise ValueError(f"fit must be some of {', '.join(PARTS)}, or none alone, got {wrong[0]!r}")
    loaded, facts = load_model(model)
    problems: list[str] = []
    labels = PointLabels(loaded.markup)
    samples = held_out_samples(loaded.recipe.data, labels, data or [], problems=problems)
    found = recalibrations(
        loaded,
        samples,
        parts=parts,
        per_landmark=per_landmark,
        conformal=conformal,
        batch=batch,
        problems=problems,
        progress=None if quiet else lambda line: print(line, file=sys.stderr),
    )
    source = {"data": list(data or ["held out in training"])}
    for mirror, result in found.items():
        loaded.recalibrations[mirror] = replace(result, facts={**result.facts, **source})
        name = "averaged with the mirrored crop" if mirror else "one crop"
        print(f"{name}: {_said(result.summary())}")
    if conformal != "none":
        print(_promise(int(found[False].facts["faces"])))
    save_model(out, loaded, {k: v for k, v in facts.items() if k not in ("recipe", "format")})
    print(out)
    for problem in dict.fromkeys(problems):
        print(f"left out: {problem}", file=sys.stderr)
    return 1 if problems else 0


def _said(summary: dict[str, object]) -> str:
    """Return a line about a recalibration."""

    def nll(name: str) -> str:
        value = summary[name]
        return "inf" if value is None else f"{value:.3f}"

    count = summary["faces"]
    line = f"{count} face{'s' * (count != 1)}, "
    line += f"NLL {nll('nll')} → {nll('nll_adjusted')} nats per crop px²"
    if "temperature" in summary:
        variance = float(summary["added_variance"])  # type: ignore[arg-type]
        line += (
            f"; temperature {summary['temperature']:.3f}, bandwidth × "
            f"{summary['bandwidth_factor']:.3f}, added deviation {variance**0.5:.3f} crop px"
        )
    return line


def _promise(faces: int) -> str:
    """Return a line about the levels that so many faces are enough for."""
    most = 100.0 * faces / (faces + 1)
    line = f"regions of up to {most:.1f} % are held to their promise; larger ones are everything"
    return line if most > 95.0 else f"{line}: calibrate on more faces"
