"""`evaluate` gives the metrics of what is valid, leaves out what it cannot say, and says so."""

import dataclasses
import json
import math
import time

import numpy as np
import pytest

import kdn.evaluate as metrics
import plain
from kdn.data.markup import FACE68, Markup
from kdn.evaluate import evaluate
from kdn.evaluate.accuracy import auc_terms
from kdn.predictions import Predictions, decoders_of, read_predictions, write_predictions
from labelled import gaussian_predictions

FIVE = Markup(
    name="five",
    landmarks=5,
    flip=(1, 0, 2, 4, 3),
    eye_corners=(0, 1),
    eyes=((0,), (1,)),
    groups={"eyes": (0, 1), "mouth": (3, 4)},
)

DECODERS = decoders_of("points")


@pytest.fixture(scope="module")
def predictions() -> Predictions:
    return gaussian_predictions()


def without(predictions: Predictions, *names: str) -> Predictions:
    return dataclasses.replace(predictions, **dict.fromkeys(names))


def names(predictions: Predictions, **options) -> list[str]:
    return [score.name for score in evaluate(predictions, bootstrap=0, **options).scores]


def with_row_not_valid(predictions: Predictions, row: int) -> Predictions:
    assert predictions.valid is not None
    assert predictions.target is not None
    valid, target = predictions.valid.copy(), predictions.target.copy()
    valid[row], target[row] = False, np.nan
    return dataclasses.replace(predictions, valid=valid, target=target)


def test_accuracy_is_that_of_the_metrics(predictions):
    got = evaluate(predictions, bootstrap=0)
    errors = metrics.point_errors(predictions.landmarks, predictions.target)
    valid = predictions.valid
    lengths = metrics.normalisers(predictions.target, valid, FACE68)
    for name, length in lengths.items():
        assert got[f"NME {name}"].value == pytest.approx(metrics.nme(errors, valid, length))
    box = metrics.image_errors(errors, valid, lengths["box"])
    ocular = metrics.image_errors(errors, valid, lengths["inter-ocular"])
    assert np.isnan(ocular).sum() > 0
    wanted = {
        "AUC@7 box (exact)": metrics.auc(box, 7, rule="exact"),
        "AUC@7 box (fan70)": metrics.auc(box, 7, rule="fan70"),
        "failure@7 box (exact)": metrics.failure_rate(box, 7, rule="exact"),
        "failure@7 box (fan70)": metrics.failure_rate(box, 7, rule="fan70"),
        "AUC@8 inter-ocular (exact)": metrics.auc(ocular, 8, rule="exact"),
        "failure@8 inter-ocular (exact)": metrics.failure_rate(ocular, 8, rule="exact"),
        "mean error": errors[valid].mean(),
    }
    for name, value in wanted.items():
        assert got[name].value == pytest.approx(value), name


def test_decoders_and_groups(predictions):
    got = evaluate(predictions, bootstrap=0)
    length = metrics.normalisers(predictions.target, predictions.valid, None)["box"]
    for name in DECODERS:
        errors = metrics.point_errors(getattr(predictions, name), predictions.target)
        wanted = metrics.nme(errors, predictions.valid, length)
        assert got[f"NME box, {name}"].value == pytest.approx(wanted)
    errors = metrics.point_errors(predictions.landmarks, predictions.target)
    for name, members in FACE68.groups.items():
        own = list(members)
        wanted = metrics.nme(errors[:, own], predictions.valid[:, own], length)
        assert got[f"NME box, {name}"].value == pytest.approx(wanted)


def test_densities_are_those_of_the_metrics(predictions):
    got = evaluate(predictions, bootstrap=0)
    valid, log_prob = predictions.valid, predictions.log_prob
    crop = metrics.crop_log_prob(log_prob, predictions.crop_to_image)
    for frame, values in (("image", log_prob), ("crop", crop)):
        assert got[f"NLL per {frame} px²"].value == pytest.approx(-values[valid].mean())
        median = got[f"NLL per {frame} px², median"].value
        assert median == pytest.approx(np.median(-values[valid]))
    for nominal in (50, 80, 90, 95):
        share = plain.coverage(predictions.hdr_level, valid, nominal / 100)
        assert got[f"coverage of {nominal} % regions"].value == pytest.approx(share)
    errors = metrics.point_errors(predictions.landmarks, predictions.target)
    length = metrics.normalisers(predictions.target, valid, None)["box"][:, None]
    for name, scale in (("px", 1.0), ("÷ box", length)):
        pair = (predictions.uncertainty / scale)[valid], (errors / scale)[valid]
        assert got[f"Spearman ({name})"].value == pytest.approx(plain.spearman(*pair))
        assert got[f"Pearson ({name})"].value == pytest.approx(plain.pearson(*pair))
        assert got[f"AUSE ({name})"].value == pytest.approx(plain.ause(*pair))
        left = 100 * plain.sparsification(*pair, np.array([0.1, 0.5])) / pair[1].mean()
        for share, wanted in zip((10, 50), left, strict=True):
            row = f"error left without the least sure {share} % ({name})"
            assert got[row].value == pytest.approx(wanted)


def test_a_right_density_and_one_that_is_too_sure():
    """NLL of the right density is its entropy and the least there is; coverage is nominal."""
    right = evaluate(gaussian_predictions(samples=60), bootstrap=0)
    sure = evaluate(gaussian_predictions(samples=60, width=math.sqrt(0.5)), bootstrap=0)
    entropy = right["entropy per image px²"].value
    assert right["NLL per image px²"].value == pytest.approx(entropy, abs=0.06)
    assert sure["NLL per image px²"].value > right["NLL per image px²"].value + 0.2
    for nominal in (50, 80, 90, 95):
        name = f"coverage of {nominal} % regions"
        assert right[name].value == pytest.approx(nominal, abs=3)
        assert sure[name].value < nominal - 8
    assert right["Spearman (px)"].value == pytest.approx(sure["Spearman (px)"].value)


def test_zero_density_makes_the_mean_infinite_and_is_counted(predictions):
    log_prob = predictions.log_prob.copy()
    row, landmark = np.argwhere(predictions.valid)[40]
    log_prob[row, landmark] = -np.inf
    result = evaluate(dataclasses.replace(predictions, log_prob=log_prob), bootstrap=100)
    score = result["NLL per image px²"]
    assert score.value == math.inf
    assert math.isfinite(score.low)  # of resamples without that sample
    assert score.high == math.inf
    assert math.isfinite(result["NLL per image px², median"].value)
    zero = result["labels of zero density"].value
    assert zero == pytest.approx(100 / predictions.valid.sum())
    assert "inf" in result.as_table()
    text = json.dumps(result.as_json(), allow_nan=False)
    assert json.loads(text)["scores"]["NLL per image px²"]["value"] == "inf"


@pytest.mark.parametrize(
    ("dropped", "gone"),
    [
        (("log_prob",), "NLL"),
        (("hdr_level",), "coverage"),
        (("crop_to_image",), "NLL per crop"),
        (("uncertainty",), "Spearman"),
        (("uncertainty",), "AUSE"),
        (("entropy",), "entropy"),
        (DECODERS, "NME box, m"),
    ],
)
def test_metrics_without_their_column_are_left_out(predictions, dropped, gone):
    before, after = names(predictions), names(without(predictions, *dropped))
    assert any(name.startswith(gone) for name in before)
    if dropped == DECODERS:
        gone = ("NME box, argmax", "NME box, quarter", "NME box, mean", "NME box, mode")
    assert not any(name.startswith(gone) for name in after)
    assert set(after) < set(before)


def test_labels_alone_are_enough(predictions, tmp_path):
    """Someone else's file with three columns."""
    bare = Predictions(
        id=predictions.id, landmarks=predictions.landmarks, target=predictions.target
    )
    write_predictions(tmp_path / "theirs.parquet", bare)
    result = evaluate(read_predictions(tmp_path / "theirs.parquet"), bootstrap=0)
    full = evaluate(predictions, bootstrap=0)
    assert [score.name for score in result.scores] == [
        *("NME box", "NME diagonal", "AUC@7 box (exact)", "AUC@7 box (fan70)"),
        *("failure@7 box (exact)", "failure@7 box (fan70)", "mean error"),
    ]
    for score in result.scores:
        assert score.value == full[score.name].value
    table = result.as_table()
    assert "mark-up None is not known" in table
    assert "want of columns: NLL (log_prob)" in table


def test_five_landmarks():
    """An unknown mark-up has no groups; a given one has its own."""
    five = gaussian_predictions(landmarks=5, samples=7, markup="five")
    unknown = names(five)
    assert "NME inter-ocular" not in unknown
    assert "coverage of 90 % regions" in unknown
    known = names(five, markup=FIVE)
    assert set(known) - set(unknown) == {
        *("NME inter-ocular", "NME inter-pupil", "NME box, eyes", "NME box, mouth"),
        *("AUC@8 inter-ocular (exact)", "failure@8 inter-ocular (exact)"),
    }
    with pytest.raises(ValueError, match="'face68' has 68 landmarks, got 5"):
        evaluate(dataclasses.replace(five, metadata={"markup": "face68"}))


def test_samples_without_a_valid_label_are_counted_and_left_out(predictions):
    result = evaluate(with_row_not_valid(predictions, 3), bootstrap=50)
    rest = evaluate(predictions.take(np.delete(np.arange(12), 3)), bootstrap=50)
    assert result.left_out == ("face 3",)
    assert result.samples == rest.samples == 11
    assert result.scores == rest.scores
    assert "Left out: 1 of 12 samples, without a valid label." in result.as_table()
    assert "Left out" not in rest.as_table()


def test_what_is_not_valid_does_not_count(predictions):
    hidden = ~predictions.valid
    far = dataclasses.replace(
        predictions,
        landmarks=np.where(hidden[..., None], np.nan, predictions.landmarks),
        target=np.where(hidden[..., None], 1e6, predictions.target),
        uncertainty=np.where(hidden, np.nan, predictions.uncertainty),
        entropy=np.where(hidden, 1e6, predictions.entropy),
        log_prob=np.where(hidden, -np.inf, predictions.log_prob),
        hdr_level=np.where(hidden, 0.0, predictions.hdr_level),
    )
    assert evaluate(far, bootstrap=20).scores == evaluate(predictions, bootstrap=20).scores


def test_order_of_samples_does_not_matter(predictions):
    order = np.random.default_rng(1).permutation(12)
    for one, other in zip(
        evaluate(predictions.take(order), bootstrap=0).scores,
        evaluate(predictions, bootstrap=0).scores,
        strict=True,
    ):
        assert one.value == pytest.approx(other.value, rel=1e-12), one.name


def test_predictions_without_labels(predictions):
    said = ("target", "valid", "visible", "log_prob", "hdr_level", "hdr_tie", "energy_score")
    with pytest.raises(ValueError, match="must have labels to be evaluated, got no column"):
        evaluate(without(predictions, *said))
    nothing = predictions
    for row in range(12):
        nothing = with_row_not_valid(nothing, row)
    with pytest.raises(ValueError, match="must have valid labels, got none in 12 samples"):
        evaluate(nothing)


@pytest.mark.parametrize("name", ["landmarks", "mode", "uncertainty", "entropy"])
def test_predictions_that_are_nan_are_named(predictions, name):
    values = getattr(predictions, name).copy()
    row, landmark = np.argwhere(predictions.valid)[-1]
    values[row, landmark] = np.nan
    wrong = dataclasses.replace(predictions, **{name: values})
    message = f"{name} must be a number where the label is valid, .* 1 samples, .*'face 11'"
    with pytest.raises(ValueError, match=message):
        evaluate(wrong)


@pytest.mark.parametrize("kept", ["exact", "fan70"])
def test_scores_that_contradict_each_other(predictions, monkeypatch, kept):
    """An area that was not computed from the same errors is not printed."""

    def wrong(errors, threshold, rule):
        return auc_terms(errors, threshold, rule) - (0 if rule == kept else 2)

    monkeypatch.setattr("kdn.evaluate.table.auc_terms", wrong)
    with pytest.raises(RuntimeError, match=r"must be at least .* where the NME is"):
        evaluate(predictions, bootstrap=0)


def test_duplicate_names_do_not_confuse_what_is_left_out(predictions):
    named = dataclasses.replace(with_row_not_valid(predictions, 3), id=("same",) * 12)
    assert evaluate(named, bootstrap=0).left_out == ("same",)


def test_intervals(predictions):
    one = evaluate(predictions, bootstrap=200, seed=3)
    assert one.scores == evaluate(predictions, bootstrap=200, seed=3).scores
    assert one.scores != evaluate(predictions, bootstrap=200, seed=4).scores
    for score in one.scores:
        assert score.low <= score.value <= score.high, score.name
    # The standard error of a mean over twelve images, from their spread.
    length = metrics.normalisers(predictions.target, predictions.valid, None)["box"]
    errors = metrics.point_errors(predictions.landmarks, predictions.target)
    each = metrics.image_errors(errors, predictions.valid, length)
    nme = one["NME box"]
    assert nme.high - nme.low == pytest.approx(2 * 1.96 * each.std() / math.sqrt(12), rel=0.25)
    bare = evaluate(predictions, bootstrap=0)
    assert all(math.isnan(score.low) and math.isnan(score.high) for score in bare.scores)
    assert "interval" not in bare.as_table().lower()


def test_the_table(predictions):
    table = evaluate(predictions, bootstrap=50).as_table()
    first, *lines = table.splitlines()
    size = f"12 samples, {predictions.valid.sum()} valid landmarks"
    assert first == f"{size} · markup face68 · head kdn_gaussian · decoder mean"
    assert max(len(line) for line in lines) < 100
    scores = [line for line in lines if " – " in line]
    assert len(scores) == len(evaluate(predictions, bootstrap=0).scores)
    assert len({line.index(" – ") for line in scores}) == 1
    assert "Intervals: 95 %, percentiles of 50 resamples of the samples, seed 0." in table
    assert "nan" not in table


def test_json_is_of_json_types(predictions):
    result = evaluate(predictions, bootstrap=0)
    got = json.loads(json.dumps(result.as_json(), allow_nan=False))
    assert got["samples"] == 12
    assert got["metadata"]["markup"] == "face68"
    score = got["scores"]["NME box"]
    assert score == {"value": result["NME box"].value, "low": None, "high": None, "unit": "%"}
    with pytest.raises(KeyError, match="no score 'NME'; there are NME box"):
        result["NME"]


def test_a_whole_test_set_is_fast():
    predictions = gaussian_predictions(samples=330)
    start = time.process_time()
    result = evaluate(predictions)
    assert time.process_time() - start < 10
    most = 10_000_000 // result.labels  # ranks are dear
    assert 200 < most < 1000
    assert f"resamples of the samples, seed 0; {most} for medians and ranks." in result.as_table()


def test_evaluate_has_oracle_and_probability():
    predictions = gaussian_predictions()
    rng = np.random.default_rng(1)
    masses = rng.uniform(size=(*predictions.prediction.shape[:2], 3))
    metadata = {**predictions.metadata, "radii": [2, 4.5, 10]}
    given = dataclasses.replace(predictions, mass_within=masses, metadata=metadata)
    got = evaluate(given, bootstrap=0)
    valid = given.valid
    assert valid is not None
    assert given.target is not None
    errors = metrics.point_errors(given.prediction, given.target)
    length = metrics.normalisers(given.target, valid, None)["box"][:, None]
    for name, scale in (("px", 1.0), ("÷ box", length)):
        y = (errors / scale)[valid]
        left = 100 * plain.sparsification(y, y, np.array([0.1, 0.5])) / y.mean()
        for share, wanted in zip((10, 50), left, strict=True):
            assert got[f"the same without the worst {share} % ({name})"].value == pytest.approx(
                wanted
            )
    left = plain.sparsification(1 - masses[..., 1][valid], y, np.array([0.1, 0.5])) / y.mean()
    for share, wanted in zip((10, 50), 100 * left, strict=True):
        row = f"error left without the {share} % likeliest beyond 4.5 % (÷ box)"
        assert got[row].value == pytest.approx(wanted)
    without = [score.name for score in evaluate(predictions, bootstrap=0).scores]
    assert not any("likeliest" in name for name in without)
