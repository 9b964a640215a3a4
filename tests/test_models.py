"""The models that come with the package: whole, small, described, and as good as they say."""

import re
from pathlib import Path

import numpy as np
import pytest
import torch
from matplotlib.cbook import get_sample_data
from safetensors.torch import load_file

import kdn
from kdn.cli import main
from kdn.data import load_samples
from kdn.data.sample import iou
from kdn.evaluate import evaluate
from kdn.models import MODELS, model_path
from kdn.models.checkpoint import load_model, save_model
from kdn.models.model import build_model
from kdn.recipe import DataRecipe, NetworkRecipe, Recipe
from predicting import predicted

ROOT = Path(__file__).parents[1]
PORTRAIT = get_sample_data("grace_hopper.jpg", asfileobj=False)
SMALL = Recipe(data=DataRecipe(height=32, width=48), network=NetworkRecipe(features=8, depth=1))


@pytest.mark.parametrize("name", MODELS)
def test_a_packaged_model_is_small_and_has_a_card(name):
    path = model_path(name)
    assert path.stat().st_size <= 8e6
    _, facts = load_model(name)
    card = (ROOT / "docs" / f"{name}.md").read_text(encoding="utf-8")
    assert facts["card"] == card
    for heading in ("Data", "Licence", "Recipe", "Scores", "Calibration", "Where it fails"):
        assert re.search(f"^## {heading}$", card, re.MULTILINE), heading
    assert "research" in facts["licence"]


def test_the_recipe_of_face68_is_the_one_in_the_repository():
    model, _ = load_model("face68")
    stated = kdn.Recipe.of_dict(_yaml(ROOT / "recipes" / "face68.yaml"))
    ours, theirs = model.recipe.as_dict(), stated.as_dict()
    assert ours["data"].pop("train") == ["helen/trainset", "afw"]
    theirs["data"].pop("train")
    assert ours == theirs


def _yaml(path):
    from yaml import safe_load

    return safe_load(path.read_text(encoding="utf-8"))


def test_the_portrait_has_one_face_with_error_bars():
    (face,) = kdn.load()(PORTRAIT)
    assert face.score > 0.85
    assert face.landmarks.shape == (68, 2)
    # Image px, read off the photograph by hand to a few pixels; the face is 170 px wide.
    by_hand = {
        8: (267, 331),  # chin
        33: (268, 252),  # under the nose
        36: (209, 192),  # outer corners of the eyes
        45: (316, 190),
        48: (229, 281),  # corners of the mouth
        54: (306, 277),
    }
    for index, point in by_hand.items():
        assert np.hypot(*(face.landmarks[index] - point)) < 8, index
    assert (face.uncertainty > 0.3).all()
    assert (face.uncertainty < 12).all()
    # Inner corners of the eyes are sharper than any point of the jaw.
    assert face.uncertainty[[39, 42]].max() < face.uncertainty[:17].min()


def test_a_file_of_a_models_name_is_not_the_model(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("face68").write_bytes(b"no checkpoint")
    assert load_model("face68")[0].labels.count == 68
    for name in ("./face68", Path("face68")):
        with pytest.raises(ValueError, match="cannot be read as safetensors"):
            load_model(name)


def test_a_name_that_is_neither_says_what_there_is():
    with pytest.raises(FileNotFoundError, match=r"face70: no such file, .*\(face68\)"):
        kdn.load("face70")


def test_export_halves_a_model_and_keeps_what_it_says(tmp_path, capsys):
    torch.manual_seed(2)
    model = build_model(SMALL).eval()
    save_model(tmp_path / "big.safetensors", model, {"epoch": 7, "valid_nme": 2.5})
    words = ["export", "--model", str(tmp_path / "big.safetensors"), "--half"]
    words += ["--out", str(tmp_path / "small.safetensors"), "--licence", "mine"]
    (tmp_path / "card.md").write_text("# Mine ½", encoding="utf-8")
    words += ["--card", str(tmp_path / "card.md")]
    assert main(words) == 0
    assert "small.safetensors: " in capsys.readouterr().out
    stored = load_file(tmp_path / "small.safetensors")
    assert {t.dtype for t in stored.values()} == {torch.float16, torch.int64}
    loaded, facts = load_model(tmp_path / "small.safetensors")
    assert (facts["epoch"], facts["valid_nme"]) == (7, 2.5)
    assert (facts["licence"], facts["card"]) == ("mine", "# Mine ½")
    crops = torch.randint(0, 256, (2, 3, 32, 48), dtype=torch.uint8)
    with torch.no_grad():
        before, after = model.density(crops).mean, loaded.density(crops).mean
    assert after.dtype == torch.float32
    torch.testing.assert_close(after, before, atol=0.05, rtol=0)  # crop px; float16 has 11 bits


def test_export_refuses_what_would_lose_a_model(tmp_path, capsys):
    path = tmp_path / "model.safetensors"
    model = build_model(SMALL)
    save_model(path, model, {})
    assert main(["export", "--model", str(path), "--out", str(path)]) == 2
    assert "out must be another file" in capsys.readouterr().err
    assert main(["export", "--model", str(path), "--out", str(tmp_path / "m.pt")]) == 2
    assert "out must end in .safetensors" in capsys.readouterr().err
    with torch.no_grad():
        next(model.parameters()).mul_(1e9)
    save_model(path, model, {})
    out = tmp_path / "half.safetensors"
    assert main(["export", "--model", str(path), "--out", str(out), "--half"]) == 2
    assert "beyond float16" in capsys.readouterr().err
    assert not out.exists()


@pytest.mark.data
@pytest.mark.slow
def test_face68_scores_what_its_card_says(real_data):
    model, _ = load_model("face68")
    samples = load_samples(str(real_data / "300w" / "helen" / "testset"), model.labels.markup)
    predictions = predicted(model, samples)
    result = evaluate(predictions, bootstrap=0)
    card = (ROOT / "docs" / "face68.md").read_text(encoding="utf-8")
    row = next(line for line in card.splitlines() if line.startswith("| one crop |"))
    said = [float(re.split(r"[ (]", cell.strip())[0]) for cell in row.split("|")[2:-1]]
    names = (
        "NME box",
        "AUC@7 box (exact)",
        "Spearman (px)",
        "NLL per crop px²",
        "coverage of 95 % regions",
    )
    for name, value in zip(names, said, strict=True):
        assert result[name].value == pytest.approx(value, abs=0.006 * max(1, value)), name


# Boxes about the landmarks of the seven faces, image px, looked over in the overlays.
PHOTOS = {
    "mona_lisa.jpg": [(65, 57, 109, 99)],
    "obamas.jpg": [(186, 123, 337, 281), (388, 187, 531, 321)],
    "the_beatles.jpg": [
        (635, 778, 935, 1076),
        (1450, 757, 1733, 1043),
        (2168, 788, 2440, 1066),
        (2966, 828, 3284, 1114),
    ],
}


@pytest.mark.data
def test_all_seven_faces_of_three_photographs_are_found(real_data):
    folder = real_data / "formats" / "photos"
    found = kdn.load()([folder / name for name in PHOTOS])
    for (name, boxes), faces in zip(PHOTOS.items(), found, strict=True):
        assert len(faces) == len(boxes), name
        left_to_right = sorted(faces, key=lambda face: face.bbox[0])
        for face, box in zip(left_to_right, boxes, strict=True):
            assert face.score > 0.8
            assert iou(face.landmark_box, box) > 0.8, (name, face.landmark_box)
