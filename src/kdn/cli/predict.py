"""`kdn predict`: pictures and videos, or labelled data."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from tqdm import tqdm

from kdn.data import attribute_columns
from kdn.data.images import PICTURE_SUFFIXES
from kdn.data.numbers import length_of, probability_of
from kdn.predict.annotate import Drawing, annotate
from kdn.predict.boxes import match_boxes, read_boxes
from kdn.predict.columns import maps_of_samples, predict_chunks
from kdn.predict.detect import detector_for
from kdn.predict.inputs import Input, expand_inputs
from kdn.predict.outputs import Listing, Output, OutputNames, Summary, open_output
from kdn.predict.overlay import draw_faces
from kdn.predict.predictor import Predictor, load
from kdn.predictions import (
    Predictions,
    PredictionsWriter,
    maps_path,
    require_kind,
    write_maps,
)
from kdn.recipe import Decoder

__all__ = ["Doubt", "Models", "predict", "predict_data"]

_OVERLAYS = "kdn-overlays"


@dataclass(frozen=True)
class Models:
    """Which models look at each object, and how.

    Args:
        model: The model that comes with the package, or a checkpoint of kdn train.
        ensemble: More models, whose densities are combined with that of --model.
        views: Look at each object in several crops, of these sizes as shares of the usual one, such
            as 0.9 1 1.1.
        combine: How the densities of several models, views and flipped crops become one.
        flip: Average with the flipped crop, for twice the time; by default pictures are, and
            labelled data are not.
        calibrated: Recalibrate densities and levels as kdn calibrate found, if it wrote the model.
        trust: Packages whose code a checkpoint may run, by their names.
        device: Where the network runs, as torch names it; auto takes a GPU if there is one.
        batch: Pictures, and crops, at a time.
    """

    model: str = "face68"
    ensemble: tuple[str, ...] = ()
    views: tuple[float, ...] = (1.0,)
    combine: Literal["mixture", "product"] = "mixture"
    flip: bool | None = None
    calibrated: bool = True
    trust: tuple[str, ...] = ()
    device: str = "auto"
    batch: int = 8

    def __post_init__(self) -> None:
        if self.batch < 1:
            raise ValueError(f"batch must be at least 1, got {self.batch}")

    def load(self) -> Predictor:
        """Return the predictor."""
        return load(
            [self.model, *self.ensemble],
            device=str(_device(self.device)),
            flip=self.flip,
            views=self.views,
            combine=self.combine,
            calibrated=self.calibrated,
            trust=self.trust,
        )


@dataclass(frozen=True)
class Doubt:
    """When a prediction is given up.

    Args:
        abstain: Report predictions as unknown that are off by more than --tau with a greater
            probability than this, 0 to 1, by their own density.
        tau: What is too large an error for --abstain: pixels or the unit of scalars, or a share
            such as 5% of the face or of the axis of scalars.
    """

    abstain: str | None = None
    tau: str = "5%"

    def __post_init__(self) -> None:
        length_of(self.tau, 1.0, name="tau")  # raises before anything is done

    @property
    def limit(self) -> float | None:
        """The largest probability of such an error; None where none is given up."""
        return None if self.abstain is None else probability_of(self.abstain, name="abstain")

    def judge(self) -> Callable[[Any], Any] | None:
        """Return what gives predictions up, None if none are to be."""
        limit = self.limit
        return None if limit is None else lambda face: face.abstaining(limit, self.tau)


def predict(
    inputs: tuple[str, ...] = (),
    *,
    models: Models,
    doubt: Doubt,
    out: tuple[str, ...] = (),
    overlay: str = _OVERLAYS,
    draw: list[str] | None = None,
    level: float = 0.9,
    uncertain: str | None = None,
    boxes: Path | None = None,
    detector: str = "auto",
    smooth: bool = False,
    overwrite: bool = False,
) -> int:
    """Find landmarks, or scalars such as an age, with their densities in pictures and videos.

    Args:
        inputs: Pictures, videos, folders, quoted patterns, a camera's number, or - for a list of
            files on standard input.
        models: Which models look at each object.
        doubt: When a prediction is given up.
        out: Files to write: .json, .jsonl, .csv, .parquet, a folder for .pts files, or - for JSON
            Lines on standard output. A table is printed where there is none.
        overlay: Folder for pictures and videos with the predictions drawn in; none for none.
        draw: What is drawn: points, ellipses, contours, boxes, heatmaps, boundary (points and
            ellipses by default).
        level: Share of the mass that the drawn ellipses hold.
        uncertain: Draw only landmarks that are less sure than this: pixels, or a share such as 3%
            of the face.
        boxes: A CSV or JSON file with face boxes; other pictures go to the detector.
        detector: haar, yunet:FILE, or none for pictures that are one face (or whatever the model
            is for) each; auto is haar for faces, and nothing for whole pictures.
        smooth: Smooth the landmarks of videos over earlier and later frames.
        overwrite: Replace .pts files and overlays of an earlier run.
    """
    if not inputs:
        raise ValueError(
            "nothing to look at: name pictures or videos, or --data; pictures come before --out "
            "and --draw, which take all that follows them"
        )
    if uncertain is not None:
        length_of(uncertain, 1.0, name="uncertain")  # raises before anything is done
    judge, predictor = doubt.judge(), models.load()
    for target in out:
        _refuse_pictures(target)
    if boxes is not None and predictor.whole:
        raise ValueError("--boxes: this model looks at whole pictures (data.crop: picture)")
    listed = expand_inputs(inputs, stdin=sys.stdin)
    summary = Summary(abstaining=judge is not None)
    known, unused = _known_boxes(boxes, listed, summary)
    drawing = None
    if overlay != "none":
        options: dict[str, Any] = {"level": level, "uncertain": uncertain}
        options["what"] = tuple(draw or ("points", "ellipses"))
        drawing = _drawing(overlay, listed, overwrite or overlay == _OVERLAYS, options)
    about: dict[str, Any] = {
        "model": models.model,
        "labels": predictor.labels,
        "inputs": [entry.name for entry in listed if entry.kind != "missing"],
        "keep": [str(boxes)] if boxes else [],
        "overwrite": overwrite,
        "abstaining": judge is not None,
    }
    with ExitStack() as stack, tqdm(total=len(listed), unit="file", disable=None) as bar:
        files = [stack.enter_context(open_output(target, **about)) for target in out]
        outputs: list[Output] = [summary, *(files or [Listing()])]
        annotate(
            predictor,
            listed,
            outputs,
            detector=detector_for(detector, predictor.framing.crop),
            boxes=known,
            drawing=drawing,
            batch=models.batch,
            smooth=smooth,
            judge=judge,
            done=bar.update,
        )
    summary.print()
    for name in unused:
        print(f"boxes of no picture: {name}", file=sys.stderr)
    return summary.exit_code


def predict_data(
    *,
    data: list[str],
    out: list[Path],
    models: Models,
    doubt: Doubt,
    decoder: Decoder = "default",
    maps: int = 0,
) -> int:
    """Predict labelled data, with all that kdn evaluate needs.

    Args:
        data: Labelled data: folders of pictures with .pts files, wflw:LIST, coco:FILE.json,
            utkface:FOLDER, table:FILE.csv, synthetic:COUNT:SEED and so on.
        out: Files to write: .parquet, for scalars also .csv or .json.
        models: Which models look at each object.
        doubt: When a prediction is given up.
        decoder: Which point of a density is the prediction; median is for scalars.
        maps: Write the heatmaps of this many samples beside the file, for figures.
    """
    predictor = replace(models, flip=bool(models.flip)).load()
    for path in out:
        if require_kind(path) != ".parquet" and predictor.labels.event:
            raise ValueError(f"out must name .parquet files for landmarks, got {path}")
    problems: list[str] = []
    samples = predictor.labels.read(data, problems)
    if not len(samples):
        raise ValueError("\n".join(["no labelled sample can be used", *problems[:10]]))
    columns, rows = _attributes(samples.from_files(), predictor.labels.names)
    count = 0
    with ExitStack() as stack, tqdm(total=len(samples), unit="sample", disable=None) as bar:
        files = [PredictionsWriter(path, attributes=columns) for path in out]
        writers = [stack.enter_context(file) for file in files]
        for chunk in predict_chunks(
            predictor,
            samples,
            decoder=decoder,
            batch=models.batch,
            abstain=doubt.limit,
            tau=doubt.tau,
            problems=problems,
            progress=bar.update,
            metadata={"checkpoint": models.model, "epoch": predictor.metadata.get("epoch")},
        ):
            count += len(chunk)
            for writer in writers:
                writer.write(_with_attributes(chunk, columns, rows))
    for path in out:
        print(f"{count} {'faces' if predictor.labels.event else 'samples'}: {path}")
    drawn = maps_of_samples(predictor, samples[:maps], problems=[]) if maps else None
    if drawn is not None:
        write_maps(maps_path(out[0]), drawn)
        print(f"heatmaps of {len(drawn.ids)}: {maps_path(out[0])}")
    for problem in problems:
        print(f"left out: {problem}", file=sys.stderr)
    return 1 if problems else 0


def _attributes(
    samples: Iterator[Any], labels: tuple[str, ...]
) -> tuple[dict[str, list[Any]], dict[str, int]]:
    """Return the attributes of samples that are no labels, and each sample's row in them."""
    known = list(samples)
    rows = {sample.id: row for row, sample in enumerate(known)}
    columns = attribute_columns(known, [sample.id for sample in known])
    return {name: column for name, column in columns.items() if name not in labels}, rows


def _with_attributes(
    chunk: Predictions, columns: Mapping[str, list[Any]], rows: Mapping[str, int]
) -> Predictions:
    """Return predictions with the attributes of their samples."""
    rows_of_chunk = [rows.get(name) for name in chunk.id]
    chosen = {
        name: [None if row is None else column[row] for row in rows_of_chunk]
        for name, column in columns.items()
    }
    return replace(chunk, attributes=chosen)


def _known_boxes(
    path: Path | None, listed: list[Input], summary: Summary
) -> tuple[dict[str, Any], list[str]]:
    """Return the boxes of each picture, and names in the file that are none's."""
    if path is None:
        return {}, []
    names = [entry.name for entry in listed if entry.kind == "image"]
    problems: list[str] = []
    matched, unused = match_boxes(read_boxes(path, problems=problems), names)
    for problem in problems:
        summary.fail(str(path), problem)
    return matched, unused


def _drawing(folder: str, listed: list[Input], overwrite: bool, options: dict[str, Any]) -> Drawing:
    """Return where overlays go: `.png` files of pictures and `.mp4` files of videos."""
    draw_faces(np.zeros((1, 2, 3), np.uint8), [], **options)  # raises before anything is done
    absolute = Path(folder).absolute()
    if any(Path(entry.name).absolute().parent == absolute for entry in listed):
        raise ValueError(f"overlay must be another folder than that of the pictures, got {folder}")
    nearest = next(parent for parent in (absolute, *absolute.parents) if parent.exists())
    if not os.access(nearest, os.W_OK):
        raise ValueError(f"overlay: {nearest} cannot be written to")
    pictures = [entry.name for entry in listed if entry.kind == "image"]
    videos = [entry.name for entry in listed if entry.kind in ("video", "camera")]
    return Drawing(
        OutputNames(folder, pictures, suffix=".png", overwrite=overwrite),
        OutputNames(folder, videos, suffix=".mp4", overwrite=overwrite),
        options,
    )


def _refuse_pictures(target: str) -> None:
    """Raise if an output is a folder of pictures, which was rather meant as an input."""
    folder = Path(target)
    if target.endswith("/") or not folder.is_dir():
        return
    if any(path.suffix.lower() in PICTURE_SUFFIXES for path in folder.iterdir()):
        raise ValueError(
            f"out: {target} holds pictures; inputs come before --out, or write {target}/ to have "
            f".pts files put there"
        )


def _device(name: str) -> torch.device:
    """Return the device of a name, of which `auto` is the GPU if there is one, else the CPU."""
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (AssertionError, RuntimeError) as error:
        reason = str(error).splitlines()[0]
        raise ValueError(f"device must be one of this machine, got {name!r} ({reason})") from error
    return device
