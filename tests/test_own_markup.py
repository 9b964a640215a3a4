"""Training on a table with a mark-up of one's own, by the command line from end to end."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

import kdn
from kdn.cli import main
from kdn.data import Sample, SyntheticFaces, attribute_columns, load_samples
from kdn.data.convert import convert
from kdn.data.markup import markup_of_facts, read_markup
from kdn.predictions import read_predictions

PAGE = """\
name: eyes-nose-mouth
names: [right eye, left eye, nose tip, right corner, left corner]
flip: [[right eye, left eye], [right corner, left corner]]
eyes: [[right eye], [left eye]]
groups: {eyes: [0, 1], rest: [2, 3, 4]}
"""


def five_of(sample: Sample, index: int) -> Sample:
    """Return a drawn face with five landmarks, one of which has no position in every third."""
    at = sample.landmarks
    points = np.array([at[36:42].mean(axis=0), at[42:48].mean(axis=0), at[30], at[48], at[54]])
    valid = np.arange(5) != (index % 5 if index % 3 == 0 else -1)
    points[~valid] = np.nan
    attributes = {"age": float(index), "blur": index % 2 == 0}
    labels = {"landmarks": points, "valid": valid, "visible": valid, "attributes": attributes}
    return replace(sample, **labels, alternatives=None)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with labels, a trained model, and no YAML file any more."""
    folder = tmp_path_factory.mktemp("own")
    page = folder / "five.yaml"
    page.write_text(PAGE)
    drawn = SyntheticFaces(12, seed=2)
    faces = [five_of(drawn[i], i) for i in range(12)]
    convert(faces, f"{folder}/faces.csv", markup=read_markup(page))
    flags = [
        *("--data.train", f"table:{folder}/faces.csv", "--data.markup", str(page)),
        *("--data.height", "32", "--data.width", "48", "--network.features", "8"),
        *("--network.depth", "1", "--optimise.epochs", "1", "--optimise.batch", "4"),
    ]
    assert main(["train", *flags, "--out", f"{folder}/run", "--quiet"]) == 0
    page.unlink()
    return folder


def test_a_model_and_its_predictions_need_no_file_of_the_markup(run, capsys):
    best, out = str(run / "run" / "best.safetensors"), run / "p.parquet"
    assert kdn.load(best).markup.names[2] == "nose tip"
    data = ["--data", f"table:{run}/faces.csv", "--device", "cpu"]
    assert main(["predict", "--model", best, *data, "--out", str(out)]) == 0
    got = read_predictions(out)
    assert got.prediction.shape == (12, 5, 2)
    assert markup_of_facts(got.metadata).groups == {"eyes": (0, 1), "rest": (2, 3, 4)}
    assert got.valid is not None
    assert got.valid.sum() == 12 * 5 - 4
    capsys.readouterr()
    assert main(["evaluate", str(out), "--bootstrap", "5"]) == 0
    said = capsys.readouterr().out
    assert "NME inter-pupil" in said
    assert "NME box, rest" in said
    columns = pq.read_table(out).to_pydict()
    assert columns["age"] == [float(i) for i in range(12)]
    assert columns["blur"] == [i % 2 == 0 for i in range(12)]


def test_a_recipe_that_holds_its_markup_is_all_that_is_written(run, tmp_path):
    lines = [f"  train: 'table:{run}/faces.csv'", "  height: 32", "  width: 48", "  markup:"]
    lines += [f"    {line}" for line in PAGE.splitlines()]
    network = "network: {features: 8, depth: 1}\noptimise: {epochs: 1, batch: 4}\n"
    (tmp_path / "all.yaml").write_text("\n".join(["data:", *lines, network]))
    command = ["train", "--recipe", f"{tmp_path}/all.yaml", "--out", f"{tmp_path}/run", "--quiet"]
    assert main(command) == 0
    assert main([*command, "--resume"]) == 0
    again = ["--recipe", f"{tmp_path}/run/recipe.json", "--out", f"{tmp_path}/other", "--quiet"]
    assert main(["train", *again]) == 0
    for name in ("run", "other"):
        markup = kdn.load(f"{tmp_path}/{name}/best.safetensors").markup
        assert markup.names[2] == "nose tip"
        assert markup.eyes == ((0,), (1,))


def test_labels_of_any_source_score_other_systems(run, tmp_path, capsys):
    faces = load_samples(f"table:{run}/faces.csv", None)
    lines = ["id," + ",".join(f"{axis}{i}" for i in range(5) for axis in "xy")]
    for face in faces:
        points = np.add(np.nan_to_num(face.landmarks, nan=1.0), (3.0, 4.0))
        lines.append(",".join([face.id, *map(repr, points.ravel().tolist())]))
    (tmp_path / "theirs.csv").write_text("\n".join(lines))
    arguments = [str(tmp_path / "theirs.csv"), "--labels", f"table:{run}/faces.csv"]
    assert main(["evaluate", *arguments, "--bootstrap", "5"]) == 0
    row = next(r for r in capsys.readouterr().out.splitlines() if "mean error" in r)
    assert float(row.split()[2]) == pytest.approx(5.0)


def test_attributes_as_columns(run):
    faces = load_samples(f"table:{run}/faces.csv", None)[:2]
    odd = [faces[0], replace(faces[1], attributes={"age": "old"})]
    rows = [faces[1].id, "no such face", faces[0].id]
    assert attribute_columns(odd, rows) == {
        "age": ["old", None, "0.0"],
        "blur": [None, None, True],
    }
