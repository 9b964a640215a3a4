"""Readers of data sets in MATLAB files, on hand-made files of each format."""

import pickle
import re
from pathlib import Path

import h5py
import numpy as np
import pytest
import scipy.io

from kdn.data import load_samples, picture_names, source_markup
from kdn.data.formats.cofw import CofwFaces, read_cofw, read_cofw68
from kdn.data.formats.fitted import read_300wlp, read_aflw2000
from kdn.data.markup import FACE19, FACE68
from labels_by_hand import picture, shape


def test_faces_of_300wlp(tmp_path):
    folder, names = tmp_path / "AFW_Flip", ["AFW_12_1_0", "AFW_12_1_10", "LFPW_image_0001_3"]
    for index, name in enumerate(names):
        picture(folder / f"{name}.jpg")
        both = {"pts_2d": shape(68, index).astype(np.float32), "pts_3d": shape(68, 9) + 1}
        beside = folder if index else tmp_path / "landmarks" / "AFW_Flip"
        beside.mkdir(parents=True, exist_ok=True)
        scipy.io.savemat(beside / f"{name}_pts.mat", both)
    faces = load_samples(f"300wlp:{folder}", FACE68)
    for index, face in enumerate(faces):
        np.testing.assert_array_equal(face.landmarks, shape(68, index) - 1)
    np.testing.assert_array_equal(
        load_samples(f"300wlp-3d:{folder}", None)[1].landmarks, shape(68, 9)
    )
    assert [face.picture for face in faces] == ["AFW/AFW_12", "AFW/AFW_12", "AFW/LFPW_image_0001"]
    assert faces[0].id == "AFW_Flip/AFW_12_1_0"
    scipy.io.savemat(folder / "AFW_9_1_0.mat", {"pt2d": shape(68, 5).T})
    picture(folder / "AFW_9_1_0.jpg")
    picture(folder / "none.jpg")
    (folder / "LFPW_image_0001_3_pts.mat").write_bytes(
        b"no MATLAB file, but longer than a header" * 9
    )
    problems: list[str] = []
    faces = read_300wlp(folder, problems=problems)
    assert len(faces) == 3
    np.testing.assert_array_equal(faces[-1].landmarks, shape(68, 5) - 1)
    assert re.search(r"0001_3_pts\.mat: cannot be read as a MATLAB file", problems[0])
    assert problems[1] == f"{folder / 'none.jpg'}: no _pts.mat file beside it or in ../landmarks"


def test_faces_of_aflw2000(tmp_path):
    picture(tmp_path / "image1.jpg")
    twenty_one = shape(21, 3)
    twenty_one[4] = -1
    content = {
        "pt3d_68": np.vstack((shape(68).T, np.arange(68.0))),
        "pt2d": twenty_one.T,
        "Pose_Para": np.array([[0.1, -np.pi / 4, 0.2, 9, 9, 9, 9]], np.float64),
    }
    scipy.io.savemat(tmp_path / "image1.mat", content)
    [face] = load_samples(f"aflw2000:{tmp_path}", None)
    np.testing.assert_array_equal(face.landmarks, shape(68) - 1)
    assert face.attributes["yaw"] == pytest.approx(-45)
    assert face.attributes["pitch"] == pytest.approx(np.degrees(0.1))
    [own] = read_aflw2000(tmp_path, FACE19)
    kept = [i for i in range(21) if i not in (12, 16)]
    assert own.valid.tolist() == [i != 4 for i in kept]
    np.testing.assert_array_equal(own.landmarks[own.valid], twenty_one[kept][own.valid] - 1)
    picture(tmp_path / "image2.jpg")
    picture(tmp_path / "image3.jpg")
    scipy.io.savemat(tmp_path / "image2.mat", {"pt3d": 1.0, "Pose_Para": 2.0})
    problems: list[str] = []
    assert len(read_aflw2000(tmp_path, problems=problems)) == 1
    assert "image2.mat: has no numbers 'pt3d_68', only pt3d, Pose_Para" in problems[0]
    assert problems[1].endswith("image3.jpg: no .mat file beside it")


# --- COFW


def cofw(path: Path, *, old: bool) -> list[np.ndarray]:
    """Write three faces of 29 landmarks, one of them grey, one without a finite row."""
    rng = np.random.default_rng(3)
    pictures = [
        rng.integers(0, 255, (20, 34, 3), dtype=np.uint8),
        rng.integers(0, 255, (15, 22), dtype=np.uint8),
        rng.integers(0, 255, (9, 8, 3), dtype=np.uint8),
    ]
    phis = np.array([np.concatenate((*shape(29, i).T, np.arange(29) % 3 == 1)) for i in range(3)])
    phis[2, 4] = np.nan
    boxes = np.array([[3.0, 41, 10, 20], [1, 1, 5, 6], [1, 1, 5, 6]])
    if old:
        cells = np.empty((3, 1), object)
        cells[:, 0] = pictures
        scipy.io.savemat(path, {"IsT": cells, "phisT": phis, "bboxesT": boxes})
    else:
        with h5py.File(path, "w", userblock_size=512) as file:
            for index, array in enumerate(pictures):
                file[f"#refs#/{index}"] = array.T
            cells = [[file[f"#refs#/{index}"].ref for index in range(3)]]
            file.create_dataset("IsT", data=np.array(cells, h5py.ref_dtype), dtype=h5py.ref_dtype)
            file["phisT"], file["bboxesT"] = phis.T, boxes.T
        data = bytearray(path.read_bytes())
        head = b"MATLAB 7.3 MAT-file, Platform: GLNXA64".ljust(124) + b"\x00\x02IM"
        data[: len(head)] = head
        path.write_bytes(data)
    return pictures


@pytest.mark.parametrize("old", [False, True])
def test_faces_of_cofw(old, tmp_path):
    path = tmp_path / "COFW_test.mat"
    pictures = cofw(path, old=old)
    problems: list[str] = []
    faces = load_samples(f"cofw:{path}", None, problems=problems)
    assert isinstance(faces, CofwFaces)
    assert len(faces) == 2
    assert len(problems) == 1
    assert problems[0].startswith(f"{path}: face 3: coordinates must be finite")
    np.testing.assert_array_equal(faces[0].landmarks, shape(29, 0) - 1)
    assert faces[0].valid.all()
    assert faces[0].visible.tolist() == [i % 3 != 1 for i in range(29)]
    assert faces[0].bbox == (2, 40, 12, 60)
    np.testing.assert_array_equal(faces[0].read(), pictures[0])
    np.testing.assert_array_equal(faces[1].read(), np.stack([pictures[1]] * 3, axis=2))
    assert [face.id for face in faces[1:]] == ["COFW_test/0002"]
    copied = pickle.loads(pickle.dumps(faces))  # what a process that prepares crops gets
    np.testing.assert_array_equal(copied[1].read(), faces[1].read())
    assert picture_names(faces) == ("COFW_test/0001", "COFW_test/0002")
    assert source_markup(f"cofw:{path}", faces).name == "face29"
    with pytest.raises(ValueError, match="face 1: 29 points, but the mark-up face68 has 68"):
        read_cofw(path, FACE68)


def test_faces_of_cofw68(tmp_path):
    pictures = cofw(tmp_path / "COFW_test.mat", old=False)
    folder = tmp_path / "cofw68"
    folder.mkdir()
    for number in (10, 2, 1):
        content = {
            "Points": shape(68, number),
            "Occ": (np.arange(68)[None] % 5 == 0).astype(np.uint8),
        }
        scipy.io.savemat(folder / f"{number}_points.mat", content)
    problems: list[str] = []
    faces = load_samples(f"cofw68:{folder}@{tmp_path / 'COFW_test.mat'}", problems=problems)
    assert [face.id for face in faces] == ["cofw68/0001", "cofw68/0002"]
    assert problems == [f"{folder / '10_points.mat'}: {tmp_path / 'COFW_test.mat'} has 3 pictures"]
    np.testing.assert_array_equal(faces[1].landmarks, shape(68, 2) - 1)
    np.testing.assert_array_equal(faces[0].read(), pictures[0])
    assert faces[0].visible.tolist() == [i % 5 != 0 for i in range(68)]
    picture(folder / "2.png")
    problems.clear()
    [face] = load_samples(f"cofw68:{folder}", problems=problems)
    assert face.read().shape == (24, 31, 3)
    assert len(problems) == 2
    assert len(read_cofw68(folder)) == 3


def test_matlab_files_that_are_none(tmp_path):
    path = tmp_path / "COFW_train.mat"
    scipy.io.savemat(path, {"IsTr": 1.0, "bboxesTr": 1.0})
    with pytest.raises(ValueError, match=r"COFW_train\.mat: has no variable phisTr or phisT"):
        read_cofw(path)
    path.write_bytes(b"x" * 300)
    with pytest.raises(ValueError, match=r"COFW_train\.mat: cannot be read as a MATLAB file"):
        read_cofw(path)
    with pytest.raises(FileNotFoundError, match="no such file"):
        read_cofw(tmp_path / "none.mat")


def test_a_missing_extra_is_named(tmp_path, monkeypatch):
    path = tmp_path / "COFW_test.mat"
    cofw(path, old=False)
    monkeypatch.setitem(__import__("sys").modules, "h5py", None)
    with pytest.raises(ValueError, match=r"COFW_test\.mat: .* pip install 'kdn\[mat\]'"):
        read_cofw(path)
    monkeypatch.setitem(__import__("sys").modules, "scipy.io", None)
    with pytest.raises(ValueError, match=r"pip install 'kdn\[mat\]'"):
        read_cofw(path)
