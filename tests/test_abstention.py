"""Landmarks that are given up: by the right probability, and said so by every output."""

import csv
import json
import math
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from found_faces import TRIO, hand_face
from kdn.cli import main
from kdn.data import PointLabels, SyntheticFaces
from kdn.data.numbers import length_of
from kdn.density import GaussianDensity
from kdn.grid import Affine
from kdn.predict.annotate import annotate
from kdn.predict.boxes import read_boxes
from kdn.predict.detect import detector_named
from kdn.predict.inputs import expand_inputs
from kdn.predict.outputs import PictureObjects, Summary, open_output
from kdn.predict.overlay import draw_faces
from kdn.predict.predictor import load
from kdn.predict.results import Abstention, Face
from kdn.predict.track import VideoWriter
from kdn.predictions import read_predictions


def judged_of(face: Face) -> Abstention:
    """Return which landmarks of a face were given up."""
    assert face.abstention is not None
    return face.abstention


def round_face(*spreads: float) -> Face:
    """Return a face 40 px wide and 90 px high whose landmarks are round Gaussians."""
    landmarks = np.array([[10.0, 5.0], [50.0, 20.0], [30.0, 95.0]])
    spread = torch.tensor(spreads, dtype=torch.float64)
    covariances = spread.square().reshape(-1, 1, 1) * torch.eye(2).double()
    density = GaussianDensity(torch.from_numpy(landmarks), covariance=covariances)
    return Face(
        bbox=(0.0, 0.0, 60.0, 100.0),
        landmarks=landmarks,
        covariances=covariances.numpy(),
        uncertainty=spread.numpy(),
        score=0.5,
        labels=PointLabels(TRIO),
        density=density.mapped(Affine.identity()),
    )


def test_the_probability_is_that_of_the_density():
    face = round_face(1.0, 3.0, 6.0)
    expected = np.exp(-0.5 * (6.0 / np.array([1.0, 3.0, 6.0])) ** 2)  # 10 % of √(40·90)
    for tau in ("10%", 6, "6px", "6"):
        np.testing.assert_allclose(face.error_probability(tau), expected, atol=2e-3)
    judged = judged_of(face.abstaining(0.2, "10%"))
    assert judged.known.tolist() == [True, True, False]
    np.testing.assert_allclose(judged.error_probability, expected, atol=2e-3)
    assert face.abstention is None
    edge = judged_of(face.abstaining(float(judged.error_probability[1]), "10%"))
    assert edge.known.tolist() == [True, True, False]  # the limit itself is not exceeded


def test_a_landmark_that_is_not_finite_is_not_known():
    face = round_face(1.0, 3.0, 6.0)
    landmarks = face.landmarks.copy()
    landmarks[1, 0] = np.nan
    assert replace(face, landmarks=landmarks).error_probability(3.0).shape == (3,)
    judged = judged_of(replace(face, landmarks=landmarks).abstaining(1.0, 3.0))
    assert judged.known.tolist() == [True, False, True]
    assert math.isnan(judged.error_probability[1])


@pytest.mark.parametrize("tau", ["0", "much", "-3", "5 %%", 0.0, "inf%"])
def test_what_is_no_length(tau):
    with pytest.raises(ValueError, match="tau must be a length"):
        length_of(tau, 100.0, name="tau")


def test_what_is_no_probability():
    for limit in (-0.1, 1.5, math.nan):
        with pytest.raises(ValueError, match="abstain must be a probability"):
            round_face(1.0, 1.0, 1.0).abstaining(limit, 3.0)


def test_files_say_which_are_known(tmp_path):
    faces = [round_face(1.0, 3.0, 6.0).abstaining(0.2, "10%")]
    faces.append(round_face(9.0, 1.0, 2.0).abstaining(0.2, "10%"))
    targets = [tmp_path / name for name in ("f.json", "f.jsonl", "f.csv", "f.parquet", "f/")]
    for target in targets:
        where = f"{target}/" if target.suffix == "" else target
        with open_output(
            where, model="m", labels=PointLabels(TRIO), inputs=["a.jpg"], abstaining=True
        ) as output:
            output.add(PictureObjects("a.jpg", width=64, height=99, faces=faces))
    expected = [judged_of(face).error_probability for face in faces]
    known = [[True, True, False], [False, True, True]]
    document = json.loads(targets[0].read_text())["images"][0]["faces"]
    assert document == json.loads(targets[1].read_text())["faces"]
    assert [face["known"] for face in document] == known
    assert [face["tau"] for face in document] == ["10%", "10%"]
    np.testing.assert_allclose(
        [face["error_probability"] for face in document], expected, atol=1e-4
    )
    np.testing.assert_allclose(document[0]["landmarks"], faces[0].landmarks)  # they stay
    with open(targets[2], newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["known"] for row in rows] == ["1", "1", "0", "0", "1", "1"]
    assert float(rows[2]["error_probability"]) == pytest.approx(expected[0][2], abs=1e-4)
    table = read_predictions(targets[3])
    assert table.known is not None
    assert table.error_probability is not None
    assert table.known.tolist() == known
    assert (table.metadata["tau"], table.metadata["abstain"]) == ("10%", 0.2)
    np.testing.assert_allclose(table.error_probability, expected)
    assert len(list(targets[4].glob("*.pts"))) == 2


def test_without_abstention_nothing_is_said(tmp_path):
    for name in ("f.jsonl", "f.csv", "f.parquet"):
        with open_output(tmp_path / name, model="m", labels=PointLabels(TRIO)) as output:
            output.add(PictureObjects("a.jpg", width=64, height=99, faces=[hand_face()]))
    assert "known" not in (tmp_path / "f.jsonl").read_text() + (tmp_path / "f.csv").read_text()
    assert read_predictions(tmp_path / "f.parquet").known is None
    assert hand_face().known.tolist() == [True, True, True]


def test_the_summary_counts_them():
    summary = Summary(abstaining=True)
    judged = round_face(1.0, 3.0, 6.0).abstaining(0.2, "10%")
    summary.add(PictureObjects("a.jpg", width=64, height=99, faces=[judged, judged]))
    summary.add(PictureObjects("b.jpg", width=64, height=99, faces=[judged]))
    assert summary.lines()[0] == "2 pictures: 3 faces, 3 of 9 landmarks given up"


def test_they_are_drawn_as_grey_rings():
    picture = np.full((110, 70, 3), 90, np.uint8)
    face = round_face(1.0, 3.0, 6.0)
    drawn = draw_faces(picture, [face.abstaining(0.2, "10%")], what=["points"])
    plain = draw_faces(picture, [face], what=["points"])
    for index, known in enumerate((True, True, False)):
        x, y = face.landmarks[index].astype(int)
        at = np.s_[y - 4 : y + 5, x - 4 : x + 5]
        assert (drawn[at] == plain[at]).all() == known
        # Hollow and grey, where a point that is known is yellow.
        assert (np.ptp(drawn[y, x].astype(int)) < 5) == (not known)
    ring = drawn[90:101, 25:36]
    assert (ring != 90).any()
    assert (ring.max(axis=-1) == ring.min(axis=-1)).all()  # grey
    marked = draw_faces(picture, [face.abstaining(0.2, "10%")], what=["ellipses"])
    assert (marked != draw_faces(picture, [face], what=["ellipses"])).any()


@pytest.fixture
def photos(tmp_path, monkeypatch) -> None:
    """Put two pictures and a file of their boxes where the program runs."""
    monkeypatch.chdir(tmp_path)
    lines = ["file,x0,y0,x1,y1"]
    for index, face in enumerate(SyntheticFaces(2, seed=4, size=(130, 150))):
        cv2.imwrite(f"{index}.png", face.read()[..., ::-1])
        lines.append(f"{index}.png,{','.join(map(str, face.bbox))}")
    Path("boxes.csv").write_text("\n".join(lines) + "\n")


def test_the_command_gives_landmarks_up(checkpoint, photos, capsys):
    flags = ["--boxes", "boxes.csv", "--out", "f.json", "--overlay", "none"]
    base = ["predict", "--model", str(checkpoint), "0.png", "1.png", *flags]
    assert main([*base, "--abstain", "0.4", "--tau", "20%"]) == 0
    said = capsys.readouterr().err
    images = json.loads(Path("f.json").read_text())["images"]
    faces = load(checkpoint)(["0.png", "1.png"], list(read_boxes("boxes.csv").values()))
    given_up = 0
    for image, (face,) in zip(images, faces, strict=True):
        probability = face.error_probability("20%")
        entry = image["faces"][0]
        np.testing.assert_allclose(entry["error_probability"], probability, atol=2e-3)
        decided = np.abs(probability - 0.4) > 2e-3
        known = np.array(entry["known"])
        assert (known == (probability <= 0.4))[decided].all()
        given_up += int((~known).sum())
    assert f"2 pictures: 2 faces, {given_up} of 136 landmarks given up" in said
    assert main(base) == 0
    assert "given up" not in capsys.readouterr().err
    assert "known" not in Path("f.json").read_text()


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["0.png", "--abstain", "2"], "abstain must be a probability, 0 to 1 or 0% to 100%, got 2"),
        (["0.png", "--abstain", "0.5", "--tau", "wide"], "tau must be a length in pixels or like"),
        (["--data", "synthetic:2:0", "--out", "x.parquet", "--abstain", "5"], "abstain must be"),
    ],
)
def test_bad_arguments(flags, said, checkpoint, photos, capsys):
    assert main(["predict", "--model", str(checkpoint), *flags]) == 2
    assert said in capsys.readouterr().err


def test_frames_of_a_video_are_judged(checkpoint, photos):
    frame = SyntheticFaces(2, seed=4, size=(130, 150))[0].read()
    with VideoWriter("clip.avi", fps=10) as writer:
        for _ in range(2):
            writer.write(frame)
    summary = Summary(abstaining=True)
    annotate(
        load(checkpoint),
        expand_inputs(["clip.avi"], stdin=None),
        [summary],
        detector=detector_named("none"),
        judge=lambda face: face.abstaining(0.0, "0.001%"),
    )
    assert summary.unknown == summary.landmarks == 68 * summary.faces
