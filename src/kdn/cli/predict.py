"""`kdn predict`."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from tqdm import tqdm

from kdn.cli.labelled import Labelled
from kdn.cli.listing import Listing
from kdn.cli.valued import Valued
from kdn.data.images import PICTURE_SUFFIXES
from kdn.data.numbers import length_of, probability_of
from kdn.models.checkpoint import load_model
from kdn.models.model import Model
from kdn.predict.annotate import Drawing, annotate
from kdn.predict.boxes import match_boxes, read_boxes
from kdn.predict.detect import detector_for
from kdn.predict.estimator import Estimator
from kdn.predict.face import Face
from kdn.predict.inputs import Input, expand_inputs
from kdn.predict.outputs import Output, OutputNames, Summary, open_output
from kdn.predict.overlay import draw_faces
from kdn.predict.predictor import Landmarker, landmarker_of
from kdn.recipe import Decoder

__all__ = ["Looking", "predict", "predict_data"]

_OVERLAYS = "kdn-overlays"


@dataclass(frozen=True)
class Looking:
    """Which models look at what, and in how many ways.

    Args:
        model: The model that comes with the package, or a checkpoint of kdn train.
        device: Where the network runs, as torch names it; auto takes a GPU if there is one.
        batch: Pictures, and crops, at a time.
        mirror: Average with the mirrored crop, for twice the time; by default pictures are, and
            labelled data are not.
        calibrated: Recalibrate densities and levels as kdn calibrate found, if it wrote the model.
    """

    model: str = "face68"
    device: str = "auto"
    batch: int = 16
    mirror: bool | None = None
    calibrated: bool = True

    def __post_init__(self) -> None:
        if self.batch < 1:
            raise ValueError(f"batch must be at least 1, got {self.batch}")

    def loaded(self) -> Estimator | Landmarker:
        """Return the model by itself."""
        model, facts = load_model(self.model)
        if model.labels.kind == "scalars":
            return Estimator(model.to(_device(self.device)), facts)
        return self.landmarker([(model, facts)])

    def landmarker(self, models: Sequence[tuple[Model, Any]], **how: Any) -> Landmarker:
        """Return what looks with some models; `how` is as for `kdn.load`."""
        return landmarker_of(
            models,
            device=str(_device(self.device)),
            mirror=self.mirror,
            views=how.get("views") or (1.0,),
            combine=how.get("combine", "mixture"),
            calibrated=self.calibrated,
        )


def predict(
    inputs: tuple[str, ...] = (),
    *,
    looking: Looking,
    ensemble: list[str] | None = None,
    views: list[float] | None = None,
    combine: Literal["mixture", "product"] = "mixture",
    out: list[str] | None = None,
    overlay: str = _OVERLAYS,
    draw: list[str] | None = None,
    level: float = 0.9,
    uncertain: str | None = None,
    abstain: str | None = None,
    tau: str = "5%",
    boxes: Path | None = None,
    detector: str = "auto",
    overwrite: bool = False,
) -> int:
    """Find landmarks, or scalars such as an age, with their densities in pictures and films.

    Args:
        inputs: Pictures, videos, folders, quoted patterns, a camera's number, or - for a list of
            files on standard input.
        looking: Which models look at what.
        ensemble: More models, whose densities are combined with that of --model.
        views: Look at each face in several crops, of these sizes as shares of the usual one, such
            as 0.9 1 1.1.
        combine: How the densities of several models, views and mirrored crops become one.
        out: Files to write: .json, .jsonl, .csv, .parquet, a folder for .pts files, or - for JSON
            Lines on standard output. A table is printed where there is none.
        overlay: Folder for pictures and videos with the landmarks drawn in; none for none.
        draw: What is drawn: points, ellipses, contours, boxes, heatmaps (points and ellipses by
            default).
        level: Share of the mass that the drawn ellipses hold.
        uncertain: Draw only landmarks that are less sure than this: pixels, or a share such as 3%
            of the face.
        abstain: Report landmarks as unknown that are off by more than --tau with a greater
            probability than this, 0 to 1, by their own density.
        tau: What is too large an error for --abstain, pixels or a share such as 5% of the face.
        boxes: A CSV or JSON file with face boxes; other pictures go to the detector.
        detector: haar, yunet:FILE, or none for pictures that are one face (or whatever the model
            is for) each; auto is haar for faces, and nothing for whole pictures.
        overwrite: Replace .pts files and overlays of an earlier run.
    """
    if not inputs:
        raise ValueError(
            "nothing to look at: name pictures or videos, or --data; pictures come before --out "
            "and --draw, which take all that follows them"
        )
    judge = _judge(abstain, tau)
    found = looking.loaded()
    if isinstance(found, Estimator):
        landmarks = {"--abstain": judge, "--ensemble": ensemble, "--views": views, "--draw": draw}
        landmarks |= {"--mirror": looking.mirror, "--uncertain": uncertain}
        landmarks |= {"--combine": combine != "mixture"}
        for flag, value in landmarks.items():
            if value:
                raise ValueError(f"{flag} is for landmarks, but {looking.model} gives values")
        valued = Valued(looking.model, found, "default", max(looking.batch, 64), out or [])
        return valued.pictures(list(inputs), boxes, detector)
    for target in out or []:
        _refuse_pictures(target)
    models = [(found.model, found.facts), *(load_model(name) for name in ensemble or [])]
    landmarker = looking.landmarker(models, views=views, combine=combine)
    if boxes is not None and landmarker.whole:
        raise ValueError("--boxes: this model looks at whole pictures (data.crop: picture)")
    listed = expand_inputs(inputs, stdin=sys.stdin)
    names = [entry.name for entry in listed if entry.kind != "missing"]
    summary = Summary(abstaining=abstain is not None)
    pictures = [entry.name for entry in listed if entry.kind == "image"]
    given, unused = _given_boxes(boxes, pictures, summary)
    drawing = None
    if overlay != "none":
        if uncertain is not None:
            length_of(uncertain, 1.0, name="uncertain")  # raises before anything is done
        options: dict[str, Any] = {"level": level, "uncertain": uncertain}
        options["what"] = tuple(draw or ("points", "ellipses"))
        drawing = _drawing(overlay, listed, overwrite or overlay == _OVERLAYS, options)
    with ExitStack() as stack:
        outputs: list[Output] = [summary]
        for target in out or []:
            outputs.append(
                stack.enter_context(
                    open_output(
                        target,
                        model=looking.model,
                        markup=landmarker.markup,
                        inputs=names,
                        keep=[str(boxes)] if boxes else [],
                        overwrite=overwrite,
                        abstaining=abstain is not None,
                    )
                )
            )
        if not out:
            outputs.append(Listing())
        with tqdm(total=len(listed), unit="file", disable=None) as bar:
            annotate(
                landmarker,
                listed,
                outputs,
                detector=detector_for(detector, landmarker.framing.crop),
                boxes=given,
                drawing=drawing,
                batch=looking.batch,
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
    out: tuple[str, ...] = (),
    looking: Looking,
    decoder: Decoder = "default",
    maps: int = 0,
) -> int:
    """Predict labelled data, with all that kdn evaluate needs.

    Args:
        data: Labelled data: folders of pictures with .pts files, wflw:LIST, coco:FILE.json,
            utkface:FOLDER, table:FILE.csv, synthetic:COUNT:SEED and so on.
        out: File to write: .parquet, for scalars also .csv or .json.
        looking: Which models look at what.
        decoder: Which point of a density is the prediction; median is for scalars.
        maps: Write the heatmaps of this many samples beside the file, for figures.
    """
    found = looking.loaded()
    if isinstance(found, Estimator):
        if maps or looking.mirror:
            flag = "--maps" if maps else "--mirror"
            raise ValueError(f"{flag} is for landmarks, but {looking.model} gives values")
        return Valued(looking.model, found, decoder, max(looking.batch, 64), out).labelled(data)
    if looking.mirror is None:
        found = replace(looking, mirror=False).landmarker([(found.model, found.facts)])
    return Labelled(data, decoder, looking.batch, maps).predict(found, looking.model, out)


def _given_boxes(
    path: Path | None, names: list[str], summary: Summary
) -> tuple[dict[str, Any], list[str]]:
    """Return the boxes of each picture, and names in the file that are none's."""
    if path is None:
        return {}, []
    problems: list[str] = []
    matched, unused = match_boxes(read_boxes(path, problems=problems), names)
    for problem in problems:
        summary.fail(str(path), problem)
    return matched, unused


def _drawing(folder: str, listed: list[Input], overwrite: bool, options: dict[str, Any]) -> Drawing:
    """Return where overlays go: `.png` files of pictures and `.mp4` files of videos."""
    draw_faces(np.zeros((1, 2, 3), np.uint8), [], **options)  # raises before anything is done
    place = Path(folder).absolute()
    if any(Path(entry.name).absolute().parent == place for entry in listed):
        raise ValueError(f"overlay must be another folder than that of the pictures, got {folder}")
    nearest = next(parent for parent in (place, *place.parents) if parent.exists())
    if not os.access(nearest, os.W_OK):
        raise ValueError(f"overlay: {nearest} cannot be written to")
    pictures = [entry.name for entry in listed if entry.kind == "image"]
    videos = [entry.name for entry in listed if entry.kind in ("video", "camera")]
    return Drawing(
        OutputNames(folder, pictures, suffix=".png", overwrite=overwrite),
        OutputNames(folder, videos, suffix=".mp4", overwrite=overwrite),
        options,
    )


def _judge(abstain: str | None, tau: str) -> Callable[[Face], Face] | None:
    """Return what gives landmarks up, None if none are to be."""
    length_of(tau, 1.0, name="tau")  # raises before anything is done
    if abstain is None:
        return None
    limit = probability_of(abstain, name="abstain")
    return lambda face: face.abstaining(limit, tau)


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
