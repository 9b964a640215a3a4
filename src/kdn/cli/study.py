"""`kdn study`."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from typing import Literal

__all__ = ["study"]


def study(
    *,
    out: Path,
    preset: Literal["quick", "small", "paper"] = "quick",
    train: list[str] | None = None,
    test: list[str] | None = None,
    occluded: list[str] | None = None,
    methods: list[str] | None = None,
    seeds: int | None = None,
    once: list[str] | None = None,
    sweep: tuple[float, ...] | None = None,
    epochs: int | None = None,
    jobs: int = 1,
    bootstrap: int = 1000,
    accelerator: str = "auto",
    quiet: bool = False,
) -> int:
    """Reproduce the paper's tables and figures, on your data or on synthetic faces.

    Args:
        out: Folder of the study; finished runs in it are not repeated, interrupted ones go on.
        preset: quick (minutes, synthetic faces), small (one stack, 128 px) or paper (four stacks,
            256 px, for a GPU).
        train: Training data: folders of faces, or other sources; the preset's by default.
        test: Test data, likewise.
        occluded: More faces whose labels say what is hidden, for the numbers of figure 2.
        methods: Rows of the tables: gaussian, softlabel, kdn_uniform, kdn_gaussian, kdn_adaptive,
            kdn_refined; all by default.
        seeds: Trainings of each method; the preset's by default, which is one.
        once: Methods that are trained with the first seed alone, whatever --seeds says.
        sweep: σ of Table 2 in cells; no value for no sweep; 0.1 0.3 1 3 10 by default.
        epochs: Passes over the training data; the preset's by default.
        jobs: Trainings side by side, each with its share of the cores or a GPU of its own.
        bootstrap: Resamples of the 95 % intervals.
        accelerator: Kind of device, as Lightning Fabric names it.
        quiet: No progress on screen.
    """
    from kdn.study import PRESETS, Plan, Study, run_study  # needs all the rest, which takes seconds

    if bool(train) != bool(test):
        raise ValueError("name both --train and --test, or neither for the preset's own faces")
    defaults = PRESETS[preset]
    base = defaults.base
    if train:
        base = replace(base, data=replace(base.data, train=tuple(train)))
    if epochs is not None:
        base = replace(base, optimise=replace(base.optimise, epochs=epochs))
    plan = Plan(
        base=base,
        methods=tuple(defaults.methods if methods is None else methods),
        seeds=defaults.seeds if seeds is None else seeds,
        once=tuple(once or ()),
        sweep=tuple(defaults.sweep if sweep is None else sweep),
        vector_network=defaults.vector_network,
        vector_rate=defaults.vector_rate,
    )
    study = Study(
        plan=plan,
        test=tuple(test or defaults.test),
        occluded=tuple(occluded or ()),
        title=f"Kernel density networks: a study ({preset})",
        preface=defaults.expected,
        bootstrap=bootstrap,
    )
    log = (lambda line: None) if quiet else print
    failed = run_study(study, out, jobs=jobs, accelerator=accelerator, quiet=quiet, log=log)
    for name, problem in failed.items():
        print(f"failed: {name}: {problem}", file=sys.stderr)
    return 1 if failed else 0
