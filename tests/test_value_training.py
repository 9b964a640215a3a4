"""Values from the command line: training, prediction, scores, export, on pictures drawn by hand."""

import csv
import json
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
import yaml
from safetensors.torch import load_file
from torch.utils.data import default_collate

import kdn
from kdn.cli import main
from kdn.data import CropDataset, read_image
from kdn.models.checkpoint import load_model
from kdn.models.heads import rounded_log_prob
from kdn.predictions import QUANTILES, read_predictions
from kdn.recipe import Recipe
from kdn.train import train

pytestmark = pytest.mark.usefixtures("one_thread")

LABELS = {"names": ["glow", "bar"], "low": 10.0, "high": 64.0, "step": 3.0, "rounding": 1.0}
SETTINGS = {
    "data": {"crop": "picture", "height": 16, "width": 24},
    "labels": LABELS,
    "augment": {
        "flip": 0.5, "rotation": 0, "scale_low": 1, "scale_high": 1,
        "shift": 0, "colour": 0, "occlusion": 0,
    },
    "network": {"name": "conv", "features": 8, "depth": 2, "dropout": 0.1},
    "head": {"name": "kdn_gaussian", "bandwidth": 2},
    "optimise": {
        "epochs": 8, "batch": 8, "optimiser": "adamw", "rate": 1e-2, "clip": 5, "average": 0.7,
    },
}  # fmt: skip


def draw(folder: Path, count: int, seed: int) -> Path:
    """Return a table of pictures whose ground and bar are their labels; some bars have none."""
    folder.mkdir(parents=True)
    rng = np.random.default_rng(seed)
    rows = []
    for index in range(count):
        glow, bar = rng.integers(12, 63, 2)
        picture = np.full((20, 32, 3), 3 * glow + 30, np.uint8)
        picture[6:15, : bar // 2] = (0, 255, 0)
        cv2.imwrite(str(folder / f"{index:03d}.png"), picture)
        length = "" if index % 3 == 1 else bar
        rows.append([f"{index:03d}.png", f"{seed}-{index:03d}", glow, length, f"group {index % 2}"])
    table = folder / "labels.csv"
    with open(table, "w", newline="") as file:
        csv.writer(file).writerows([["path", "id", "glow", "bar", "group"], *rows])
    return table


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    """Return a folder with two sets of pictures and a recipe that learns one of them."""
    folder = tmp_path_factory.mktemp("drawn")
    tables = [draw(folder / name, *size) for name, size in {"a": (64, 0), "b": (24, 1)}.items()]
    parts = dict(zip(("train", "valid"), ([f"table:{table}"] for table in tables), strict=True))
    recipe = SETTINGS | {"data": SETTINGS["data"] | parts}
    (folder / "recipe.yaml").write_text(yaml.safe_dump(recipe))
    return folder


@pytest.fixture(scope="module")
def run(data, one_thread) -> Path:
    """Return the folder of a run that nothing disturbed."""
    out = data / "run"
    recipe = str(data / "recipe.yaml")
    assert main(["train", "--recipe", recipe, "--out", str(out), "--quiet"]) == 0
    return out


@pytest.fixture(scope="module")
def predicted(data, run) -> Path:
    """Return predictions for the pictures that were validated on."""
    out = data / "b.parquet"
    source = f"table:{data / 'b' / 'labels.csv'}"
    command = ["predict", "--model", str(run / "last.safetensors"), "--data", source]
    assert main([*command, "--out", str(out), str(data / "b.csv"), str(data / "b.json")]) == 0
    return out


def log_of(out: Path) -> list[dict[str, str]]:
    with open(out / "log.csv", newline="") as file:
        return [{k: v for k, v in row.items() if k != "seconds"} for row in csv.DictReader(file)]


def said_of(capsys) -> str:
    """Return what went to standard error, less the progress bars."""
    lines = capsys.readouterr().err.replace("\r", "\n").splitlines()
    return "\n".join(line for line in lines if "it/s" not in line and "sample/s" not in line)


def test_what_a_run_leaves(run):
    log = log_of(run)
    columns = ["epoch", "rate", "loss", "valid_crps", "valid_mae", "valid_nll"]
    assert list(log[0]) == columns
    assert [row["epoch"] for row in log] == [str(i) for i in range(1, 9)]
    assert float(log[-1]["loss"]) < float(log[0]["loss"]) - 0.5
    model, facts = load_model(run / "last.safetensors")
    assert model.labels.names == ("glow", "bar")
    assert facts["valid_mae"] == float(log[-1]["valid_mae"])
    assert facts["valid_nll"] == float(log[-1]["valid_nll"])
    best = min(log, key=lambda row: float(row["valid_crps"]))
    assert load_model(run / "best.safetensors")[1]["epoch"] == int(best["epoch"])


def test_validation_and_prediction_say_the_same(run, predicted):
    """The log's means are over the labels there are; the file's are counted once more here."""
    found = read_predictions(predicted)
    assert found.target is not None
    there = ~np.isnan(found.target)
    assert there.sum(axis=0).tolist() == [24, 16]
    last = log_of(run)[-1]
    mae = np.abs(found.prediction - found.target)[there].mean()
    assert float(last["valid_mae"]) == pytest.approx(mae, rel=1e-4)
    assert found.energy_score is not None
    assert found.log_prob is not None
    assert float(last["valid_crps"]) == pytest.approx(found.energy_score[there].mean(), rel=1e-4)
    assert float(last["valid_nll"]) == pytest.approx(-found.log_prob[there].mean(), rel=1e-4)
    assert np.isnan(found.energy_score[~there]).all()


def test_it_beats_what_knows_no_picture(predicted):
    found = read_predictions(predicted)
    assert found.target is not None
    shares = []
    for target, value in zip(found.target.T, found.prediction.T, strict=True):
        known = ~np.isnan(target)
        constant = np.abs(target[known] - np.median(target[known])).mean()
        shares.append(np.abs(value - target)[known].mean() / constant)
    assert max(shares) < 0.85
    assert np.mean(shares) < 0.6


def test_what_predictions_hold(data, predicted):
    found = read_predictions(predicted)
    with open(data / "b" / "labels.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert list(found.id) == [row["id"] for row in rows]
    assert found.attributes == {"group": [row["group"] for row in rows]}
    assert found.target is not None
    labels = [[float(row[name] or "nan") for name in ("glow", "bar")] for row in rows]
    np.testing.assert_array_equal(found.target, labels)
    assert found.path is not None
    assert Path(found.path[3]).name == "003.png"
    assert found.metadata["decoder"] == "median"
    assert found.metadata["axis"] == [10.0, 64.0, 3.0]
    assert found.rounding == 1.0
    for part in (found.cdf_low, found.cdf_high, found.median, found.quantiles):
        assert part is not None
    assert found.quantiles is not None
    assert found.median is not None
    np.testing.assert_allclose(found.quantiles[..., QUANTILES.index(0.5)], found.median)
    np.testing.assert_allclose(found.prediction, found.median)
    assert (np.diff(found.quantiles, axis=-1) > 0).all()
    table = read_predictions(data / "b.csv")
    np.testing.assert_allclose(table.prediction, found.prediction)
    listed = json.loads((data / "b.json").read_text())
    assert listed[1]["bar_target"] is None
    assert listed[2]["glow"] == pytest.approx(found.prediction[2, 0])


def test_pictures_of_which_one_is_bad(data, run, tmp_path, capsys):
    model = str(run / "best.safetensors")
    good = [data / "b" / f"{i:03d}.png" for i in (4, 2)]
    (tmp_path / "bad.png").write_bytes(b"no picture")
    outs = [str(tmp_path / f"found{kind}") for kind in (".csv", ".json", ".jsonl", ".parquet")]
    files = [str(good[0]), str(tmp_path / "bad.png"), str(good[1])]
    flags = ["--model", model, "--overlay", str(tmp_path / "drawn"), "--abstain", "0.5"]
    assert main(["predict", *files, *flags, "--tau", "10%", "--out", *outs]) == 1
    err = said_of(capsys)
    assert err.count("failed: ") == 1
    assert "bad.png" in err
    document = json.loads(Path(outs[1]).read_text())
    assert document["names"] == ["glow", "bar"]
    assert [Path(image["file"]).name for image in document["images"]] == ["004.png", "002.png"]
    estimator = kdn.load(model)
    predictions = [estimator(path)[0].abstaining(0.5, "10%") for path in good]
    lines = [json.loads(line) for line in Path(outs[2]).read_text().splitlines()]
    faces = [line["faces"][0] for line in lines if "faces" in line]
    assert faces == [image["faces"][0] for image in document["images"]]
    for face, known in zip(faces, predictions, strict=True):
        np.testing.assert_allclose(face["values"], known.values, rtol=1e-4)
        np.testing.assert_allclose(face["uncertainty"], known.uncertainty, rtol=1e-4)
        np.testing.assert_allclose(face["interval"], known.interval(0.9), rtol=1e-4)
        # A tenth of the axis, from 8.5 to 65.5.
        mass = known.density.mass_within(torch.from_numpy(known.values), 5.7).numpy()
        np.testing.assert_allclose(face["error_probability"], 1 - mass, atol=1e-4)
        assert face["known"] == known.known.tolist()
    with open(outs[0], newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["name"] for row in rows] == ["glow", "bar"] * 2
    values = [float(row["value"]) for row in rows]
    np.testing.assert_allclose(values, np.concatenate([k.values for k in predictions]), rtol=1e-4)
    table = read_predictions(outs[3])
    np.testing.assert_allclose(table.prediction.ravel(), values, rtol=1e-4)
    assert table.quantiles is not None
    assert table.quantiles.shape == (2, 2, len(QUANTILES))
    assert table.metadata["failed"][0]["file"].endswith("bad.png")
    drawn = read_image(next((tmp_path / "drawn").rglob("004.png")))
    assert (drawn != read_image(good[0])).any()
    # The table on the screen, and a file that is not there.
    assert main(["predict", files[0], "nowhere.png", "--model", model, "--overlay", "none"]) == 1
    screen = capsys.readouterr()
    assert re.search(
        r"004\.png: face 0, box .*\n  glow \d+\.\d ± \d+\.\d \(.* – .*\)\n  bar ", screen.out
    )
    assert "failed: nowhere.png" in screen.err


def test_estimates(data, run):
    estimator = kdn.load_values(run / "best.safetensors")
    paths = [data / "a" / f"{i:03d}.png" for i in range(3)]
    several = estimator(paths, batch=2)
    assert [len(found) for found in several] == [1, 1, 1]
    [one] = estimator(read_image(paths[2]))
    np.testing.assert_allclose(several[2][0].values, one.values, rtol=1e-4)
    assert one.names == ("glow", "bar")
    assert one["bar"] == one.values[1]
    with pytest.raises(KeyError, match="no value 'age'; there are glow, bar"):
        one["age"]
    ends = one.interval(0.8)
    assert ends.shape == (2, 2)
    masses = one.density.cdf(torch.from_numpy(ends.T.copy()))
    torch.testing.assert_close(masses, torch.tensor([[0.1] * 2, [0.9] * 2]).double())
    with pytest.raises(ValueError, match="level must be between 0 and 1, got 90"):
        one.interval(90)
    with pytest.raises(ValueError, match="boxes must be None for a model of whole pictures"):
        estimator(paths[0], boxes=[(0, 0, 9, 9)])


def test_scores_on_the_command_line(data, predicted, tmp_path, capsys):
    found = read_predictions(predicted)
    assert found.target is not None
    said = tmp_path / "scores.json"
    flags = ["--bootstrap", "50", "--json", str(said), "--at-least", "40", "--within", "7"]
    assert main(["evaluate", str(predicted), *flags]) == 0
    text = capsys.readouterr().out
    scores = json.loads(said.read_text())["scores"]
    error = np.abs(found.prediction - found.target)
    each = np.nanmean(error, axis=0)
    assert scores["glow: MAE"]["value"] == pytest.approx(each[0])
    assert scores["bar: MAE"]["value"] == pytest.approx(each[1])
    assert scores["mean of 2 values: MAE"]["value"] == pytest.approx(each.mean())
    within = 100 * np.mean(error[:, 0] <= 7)
    assert scores["glow: CS@7"]["value"] == pytest.approx(within)
    assert "F1 at ≥ 40" in text
    assert "labels are known to within ±0.5" in text


def test_scores_of_another_system(data, tmp_path, capsys):
    other = tmp_path / "theirs.csv"
    other.write_text("id,age,age_target\n007,31,30\n08,40.5,\n9,20,24\n")
    assert main(["evaluate", str(other), "--bootstrap", "0"]) == 0
    out = capsys.readouterr().out
    assert "2 samples, 2 labels" in out
    assert re.search(r"MAE +2\.5", out)
    assert "NLL (log_prob)" in out
    # Labels from elsewhere, by ids that look like numbers.
    for name in ("007", "08"):
        cv2.imwrite(str(tmp_path / f"{name}.png"), np.zeros((9, 12, 3), np.uint8))
    labels = tmp_path / "labels.csv"
    labels.write_text("path,id,age\n007.png,007,33\n08.png,08,41\n")
    out = tmp_path / "joined.csv"
    flags = ["--labels", f"table:{labels}", "--out", str(out), "--bootstrap", "0"]
    assert main(["evaluate", str(other), *flags]) == 2
    assert "must have no labels of their own" in capsys.readouterr().err
    other.write_text("id,age\n007,31\n08,40.5\n9,20\n")
    assert main(["evaluate", str(other), *flags]) == 1
    text = capsys.readouterr()
    assert re.search(r"MAE +1\.25", text.out)
    assert "theirs.csv: row 2: '9' names no labelled sample" in text.err
    joined = read_predictions(out)
    assert joined.id == ("007", "08")
    np.testing.assert_array_equal(joined.target, [[33.0], [41.0]])
    labels.write_text("path,id,age\n007.png,007,33\n08.png,08,old\n")
    assert main(["evaluate", str(other), *flags]) == 1
    assert "left out: 08: age must be a number, got 'old'" in capsys.readouterr().err
    other.write_text("id,age\n007,31\n08,40.5\n")  # without a column of labels
    assert main(["evaluate", str(other), "--labels", f"table:{labels}", "--bootstrap", "0"]) == 1
    assert re.search(r"MAE +2\.0", capsys.readouterr().out)
    other.write_text("id,age\n007,31\n007,32\n")
    assert main(["evaluate", str(other), *flags]) == 2
    assert "007: 2 predictions of it (" in capsys.readouterr().err


def test_export_at_half_the_size(data, run, tmp_path):
    out = tmp_path / "small.safetensors"
    best = run / "best.safetensors"
    assert main(["export", "--model", str(best), "--out", str(out), "--half"]) == 0
    assert out.stat().st_size < 0.6 * best.stat().st_size
    picture = data / "b" / "005.png"
    one, other = (kdn.load_values(path)(picture)[0].values for path in (best, out))
    np.testing.assert_allclose(one, other, atol=0.2)
    assert kdn.load_values(out).metadata["epoch"] == kdn.load_values(best).metadata["epoch"]


def test_scalars_are_calibrated_as_landmarks_are(data, run, tmp_path, capsys):
    """On the 24 held-out pictures, of which 16 have a bar; another 24 keep the promise."""
    out = tmp_path / "calibrated.safetensors"
    best = str(run / "best.safetensors")
    assert main(["calibrate", "--model", best, "--out", str(out), "--quiet"]) == 0
    printed = capsys.readouterr().out
    assert "one crop: 24 samples, NLL " in printed
    assert "averaged with the flipped crop: 24 samples, NLL " in printed
    assert "nats per unit" in printed
    model, metadata = load_model(out)
    assert metadata["epoch"] == load_model(best)[1]["epoch"]
    assert set(model.recalibrations) == {False, True}
    for recalibration in model.recalibrations.values():
        assert recalibration.facts["nll_adjusted"] <= recalibration.facts["nll"]
        assert recalibration.levels is not None
        known = ~np.isnan(recalibration.levels.levels)
        assert known.sum(axis=0).tolist() == [24, 16]
    table = draw(tmp_path / "c", 24, 5)
    samples = model.labels.read([f"table:{table}"])
    crops = CropDataset(samples, labels=model.labels, data=model.recipe.data, augment=None, seed=0)
    inputs = default_collate([crops[i] for i in range(len(crops))])
    valid = inputs["valid"]
    for flip in (False, True):
        with torch.no_grad():
            raw = model.density(inputs["image"], flip=flip, adjusted=False)
            density = model.density(inputs["image"], flip=flip)
        recalibration = model.recalibration(flip)
        # Of the recalibrated density: 1/25 and 1/17 are the steps of its levels.
        levels = recalibration.hdr_level(density, inputs["target"])
        steps = levels * torch.tensor([25.0, 17.0])
        torch.testing.assert_close(steps, steps.round(), rtol=0, atol=1e-4)
        share = (levels <= 0.8)[valid].float().mean()
        assert 0.55 < float(share) < 0.99
        before, after = (rounded_log_prob(d, inputs["target"], 1.0)[valid] for d in (raw, density))
        assert not torch.equal(before, after)
        assert abs(float((after - before).mean())) < 0.5
    # The two looks at a picture are averaged, whichever of them is called the flipped one.
    with torch.no_grad():
        one, other = (
            model.density(x, flip=True, adjusted=False).mean
            for x in (inputs["image"], inputs["image"].flip(-1))
        )
    torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-3)


def test_a_name_that_no_sample_has(data, tmp_path, capsys):
    command = ["train", "--recipe", str(data / "recipe.yaml"), "--out", str(tmp_path / "x")]
    assert main([*command, "--labels.names", "[age]", "--quiet"]) == 2
    said = said_of(capsys)
    assert "labels.names age: no sample of " in said
    assert "there is glow, bar, group" in said
    assert main([*command, "--labels.names", "[group]", "--quiet"]) == 2
    assert "0-000: group must be a number, got 'group 0'" in said_of(capsys)
    assert main([*command, "--network.name", "fan", "--quiet"]) == 2
    assert "network.name fan gives maps" in said_of(capsys)
    shutil.rmtree(tmp_path / "x", ignore_errors=True)


def test_scalars_have_the_diagnosis_and_the_figures_of_landmarks(predicted, tmp_path, capsys):
    drawn, scores = tmp_path / "c.png", tmp_path / "s.json"
    flags = ["--calibration", "--by", "group", "--figure", str(drawn), "--json", str(scores)]
    assert main(["evaluate", str(predicted), *flags, "--bootstrap", "20"]) == 0
    text = capsys.readouterr().out
    for words in ("levels uniform: p", "AURC of the oracle", "50 % intervals hold", "glow", "bar"):
        assert words in text
    assert drawn.read_bytes().startswith(b"\x89PNG")
    parts = json.loads(scores.read_text())["calibration"]["parts"]
    assert {"all", "glow", "bar"} <= set(parts)
    assert len(parts["all"]["curves"]["coverage"]) == 99
    assert any(name.startswith("group ") for name in parts)
    assert main(["figures", str(predicted), "--out", str(tmp_path / "new")]) == 0
    assert len(list((tmp_path / "new").iterdir())) == 5


def test_kdn_load_takes_scalars_too(run):
    assert kdn.load(run / "best.safetensors").labels.kind == "scalars"
    with pytest.raises(ValueError, match=r"gives landmarks, not scalars; kdn\.load takes it"):
        kdn.load_values("face68")


def test_a_killed_run_resumes_to_the_same_bits(run, tmp_path):
    recipe, out = tmp_path / "recipe.json", tmp_path / "run"
    recipe.write_text((run / "recipe.json").read_text())
    script = str(Path(__file__).with_name("killed_training.py"))
    command = [sys.executable, script, str(recipe), str(out), "before _one_step", "21"]
    killed = subprocess.run(command, capture_output=True, text=True, check=False)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    assert len(log_of(out)) == 2
    train(Recipe.of_dict(json.loads(recipe.read_text())), out, resume=True, quiet=True)
    assert log_of(out) == log_of(run)
    for name in ("last", "best"):
        one, other = (load_file(place / f"{name}.safetensors") for place in (out, run))
        assert one.keys() == other.keys()
        assert all(torch.equal(one[key], other[key]) for key in one), name
