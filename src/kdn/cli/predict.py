"""`kdn predict`."""

from __future__ import annotations

import math
import os
import sys
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tqdm import tqdm

from kdn.cli.command import Command
from kdn.cli.labelled import Labelled
from kdn.cli.listing import Listing
from kdn.cli.valued import Valued
from kdn.data.images import PICTURE_SUFFIXES
from kdn.models.checkpoint import load_model, load_saved
from kdn.models.value_model import ValueModel
from kdn.predict.annotate import Drawing, annotate
from kdn.predict.boxes import match_boxes, read_boxes
from kdn.predict.detect import detector_for
from kdn.predict.estimator import Estimator
from kdn.predict.face import Face, length_of
from kdn.predict.inputs import Input, expand_inputs
from kdn.predict.outputs import Output, OutputNames, Summary, open_output
from kdn.predict.overlay import draw_faces
from kdn.predict.predictor import landmarker_of

__all__ = ["PREDICT"]

_OVERLAYS = "kdn-overlays"


def _predict(
    model: str = "face68",
    inputs: list[str] | None = None,
    data: list[str] | None = None,
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
    decoder: str = "default",
    batch: int = 16,
    maps: int = 0,
    device: str = "auto",
    mirror: bool | None = None,
    calibrated: bool = True,
    ensemble: list[str] | None = None,
    views: list[float] | None = None,
    combine: str = "mixture",
) -> int:
    """Find landmarks, or values such as an age, with their densities in pictures and videos.

    Args:
        model: The model that comes with the package, or a checkpoint of kdn train; one of values
            takes pictures and labelled data, and writes tables (.parquet, .csv, .json).
        inputs: Pictures, videos, folders, patterns, a camera's number, or - for a list of files
            on standard input.
        data: Labelled data instead.
        out: Files to write.
        overlay: Folder for pictures and videos with the landmarks drawn in; none for none.
        draw: What is drawn.
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
        decoder: default, argmax, quarter, mean, local_mean or mode (labelled data); of values also
            median.
        batch: Pictures, and crops, at a time.
        maps: Write the heatmaps of this many samples beside the file, for figures (labelled data).
        device: Where the network runs, as torch names it; auto takes a GPU if there is one.
        mirror: Average with the mirrored crop, for twice the time; by default pictures are, and
            labelled data are not.
        calibrated: Recalibrate densities and levels as kdn calibrate found, if it wrote the model.
        ensemble: More models, whose densities are combined with that of the first.
        views: Look at each face in several crops, of these sizes as shares of the usual one.
        combine: How the densities of several models, views and mirrored crops become one: mixture
            or product.
    """
    if inputs and data:
        raise ValueError("name either pictures or videos, or --data, and not both")
    if not inputs and not data:
        raise ValueError(
            "nothing to look at: name pictures or videos, or --data; pictures come before --out "
            "and --draw, which take all that follows them"
        )
    if batch < 1:
        raise ValueError(f"batch must be at least 1, got {batch}")
    judge = _judge(abstain, tau)
    place = str(_device(device))
    first, facts = load_saved(model)
    if isinstance(first, ValueModel):
        landmarks = {"--abstain": judge, "--ensemble": ensemble, "--views": views, "--maps": maps}
        landmarks |= {"--draw": draw, "--mirror": mirror, "--uncertain": uncertain}
        landmarks |= {"--combine": combine != "mixture"}
        for flag, value in landmarks.items():
            if value:
                raise ValueError(f"{flag} is for landmarks, but {model} gives values")
        estimator = Estimator(first.to(place), facts)
        valued = Valued(model, estimator, decoder, max(batch, 64), out or [])
        return valued.labelled(data) if data else valued.pictures(inputs or [], boxes, detector)
    how: dict[str, Any] = {"device": place, "views": views or (1.0,), "combine": combine}
    how["calibrated"] = calibrated
    if data:
        if judge is not None:
            raise ValueError("--abstain is for pictures and videos, not for --data")
        if ensemble or views or combine != "mixture":
            raise ValueError("--ensemble, --views and --combine are for pictures and videos")
        labelled = Labelled(data, decoder, batch, maps)
        landmarker = landmarker_of([(first, facts)], mirror=bool(mirror), **how)
        return labelled.predict(landmarker, model, out or [])
    if decoder != "default" or maps:
        raise ValueError("--decoder and --maps are for labelled data (--data)")
    for target in out or []:
        _refuse_pictures(target)
    models = [(first, facts), *(load_model(name) for name in ensemble or [])]
    landmarker = landmarker_of(models, mirror=mirror, **how)
    if boxes is not None and landmarker.whole:
        raise ValueError("--boxes: this model looks at whole pictures (data.crop: picture)")
    listed = expand_inputs(inputs or [], stdin=sys.stdin)
    names = [entry.name for entry in listed if entry.kind != "missing"]
    summary = Summary(abstaining=abstain is not None)
    pictures = [entry.name for entry in listed if entry.kind == "image"]
    given, unused = _given_boxes(boxes, pictures, summary)
    drawing = None
    if overlay != "none":
        options: dict[str, Any] = {"level": level, "uncertain": _length(uncertain)}
        options["what"] = tuple(draw or ("points", "ellipses"))
        drawing = _drawing(overlay, listed, overwrite or overlay == _OVERLAYS, options)
    with ExitStack() as stack:
        outputs: list[Output] = [summary]
        for target in out or []:
            outputs.append(
                stack.enter_context(
                    open_output(
                        target,
                        model=model,
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
                batch=batch,
                judge=judge,
                done=bar.update,
            )
    summary.print()
    for name in unused:
        print(f"boxes of no picture: {name}", file=sys.stderr)
    return summary.exit_code


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
    length_of(tau, 1.0)  # raises before anything is done
    if abstain is None:
        return None
    try:
        limit = float(abstain.removesuffix("%")) / (100.0 if abstain.endswith("%") else 1.0)
    except ValueError:
        limit = math.nan
    if not 0.0 <= limit <= 1.0:
        raise ValueError(f"abstain must be a probability, 0 to 1 or 0% to 100%, got {abstain}")
    return lambda face: face.abstaining(limit, tau)


def _length(text: str | None) -> float | str | None:
    """Return a threshold as a number of pixels, or as the share it is."""
    if text is None:
        return None
    try:
        length = float(text.removesuffix("%"))
    except ValueError:
        length = math.nan
    if not 0 < length < math.inf:
        raise ValueError(f"uncertain must be pixels or a share such as 3%, above 0, got {text!r}")
    return text if text.endswith("%") else length


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


PREDICT = Command(
    _predict,
    "find landmarks or values with their densities in pictures, videos or labelled data",
    {
        "inputs": {
            "nargs": "*",
            "help": "Pictures, videos, folders, quoted patterns, a camera's number, or - for a "
            "list of files on standard input.",
        },
        "--data": {
            "nargs": "+",
            "help": "Labelled data instead: folders of pictures with .pts files, wflw:LIST, "
            "coco:FILE.json, utkface:FOLDER, table:FILE.csv, synthetic:COUNT:SEED and so on.",
        },
        "--out": {
            "nargs": "+",
            "help": "Files to write: .json, .jsonl, .csv, .parquet, a folder for .pts files, or - "
            "for JSON Lines on standard output. A table is printed where there is none.",
        },
        "--ensemble": {
            "nargs": "+",
            "help": "More models, whose densities are combined with that of --model.",
        },
        "--views": {
            "nargs": "+",
            "type": float,
            "help": "Look at each face in several crops, of these sizes as shares of the usual "
            "one, such as 0.9 1 1.1.",
        },
        "--draw": {
            "nargs": "+",
            "help": "What is drawn: points, ellipses, contours, boxes, heatmaps (points and "
            "ellipses by default).",
        },
        "--overwrite": {
            "action": "store_true",
            "help": "Replace .pts files and pictures in the folder of overlays.",
        },
    },
)
"""The command as the parser of `kdn` takes it in."""
