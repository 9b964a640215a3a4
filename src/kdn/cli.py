"""The command line: `kdn train`, `kdn predict`, `kdn evaluate`, `kdn figures`.

Every flag is an argument of one of the functions below or a field of the recipe; the help texts are
their docstrings.
"""

from __future__ import annotations

import importlib.metadata
import json
import os
import sys
from argparse import ArgumentError
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from jsonargparse import ArgumentParser
from tqdm import tqdm

from kdn.checkpoint import load_model
from kdn.data import join_samples, load_samples
from kdn.evaluate import evaluate
from kdn.files import replacing
from kdn.predict import predict
from kdn.predictions import (
    maps_path,
    read_maps,
    read_predictions,
    write_maps,
    write_predictions,
)
from kdn.recipe import (
    AugmentRecipe,
    DataRecipe,
    HeadRecipe,
    NetworkRecipe,
    OptimiseRecipe,
    Recipe,
)

__all__ = ["build_parser", "main"]


def _train(
    out: Path,
    data: DataRecipe,
    augment: AugmentRecipe,
    network: NetworkRecipe,
    head: HeadRecipe,
    optimise: OptimiseRecipe,
    resume: bool,
    quiet: bool,
    accelerator: str = "auto",
    devices: int = 1,
) -> int:
    """Train a model on labelled pictures.

    Args:
        out: Folder of the run; gets best.safetensors, last.safetensors, log.csv, recipe.json.
        data: What is learned from.
        augment: How training pictures are varied.
        network: What scores the cells.
        head: How outputs become a density, and what the loss is.
        optimise: How the loss is driven down.
        resume: Go on with the run in the folder.
        quiet: No progress on screen.
        accelerator: Kind of device, as Lightning Fabric names it.
        devices: How many devices.
    """
    from kdn.train import train  # Fabric takes a second to import, which other commands need not

    recipe = Recipe(data=data, augment=augment, network=network, head=head, optimise=optimise)
    best = train(recipe, out, resume=resume, accelerator=accelerator, devices=devices, quiet=quiet)
    print(f"best checkpoint: {best}")
    return 0


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
        data: Folders of pictures with .pts files, or synthetic:COUNT:SEED.
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


def _evaluate(
    predictions: Path,
    json_file: Path | None = None,
    table: Path | None = None,
    decoder: str | None = None,
    bootstrap: int = 1000,
    seed: int = 0,
) -> int:
    """Score predictions against their labels.

    Args:
        predictions: A Parquet file with labels.
        json_file: Write the scores here too, as JSON.
        table: Write the table here too.
        decoder: Score the points of this decoder's column instead of the prediction's.
        bootstrap: Resamples of the 95 % intervals; 0 for none.
        seed: Seed of the resampling.
    """
    given = read_predictions(predictions)
    if decoder is not None:
        if decoder not in given.decoders:
            raise ValueError(f"{predictions}: column {decoder!r} is missing")
        metadata = {**given.metadata, "decoder": decoder}
        given = replace(given, landmarks=given.decoders[decoder], metadata=metadata)
    result = evaluate(given, bootstrap=bootstrap, seed=seed)
    text = result.as_table()
    if table is not None:
        _write_text(table, text + "\n")
    if json_file is not None:
        _write_text(json_file, json.dumps(result.as_json(), indent=2) + "\n")
    print(text)
    return 0


def _figures(predictions: list[Path], out: Path) -> int:
    """Draw error curves, uncertainty against error, reliability and heatmaps.

    Args:
        predictions: Parquet files with labels, each one system, named by its file's stem.
            Heatmaps are drawn from the files beside them that `kdn predict --maps` wrote.
        out: Folder of the figures.
    """
    from kdn.figures import write_figures  # and matplotlib another

    if len({path.stem for path in predictions}) < len(predictions):
        raise ValueError("predictions must be files of different names, which the figures bear")
    named = {path.stem: read_predictions(path) for path in predictions}
    maps = {p.stem: read_maps(maps_path(p)) for p in predictions if maps_path(p).is_file()}
    for path in write_figures(named, out, maps=maps or None):
        print(path)
    return 0


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


def _write_text(path: Path, text: str) -> None:
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


_COMMANDS: dict[str, tuple[Callable[..., int], str]] = {
    "train": (_train, "train a model on labelled pictures"),
    "predict": (_predict, "predict landmarks with their densities into a Parquet file"),
    "evaluate": (_evaluate, "score predictions against their labels"),
    "figures": (_figures, "draw error curves, reliability and heatmaps"),
}


# What jsonargparse cannot make out of a signature: values without a flag, several values after one
# flag, a flag without a value, a flag that is named otherwise than its argument.
_APART: dict[str, dict[str, dict[str, Any]]] = {
    "train": {
        "--recipe": {"action": "config", "help": "A YAML file with the recipe."},
        "--resume": {"action": "store_true", "help": "Go on with the run in the folder --out."},
        "--quiet": {"action": "store_true", "help": "No progress on screen."},
    },
    "predict": {
        "--data": {
            "nargs": "+",
            "required": True,
            "help": "Folders of pictures with .pts files, or synthetic:COUNT:SEED.",
        },
    },
    "evaluate": {
        "predictions": {"type": Path, "help": "A Parquet file with labels."},
        "--json": {
            "dest": "json_file",
            "type": Path,
            "help": "Write the scores here too, as JSON.",
        },
    },
    "figures": {
        "predictions": {
            "type": Path,
            "nargs": "+",
            "help": "Parquet files with labels, one a system.",
        },
    },
}


def build_parser() -> ArgumentParser:
    """Return the parser of all commands."""
    parser = ArgumentParser(
        prog="kdn",
        description="A probability density for every landmark.",
        version=importlib.metadata.version("kdn"),
        exit_on_error=False,
        allow_abbrev=False,
    )
    commands = parser.add_subcommands(dest="command", required=True)
    for name, (function, summary) in _COMMANDS.items():
        description = f"{summary[0].upper()}{summary[1:]}."
        sub = ArgumentParser(description=description, exit_on_error=False, allow_abbrev=False)
        apart: set[str | int] = set()
        for flag, options in _APART[name].items():
            sub.add_argument(flag, **options)
            apart.add(options.get("dest", flag.lstrip("-")))
        sub.add_function_arguments(function, skip=apart - {"recipe"}, fail_untyped=True)
        commands.add_subcommand(name, sub, help=summary)
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; return its exit code: 0, 1 if something was left out, 2 on an error."""
    parser = build_parser()
    try:
        parsed = parser.parse_args(None if arguments is None else list(arguments))
    except ArgumentError as error:
        print(f"kdn: {error}\n`kdn COMMAND --help` lists what there is.", file=sys.stderr)
        return 2
    name = parsed["command"]
    try:
        values = dict(parser.instantiate(parsed)[name])
        values.pop("recipe", None)
        code = _COMMANDS[name][0](**values)
        sys.stdout.flush()
        return code
    except BrokenPipeError:  # who read the output has gone, as `head` does: nothing left to say
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    except (ArithmeticError, OSError, ValueError) as error:
        print(f"kdn {name}: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print(f"kdn {name}: interrupted", file=sys.stderr)
        return 130


if __name__ == "__main__":
    sys.exit(main())
