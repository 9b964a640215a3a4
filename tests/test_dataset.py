"""The dataset: pixels follow landmarks, flips are exact, seeds decide, the cache is bounded."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from kdn.data import (
    CropDataset,
    Framing,
    PointLabels,
    Sample,
    SyntheticFaces,
    init_worker,
    load_samples,
    read_image,
)
from kdn.data.markup import FACE68, Markup
from kdn.grid import Affine
from kdn.recipe import AugmentRecipe, DataRecipe
from unchecked import load

THREE = Markup(name="three", landmarks=3, flip=(1, 0, 2))
POINTS = np.array([[70.3, 92.8], [161.6, 104.2], [127.9, 171.4]])
SIZE = DataRecipe(height=72, width=104, cache_mib=4)
MOVES = AugmentRecipe(flip=0.5, colour=0.0, occlusion=0.0)


def blobs(points: np.ndarray, *, height: int, width: int, radius: float) -> np.ndarray:
    """Return a picture with a round blob at each of three points: red, green, blue."""
    y, x = np.mgrid[:height, :width]
    distance = (x - points[:, 0, None, None]) ** 2 + (y - points[:, 1, None, None]) ** 2
    return np.rint(255 * np.exp(-0.5 * distance / radius**2)).astype(np.uint8).transpose(1, 2, 0)


def sample(points: np.ndarray = POINTS, *, radius: float = 4.0, **changes) -> Sample:
    image = blobs(points, height=250, width=230, radius=radius)
    x0, y0, x1, y1 = (float(v) for v in (*points.min(axis=0), *points.max(axis=0)))
    made = Sample(
        id="blobs",
        image=image,
        landmarks=points,
        bbox=(x0 + 5, y0 - 3, x1, y1),
        valid=np.ones(len(points), dtype=bool),
        visible=np.ones(len(points), dtype=bool),
    )
    return replace(made, **changes)


def dataset(samples: Sequence[Sample], augment: AugmentRecipe | None, **options) -> CropDataset:
    settings = {"labels": PointLabels(THREE), "data": SIZE, "seed": 3} | options
    return CropDataset(samples, augment=augment, **settings)


def centroids(image: torch.Tensor) -> np.ndarray:
    """Return the centre of each colour's blob."""
    weights = image.double().numpy()
    y, x = np.mgrid[: image.shape[1], : image.shape[2]]
    total = weights.sum(axis=(1, 2))
    return np.stack([(weights * x).sum((1, 2)) / total, (weights * y).sum((1, 2)) / total], axis=1)


def is_mirrored(item: dict[str, torch.Tensor]) -> bool:
    return bool(torch.linalg.det(item["crop_to_image"][:, :2]) < 0)


@pytest.mark.parametrize("larger", [1.0, 2.4])
def test_pixels_follow_landmarks(larger):
    # The second case shrinks more than twice, through the means of blocks.
    image = blobs(larger * POINTS, height=600, width=600, radius=4.0 * larger)
    box = tuple(larger * v for v in (75.0, 90.0, 160.0, 170.0))
    samples = [sample(image=image, landmarks=larger * POINTS, bbox=box)] * 30
    mirrored = 0
    for item in map(dataset(samples, MOVES).__getitem__, range(30)):
        flipped = is_mirrored(item)
        mirrored += flipped
        names = list(THREE.flip) if flipped else [0, 1, 2]
        error = item["target"].numpy() - centroids(item["image"])[names]
        assert np.abs(error).max() < 0.1, f"{error} crop pixels, mirrored: {flipped}"
    assert 5 < mirrored < 25


def test_items_have_the_promised_form():
    item = dataset([sample()] * 2, AugmentRecipe())[1]
    forms = {key: (tuple(value.shape), value.dtype) for key, value in item.items()}
    assert forms == {
        "image": ((3, 72, 104), torch.uint8),
        "target": ((3, 2), torch.float32),
        "valid": ((3,), torch.bool),
        "visible": ((3,), torch.bool),
        "crop_to_image": ((2, 3), torch.float64),
        "index": ((), torch.int64),
    }
    assert item["index"] == 1
    assert item["image"].is_contiguous()


def test_landmarks_are_mapped_by_the_crop_and_mirrored_twice_are_themselves():
    valid, visible = np.array([True, False, True]), np.array([False, True, True])
    landmarks = np.where(valid[:, None], POINTS, np.nan)
    samples = [sample(landmarks=landmarks, valid=valid, visible=visible)]
    plain = dataset(samples, None)[0]
    mirror = AugmentRecipe(1.0, 0.0, 1.0, 1.0, 0.0, 0.0, 0.0)
    flipped = dataset(samples, mirror)[0]
    back = Affine.of_matrix(plain["crop_to_image"]).inverse().points(torch.tensor(POINTS))
    assert torch.equal(plain["valid"], torch.tensor(valid))
    np.testing.assert_allclose(plain["target"][[0, 2]], back[[0, 2]], rtol=1e-6)
    assert plain["target"][1].tolist() == [0, 0]
    assert plain["visible"].tolist() == [False, True, True]
    # Mirrored: landmark 0 is the old landmark 1 and so on, and x runs the other way.
    assert flipped["valid"].tolist() == [False, True, True]
    assert flipped["visible"].tolist() == [True, False, True]
    twice = flipped["target"][list(THREE.flip)]
    again = torch.stack([103 - twice[:, 0], twice[:, 1]], dim=1)
    np.testing.assert_allclose(again[[0, 2]], plain["target"][[0, 2]], atol=1e-4)
    difference = flipped["image"].flip(-1).short() - plain["image"].short()
    assert difference.abs().max() <= 2, "the warp's weights are multiples of 1/32"


def test_landmarks_outside_the_crop_stay_valid():
    item = dataset([sample(bbox=(100.0, 90.0, 120.0, 110.0))], None)[0]
    assert item["target"].min() < 0
    assert item["valid"].all()
    assert item["visible"].all()


def test_an_occluder_takes_visible_but_not_valid():
    augment = AugmentRecipe(occlusion=1.0, occlusion_size=0.9)
    items = [dataset([sample()] * 20, augment)[i] for i in range(20)]
    hidden = torch.stack([~item["visible"] for item in items])
    assert 0.05 < hidden.double().mean() < 0.7
    assert all(item["valid"].all() for item in items)


def test_an_item_depends_on_seed_epoch_and_index_alone():
    samples = [sample()] * 6
    varied = AugmentRecipe(blur=0.5, noise=0.1)

    def fetch(order: Sequence[int], epoch: int, seed: int) -> list[torch.Tensor]:
        made = dataset(samples, varied, seed=seed)
        made.set_epoch(epoch)
        items = {i: made[i]["image"] for i in order}
        return [items[i] for i in sorted(items)]

    first = fetch(range(6), 2, 3)
    assert all(map(torch.equal, first, fetch([4, 2, 0, 5, 3, 1], 2, 3)))
    assert not any(map(torch.equal, first, fetch(range(6), 1, 3)))
    assert not any(map(torch.equal, first, fetch(range(6), 2, 4)))
    assert not torch.equal(first[0], first[1])


def test_workers_that_stay_see_each_epoch():
    alone = dataset([sample()] * 6, AugmentRecipe(noise=0.05))
    shared = dataset([sample()] * 6, AugmentRecipe(noise=0.05))
    loader = DataLoader(
        shared, batch_size=2, num_workers=2, persistent_workers=True, worker_init_fn=init_worker
    )
    for epoch in range(3):
        alone.set_epoch(epoch)
        shared.set_epoch(epoch)
        for batch in loader:
            for k, index in enumerate(batch["index"].tolist()):
                expected = alone[index]
                assert all(torch.equal(batch[key][k], expected[key]) for key in expected)


class Rendered(Sequence[Sample]):
    """Samples that are made when asked for, 1.1 MiB each, and counted."""

    def __init__(self) -> None:
        self.asked: list[int] = []

    def __len__(self) -> int:
        return 5

    def __getitem__(self, index):
        self.asked.append(index)
        return sample(image=np.zeros((640, 600, 3), dtype=np.uint8))


def test_the_cache_keeps_what_was_used_last():
    samples = Rendered()
    crops = dataset(samples, None, data=replace(SIZE, cache_mib=3))
    samples.asked.clear()  # the checker of types looks into what it is given
    for index in (0, 1, 0, 2, 0, 1, 2):
        crops[index]
    # 2 takes the place of 1, as 0 was used later; 1 the place of 2; 2 the place of 0.
    assert samples.asked == [0, 1, 2, 1, 2]


@pytest.mark.parametrize("cache_mib", [0, 3])
def test_pictures_are_decoded_once_if_they_fit(tmp_path, monkeypatch, cache_mib):
    path = tmp_path / "shared.png"
    cv2.imwrite(str(path), sample().image[..., ::-1])  # type: ignore[index]
    decoded = []

    def count(self: Sample) -> np.ndarray:
        decoded.append(self.image)
        return read_image(path)

    monkeypatch.setattr(Sample, "read", count)
    crops = dataset([sample(image=path)] * 3, None, data=replace(SIZE, cache_mib=cache_mib))
    inline = dataset([sample()], None)[0]
    assert all(torch.equal(crops[i]["image"], inline["image"]) for i in (0, 1, 2, 0))
    assert decoded == [path] * (4 if cache_mib == 0 else 1)


def test_what_cannot_be_used_is_named(tmp_path):
    with pytest.raises(ValueError, match="at least one sample"):
        dataset([], None)
    with pytest.raises(ValueError, match="seed must be 0 or more, got -1"):
        dataset([sample()], None, seed=-1)
    with pytest.raises(ValueError, match="epoch must be 0 or more, got -2"):
        dataset([sample()], None).set_epoch(-2)
    with pytest.raises(ValueError, match="blobs: 3 landmarks, but the mark-up face68 has 68"):
        dataset([sample()], None, labels=PointLabels(FACE68))[0]
    broken = tmp_path / "broken.jpg"
    broken.write_bytes(b"no picture")
    with pytest.raises(ValueError, match=r"broken\.jpg: not a picture"):
        dataset([sample(image=broken)], None)[0]


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"landmarks": POINTS.astype(np.int64)}, r"landmarks must .* type float64, .* int64"),
        ({"landmarks": POINTS.T[:, :1]}, r"landmarks must have shape \(2, 2\) .* got \(2, 1\)"),
        ({"valid": np.ones(3)}, r"valid must have shape \(3,\) and type bool, .* float64"),
        ({"visible": np.ones(2, dtype=bool)}, r"visible must have shape \(3,\) .* got \(2,\)"),
        ({"alternatives": POINTS[:2]}, r"alternatives must have shape \(3, 2\)"),
        ({"landmarks": np.array([[1, 2], [3, np.nan], [5, 6]])}, r"where valid, .* nan\] at 1"),
    ],
)
def test_samples_that_contradict_themselves_are_named(changes, reason):
    whole = vars(sample())
    unchecked = load("kdn.data.sample").Sample
    unchecked(**whole)
    with pytest.raises(ValueError, match=f"^blobs: .*{reason}"):
        unchecked(**(whole | changes))


@pytest.mark.data
def test_real_faces_fill_their_crops(real_data: Path):
    samples = load_samples(str(real_data / "300w" / "afw"))[::30]
    crops = dataset(samples, None, labels=PointLabels(FACE68), data=DataRecipe())
    for index in range(len(crops)):
        x, y = crops[index]["target"].T
        # FAN's crop shows 2.05 times the face's mean side.
        mean_side = 0.5 * (x.max() - x.min() + y.max() - y.min())
        assert mean_side.item() == pytest.approx(128 * 195 / 400, rel=1e-3)
        assert ((x > 0) & (x < 127) & (y > 0) & (y < 127)).all()


def test_the_recipe_says_how_much_is_shown():
    face = SyntheticFaces(2, seed=5)[1]
    data = DataRecipe(height=40, width=56, context=0.75)
    item = CropDataset([face, face], labels=PointLabels(FACE68), data=data, augment=None, seed=0)[1]
    expected = Framing("face", height=40, width=56, context=0.75).crop_to_image(face.bbox)
    assert torch.equal(item["crop_to_image"], expected.matrix)
    back = expected.points(item["target"].double()).numpy()
    np.testing.assert_allclose(back, face.landmarks, atol=1e-4)
