"""The pieces of a study: plan, comparisons, decode floor, tables, gradient, report."""

import math
from concurrent.futures import Future
from concurrent.futures.process import BrokenProcessPool
from dataclasses import replace

import numpy as np
import pytest
import torch
from jaxtyping import Float
from matplotlib.figure import Figure

from kdn.data import Framing, Sample, SyntheticFaces, tight_box
from kdn.data.markup import FACE68
from kdn.evaluate import crop_log_prob
from kdn.grid import Grid
from kdn.models.model import build_model
from kdn.predictions import Predictions
from kdn.recipe import DataRecipe, HeadRecipe, NetworkRecipe, Recipe
from kdn.study import METHODS, PRESETS, Plan, training
from kdn.study.floor import cell_share, decode_floor, perfect_density
from kdn.study.heatmaps import (
    boundary_table,
    hidden_faces,
    loss_gradient,
    occlusion_table,
    seen_faces,
)
from kdn.study.plan import REFERENCE
from kdn.study.report import (
    Picture,
    Summary,
    Table,
    difference,
    number,
    summarise,
    with_interval,
    write_report,
)
from kdn.study.tables import epochs_to_final, sweep_table

BASE = Recipe(data=DataRecipe(train=("synthetic:9:0",), valid_fraction=0.0))


# The plan


def test_a_plan_has_each_run_once():
    plan = Plan(base=BASE, methods=tuple(METHODS), seeds=3, once=("gaussian",), sweep=(0.1, 1, 10))
    keys = [(run.key, run.seed) for run in plan.runs]
    assert len(keys) == len(set(keys)) == 1 + 5 * 3 + 4  # √1 and 1 are the reference itself
    assert [seed for _, seed in keys[: 1 + 5 * 3]] == [0] * 6 + [1] * 5 + [2] * 5
    widths = [run.recipe.head.bandwidth for run in plan.runs[-4:]]
    assert widths == pytest.approx([0.1, math.sqrt(0.1), math.sqrt(10), 10])
    assert len({run.folder for run in plan.runs}) == len(plan.runs)


def test_methods_differ_in_their_head_alone():
    plan = Plan(base=BASE, methods=tuple(METHODS), seeds=1, vector_network="resnet50")
    for run in plan.runs:
        same = replace(run.recipe, head=BASE.head)
        if METHODS[run.key].vector:
            assert (run.recipe.network.name, run.recipe.optimise.rate) == ("resnet50", 1e-3)
            same = replace(same, network=BASE.network, optimise=BASE.optimise)
        assert same == BASE
        build_model(run.recipe)
    assert len({run.recipe.head for run in plan.runs}) == len(METHODS)


@pytest.mark.parametrize("name", sorted(PRESETS))
def test_presets_can_be_built_and_say_what_to_expect(name):
    preset = PRESETS[name]
    assert preset.expected
    plan = Plan(
        base=preset.base,
        methods=preset.methods,
        seeds=preset.seeds,
        sweep=preset.sweep,
        vector_network=preset.vector_network,
        vector_rate=preset.vector_rate,
    )
    assert len(plan.runs) == 6 + 8
    for run in plan.runs:
        with torch.device("meta"):
            build_model(run.recipe)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"methods": ("fan",)}, "methods must be among"),
        ({"methods": ("softlabel", "softlabel")}, "each once"),
        ({"methods": ()}, "at least one"),
        ({"once": ("nobody",)}, "once must be among"),
        ({"seeds": 0}, "seeds must be at least 1, got 0"),
        ({"sweep": (1.0, -2.0)}, "positive"),
        ({"sweep": (math.inf,)}, "positive"),
    ],
)
def test_a_plan_says_what_is_wrong(wrong, said):
    with pytest.raises(ValueError, match=said):
        Plan(**{"base": BASE, "methods": ("softlabel",), "seeds": 1, **wrong})


# Comparisons


def scores(rng: np.random.Generator, seeds: int, shift: float) -> list[dict[str, np.ndarray]]:
    """Return made-up scores that share what the images do."""
    images = np.random.default_rng(0).normal(size=31)
    return [{"NME box": 3 + shift + images + 0.01 * rng.normal(size=31)} for _ in range(seeds)]


def test_a_summary_is_the_mean_over_seeds_with_the_interval_of_its_replicates():
    given = scores(np.random.default_rng(1), 3, 0.0)
    rows = np.array([seed["NME box"] for seed in given])
    got = summarise(given, "NME box")
    assert got.mean == pytest.approx(rows[:, 0].mean())
    assert got.spread == pytest.approx(np.std(rows[:, 0], ddof=1))
    ordered = np.sort(rows.mean(axis=0)[1:])
    assert (got.low, got.high) == (ordered[0], ordered[-1])  # 2.5 % of thirty are fewer than one
    assert got.seeds == 3
    assert math.isnan(summarise(given[:1], "NME box").spread)
    assert math.isnan(summarise(given, "no such score").mean)


def test_a_difference_is_paired():
    rng = np.random.default_rng(2)
    one, other = scores(rng, 2, 0.1), scores(rng, 3, 0.0)
    gap = difference(one, other, "NME box")
    assert gap.seeds == 2
    by_hand = np.mean([a["NME box"] - b["NME box"] for a, b in zip(one, other, strict=False)], 0)
    assert gap.mean == pytest.approx(by_hand[0])
    assert gap.excludes_zero  # 0.1, though images differ by 1
    assert gap.high - gap.low < 0.1
    assert not difference(one, one, "NME box").excludes_zero


def test_infinite_scores_do_no_harm():
    infinite = [{"NLL": np.full(5, np.inf)}]
    finite = [{"NLL": np.linspace(1, 2, 5)}]
    assert summarise(infinite, "NLL").mean == math.inf
    assert difference(infinite, finite, "NLL").mean == math.inf
    assert math.isnan(difference(infinite, infinite, "NLL").mean)
    assert with_interval(difference(infinite, infinite, "NLL"), 2) == "–"


# The decode floor


def faces(count: int) -> list[Sample]:
    """Return faces of many sizes and places, with one landmark that does not count."""
    rng = np.random.default_rng(3)
    made = []
    for index in range(count):
        points = rng.uniform((0, 0), (90, 130), (68, 2)) * rng.uniform(0.5, 3) + rng.uniform(0, 99)
        valid = np.ones(68, dtype=bool)
        valid[5] = False
        points[5] = np.nan
        box = tight_box(points, valid)
        picture = np.zeros((4, 5, 3), np.uint8)
        made.append(Sample(str(index), picture, points, box, valid, valid.copy()))
    return made


def test_the_floor_of_each_decoder():
    given, framing = faces(12), Framing("face", height=64, width=96)
    floor, cell = decode_floor(given, framing, stride=4), cell_share(given, framing, stride=4)
    # A point anywhere within a square cell is 0.38260 of its side from the centre on average,
    # and half of that from the centre of the quarter of the cell that holds it.
    inside = 0.5 * (math.sqrt(2) + math.log(1 + math.sqrt(2))) / 3
    assert floor["argmax"] / cell == pytest.approx(inside, rel=0.03)
    assert floor["quarter"] / cell == pytest.approx(inside / 2, rel=0.03)
    assert floor["mode"] < 0.01 * cell
    assert floor["mean"] < 0.01 * cell
    assert 0 < floor["local_mean"] < 0.05 * cell
    face = given[0]
    crop = Framing("face", height=64, width=96).crop_to_image(face.bbox)
    (x0, y0, x1, y1), side = face.bbox, 4 * float(crop.linear[0, 0])
    one = cell_share(given[:1], framing, stride=4)
    assert one == pytest.approx(100 * side / math.sqrt((x1 - x0) * (y1 - y0)))
    near = replace(framing, context=0.75)
    assert cell_share(given, near, stride=4) == pytest.approx(0.75 * cell)
    close = decode_floor(given, near, stride=4)
    # The mean of 804 distances has a standard error of 1.3 %.
    assert close["argmax"] / (0.75 * cell) == pytest.approx(inside, rel=0.04)
    with pytest.raises(ValueError, match="samples"):
        decode_floor([], framing, stride=4)


def test_a_perfect_density_is_a_gaussian_about_the_point():
    grid = Grid.of_heatmap(height=20, width=30, stride=4)
    point = torch.tensor([[41.3, 37.9], [60.0, 50.5]], dtype=torch.float64)
    density = perfect_density(point, grid)
    assert density.mean.numpy() == pytest.approx(point.numpy(), abs=1e-3)
    covariance = density.covariance_matrix
    assert covariance.numpy() == pytest.approx(np.broadcast_to(32 * np.eye(2), (2, 2, 2)), abs=0.02)


# Tables


@pytest.mark.parametrize(
    ("losses", "expected"),
    [
        ([5.0], 1),
        ([9.0, 5.2, 5.6, 5.1, 5.0], 4),
        ([5.1, 5.0, 5.0], 1),
        ([3.0, -1.0, -2.0, -2.05, -2.0], 3),
    ],
)
def test_epochs_to_the_final_loss(losses, expected):
    assert epochs_to_final(losses) == expected


def test_no_losses_have_no_epoch():
    with pytest.raises(ValueError, match="losses"):
        epochs_to_final([])


def test_both_readings_of_sigma_find_their_runs():
    root = math.sqrt(0.1)
    made = {h: {"NME box": np.array([h])} for h in (0.1, root, 1.0)}
    table = sweep_table((0.1, 1), made, {h: [1.0] for h in made})
    assert [(row[0], row[1], row[3]) for row in table.rows] == [
        ("variance", "0.1", "0.32"),
        ("variance", "1", "1.00"),
        ("standard deviation", "0.1", "0.10"),
        ("standard deviation", "1", "1.00"),
    ]


def test_how_numbers_are_written():
    assert [number(x, 2) for x in (1.005, -2.0, math.inf, -math.inf, math.nan)] == [
        "1.00", "−2.00", "∞", "−∞", "–",
    ]  # fmt: skip
    whole = Summary(mean=2.0, spread=0.25, low=1.5, high=2.5, seeds=3)
    assert with_interval(whole, 1, sign=True) == "+2.0 ± 0.2 (1.5 to 2.5)"
    assert with_interval(replace(whole, spread=math.nan, low=math.nan), 1) == "2.0"


def test_a_table_with_a_row_too_short():
    with pytest.raises(ValueError, match="2 columns"):
        Table("t", ["a", "b"], [["1"]])


# Heatmaps in numbers


def made_predictions(n: int = 30) -> Predictions:
    """Return predictions whose entropy is one nat more at hidden landmarks, whatever the crop."""
    rng = np.random.default_rng(4)
    target = rng.uniform(0, 50, (n, 68, 2))
    valid = rng.random((n, 68)) < 0.9
    visible = valid & (rng.random((n, 68)) < 0.7)
    scale = rng.uniform(0.5, 4, n)
    matrix = np.zeros((n, 2, 3))
    matrix[:, 0, 0], matrix[:, 1, 1] = scale, 1.5 * scale
    own = np.linspace(0, 9, 68)  # how hard each landmark is
    crop = own + np.where(visible, 0.0, 1.0) + 0.1 * rng.normal(size=(n, 68))
    return Predictions(
        id=tuple(map(str, range(n))),
        landmarks=target + rng.normal(size=target.shape),
        covariances=np.broadcast_to([4.0, 0.0, 1.0], (n, 68, 3)),
        entropy=-crop_log_prob(-crop, _inverse(matrix)),
        target=np.where(valid[..., None], target, np.nan),
        valid=valid,
        visible=visible,
        crop_to_image=matrix,
    )


def _inverse(matrix: Float[np.ndarray, "n 2 3"]) -> Float[np.ndarray, "n 2 3"]:
    inverse = np.zeros_like(matrix)
    inverse[:, 0, 0], inverse[:, 1, 1] = 1 / matrix[:, 0, 0], 1 / matrix[:, 1, 1]
    return inverse


def test_entropy_of_hidden_landmarks():
    given = made_predictions()
    table = occlusion_table({REFERENCE: given}, "these", bootstrap=20)
    assert table is not None
    name, hidden, visible, plain, within = table.rows[0]
    assert name == "KDN-Gaussian"
    assert given.valid is not None
    assert given.visible is not None
    means = np.broadcast_to(np.linspace(0, 9, 68), (30, 68))
    seen = means[given.valid & given.visible].mean()
    covered = means[given.valid & ~given.visible].mean() + 1
    assert float(visible) == pytest.approx(seen, abs=0.02)
    assert float(hidden) == pytest.approx(covered, abs=0.03)
    assert float(within.split()[0]) > 0.99  # one nat against a tenth
    assert 0.5 < float(plain.split()[0]) < 0.65  # drowned in what differs between landmarks
    assert given.visible is not None
    nothing = replace(given, visible=given.valid)
    assert occlusion_table({REFERENCE: nothing}, "these", bootstrap=20) is None


def test_boundary_numbers_know_the_direction():
    given = made_predictions()
    n = len(given)
    # A jaw on a horizontal line: every covariance lies along it; the rest is anywhere.
    target = np.array(given.target)
    target[:, :17] = np.stack([np.arange(17.0), np.zeros(17)], axis=-1)
    valid = np.isfinite(target).all(-1)
    table = boundary_table(
        {REFERENCE: replace(given, target=target, valid=valid)}, {}, FACE68, bootstrap=20
    )
    assert table is not None
    assert table.rows[0][1:5] == ["2.00", "2.00", "0.0 (0.0 to 0.0)", "100.0 (100.0 to 100.0)"]
    across = np.broadcast_to([1.0, 0.0, 4.0], (n, 68, 3))
    turned = replace(given, target=target, valid=valid, covariances=across)
    table = boundary_table({REFERENCE: turned}, {}, FACE68, bootstrap=20)
    assert table is not None
    assert table.rows[0][3:5] == ["90.0 (90.0 to 90.0)", "0.0 (0.0 to 0.0)"]


def test_which_faces_are_drawn():
    given = made_predictions(6)
    visible, valid = np.ones((6, 68), bool), np.ones((6, 68), bool)
    visible[4, [30, 36]] = False
    visible[1, 30] = False
    target = np.nan_to_num(given.target) if given.target is not None else None
    assert target is not None
    away = np.array([5.0, 1.0, 2.0, 3.0, 4.0, 6.0])[:, None, None]
    told = replace(given, visible=visible, valid=valid, target=target, landmarks=target + away)
    assert hidden_faces(told, (30, 36), 2) == ["4", "1"]
    assert seen_faces(told, (30,), 2) == ["0", "3"]  # errors 5, 2, 3, 6 (× √2): median 4, stable
    entropy = np.zeros((6, 68))
    entropy[2, 36] = 1.0
    assert hidden_faces(replace(told, visible=valid, entropy=entropy), (30, 36), 1) == ["2"]


# Side by side


def test_a_killed_process_is_told_and_stops_nothing():
    whole, killed = Future(), Future()
    whole.set_result("")
    killed.set_exception(BrokenProcessPool("gone"))
    assert training._outcome(whole) == ""
    assert "killed, perhaps for want of memory" in training._outcome(killed)


# The gradient


def test_the_gradient_is_probability_less_responsibility():
    recipe = Recipe(
        data=DataRecipe(height=32, width=48),
        network=NetworkRecipe(features=8, depth=1),
        head=HeadRecipe(learn_bandwidth="fixed", refine=1),
    )
    torch.manual_seed(0)
    model = build_model(recipe).eval()
    crop = torch.randint(0, 256, (3, 32, 48), dtype=torch.uint8)
    points = torch.rand(68, 2) * torch.tensor([48.0, 32.0])
    got = loss_gradient(model, crop, points)
    with torch.no_grad():
        logits = model(crop[None])[-1][0].double()
    p = logits.flatten(1).softmax(-1).reshape(68, 8, 12)
    x = 4 * torch.arange(12) + 1.5
    y = 4 * torch.arange(8) + 1.5
    square = (points[:, 0, None, None] - x) ** 2 + (points[:, 1, None, None] - y[:, None]) ** 2
    weighted = p * (-square.double() / (2 * 4**2)).exp()
    r = weighted / weighted.sum(dim=(1, 2), keepdim=True)
    assert got == pytest.approx((p - r).numpy(), abs=1e-6)
    assert np.abs(got.sum(axis=(1, 2))).max() < 1e-6


# The report


def test_a_report_has_its_figures_beside_it(tmp_path):
    figure = Figure()
    figure.subplots().plot([0, 1], [1, 3])
    table = Table("T", ["a", "b"], [["x", "2"]], "A note.").markdown()
    parts = ["One.", table, Picture("p", figure, "What it shows.")]
    path = write_report(tmp_path / "out", "A & B", parts)
    text = path.read_text("utf-8")
    assert text.startswith("# A & B\n\nOne.\n\n### T\n\n| a | b |")
    assert "![What it shows.](figures/p.png)" in text
    assert (tmp_path / "out" / "figures" / "p.png").read_bytes()[1:4] == b"PNG"
    write_report(tmp_path / "out", "B", ["Two."])
    assert list((tmp_path / "out" / "figures").iterdir()) == []


def test_synthetic_faces_have_a_floor_too():
    floor = decode_floor(
        SyntheticFaces(5, seed=1)[:5], Framing("face", height=64, width=64), stride=4
    )
    assert floor["argmax"] > floor["quarter"] > floor["mode"]
