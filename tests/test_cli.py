"""The command line: what it prints, writes and refuses."""

import json
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from kdn.cli import main
from kdn.data import SyntheticFaces
from kdn.predictions import read_predictions
from kdn.recipe import Recipe

TINY = """
data: {train: ["synthetic:12:0"], valid_fraction: 0.25, height: 32, width: 48}
network: {features: 8, depth: 1}
head: {learn_bandwidth: landmark, refine: 2}
optimise: {epochs: 1, batch: 4}
"""


@pytest.fixture(scope="module")
def recipe(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("recipe") / "tiny.yaml"
    path.write_text(TINY)
    return path


@pytest.fixture(scope="module")
def run(recipe, tmp_path_factory) -> Path:
    """Return the folder of a training by the command line, with a flag over the recipe."""
    out = tmp_path_factory.mktemp("run") / "out"
    flags = ["--optimise.epochs", "2", "--network.stacks=2", "--quiet"]
    assert main(["train", "--recipe", str(recipe), "--out", str(out), *flags]) == 0
    return out


@pytest.fixture(scope="module")
def predictions(run, tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("predictions") / "new" / "p.parquet"
    flags = ["--data", "synthetic:5:1", "synthetic:4:2", "--maps", "3", "--device", "cpu"]
    checkpoint = str(run / "best.safetensors")
    assert main(["predict", "--model", checkpoint, "--out", str(out), *flags]) == 0
    return out


def test_flags_go_over_the_recipe_file(run):
    recipe = Recipe.of_dict(json.loads((run / "recipe.json").read_text()))
    assert (recipe.optimise.epochs, recipe.network.stacks) == (2, 2)
    assert (recipe.optimise.batch, recipe.network.features) == (4, 8)
    assert recipe.data.train == ("synthetic:12:0",)


def test_resume_and_a_folder_that_is_taken(run, recipe, capsys):
    flags = ["--optimise.epochs", "2", "--network.stacks=2", "--quiet"]
    same = ["train", "--recipe", str(recipe), "--out", str(run), *flags]
    assert main(same) == 2
    assert "holds a training run" in capsys.readouterr().err
    assert main([*same, "--resume"]) == 0
    assert "best.safetensors" in capsys.readouterr().out


def test_predictions_of_several_sources(predictions):
    got = read_predictions(predictions)
    assert len(got) == 9
    assert got.id[0] == "synthetic/1/000000"
    assert got.id[5] == "synthetic/2/000000"
    assert got.metadata["epoch"] in (1, 2)
    assert got.metadata["recipe"]["head"]["refine"] == 2


def test_evaluate_prints_and_writes_the_same(predictions, tmp_path, capsys):
    table, scores = tmp_path / "a" / "t.txt", tmp_path / "b" / "s.json"
    flags = ["--table", str(table), "--json", str(scores), "--bootstrap", "20"]
    assert main(["evaluate", str(predictions), *flags]) == 0
    assert table.read_text() == capsys.readouterr().out
    assert "NME" in table.read_text()
    plain = json.loads(scores.read_text())
    assert plain
    assert main(["evaluate", str(predictions), "--decoder", "argmax", "--bootstrap", "0"]) == 0
    other = capsys.readouterr().out
    assert "decoder argmax" in other
    assert "decoder mean" in table.read_text()


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--at-least", "40"], "p.parquet: at_least is for scalars, got 40 for landmarks"),
        (["--out", "q.parquet"], "--out writes predictions with the labels of --labels"),
    ],
)
def test_evaluate_refuses_what_it_would_not_do(
    flags, said, predictions, tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    assert main(["evaluate", str(predictions), *flags]) == 2
    error = capsys.readouterr().err
    assert said in error
    assert error.count("\n") == 1
    assert not list(tmp_path.iterdir())


def test_evaluate_says_whether_densities_are_calibrated(predictions, tmp_path, capsys):
    table, scores, figure = tmp_path / "t.txt", tmp_path / "s.json", tmp_path / "new" / "c.png"
    flags = ["--bootstrap", "5", "--table", str(table), "--json", str(scores)]
    flags += ["--calibration", "--by", "visible", "--figure", str(figure)]
    assert main(["evaluate", str(predictions), *flags]) == 0
    said = capsys.readouterr().out
    assert table.read_text() == said
    for words in ("NME box", "levels uniform: p", "AURC of the oracle", "visible true"):
        assert words in said
    assert figure.read_bytes().startswith(b"\x89PNG")
    written = json.loads(scores.read_text())
    assert written["scores"]
    parts = written["calibration"]["parts"]
    assert parts["all"]["landmarks"] == written["landmarks"]
    assert {"all", "nose", "visible true"} <= set(parts)


def test_evaluate_by_a_column_of_ones_own(predictions, tmp_path, capsys):
    table = pq.read_table(predictions)
    path = tmp_path / "more.parquet"
    pose = pa.array([["left", "right", "front"][row % 3] for row in range(len(table))])
    pq.write_table(table.append_column("pose", pose), path)
    flags = ["--calibration", "--bootstrap", "0"]
    assert main(["evaluate", str(path), *flags, "--by", "pose"]) == 0
    assert "pose front" in capsys.readouterr().out
    assert main(["evaluate", str(path), *flags, "--by", "weather"]) == 2
    assert "column 'weather' is missing" in capsys.readouterr().err
    figure = tmp_path / "f.png"  # either asks for the calibration
    assert main(["evaluate", str(path), "--bootstrap", "0", "--figure", str(figure)]) == 0
    assert "levels uniform: p" in capsys.readouterr().out
    assert figure.read_bytes().startswith(b"\x89PNG")


def test_a_reader_that_has_gone_is_no_error(predictions, tmp_path):
    """As in `kdn evaluate … | head -1`: the files are written, nothing is complained about."""
    scores = tmp_path / "s.json"
    arguments = ["evaluate", str(predictions), "--bootstrap", "0", "--json", str(scores)]
    command = [sys.executable, "-m", "kdn.cli", *arguments]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.close()
        assert process.stderr is not None
        assert process.stderr.read() == b""
    assert process.returncode == 141
    assert json.loads(scores.read_text())


def test_figures(predictions, tmp_path, capsys):
    assert main(["figures", str(predictions), "--out", str(tmp_path / "f")]) == 0
    written = [Path(line) for line in capsys.readouterr().out.splitlines()]
    assert len(written) >= 4
    assert all(path.stat().st_size > 1000 for path in written)
    assert any("heatmaps" in path.name for path in written)


def test_one_bad_picture_does_not_stop_the_rest(run, tmp_path, capsys):
    folder = tmp_path / "faces"
    folder.mkdir()
    for index, face in enumerate(SyntheticFaces(3, seed=9, ambiguous=0)):
        cv2.imwrite(str(folder / f"{index}.png"), face.read()[..., ::-1])
        rows = "\n".join(f"{x + 1} {y + 1}" for x, y in face.landmarks)
        (folder / f"{index}.pts").write_text(f"version: 1\nn_points: 68\n{{\n{rows}\n}}\n")
    whole = cv2.imencode(".jpg", SyntheticFaces(1, seed=9)[0].read())[1].tobytes()
    (folder / "1.png").unlink()
    (folder / "1.jpg").write_bytes(whole[: len(whole) // 2])
    (folder / "2.pts").write_text("version: 1\nn_points: 68\n{\n1 x\n}\n")
    out = tmp_path / "p.parquet"
    checkpoint = str(run / "last.safetensors")
    flags = ["--model", checkpoint, "--data", str(folder), "--out", str(out)]
    assert main(["predict", *flags]) == 1
    said = capsys.readouterr()
    assert "1 faces" in said.out
    left_out = [line for line in said.err.splitlines() if line.startswith("left out")]
    assert len(left_out) == 2
    assert any("1.jpg: the file ends within the picture" in line for line in left_out)
    assert any("2.pts:4" in line for line in left_out)
    got = read_predictions(out)
    truth = SyntheticFaces(3, seed=9, ambiguous=0)[0]
    assert got.target is not None
    np.testing.assert_allclose(got.target[0], truth.landmarks, atol=1e-3)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["predict", "--model", "none.safetensors"], "none.safetensors: no such file"),
        (["predict", "--out", "p.safetensors"], "must end in .parquet, .csv or .json"),
        (["predict", "--model", "."], "is a folder, not a file"),
        (["train", "--data.train", "x", "--out", "o", "--accelerator", "gpu"], "accelerator"),
        (["predict", "--decoder", "median"], "decoder must be default or one of argmax"),
        (
            ["predict", "--data", "synthetic:3"],
            "source must be synthetic:COUNT:SEED, got 'synthetic:3'",
        ),
        (["predict", "--data", "nowhere"], "nowhere"),
        (["predict", "--device", "abacus"], "device must be one of this machine, got 'abacus'"),
        (["evaluate", "none.parquet"], "none.parquet"),
        (["figures", "none.parquet", "--out", "x"], "none.parquet"),
        (["figures", "a/p.parquet", "b/p.parquet", "--out", "x"], "different names"),
    ],
)
def test_bad_arguments_give_one_line_and_code_2(
    arguments, said, run, tmp_path, capsys, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    if arguments[0] == "predict":
        usual = {"--model": str(run / "last.safetensors"), "--data": "synthetic:2:0"}
        usual |= {"--out": "p.parquet"} | dict(zip(arguments[1::2], arguments[2::2], strict=True))
        arguments = ["predict", *(part for pair in usual.items() for part in pair)]
    assert main(arguments) == 2
    error = capsys.readouterr().err
    assert said in error
    assert error.count("\n") == 1
    assert "Traceback" not in error


@pytest.mark.parametrize(
    ("flag", "value", "said"),
    [
        ("--optimise.epochs", "0", "optimise.epochs must be at least 1, got 0"),
        ("--network.features", "12", "network.features must be a positive multiple of 8, got 12"),
        ("--head.name", "lasso", "lasso"),
        ("--head.colour", "red", "head.colour"),
        ("--data.train", "nowhere", "nowhere: no such folder"),
        ("--optimise.epoch", "3", "unrecognized arguments: --optimise.epoch"),
    ],
)
def test_bad_settings_name_the_field(flag, value, said, recipe, tmp_path, capsys):
    arguments = ["train", "--recipe", str(recipe), "--out", str(tmp_path / "o"), flag, value]
    assert main(arguments) == 2
    error = capsys.readouterr().err
    assert said in error
    assert error.count("\n") <= 3
    assert not (tmp_path / "o").exists()
