"""What a run says at its end."""

import io

import pytest

from found_faces import hand_face
from kdn.predict.outputs import PictureObjects, Summary


def done(file, count, **more):
    return PictureObjects(file, 64, 48, [hand_face()] * count, **more)


def test_counts_and_failures():
    summary = Summary()
    for file, count in (("a.jpg", 2), ("b.jpg", 0), ("c.jpg", 1)):
        summary.add(done(file, count))
    assert summary.exit_code == 0
    summary.fail("d.jpg", "d.jpg: the file is empty")
    assert summary.exit_code == 1
    assert summary.lines() == [
        "3 pictures: 3 faces, 1 without a face, 1 failed",
        "no face: b.jpg",
        "failed: d.jpg: the file is empty",
    ]


def test_frames_of_videos():
    summary = Summary()
    summary.add(done("a.jpg", 1))
    for frame in range(5):
        summary.add(done(f"clip{frame % 2}.mp4", frame % 3, frame=frame))
    assert summary.lines() == ["1 picture, 2 videos (5 frames): 5 faces"]
    alone = Summary()
    alone.add(done("clip.mp4", 0, frame=0))
    assert alone.lines() == ["1 video (1 frame): 0 faces"]


def test_a_picture_without_a_face_is_no_failure():
    summary = Summary()
    summary.add(done("a.jpg", 0))
    assert summary.exit_code == 0


def test_nothing_done():
    summary = Summary()
    summary.fail("a.jpg", "")
    assert summary.lines() == ["0 pictures: 0 faces, 1 failed", "failed: a.jpg: no reason given"]


def test_long_lists_are_cut():
    summary = Summary()
    for i in range(30):
        summary.add(done(f"{i}.png", 0))
        summary.fail(f"{i}.jpg", "empty")
    lines = summary.lines(most=4)
    assert lines[0] == "30 pictures: 0 faces, 30 without a face, 30 failed"
    assert lines[4:6] == ["no face: 3.png", "no face: … and 26 more"]
    assert lines[-1] == "failed: … and 26 more"
    assert len(lines) == 11


def test_it_is_printed_on_standard_error(capsys: pytest.CaptureFixture[str]):
    summary = Summary()
    summary.add(done("a.jpg", 1))
    summary.print()
    assert capsys.readouterr() == ("", "1 picture: 1 face\n")
    stream = io.StringIO()
    summary.print(stream)
    assert stream.getvalue() == "1 picture: 1 face\n"
