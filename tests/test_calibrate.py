"""A model is recalibrated on samples it was not trained on, stored, and predicts accordingly."""

import dataclasses
import json
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from torch.utils.data import default_collate

from kdn.cli import main
from kdn.data import (
    CropDataset,
    PointLabels,
    Sample,
    SyntheticFaces,
    held_out_samples,
    load_samples,
    picture_names,
    read_batches,
)
from kdn.data.markup import FACE68
from kdn.models.checkpoint import load_model, save_model
from kdn.models.model import Model, build_model
from kdn.predict.predictor import load
from kdn.predictions import read_predictions
from kdn.recipe import DataRecipe, HeadRecipe, NetworkRecipe, Recipe
from kdn.train.calibrate import calibrate
from predicting import predicted

DATA = DataRecipe(train=("synthetic:40:3",), valid_fraction=0.25, height=32, width=48)
POINTS = PointLabels(FACE68)
SMALL = NetworkRecipe(features=8, depth=1)
MODELS = {
    "refined": Recipe(data=DATA, network=SMALL, head=HeadRecipe(refine=2)),
    "uniform": Recipe(data=DATA, network=SMALL, head=HeadRecipe(name="kdn_uniform")),
    "adaptive": Recipe(data=DATA, network=SMALL, head=HeadRecipe(name="kdn_adaptive")),
    "gaussian": Recipe(
        data=dataclasses.replace(DATA, width=64),
        network=NetworkRecipe(name="resnet18"),
        head=HeadRecipe(name="gaussian"),
    ),
}


def write_faces(folder: Path, count: int, seed: int) -> None:
    """Write synthetic faces as pictures with `.pts` files."""
    folder.mkdir()
    for index, face in enumerate(SyntheticFaces(count, seed=seed)):
        cv2.imwrite(str(folder / f"{folder.name}{index}.png"), face.read())
        rows = "\n".join(f"{x + 1} {y + 1}" for x, y in face.landmarks)
        text = f"version: 1\nn_points: 68\n{{\n{rows}\n}}\n"
        (folder / f"{folder.name}{index}.pts").write_text(text)


def model_of(name: str, seed: int = 0):
    """Return a model with random weights that is far too sure of what it says."""
    torch.manual_seed(seed)
    model = build_model(MODELS[name]).eval()
    with torch.no_grad():
        list(model.network.parameters())[-2].mul_(1.0 if name == "gaussian" else 100.0)
    return model


def levels_of(model: Model, samples: list[Sample], batch: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the levels of the labels: the adjusted densities' own, and the corrected ones."""
    dataset = CropDataset(samples, labels=POINTS, data=model.recipe.data, augment=None, seed=0)
    own, corrected = [], []
    for _, items in read_batches(dataset, batch, None):
        inputs = default_collate(items)
        with torch.no_grad():
            density = model.density(inputs["image"])
        own.append(density.hdr_level(inputs["target"]))
        corrected.append(model.recalibration(False).hdr_level(density, inputs["target"]))
    return torch.cat(own).double().numpy(), torch.cat(corrected).double().numpy()


@pytest.mark.parametrize("name", MODELS)
def test_labels_become_likelier_and_the_levels_uniform(name):
    model = model_of(name)
    samples = list(SyntheticFaces(16, seed=1))
    fitted = calibrate(model, samples, parts=("temperature", "bandwidth"), batch=11)
    assert fitted.facts["samples"] == 16
    before = fitted.facts["nll"]
    assert before is None or fitted.facts["nll_adjusted"] < before - 0.05
    raw = predicted(model, samples, batch=8, radii=())
    model.recalibrations = {False: fitted}
    mended = predicted(model, samples, batch=8, radii=())
    assert raw.log_prob is not None
    assert mended.log_prob is not None
    assert mended.log_prob.mean() > raw.log_prob.mean()
    # On the very samples, each landmark's levels are the ranks among them, the lowest where tied.
    # In another batch or with other threads an own level differs by rounding, and with it its rank
    # among levels that are as near as that.
    own, corrected = levels_of(model, samples, batch=8)
    assert fitted.levels is not None
    held = fitted.levels.levels[:, None]
    assert ((held < own - 1e-4).sum(axis=0) / 17 <= corrected + 1e-6).all()
    assert (corrected <= (held < own + 1e-4).sum(axis=0) / 17 + 1e-6).all()
    assert np.median(np.abs(np.sort(corrected, axis=0) - np.arange(16)[:, None] / 17)) < 1.1 / 17
    assert (corrected <= 0.8).mean() > 0.74


def test_fresh_faces_are_covered_as_promised():
    """60 faces to calibrate on, 60 others: the share that is held varies by 3 points or so."""
    model = model_of("refined", seed=3)
    faces = list(SyntheticFaces(60, seed=2))
    model.recalibrations = {False: calibrate(model, SyntheticFaces(60, seed=1), parts=())}
    levels = predicted(model, faces, radii=()).hdr_level
    assert levels is not None
    model.recalibrations = {}
    raw = predicted(model, faces, radii=()).hdr_level
    assert raw is not None
    off = []
    for nominal in (0.5, 0.8, 0.9, 0.95):
        assert (levels <= nominal).mean() == pytest.approx(nominal, abs=0.08)
        off.append(abs((raw <= nominal).mean() - nominal))
    assert max(off) > 0.2


@pytest.mark.parametrize("half", [False, True])
def test_a_recalibration_is_stored_with_the_model(half, tmp_path):
    model = model_of("refined")
    for flip, parts in ((False, ("temperature",)), (True, ("bandwidth", "covariance"))):
        model.recalibrations[flip] = calibrate(
            model, SyntheticFaces(12, seed=1), flip=flip, parts=parts, per_label=flip
        )
    save_model(tmp_path / "model.safetensors", model, {"epoch": 3}, half=half)
    loaded, facts = load_model(tmp_path / "model.safetensors")
    assert facts["epoch"] == 3
    assert set(loaded.recalibrations) == {False, True}
    for flip in (False, True):
        ours, theirs = model.recalibrations[flip], loaded.recalibrations[flip]
        assert theirs.facts == ours.facts
        for name, tensor in ours.tensors().items():
            assert torch.equal(theirs.tensors()[name], tensor)
    if not half:
        crops = torch.randint(0, 256, (2, 3, 32, 48), dtype=torch.uint8)
        with torch.no_grad():
            plain = [m.density(crops, flip=False).covariance_matrix for m in (model, loaded)]
            both = [m.density(crops, flip=True).covariance_matrix for m in (model, loaded)]
        assert torch.equal(*plain)
        assert torch.equal(*both)
        assert not torch.allclose(plain[0], both[0])


def test_each_view_has_its_own_recalibration():
    model = model_of("refined")
    model.recalibrations[True] = calibrate(
        model, SyntheticFaces(12, seed=1), flip=True, parts=("bandwidth",)
    )
    crops = torch.randint(0, 256, (2, 3, 32, 48), dtype=torch.uint8)
    with torch.no_grad():
        plain = model.density(crops)
        raw = model.density_of(model(crops)[-1], model(crops.flip(-1))[-1])
        untouched = model.density_of(model(crops)[-1])
        assert torch.equal(plain.covariance_matrix, untouched.covariance_matrix)
        adjusted = model.density(crops, flip=True)
        by_hand = model.recalibrations[True].adjusted(raw)
    assert torch.equal(adjusted.covariance_matrix, by_hand.covariance_matrix)
    assert not torch.allclose(adjusted.covariance_matrix, raw.covariance_matrix)


def test_areas_are_those_of_the_corrected_regions():
    """And levels have the steps of a conformal level of nine faces."""
    model = model_of("refined")
    model.recalibrations[False] = found = calibrate(model, SyntheticFaces(9, seed=1), parts=())
    faces = list(SyntheticFaces(3, seed=2))
    mended = predicted(model, faces, radii=())
    model.recalibrations = {}
    raw = predicted(model, faces, radii=())
    assert mended.hdr_areas is not None
    assert raw.hdr_areas is not None
    own = found.own_level(0.5, 68)
    # The region of a larger level is larger, and where the level is the nominal one the same.
    larger, smaller = own > 0.5, own < 0.5
    assert larger.any()
    assert smaller.any()
    assert (mended.hdr_areas[:, larger, 0] > raw.hdr_areas[:, larger, 0]).all()
    assert (mended.hdr_areas[:, smaller, 0] < raw.hdr_areas[:, smaller, 0]).all()
    assert mended.hdr_tie is not None
    assert np.allclose(mended.hdr_tie, 0.1)


def test_held_out_faces_are_those_of_the_training(tmp_path):
    whole = held_out_samples(DATA, POINTS)
    assert len(whole) == 10
    same = held_out_samples(DATA, POINTS, ["synthetic:40:3"])
    assert picture_names(same) == picture_names(whole)
    assert len(held_out_samples(DATA, POINTS, ["synthetic:5:9"])) == 5
    both = held_out_samples(DATA, POINTS, ["synthetic:5:9", "synthetic:40:3"])
    assert picture_names(both)[5:] == picture_names(whole)


def test_of_several_sources_each_keeps_its_held_out_part(tmp_path, monkeypatch):
    write_faces(tmp_path / "one", 12, seed=1)
    write_faces(tmp_path / "two", 12, seed=2)
    monkeypatch.chdir(tmp_path)
    data = DataRecipe(train=("one", "two"), valid_fraction=0.5)
    whole = {sample.id for sample in held_out_samples(data, POINTS)}
    monkeypatch.chdir("/")
    folders = [str(tmp_path / "one"), str(tmp_path / "two")]
    assert {sample.id for sample in held_out_samples(data, POINTS, folders)} == whole
    with pytest.raises(FileNotFoundError, match="two"):  # what was held out of one depends on it
        held_out_samples(data, POINTS, folders[:1])
    monkeypatch.chdir(tmp_path)
    first = held_out_samples(data, POINTS, ["one"])
    assert {sample.id for sample in first} == whole & {s.id for s in load_samples("one")}
    assert 0 < len(first) < 12


def test_what_was_trained_on_is_refused():
    with pytest.raises(ValueError, match=r"this model's training held none out \(data.valid_frac"):
        held_out_samples(dataclasses.replace(DATA, valid_fraction=0.0), POINTS)
    data = dataclasses.replace(DATA, valid=("synthetic:5:9",))
    assert len(held_out_samples(data, POINTS)) == 5
    with pytest.raises(ValueError, match="not trained on, got synthetic:40:3"):
        held_out_samples(data, POINTS, ["synthetic:40:3"])


def test_the_command_writes_a_model_whose_predictions_are_recalibrated(
    tmp_path, capsys, monkeypatch
):
    save_model(tmp_path / "model.safetensors", model_of("refined"), {"epoch": 1})
    monkeypatch.chdir(tmp_path)
    arguments = ["calibrate", "--model", "model.safetensors", "--out", "new.safetensors", "--quiet"]
    assert main(arguments) == 0
    printed = capsys.readouterr().out
    assert "one crop: 10 samples, NLL" in printed
    assert "averaged with the flipped crop: 10 samples" in printed
    for name, more in (("new", []), ("raw", ["--calibrated", "false"])):
        run = ["predict", "--model", "new.safetensors", "--data", "synthetic:6:8", *more]
        assert main([*run, "--out", f"{name}.parquet"]) == 0
    run = ["predict", "--model", "model.safetensors", "--data", "synthetic:6:8", "--out"]
    assert main([*run, "old.parquet"]) == 0
    new, raw, old = (read_predictions(f"{name}.parquet") for name in ("new", "raw", "old"))
    assert np.array_equal(raw.covariances, old.covariances)  # type: ignore[arg-type]
    assert not np.allclose(new.covariances, old.covariances)  # type: ignore[arg-type]
    assert np.array_equal(new.prediction, old.prediction)
    assert new.metadata["recalibration"]["samples"] == 10
    assert "recalibration" not in raw.metadata
    json.dumps(dict(new.metadata), allow_nan=False)


def test_the_command_s_errors(tmp_path, capsys):
    path = tmp_path / "model.safetensors"
    save_model(path, model_of("refined"), {"epoch": 1})
    for more, message in (
        (["--out", str(path)], "out must be another file than the model"),
        (["--out", "x.pt"], "out must end in .safetensors, got x.pt"),
        (["--out", "y.safetensors", "--fit", "offset"], "fit must be some of temperature"),
        (["--out", "y.safetensors", "--conformal", "all"], "invalid choice: 'all'"),
        (["--out", "y.safetensors", "--data", "nowhere"], "nowhere"),
    ):
        assert main(["calibrate", "--model", str(path), "--quiet", *more]) == 2
        assert message in capsys.readouterr().err
    assert not (tmp_path / "y.safetensors").exists()


def test_a_face_s_regions_are_those_of_the_recalibration(tmp_path):
    model = model_of("refined")
    for flip in (False, True):
        model.recalibrations[flip] = calibrate(model, SyntheticFaces(20, seed=1), flip=flip)
    save_model(tmp_path / "model.safetensors", model, {})
    picture = SyntheticFaces(3, seed=5)[1]
    [face] = load(tmp_path / "model.safetensors")(picture.read(), [picture.bbox], refine=False)
    level, own = face.hdr_level(picture.landmarks), face.own_level(0.7)
    inside = face.density.hdr_level(torch.from_numpy(picture.landmarks).float()).numpy() <= own
    assert np.array_equal(level <= 0.7, inside)
    assert 0 < inside.sum() < 68
    [raw] = load(tmp_path / "model.safetensors", calibrated=False)(
        picture.read(), [picture.bbox], refine=False
    )
    assert (raw.own_level(0.7) == 0.7).all()
    assert not np.allclose(raw.uncertainty, face.uncertainty)
    assert np.array_equal(raw.landmarks, face.landmarks)
