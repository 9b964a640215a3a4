"""Several looks at one face: where the crops lie, and that the densities are those combined."""

import json
import math
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

import kdn
from kdn.cli import main
from kdn.data import Framing, PointLabels, SyntheticFaces, warp
from kdn.data.markup import FACE68
from kdn.density import LogPool, MappedDensity, MixtureDensity
from kdn.grid import Affine
from kdn.models.checkpoint import save_model
from kdn.models.heads import flip_average, turned_back
from kdn.models.model import Model, build_model
from kdn.models.recalibration import Adjustment, Recalibration
from kdn.predict.ensemble import Looks, View, maps_of, views_of
from kdn.predict.overlay import draw_faces
from kdn.predict.predictor import Predictor
from kdn.recipe import DataRecipe, HeadRecipe, NetworkRecipe, Recipe

FACES = SyntheticFaces(2, seed=4, size=(130, 150))
PICTURES, BOXES = [face.read() for face in FACES], [face.bbox for face in FACES]


def model_of(seed: int, **head) -> Model:
    recipe = Recipe(
        data=DataRecipe(height=32, width=48, context=0.8),
        network=NetworkRecipe(features=8, depth=1),
        head=HeadRecipe(**{"name": "kdn_gaussian", "refine": 2, **head}),
    )
    torch.manual_seed(seed)
    return build_model(recipe).eval()


@pytest.fixture(scope="module")
def model() -> Model:
    return model_of(0)


@pytest.fixture(scope="module")
def other() -> Model:
    return model_of(1, learn_bandwidth="landmark")


def crops_of(model: Model, maps: list[Affine]) -> torch.Tensor:
    size = {"height": model.recipe.data.height, "width": model.recipe.data.width}
    crops = [warp(p, a, **size) for p, a in zip(PICTURES, maps, strict=True)]
    return torch.from_numpy(np.stack(crops)).permute(0, 3, 1, 2)


def crop_to_image(model: Model, view: View, face: int = 1) -> Affine:
    maps = maps_of(model, PICTURES, BOXES, view)
    return Affine(maps.linear[face], maps.offset[face])


def test_where_a_view_lies(model):
    box = BOXES[1]
    usual = Framing("face", height=32, width=48, context=0.8).crop_to_image(box)
    same = crop_to_image(model, View())
    torch.testing.assert_close(same.matrix, usual.matrix)
    moved = crop_to_image(model, View(1.25, 0.1, -0.2))
    side = 0.8 * 200 * (box[2] - box[0] + box[3] - box[1]) / 195
    middle = torch.tensor([23.5, 15.5]).double()
    shift = moved.points(middle) - usual.points(middle)
    torch.testing.assert_close(shift, torch.tensor([0.1 * side, -0.2 * side]).double())
    torch.testing.assert_close(moved.linear, 1.25 * usual.linear)


def test_what_is_a_view():
    assert views_of([0.9, (1.1, 0.05), View()]) == (View(0.9), View(1.1, 0.05), View())
    for wrong, said in (([], "at least one"), ([0.0], "above 0"), ([(1, 2, 3, 4)], "scale, right")):
        with pytest.raises(ValueError, match=said):
            views_of(wrong)


def test_looks_are_the_model_s_own_densities(model, other):
    views = views_of([1.0, (0.85, 0.05, 0.0)])
    with torch.no_grad():
        looks = Looks([model, other], views, "product", None)
        looks.flips = [True, False]
        looks = list(looks.apart(PICTURES, BOXES))
        assert len(looks) == 6  # two views and their mirror images, two views
        points = torch.tensor(np.stack([face.landmarks for face in FACES])).float()
        maps = [crop_to_image(model, View(0.85, 0.05), face) for face in (0, 1)]
        crops = crops_of(model, maps)
        for at, there in ((2, model.density(crops)), (5, other.density(crops))):
            back = torch.stack(
                [a.inverse().points(p.double()) for a, p in zip(maps, points, strict=True)]
            )
            area = torch.stack([a.log_abs_det() for a in maps])[:, None]
            expected = there.log_prob(back.float()).double() - area
            found = looks[at].density.log_prob(points).double()
            torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-3)
        mirrored = model.density(crops.flip(-1))
        # Pixel x of the crop is pixel 47 − x of its mirror image.
        turned = mirrored.mean[:, list(FACE68.flip)] * torch.tensor([-1.0, 1.0])
        turned = turned + torch.tensor([47.0, 0.0])
        expected = torch.stack([a.points(p.double()) for a, p in zip(maps, turned, strict=True)])
        torch.testing.assert_close(looks[3].density.mean.double(), expected, rtol=0, atol=1e-3)


def test_turned_back_is_half_of_the_average(model):
    with torch.no_grad():
        crops = crops_of(model, [crop_to_image(model, View(), face) for face in (0, 1)])
        one, mirrored = model.density(crops), model.density(crops.flip(-1))
        average = flip_average(one, mirrored, FACE68.flip)
        back = turned_back(mirrored, FACE68.flip)
        mixed = MixtureDensity([one, back], (1.0, 1.0))
        points = 30 * torch.rand(5, 2, 68, 2, generator=torch.Generator().manual_seed(0))
        torch.testing.assert_close(average.log_prob(points), mixed.log_prob(points))
    with pytest.raises(ValueError, match="flip must have 68 entries, got 3"):
        turned_back(mirrored, (0, 1, 2))


@pytest.mark.parametrize("combine", ["mixture", "product"])
def test_a_face_of_several_views(model, combine):
    views = (1.0, 0.9, (1.1, 0.02, 0.0))
    predictor = Predictor(model, views=views, combine=combine, flip=False)
    (face,) = predictor(PICTURES[1], [BOXES[1]], refine=False)
    kind = {"mixture": MixtureDensity, "product": LogPool}[combine]
    assert isinstance(face.density, kind)
    alone = [
        Predictor(model, views=[view], flip=False)(PICTURES[1], [BOXES[1]], refine=False)[0]
        for view in views
    ]
    points = torch.from_numpy(face.landmarks).float()
    each = torch.stack([one.density.log_prob(points) for one in alone]).double()
    found = face.density.log_prob(points).double()
    if combine == "mixture":
        torch.testing.assert_close(found, each.logsumexp(0) - math.log(3), rtol=0, atol=1e-3)
        mean = np.mean([one.landmarks for one in alone], axis=0)
        np.testing.assert_allclose(face.landmarks, mean, atol=1e-2)
    else:
        assert isinstance(face.density, LogPool)
        total = face.density.log_normaliser.double()
        torch.testing.assert_close(found, each.mean(0) - total, rtol=0, atol=1e-3)
        assert (total <= 1e-3).all()  # by Hölder's inequality, with exponents that add up to 1
    probability = face.error_probability("20%")
    assert ((probability >= 0) & (probability <= 1)).all()
    np.testing.assert_allclose(face.uncertainty, np.linalg.det(face.covariances) ** 0.25, rtol=1e-3)


def test_faces_together_are_faces_apart(model, other):
    predictor = Predictor(model, other, views=(1.0, 0.9), flip=False)
    together = predictor(PICTURES, [[box] for box in BOXES], refine=False)
    for picture, box, (face,) in zip(PICTURES, BOXES, together, strict=True):
        (alone,) = predictor(picture, [box], refine=False)
        np.testing.assert_allclose(face.landmarks, alone.landmarks, atol=1e-3)
        assert isinstance(face.density, MixtureDensity)
        assert len(face.density.components) == 4


def test_a_single_look_is_what_it_was(model):
    predictor = Predictor(model)
    (face,) = predictor(PICTURES[0], [BOXES[0]], refine=False)
    assert isinstance(face.density, MappedDensity)
    (mirrored,) = Predictor(model, combine="product")(PICTURES[0], [BOXES[0]], refine=False)
    assert isinstance(mirrored.density, LogPool)  # of the crop and its mirror image


@pytest.mark.parametrize("combine", ["mixture", "product"])
def test_recalibration_moves_no_point_of_several_looks(combine):
    """What is known of a landmark is mended, not where it is said to be."""
    model, other = model_of(3), model_of(4)
    looks = {"views": (1.0, 0.9), "combine": combine, "flip": True}
    faces = []
    for temperature in (1.0, 0.01):
        adjustment = Adjustment(torch.tensor(temperature))
        for one in (model, other):
            one.recalibrations = dict.fromkeys((False, True), Recalibration(adjustment))
        faces += Predictor(model, other, **looks)(PICTURES[0], [BOXES[0]], refine=False)
    plain, mended = faces
    np.testing.assert_array_equal(mended.landmarks, plain.landmarks)
    assert np.abs(mended.uncertainty - plain.uncertainty).max() > 0.5
    assert np.abs(mended.density.mean.numpy() - plain.density.mean.numpy()).max() > 0.5


def test_heatmaps_of_combined_densities(model):
    (face,) = Predictor(model, views=(1.0, 0.8))(PICTURES[0], [BOXES[0]], refine=False)
    drawn = draw_faces(PICTURES[0], [face], what=["heatmaps"])
    assert (drawn != PICTURES[0]).any()


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory, model, other) -> list[str]:
    folder = tmp_path_factory.mktemp("models")
    paths = [str(folder / name) for name in ("a.safetensors", "b.safetensors")]
    for path, one in zip(paths, (model, other), strict=True):
        save_model(Path(path), one, {})
    return paths


def test_the_command_combines(checkpoints, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    cv2.imwrite("1.png", PICTURES[1][..., ::-1])
    Path("boxes.csv").write_text("file,x0,y0,x1,y1\n1.png," + ",".join(map(str, BOXES[1])) + "\n")
    flags = ["--boxes", "boxes.csv", "--overlay", "none", "--out", "f.json", "--flip", "false"]
    more = ["--ensemble", checkpoints[1], "--views", "1", "0.9"]
    assert main(["predict", "--model", checkpoints[0], "1.png", *flags, *more]) == 0
    written = json.loads(Path("f.json").read_text())["images"][0]["faces"][0]
    predictor = kdn.load(checkpoints, views=(1.0, 0.9), flip=False)
    (face,) = predictor("1.png", [BOXES[1]])
    np.testing.assert_allclose(written["landmarks"], face.landmarks, atol=2e-3)
    assert isinstance(face.density, MixtureDensity)
    assert len(face.density.components) == 4


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["x.png", "--combine", "sum"], "argument --combine: invalid choice: 'sum'"),
        (["x.png", "--views", "0"], "views must have scales above 0"),
        (["--data", "synthetic:2:0", "--out", "x.parquet", "--views", "-1"], "scales above 0"),
    ],
)
def test_bad_arguments(flags, said, checkpoints, capsys):
    assert main(["predict", "--model", checkpoints[0], *flags]) == 2
    assert said in capsys.readouterr().err


def test_models_must_have_one_markup(model, other):
    named = model_of(2)
    named.labels = PointLabels(replace(FACE68, name="other"))
    with pytest.raises(ValueError, match="model must be of one mark-up, got face68, other"):
        Predictor(model, named)
    with pytest.raises(ValueError, match="at least one"):
        kdn.load([])
