"""How much a landmark model errs when its boxes are not tight.

    python benchmarks/box_robustness.py MODEL.safetensors FOLDER [--faces N]

Boxes of labelled faces are shifted by a share of their side in one of four directions, scaled about
their centre up or down, or come from the detector (a face it does not find does not count there).
Printed is the NME (% of the box of the labels) when the face is cropped once, when it is cropped
again where the landmarks' box is another one (what `kdn.load` does), and when it always is.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable, Iterator, Sequence

import numpy as np

from kdn.data import Sample, load_samples
from kdn.data.sample import Box, iou
from kdn.evaluate import image_errors, normalisers, point_errors
from kdn.predict.detect import HaarDetector
from kdn.predict.predictor import Predictor, load

_SHARES = (0.05, 0.10, 0.20)
_AGAIN = {"once": False, "where it is poor": None, "twice": True}
_OVERLAP = 0.3
_AT_A_TIME = 32


def main() -> None:
    """Print one row a kind of box."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", nargs="?", help="a checkpoint of kdn train")
    parser.add_argument("folder", nargs="?", help="pictures with .pts files")
    parser.add_argument("--faces", type=int, default=0, help="only the first so many")
    arguments = parser.parse_args()
    if arguments.folder is None:
        print("Nothing measured: name a checkpoint and a folder of labelled faces.")
        return
    model = load(arguments.model)
    samples = list(load_samples(arguments.folder, model.markup))[: arguments.faces or None]
    print(f"{len(samples)} faces, NME, % of the box\n")
    print(f"{'box':<24}{'faces':>6}" + "".join(f"{name:>18}" for name in _AGAIN))
    for name, boxes in _kinds(samples):
        kept = [(s, box) for s, box in zip(samples, boxes, strict=True) if box is not None]
        errors = [_nme(model, kept, again) for again in _AGAIN.values()]
        print(f"{name:<24}{len(kept):>6}" + "".join(f"{error:>18.2f}" for error in errors))


def _kinds(samples: Sequence[Sample]) -> Iterator[tuple[str, list[Box | None]]]:
    """Yield each kind of box by its name, one for each sample."""
    yield "tight", [sample.bbox for sample in samples]
    for share in _SHARES:
        yield (
            f"shifted by {share:.0%}",
            _changed(samples, lambda box, i, s=share: _shift(box, i, s)),
        )
    for share in _SHARES:
        for sign in (1, -1):
            factor = 1 + sign * share
            name = f"scaled by {factor:.2f}"
            yield name, _changed(samples, lambda box, _, f=factor: _scale(box, f))
    detector = HaarDetector()
    yield "detector", [_nearest([d.bbox for d in detector(s.read())], s.bbox) for s in samples]


def _changed(samples: Sequence[Sample], change: Callable[[Box, int], Box]) -> list[Box | None]:
    return [change(sample.bbox, index) for index, sample in enumerate(samples)]


def _shift(box: Box, index: int, share: float) -> Box:
    """Return a box moved right, down, left or up, in turn over the faces."""
    x0, y0, x1, y1 = box
    angle = 0.5 * math.pi * (index % 4)
    by_x, by_y = share * (x1 - x0) * math.cos(angle), share * (y1 - y0) * math.sin(angle)
    return x0 + by_x, y0 + by_y, x1 + by_x, y1 + by_y


def _scale(box: Box, factor: float) -> Box:
    """Return a box so many times as wide and high, about its centre."""
    x0, y0, x1, y1 = box
    x, y, wide, high = (x0 + x1) / 2, (y0 + y1) / 2, factor * (x1 - x0), factor * (y1 - y0)
    return x - wide / 2, y - high / 2, x + wide / 2, y + high / 2


def _nearest(found: Sequence[Box], true: Box) -> Box | None:
    """Return the found box that overlaps the true one most, None if none does enough."""
    overlaps = [iou(box, true) for box in found]
    if not overlaps or max(overlaps) < _OVERLAP:
        return None
    return found[int(np.argmax(overlaps))]


def _nme(model: Predictor, faces: Sequence[tuple[Sample, Box]], refine: bool | None) -> float:
    """Return the mean NME over faces, percent of the box of their labels."""
    errors = []
    for start in range(0, len(faces), _AT_A_TIME):
        some = faces[start : start + _AT_A_TIME]
        pictures = [sample.read() for sample, _ in some]
        found = model(pictures, [[box] for _, box in some], refine=refine)
        for (sample, _), (face,) in zip(some, found, strict=True):
            target, valid = sample.landmarks[None], sample.valid[None]
            distance = point_errors(face.landmarks[None], target)
            length = normalisers(target, valid, None)["box"]
            errors.append(float(image_errors(distance, valid, length)[0]))
    return float(np.nanmean(errors))


if __name__ == "__main__":
    main()
