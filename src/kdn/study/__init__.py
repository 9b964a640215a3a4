"""The paper's experiments in one piece: plan, trainings, scores, tables, figures and report."""

from kdn.study.plan import METHODS, PRESETS, REFERENCE, Method, Plan, Preset, Run
from kdn.study.results import Study
from kdn.study.study import run_study

__all__ = [
    "METHODS",
    "PRESETS",
    "REFERENCE",
    "Method",
    "Plan",
    "Preset",
    "Run",
    "Study",
    "run_study",
]
