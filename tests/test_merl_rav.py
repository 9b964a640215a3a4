"""The reader of MERL-RAV's convention: what signs say, and what it says of files it cannot use."""

from pathlib import Path

import cv2
import numpy as np
import pytest

from kdn.data import load_samples, picture_names
from kdn.data.formats.merl_rav import read_merl_rav
from kdn.data.markup import FACE68, Markup

FIVE = Markup(name="five", landmarks=5, flip=(1, 0, 2, 4, 3))


def write_pair(folder: Path, name: str, points: str, *, header: bool = True) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(folder / f"{name}.jpg"), np.full((24, 31, 3), 90, np.uint8))
    lines = points.replace(", ", "\n")
    around = ("version: 1\nn_points: 5\n{\n", "\n}\n") if header else ("", "\n")
    (folder / f"{name}.pts").write_text(lines.join(around))


POINTS = "10.5 20, -12 -7.25, -1.000000 -1.000000, -1 -3, 1 1"
WANTED = [[9.5, 19], [11, 6.25], [np.nan, np.nan], [0, 2], [0, 0]]


@pytest.mark.parametrize("header", [True, False])
def test_signs_say_what_is_hidden_and_what_has_no_position(tmp_path, header):
    """One -1 alone is a coordinate; (1, 1) is the first pixel, and in sight."""
    write_pair(tmp_path / "frontal" / "testset", "image00019", POINTS, header=header)
    [face] = read_merl_rav(tmp_path / "frontal" / "testset", FIVE)
    np.testing.assert_array_equal(face.landmarks, WANTED)
    assert face.valid.tolist() == [True, True, False, True, True]
    assert face.visible.tolist() == [True, False, False, False, True]
    assert face.bbox == (0, 0, 11, 19)  # of the valid ones, hidden or not
    assert face.id == "frontal/testset/image00019"
    assert face.read().shape == (24, 31, 3)


def test_landmarks_left_of_the_picture_have_signs_that_differ(tmp_path):
    write_pair(tmp_path, "image00001", "-3 20, 4 -15, 30 40, -30 -20, 0.25 -8")
    [face] = read_merl_rav(tmp_path, FIVE)
    wanted = [[-4, 19], [-5, 14], [29, 39], [29, 19], [-1.25, 7]]
    np.testing.assert_array_equal(face.landmarks, wanted)
    assert face.visible.tolist() == [True, False, True, False, False]
    assert face.valid.all()
    assert face.bbox == (-5, 7, 29, 39)


def test_faces_of_one_picture_share_its_name(tmp_path):
    names = ["image20991_1", "image20991_2", "0007-image20991", "image20992", "12_3"]
    for name in names:
        write_pair(tmp_path / "a" / "b", name, POINTS)
    faces = read_merl_rav(tmp_path / "a" / "b", FIVE)
    assert [face.id for face in faces] == [f"a/b/{name}" for name in sorted(names)]
    pictures = dict(zip(sorted(names), picture_names(faces), strict=True))
    assert pictures == {
        **dict.fromkeys(names[:3], "a/b/image20991"),
        "image20992": "a/b/image20992",
        "12_3": "a/b/12_3",
    }


def test_faces_that_cannot_be_used_are_named(tmp_path):
    write_pair(tmp_path, "few", "-1 -1, 5 6, -1 -1, -1 -1, -1 -1")
    write_pair(tmp_path, "line", "3 4, -5 -4, -1 -1, 9 4, 11 4")
    write_pair(tmp_path, "none", "-1 -1, -1 -1, -1 -1, -1 -1, -1 -1")
    write_pair(tmp_path, "short", "3 4, 5 6, 7 8, 1 9", header=False)
    write_pair(tmp_path, "whole", POINTS)
    expected = [
        "few.pts: a face needs two landmarks with a position, got 1",
        "line.pts: the box must have an area",
        "none.pts: a face needs two landmarks with a position, got 0",
        "short.pts:4: 4 points, but the mark-up has 5",
    ]
    with pytest.raises(ValueError, match=r"few\.pts") as caught:
        read_merl_rav(tmp_path, FIVE)
    problems: list[str] = []
    assert len(read_merl_rav(tmp_path, FIVE, problems=problems)) == 1
    for part, problem, line in zip(expected, problems, str(caught.value).splitlines(), strict=True):
        assert part in problem
        assert problem == line
    with pytest.raises(FileNotFoundError, match="missing: no such folder"):
        read_merl_rav(tmp_path / "missing", FIVE)


def test_the_source_by_name(tmp_path):
    write_pair(tmp_path, "image00002", POINTS)
    write_pair(tmp_path, "image00003", "-1 -1, -1 -1, -1 -1, -1 -1, 4 5")
    problems: list[str] = []
    [face] = load_samples(f"merl_rav:{tmp_path}", FIVE, problems=problems)
    np.testing.assert_array_equal(face.landmarks, WANTED)
    assert len(problems) == 1
    with pytest.raises(ValueError, match=r"image00003\.pts: a face needs two"):
        load_samples(f"merl_rav:{tmp_path}", FIVE)


@pytest.mark.data
def test_the_real_faces(real_data):
    faces = read_merl_rav(real_data / "merl_rav_80px")
    assert len(faces) == 1500
    assert len(set(picture_names(faces))) == 1447
    valid, visible = (np.array([getattr(f, name) for f in faces]) for name in ("valid", "visible"))
    assert valid.shape == (1500, FACE68.landmarks)
    shares = [100 * share.mean() for share in (visible, valid & ~visible, ~valid)]
    assert shares == pytest.approx([88.90, 8.93, 2.17], abs=0.01)
    landmarks = np.array([face.landmarks for face in faces])
    assert (valid == np.isfinite(landmarks).all(axis=-1)).all()
    # Jaws that leave the picture on the left go on as smoothly as those within: read as absolute
    # values they would turn back at the edge.
    out = (landmarks[:, :9, 0] < -1).any(axis=1)
    assert out.sum() > 60
    bends = np.abs(np.diff(landmarks[:, :9, 0], n=2, axis=1))
    assert np.nanmean(bends[out]) < 1.3 * np.nanmean(bends[~out])
    folded = np.abs(np.diff(np.abs(landmarks[:, :9, 0] + 1), n=2, axis=1))
    assert np.nanmean(folded[out]) > 1.5 * np.nanmean(bends[~out])
