"""Training: what it leaves on disk, that it learns, and that no kill or bad loss harms it."""

import csv
import json
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from kdn.models.checkpoint import load_model
from kdn.recipe import (
    AugmentRecipe,
    DataRecipe,
    HeadRecipe,
    NetworkRecipe,
    OptimiseRecipe,
    Recipe,
)
from kdn.train import NonFiniteLossError, loop, train

pytestmark = pytest.mark.usefixtures("one_thread")

TINY = Recipe(
    data=DataRecipe(train=("synthetic:18:0",), valid=("synthetic:5:1",), height=32, width=48),
    network=NetworkRecipe(features=8, depth=1, stacks=2),
    head=HeadRecipe(refine=1),
    optimise=OptimiseRecipe(epochs=3, batch=4, average=0.9, clip=5.0),
)


@pytest.fixture(scope="module")
def finished(tmp_path_factory, one_thread) -> Path:
    """Return the folder of a run that nothing disturbed."""
    out = tmp_path_factory.mktemp("finished")
    train(TINY, out, quiet=True)
    return out


def rows(out: Path) -> list[dict[str, str]]:
    """Return the log without the column that depends on the machine's mood."""
    with open(out / "log.csv", newline="") as file:
        return [{k: v for k, v in row.items() if k != "seconds"} for row in csv.DictReader(file)]


def same_weights(one: Path, other: Path) -> bool:
    a, b = load_file(one), load_file(other)
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def test_what_a_run_leaves(finished):
    names = {path.name for path in finished.iterdir()} - {"tensorboard"}
    assert names == {
        "best.safetensors", "last.safetensors", "log.csv", "recipe.json", "state.safetensors",
    }  # fmt: skip
    assert Recipe.of_dict(json.loads((finished / "recipe.json").read_text())) == TINY
    log = rows(finished)
    assert [row["epoch"] for row in log] == ["1", "2", "3"]
    model, facts = load_model(finished / "last.safetensors")
    assert facts["epoch"] == 3
    assert facts["valid_nme"] == float(log[-1]["valid_nme"])
    assert model.recipe == TINY
    best = min(log, key=lambda row: float(row["valid_nme"]))
    assert load_model(finished / "best.safetensors")[1]["epoch"] == int(best["epoch"])


@pytest.mark.parametrize(
    ("moment", "count"),
    [
        ("before _one_step", 7),  # mid-epoch: the third of four steps of the second epoch
        ("before save_model", 3),  # at the end of the second epoch, nothing of it written
        ("before write_state", 2),  # … checkpoints written, the state not
        ("after write_state", 2),  # the boundary between two epochs
        ("before _one_step", 2),  # before the first epoch has ended
    ],
)
def test_a_killed_run_resumes_to_the_same_bits(moment, count, finished, tmp_path):
    recipe, out = tmp_path / "recipe.json", tmp_path / "run"
    recipe.write_text(json.dumps(TINY.as_dict()))
    script = Path(__file__).with_name("killed_training.py")
    killed = subprocess.run(
        [sys.executable, str(script), str(recipe), str(out), moment, str(count)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    assert not (out / "log.csv").exists() or len(rows(out)) < 3
    train(TINY, out, resume=True, quiet=True)
    assert same_weights(out / "last.safetensors", finished / "last.safetensors")
    assert same_weights(out / "best.safetensors", finished / "best.safetensors")
    assert same_weights(out / "state.safetensors", finished / "state.safetensors")
    assert rows(out) == rows(finished)


def test_workers_give_the_same_bits(finished, tmp_path):
    recipe = replace(TINY, data=replace(TINY.data, workers=2))
    train(recipe, tmp_path, quiet=True)
    assert same_weights(tmp_path / "last.safetensors", finished / "last.safetensors")


def test_another_seed_gives_other_weights(finished, tmp_path):
    recipe = replace(TINY, optimise=replace(TINY.optimise, seed=1))
    train(recipe, tmp_path, quiet=True)
    assert not same_weights(tmp_path / "last.safetensors", finished / "last.safetensors")


def test_a_finished_run_is_neither_overwritten_nor_resumed_otherwise(finished, tmp_path, capsys):
    out = tmp_path / "run"
    out.mkdir()
    for path in finished.glob("*.safetensors"):
        (out / path.name).write_bytes(path.read_bytes())
    with pytest.raises(FileExistsError, match="holds a training run"):
        train(TINY, out, quiet=True)
    other = replace(TINY, optimise=replace(TINY.optimise, rate=5e-4))
    with pytest.raises(ValueError, match=r"optimise\.rate: 0\.001 → 0\.0005"):
        train(other, out, resume=True, quiet=True)
    (out / "state.safetensors").rename(out / "aside")
    with pytest.raises(FileExistsError, match="holds a training run"):  # weights are one too
        train(TINY, out, quiet=True)
    (out / "aside").rename(out / "state.safetensors")
    train(TINY, out, resume=True)
    assert "resuming after epoch 3 of 3" in capsys.readouterr().out
    assert same_weights(out / "last.safetensors", finished / "last.safetensors")


@pytest.mark.parametrize(("step", "epoch"), [(6, 2), (4, 1)])
def test_a_loss_that_is_not_finite_stops_and_spares_the_checkpoint(
    step, epoch, finished, tmp_path, monkeypatch
):
    """Step 6 is within the second epoch; step 4 ends the first, and shows in the weights only."""
    good = replace(TINY, optimise=replace(TINY.optimise, epochs=3))
    taken = 0
    original = loop._one_step

    def spoil(run, batch, rate, index):
        nonlocal taken
        taken += 1
        loss = original(run, batch, rate, index)
        if taken == step:
            with torch.no_grad():
                next(iter(run.model.parameters())).fill_(torch.nan)
        return loss

    monkeypatch.setattr(loop, "_one_step", spoil)
    with pytest.raises(
        NonFiniteLossError, match=rf"epoch {epoch}; the last checkpoint .* optimise\.rate"
    ):
        train(good, tmp_path, quiet=True)
    written = tmp_path / "last.safetensors"
    assert written.exists() == (epoch == 2)
    if epoch == 2:
        assert load_model(written)[1]["epoch"] == 1
        assert all(bool(torch.isfinite(t).all()) for t in load_file(written).values())
    monkeypatch.setattr(loop, "_one_step", original)
    train(good, tmp_path, resume=True, quiet=True)
    assert same_weights(written, finished / "last.safetensors")


def test_a_learning_rate_far_too_high_is_reported_as_such(tmp_path):
    wild = replace(TINY, optimise=OptimiseRecipe(epochs=2, batch=4, rate=1e30))
    with pytest.raises(NonFiniteLossError, match=r"lower optimise\.rate \(now 1e\+30\)"):
        train(wild, tmp_path, quiet=True)


def test_data_train_is_needed(tmp_path):
    with pytest.raises(ValueError, match=r"data\.train must name at least one source"):
        train(Recipe(), tmp_path, quiet=True)


def test_no_validation_keeps_the_last_as_the_best(tmp_path):
    data = replace(TINY.data, train=("synthetic:8:0",), valid=(), valid_fraction=0.0)
    recipe = replace(TINY, data=data, optimise=OptimiseRecipe(epochs=2, batch=4))
    train(recipe, tmp_path, quiet=True)
    assert same_weights(tmp_path / "best.safetensors", tmp_path / "last.safetensors")
    assert [row["valid_nme"] for row in rows(tmp_path)] == ["nan", "nan"]


@pytest.mark.slow
@pytest.mark.parametrize(
    "head",
    [
        HeadRecipe(name="softlabel"),
        HeadRecipe(name="kdn_uniform"),
        HeadRecipe(learn_bandwidth="fixed", refine=1),
        HeadRecipe(refine=2),
        HeadRecipe(learn_bandwidth="map", refine=1),
        HeadRecipe(name="kdn_adaptive"),
        HeadRecipe(name="gaussian"),
    ],
    ids=lambda head: f"{head.name}-{head.learn_bandwidth}-{head.refine}",
)
def test_every_head_learns_a_few_faces_by_heart(head, tmp_path):
    """Without variation, the error on the faces that it has seen falls to half the start's."""
    pooled = head.name == "gaussian"
    recipe = Recipe(
        data=DataRecipe(train=("synthetic:8:3",), valid=("synthetic:8:3",), height=32, width=64),
        augment=AugmentRecipe(
            flip=0, rotation=0, scale_low=1, scale_high=1, shift=0, colour=0, occlusion=0
        ),
        network=NetworkRecipe(name="resnet18" if pooled else "fan", features=16, depth=2),
        head=head,
        optimise=OptimiseRecipe(
            epochs=10 if pooled else 40, batch=8, rate=5e-4 if pooled else 5e-3, average=0.8
        ),
    )
    train(recipe, tmp_path, quiet=True)
    log = rows(tmp_path)
    assert float(log[-1]["loss"]) < float(log[0]["loss"])
    nme = [float(row["valid_nme"]) for row in log]
    # A pooled network of eleven million weights needs more than forty steps to learn its place.
    assert pooled or nme[-1] < nme[0] / 2, nme


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_mixed_precision_on_a_gpu(tmp_path):
    recipe = replace(TINY, optimise=replace(TINY.optimise, precision="16-mixed"))
    train(recipe, tmp_path, quiet=True)
    assert len(rows(tmp_path)) == 3
