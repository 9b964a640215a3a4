"""What every kind of label has in every task: looks combined, doubt, films, chunks of a file."""

import json
from pathlib import Path

import cv2
import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from matplotlib.cbook import get_sample_data

import kdn
from kdn.cli import main
from kdn.data import SyntheticExpressions, SyntheticFaces
from kdn.data.images import as_rgb
from kdn.models.checkpoint import save_model
from kdn.models.model import build_model
from kdn.predict.track import VideoWriter
from kdn.predictions import read_predictions
from kdn.recipe import Recipe

SCALARS = Recipe.of_dict(
    {
        "data": {"height": 32, "width": 48},
        "labels": {"names": ["AU1", "AU12"], "low": 0, "high": 5, "step": 0.5},
        "network": {"name": "conv", "features": 8},
    }
)


@pytest.fixture(scope="module")
def scalars(tmp_path_factory) -> list[Path]:
    """Return two models of random weights for the intensities of facial actions."""
    folder, paths = tmp_path_factory.mktemp("scalars"), []
    for seed in (0, 1):
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            model = build_model(SCALARS)
        paths.append(folder / f"{seed}.safetensors")
        save_model(paths[-1], model, {})
    return paths


@pytest.fixture(scope="module")
def clip(tmp_path_factory) -> Path:
    """Return a film in which a portrait moves to the right."""
    path = tmp_path_factory.mktemp("clip") / "clip.mp4"
    portrait = as_rgb(get_sample_data("grace_hopper.jpg", asfileobj=False))[::2, ::2]
    with VideoWriter(path, fps=25) as writer:
        for frame in range(4):
            writer.write(np.ascontiguousarray(np.roll(portrait, 3 * frame, axis=1)))
    return path


def test_labelled_scalars_of_several_models_and_crops(scalars, tmp_path):
    out = tmp_path / "p.parquet"
    words = ["predict", "--model", str(scalars[0]), "--ensemble", str(scalars[1])]
    words += ["--views", "1", "0.9", "--data", "expressions:3:0", "--out", str(out)]
    assert main([*words, "--abstain", "0.9", "--tau", "20%", "--batch", "2"]) == 0
    table, faces = read_predictions(out), SyntheticExpressions(3, seed=0)
    assert table.values is not None
    assert table.mean is not None
    assert table.error_probability is not None
    assert table.known is not None
    predictor = kdn.load(scalars, views=(1.0, 0.9), flip=False)
    alone = [kdn.load(path, views=[v], flip=False) for path in scalars for v in (1.0, 0.9)]
    for row, face in enumerate(faces):
        (combined,) = predictor(face.read(), [face.bbox])
        np.testing.assert_allclose(table.values[row], combined.values, rtol=1e-4)
        means = [one(face.read(), [face.bbox])[0].density.mean.numpy() for one in alone]
        np.testing.assert_allclose(table.mean[row], np.mean(means, axis=0), rtol=1e-4)
        probability = combined.error_probability("20%")  # of an axis from −0.25 to 5.25
        np.testing.assert_allclose(table.error_probability[row], probability, atol=1e-4)
        np.testing.assert_array_equal(table.known[row], probability <= 0.9)
    assert table.metadata["models"] == 2
    assert table.metadata["views"] == [[1.0, 0.0, 0.0], [0.9, 0.0, 0.0]]
    assert (table.metadata["abstain"], table.metadata["tau"]) == (0.9, "20%")


def test_labelled_landmarks_are_written_by_batches(checkpoint, tmp_path):
    out = tmp_path / "p.parquet"
    words = ["predict", "--model", str(checkpoint), "--data", "synthetic:5:0", "--out", str(out)]
    assert main([*words, "--batch", "2", "--views", "1", "0.8", "--abstain", "50%"]) == 0
    assert pq.ParquetFile(out).num_row_groups == 3
    table = read_predictions(out)
    assert table.landmarks is not None
    assert table.error_probability is not None
    model = kdn.load(checkpoint, views=(1.0, 0.8), flip=False)
    face = SyntheticFaces(5, seed=0)[3]
    (expected,) = model(face.read(), [face.bbox], refine=False)
    np.testing.assert_allclose(table.landmarks[3], expected.landmarks, atol=1e-2)
    known = expected.abstaining(0.5, "5%")
    np.testing.assert_allclose(
        table.error_probability[3], known.abstention.error_probability, atol=5e-3
    )


def test_a_film_of_scalars_has_a_value_for_each_followed_face(scalars, clip, tmp_path):
    out = tmp_path / "f.jsonl"
    words = ["predict", str(clip), "--model", str(scalars[0]), "--overlay", str(tmp_path / "o")]
    assert main([*words, "--out", str(out)]) == 0
    lines = [json.loads(line) for line in out.read_text().splitlines()]
    assert [face["track"] for line in lines for face in line["faces"]] == [0, 0, 0, 0]
    assert lines[0]["names"] == ["AU1", "AU12"]
    boxes = np.array([line["faces"][0]["bbox"] for line in lines])
    np.testing.assert_allclose(boxes[-1] - boxes[0], [9, 0, 9, 0], atol=4)
    assert np.shape([line["faces"][0]["values"] for line in lines]) == (4, 2)
    capture = cv2.VideoCapture(str(tmp_path / "o" / "clip.mp4"))
    assert capture.get(cv2.CAP_PROP_FRAME_COUNT) == 4


def test_a_film_may_be_smoothed_from_both_sides(clip, tmp_path):
    lines = {}
    for name, more in (("live", []), ("smooth", ["--smooth"])):
        out = tmp_path / f"{name}.jsonl"
        words = ["predict", str(clip), "--overlay", "none", "--flip", "false", *more]
        assert main([*words, "--out", str(out)]) == 0
        lines[name] = [json.loads(line) for line in out.read_text().splitlines()]
    spread = {
        name: np.mean([line["faces"][0]["uncertainty"] for line in film], axis=1)
        for name, film in lines.items()
    }
    assert [line["frame"] for line in lines["smooth"]] == [0, 1, 2, 3]
    # Later frames say something of the first ones, and nothing of the last.
    assert (spread["smooth"][:3] < 0.99 * spread["live"][:3]).all()
    assert spread["smooth"][3] == pytest.approx(spread["live"][3], rel=1e-4)
