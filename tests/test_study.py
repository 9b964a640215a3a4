"""The study as a whole: it trains what is missing, goes on, and reports what there is."""

import json
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import cv2
import pytest

from kdn.cli import main
from kdn.data import SyntheticFaces
from kdn.predictions import read_predictions
from kdn.recipe import DataRecipe, NetworkRecipe, OptimiseRecipe, Recipe
from kdn.study import Plan, Study, run_study, training
from kdn.study.results import finished, run_folder

pytestmark = pytest.mark.usefixtures("one_thread")

TINY = Recipe(
    data=DataRecipe(train=("synthetic:9:0",), valid_fraction=0.0, height=32, width=48),
    network=NetworkRecipe(features=8, depth=1),
    optimise=OptimiseRecipe(epochs=2, batch=4, rate=1e-3),
)
PLAN = Plan(
    base=TINY,
    methods=("softlabel", "kdn_gaussian", "kdn_refined"),
    seeds=2,
    once=("softlabel",),
    sweep=(0.5, 1.0),
)
STUDY = Study(plan=PLAN, test=("synthetic:7:1",), occluded=("synthetic:5:3",), bootstrap=20)


@pytest.fixture(scope="module")
def done(tmp_path_factory, one_thread) -> Path:
    """Return the folder of a study that nothing disturbed."""
    out = tmp_path_factory.mktemp("study")
    assert run_study(STUDY, out, quiet=True, log=lambda line: None) == {}
    return out


def weights_of(out: Path) -> dict[str, bytes]:
    return {p.parent.name: p.read_bytes() for p in sorted(out.glob("runs/*/best.safetensors"))}


def tables_in(report: str) -> dict[str, list[list[str]]]:
    """Return the rows of each table by its title."""
    found = {}
    for title, body in re.findall(r"^### (.+)\n\n((?:\|.*\n)+)", report, re.MULTILINE):
        lines = [line.strip("| ").split(" | ") for line in body.splitlines()]
        found[title] = [lines[0], *lines[2:]]
    return found


def test_every_run_has_its_folder(done):
    names = {path.name.rsplit("-", 1)[0] for path in (done / "runs").iterdir()}
    assert names == {
        "softlabel-seed0",
        *(f"{key}-seed{seed}" for key in ("kdn_gaussian", "kdn_refined") for seed in (0, 1)),
        "bandwidth-0.5-seed0",
        "bandwidth-0.7071-seed0",
    }
    for run in PLAN.runs:
        assert finished(run_folder(done, run), run)
        recipe = json.loads((run_folder(done, run) / "recipe.json").read_text())
        assert Recipe.of_dict(recipe) == run.recipe


def test_the_report_has_its_tables_with_the_scores_of_the_predictions(done):
    tables = tables_in((done / "report.md").read_text("utf-8"))
    assert [row[0] for row in tables["Table 1: accuracy"][1:]] == [
        "Softlabel", "KDN-Gaussian", "KDN-refined",
    ]  # fmt: skip
    assert [row[-1] for row in tables["Table 1: accuracy"][1:]] == ["1", "2", "2"]
    assert {row[0] for row in tables["Differences from KDN-Gaussian"][1:]} == {
        "Softlabel", "KDN-refined",
    }  # fmt: skip
    assert len(tables["Table 2: bandwidth of the published head"]) == 1 + 4
    assert "perfect heatmaps" in tables["The loss and the decoder apart: NME, box (%)"][-1]
    assert len(tables["Runs"]) == 1 + 7
    for where in ("the test data", "`synthetic:5:3`"):
        assert len(tables[f"Figure 2 in numbers: hidden and visible landmarks of {where}"]) == 1 + 3
    # The NME of the table, by the definition, from the predictions on disk.
    means = []
    for run in PLAN.of_method("kdn_refined"):
        (path,) = (p for p in run_folder(done, run).glob("predictions-*.parquet") if _rows(p) == 7)
        given = read_predictions(path)
        assert given.target is not None
        errors = ((given.landmarks - given.target) ** 2).sum(-1) ** 0.5
        sides = given.target.max(axis=1) - given.target.min(axis=1)
        means.append(float((100 * errors.mean(1) / sides.prod(1) ** 0.5).mean()))
    said = tables["Table 1: accuracy"][3][1]
    assert said.startswith(f"{sum(means) / 2:.2f} ± {abs(means[0] - means[1]) / 2**0.5:.2f} (")


def _rows(path: Path) -> int:
    return len(read_predictions(path))


def test_the_pictures_are_there(done):
    linked = re.findall(r"\]\((figures/[\w.]+)\)", (done / "report.md").read_text("utf-8"))
    assert {f"figures/{p.name}" for p in (done / "figures").iterdir()} == set(linked)
    assert {"figures/figure1.png", "figures/figure2_1.png", "figures/figure3_1.png"} <= set(linked)
    assert {"figures/gradient.png", "figures/convergence.png"} <= set(linked)


def test_nothing_is_trained_twice(done, tmp_path, monkeypatch):
    out = tmp_path / "again"
    shutil.copytree(done, out)

    def trained(*_, **__):
        raise AssertionError("a finished run was trained again")

    monkeypatch.setattr(training, "train", trained)
    assert run_study(STUDY, out, quiet=True, log=lambda line: None) == {}
    assert (out / "report.md").read_bytes() == (done / "report.md").read_bytes()


def test_an_interrupted_study_goes_on_to_the_same_bits(done, tmp_path, monkeypatch):
    out, calls = tmp_path / "study", []
    whole = training.train

    def dying(*arguments, **named):
        calls.append(arguments)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return whole(*arguments, **named)

    monkeypatch.setattr(training, "train", dying)
    with pytest.raises(KeyboardInterrupt):
        run_study(STUDY, out, quiet=True, log=lambda line: None)
    before = weights_of(out)
    assert len(before) == 2
    run_study(STUDY, out, quiet=True, log=lambda line: None)
    assert weights_of(out) == weights_of(done)


def test_a_changed_recipe_is_a_new_run(done, tmp_path):
    out = tmp_path / "study"
    shutil.copytree(done, out)
    slower = replace(TINY, optimise=replace(TINY.optimise, rate=5e-4))
    plan = replace(PLAN, base=slower, methods=("kdn_gaussian",), seeds=1, once=(), sweep=())
    run_study(replace(STUDY, plan=plan), out, quiet=True, log=lambda line: None)
    before, after = weights_of(done), weights_of(out)
    assert len(after) == len(before) + 1
    assert {name: after[name] for name in before} == before


def test_a_run_that_fails_does_not_stop_the_others(tmp_path, monkeypatch):
    whole = training.train

    def failing(recipe, *arguments, **named):
        if recipe.head.name == "softlabel":
            raise ValueError("no such luck")
        return whole(recipe, *arguments, **named)

    monkeypatch.setattr(training, "train", failing)
    plan = replace(PLAN, seeds=1, sweep=(), methods=("softlabel", "kdn_gaussian"))
    failed = run_study(replace(STUDY, plan=plan), tmp_path, quiet=True, log=lambda line: None)
    assert list(failed.values()) == ["no such luck"]
    report = (tmp_path / "report.md").read_text("utf-8")
    assert "no such luck" in report
    assert [row[0] for row in tables_in(report)["Table 1: accuracy"][1:]] == ["KDN-Gaussian"]


def test_bad_sources_are_told_before_anything_is_trained(tmp_path):
    study = replace(STUDY, test=(str(tmp_path / "nowhere"),))
    with pytest.raises(FileNotFoundError, match="nowhere"):
        run_study(study, tmp_path / "out", quiet=True)
    with pytest.raises(ValueError, match="jobs must be at least 1, got 0"):
        run_study(STUDY, tmp_path / "out", jobs=0)
    assert not (tmp_path / "out").exists()


def faces(folder: Path, count: int, first: int = 0) -> None:
    """Write pictures with labels into a folder."""
    folder.mkdir(exist_ok=True)
    for index, face in enumerate(SyntheticFaces(count, seed=6)[first:], first):
        cv2.imwrite(str(folder / f"f{index}.png"), face.read()[..., ::-1])
        rows = "\n".join(f"{x + 1} {y + 1}" for x, y in face.landmarks)
        (folder / f"f{index}.pts").write_text(f"version: 1\nn_points: 68\n{{\n{rows}\n}}\n")


def test_predictions_are_made_again_when_the_folder_holds_other_faces(tmp_path):
    faces(tmp_path / "test", 3)
    plan = replace(PLAN, seeds=1, sweep=(), methods=("kdn_gaussian", "kdn_uniform"))
    study = replace(STUDY, plan=plan, test=(str(tmp_path / "test"),), occluded=())
    run_study(study, tmp_path / "out", quiet=True, log=lambda line: None)
    before = weights_of(tmp_path / "out")
    faces(tmp_path / "test", 5, first=3)
    run_study(study, tmp_path / "out", quiet=True, log=lambda line: None)
    assert weights_of(tmp_path / "out") == before
    for path in (tmp_path / "out").glob("runs/*/predictions-*.parquet"):
        assert len(read_predictions(path)) == 5
    assert ", 5 faces" in (tmp_path / "out" / "report.md").read_text("utf-8")


def test_pictures_that_cannot_be_read_are_told_before_anything_is_trained(tmp_path):
    faces(tmp_path / "test", 3)
    (tmp_path / "test" / "f1.png").write_bytes(b"no picture")
    study = replace(STUDY, test=(str(tmp_path / "test"),))
    with pytest.raises(ValueError, match=r"f1\.png"):
        run_study(study, tmp_path / "out", quiet=True)
    assert not (tmp_path / "out").exists()
    (tmp_path / "file").write_text("here")
    with pytest.raises(NotADirectoryError, match="is a file, not a folder"):
        run_study(STUDY, tmp_path / "file", quiet=True)


@pytest.mark.slow
def test_workers_end_with_the_process_that_started_them(tmp_path):
    arguments = ["study", "--out", str(tmp_path / "s"), "--jobs", "2", "--epochs", "200"]
    command = [sys.executable, "-m", "kdn.cli", *arguments, "--sweep", "--methods"]
    started = subprocess.Popen([*command, "kdn_gaussian", "kdn_uniform"], stdout=subprocess.DEVNULL)
    runs = tmp_path / "s" / "runs"
    _until(lambda: len(list(runs.glob("*/log.csv"))) == 2)  # both have trained an epoch
    started.terminate()
    started.wait()
    time.sleep(3)  # longer than a worker needs to notice
    before = {path: path.read_bytes() for path in runs.glob("*/log.csv")}
    time.sleep(10)  # longer than an epoch
    assert {path: path.read_bytes() for path in runs.glob("*/log.csv")} == before


def _until(true: Callable[[], bool], seconds: float = 240) -> None:
    """Wait for something to be true."""
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "it took too long"
        time.sleep(0.2)


@pytest.mark.slow
def test_side_by_side_gives_the_same_bits(done, tmp_path):
    plan = replace(PLAN, seeds=1, sweep=(), methods=("softlabel", "kdn_gaussian"))
    lines: list[str] = []
    jobs = max(2, training.cores())  # one core, so one thread, for each
    run_study(replace(STUDY, plan=plan), tmp_path / "one", quiet=True, log=lambda line: None)
    failed = run_study(
        replace(STUDY, plan=plan), tmp_path / "two", jobs=jobs, quiet=True, log=lines.append
    )
    assert failed == {}
    assert weights_of(tmp_path / "two") == weights_of(tmp_path / "one")
    assert sum("done" in line for line in lines) == 2


def test_the_command(tmp_path, capsys):
    arguments = [
        *("study", "--out", str(tmp_path / "s"), "--train", "synthetic:8:0"),
        *("--test", "synthetic:6:1", "--methods", "kdn_gaussian", "kdn_uniform", "--sweep"),
        *("--epochs", "1", "--bootstrap", "10", "--quiet"),
    ]
    assert main(arguments) == 0
    assert capsys.readouterr().out == ""  # --quiet
    report = (tmp_path / "s" / "report.md").read_text("utf-8")
    assert "Table 2" not in report
    assert len(list((tmp_path / "s" / "runs").iterdir())) == 2
    alone = ["study", "--out", str(tmp_path / "t"), "--train", "synthetic:8:0"]
    assert main(alone) == 2
    assert "name both --train and --test" in capsys.readouterr().err
    assert main([*arguments, "--methods", "fan"]) == 2
    assert "methods must be among gaussian, softlabel" in capsys.readouterr().err
