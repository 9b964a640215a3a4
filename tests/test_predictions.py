"""Predictions survive the trip to disk, and what is wrong in a file is named."""

import dataclasses
import json
import math

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
import pytest
from safetensors.numpy import save_file

from kdn.grid import Grid
from kdn.predictions import (
    COLUMNS,
    Maps,
    Predictions,
    PredictionsWriter,
    decoders_of,
    maps_path,
    read_maps,
    read_predictions,
    write_maps,
    write_predictions,
)

ARRAYS = [name for name, column in COLUMNS.items() if column.is_of("points")]
DECODERS = decoders_of("points")


@pytest.fixture
def predictions() -> Predictions:
    """Three samples of five landmarks with every field, one label not valid."""
    rng = np.random.default_rng(0)
    valid = np.ones((3, 5), bool)
    valid[1, 3] = False
    hidden = np.where(valid, 1.0, np.nan)
    log_prob = rng.normal(size=(3, 5)) * hidden
    log_prob[2, 0] = -np.inf
    return Predictions(
        id=("a", "b", "ç"),
        path=("a.png", "", "c.png"),
        bbox=rng.normal(size=(3, 4)),
        crop_to_image=rng.normal(size=(3, 2, 3)),
        landmarks=rng.normal(size=(3, 5, 2)),
        **{name: rng.normal(size=(3, 5, 2)) for name in DECODERS},
        covariances=rng.normal(size=(3, 5, 3)),
        uncertainty=rng.uniform(size=(3, 5)),
        entropy=rng.normal(size=(3, 5)),
        target=rng.normal(size=(3, 5, 2)) * hidden[..., None],
        valid=valid,
        visible=rng.uniform(size=(3, 5)) < 0.5,
        log_prob=log_prob,
        hdr_level=rng.uniform(size=(3, 5)) * hidden,
        hdr_areas=rng.uniform(size=(3, 5, 4)),
        hdr_tie=rng.uniform(size=(3, 5)) * hidden,
        energy_score=rng.uniform(size=(3, 5)) * hidden,
        mass_within=rng.uniform(size=(3, 5, 2)),
        error_probability=rng.uniform(size=(3, 5)),
        known=rng.uniform(size=(3, 5)) < 0.5,
        attributes={"pose": ["left", None, "right"], "age": [31, None, 4.5]},
        metadata={
            "markup": "five",
            "decoder": "mean",
            "radii": [5, 7.5],
            "recipe": {"seed": 3, "sources": ["x"]},
        },
    )


def assert_same(got: Predictions, wanted: Predictions) -> None:
    assert got.id == wanted.id
    assert got.path == wanted.path
    assert got.metadata == wanted.metadata
    assert got.attributes == wanted.attributes
    for name in ARRAYS:
        one, other = getattr(got, name), getattr(wanted, name)
        assert (one is None) == (other is None), name
        if other is not None:
            assert one.dtype == other.dtype, name
            np.testing.assert_array_equal(one, other, err_msg=name)


def write_table(path, columns: dict, metadata: dict | None = None) -> None:
    table = pa.table(columns)
    if metadata is not None:
        table = table.replace_schema_metadata({b"kdn": json.dumps(metadata).encode()})
    pq.write_table(table, path)


def test_round_trip(tmp_path, predictions):
    path = tmp_path / "new" / "test.parquet"
    write_predictions(path, predictions)
    assert_same(read_predictions(path), predictions)
    assert [entry.name for entry in path.parent.iterdir()] == ["test.parquet"]


@pytest.mark.parametrize("without", ["labels", "density", "all"])
def test_round_trip_of_missing_fields(tmp_path, predictions, without):
    at_target = ("log_prob", "hdr_level", "hdr_tie", "energy_score")
    labels = ("target", "valid", "visible", *at_target)
    density = ("covariances", "uncertainty", "entropy", "hdr_areas", *at_target, *DECODERS)
    dropped = {"labels": labels, "density": density, "all": set(ARRAYS) - {"landmarks"}}[without]
    fewer = dataclasses.replace(predictions, **dict.fromkeys(dropped))
    write_predictions(tmp_path / "p.parquet", fewer)
    got = read_predictions(tmp_path / "p.parquet")
    assert_same(got, fewer)
    columns = pq.read_schema(tmp_path / "p.parquet").names
    assert not set(columns) & set(dropped)
    assert tuple(got.decoders) == (DECODERS if without == "labels" else ())


def test_columns_are_those_of_the_format(tmp_path, predictions):
    write_predictions(tmp_path / "p.parquet", predictions)
    schema = pq.read_schema(tmp_path / "p.parquet")
    doubles = {"bbox": 4, "crop_to_image": 6, "landmarks": 10, "covariances": 15, "entropy": 5}
    for name, size in doubles.items():
        assert schema.field(name).type == pa.list_(pa.float64(), size), name
    assert schema.field("visible").type == pa.list_(pa.bool_(), 5)
    row = pq.read_table(tmp_path / "p.parquet")["landmarks"][1].as_py()
    np.testing.assert_array_equal(row[2:4], predictions.prediction[1, 1])  # x, y of landmark 1


def test_other_peoples_files(tmp_path):
    """Float32, lists of variable type, null rows, null columns and no metadata are all fine."""
    path = tmp_path / "theirs.parquet"
    columns = {
        "id": ["a", "b"],
        "landmarks": pa.array([[1, 2, 3, 4, 5, 6]] * 2, pa.list_(pa.float32())),
        "target": pa.array([None, [1, 2, 3, 4, None, 6]], pa.list_(pa.float64())),
        "uncertainty": pa.nulls(2),
        "note": ["x", "y"],
    }
    write_table(path, columns)
    got = read_predictions(path)
    assert got.prediction.dtype == np.float64
    assert got.prediction.shape == (2, 3, 2)
    np.testing.assert_array_equal(got.valid, [[False] * 3, [True, True, False]])
    assert got.uncertainty is None
    assert got.path is None
    assert got.markup is None


def test_labels_say_what_is_valid(predictions):
    inferred = dataclasses.replace(predictions, valid=None)
    np.testing.assert_array_equal(inferred.valid, predictions.valid)


def test_a_column_of_ones_own(tmp_path):
    path = tmp_path / "more.parquet"
    columns = {
        "id": ["a", "b", "c"],
        "landmarks": [[1.0, 2.0]] * 3,
        "pose": ["left", None, "right"],
        "indoor": [True, False, True],
        "smile": [True, None, False],
        "age": [31, None, 4],
    }
    write_table(path, columns)
    got = read_predictions(path)
    assert got.attribute("pose").tolist() == ["left", "", "right"]
    assert got.attribute("indoor").tolist() == [True, False, True]
    assert got.attribute("smile").tolist() == ["true", "", "false"]
    np.testing.assert_array_equal(got.attribute("age"), [31.0, np.nan, 4.0])
    with pytest.raises(ValueError, match=r"column 'sex' is missing, there are"):
        got.attribute("sex")


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"landmarks": [[1.0, 2.0]]}, "column 'id' is missing"),
        ({"id": ["a"]}, "no column landmarks, values or of a number for each sample"),
        ({"id": [1], "landmarks": [[1.0, 2.0]]}, "column 'id' must hold strings, got int64"),
        ({"id": ["a"], "landmarks": [3.0]}, "'landmarks' must hold lists of numbers, got double"),
        ({"id": ["a"], "landmarks": [["x", "y"]]}, "column 'landmarks' must hold double"),
        ({"id": ["a"], "landmarks": [[1.0, 2.0, 3.0]]}, r"lists of 2, got 3"),
        ({"id": ["a", "b"], "landmarks": [[1.0, 2.0], None]}, "'landmarks' must be given in every"),
        (
            {"id": ["a", "b"], "landmarks": [[1.0, 2.0], [1.0]]},
            r"column 'landmarks' must hold lists of one length, got \[1, 2\]",
        ),
        (
            {"id": ["a"], "landmarks": [[1.0, 2.0]], "covariances": [[1.0, 2.0]]},
            r"column 'covariances' must hold lists of 3, got 2",
        ),
        (
            {"id": ["a"], "landmarks": [[1.0, 2.0]], "log_prob": [[1.0]]},
            "target must be given where log_prob",
        ),
        (
            {"id": ["a"], "landmarks": [[1.0, 2.0]], "valid": [[None]]},
            "column 'valid' must not have nulls inside",
        ),
        (
            {
                "id": ["a"],
                "landmarks": [[1.0, 2.0]],
                "target": [[1.0, 2.0]],
                "log_prob": [[float("nan")]],
            },
            "log_prob must be a number where valid, .* in 1 samples, the first being 'a'",
        ),
        (
            {
                "id": ["a", "b"],
                "landmarks": [[1.0, 2.0]] * 2,
                "target": [[1.0, 2.0]] * 2,
                "hdr_level": [[0.2], [43.0]],
            },
            "hdr_level must be between 0 and 1 where valid, .* 1 samples, the first being 'b'",
        ),
        (
            {
                "id": ["a"],
                "landmarks": [[1.0, 2.0]],
                "target": [[float("inf"), 2.0]],
                "valid": [[True]],
            },
            "target must be finite where valid, which it is not in 1 samples",
        ),
    ],
)
def test_what_is_wrong_in_a_file_is_named(tmp_path, columns, message):
    path = tmp_path / "wrong.parquet"
    if columns.get("valid") == [[None]]:
        columns = {**columns, "valid": pa.array([[None]], pa.list_(pa.bool_()))}
    write_table(path, columns)
    with pytest.raises(ValueError, match=message) as caught:
        read_predictions(path)
    assert str(caught.value).startswith(f"{path}: ")


def test_a_file_that_is_no_parquet(tmp_path):
    path = tmp_path / "text.parquet"
    path.write_text("hello")
    with pytest.raises(ValueError, match=r"text\.parquet: not a Parquet file"):
        read_predictions(path)
    with pytest.raises(FileNotFoundError, match=r"none\.parquet: no such file"):
        read_predictions(tmp_path / "none.parquet")


def test_a_failed_write_leaves_the_old_file(tmp_path, predictions):
    path = tmp_path / "p.parquet"
    write_predictions(path, predictions)
    before = path.read_bytes()
    bad = dataclasses.replace(predictions, metadata={"recipe": object(), "radii": [1, 2]})
    with pytest.raises(TypeError):
        write_predictions(path, bad)
    assert path.read_bytes() == before
    assert len(list(tmp_path.iterdir())) == 1


def test_empty_files(tmp_path):
    """Without a row the number of landmarks may be known, from lists of fixed size, or not."""
    for kind, landmarks in ((pa.list_(pa.float64(), 6), 3), (pa.list_(pa.float64()), 0)):
        columns = {"id": pa.array([], pa.string()), "landmarks": pa.array([], kind)}
        write_table(tmp_path / "none.parquet", columns)
        assert read_predictions(tmp_path / "none.parquet").prediction.shape == (0, landmarks, 2)


def test_null_rows_of_fixed_size_in_several_pieces(tmp_path):
    """What a null row holds in memory must not slip into another row."""
    points = [[1.0, 2.0, 3.0, 4.0], None, None, [5.0, 6.0, 7.0, 8.0], [9.0, 10.0, 11.0, 12.0]]
    seen = [None, [True, False], [True, True], None, [False, True]]
    columns = {
        "id": list("abcde"),
        "landmarks": pa.array([[0.0] * 4] * 5, pa.list_(pa.float32(), 4)),
        "target": pa.array(points, pa.list_(pa.float64(), 4)),
        "visible": pa.array(seen, pa.list_(pa.bool_(), 2)),
    }
    pq.write_table(pa.table(columns), tmp_path / "p.parquet", row_group_size=2)
    got = read_predictions(tmp_path / "p.parquet")
    assert got.target is not None
    wanted = [row or [math.nan] * 4 for row in points]
    np.testing.assert_array_equal(got.target.reshape(5, 4), wanted)
    np.testing.assert_array_equal(got.visible, [row or [False] * 2 for row in seen])


@pytest.mark.parametrize("text", ["[1, 2]", "{"])
def test_metadata_that_are_no_object(tmp_path, text):
    path = tmp_path / "wrong.parquet"
    table = pa.table({"id": ["a"], "landmarks": [[1.0, 2.0]]})
    pq.write_table(table.replace_schema_metadata({b"kdn": text.encode()}), path)
    with pytest.raises(ValueError, match=r"wrong\.parquet: "):
        read_predictions(path)


def test_taking_samples(predictions):
    got = predictions.take(np.array([2, 0]))
    assert got.id == ("ç", "a")
    assert got.path == ("c.png", "a.png")
    for name in ARRAYS:
        np.testing.assert_array_equal(getattr(got, name), getattr(predictions, name)[[2, 0]])
    assert got.metadata == predictions.metadata
    assert got.attributes == {"pose": ["right", "left"], "age": [4.5, 31]}
    fewer = dataclasses.replace(predictions, path=None, mode=None).take(np.array([1]))
    assert (fewer.path, fewer.mode, len(fewer)) == (None, None, 1)


def test_shapes_are_checked(predictions):
    with pytest.raises(ValueError, match=r"id must have 3 entries, got 2"):
        dataclasses.replace(predictions, id=("a", "b"))


@pytest.fixture
def maps() -> Maps:
    rng = np.random.default_rng(1)
    return Maps(
        ids=("a", "b"),
        crops=rng.integers(0, 255, (2, 20, 28, 3), dtype=np.uint8),
        log_probs=rng.normal(size=(2, 3, 5, 7)).astype(np.float16),
        target=rng.normal(size=(2, 3, 2)).astype(np.float32),
        visible=rng.uniform(size=(2, 3)) < 0.5,
        grid=Grid.of_heatmap(height=5, width=7, stride=4),
        markup="three",
        head="kdn_gaussian",
    )


def test_maps_round_trip(tmp_path, maps):
    path = maps_path(tmp_path / "test.parquet")
    write_maps(path, maps)
    got = read_maps(path)
    for field in dataclasses.fields(Maps):
        one, other = getattr(got, field.name), getattr(maps, field.name)
        if isinstance(other, np.ndarray):
            assert one.dtype == other.dtype, field.name
            np.testing.assert_array_equal(one, other)
        else:
            assert one == other, field.name


def test_what_is_wrong_in_a_file_of_maps_is_named(tmp_path, maps):
    path = tmp_path / "m.maps.safetensors"
    path.write_text("hello")
    with pytest.raises(ValueError, match=r"m\.maps\.safetensors: not a safetensors file"):
        read_maps(path)
    save_file({"crops": maps.crops}, path)
    with pytest.raises(ValueError, match=r"m\.maps\.safetensors: tensor 'log_probs' is missing"):
        read_maps(path)
    with pytest.raises(ValueError, match=r"log_probs must have shape \(2, 3, 7, 5\)"):
        dataclasses.replace(maps, grid=Grid.of_heatmap(height=7, width=5, stride=4))


def test_chunks_are_written_as_they_come(tmp_path, predictions):
    """A group of rows for each; nothing is at the file's name before the end."""
    path = tmp_path / "p.parquet"
    whole = {"pose": ["left", None, "right"], "age": [31, None, 4.5]}
    with PredictionsWriter(path, {"radii": [5, 7.5]}, attributes=whole) as writer:
        for rows in ([0, 1], [2], []):
            chunk = predictions.take(np.array(rows, np.int64))
            writer.write(chunk)
            assert not path.exists()
        writer.metadata["skipped"] = ["d.png"]
    assert pq.ParquetFile(path).num_row_groups == 3
    wanted = {"radii": [5, 7.5], "skipped": ["d.png"]}
    assert_same(read_predictions(path), dataclasses.replace(predictions, metadata=wanted))
    assert [entry.name for entry in tmp_path.iterdir()] == ["p.parquet"]


def test_what_cannot_be_written_in_chunks(tmp_path, predictions):
    path = tmp_path / "p.parquet"
    fewer = dataclasses.replace(predictions, mode=None)
    with PredictionsWriter(path) as writer:
        writer.write(predictions)
        with pytest.raises(ValueError, match=r"p\.parquet: a chunk has other columns .*mode"):
            writer.write(fewer)
    path.unlink()
    with (
        pytest.raises(ValueError, match=r"p\.parquet: no predictions to write"),
        PredictionsWriter(path),
    ):
        pass
    with pytest.raises(ValueError, match=r"p\.csv: points are written to \.parquet, not \.csv"):
        write_predictions(tmp_path / "p.csv", predictions)
    assert list(tmp_path.iterdir()) == []


def test_concatenating_is_the_inverse_of_taking(predictions):
    chunks = [predictions.take(np.array(rows)) for rows in ([0], [1, 2])]
    assert_same(Predictions.concatenate(chunks), predictions)
    with pytest.raises(ValueError, match="chunks must hold at least one"):
        Predictions.concatenate([])
    with pytest.raises(ValueError, match="chunks must have the same columns, one has no mode"):
        Predictions.concatenate([chunks[0], dataclasses.replace(chunks[1], mode=None)])


def test_every_column_is_a_field_and_only_they_are():
    fields = [field.name for field in dataclasses.fields(Predictions)]
    assert [name for name in fields if name in COLUMNS] == list(COLUMNS)
    assert set(fields) - set(COLUMNS) == {"id", "path", "attributes", "metadata"}


@pytest.mark.parametrize("kind", ["parquet", "csv"])
def test_files_of_earlier_versions(tmp_path, kind):
    """Scalars had a column each, and other names for the deviation and the CRPS."""
    columns = {
        "id": ["a", "b"],
        "age": [31.0, 4.0],
        "age_target": [30.0, None],
        "age_deviation": [2.0, 3.0],
        "age_crps": [0.5, None],
        "crps": [7.0, 8.0],
    }
    path = tmp_path / f"old.{kind}"
    if kind == "csv":
        lines = [",".join(columns)]
        lines += [
            ",".join("" if v is None else str(v) for v in row)
            for row in zip(*columns.values(), strict=True)
        ]
        path.write_text("\n".join(lines) + "\n")
    else:
        write_table(path, columns, {"values": ["age"], "rounding": 1.0})
    got = read_predictions(path)
    assert got.names == ("age",)
    assert got.rounding == (1.0 if kind == "parquet" else 0.0)
    np.testing.assert_array_equal(got.uncertainty, [[2.0], [3.0]])
    np.testing.assert_array_equal(got.energy_score, [[0.5], [np.nan]])
    np.testing.assert_array_equal(got.valid, [[True], [False]])
    assert got.attributes == {"crps": [7.0, 8.0]}
