"""The sections of a study's report, in order."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

import numpy as np

from kdn.data import Framing
from kdn.figures import (
    ced_figure,
    convergence_figure,
    gradient_figure,
    heatmap_figure,
    reliability_figure,
    uncertainty_figure,
)
from kdn.grid import Grid
from kdn.models.networks.fan import FAN
from kdn.study.floor import cell_share, decode_floor
from kdn.study.heatmaps import (
    boundary_table,
    crop_of,
    gradient_stages,
    hidden_faces,
    loss_gradient,
    occlusion_table,
    seen_faces,
)
from kdn.study.plan import METHODS, REFERENCE
from kdn.study.report import Picture, Table
from kdn.study.results import Results, Scores, finished, losses, predict_run, score_run, seconds
from kdn.study.tables import epochs_to_final, published_table, score_tables, sweep_table
from kdn.study.training import environment, environment_of

__all__ = ["sections"]

HIDDEN = (30, 45, 36, 48, 54)
"""The paper's landmarks inside the face, 0-based: tip of the nose, eye and mouth corners."""

BOUNDARY = (0, 4, 8, 12, 16)
"""The paper's landmarks on the boundary of the face, 0-based."""

_DRAWN = 2  # faces a figure of heatmaps is drawn for
_KEPT = 24  # faces whose heatmaps are kept for the shape of peaks
_SHOWN = ("softlabel", "kdn_uniform", "kdn_gaussian", "kdn_adaptive", "kdn_refined")


_WORDS = """## What the words mean

| Word | Meaning, and for methods the point that is predicted |
|---|---|
| Gaussian | a ResNet that gives one Gaussian a landmark, by its likelihood; its mean |
| Softlabel | heatmaps regressed towards a Gaussian patch; argmax with a quarter shift |
| KDN-Uniform | softmax cross-entropy over cells; the most probable cell |
| KDN-Gaussian | a Gaussian kernel of one cell on every cell, by its likelihood; its mode |
| KDN-Adaptive | the same, each kernel moved and widened by the network; the mean |
| KDN-refined | the grid four times finer, the bandwidth learned per landmark; the mean |
| NME, box | mean distance from the label, in percent of the root of the landmark box's area |
| AUC@7 | area under the share of faces with at most an NME, up to 7 %, in percent of the whole |
| failure@7 | faces with an NME above 7 %, in percent |
| NLL per crop px² | mean negative log-density at the label, nats; lengths in crop pixels |
| regions | of highest density; a 90 % region should hold 90 % of the labels |
| uncertainty | the fourth root of the determinant of the density's covariance, a length |
| Spearman, Pearson | correlation of uncertainty and error over landmarks, px or ÷ the box |
| AUSE | area between the error left when the least sure are removed and when the worst are |
| AUROC | probability that a hidden landmark has more entropy than a visible one |
"""


def sections(results: Results, failed: Mapping[str, str]) -> list[str | Picture]:
    """Return the report: Markdown and pictures, in order.

    Args:
        results: Of at least one method.
        failed: Why, by folder of the runs that failed.
    """
    return [
        *_opening(results, failed),
        *_score_parts(results),
        *_sweep_parts(results),
        *_heatmap_parts(results),
        *_gradient_parts(results),
        *_closing(results),
    ]


def _opening(results: Results, failed: Mapping[str, str]) -> list[str]:
    study, base = results.study, results.study.plan.base
    size = f"{base.data.height} × {base.data.width}"
    lines = [
        f"* Training data: {_listed(base.data.train)}",
        f"* Test data: {_listed(study.test)}, {len(results.samples)} faces",
        f"* Network: {base.network.name}, {base.network.stacks} stack(s), {base.network.features} "
        f"features, crops of {size} pixels; {study.plan.vector_network} for methods that take a "
        f"vector, at a rate of {study.plan.vector_rate:g}",
        f"* Budget: {base.optimise.epochs} epochs, batches of {base.optimise.batch}, "
        f"{base.optimise.schedule} at a rate of {base.optimise.rate:g}; the same data, "
        f"augmentation and seeds for every method",
    ]
    texts = [study.preface, "\n".join(lines)]
    if failed:
        lines = [f"* `{name}`: {problem}" for name, problem in failed.items()]
        texts.append("**Failed, and left out:**\n\n" + "\n".join(lines))
    return [text for text in texts if text]


def _listed(sources: Sequence[str]) -> str:
    return ", ".join(f"`{source}`" for source in sources)


def _score_parts(results: Results) -> list[str | Picture]:
    framing = Framing.of_recipe(results.study.plan.base.data)
    floor = decode_floor(results.samples, framing, stride=FAN.stride)
    cell = cell_share(results.samples, framing, stride=FAN.stride)
    accuracy, density, uncertainty, *rest = score_tables(results.scores, floor, cell)
    titled = {METHODS[key].title: predictions for key, predictions in results.first.items()}
    return [
        "## Scores",
        accuracy.markdown(),
        Picture("ced", ced_figure(titled), "Share of faces by error; first seeds."),
        published_table().markdown(),
        *(table.markdown() for table in rest),
        density.markdown(),
        Picture(
            "reliability",
            reliability_figure(titled),
            "Labels inside the regions that should hold so many; first seeds.",
        ),
        "## Figure 1: uncertainty against error",
        Picture(
            "figure1",
            uncertainty_figure(titled),
            "Each landmark's error over its uncertainty; first seeds.",
        ),
        uncertainty.markdown(),
    ]


def _sweep_parts(results: Results) -> list[str | Picture]:
    plan = results.study.plan
    scores: dict[float, Scores] = {}
    curves: dict[float, list[float]] = {}
    for bandwidth in plan.bandwidths:
        run = plan.of_bandwidth(bandwidth)
        if run.folder not in results.failed and finished(results.path(run), run):
            scores[bandwidth] = score_run(
                results.path(run), results.study.test, bootstrap=results.study.bootstrap
            )
            curves[bandwidth] = losses(results.path(run))
    if not scores:
        return []
    named = {f"{h:.3g} cells": curves[h] for h in curves}
    figure = convergence_figure(
        {name: _array(values) for name, values in named.items()},
        marks={name: epochs_to_final(values) for name, values in named.items()},
    )
    text = (
        "Training loss by bandwidth; the mark is the first epoch after which it stays within 5 % "
        "of its final value."
    )
    return [
        "## Bandwidth",
        sweep_table(plan.sweep, scores, curves).markdown(),
        Picture("convergence", figure, text),
    ]


def _heatmap_parts(results: Results) -> list[str | Picture]:
    """Return figures 2 and 3 with their numbers."""
    judge = results.first.get(REFERENCE) or next(iter(results.first.values()))
    keys = [key for key in _SHOWN if key in results.first and not METHODS[key].vector]
    titles = {key: METHODS[key].title for key in keys}
    parts: list[str | Picture] = ["## Figure 2: hidden landmarks"]
    if judge.count <= max(*HIDDEN, *BOUNDARY) or not keys:
        return []
    faces = hidden_faces(judge, HIDDEN, _DRAWN)
    maps = results.maps(keys, faces)
    for number, face in enumerate(faces, 1):
        named = {titles[key]: maps[key] for key in keys}
        figure = heatmap_figure(named, sample=face, landmarks=HIDDEN)
        text = (
            f"Face `{face}`. Is a row's heatmap flatter where the landmark is hidden (ring)? "
            f"{METHODS['gaussian'].title} has no heatmaps."
        )
        parts.append(Picture(f"figure2_{number}", figure, text))
    parts += _occlusion_parts(results)
    parts.append("## Figure 3: landmarks on the boundary of the face")
    kept = seen_faces(judge, BOUNDARY, _KEPT)
    maps = results.maps(list(results.first), kept)
    for number, face in enumerate(kept[:_DRAWN], 1):
        named = {titles[key]: maps[key] for key in keys}
        figure = heatmap_figure(named, sample=face, landmarks=BOUNDARY)
        text = f"Face `{face}`. Is a row's heatmap longer along the jaw than across it?"
        parts.append(Picture(f"figure3_{number}", figure, text))
    table = boundary_table(results.first, maps, results.markup, bootstrap=results.study.bootstrap)
    return [*parts, *([table.markdown()] if table else [])]


def _occlusion_parts(results: Results) -> list[str]:
    """Return tables of entropy at hidden landmarks, of every data set that has some."""
    study, tables = results.study, []
    sets = {"the test data": results.first}
    if study.occluded:
        sets[_listed(study.occluded)] = {
            key: predict_run(results.path(study.plan.of_method(key)[0]), study.occluded)
            for key in results.first
        }
    for where, named in sets.items():
        table = occlusion_table(named, where, bootstrap=study.bootstrap)
        if table:
            tables.append(table.markdown())
    return tables or ["No landmark of these data is labelled as hidden, so there are no numbers."]


def _gradient_parts(results: Results) -> list[str | Picture]:
    """Return the figure of appendix B."""
    plan = results.study.plan
    if REFERENCE not in results.first or results.markup.landmarks <= max(BOUNDARY):
        return []
    run = plan.of_method(REFERENCE)[0]
    stages = gradient_stages(results.path(run), run.recipe)
    face = seen_faces(results.first[REFERENCE], BOUNDARY, 1)[0]
    model = next(iter(stages.values()))
    crop, points = crop_of(model, results.samples, face)
    maps = {name: loss_gradient(stage, crop, points) for name, stage in stages.items()}
    rows, columns = next(iter(maps.values())).shape[1:]
    figure = gradient_figure(
        maps,
        crop=crop.permute(1, 2, 0).numpy(),
        target=points.double().numpy(),
        grid=Grid.of_heatmap(height=rows, width=columns, stride=FAN.stride),
        landmarks=(*BOUNDARY[:3], *HIDDEN[:3]),
    )
    text = (
        f"The gradient p − r of {METHODS[REFERENCE].title}'s loss over the maps of `{face}`: a "
        f"step raises the logits where it is negative."
    )
    return ["## Gradient of the loss", Picture("gradient", figure, text)]


def _closing(results: Results) -> list[str]:
    """Return what is needed to repeat the study."""
    plan = results.study.plan
    rows = []
    for run in plan.runs:
        folder = results.path(run)
        if finished(folder, run):
            facts = environment_of(folder)
            made = (str(facts.get(name, "–")) for name in ("commit", "torch", "threads", "gpu"))
            minutes = f"{seconds(folder) / 60:.1f}"
            rows.append([f"`{run.folder}`", minutes, f"{losses(folder)[-1]:.4g}", *made])
    head = ["Run", "minutes", "final loss", "commit", "torch", "threads", "GPU"]
    now = "\n".join(f"* {name}: {value}" for name, value in environment().items())
    recipe = json.dumps(plan.base.as_dict(), indent=2)
    return [
        _WORDS,
        "## How it was made",
        Table("Runs", head, rows, "Minutes of training, as the runs went.").markdown(),
        f"### This report\n\n{now}",
        f"### The recipe that all share\n\n```json\n{recipe}\n```",
    ]


def _array(values: Sequence[float]) -> np.ndarray:
    return np.asarray(values, np.float64)
