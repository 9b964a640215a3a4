"""Things that are not faces, by the command line from end to end: X-rays and people."""

import csv
import json
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

import kdn
from kdn.cli import main
from kdn.data import load_samples
from kdn.data.images import as_rgb
from kdn.data.markup import BODY17, markup_named
from kdn.predict.track import VideoWriter
from kdn.predictions import read_predictions

ROOT = Path(__file__).parents[1]
SMALL = [
    *("--network.features", "8", "--network.depth", "1", "--optimise.batch", "4", "--quiet"),
    *("--optimise.epochs", "1", "--data.valid_fraction", "0.1", "--head.refine", "1"),
    *("--augment.occlusion", "0", "--accelerator", "cpu"),
]
pytestmark = pytest.mark.slow


def drawn(script: str, folder: Path) -> Path:
    """Return a folder with a few pictures and labels that a script of the benchmarks made."""
    command = [sys.executable, str(ROOT / "benchmarks" / script), str(folder)]
    subprocess.run([*command, "--train", "10", "--test", "4"], check=True, capture_output=True)
    return folder


def trained(recipe: str, source: str, out: Path) -> str:
    """Return the checkpoint of a short training."""
    given = ["--recipe", f"{ROOT}/recipes/{recipe}", "--data.train", json.dumps([source])]
    assert main(["train", *given, *SMALL, "--out", str(out)]) == 0
    return str(out / "best.safetensors")


@pytest.fixture(scope="module")
def xrays(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """Return X-rays and a model of them."""
    folder = drawn("xray.py", tmp_path_factory.mktemp("pelvis"))
    return folder, trained("xray.yaml", f"table:{folder}/train.csv", folder / "run")


@pytest.fixture(scope="module")
def people(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """Return people and a model of them."""
    folder = drawn("people.py", tmp_path_factory.mktemp("people"))
    source = f"coco:{folder}/train.json@{folder}/train"
    return folder, trained("people.yaml", source, folder / "run")


def test_xrays_are_read_with_their_labels(xrays):
    folder, _ = xrays
    samples = load_samples(f"table:{folder}/train.csv", None)
    assert len(samples) == 10
    for sample in samples:
        stored = cv2.imread(str(sample.image), cv2.IMREAD_UNCHANGED)
        assert stored is not None
        assert stored.dtype == np.uint16
        assert stored.max() < 4096
        height, width = sample.size()
        assert height != width
        assert (sample.landmarks[sample.valid] < (width - 0.5, height - 0.5)).all()
        assert as_rgb(sample.image).max() == 255
    valid, visible = (np.array([getattr(s, n) for s in samples]) for n in ("valid", "visible"))
    assert 0 < (~valid).sum() < 40
    assert 0 < (valid & ~visible).sum() < 60


def test_xrays_are_predicted_and_scored(xrays, tmp_path, capsys):
    folder, model = xrays
    out = tmp_path / "p.parquet"
    data = ["--data", f"table:{folder}/test.csv", "--device", "cpu"]
    assert main(["predict", "--model", model, *data, "--out", str(out)]) == 0
    assert main(["evaluate", str(out), "--bootstrap", "5"]) == 0
    said = capsys.readouterr().out
    for row in ("NME pair", "PCK@20 pair", "NME box, hips", "coverage of 95 % regions"):
        assert row in said
    assert "OKS" not in said
    # The crop of each picture is the whole of it: 96 × 160 for whatever size it has.
    given = read_predictions(out)
    samples = load_samples(f"table:{folder}/test.csv", None)
    assert given.crop_to_image is not None
    for matrix, sample in zip(given.crop_to_image, samples, strict=True):
        height, width = sample.size()
        scale = max(height / 96, width / 160)
        middle = matrix[:, :2] @ (79.5, 47.5) + matrix[:, 2]
        np.testing.assert_allclose(matrix[:, :2], scale * np.eye(2), atol=1e-9)
        np.testing.assert_allclose(middle, [(width - 1) / 2, (height - 1) / 2])


def test_one_xray_needs_no_box_and_no_detector(xrays, tmp_path, monkeypatch, capsys):
    folder, model = xrays
    monkeypatch.setattr("kdn.predict.detect.named.HaarDetector", None)  # not callable
    picture = str(folder / "test" / "00002.png")
    places = ["--overlay", str(tmp_path / "drawn"), "--out", str(tmp_path / "one.json")]
    assert main(["predict", picture, "--model", model, "--device", "cpu", *places]) == 0
    (image,) = json.loads((tmp_path / "one.json").read_text())["images"]
    (face,) = image["faces"]
    assert face["bbox"] == [-0.5, -0.5, image["width"] - 0.5, image["height"] - 0.5]
    height, width = as_rgb(picture).shape[:2]
    assert (image["height"], image["width"]) == (height, width)
    overlay = as_rgb(tmp_path / "drawn" / "00002.png")
    assert overlay.shape == (height, width, 3)
    assert (overlay != as_rgb(picture)).any()
    expected = kdn.load(model)(picture)[0].landmarks
    found = [list(point.values())[:2] if isinstance(point, dict) else point[:2]
             for point in face["landmarks"]]  # fmt: skip
    np.testing.assert_allclose(found, expected, atol=0.01)
    (tmp_path / "b.csv").write_text("file,x0,y0,x1,y1\n00002.png,1,2,30,40\n")
    capsys.readouterr()
    boxes = ["--boxes", str(tmp_path / "b.csv"), "--overlay", "none"]
    assert main(["predict", picture, "--model", model, *boxes]) != 0
    assert "--boxes: this model looks at whole pictures" in capsys.readouterr().err


def test_a_film_of_xrays_is_done_frame_by_frame(xrays, tmp_path):
    folder, model = xrays
    frames = [as_rgb(folder / "test" / f"0000{i}.png")[:140, :220] for i in range(3)]
    with VideoWriter(tmp_path / "film.mp4", fps=10.0) as writer:
        for frame in frames:
            writer.write(np.ascontiguousarray(frame))
    out = tmp_path / "film.jsonl"
    command = ["predict", f"{tmp_path}/film.mp4", "--model", model, "--device", "cpu"]
    assert main([*command, "--overlay", "none", "--out", str(out)]) == 0
    lines = [json.loads(line) for line in out.read_text().splitlines()]
    faces = [line for line in lines if "frame" in json.dumps(line)]
    assert len(faces) == 3


def test_people_are_read_with_their_labels(people):
    folder, _ = people
    samples = load_samples(f"coco:{folder}/train.json@{folder}/train", BODY17)
    valid, visible = (np.array([getattr(s, n) for s in samples]) for n in ("valid", "visible"))
    assert len(samples) > 10
    assert (~valid).any()
    assert (valid & ~visible).any()
    for sample in samples:
        x0, y0, x1, y1 = sample.bbox
        seen = sample.landmarks[sample.visible]
        assert (seen > (x0, y0)).all()
        assert (seen < (x1, y1)).all()
        height, width = sample.size()
        assert x0 >= -0.5
        assert y1 <= height - 0.5
        assert x1 <= width - 0.5


def test_people_are_predicted_and_scored(people, tmp_path, capsys):
    folder, model = people
    out = tmp_path / "p.parquet"
    data = ["--data", f"coco:{folder}/test.json@{folder}/test", "--device", "cpu"]
    assert main(["predict", "--model", model, *data, "--out", str(out)]) == 0
    assert main(["evaluate", str(out), "--bootstrap", "5", "--calibration", "--by", "visible"]) == 0
    said = capsys.readouterr().out
    for row in ("OKS at least 0.5", "PCK@20 pair", "NME box, arms", "NME pair"):
        assert row in said
    given = read_predictions(out)
    assert given.crop_to_image is not None
    assert given.bbox is not None
    scale = np.abs(given.crop_to_image[:, 0, 0])
    sides = given.bbox[:, 2:] - given.bbox[:, :2]
    np.testing.assert_allclose(scale, 1.25 * np.maximum(sides[:, 0] / 96, sides[:, 1] / 128))


def test_people_of_a_picture_by_boxes(people, tmp_path, capsys):
    folder, model = people
    samples = load_samples(f"coco:{folder}/test.json@{folder}/test", BODY17)
    first = [sample for sample in samples if sample.image == samples[0].image]
    with open(tmp_path / "people.csv", "w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["file", "x0", "y0", "x1", "y1"])
        rows.writerows([Path(str(s.image)).name, *s.bbox] for s in first)
    other = next(s.image for s in samples if s.image != samples[0].image)
    options = ["--model", model, "--device", "cpu", "--boxes", str(tmp_path / "people.csv")]
    options += ["--overlay", str(tmp_path / "drawn"), "--out", str(tmp_path / "p.json")]
    pictures = [str(first[0].image), str(other)]
    assert main(["predict", *pictures, *options]) == 1  # the other picture has no box
    assert "boxes must be given for this model" in capsys.readouterr().err
    images = json.loads((tmp_path / "p.json").read_text())["images"]
    boxes = [face["bbox"] for face in images[0]["faces"]]
    np.testing.assert_allclose(boxes, [sample.bbox for sample in first], atol=0.01)
    assert (tmp_path / "drawn" / Path(pictures[0]).with_suffix(".png").name).is_file()
    alone = ["predict", pictures[1], "--model", model, "--device", "cpu", "--detector", "none"]
    assert main([*alone, "--overlay", "none"]) == 0


def test_the_recipe_of_xrays_is_all_that_is_written():
    import yaml

    page = yaml.safe_load((ROOT / "recipes" / "xray.yaml").read_text("utf-8"))
    markup = markup_named(page["data"]["markup"])
    assert (markup.landmarks, markup.pair, markup.flip) == (8, (2, 3), (1, 0, 3, 2, 5, 4, 6, 7))
