"""The reader of DISFA, on hand-made files and drawn frames."""

import re
from pathlib import Path

import numpy as np
import pytest

from kdn.data import load_samples, split_by_picture
from kdn.data.check import check_data
from kdn.data.formats.disfa import read_disfa
from labels_by_hand import picture


def labels(folder: Path, subject: str, unit: int, lines: list[str]) -> Path:
    file = folder / "ActionUnit_Labels" / subject / f"{subject}_au{unit}.txt"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("\n".join(lines) + "\n")
    return file


def disfa(folder: Path) -> Path:
    """Write two subjects: frames 1 and 3 with labels and pictures, 2 without the one or other."""
    labels(folder, "SN001", 1, ["1,0", "3,4", "7,5"])
    labels(folder, "SN001", 12, ["1,2", "2,1", ""])
    labels(folder, "SN002", 26, ["1, 1.5", "12,3", "120,5"])
    for name in ("0001.jpg", "SN001_0003.png", "frame4.jpg"):
        picture(folder / "Images" / "SN001" / name)
    for name in ("face_12.JPEG", "a1b1.jpg"):
        picture(folder / "SN002" / name, shape=(40, 64))
    return folder


def test_frames_of_disfa(tmp_path):
    samples = load_samples(f"disfa:{disfa(tmp_path / 'DISFA')}", None)
    assert [sample.id for sample in samples] == [
        *("DISFA/SN001/0001.jpg", "DISFA/SN001/SN001_0003.png"),
        *("DISFA/SN002/a1b1.jpg", "DISFA/SN002/face_12.JPEG"),
    ]
    assert [sample.attributes for sample in samples] == [
        {"AU1": 0.0, "AU12": 2.0, "subject": "SN001", "frame": 1.0},
        {"AU1": 4.0, "subject": "SN001", "frame": 3.0},
        {"AU26": 1.5, "subject": "SN002", "frame": 1.0},
        {"AU26": 3.0, "subject": "SN002", "frame": 12.0},
    ]
    assert {type(s.attributes["frame"]) for s in samples} == {float}
    for sample in samples:
        assert sample.landmarks.shape == (0, 2)
    assert samples[0].bbox == (-0.5, -0.5, 30.5, 23.5)
    assert samples[2].bbox == (-0.5, -0.5, 63.5, 39.5)
    with pytest.raises(ValueError, match="has no landmarks, but the mark-up face68 has 68"):
        load_samples(f"disfa:{tmp_path / 'DISFA'}")


def test_splits_keep_subjects_whole(tmp_path):
    for subject in range(1, 8):
        name = f"SN{subject:03d}"
        labels(tmp_path, name, 4, [f"{i},{i}" for i in range(1, 4)])
        for frame in range(1, 4):
            picture(tmp_path / name / f"{frame:04d}.png")
    train, valid = split_by_picture(read_disfa(tmp_path), 0.3, seed=1)
    sides = [{sample.attributes["subject"] for sample in side} for side in (train, valid)]
    assert [len(side) for side in sides] == [5, 2]
    assert not sides[0] & sides[1]
    assert (len(train), len(valid)) == (15, 6)


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("5", "must be frame,intensity, got '5'"),
        ("5,1,2", "must be frame,intensity, got '5,1,2'"),
        ("0,1", "frame must be a whole number from 1, got '0'"),
        ("1.5,1", "frame must be a whole number from 1, got '1.5'"),
        ("5,6", "intensity must be 0 to 5, got '6'"),
        ("5,-1", "intensity must be 0 to 5, got '-1'"),
        ("5,nan", "intensity must be 0 to 5, got 'nan'"),
        ("5,high", "intensity must be 0 to 5, got 'high'"),
        ("3,2", "frame 3 is there twice"),
    ],
)
def test_lines_of_disfa_that_cannot_be_used(line, said, tmp_path):
    file = labels(disfa(tmp_path), "SN001", 1, ["1,0", "3,4", line, "4,2"])
    problems: list[str] = []
    samples = read_disfa(tmp_path, problems=problems)
    assert problems == [f"{file}:3: {said}"]
    assert [s.attributes.get("AU1") for s in samples] == [0, 4, 2, None, None]
    with pytest.raises(ValueError, match=re.escape(f"{file}:3: {said}")):
        read_disfa(tmp_path)


def test_files_of_disfa_that_cannot_be_used(tmp_path):
    folder = disfa(tmp_path)
    labels(folder, "SN001", 3, ["1,0"])
    labels(folder, "SN003", 5, ["1,0"])
    labels(folder, "SN004", 5, ["1,0"])
    own = folder / "ActionUnit_Labels"
    (own / "SN001" / "SN001_au2.txt").write_bytes(b"1,\xff0")
    for place in ("Images/SN001/3.jpg", "Images/SN001/face.jpg", "Images/SN001/0000.jpg"):
        picture(folder / place)
    picture(folder / "SN004" / "2.png")
    (folder / "SN002" / "120.png").write_bytes(b"torn")
    problems: list[str] = []
    assert len(load_samples(f"disfa:{folder}", None, problems=problems)) == 4
    said = [
        f"{own}/SN001/SN001_au3.txt: must be named SN001_auN.txt, N one of (1, 2, 4, ",
        f"{own}/SN001/SN001_au2.txt: cannot be read (",
        f"{folder}/Images/SN001/0000.jpg: its name must end in the number of the frame, from 1",
        f"{folder}/Images/SN001/SN001_0003.png: frame 3 is also 3.jpg",
        f"{folder}/Images/SN001/face.jpg: its name must end in the number of the frame, from 1",
        f"{folder}: no folder of pictures Images/SN003 or SN003",
        f"{folder}: no picture of SN004 has a label",
        f"{folder}/SN002/120.png: not a picture that can be decoded",
    ]
    assert len(problems) == len(said)
    for line, part in zip(problems, said, strict=True):
        assert line.startswith(part)


def test_folders_that_are_not_disfa(tmp_path):
    with pytest.raises(FileNotFoundError, match="nowhere: no such folder"):
        read_disfa(tmp_path / "nowhere")
    with pytest.raises(FileNotFoundError, match="ActionUnit_Labels: no such folder"):
        read_disfa(tmp_path)
    labels(tmp_path, "SN001", 1, ["1,0"])
    with pytest.raises(ValueError, match=r"holds no labels\n.*no folder of pictures Images/SN001"):
        read_disfa(tmp_path, problems=[])


def test_a_check_of_disfa(tmp_path):
    [found] = check_data([f"disfa:{disfa(tmp_path)}"]).sources
    assert (found.faces, found.landmarks) == (4, (0, 0, 0))
    assert {name: values.tolist() for name, values in found.numbers.items()} == {
        "AU1": [0, 4],
        "AU12": [2],
        "frame": [1, 3, 1, 12],
        "AU26": [1.5, 3],
    }
    assert np.isnan(found.faces_of["missed"]).all()
