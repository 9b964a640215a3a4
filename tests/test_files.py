"""Files appear whole, with usual permissions, or not at all."""

import os
import stat

import pytest

from kdn.data.paths import replacing


def test_a_file_is_replaced_in_one_move(tmp_path):
    path = tmp_path / "new" / "a.txt"
    with replacing(path) as temporary:
        temporary.write_text("first")
        assert not path.exists()
    assert path.read_text() == "first"
    with replacing(path) as temporary:
        temporary.write_text("second")
        assert path.read_text() == "first"
    assert path.read_text() == "second"
    assert [p.name for p in path.parent.iterdir()] == ["a.txt"]


def test_an_error_leaves_what_was_there(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("first")

    def spoil():
        with replacing(path) as temporary:
            temporary.write_text("half")
            raise RuntimeError("stop")

    with pytest.raises(RuntimeError, match="stop"):
        spoil()
    assert path.read_text() == "first"
    assert [p.name for p in tmp_path.iterdir()] == ["a.txt"]


def test_a_folder_in_the_way_is_named(tmp_path):
    (tmp_path / "taken").mkdir()
    with (
        pytest.raises(IsADirectoryError, match="taken: is a folder"),
        replacing(tmp_path / "taken"),
    ):
        pass


def test_permissions_are_those_of_any_new_file(tmp_path):
    """Some writers make their file readable by its owner alone."""
    before = os.umask(0o022)
    try:
        with replacing(tmp_path / "a.txt") as temporary:
            temporary.unlink()
            temporary.touch(mode=0o600)
        assert stat.S_IMODE((tmp_path / "a.txt").stat().st_mode) == 0o644
    finally:
        os.umask(before)
