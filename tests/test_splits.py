"""Sources by name, selections, and splits that keep pictures whole."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest

from kdn.data import (
    Sample,
    SyntheticFaces,
    join_samples,
    load_samples,
    picture_names,
    split_by_picture,
)
from kdn.data.markup import Markup

FACE = Sample(
    id="",
    image=np.zeros((5, 7, 3), dtype=np.uint8),
    landmarks=np.array([[1.0, 2.0], [3.0, 4.0]]),
    bbox=(1.0, 2.0, 3.0, 4.0),
    valid=np.ones(2, dtype=bool),
    visible=np.ones(2, dtype=bool),
)
FACES = [replace(FACE, id=f"{i}", picture=f"photo{i // 3}" if i < 60 else "") for i in range(100)]


def ids(samples: Sequence[Sample]) -> list[str]:
    return [sample.id for sample in samples]


def test_pictures_stay_whole():
    train, valid = split_by_picture(FACES, 0.25, seed=1)
    assert not set(picture_names(train)) & set(picture_names(valid))
    assert sorted(ids(train) + ids(valid), key=int) == ids(FACES)
    assert ids(train) == sorted(ids(train), key=int)
    # 20 photos of three faces and 40 of one.
    assert len(set(picture_names(valid))) == 15
    assert any(sum(n == name for n in picture_names(valid)) == 3 for name in picture_names(valid))


def test_the_split_depends_on_names_and_seed_alone():
    _, valid = split_by_picture(FACES, 0.25, seed=1)
    _, again = split_by_picture(FACES[::-1], 0.25, seed=1)
    _, other = split_by_picture(FACES, 0.25, seed=2)
    assert set(ids(valid)) == set(ids(again))
    assert set(ids(valid)) != set(ids(other))


def test_fractions_at_the_ends():
    train, valid = split_by_picture(FACES, 0.0, seed=0)
    assert (len(train), len(valid)) == (100, 0)
    _, valid = split_by_picture(FACES, 1e-6, seed=0)
    assert len(set(picture_names(valid))) == 1
    for fraction in (-0.1, 1.0):
        with pytest.raises(ValueError, match=r"fraction must be in \[0, 1\)"):
            split_by_picture(FACES, fraction, seed=0)
    with pytest.raises(ValueError, match="leaves none to train on"):
        split_by_picture(FACES[:2], 0.1, seed=0)


def test_joined_samples_follow_each_other():
    joined = join_samples([FACES[:3], FACES[60:62]])
    assert ids(joined) == ["0", "1", "2", "60", "61"]
    assert joined.pictures == ("photo0", "photo0", "photo0", "60", "61")
    assert ids(joined[3:]) == ["60", "61"]
    assert joined[-1].id == "61"
    with pytest.raises(IndexError):
        joined[5]


def test_drawn_faces_are_not_drawn_to_be_split():
    faces = SyntheticFaces(5_000, seed=4)
    train, valid = split_by_picture(join_samples([faces]), 0.1, seed=0)
    assert (len(train), len(valid)) == (4_500, 500)
    assert valid[7].id == valid.pictures[7] == valid[7].picture


def test_sources_by_name(tmp_path):
    faces = load_samples("synthetic:12:5")
    assert len(faces) == 12
    assert faces[3].id == SyntheticFaces(12, seed=5)[3].id
    for source in ("synthetic:12", "synthetic:a:b", "synthetic:1:2:3", "synthetic:-1:2"):
        with pytest.raises(ValueError, match="synthetic:COUNT:SEED, got"):
            load_samples(source)
    with pytest.raises(FileNotFoundError, match="nowhere: no such folder"):
        load_samples(str(tmp_path / "nowhere"))
    with pytest.raises(ValueError, match="face68, not two"):
        load_samples("synthetic:3:1", Markup(name="two", landmarks=2, flip=(1, 0)))


@pytest.mark.data
def test_real_faces_are_split_by_picture(real_data):
    folders = [str(real_data / "300w" / name) for name in ("helen/trainset", "afw")]
    samples = join_samples([load_samples(folder) for folder in folders])
    train, valid = split_by_picture(samples, 0.1, seed=0)
    assert len(train) + len(valid) == 1207
    assert not set(picture_names(train)) & set(picture_names(valid))
    assert len(set(picture_names(valid))) == round(0.1 * (783 + 185))
