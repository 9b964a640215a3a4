"""`kdn predict`."""

from __future__ import annotations

import sys
from pathlib import Path

import torch
from tqdm import tqdm

from kdn.checkpoint import load_model
from kdn.cli.command import Command
from kdn.data import join_samples, load_samples
from kdn.predict import predict
from kdn.predictions import maps_path, write_maps, write_predictions

__all__ = ["PREDICT"]


def _predict(
    checkpoint: Path,
    data: list[str],
    out: Path,
    decoder: str = "default",
    batch: int = 16,
    maps: int = 0,
    device: str = "auto",
) -> int:
    """Predict landmarks with their densities, and write them to a Parquet file.

    Args:
        checkpoint: A model written by `kdn train`.
        data: Folders of pictures with .pts files, merl_rav:FOLDER or synthetic:COUNT:SEED.
        out: The Parquet file.
        decoder: default, argmax, quarter, mean, local_mean or mode.
        batch: Samples per pass through the network.
        maps: Write the heatmaps of this many samples beside the file, for figures.
        device: Where the network runs, as torch names it; auto takes a GPU if there is one.
    """
    if out.suffix != ".parquet":
        raise ValueError(f"out must name a .parquet file, got {out}")
    model, facts = load_model(checkpoint)
    model.to(_device(device))
    problems: list[str] = []
    samples = join_samples(
        [load_samples(source, model.markup, problems=problems) for source in data]
    )
    with tqdm(total=len(samples), unit="face", disable=None) as bar:
        predictions, drawn = predict(
            model,
            samples,
            decoder=decoder,
            batch=batch,
            maps=maps,
            problems=problems,
            progress=bar.update,
            metadata={"checkpoint": checkpoint.as_posix(), "epoch": facts.get("epoch")},
        )
    write_predictions(out, predictions)
    print(f"{len(predictions)} faces: {out}")
    if drawn is not None:
        write_maps(maps_path(out), drawn)
        print(f"heatmaps of {len(drawn.ids)}: {maps_path(out)}")
    for problem in problems:
        print(f"left out: {problem}", file=sys.stderr)
    return 1 if problems else 0


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
    "predict landmarks with their densities into a Parquet file",
    {
        "--data": {
            "nargs": "+",
            "required": True,
            "help": "Folders of pictures with .pts files, merl_rav:FOLDER or synthetic:COUNT:SEED.",
        },
    },
)
"""The command as the parser of `kdn` takes it in."""
