"""Mark-ups: the mirror of the 68 points, and what a mark-up refuses."""

import pytest

from kdn.data.markup import FACE68, Markup, markup_named

# The 68 points of a symmetric face drawn by hand on a sheet 100 wide, so that the mirror image of
# a landmark is the landmark at 100 − x on the same height. Only left (as seen) and middle ones.
HALF_FACE = {
    **{i: (5 + i, 40 + 6 * i) for i in range(8)},  # jaw
    **{17 + i: (15 + 6 * i, 25 - i) for i in range(5)},  # brow
    **{27 + i: (50, 40 + 4 * i) for i in range(4)},  # bridge of the nose
    8: (50, 95),
    31: (40, 58),
    32: (45, 59),
    33: (50, 60),
    36: (20, 40),
    37: (25, 37),
    38: (31, 37.5),
    39: (36, 40),
    40: (31, 42),
    41: (25, 42.5),
    48: (33, 75),
    49: (38, 72),
    50: (44, 71),
    51: (50, 72),
    57: (50, 82),
    58: (44, 81),
    59: (38, 79),
    60: (35, 75.5),
    61: (43, 74),
    62: (50, 74.5),
    66: (50, 78),
    67: (43, 77.5),
}


def test_flip_is_the_mirror_of_a_face_drawn_by_hand() -> None:
    for left, right in enumerate(FACE68.flip):
        if left in HALF_FACE:
            x, _ = HALF_FACE[left]
            assert (right == left) == (x == 50), left
            assert right == left or right not in HALF_FACE, (left, right)


@pytest.mark.parametrize(
    ("here", "there"),
    [
        *((0, 16), (7, 9), (17, 26), (21, 22), (31, 35), (32, 34)),
        *((36, 45), (39, 42), (37, 44), (38, 43), (40, 47), (41, 46)),
        *((48, 54), (49, 53), (50, 52), (58, 56), (59, 55), (60, 64), (61, 63), (67, 65)),
    ],
)
def test_pairs_of_the_flip(here: int, there: int) -> None:
    assert FACE68.flip[here] == there
    assert FACE68.flip[there] == here


def test_landmarks_in_the_middle_stay() -> None:
    stay = [i for i, j in enumerate(FACE68.flip) if i == j]
    assert stay == [8, 27, 28, 29, 30, 33, 51, 57, 62, 66]


def test_flip_keeps_groups_and_lines() -> None:
    for name, group in FACE68.groups.items():
        assert {FACE68.flip[i] for i in group} == set(group), name
    lines = {frozenset(edge) for edge in FACE68.edges}
    assert {frozenset(FACE68.flip[i] for i in edge) for edge in lines} == lines


def test_groups_cover_every_landmark_once() -> None:
    assert sorted(i for group in FACE68.groups.values() for i in group) == list(range(68))


def test_eyes_and_their_corners() -> None:
    assert FACE68.eye_corners is not None
    assert FACE68.eyes is not None
    assert tuple(FACE68.flip[i] for i in FACE68.eye_corners) == FACE68.eye_corners[::-1]
    left, right = FACE68.eyes
    outermost = min(left, key=lambda i: HALF_FACE[i][0])
    assert FACE68.eye_corners[0] == outermost
    assert {FACE68.flip[i] for i in left} == set(right)
    assert [FACE68.eye_corners[0] in left, FACE68.eye_corners[1] in right] == [True, True]
    assert sorted(left + right) == sorted(FACE68.groups["eyes"])


def test_lines_done_by_hand() -> None:
    # Nine lines: seven in the open with one edge fewer than landmarks, closed ones with as many.
    assert len(FACE68.edges) == 16 + 4 + 4 + 3 + 4 + 6 + 6 + 12 + 8
    assert (41, 36) in FACE68.edges
    assert (16, 17) not in FACE68.edges


def test_markup_by_name() -> None:
    assert markup_named("face68") is FACE68
    with pytest.raises(ValueError, match=r"no mark-up is named 'face99'; there are body17, face19"):
        markup_named("face99")


@pytest.mark.parametrize(
    ("how", "said"),
    [
        ({"flip": (0, 1)}, "permutation of 0…2"),
        ({"flip": (0, 1, 1)}, "permutation of 0…2"),
        ({"flip": (1, 2, 0)}, "its own inverse"),
        ({"flip": (1, 0, 2), "eye_corners": (0, 3)}, "0 to 2"),
        ({"flip": (1, 0, 2), "eyes": ((0,), (-1,))}, "0 to 2"),
        ({"flip": (1, 0, 2), "groups": {"all": (0, 1, 3)}}, "0 to 2"),
        ({"flip": (1, 0, 2), "edges": ((0, 3),)}, "0 to 2"),
        ({"flip": (1, 0, 2), "names": ("left", "right")}, "3 different ones or none, got 2"),
        ({"flip": (1, 0, 2), "names": ("a", "b", "a")}, "got 3, of which 2 differ"),
    ],
)
def test_wrong_markups_are_refused(how: dict, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        Markup(name="three", landmarks=3, **how)


def test_a_markup_of_ones_own() -> None:
    three = Markup(name="three", landmarks=3, flip=(1, 0, 2), edges=((0, 2), (2, 1)))
    assert three.eyes is None
    assert three.groups == {}
    assert three.names == ()


def test_names_say_the_persons_own_side() -> None:
    """The landmark on the left of a picture is the person's right one, and mirrors to the left."""
    names = FACE68.names
    assert len(set(names)) == len(names) == 68
    right = {i for i, name in enumerate(names) if "right" in name}
    assert right == {*range(17, 22), *range(36, 42), 48, 60}
    assert {FACE68.flip[i] for i in right} == {i for i, name in enumerate(names) if "left" in name}
    for i in right - set(range(17, 22)):  # brows are numbered along the mark-up
        assert names[FACE68.flip[i]] == names[i].replace("right", "left")
    for i in right & set(HALF_FACE):
        assert HALF_FACE[i][0] < 50, names[i]


@pytest.mark.parametrize(
    ("landmark", "name"),
    [
        *((0, "jaw 1"), (16, "jaw 17"), (17, "right brow 1"), (22, "left brow 1")),
        *((27, "nose bridge 1"), (30, "nose tip"), (33, "nostrils 3")),
        *((36, "right eye outer corner"), (42, "left eye inner corner")),
        *((45, "left eye outer corner"), (47, "left eye lower inner"), (54, "mouth left corner")),
        *((51, "upper lip 3"), (57, "lower lip 3"), (62, "inner upper lip 2")),
        (66, "inner lower lip 2"),
    ],
)
def test_names_of_some_landmarks(landmark: int, name: str) -> None:
    assert FACE68.names[landmark] == name
