"""The mark-ups of the package, and those that users describe in a YAML file."""

import re
from pathlib import Path

import pytest
import torch

from kdn.data.markup import (
    FACE68,
    MARKUPS,
    Markup,
    content_of_markup,
    facts_of_markup,
    markup_named,
    markup_of_content,
    markup_of_count,
    markup_of_facts,
    read_markup,
)
from kdn.models.checkpoint import load_model, save_model
from kdn.models.model import build_model
from kdn.recipe import Recipe

PAGE = """\
name: mouse
names: [nose, left ear, right ear, tail]
flip: [[left ear, right ear]]
eye_corners: [left ear, 2]
pair: [nose, 3]
eyes: [[1], [2]]
groups: {ears: [1, right ear], middle: [nose, tail]}
edges: [[nose, left ear], [0, 2], [0, 3]]
"""
MOUSE = Markup(
    name="mouse",
    landmarks=4,
    flip=(0, 2, 1, 3),
    eye_corners=(1, 2),
    eyes=((1,), (2,)),
    pair=(0, 3),
    groups={"ears": (1, 2), "middle": (0, 3)},
    edges=((0, 1), (0, 2), (0, 3)),
    names=("nose", "left ear", "right ear", "tail"),
)


def write(folder: Path, text: str) -> Path:
    path = folder / "mouse.yaml"
    path.write_text(text)
    return path


def swapped(name: str) -> str:
    """Return a name with the person's other side."""
    other = {"left": "right", "right": "left"}
    return re.sub(r"\b(left|right)\b", lambda match: other[match[0]], name)


@pytest.mark.parametrize("name", sorted(MARKUPS))
def test_every_landmark_has_a_name_whose_other_side_it_mirrors_into(name):
    markup = MARKUPS[name]
    assert markup.name == name
    assert len(markup.names) == markup.landmarks
    # Numbered parts run along the mark-up, not along the mirror: only the side must change.
    sides = [re.sub(r" \d+$", "", text) for text in markup.names]
    for i, j in enumerate(markup.flip):
        if re.search(r"left|right", markup.names[i]):
            assert i != j
            assert swapped(sides[i]) == sides[j]
            assert (
                re.search(r"\d+$", markup.names[i]) or swapped(markup.names[i]) == markup.names[j]
            )
        else:
            assert sides[i] == sides[j]


@pytest.mark.parametrize("name", sorted(MARKUPS))
def test_mirrors_keep_groups_lines_and_eyes(name):
    markup = MARKUPS[name]
    assert sorted(i for group in markup.groups.values() for i in group) == list(
        range(markup.landmarks)
    )
    for group in markup.groups.values():
        assert {markup.flip[i] for i in group} == set(group)
    lines = {frozenset(edge) for edge in markup.edges}
    assert {frozenset(markup.flip[i] for i in edge) for edge in lines} == lines
    if markup.eyes is not None:
        assert {markup.flip[i] for i in markup.eyes[0]} == set(markup.eyes[1])
        assert all("right" in markup.names[i] for i in markup.eyes[0])
    if markup.eye_corners is not None:
        assert markup.flip[markup.eye_corners[0]] == markup.eye_corners[1]
        assert markup.names[markup.eye_corners[0]] == "right eye outer corner"


@pytest.mark.parametrize(
    ("name", "middle"),
    [
        ("face98", {16, *range(51, 55), 57, 79, 85, 90, 94}),
        ("face29", {20, 21, *range(24, 29)}),
        ("face19", {13, 16, 18}),
        ("face5", {2}),
        ("xm2vts68", {7, 41, 51, 57, 61, 64, 66, 67}),
        ("body17", {0}),
    ],
)
def test_what_lies_in_the_middle_stays(name, middle):
    assert {i for i, j in enumerate(MARKUPS[name].flip) if i == j} == middle


def test_the_usual_markup_of_a_number_of_landmarks():
    assert [markup_of_count(n).name for n in (68, 98, 29, 19, 5, 17)] == [
        *("face68", "face98", "face29", "face19", "face5", "body17")
    ]
    assert markup_of_count(7) == Markup(name="points7", landmarks=7, flip=tuple(range(7)))


def test_a_file_describes_a_markup(tmp_path):
    path = write(tmp_path, PAGE)
    assert read_markup(path) == markup_named(str(path)) == MOUSE
    assert markup_of_content(content_of_markup(MOUSE), where="there") == MOUSE
    whole = write(tmp_path, "name: pair\nlandmarks: 3\nflip: [2, 1, 0]\n")
    assert read_markup(whole) == Markup(name="pair", landmarks=3, flip=(2, 1, 0))
    for markup in MARKUPS.values():
        assert markup_of_content(content_of_markup(markup), where="there") == markup


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("name: mouse", "nam: mouse", "nam: no such field; there are name, landmarks"),
        ("name: mouse", "name: 3", "name: must be what the mark-up is called, got 3"),
        (
            "left ear, right ear, tail]",
            "ear, ear, tail]",
            "names: must be different ones, got 'ear'",
        ),
        ("names:", "landmarks: 5\nnames:", "names: must be 5, as landmarks says, got 4"),
        ("names:", "landmarks: no\nnames:", "landmarks: must be how many there are"),
        ("[[left ear, right ear]]", "[[left ear, 4]]", "flip: landmarks must be 0 to 3 or their"),
        (
            "[[left ear, right ear]]",
            "[[1, 2], [2, 3]]",
            "flip: must have each landmark in one pair",
        ),
        ("[[left ear, right ear]]", "[[1, 1]]", "flip: must be pairs of two landmarks"),
        (
            "[[left ear, right ear]]",
            "[0, 2, 3, 1]",
            "flip: must be its own inverse, got '1 mirrors",
        ),
        ("[[left ear, right ear]]", "[0, 2, 1]", "flip: must have each landmark of 0 to 3 once"),
        (
            "flip: [[left ear, right ear]]",
            "",
            "flip: must be the pairs that mirror into each other",
        ),
        ("[left ear, 2]", "[left ear]", "eye_corners: must be a list of 2"),
        ("[[1], [2]]", "[1, 2]", "eyes: must be a list of landmarks, got 1"),
        ("{ears: [1, right ear]", "{ears: [1, -1]", "groups: landmarks must be 0 to 3"),
        ("[0, 3]]", "[0, paw]]", "edges: landmarks must be 0 to 3 or their names, got 'paw'"),
        ("groups: {", "groups: {{", "not a YAML file"),
    ],
)
def test_what_is_wrong_with_a_file_is_said(old, new, said, tmp_path):
    assert old in PAGE
    path = write(tmp_path, PAGE.replace(old, new))
    with pytest.raises(ValueError, match=re.escape(f"{path}: {said}")):
        markup_named(str(path))


def test_names_of_the_package_are_taken(tmp_path):
    path = write(tmp_path, PAGE.replace("name: mouse", "name: face5"))
    with pytest.raises(ValueError, match=r"mouse\.yaml: name: face5 is the package's own"):
        markup_named(str(path))
    with pytest.raises(FileNotFoundError, match=r"none\.yaml: no such file"):
        markup_named(str(tmp_path / "none.yaml"))
    with pytest.raises(ValueError, match=r"or name a \.yaml file"):
        markup_named("mouse")


def test_facts_hold_what_the_package_does_not_know():
    assert facts_of_markup(FACE68) == {"markup": "face68"}
    assert markup_of_facts({"markup": "face68"}) is FACE68
    assert markup_of_facts(facts_of_markup(MOUSE)) == MOUSE
    for facts in ({}, {"markup": "mouse"}, {"markup": 3}):
        with pytest.raises(ValueError, match="no mark-up is named"):
            markup_of_facts(facts)
    with pytest.raises(ValueError, match="markup_content: flip: must be the pairs"):
        markup_of_facts({"markup_content": {"name": "mouse", "landmarks": 4}})


def test_a_checkpoint_needs_no_file_of_its_markup(tmp_path):
    path = write(tmp_path, PAGE)
    recipe = Recipe.of_dict(
        {
            "data": {"markup": str(path), "height": 32, "width": 48},
            "network": {"features": 8, "depth": 1},
        }
    )
    model = build_model(recipe).eval()
    save_model(tmp_path / "m.safetensors", model, {"epoch": 1})
    path.unlink()
    loaded, facts = load_model(tmp_path / "m.safetensors")
    assert loaded.labels.markup == MOUSE
    crops = torch.zeros(2, 3, 32, 48)
    torch.testing.assert_close(loaded.density(crops).mean, model.density(crops).mean)
    assert loaded.density(crops, flip=True).batch_shape == (2, 4)
    save_model(tmp_path / "again.safetensors", loaded, facts)
    assert load_model(tmp_path / "again.safetensors")[0].labels.markup == MOUSE
