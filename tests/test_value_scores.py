"""Predicted values: their scores against formulas and scoringrules, and their files."""

import json
import math
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import scoringrules
import torch
from scipy import stats

from kdn.data import ScalarLabels
from kdn.evaluate import Resamples, evaluate, icc31, interval
from kdn.grid import Grid
from kdn.models.heads.gaussian import Gaussian
from kdn.predict.columns import density_columns
from kdn.predict.ensemble import Look
from kdn.predictions import (
    COLUMNS,
    QUANTILES,
    Predictions,
    PredictionsWriter,
    holds_scalars,
    read_predictions,
    write_predictions,
)

N, ROUNDING = 60, 2.0
AXIS = Grid.of_interval(10.0, 90.0, step=4.0)
REACH = 42.0  # half of 8 … 92
NAMES = ("age", "weight")


def drawn(*, width: float = 1.0, count: int = N, rounding: float = ROUNDING, seed: int = 0):
    """Return predictions of labels drawn from Gaussians, said to be `width` times as wide.

    Returns:
        The predictions, and the means and deviations that they were said to have.
    """
    rng = np.random.default_rng(seed)
    mean = rng.uniform(20, 80, (count, 2))
    true = rng.uniform(2.0, 9.0, (count, 2))
    target = mean + true * rng.normal(size=(count, 2))
    target = np.round(target / rounding) * rounding if rounding else target
    target[1::4, 1] = np.nan
    target[2] = np.nan
    said = width * true
    head = Gaussian(2, AXIS, rounding)
    log_scale = 6 * np.arctanh(np.log(said / (REACH / 4)) / 6)
    outputs = torch.from_numpy(np.concatenate([(mean - 50) / REACH, log_scale], axis=1))
    density, labels = head.density(outputs), ScalarLabels(NAMES, AXIS, rounding)
    look = Look(density, density)
    columns = density_columns(look, target, labels=labels, decode=head.decode)
    columns["values"] = columns["mean"]
    found = Predictions(
        id=tuple(f"face {i}" for i in range(count)),
        path=tuple(f"faces/{i}.png" for i in range(count)),
        attributes={"group": ["a", "b"] * (count // 2)},
        metadata={
            "names": list(NAMES),
            "head": "gaussian",
            "decoder": "mean",
            "rounding": rounding,
        },
        **columns,
    )
    return found, mean, said


@pytest.fixture(scope="module")
def found() -> Predictions:
    return drawn()[0]


def test_columns_are_scipy_s_and_scoringrules():
    predictions, mean, said = drawn()
    own, target = stats.norm(mean, said), predictions.target
    assert target is not None
    known = ~np.isnan(target)
    assert known.sum(axis=0).tolist() == [59, 44]
    low, high = own.cdf(target - ROUNDING / 2), own.cdf(target + ROUNDING / 2)
    wanted = {
        "values": mean,
        "mean": mean,
        "median": mean,
        "mode": mean,
        "uncertainty": said,
        "cdf_low": low,
        "cdf_high": high,
        "log_prob": np.log((high - low) / ROUNDING),
        "energy_score": scoringrules.crps_normal(target, mean, said),
    }
    for name, values in wanted.items():
        got = getattr(predictions, name)
        assert name in ("values", "mean", "median", "mode", "uncertainty") or np.array_equal(
            np.isnan(got), ~known
        )
        np.testing.assert_allclose(got, values, rtol=1e-6, atol=1e-9, err_msg=name)
    levels = np.array(QUANTILES)
    quantiles = mean[..., None] + said[..., None] * stats.norm.ppf(levels)
    assert predictions.quantiles is not None
    np.testing.assert_allclose(predictions.quantiles, quantiles, rtol=1e-9)


def test_scores_are_their_formulas(found):
    result = evaluate(found, within=4, at_least=55, bootstrap=0)
    assert result.samples == 59
    assert result.labels == 59 + 44
    assert result.left_out == ("face 2",)
    target, value = found.target, found.values
    means: dict[str, list[float]] = {}
    for column, name in enumerate(NAMES):
        known = ~np.isnan(target[:, column])
        y, x = target[known, column], value[known, column]
        both = (y >= 55) & (x >= 55)
        low, high = (getattr(found, f"cdf_{end}")[known, column] for end in ("low", "high"))
        quantiles = found.quantiles[known, column]
        wanted = {
            "MAE": np.abs(x - y).mean(),
            "bias": (x - y).mean(),
            "CS@4": 100 * (np.abs(x - y) <= 4).mean(),
            "ICC(3,1)": icc31(np.stack([y, x], 1), Resamples(len(y))).item(),
            "F1 at ≥ 55": 2 * both.sum() / ((y >= 55).sum() + (x >= 55).sum()),
            "NLL": -found.log_prob[known, column].mean(),
            "CRPS": found.energy_score[known, column].mean(),
            "uncertainty": found.uncertainty[known, column].mean(),
            "width of 90 % intervals": (quantiles[:, 7] - quantiles[:, 1]).mean(),
        }
        # A transform that is even between its ends, by many points of each.
        parts = low + (high - low) * (np.arange(20_000)[:, None] + 0.5) / 20_000
        wanted["PIT mean"] = parts.mean()
        wanted["PIT variance × 12"] = 12 * parts.var()
        for nominal in (50, 80, 90, 95):
            ends = 0.5 - nominal / 200, 0.5 + nominal / 200
            inside = np.minimum(high, ends[1]) - np.maximum(low, ends[0])
            share = np.clip(inside, 0, None) / (high - low)
            wanted[f"{nominal} % intervals hold"] = 100 * share.mean()
        for score, expected in wanted.items():
            assert result[f"{name}: {score}"].value == pytest.approx(expected, rel=1e-8), score
            means.setdefault(score, []).append(float(expected))
    assert len(result.scores) % 3 == 0
    for score, values in means.items():
        assert result[f"mean of 2 values: {score}"].value == pytest.approx(np.mean(values))


def test_intervals_are_percentiles_over_resampled_samples(found):
    result = evaluate(found, bootstrap=200, seed=5)
    some = ~np.isnan(found.target).all(axis=1)
    counts = Resamples(59, 200, seed=5).counts[1:]
    error = np.abs(found.values - found.target)[some]
    replicates = []
    for column in range(2):
        known = ~np.isnan(error[:, column])
        weights = counts * known
        replicates.append(weights @ np.where(known, error[:, column], 0) / weights.sum(axis=1))
    for name, values in [
        ("age: MAE", replicates[0]),
        ("weight: MAE", replicates[1]),
        ("mean of 2 values: MAE", np.mean(replicates, axis=0)),
    ]:
        score = result[name]
        assert (score.low, score.high) == pytest.approx(interval(values)), name
        assert score.low < score.value < score.high
    again = evaluate(found, bootstrap=200, seed=5)
    assert again["age: CRPS"].low == result["age: CRPS"].low


@pytest.mark.parametrize("rounding", [0.0, ROUNDING])
def test_densities_that_are_right_hold_what_they_say_and_narrow_ones_do_not(rounding):
    count = 4000
    for width in (1.0, 0.5):
        predictions, _, _ = drawn(width=width, count=count, rounding=rounding, seed=3)
        result = evaluate(predictions, bootstrap=0)
        for nominal in (50, 80, 90, 95):
            share = nominal / 100
            error = 400 * math.sqrt(share * (1 - share) / count)  # four standard errors, in %
            held = result[f"age: {nominal} % intervals hold"].value
            assert (abs(held - nominal) < error) == (width == 1.0), (width, nominal, held)


def test_a_value_alone_and_one_without_labels(found):
    columns = {name: getattr(found, name) for name in COLUMNS}
    alone = replace(
        found,
        metadata={**found.metadata, "names": ["age"]},
        **{name: column[:, :1] for name, column in columns.items() if column is not None},
    )
    result = evaluate(alone, bootstrap=0)
    both = evaluate(found, bootstrap=0)
    assert result["MAE"].value == pytest.approx(both["age: MAE"].value)
    assert result["NLL"].unit == "nats"
    nothing = np.full_like(found.target, np.nan)
    nothing[:, 0] = found.target[:, 0]
    half = evaluate(replace(found, target=nothing, valid=None), bootstrap=0)
    assert math.isnan(half["weight: MAE"].value)
    assert half["mean of 2 values: MAE"].value == pytest.approx(both["age: MAE"].value)
    assert half.labels == 59


def test_what_cannot_be_scored(found):
    about = ["target", *(name for name, column in COLUMNS.items() if column.at_label)]
    with pytest.raises(
        ValueError, match=r"must have labels to be evaluated|must have valid labels, got none in 60"
    ):
        evaluate(replace(found, **dict.fromkeys(about)))
    with pytest.raises(
        ValueError, match=r"must have labels to be evaluated|must have valid labels, got none in 60"
    ):
        evaluate(found.with_labels(np.full((N, 2), np.nan)))
    value = found.values.copy()
    value[5, 0] = np.nan
    with pytest.raises(
        ValueError, match=r"values must be a number where the label is valid.*'face 5'"
    ):
        evaluate(replace(found, values=value))
    value = found.values.copy()
    value[1, 1] = value[2, 0] = np.nan  # neither has a label
    evaluate(replace(found, values=value), bootstrap=0)
    log_prob = found.log_prob.copy()
    log_prob[4, 1] = -np.inf
    said = evaluate(replace(found, log_prob=log_prob), bootstrap=0)
    assert said["weight: NLL"].value == math.inf
    log_prob[7, 0] = np.nan
    with pytest.raises(ValueError, match=r"log_prob must be a number where valid.* 'face 7'"):
        replace(found, log_prob=log_prob)
    parts = {name: getattr(found, name) for name in ("id", "metadata", "values")}
    with pytest.raises(ValueError, match=r"the 2 values, got names \('age',\)"):
        replace(found, metadata={"names": ["age"]})
    with pytest.raises(ValueError, match="covariances is of points, but these are scalars"):
        replace(found, covariances=np.zeros((N, 2, 3)))
    with pytest.raises(ValueError, match=r"mode must have shape \(60, 2\), got \(60, 1\)"):
        Predictions(**parts, mode=found.mode[:, :1])
    with pytest.raises(ValueError, match=r"quantiles must have shape \(60, 2, 9\)"):
        Predictions(**parts, quantiles=found.quantiles[..., :3])


@pytest.mark.parametrize("kind", ["parquet", "csv"])
def test_round_trips(kind, found, tmp_path):
    file = tmp_path / f"values.{kind}"
    write_predictions(file, found)
    assert holds_scalars(file) == (kind == "csv")
    back = read_predictions(file)
    assert back.id == found.id
    assert back.names == found.names
    assert back.path == found.path
    assert back.attributes == found.attributes
    for name in (
        "values", "target", "mean", "median", "mode", "uncertainty", "quantiles", "log_prob",
        "cdf_low", "cdf_high", "energy_score",
    ):  # fmt: skip
        np.testing.assert_array_equal(getattr(back, name), getattr(found, name), err_msg=name)
    assert back.rounding == (ROUNDING if kind == "parquet" else 0.0)
    one, other = (evaluate(part, bootstrap=0) for part in (found, back))
    assert [s.value for s in one.scores] == [s.value for s in other.scores]


@pytest.mark.parametrize("kind", ["csv", "json"])
def test_flat_files_in_chunks_are_those_in_one(kind, found, tmp_path):
    write_predictions(tmp_path / f"whole.{kind}", found)
    with PredictionsWriter(tmp_path / f"chunks.{kind}") as writer:
        for rows in (range(1), range(1, 40), range(40, N)):
            writer.write(found.take(np.array(rows)))
    texts = [(tmp_path / f"{name}.{kind}").read_text() for name in ("whole", "chunks")]
    assert texts[0] == texts[1]
    assert len(texts[0].splitlines()) > N


def test_json_has_no_nan(found, tmp_path):
    file = tmp_path / "values.json"
    log_prob = found.log_prob.copy()
    log_prob[0, 0] = -np.inf
    write_predictions(file, replace(found, log_prob=log_prob))
    rows = json.loads(file.read_text(), parse_constant=pytest.fail)
    assert len(rows) == N
    assert rows[1]["weight_target"] is None
    assert rows[0]["age_log_prob"] == "-inf"
    assert rows[3]["age_q97.5"] == pytest.approx(found.quantiles[3, 0, -1])
    assert rows[3]["group"] == "b"


def test_files_of_others_and_bad_ones(found, tmp_path):
    file = tmp_path / "theirs.csv"
    file.write_text("﻿age,id,age_target,weight,weight_target\n31,007,30,,\n2.5,8,,61,60\n")
    assert holds_scalars(file)
    theirs = read_predictions(file)
    assert theirs.id == ("007", "8")
    assert theirs.names == ("age", "weight")
    nan = np.nan
    np.testing.assert_array_equal(theirs.values, [[31.0, nan], [2.5, 61.0]])
    np.testing.assert_array_equal(theirs.target, [[30.0, nan], [nan, 60.0]])
    assert evaluate(theirs, bootstrap=0)["mean of 2 values: MAE"].value == 1.0
    for text, said in [
        ("id,path\n1,2\n", "no column landmarks, values or of a number for each sample"),
        ("age,age_target\n1,2\n", "column 'id' is missing"),
        ("id,age,age_target\n1,2,old\n", "column 'age_target' must hold numbers"),
        ("id,age,age_target\n1,2\n", "cannot be read"),
    ]:
        file.write_text(text)
        with pytest.raises(ValueError, match=rf"{re.escape(str(file))}: {said}"):
            read_predictions(file)
    broken = tmp_path / "broken.parquet"
    broken.write_bytes(b"PAR1 not at all")
    with pytest.raises(ValueError, match=r"broken\.parquet: not a Parquet file"):
        read_predictions(broken)
    with pytest.raises(FileNotFoundError, match=r"none\.parquet: no such file"):
        read_predictions(tmp_path / "none.parquet")
    (tmp_path / "values.txt").write_text("id")
    with pytest.raises(ValueError, match=r"values\.txt: must be a \.parquet or \.csv file"):
        read_predictions(tmp_path / "values.txt")
    with pytest.raises(ValueError, match=r"x\.pts: must end in"):
        write_predictions(tmp_path / "x.pts", found)
    assert not Path(tmp_path / "x.pts").exists()


def test_files_of_landmarks_hold_no_values(tmp_path):
    file = tmp_path / "points.csv"
    file.write_text("id,x0,y0,x1,y1\na,1,2,3,4\n")
    assert not holds_scalars(file)
    assert not holds_scalars(tmp_path)
