"""The training loop, on Lightning Fabric."""

from __future__ import annotations

import copy
import json
import math
import time
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from lightning_fabric import Fabric
from torch import Tensor, nn
from torch.optim import AdamW, Optimizer, RMSprop
from torch.utils.data import DataLoader

from kdn.data import CropDataset, init_worker, training_and_validation
from kdn.data.paths import replacing
from kdn.models.checkpoint import capture_state, read_state, restore_state, save_model, write_state
from kdn.models.model import Model, build_model, load_initial_weights
from kdn.recipe import Recipe
from kdn.train.report import Report
from kdn.train.schedule import EpochBatches, rate_at, update_average
from kdn.train.validate import SCORES, validate

__all__ = ["NonFiniteLossError", "kept_path", "train"]

_CHECK_EVERY = 20
"""Steps between looks at the loss on a GPU, each of which waits for it; a CPU looks every step."""


_ADVICE = "What may help is a lower optimise.rate"


class NonFiniteLossError(ArithmeticError):
    """The loss became infinite or not a number; the last checkpoint on disk is from before."""


def train(
    recipe: Recipe,
    out: str | Path,
    *,
    resume: bool = False,
    accelerator: str = "auto",
    devices: int | str = 1,
    quiet: bool = False,
    keep: Collection[int] = (),
) -> Path:
    """Train a model and return the path of its best checkpoint.

    The folder gets `best.safetensors` (least validation NME; of scalars least CRPS),
    `last.safetensors`, `state.safetensors` (everything that a resumed run starts from),
    `recipe.json` and `log.csv`. All are written in one move each, the state last, so that a run
    that is killed at any moment resumes from the end of an epoch; on a CPU with as many threads it
    ends with the same bits.

    Args:
        recipe: What is trained, and how.
        out: Folder of the run.
        resume: Go on from the state in the folder, if there is one.
        accelerator: Lightning Fabric's name of a kind of device, such as `cpu` or `cuda`.
        devices: How many of them.
        quiet: Write to files only.
        keep: Epochs, counted from 1, whose checkpoints stay, as `epoch_0001.safetensors`.

    Raises:
        FileExistsError: If the folder holds a run and `resume` is not set.
        ValueError: If the recipe does not fit the data, or is not the one of the run that is
            resumed.
        NonFiniteLossError: If the loss becomes infinite or not a number.
    """
    out = Path(out)
    state_path = out / "state.safetensors"
    written = (state_path, out / "best.safetensors", out / "last.safetensors")
    if any(path.exists() for path in written) and not resume:
        raise FileExistsError(f"{out}: holds a training run; resume it or name another folder")
    fabric = _launched(accelerator, devices, recipe.optimise.precision)
    run = _set_up(recipe, fabric)
    history: list[dict[str, Any]] = []
    if state_path.exists():
        history = _restore(run, state_path)
    if fabric.is_global_zero:
        with replacing(out / "recipe.json") as temporary:
            temporary.write_text(json.dumps(recipe.as_dict(), indent=2) + "\n", encoding="utf-8")
    steps = len(run.batches)
    if history and not quiet and fabric.is_global_zero:
        print(f"resuming after epoch {len(history)} of {recipe.optimise.epochs}", flush=True)
    show = Report(
        out,
        steps=recipe.optimise.epochs * steps,
        scores={name: form for name, (_, form) in run.scores.items()},
        done=len(history) * steps,
        quiet=quiet or not fabric.is_global_zero,
    )
    with show:
        for epoch in range(len(history), recipe.optimise.epochs):
            started = time.monotonic()
            with _seeded(recipe.optimise.seed, epoch, fabric):
                loss, rate = _one_epoch(run, epoch, show)
            _require_finite(run, epoch)
            if fabric.is_global_zero:
                row = {"epoch": epoch + 1, "rate": rate, "loss": loss}
                row |= validate(run.result, run.valid, fabric.device)
                row["seconds"] = time.monotonic() - started
                history.append(row)
                if epoch + 1 in keep:
                    save_model(kept_path(out, epoch + 1), run.result, {"epoch": epoch + 1})
                _save(run, out, history)
                show.epoch(history)
            else:
                history.append({})
            fabric.barrier()
    return out / "best.safetensors"


def kept_path(out: Path, epoch: int) -> Path:
    """Return where the checkpoint of an epoch, counted from 1, is kept."""
    return out / f"epoch_{epoch:04d}.safetensors"


def _launched(accelerator: str, devices: int | str, precision: Any) -> Fabric:
    """Return Fabric with its processes running.

    Raises:
        ValueError: If this machine does not have such devices.
    """
    try:
        fabric = Fabric(accelerator=accelerator, devices=devices, precision=precision)
    except (RuntimeError, ValueError) as error:
        reason = str(error).splitlines()[0]
        raise ValueError(
            f"accelerator and devices must be this machine's, got {accelerator!r} and "
            f"{devices!r} ({reason})"
        ) from error
    fabric.launch()
    return fabric


@dataclass
class _Run:
    """What one training run is made of."""

    recipe: Recipe
    fabric: Fabric
    model: Model
    average: Model | None
    step: nn.Module
    optimiser: Optimizer
    batches: EpochBatches
    loader: DataLoader
    dataset: CropDataset
    valid: DataLoader

    @property
    def result(self) -> Model:
        """The model that is validated and saved: the averaged one if there is one."""
        return self.model if self.average is None else self.average

    @property
    def scores(self) -> Mapping[str, Any]:
        """Validation scores, the one that decides first."""
        return SCORES[self.model.labels.kind]


class _Step(nn.Module):
    """Crops and labels to the loss: in one module, so that every kind of wrapper sees it all."""

    def __init__(self, model: Model):
        super().__init__()
        self.model = model

    def forward(self, crops: Tensor, target: Tensor, valid: Tensor) -> tuple[Tensor, Tensor]:
        """Return the loss (labels summed, samples averaged), and the last stack's mean loss."""
        head = self.model.head
        total = crops.new_zeros((), dtype=torch.float32)
        mean = total
        for outputs in self.model(crops):
            counts = valid & head.covers(outputs, target)
            loss = head.loss(outputs, target)
            loss = torch.where(counts, loss, torch.zeros_like(loss))
            total = total + loss.sum() / len(crops)
            mean = loss.detach().sum() / counts.sum().clamp(min=1)
        return total, mean


def _set_up(recipe: Recipe, fabric: Fabric) -> _Run:
    """Return a run with fresh weights and everything it needs."""
    seed = recipe.optimise.seed
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = build_model(recipe)
    labels, data = model.labels, recipe.data
    train_samples, valid_samples = training_and_validation(data, labels)
    crops: dict[str, Any] = {"labels": labels, "data": data, "seed": seed}
    dataset = CropDataset(train_samples, augment=recipe.augment, **crops)
    batches = EpochBatches(
        len(dataset),
        batch=recipe.optimise.batch,
        seed=seed,
        rank=fabric.global_rank,
        world=fabric.world_size,
    )
    workers: dict[str, Any] = {
        "num_workers": recipe.data.workers,
        "worker_init_fn": init_worker,
        "persistent_workers": recipe.data.workers > 0,
        "pin_memory": fabric.device.type == "cuda",
    }
    loader = DataLoader(dataset, batch_sampler=batches, generator=torch.Generator(), **workers)
    held_out = CropDataset(valid_samples, augment=None, **crops) if len(valid_samples) else []
    valid = DataLoader(held_out, batch_size=32, generator=torch.Generator())  # type: ignore[arg-type]
    if recipe.network.weights is not None:
        load_initial_weights(model, Path(recipe.network.weights))
    average = copy.deepcopy(model) if recipe.optimise.average > 0 else None
    step, optimiser = fabric.setup(_Step(model), _optimiser(recipe, model))
    if average is not None:
        average.to(fabric.device).requires_grad_(False)
    return _Run(recipe, fabric, model, average, step, optimiser, batches, loader, dataset, valid)


def _optimiser(recipe: Recipe, model: Model) -> Optimizer:
    parameters = [p for p in model.parameters() if p.requires_grad]
    kind = {"rmsprop": RMSprop, "adamw": AdamW}[recipe.optimise.optimiser]
    decay = recipe.optimise.weight_decay
    return kind(parameters, lr=recipe.optimise.rate, weight_decay=decay)


@contextmanager
def _seeded(seed: int, epoch: int, fabric: Fabric) -> Iterator[None]:
    """Give what draws from torch's global generators (dropout, say) a state of the epoch alone."""
    device = fabric.device
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed((seed * 1_000_003 + epoch) * fabric.world_size + fabric.global_rank)
        yield


def _one_epoch(run: _Run, epoch: int, show: Report) -> tuple[float, float]:
    """Train for one epoch; return the mean loss per label and the last learning rate."""
    run.model.train()
    run.batches.epoch = epoch
    run.dataset.set_epoch(epoch)
    steps = len(run.batches)
    total = epoch * steps
    planned = run.recipe.optimise.epochs * steps
    look = 1 if run.fabric.device.type == "cpu" else _CHECK_EVERY
    losses = torch.zeros((), device=run.fabric.device)
    rate = shown = 0.0
    for index, batch in enumerate(run.loader):
        rate = rate_at(run.recipe.optimise, (total + index) / max(planned - 1, 1))
        mean = _one_step(run, batch, rate, total + index)
        losses += mean
        if index % look == 0 or index == steps - 1:
            shown = float(mean)
            if not math.isfinite(shown) or not math.isfinite(float(losses)):
                raise NonFiniteLossError(
                    f"the loss became {shown} in step {index + 1} of epoch {epoch + 1}; the last "
                    f"checkpoint is from the epoch before. {_ADVICE} (now "
                    f"{run.recipe.optimise.rate}), or optimise.clip"
                )
        show.step(shown)
    return float(losses) / max(steps, 1), rate


def _require_finite(run: _Run, epoch: int) -> None:
    """Raise if a weight is not finite: the last step of an epoch shows in no loss of that epoch."""
    for name, weights in run.model.named_parameters():
        if not bool(torch.isfinite(weights).all()):
            raise NonFiniteLossError(
                f"the weights of {name} became infinite or not a number in epoch {epoch + 1}; the "
                f"last checkpoint is from the epoch before. {_ADVICE} (now "
                f"{run.recipe.optimise.rate}), or optimise.clip"
            )


def _one_step(run: _Run, batch: dict[str, Tensor], rate: float, step: int) -> Tensor:
    """Take one optimiser step and return the loss per label of the last stack."""
    device = run.fabric.device
    for group in run.optimiser.param_groups:
        group["lr"] = rate
    inputs = ("image", "target", "valid")
    crops, target, valid = (batch[k].to(device, non_blocking=True) for k in inputs)
    loss, mean = run.step(crops, target, valid)
    run.fabric.backward(loss)
    if run.recipe.optimise.clip > 0:
        # A gradient that is not finite shows in the next loss, or in the weights after the epoch.
        run.fabric.clip_gradients(
            run.step,  # type: ignore[arg-type]
            run.optimiser,
            max_norm=run.recipe.optimise.clip,
            error_if_nonfinite=False,
        )
    run.optimiser.step()
    run.optimiser.zero_grad()
    if run.average is not None:
        decay = run.recipe.optimise.average
        update_average(run.average, run.model, decay=decay, step=step)
    return mean


def _save(run: _Run, out: Path, history: list[dict[str, Any]]) -> None:
    """Write the checkpoints of an epoch, the state last."""
    row = history[-1]
    decides = next(iter(run.scores))
    facts = {name: row[name] for name in ("epoch", *run.scores)}
    earlier = [r[decides] for r in history[:-1] if math.isfinite(r[decides])]
    if not math.isfinite(row[decides]) or row[decides] <= min(earlier, default=math.inf):
        save_model(out / "best.safetensors", run.result, facts)
    save_model(out / "last.safetensors", run.result, facts)
    scaler = run.fabric.strategy.precision.state_dict()
    kept = {"recipe": run.recipe.as_dict(), "history": history, "precision": scaler}
    write_state(
        out / "state.safetensors", capture_state(run.model, run.average, run.optimiser, kept)
    )


def _restore(run: _Run, path: Path) -> list[dict[str, Any]]:
    """Put the state on disk into the run and return its history."""
    state = read_state(path)
    before = Recipe.of_dict(state.facts["recipe"])
    if before != run.recipe:
        raise ValueError(
            f"{path}: was trained by another recipe: {_difference(before, run.recipe)}"
        )
    restore_state(state, run.model, run.average, run.optimiser)
    run.fabric.strategy.precision.load_state_dict(state.facts["precision"])
    return list(state.facts["history"])


def _difference(before: Recipe, after: Recipe) -> str:
    """Return which fields of two recipes differ, as `part.field: before → after`."""
    old, new = before.as_dict(), after.as_dict()
    return ", ".join(
        f"{section}.{name}: {old[section][name]!r} → {new[section][name]!r}"
        for section in old
        for name in old[section]
        if old[section][name] != new[section][name]
    )
