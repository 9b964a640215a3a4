"""Predicting: from crops back to the picture, with nothing lost or moved on the way."""

import math
import weakref
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

import kdn
from kdn.data import CropDataset, Sample, SyntheticFaces
from kdn.data.formats.ibug import read_ibug
from kdn.models.model import Model, build_model
from kdn.predict.columns import maps_of_samples, predict_chunks
from kdn.predict.ensemble import Looks
from kdn.predict.predictor import Predictor
from kdn.predictions import AREA_LEVELS, Predictions
from kdn.recipe import DataRecipe, HeadRecipe, NetworkRecipe, Recipe
from predicting import predicted

HEADS = {
    "softlabel": HeadRecipe(name="softlabel"),
    "kdn_uniform": HeadRecipe(name="kdn_uniform"),
    "kdn_gaussian": HeadRecipe(refine=2, learn_bandwidth="landmark"),
    "kdn_adaptive": HeadRecipe(name="kdn_adaptive"),
    "gaussian": HeadRecipe(name="gaussian"),
}


def model_of(head: str) -> Model:
    recipe = Recipe(
        data=DataRecipe(height=32, width=64),
        network=NetworkRecipe(
            name="resnet18" if head == "gaussian" else "fan", features=8, depth=1
        ),
        head=HEADS[head],
    )
    torch.manual_seed(0)
    return build_model(recipe).eval()


@pytest.fixture(scope="module")
def samples() -> list[Sample]:
    faces = list(SyntheticFaces(3, seed=4, size=(150, 190), ambiguous=0))
    valid = faces[1].valid.copy()
    valid[[3, 40]] = False
    landmarks = np.where(valid[:, None], faces[1].landmarks, np.nan)
    return [faces[0], replace(faces[1], valid=valid, landmarks=landmarks), faces[2]]


def column(predictions: Predictions, name: str) -> np.ndarray:
    """Return a column that may be missing in others' predictions, but not in ours."""
    values = getattr(predictions, name)
    assert isinstance(values, np.ndarray), name
    return values


def crops_of(model: Model, samples: list[Sample]) -> torch.Tensor:
    """Return the crops that the network sees; that they show the right place, test_crop says."""
    dataset = CropDataset(
        samples,
        labels=model.labels,
        data=model.recipe.data,
        augment=None,
        seed=0,
    )
    return torch.stack([dataset[index]["image"] for index in range(len(samples))])


@pytest.mark.parametrize("head", HEADS)
def test_image_columns_are_the_crop_s_density_moved_to_the_picture(head, samples):
    model = model_of(head)
    got = predicted(model, samples, batch=2)
    assert len(got) == 3
    with torch.no_grad():
        density = model.density(crops_of(model, samples))
    means, spreads = density.mean.double().numpy(), density.covariance_matrix.double().numpy()
    for row, sample in enumerate(samples):
        matrix = column(got, "crop_to_image")[row]
        linear, offset = matrix[:, :2], matrix[:, 2]
        mean = means[row] @ linear.T + offset
        np.testing.assert_allclose(column(got, "mean")[row], mean, rtol=1e-4)
        covariance = linear @ spreads[row] @ linear.T
        wanted = np.stack([covariance[:, 0, 0], covariance[:, 0, 1], covariance[:, 1, 1]], axis=-1)
        largest = np.abs(wanted).max()
        np.testing.assert_allclose(
            column(got, "covariances")[row], wanted, rtol=1e-3, atol=1e-5 * largest
        )
        length = np.linalg.det(covariance) ** 0.25
        np.testing.assert_allclose(column(got, "uncertainty")[row], length, rtol=1e-3)
        valid = sample.valid
        at = np.linalg.solve(linear, (sample.landmarks - offset).T).T
        points = torch.from_numpy(np.nan_to_num(at)).float()
        with torch.no_grad():
            inside = density.log_prob(points)[row].double().numpy()
        wanted = inside - np.log(abs(np.linalg.det(linear)))
        np.testing.assert_allclose(
            column(got, "log_prob")[row, valid], wanted[valid], rtol=1e-4, atol=1e-3
        )
        factor = abs(np.linalg.det(linear))
        with torch.no_grad():
            areas = [factor * density.hdr_area(level)[row].numpy() for level in AREA_LEVELS]
            scores = math.sqrt(factor) * density.energy_score(points)[row].numpy()
        np.testing.assert_allclose(column(got, "hdr_areas")[row], np.stack(areas, -1), rtol=1e-3)
        # A crop turns, shifts and scales alike on both axes.
        score = column(got, "energy_score")[row, valid]
        np.testing.assert_allclose(score, scores[valid], rtol=1e-2)
        tie = column(got, "hdr_tie")[row, valid]
        inside = np.isfinite(column(got, "log_prob")[row, valid])
        assert ((tie > 0) == (inside & (head in ("softlabel", "kdn_uniform")))).all()


@pytest.mark.parametrize("head", HEADS)
def test_masses_are_about_the_prediction_by_shares_of_the_box(head, samples):
    model = model_of(head)
    got = predicted(model, samples, batch=2, decoder="argmax", radii=(3.0, 12.5))
    assert got.radii == (3.0, 12.5)
    masses = column(got, "mass_within")
    assert masses.shape == (3, 68, 2)
    with torch.no_grad():
        density = model.density(crops_of(model, samples))
    matrices = torch.from_numpy(column(got, "crop_to_image"))
    for row, sample in enumerate(samples):
        x0, y0, x1, y1 = sample.bbox
        size = math.sqrt((x1 - x0) * (y1 - y0))
        scale = matrices[row, :, :2].det().abs().sqrt().item()  # crops are scaled and moved
        centres = torch.from_numpy(got.landmarks) - matrices[:, None, :, 2]
        centres = torch.linalg.solve(matrices[:, None, :, :2], centres.unsqueeze(-1)).squeeze(-1)
        for index, radius in enumerate((0.03, 0.125)):
            inside = density.mass_within(centres.float(), radius * size / scale)[row]
            np.testing.assert_allclose(masses[row, :, index], inside.numpy(), atol=2e-4)
    none = predicted(model, samples, radii=())
    assert none.mass_within is None
    assert none.radii == ()


@pytest.mark.parametrize("head", HEADS)
def test_what_is_not_labelled_is_not_a_number(head, samples):
    got = predicted(model_of(head), samples)
    missing = ~column(got, "valid")
    assert missing.sum() == 2
    assert missing[1, [3, 40]].all()
    for name in ("target", "log_prob", "hdr_level", "hdr_tie", "energy_score"):
        values = column(got, name)
        assert np.isnan(values[missing]).all(), name
        assert not np.isnan(values[~missing]).any(), name
    assert np.isfinite(got.prediction).all()
    assert (
        (column(got, "hdr_level")[~missing] >= 0) & (column(got, "hdr_level")[~missing] <= 1)
    ).all()
    np.testing.assert_allclose(
        column(got, "target")[~missing],
        np.stack([s.landmarks for s in samples])[~missing],
        atol=1e-3,
    )


def test_a_picture_in_a_larger_frame_moves_everything_with_it(samples):
    """Sixteen more columns on the left and nine more rows above: the same face elsewhere."""
    move = np.array([16.0, 9.0])
    model = model_of("kdn_gaussian")
    moved = [
        replace(
            s,
            image=cv2.copyMakeBorder(s.read(), 9, 0, 16, 0, cv2.BORDER_CONSTANT, value=(0, 0, 0)),
            landmarks=s.landmarks + move,
            bbox=tuple(np.array(s.bbox) + np.tile(move, 2)),
        )
        for s in samples
    ]
    here = predicted(model, samples)
    there = predicted(model, moved)
    # The warp rounds some pixels otherwise, which a random network makes the most of: medians.
    for name in ("mean", "local_mean"):
        off = np.abs(column(there, name) - column(here, name) - move)
        assert np.median(off) < 0.02, name
    for name in ("uncertainty", "entropy", "log_prob"):
        off = np.abs(column(there, name) - column(here, name))
        assert np.nanmedian(off) < 0.02, name


def test_the_decoder_is_the_head_s_own_unless_named(samples):
    own = predicted(model_of("softlabel"), samples)
    assert np.array_equal(own.prediction, column(own, "quarter"))
    assert own.metadata["decoder"] == "quarter"
    assert own.metadata["version"] == kdn.__version__
    named = predicted(model_of("softlabel"), samples, decoder="mean")
    assert np.array_equal(named.prediction, column(named, "mean"))
    assert named.metadata["decoder"] == "mean"
    assert not np.array_equal(column(named, "mean"), column(named, "quarter"))
    with pytest.raises(ValueError, match="decoder must be default or one of argmax"):
        predicted(model_of("softlabel"), samples, decoder="median")


def test_batches_do_not_mix_faces(samples):
    model = model_of("kdn_gaussian")
    one = predicted(model, samples, batch=1)
    three = predicted(model, samples, batch=3)
    np.testing.assert_allclose(column(one, "mean"), column(three, "mean"), atol=1e-3)
    np.testing.assert_allclose(column(one, "log_prob"), column(three, "log_prob"), atol=1e-3)


def test_nothing_of_a_batch_is_alive_when_the_next_is_looked_at(samples, monkeypatch):
    predictor, looks, alive = Predictor(model_of("kdn_gaussian"), flip=False), Looks.__call__, []

    def watched(self, pictures, boxes):
        alive.append(sum(reference() is not None for reference in references))
        look = looks(self, pictures, boxes)
        kept = (look.density, look.before, look.density.mean, *pictures)
        references.extend(weakref.ref(thing) for thing in kept)
        return look

    references: list[weakref.ref] = []
    monkeypatch.setattr(Looks, "__call__", watched)
    fresh = [replace(sample, image=Path(f"{i}.png")) for i, sample in enumerate(samples * 2)]
    monkeypatch.setattr(
        CropDataset,
        "load",
        lambda self, index: (self.samples[index], samples[index % 3].image.copy()),
    )
    assert sum(map(len, predict_chunks(predictor, fresh, batch=2))) == 6
    assert alive == [0, 0, 0]
    assert len(references) == 15


def test_a_file_that_cannot_be_read_is_left_out_and_named(samples, tmp_path):
    broken = tmp_path / "broken.png"
    broken.write_bytes(b"no picture")
    faces = [samples[0], replace(samples[2], id="bad", image=broken), samples[1]]
    done = []
    problems: list[str] = []
    got = predicted(
        model_of("kdn_gaussian"), faces, problems=problems, batch=1, progress=done.append
    )
    assert got.id == (samples[0].id, samples[1].id)
    assert len(problems) == 1
    assert str(broken) in problems[0]
    assert sum(done) == 2
    with pytest.raises(ValueError, match=r"broken\.png"):
        predicted(model_of("kdn_gaussian"), faces)
    with pytest.raises(ValueError, match="samples must hold at least one that can be read"):
        predicted(model_of("kdn_gaussian"), [faces[1]], problems=problems)


def test_maps_are_those_of_the_first_faces_in_crop_pixels(samples):
    model = model_of("kdn_gaussian")
    maps = maps_of_samples(Predictor(model, flip=False), samples)
    assert maps is not None
    assert maps.ids == tuple(sample.id for sample in samples)
    assert maps.crops.shape == (3, 32, 64, 3)
    assert maps.log_probs.shape == (3, 68, 16, 32)
    assert maps.grid.spacing == (2.0, 2.0)
    probs = np.exp(maps.log_probs.astype(float))
    assert (probs.sum((-2, -1)) < 1.01).all()  # half precision
    assert (probs.sum((-2, -1)) > 0.8).all()  # a random network puts some of it outside
    crops = crops_of(model, samples).permute(0, 2, 3, 1).numpy()
    np.testing.assert_array_equal(maps.crops, crops)
    assert np.isnan(maps.target[1, [3, 40]]).all()
    # Adaptive kernels are moved off their cells: what is drawn is where they went.
    moved = maps_of_samples(Predictor(model_of("kdn_adaptive"), flip=False), samples)
    assert moved is not None
    assert moved.grid.shape == (16, 32)
    with torch.no_grad():
        density = model_of("kdn_adaptive").density(crops_of(model, samples))
    wanted = density.cell_masses(2).numpy()  # type: ignore[union-attr]
    np.testing.assert_allclose(np.exp(moved.log_probs.astype(float)), wanted, rtol=2e-2, atol=1e-6)
    assert maps_of_samples(Predictor(model_of("gaussian")), samples) is None


@pytest.mark.data
def test_real_faces(real_data: Path):
    faces = read_ibug(real_data / "300w" / "helen" / "testset")[:3]
    got = predicted(model_of("kdn_adaptive"), faces)
    assert got.path is not None
    assert all(Path(path).is_file() for path in got.path)
    assert np.isfinite(column(got, "log_prob")[column(got, "valid")]).all()
