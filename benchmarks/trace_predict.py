"""How far `kdn predict photo.jpg --out x.json` walks: files, functions and changes of file.

    python benchmarks/trace_predict.py

The photograph is a drawn portrait. All Python calls within the package are counted once it has been
imported; a change of file is a call from another file of the package than the one that was running
last. Few files and few changes are easy to follow.
"""

from __future__ import annotations

import inspect
import os
import sys
import tempfile
from collections import Counter
from pathlib import Path
from types import FrameType
from typing import Any

import cv2

import kdn
from kdn.cli import main
from kdn.data import SyntheticFaces

PACKAGE = str(Path(kdn.__file__).parent) + os.sep


class Trace:
    """What was called, in order."""

    def __init__(self) -> None:
        self.files: Counter[str] = Counter()
        self.functions: Counter[tuple[str, str]] = Counter()
        self.ways: Counter[str] = Counter()
        self.changes, self.last = 0, ""

    def __call__(self, frame: FrameType, event: str, argument: Any) -> None:
        """Note down a call; comprehensions and generators that go on are no calls of their own."""
        code = frame.f_code
        if event != "call" or not code.co_filename.startswith(PACKAGE):
            return
        if code.co_name in ("<module>", "<listcomp>", "<dictcomp>", "<setcomp>", "<genexpr>"):
            return
        if code.co_flags & inspect.CO_GENERATOR and frame.f_lasti > 8:
            return
        file = code.co_filename.removeprefix(PACKAGE)
        self.files[file] += 1
        self.functions[file, code.co_qualname] += 1
        if file != self.last:
            self.changes += 1
            self.ways[f"{self.last} → {file}"] += 1
        self.last = file


def run(folder: Path) -> Trace:
    """Return the trace of one run over a portrait."""
    photo = folder / "photo.jpg"
    cv2.imwrite(str(photo), SyntheticFaces(1, seed=7, ambiguous=0)[0].read()[..., ::-1])
    words = ["predict", str(photo), "--detector", "none", "--overlay", "none"]
    words += ["--device", "cpu", "--out", str(folder / "x.json")]
    if main(words):  # imports everything
        raise RuntimeError("kdn predict failed")
    trace = Trace()
    sys.setprofile(trace)
    try:
        main(words)
    finally:
        sys.setprofile(None)
    return trace


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as name:
        trace = run(Path(name))
    for file, calls in sorted(trace.files.items()):
        print(f"{calls:6d}  {file}")
    for way, count in trace.ways.most_common(20):
        print(f"{count:6d}  {way}")
    print(f"{len(trace.files)} files, {len(trace.functions)} functions, {trace.changes} changes")
