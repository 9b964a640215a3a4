"""`kdn predict` on pictures and videos: what it prints, writes and refuses."""

import csv
import json
from pathlib import Path

import cv2
import numpy as np
import pytest

import kdn.models.checkpoint
from kdn.cli import main
from kdn.data import SyntheticFaces
from kdn.data.formats.pts import read_pts
from kdn.predict.predictor import load
from kdn.predict.track import VideoWriter, read_frames
from kdn.predictions import read_predictions
from synthetic_video import SyntheticVideo

FACES = SyntheticFaces(3, seed=4, size=(130, 150))


@pytest.fixture
def photos(tmp_path, monkeypatch) -> Path:
    """Return a folder of three pictures and one that is none, with boxes for all but one."""
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "photos"
    folder.mkdir()
    lines = ["file,x0,y0,x1,y1"]
    for index, face in enumerate(FACES):
        cv2.imwrite(str(folder / f"{index}.png"), face.read()[..., ::-1])
        lines += [f"{index}.png,{','.join(map(str, face.bbox))}"]
    lines += [f"0.png,{','.join(map(str, FACES[1].bbox))}"]  # a second face in the first picture
    (folder / "broken.jpg").write_bytes(b"no picture")
    (tmp_path / "boxes.csv").write_text("\n".join(lines) + "\n")
    return folder


def run(checkpoint: Path, *arguments: str) -> int:
    return main(["predict", "--model", str(checkpoint), *arguments])


def test_every_output_says_the_same(checkpoint, photos, capsys):
    targets = ["f.json", "f.jsonl", "f.csv", "f.parquet", "points/"]
    assert run(checkpoint, "photos", "--boxes", "boxes.csv", "--out", *targets) == 1
    said = capsys.readouterr()
    assert said.out == ""  # a table is printed only where there is no output
    assert "3 pictures: 4 faces" in said.err
    assert "failed: photos/broken.jpg" in said.err
    model = load(checkpoint)
    first, second = model(FACES[0].read(), [FACES[0].bbox, FACES[1].bbox])
    document = json.loads(Path("f.json").read_text())
    found = {Path(image["file"]).name: image["faces"] for image in document["images"]}
    assert {name: len(faces) for name, faces in found.items()} == {
        "0.png": 2, "1.png": 1, "2.png": 1,
    }  # fmt: skip
    np.testing.assert_allclose(found["0.png"][0]["landmarks"], first.landmarks, atol=0.02)
    np.testing.assert_allclose(found["0.png"][1]["landmarks"], second.landmarks, atol=0.02)
    assert [entry["file"] for entry in document["failed"]] == ["photos/broken.jpg"]
    lines = [json.loads(line) for line in Path("f.jsonl").read_text().splitlines()]
    assert [line["faces"] for line in lines if "faces" in line] == list(found.values())
    with open("f.csv", newline="") as file:
        assert sum(1 for _ in csv.DictReader(file)) == 4 * 68
    table = read_predictions("f.parquet")
    np.testing.assert_allclose(table.prediction[1], second.landmarks, atol=0.02)
    np.testing.assert_allclose(read_pts(Path("points/0_1.pts")), second.landmarks, atol=0.02)


@pytest.mark.parametrize(
    "inputs", [["photos/1.png", "--detector", "none"], ["--data", "synthetic:2:0"]]
)
def test_a_checkpoint_is_read_once(inputs, checkpoint, photos, monkeypatch):
    read = []
    opened = kdn.models.checkpoint.safe_open

    def counting(path, **how):
        read.append(path)
        return opened(path, **how)

    monkeypatch.setattr("kdn.models.checkpoint.safe_open", counting)
    assert run(checkpoint, *inputs, "--out", "f.parquet") == 0
    assert read == [checkpoint]


def test_what_is_printed_and_drawn(checkpoint, photos, capsys):
    assert run(checkpoint, "photos/1.png", "photos/2.png", "--boxes", "boxes.csv") == 0
    said = capsys.readouterr()
    assert said.out.count("score") == 2
    lines = said.out.splitlines()
    assert len(lines) == 2 * 69
    (face,) = load(checkpoint)(FACES[1].read(), [FACES[1].bbox])
    x, y = face.landmarks[30]
    across = np.sqrt(face.covariances[30, 0, 0])
    assert lines[31].split() == [
        "30", f"{x:.1f}", "±", f"{across:.1f}", f"{y:.1f}", "±",
        f"{np.sqrt(face.covariances[30, 1, 1]):.1f}", "nose", "tip",
    ]  # fmt: skip
    drawn = cv2.imread("kdn-overlays/1.png")
    assert drawn is not None
    assert drawn.shape == (130, 150, 3)
    assert (drawn[..., ::-1] != FACES[1].read()).any()


def test_no_overlay_and_parts_of_it(checkpoint, photos):
    flags = ("--boxes", "boxes.csv", "--out", "f.csv")
    assert run(checkpoint, "photos/1.png", *flags, "--overlay", "none") == 0
    assert not Path("kdn-overlays").exists()
    for index, draw in enumerate((["contours", "boxes"], ["heatmaps"])):
        more = ("--overlay", f"o{index}", "--draw", *draw)
        assert run(checkpoint, "photos/1.png", *flags, *more) == 0
    one, other = cv2.imread("o0/1.png"), cv2.imread("o1/1.png")
    assert one is not None
    assert other is not None
    assert (one != other).any()


def test_a_box_outside_the_picture_fails_that_picture_alone(checkpoint, photos, capsys):
    Path("boxes.json").write_text(json.dumps({"0.png": [[900, 900, 950, 960]], "1.png": []}))
    assert run(checkpoint, "photos/0.png", "photos/1.png", "--boxes", "boxes.json") == 1
    said = capsys.readouterr().err
    assert "failed: photos/0.png: box (900.0, 900.0, 950.0, 960.0) lies outside" in said
    assert "no face: photos/1.png" in said


def test_a_video_is_followed(checkpoint, tmp_path, monkeypatch, capsys):
    """The whole picture stands for a face, so that nothing hangs on the detector."""
    monkeypatch.chdir(tmp_path)
    video = SyntheticVideo(5, seed=1)
    with VideoWriter("clip.avi", fps=10) as writer:
        for frame in video:
            writer.write(frame.read())
    flags = ("--detector", "none", "--out", "f.jsonl")
    assert run(checkpoint, "clip.avi", *flags) in (0, 1)
    assert "1 video (5 frames)" in capsys.readouterr().err
    lines = [json.loads(line) for line in Path("f.jsonl").read_text().splitlines()]
    assert [line["frame"] for line in lines] == [0, 1, 2, 3, 4]
    assert [line["time"] for line in lines] == pytest.approx([0, 0.1, 0.2, 0.3, 0.4], abs=1e-3)
    drawn = list(read_frames("kdn-overlays/clip.mp4"))
    assert len(drawn) == 5
    assert drawn[1][0] == pytest.approx(0.1, abs=1e-3)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((), "nothing to look at: name pictures or videos, or --data"),
        (("--draw", "points", "photos"), "pictures come before --out and --draw"),
        (("photos", "--batch", "0"), "batch must be at least 1, got 0"),
        (("photos", "--decoder", "mode"), "--decoder is only for --data"),
        (("photos", "--uncertain", "0"), "uncertain must be a length"),
        (("photos", "--uncertain", "inf%"), "uncertain must be a length"),
        (("photos", "--overlay", "photos", "--overwrite"), "overlay must be another folder"),
        (("photos/1.png", "--out", "a.csv", "photos"), "out: photos holds pictures"),
        (("a.png", "--data", "synthetic:3:0"), "unrecognized arguments: a.png"),
        (("absent.png",), "absent.png: no such file"),
        (("photos", "--detector", "best"), "detector must be `haar`"),
        (("photos", "--uncertain", "much"), "uncertain must be a length"),
        (("photos", "--draw", "hats"), "what must be some of"),
        (("photos", "--level", "2"), "level"),
        (("photos", "--out", "f.doc"), "f.doc"),
    ],
)
def test_bad_arguments(arguments, said, checkpoint, photos, capsys):
    assert run(checkpoint, *arguments) == 2
    assert said in capsys.readouterr().err


def test_what_never_starts_loses_nothing(checkpoint, photos):
    for name in ("old.csv", "old.jsonl"):
        Path(name).write_text("precious")
    outputs = ("old.csv", "old.jsonl", "new.csv", "f.doc")
    assert run(checkpoint, "photos", "--out", *outputs) == 2
    assert Path("old.csv").read_text() == Path("old.jsonl").read_text() == "precious"
    assert not Path("new.csv").exists()
    assert run(checkpoint, "photos", "--out", *outputs[:3]) == 1  # one of the pictures is broken
    for name in outputs[:3]:
        assert "precious" not in Path(name).read_text()
    assert Path("old.csv").read_text() == Path("new.csv").read_text()


def test_a_model_that_is_not_there(tmp_path, photos, capsys):
    assert run(tmp_path / "absent.safetensors", "photos") == 2
    assert "absent.safetensors: no such file" in capsys.readouterr().err
