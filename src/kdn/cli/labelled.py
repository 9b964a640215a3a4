"""`kdn predict --data`: labelled data into a file of predictions."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from tqdm import tqdm

from kdn.data import attribute_columns
from kdn.predict.columns import predict
from kdn.predict.predictor import Landmarker
from kdn.predictions import maps_path, write_maps, write_predictions

__all__ = ["Labelled"]


@dataclass(frozen=True)
class Labelled:
    """Labelled data, and how they are predicted."""

    sources: list[str]
    decoder: str
    batch: int
    maps: int

    def predict(self, landmarker: Landmarker, name: str, out: Sequence[str]) -> int:
        """Write the predictions to a Parquet file with labels."""
        if len(out) != 1 or not out[0].endswith(".parquet"):
            raise ValueError(f"out must name one .parquet file for --data, got {list(out)}")
        target, model = Path(out[0]), landmarker.model
        problems: list[str] = []
        samples = model.labels.read(self.sources, problems)
        if not len(samples):
            raise ValueError("\n".join(["no labelled face can be used", *problems[:10]]))
        with tqdm(total=len(samples), unit="face", disable=None) as bar:
            predictions, drawn = predict(
                model,
                samples,
                decoder=self.decoder,
                batch=self.batch,
                maps=self.maps,
                mirror=landmarker.mirror,
                problems=problems,
                progress=bar.update,
                metadata={"checkpoint": name, "epoch": landmarker.facts.get("epoch")},
            )
        attributes = attribute_columns(samples.from_files(), predictions.id)
        write_predictions(target, replace(predictions, attributes=attributes))
        print(f"{len(predictions)} faces: {target}")
        if drawn is not None:
            write_maps(maps_path(target), drawn)
            print(f"heatmaps of {len(drawn.ids)}: {maps_path(target)}")
        for problem in problems:
            print(f"left out: {problem}", file=sys.stderr)
        return 1 if problems else 0
