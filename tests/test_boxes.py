"""Boxes from a file: what is read, what is refused and where, whose they are."""

import json

import pytest

from found_faces import TRIO, hand_face
from kdn.data import PointLabels
from kdn.predict.boxes import match_boxes, outside_picture, read_boxes
from kdn.predict.outputs import PictureObjects, open_output


@pytest.fixture
def write(tmp_path):
    def write(name, content):
        path = tmp_path / name
        path.write_text(content if isinstance(content, str) else json.dumps(content))
        return path

    return write


EXPECTED = {
    "b.jpg": [(1.0, 2.5, 30.0, 40.0), (-5.0, 0.0, 7.0, 9.0)],
    "a/b.jpg": [(0.0, 1.0, 2.0, 4.0)],
}


@pytest.mark.parametrize(
    ("name", "content"),
    [
        (
            "boxes.csv",
            "file,x0,y0,x1,y1\nb.jpg,1,2.5,30,40\n\na/b.jpg,0,1,2,4\nb.jpg,-5,0,7,9\n",
        ),
        (
            "BOXES.CSV",
            "\ufeffy1, X1 ,score,y0,x0,path\r\n40,30,.5,2.5,1,b.jpg\r\n"
            "9,7,,0,-5,b.jpg\r\n4,2,,1,0,a/b.jpg\r\n",
        ),
        ("boxes.json", {"b.jpg": [[1, 2.5, 30, 40], [-5, 0, 7, 9]], "a/b.jpg": [[0, 1, 2, 4]]}),
        ("boxes.json", {"b.jpg": [[1, 2.5, 30, 40], [-5, 0, 7, 9]], "a/b.jpg": [0, 1, 2, 4]}),
        (
            "boxes.json",
            [
                {"file": "b.jpg", "bbox": [1, 2.5, 30, 40]},
                {"image": "a/b.jpg", "x1": 2, "y1": 4, "x0": 0, "y0": 1},
                {"file": "b.jpg", "bbox": [-5, 0, 7, 9], "score": 0.5},
            ],
        ),
    ],
)
def test_forms(write, name, content):
    assert read_boxes(write(name, content)) == EXPECTED


def test_our_own_document(tmp_path):
    path = tmp_path / "faces.json"
    with open_output(path, model="m", labels=PointLabels(TRIO)) as output:
        output.add(PictureObjects("b.jpg", 64, 48, [hand_face(), hand_face(1.0, 2.0)]))
        output.add(PictureObjects("c.jpg", 64, 48, []))
    assert read_boxes(path) == {
        "b.jpg": [(10.0, 18.0, 41.0, 61.5), (11.0, 20.0, 42.0, 63.5)],
        "c.jpg": [],
    }


@pytest.mark.parametrize(
    ("row", "said"),
    [
        (
            "b.jpg,1,2,1,4",
            r"boxes\.csv:3: x1 must be above x0 and y1 above y0, got 1, 2",
        ),
        ("b.jpg,1,2,3,2", "above"),
        ("b.jpg,30,2,3,4", "corner, not width and height"),
        ("b.jpg,3,4,30,2", "above"),
        ("b.jpg,nan,2,3,4", "coordinates must be finite, got nan"),
        ("b.jpg,1,2,inf,4", "coordinates must be finite, got inf"),
        ("b.jpg,1,2,3,1e999", "must be finite"),
        ("b.jpg,1,2,x,4", "coordinates must be numbers, got 'x'"),
        ("b.jpg,1,2,1_0,4", "coordinates must be numbers"),
        ("b.jpg,1,2,,4", "coordinates must be numbers, got ''"),
        ("b.jpg,1,2,3", r"boxes\.csv:3: 4 cells, the header has 5"),
        (" ,1,2,3,4", r"boxes\.csv:3: 'file' .* must be a name"),
    ],
)
def test_rows_that_are_no_boxes(write, row, said):
    path = write("boxes.csv", f"file,x0,y0,x1,y1\na.jpg,0,1,2,4\n{row}\nb.jpg,5,6,7,8\n")
    with pytest.raises(ValueError, match=said) as error:
        read_boxes(path)
    assert "\n" not in str(error.value)
    problems = []
    assert read_boxes(path, problems=problems) == {
        "a.jpg": [(0.0, 1.0, 2.0, 4.0)],
        "b.jpg": [(5.0, 6.0, 7.0, 8.0)],
    }
    assert problems == [str(error.value)]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ({"b.jpg": [[0, 1, 2, 4], [5, 5, 5, 9]]}, r"entry 'b\.jpg', box 1: x1 must be"),
        ({"b.jpg": [[0, 1, 2]]}, r"box 0: must be \[x0, y0, x1, y1\], got \[0, 1, 2\]"),
        ({"b.jpg": [[0, 1, True, 4]]}, "coordinates must be numbers, got True"),
        ({"b.jpg": [[0, 1, [2], 4]]}, r"coordinates must be numbers, got \[2\]"),
        ({"b.jpg": {"bbox": [0, 1, 2, 4]}}, "must be a list of boxes"),
        ({"b.jpg": None}, "must be a list of boxes"),
        ('{"b.jpg": [[0, 1, 2, NaN]]}', "must be finite, got nan"),
        ('{"b.jpg": [], "b.jpg": [[0, 1, 2, 4]]}', r"entry 'b\.jpg': stands there twice"),
        ([{"bbox": [0, 1, 2, 4]}], "entry 0: 'file' \\(or path, image, id\\) must be a name"),
        ([7], "entry 0: must be an object"),
        (
            [{"file": "b.jpg", "x0": 1}],
            r"entry 0: coordinates must be numbers, got None",
        ),
        ('[{"file": "b.jpg", "bbox": [0, 1, 2, 4], "bbox": 1}]', "a key stands there twice"),
    ],
)
def test_entries_that_are_no_boxes(write, content, said):
    with pytest.raises(ValueError, match=said):
        read_boxes(write("boxes.json", content))


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("boxes.txt", "", r"boxes\.txt: must be a \.csv or \.json file"),
        ("boxes.csv", "", r"boxes\.csv:1: the header must have"),
        ("boxes.csv", "file,x,y,w,h\nb.jpg,1,2,3,4\n", "the header must have each of file, x0"),
        ("boxes.csv", "file,x0,y0,x1,y1,x0\n", "once, got file, x0"),
        ("boxes.csv", "file,x0,y0,x1,y1\n", "no boxes in it"),
        ("boxes.json", "{", "not a JSON file"),
        ("boxes.json", "7", "must be an object"),
        ("boxes.json", {}, "no boxes in it"),
    ],
)
def test_files_that_are_no_boxes(write, name, content, said):
    with pytest.raises(ValueError, match=said):
        read_boxes(write(name, content))


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(FileNotFoundError, match="no such file"):
        read_boxes(tmp_path / "boxes.csv")


def test_a_picture_with_no_good_box_is_not_one_without_faces(write):
    problems = []
    path = write("boxes.json", {"a.jpg": [], "b.jpg": [[1, 1, 1, 1]]})
    assert read_boxes(path, problems=problems) == {"a.jpg": []}
    assert len(problems) == 1


A, B = (0.0, 1.0, 2.0, 4.0), (5.0, 6.0, 7.0, 9.0)


@pytest.mark.parametrize(
    ("keys", "names", "expected", "unused"),
    [
        (["a.jpg", "b.jpg"], ["b.jpg", "c.jpg"], {"b.jpg": 1}, ["a.jpg"]),
        (["a.jpg"], ["./a.jpg"], {"./a.jpg": 0}, []),
        (["a.jpg"], ["deep/a.jpg"], {"deep/a.jpg": 0}, []),
        (["other/a.jpg"], ["deep/a.jpg"], {"deep/a.jpg": 0}, []),
        (
            ["p/a.jpg", "q/a.jpg"],
            ["in/q/a.jpg", "in/p/a.jpg"],
            {"in/q/a.jpg": 1, "in/p/a.jpg": 0},
            [],
        ),
        (["p/a.jpg"], ["in/p/a.jpg", "in/q/a.jpg"], {"in/p/a.jpg": 0}, []),
        (["a.jpg", "in/a.jpg"], ["in/a.jpg", "a.jpg"], {"in/a.jpg": 1, "a.jpg": 0}, []),
        (["a.jpg", "b.jpg"], ["b.jpg", "b.jpg"], {"b.jpg": 1}, ["a.jpg"]),
        (["a.jpg"], ["a.jpeg", "A.jpg"], {}, ["a.jpg"]),
    ],
)
def test_matching(tmp_path, monkeypatch, keys, names, expected, unused):
    monkeypatch.chdir(tmp_path)
    boxes = {key: [box] for key, box in zip(keys, (A, B), strict=False)}
    matched, left = match_boxes(boxes, names)
    assert matched == {name: [(A, B)[i]] for name, i in expected.items()}
    assert left == unused


def test_an_absolute_name_is_a_path(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    boxes = {str(tmp_path / "in" / "a.jpg"): [A], "a.jpg": [B]}
    assert match_boxes(boxes, ["in/a.jpg"]) == ({"in/a.jpg": [A]}, ["a.jpg"])


@pytest.mark.parametrize(
    ("keys", "names", "said"),
    [
        (["a.jpg"], ["p/a.jpg", "q/a.jpg"], r"boxes of 'a\.jpg': fit p/a\.jpg and q/a\.jpg"),
        (["p/a.jpg", "q/a.jpg"], ["in/a.jpg"], r"in/a\.jpg: fits the boxes of 'p/a\.jpg' and"),
    ],
)
def test_what_fits_twice_is_refused(keys, names, said):
    with pytest.raises(ValueError, match=said):
        match_boxes({key: [A] for key in keys}, names)


@pytest.mark.parametrize(
    ("box", "outside"),
    [
        ((-50.0, -50.0, -1.0, 20.0), True),
        ((10.0, -50.0, 20.0, -0.25), True),
        ((63.5, 10.0, 90.0, 20.0), True),
        ((10.0, 47.5, 20.0, 90.0), True),
        ((-50.0, -50.0, 0.0, 0.0), False),
        ((63.0, 47.0, 90.0, 90.0), False),
        ((-50.0, -50.0, 500.0, 500.0), False),
        ((50.0, 10.0, 60.0, 20.0), False),
    ],
)
def test_boxes_outside_the_picture(box, outside):
    assert outside_picture(box, width=64, height=48) is outside
