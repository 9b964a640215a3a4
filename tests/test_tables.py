"""Tables of users' files: rows with their places, and what is wrong with those that are none."""

import json
import math

import pyarrow as pa
import pyarrow.parquet
import pytest

from kdn.data.numbers import length_of, probability_of
from kdn.data.tables import (
    Pairs,
    csv_table,
    json_content,
    json_rows,
    named_rows,
    parquet_table,
)

WANTED = [("a.jpg", "1.5"), ("b.jpg", "x")]


def test_csv_json_and_parquet_give_the_same_rows(tmp_path):
    csv_file, json_file, parquet_file = (tmp_path / f"t.{kind}" for kind in ("csv", "json", "pq"))
    csv_file.write_text("\ufeff Path ,AGE\na.jpg, 1.5\n\n b.jpg,x \n,3\nc.jpg\n", "utf-8")
    rows = [{"path": "a.jpg", "age": "1.5"}, {"path": "b.jpg", "age": "x"}, {"age": "3"}]
    json_file.write_text(json.dumps([*rows, 7]))
    pyarrow.parquet.write_table(pa.Table.from_pylist(rows), parquet_file)
    header, lines = csv_table(csv_file, casefold=True)
    columns, records = parquet_table(parquet_file)
    assert header == columns == ["path", "age"]
    entries = json_rows(json_file, json_content(json_file, pairs=True))
    nameless = "'file' (or path) must be a name"
    places = {"csv": (":2", ":4"), "json": (": entry 0", ": entry 1"), "pq": (": row 0", ": row 1")}
    wrong = {
        "csv": [f":5: {nameless}", ":6: 1 cells, the header has 2"],
        "json": [f": entry 2: {nameless}", ": entry 3: must be an object"],
        "pq": [f": row 2: {nameless}"],
    }
    for kind, table in (("csv", lines), ("json", entries), ("pq", records)):
        problems: list[str] = []
        named = list(named_rows(table, ("file", "path"), problems))
        file = tmp_path / f"t.{kind}"
        assert [(name, cells["age"]) for name, _, cells in named] == WANTED
        assert [place for _, place, _ in named] == [f"{file}{place}" for place in places[kind]]
        assert problems == [f"{file}{line}" for line in wrong[kind]]


def test_an_object_keeps_a_name_that_stands_there_twice(tmp_path):
    file = tmp_path / "t.json"
    file.write_text('[{"path": "a", "path": "b"}]')
    content = json_content(file, pairs=True)
    assert content == [Pairs([("path", "a"), ("path", "b")])]
    assert list(json_rows(file, content)) == [(f"{file}: entry 0", "a key stands there twice")]
    assert json_content(file) == [{"path": "b"}]


@pytest.mark.parametrize("read", [csv_table, parquet_table, json_content])
def test_a_file_of_another_kind_is_named(read, tmp_path):
    file = tmp_path / "odd.bin"
    file.write_bytes(b"\xff\xfe\x00i")
    with pytest.raises(ValueError, match=r"odd\.bin: not a "):
        read(file)


@pytest.mark.parametrize(
    ("text", "value"), [("5%", 0.05), (" 5 % ", 0.05), (".25", 0.25), ("0", 0)]
)
def test_probabilities(text, value):
    assert math.isclose(probability_of(text, name="abstain"), value, abs_tol=1e-15)


@pytest.mark.parametrize("text", ["-1", "1.01", "101%", "3px", "nan", "", "1_0%", "much"])
def test_what_is_no_probability_is_shown(text):
    with pytest.raises(ValueError, match="abstain must be a probability"):
        probability_of(text, name="abstain")


def test_lengths():
    assert length_of(" 2.5 px", 80.0, name="tau") == 2.5
    assert length_of("2.5 %", 80.0, name="tau") == 2.0
