"""The diagnosis of calibration: right on draws from the densities, and wrong where they are."""

import dataclasses
import math

import numpy as np
import pytest
import torch
from scipy import stats
from torch import Tensor

import plain
from densities import uniform
from kdn.data.markup import FACE68, Markup, facts_of_markup
from kdn.density import GaussianDensity, KernelDensity, MappedDensity
from kdn.evaluate import (
    Part,
    Resamples,
    Uniformity,
    diagnose,
    evaluate,
    share_up_to,
    uniformity_test,
)
from kdn.grid import Affine, Grid
from kdn.predictions import AREA_LEVELS, Predictions
from labelled import gaussian_predictions

N, L = 40, 14
GRID = Grid((6, 9), (1.5, -0.5), (4.0, 3.0))


def density_of(kernel: str) -> KernelDensity | GaussianDensity:
    """Return a density of batch shape (N, L)."""
    generator = torch.Generator().manual_seed(0)

    def normal(*shape: int) -> Tensor:
        return torch.randn(N, L, *shape, generator=generator)

    if kernel == "gaussian":
        factor = torch.diag_embed(0.5 + normal(2).abs()) + normal(2, 2).tril(-1)
        return GaussianDensity(10 * normal(2), factor)
    if kernel == "uniform":  # cells that are equal, and a few that hold most
        logits = torch.randint(0, 3, (N, L, *GRID.shape), generator=generator).float()
        return KernelDensity(1.5 * logits, GRID, kernel="uniform")
    logits = 1.5 * normal(*GRID.shape)
    bandwidth = 1.2 + 2.0 * torch.rand(L, generator=generator)
    if kernel == "landmark":
        return KernelDensity(logits, GRID, bandwidth=bandwidth)
    each = bandwidth[:, None, None] * (0.3 * normal(*GRID.shape)).exp()
    return KernelDensity(
        logits, GRID, bandwidth=each, offsets=2 * torch.tanh(normal(2, *GRID.shape))
    )


def narrower(density: KernelDensity | GaussianDensity) -> MappedDensity:
    """Return the density with its covariance halved, about its mean."""
    share = math.sqrt(0.5)
    linear = (share * torch.eye(2)).expand(N, L, 2, 2)
    return density.mapped(Affine(linear, (1 - share) * density.mean))


def predictions_of(
    density: KernelDensity | GaussianDensity | MappedDensity, labels: Tensor
) -> Predictions:
    """Return what is predicted, with one label in ten not valid."""
    valid = (uniform(N, L, seed=7) < 0.9).numpy()
    hidden = np.where(valid, 1.0, np.nan)
    return Predictions(
        id=tuple(f"face {i}" for i in range(N)),
        landmarks=density.mean.double().numpy(),
        uncertainty=density.uncertainty_length.double().numpy(),
        target=labels.double().numpy() * hidden[..., None],
        valid=valid,
        log_prob=density.log_prob(labels).double().numpy() * hidden,
        hdr_level=density.hdr_level(labels).double().numpy() * hidden,
        hdr_tie=density.hdr_tie(labels).double().numpy() * hidden,
        hdr_areas=np.stack([density.hdr_area(v).double().numpy() for v in AREA_LEVELS], -1),
        energy_score=density.energy_score(labels).double().numpy() * hidden,
    )


def beyond_chance(whole: Part) -> list[bool]:
    """Return whether coverage is further from 50, 80, 90, 95 % than chance allows."""
    found = []
    for level in AREA_LEVELS:
        chance = math.sqrt(level * (1 - level) / whole.labels)
        off = whole[f"coverage of {100 * level:.0f} % regions"].value / 100 - level
        # 3.3 standard deviations are exceeded once in a thousand; 0.005 is the levels' own error.
        found.append(abs(off) > 3.3 * chance + 0.005)
    return found


@pytest.mark.parametrize("kernel", ["landmark", "adaptive", "uniform", "gaussian"])
def test_labels_drawn_from_the_densities_are_calibrated_and_from_wider_ones_are_not(
    kernel: str,
) -> None:
    density = density_of(kernel)
    labels = density.sample(generator=torch.Generator().manual_seed(1))
    right = predictions_of(density, labels)
    whole = diagnose(right, bootstrap=0)["all"]
    assert beyond_chance(whole) == [False] * 4
    assert whole.uniformity is not None
    assert whole.uniformity.p_value > 0.01
    assert whole["largest coverage error"].value < 6
    wrong = predictions_of(narrower(density), labels)
    halved = diagnose(wrong, bootstrap=0)["all"]
    assert beyond_chance(halved) == [True] * 4
    assert halved.uniformity is not None
    assert halved.uniformity.p_value < 0.002
    assert halved["mean absolute coverage error"].value > 8
    assert halved["energy score"].value > whole["energy score"].value
    area = "mean area of 90 % regions"
    assert halved[area].value == pytest.approx(whole[area].value / 2, rel=1e-3)


def test_ties_that_are_not_randomised_are_not_uniform() -> None:
    density = density_of("uniform")
    labels = density.sample(generator=torch.Generator().manual_seed(1))
    plain = dataclasses.replace(predictions_of(density, labels), hdr_tie=None)
    found = diagnose(plain, bootstrap=0)
    assert found["all"].uniformity is not None
    assert found["all"].uniformity.p_value < 0.002
    assert any("hdr_tie" in note for note in found.notes)


@pytest.mark.parametrize("tie", ["uniform kernels", "recalibrated levels"])
def test_coverage_has_one_value(tie: str) -> None:
    """In the table of all scores and in the diagnosis, also where levels are tied."""
    if tie == "uniform kernels":
        density = density_of("uniform")
        predictions = predictions_of(
            density, density.sample(generator=torch.Generator().manual_seed(1))
        )
    else:  # steps of 1/(n + 1) from 9 faces
        predictions = gaussian_predictions()
        level = column(predictions, "hdr_level")
        tied = np.where(np.isnan(level), np.nan, 0.1)
        predictions = dataclasses.replace(
            predictions, hdr_level=np.floor(10 * level) / 10, hdr_tie=tied
        )
    first, second = evaluate(predictions, bootstrap=5), diagnose(predictions, bootstrap=5)["all"]
    for level in (50, 80, 90, 95):
        name = f"coverage of {level} % regions"
        assert first[name].value == pytest.approx(second[name].value, abs=1e-9)
        assert first[name].high == pytest.approx(second[name].high, abs=1e-9)
        # Labels drawn from the densities are covered as often as they should, by 4 deviations.
        chance = 100 * math.sqrt(level * (100 - level) / 1e4 / second.labels)
        assert abs(first[name].value - level) < 4 * chance + 0.5


def test_one_name_has_one_value_in_all_tables(predictions: Predictions) -> None:
    first, second = evaluate(predictions, bootstrap=0), diagnose(predictions, bootstrap=0)["all"]
    shared = {score.name for score in first.scores} & {score.name for score in second.scores}
    assert len(shared) > 6
    for name in shared:
        assert first[name].value == second[name].value, name


def correlated_levels(
    rng: np.random.Generator, images: int, count: int, share: float
) -> np.ndarray:
    """Return uniform levels whose normal scores within an image have this correlation."""
    common = rng.normal(size=(images, 1))
    own = rng.normal(size=(images, count))
    return stats.norm.cdf(math.sqrt(share) * common + math.sqrt(1 - share) * own)


def uniformity_of(levels: np.ndarray, image: np.ndarray, **options: int) -> Uniformity:
    """Return the test of levels without ties."""
    return uniformity_test(lambda u: share_up_to(levels, levels, u), Resamples(image), **options)


@pytest.mark.parametrize("share", [0.0, 0.3, 0.9])
def test_p_values_are_uniform_under_the_truth(share: float) -> None:
    rng = np.random.default_rng(3)
    image = np.repeat(np.arange(40), 9)
    found, naive = [], []
    for seed in range(300):
        levels = correlated_levels(rng, 40, 9, share).ravel()
        found.append(uniformity_of(levels, image, replicates=199, seed=seed).p_value)
        naive.append(stats.cramervonmises(levels, "uniform").pvalue)
    # Kolmogorov's distance at 0.1 %, and a step of 1/200 in the p-values.
    assert stats.kstest(found, "uniform").statistic < 1.95 / math.sqrt(300) + 0.005
    if share == 0.9:
        assert np.mean(np.array(naive) < 0.05) > 0.3  # landmarks are no unit


@pytest.mark.parametrize("share", [0.0, 0.9])
def test_wrong_levels_are_rejected(share: float) -> None:
    rng = np.random.default_rng(4)
    image = np.repeat(np.arange(300), 9)
    levels = correlated_levels(rng, 300, 9, share).ravel()
    assert uniformity_of(levels, image).p_value > 0.01
    for power in (0.6, 1.6):
        assert uniformity_of(levels**power, image).p_value < 0.01


def test_the_statistic_is_scipys() -> None:
    levels = np.random.default_rng(5).uniform(size=500) ** 1.2
    found = uniformity_of(levels, np.arange(500), replicates=999)
    expected = stats.cramervonmises(levels, "uniform")
    assert found.statistic == pytest.approx(expected.statistic, rel=0.03)
    assert found.p_value < 0.01
    assert expected.pvalue < 0.01
    with pytest.raises(ValueError, match="got none"):
        uniformity_of(np.zeros(0), np.zeros(0, np.int64))
    with pytest.raises(ValueError, match="replicates must be positive"):
        uniformity_of(np.array([0.5]), np.arange(1), replicates=0)


@pytest.fixture(scope="module")
def predictions() -> Predictions:
    return gaussian_predictions(samples=20, width=0.8)


def column(predictions: Predictions, name: str) -> np.ndarray:
    value = getattr(predictions, name)
    assert isinstance(value, np.ndarray)
    return value


def scores_by_hand(predictions: Predictions, used: np.ndarray) -> dict[str, float]:
    """Return scores of some landmarks from the columns themselves."""
    errors = np.linalg.norm(predictions.landmarks - column(predictions, "target"), axis=-1)[used]
    uncertainty = column(predictions, "uncertainty")[used]
    level, log_prob = (column(predictions, name)[used] for name in ("hdr_level", "log_prob"))
    bbox = column(predictions, "bbox")
    box = (bbox[:, 2] - bbox[:, 0]) * (bbox[:, 3] - bbox[:, 1])
    area = column(predictions, "hdr_areas")[..., 2][used]
    scale = np.abs(np.linalg.det(column(predictions, "crop_to_image")[:, :, :2]))
    covered = np.array([(level <= share / 100).mean() for share in range(1, 100)])
    gaps = np.abs(covered - np.arange(1, 100) / 100)
    image = np.nonzero(used)[0]
    return {
        "NLL per image px²": -log_prob.mean(),
        "NLL per crop px²": -(log_prob + np.log(scale)[image]).mean(),
        "coverage of 90 % regions": 100 * (level <= 0.9).mean(),
        "mean absolute coverage error": 100 * gaps.mean(),
        "largest coverage error": 100 * gaps.max(),
        "mean area of 90 % regions": area.mean(),
        "median area of 90 % regions": float(np.median(area)),
        "mean area of 90 % regions ÷ box": 100 * (area / box[image]).mean(),
        "mean error": errors.mean(),
        "energy score": column(predictions, "energy_score")[used].mean(),
        "Spearman": np.corrcoef(stats.rankdata(uncertainty), stats.rankdata(errors))[0, 1],
        "Pearson": np.corrcoef(uncertainty, errors)[0, 1],
        "AUSE": plain.ause(uncertainty, errors),
        "AURC": plain.sparsification(uncertainty, errors, np.arange(100) / 100).mean(),
        "AURC of the oracle": plain.sparsification(errors, errors, np.arange(100) / 100).mean(),
    }


def test_every_part_has_the_scores_of_its_landmarks(predictions: Predictions) -> None:
    age = np.random.default_rng(8).uniform(20, 60, len(predictions))
    age[3] = np.nan
    found = diagnose(predictions, by="age", values=age, bootstrap=0)
    valid = column(predictions, "valid")
    index = np.arange(68)
    parts = {
        "all": valid,
        "nose": valid & np.isin(index, FACE68.groups["nose"]),
        f"36 {FACE68.names[36]}": valid & (index == 36),
    }
    ages = [part for part in found.parts if part.kind == "attribute"]
    assert len(ages) == 4
    edges = np.quantile(age[~np.isnan(age)], [0, 0.25, 0.5, 0.75, 1])
    for part, low, high in zip(ages, edges[:-1], edges[1:], strict=True):
        inside = (age <= high) & ((age > low) | (low == edges[0]))
        parts[part.name] = valid & inside[:, None]
    assert sum(part.samples for part in ages) == 19
    for name, used in parts.items():
        part = found[name]
        assert part.labels == used.sum(), name
        for score, expected in scores_by_hand(predictions, used).items():
            assert part[score].value == pytest.approx(expected, rel=1e-9), (name, score)
    assert {part.kind for part in found.parts} == {"all", "group", "label", "attribute"}


def test_replicates_are_resamples_of_the_samples(predictions: Predictions) -> None:
    found = diagnose(predictions, bootstrap=20, seed=5)["all"]
    counts = plain.resample_counts(20, 20, np.random.default_rng(5))
    for row in (0, 7):
        again = predictions.take(np.repeat(np.arange(20), counts[row].astype(int)))
        expected = scores_by_hand(again, column(again, "valid"))
        for name, value in expected.items():
            assert found[name].replicates[row] == pytest.approx(value, rel=1e-6), name
    for score in found.scores:
        assert score.low <= score.high
    # Percentiles of a distance from zero lie above it; all others hold their value.
    assert all(s.low <= s.value <= s.high for s in found.scores if "coverage error" not in s.name)
    assert found.curves.coverage_low is not None
    assert found.curves.coverage is not None
    assert (found.curves.coverage_low <= found.curves.coverage + 1e-9).all()


def test_attributes_of_every_kind(predictions: Predictions) -> None:
    flip = dataclasses.replace(predictions, visible=np.arange(68) % 3 > 0 * column(
        predictions, "visible"))  # fmt: skip
    seen = diagnose(flip, by="visible", bootstrap=0)
    names = [part.name for part in seen.parts if part.kind == "attribute"]
    assert names == ["visible false", "visible true"]
    some = np.array(["left", "", "right", "left"] * 5)
    sides = diagnose(predictions, by="side", values=some, bootstrap=0)
    assert sides["side left"].samples == 10
    assert sides["side right"].samples == 5
    few = diagnose(predictions, by="stage", values=np.arange(20) % 3, bootstrap=0)
    assert [p.name for p in few.parts if p.kind == "attribute"] == ["stage 0", "stage 1", "stage 2"]
    many = np.array([f"photographer {i}" for i in range(20)] + ["x"])[:20]
    assert len(diagnose(predictions, by="who", values=many, bootstrap=0).parts) > 20
    each = np.array([[f"{i} {j}" for j in range(68)] for i in range(20)])
    with pytest.raises(ValueError, match="at most 20 different values, got"):
        diagnose(predictions, by="who", values=each)
    with pytest.raises(ValueError, match=r"must be 20, one a sample, got 3"):
        diagnose(predictions, by="age", values=np.zeros(3))
    with pytest.raises(ValueError, match=r"shape \(20,\) or \(20, 68\), got \(20, 5\)"):
        diagnose(predictions, by="age", values=np.zeros((20, 5)))
    with pytest.raises(ValueError, match="column 'age' is missing, there are"):
        diagnose(predictions, by="age")
    with pytest.raises(ValueError, match="one value a landmark, got 'bbox'"):
        diagnose(predictions, by="bbox")
    with pytest.raises(ValueError, match="by must name what values are"):
        diagnose(predictions, values=np.zeros(20))


def test_samples_without_labels_are_left_out_and_their_values_with_them(
    predictions: Predictions,
) -> None:
    valid = column(predictions, "valid").copy()
    valid[[2, 5]] = False
    fewer = dataclasses.replace(predictions, valid=valid)
    values = np.arange(20) % 2 == 0
    found = diagnose(fewer, by="even", values=values, bootstrap=0)
    assert found.left_out == ("face 2", "face 5")
    assert found["even true"].samples == 9
    whole = diagnose(fewer.take(np.setdiff1d(np.arange(20), [2, 5])), bootstrap=0)["all"]
    assert found["all"]["energy score"].value == whole["energy score"].value
    with pytest.raises(ValueError, match="must have valid labels, got none in 20"):
        diagnose(dataclasses.replace(predictions, valid=np.zeros_like(valid)))


def test_a_table_and_json_and_what_is_missing_is_said(predictions: Predictions) -> None:
    found = diagnose(predictions, bootstrap=50)
    table = found.as_table()
    for said in ("AURC of the oracle", "levels uniform: p", "nose", f"67 {FACE68.names[67]}"):
        assert said in table
    said = found.as_json()
    assert said["parts"]["all"]["scores"]["energy score"]["unit"] == "px"
    assert len(said["parts"]["nose"]["curves"]["coverage"]) == 99
    assert "curves" not in said["parts"][f"0 {FACE68.names[0]}"]
    bare = Predictions(
        id=predictions.id, landmarks=predictions.landmarks, target=predictions.target
    )
    least = diagnose(bare, bootstrap=0)
    assert [score.name for score in least["all"].scores] == ["mean error"]
    assert least["all"].uniformity is None
    assert "area of `q` % regions (hdr_areas)" in least.as_table()
    assert "nan" not in least.as_table()
    with pytest.raises(KeyError, match="no part 'toes'; there are all,"):
        least["toes"]
    with pytest.raises(KeyError, match="no score 'AUSE'; there are mean error"):
        least["all"]["AUSE"]


def test_groups_of_a_mark_up_of_one_s_own_are_told_apart() -> None:
    """The file of predictions holds it, and both tables read it from there."""
    own = Markup("seven", 7, tuple(range(7)), groups={"rim": (0, 1, 2), "core": (3, 4)})
    given = gaussian_predictions(samples=20, landmarks=7, markup="seven")
    given = dataclasses.replace(given, metadata={**given.metadata, **facts_of_markup(own)})
    assert given.known_markup == own
    found = diagnose(given, bootstrap=0)
    assert [part.name for part in found.parts if part.kind == "group"] == ["rim", "core"]
    assert evaluate(given, bootstrap=0)["NME box, rim"].value > 0
    nameless = dataclasses.replace(given, metadata={"markup": "eight"})
    assert nameless.known_markup is None
