"""Figures show the numbers that the metrics give, at the right places, and change no settings."""

import dataclasses
import math

import matplotlib as mpl
import numpy as np
import pytest
from matplotlib.cm import ScalarMappable
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

import kdn.evaluate as metrics
import plain
from kdn.evaluate import diagnose
from kdn.figures import (
    calibration_figure,
    ced_figure,
    convergence_figure,
    gradient_figure,
    heatmap_figure,
    reliability_figure,
    sparsification_figure,
    uncertainty_figure,
    write_figures,
)
from kdn.grid import Grid
from kdn.predictions import Maps, Predictions
from labelled import gaussian_predictions


@pytest.fixture(scope="module")
def named() -> dict[str, Predictions]:
    return {
        "right": gaussian_predictions(),
        "too wide": gaussian_predictions(width=2.0, seed=1),
        "of others": dataclasses.replace(
            gaussian_predictions(seed=2), uncertainty=None, hdr_level=None
        ),
    }


@pytest.fixture(scope="module")
def sure(named) -> dict[str, Predictions]:
    return {name: named[name] for name in ("right", "too wide")}


def heatmaps(*, cells: tuple[int, int], stride: float, ids: tuple[str, ...], seed: int) -> Maps:
    """Heatmaps of four landmarks in crops of 24×36 whose peak is the cell nearest the label."""
    rng = np.random.default_rng(seed)
    grid = Grid.of_heatmap(height=cells[0], width=cells[1], stride=stride)
    centres = grid.points().numpy()
    target = rng.uniform((3, 3), (32, 20), (len(ids), 4, 2)).astype(np.float32)
    squares = ((centres[None, None] - target[:, :, None, None]) ** 2).sum(axis=-1)
    visible = np.ones((len(ids), 4), bool)
    visible[:, 2] = False
    return Maps(
        ids=ids,
        crops=rng.integers(0, 255, (len(ids), 24, 36, 3), dtype=np.uint8),
        log_probs=(-squares / 8).astype(np.float16),
        target=target,
        visible=visible,
        grid=grid,
    )


@pytest.fixture(scope="module")
def maps() -> dict[str, Maps]:
    return {
        "coarse": heatmaps(cells=(6, 9), stride=4, ids=("a", "b/1", "c"), seed=0),
        "fine": heatmaps(cells=(12, 18), stride=2, ids=("c", "b/1"), seed=1),
    }


def lines_of(figure: Figure) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """The curves that the legend names, by the system's name."""
    lines = {str(line.get_label()).split(":")[0]: line for line in figure.axes[0].lines}
    return {
        name: (np.asarray(line.get_xdata()), np.asarray(line.get_ydata()))
        for name, line in lines.items()
        if not name.startswith("_")
    }


def values_of(artist: ScalarMappable) -> np.ndarray:
    """The numbers that an artist shows as colours."""
    values = artist.get_array()
    assert values is not None
    return np.asarray(values)


def legend_of(figure: Figure) -> list[str]:
    return [text.get_text() for text in figure.legends[0].get_texts()]


def test_ced(named):
    figure = ced_figure(named)
    curves = lines_of(figure)
    assert list(curves) == list(named)
    for name, predictions in named.items():
        errors = metrics.point_errors(predictions.landmarks, predictions.target)
        length = metrics.normalisers(predictions.target, predictions.valid, None)["box"]
        each = metrics.image_errors(errors, predictions.valid, length)
        x, y = curves[name]
        assert (x[0], x[-1]) == (0.0, 7.0)
        np.testing.assert_allclose(y, metrics.ced(each, x))
        label = f"{name}: {each.mean():.2f} / {metrics.auc(each, 7, rule='exact'):.1f}"
        assert label in legend_of(figure)
    axes = figure.axes[0]
    assert axes.get_xlabel() == "NME, % of √(w·h) of the landmark box"
    assert axes.get_xlim() == (0, 7)


def test_ced_shows_systems_that_are_beyond_the_threshold(named):
    name, predictions = next(iter(named.items()))
    assert predictions.target is not None
    low, high = (f(predictions.target, axis=(0, 1)) for f in (np.nanmin, np.nanmax))
    side = float((high - low).mean())
    far = dataclasses.replace(predictions, landmarks=predictions.landmarks + 0.05 * side)
    figure = ced_figure({name: predictions, "far": far})
    x, y = lines_of(figure)["far"]
    right = figure.axes[0].get_xlim()[1]
    assert 7 < right < 28
    assert x[-1] == right
    assert y[-1] > 50
    lost = dataclasses.replace(predictions, landmarks=predictions.landmarks + 9 * side)
    axes = ced_figure({name: predictions, "lost": lost}).axes[0]
    assert axes.get_xlim() == (0, 28)  # the others can still be told apart
    alone = ced_figure({"lost": lost})
    assert lines_of(alone)["lost"][1][-1] > 50


def test_ced_of_another_normaliser(named):
    figure = ced_figure(named, normaliser="inter-ocular", threshold=8)
    assert figure.axes[0].get_xlabel() == "NME, % of the inter-ocular distance"
    assert figure.legends[0].get_title().get_text() == "NME % / AUC@8 % (exact)"
    with pytest.raises(ValueError, match=r"right: normaliser must be one of box, .*'nose'"):
        ced_figure(named, normaliser="nose")


def test_reliability(sure):
    curves = lines_of(reliability_figure(sure))
    nominal, right = curves["right"]
    _, wide = curves["too wide"]
    np.testing.assert_allclose(nominal, np.arange(1, 100))
    level, valid = sure["right"].hdr_level, sure["right"].valid
    assert right[79] == pytest.approx(plain.coverage(level, valid, 0.8))
    assert np.abs(right - nominal).max() < 6
    assert (wide - nominal)[20:80].min() > 8
    assert f"too wide: {np.abs(wide - nominal).mean():.1f}" in legend_of(reliability_figure(sure))


def test_sparsification(sure):
    figure = sparsification_figure(sure, normaliser=None)
    predictions = sure["right"]
    errors = metrics.point_errors(predictions.landmarks, predictions.target)[predictions.valid]
    uncertainty = predictions.uncertainty[predictions.valid]
    removed, curve = lines_of(figure)["right"]
    wanted = plain.sparsification(uncertainty, errors, removed / 100) / errors.mean()
    np.testing.assert_allclose(curve, 100 * wanted)
    assert curve[0] == pytest.approx(100)
    assert f"right: {plain.ause(uncertainty, errors):.3f}" in legend_of(figure)
    divided = lines_of(sparsification_figure(sure))["right"][1]
    assert np.abs(divided - curve).max() > 1


def test_uncertainty_against_error(sure):
    figure = uncertainty_figure(sure)
    predictions = sure["too wide"]
    errors = metrics.point_errors(predictions.landmarks, predictions.target)[predictions.valid]
    uncertainty = predictions.uncertainty[predictions.valid]
    axes = figure.axes[1]
    rho, r = plain.spearman(uncertainty, errors), plain.pearson(uncertainty, errors)
    assert axes.get_title(loc="left") == f"too wide\nSpearman {rho:.2f}, Pearson {r:.2f}"
    assert values_of(axes.collections[0]).sum() == predictions.valid.sum()  # none is lost
    line, dots = axes.lines
    x, y = line.get_data()
    np.testing.assert_allclose(np.divide(y, x), math.sqrt(math.pi / 2))
    below = np.asarray(dots.get_ydata()) / np.asarray(dots.get_xdata())
    assert below.mean() == pytest.approx(0.5 * math.sqrt(math.pi / 2), rel=0.1)  # on x, not on y
    assert figure.axes[0].get_ylabel() == "error, image px"
    assert figure.axes[0].get_xlim() == axes.get_xlim()
    clouds = [one.collections[0] for one in figure.axes[:2]]
    assert clouds[0].get_clim() == clouds[1].get_clim()


def test_uncertainty_divided_by_the_box(sure):
    axes = uncertainty_figure(sure, normaliser="box").axes[0]
    assert axes.get_ylabel() == "error, % of box"
    five = uncertainty_figure({f"system {i}": sure["right"] for i in range(5)})
    shown = [one for one in five.axes if one.get_visible() and one.get_title(loc="left")]
    assert len(shown) == 5


def test_heatmaps_lie_where_their_cells_are(maps):
    """The brightest cell holds the label: half a cell off, or x and y swapped, and it does not."""
    figure = heatmap_figure(maps, sample="b/1", landmarks=(0, 3, 2))
    assert len(figure.axes) == 2 * 4
    for row, (name, one) in enumerate(maps.items()):
        index = one.ids.index("b/1")
        for column, landmark in enumerate((0, 3, 2), start=1):
            axes = figure.axes[4 * row + column]
            crop, glow = axes.images
            assert tuple(crop.get_extent()) == (-0.5, 35.5, 23.5, -0.5)
            left, right, bottom, top = glow.get_extent()
            values = values_of(glow)
            y, x = np.unravel_index(values.argmax(), values.shape)
            height, width = one.grid.shape
            across, down = (right - left) / width, (bottom - top) / height
            target = one.target[index, landmark]
            np.testing.assert_allclose(np.asarray(axes.lines[0].get_xydata())[0], target)
            assert left + x * across <= target[0] <= left + (x + 1) * across, name
            assert top + y * down <= target[1] <= top + (y + 1) * down, name
            x_limits, y_limits = axes.get_xlim(), axes.get_ylim()
            assert x_limits[0] < target[0] < x_limits[1]
            assert y_limits[1] < target[1] < y_limits[0]
            assert x_limits[1] - x_limits[0] == pytest.approx(0.4 * 36)
            assert (axes.lines[0].get_marker() == "o") == (landmark == 2)  # the hidden one
    titles = [axes.get_title() for axes in figure.axes]
    assert titles == ["all", "1", "4", "3", "", "", "", ""]
    assert [figure.axes[i].get_ylabel() for i in (0, 4)] == ["coarse", "fine"]


def test_heatmaps_of_labels_that_are_not_valid(maps):
    one = maps["fine"]
    target = one.target.copy()
    target[:, 1] = np.nan
    log_probs = one.log_probs.copy()
    log_probs[:, :, 0, 0] = -np.inf
    figure = heatmap_figure({"x": dataclasses.replace(one, target=target, log_probs=log_probs)})
    assert [len(axes.lines) for axes in figure.axes] == [0, 1, 0, 1, 1]


def test_heatmaps_are_headed_by_number_name_or_what_is_given(maps):
    one = maps["fine"]
    many = np.concatenate([one.log_probs] * 17, axis=1)
    face = dataclasses.replace(
        one,
        log_probs=many,
        target=np.concatenate([one.target] * 17, axis=1),
        visible=np.concatenate([one.visible] * 17, axis=1),
        markup="face68",
    )

    def heads(*each: Maps, **how) -> list[str]:
        figure = heatmap_figure({str(i): one for i, one in enumerate(each)}, **how)
        return [axes.get_title() for axes in figure.axes if axes.get_title()]

    assert heads(face, face, landmarks=(30, 45)) == [
        *("all", "31: nose tip", "46: left eye\nouter corner"),
    ]
    other = dataclasses.replace(face, markup="sixty-eight others")
    assert heads(face, other, landmarks=(30, 45)) == ["all", "31", "46"]
    assert heads(face, landmarks=(30, 45), titles=("tip", "eye")) == ["all", "tip", "eye"]
    with pytest.raises(ValueError, match="titles must be one for each of 2 landmarks, got 3"):
        heads(face, landmarks=(30, 45), titles=("a", "b", "c"))


def gradients() -> tuple[dict[str, np.ndarray], Grid, np.ndarray, np.ndarray]:
    """Two stages of three landmarks on an oblong map: a step moves mass to the label's cell."""
    rng = np.random.default_rng(7)
    grid = Grid.of_heatmap(height=6, width=9, stride=4)
    # Cell (row, column) of each label, and of the most of what is taken away.
    up, down = [(1, 7), (4, 2), (3, 5)], [(2, 7), (4, 4), (0, 0)]
    stages = {}
    for name, size in (("early", 0.25), ("late", 3e-6)):
        stages[name] = size * rng.uniform(-0.1, 0.1, (3, 6, 9))
        for landmark in range(3):
            stages[name][landmark][up[landmark]] = -size
            stages[name][landmark][down[landmark]] = 0.5 * size
    target = np.array([[4 * column + 1.5, 4 * row + 1.5] for row, column in up])
    return stages, grid, target, rng.integers(0, 255, (24, 36, 3), dtype=np.uint8)


def test_gradients_lie_where_their_cells_are_and_say_their_scale():
    stages, grid, target, crop = gradients()
    figure = gradient_figure(stages, crop=crop, target=target, grid=grid, landmarks=(2, 0))
    assert len(figure.axes) == 2 * 2
    for i, (name, landmark) in enumerate((n, k) for n in stages for k in (2, 0)):
        axes = figure.axes[i]
        step = axes.images[1]
        values = stages[name][landmark]
        np.testing.assert_array_equal(values_of(step), values)
        assert tuple(step.get_extent()) == (-0.5, 35.5, 23.5, -0.5)
        largest = np.abs(values).max()
        assert step.get_clim() == (-largest, largest)
        assert [text.get_text() for text in axes.texts] == [f"{largest:.2g}"]
        colours = step.to_rgba(values_of(step))
        lowest = np.unravel_index(values.argmin(), values.shape)  # a step raises its logit
        highest = np.unravel_index(values.argmax(), values.shape)
        assert colours[lowest][2] > colours[lowest][0] + 0.3
        assert colours[highest][0] > colours[highest][2] + 0.3
        nothing = step.to_rgba(np.zeros((1, 2)))
        assert (nothing[..., 3] < 0.01).all()  # clear
        np.testing.assert_allclose(np.asarray(axes.lines[0].get_xydata())[0], target[landmark])
        (left, right), (bottom, top) = axes.get_xlim(), axes.get_ylim()
        assert (right - left, bottom - top) == pytest.approx((18, 12))
        assert left < target[landmark, 0] < right
        assert top < target[landmark, 1] < bottom
    assert [axes.get_title() for axes in figure.axes] == ["3", "1", "", ""]
    assert [figure.axes[i].get_ylabel() for i in (0, 2)] == ["early", "late"]


def test_gradients_of_landmarks_without_a_label_and_of_nothing():
    stages, grid, target, crop = gradients()
    target[0] = np.nan
    stages["late"][2] = 0.0
    how = {"crop": crop, "target": target, "grid": grid}
    figure = gradient_figure(stages, landmarks=(0, 2), window=0.25, **how)
    assert [len(axes.lines) for axes in figure.axes] == [0, 1, 0, 1]
    left, right = figure.axes[0].get_xlim()
    assert left < 4 * 7 + 1.5 < right  # about the largest size, which is a fall
    assert [axes.texts[0].get_text() for axes in figure.axes][-1] == "0"
    for landmarks, said in (((3,), r"landmarks must be 0 to 2, got \(3,\)"), ((), "empty")):
        with pytest.raises(ValueError, match=said):
            gradient_figure(stages, landmarks=landmarks, **how)
    turned = Grid(grid.shape[::-1], grid.origin, grid.spacing)
    with pytest.raises(ValueError, match=r"early: a stage must have shape \(3, 9, 6\)"):
        gradient_figure(stages, landmarks=(0,), **{**how, "grid": turned})
    with pytest.raises(ValueError, match=r"window must be in \(0, 1\], got 1.5"):
        gradient_figure(stages, landmarks=(0,), window=1.5, **how)


def test_convergence():
    rng = np.random.default_rng(8)
    curves = {f"h = {i}": rng.uniform(1, 9, 5 + i) for i in range(9)}
    figure = convergence_figure(curves, marks={"h = 1": 3, "h = 8": 1}, title="slower")
    axes = figure.axes[0]
    lines = lines_of(figure)
    assert list(lines) == list(curves)
    for name, losses in curves.items():
        np.testing.assert_array_equal(lines[name][0], np.arange(1, len(losses) + 1))
        np.testing.assert_array_equal(lines[name][1], losses)
    dots = [line for line in axes.lines if line.get_marker() == "o"]
    at = [np.asarray(dot.get_xydata())[0].tolist() for dot in dots]
    assert at == [[3, curves["h = 1"][2]], [1, curves["h = 8"][0]]]
    assert dots[0].get_markeredgecolor() == axes.lines[1].get_color()
    assert axes.get_title(loc="left") == "slower"
    assert legend_of(figure) == list(curves)
    # More settings than colours, but no two alike.
    named = [line for line in axes.lines if line.get_marker() != "o"]
    looks = {(line.get_color(), str(line._dash_pattern)) for line in named}  # pyright: ignore
    assert len(looks) == 9


def test_convergence_marks_name_epochs_of_curves():
    curves = {"a": np.array([3.0, 2.0, 1.5])}
    for epoch in (0, 4):
        with pytest.raises(ValueError, match=f"marks must be 1 to 3 for a, got {epoch}"):
            convergence_figure(curves, marks={"a": epoch})
    with pytest.raises(ValueError, match="marks must name curves, got b"):
        convergence_figure(curves, marks={"b": 1})
    with pytest.raises(ValueError, match="named must hold at least one system"):
        convergence_figure({})


def test_what_cannot_be_drawn_is_named(named, maps):
    with pytest.raises(ValueError, match="named must hold at least one system"):
        ced_figure({})
    with pytest.raises(ValueError, match="named must hold at least one system"):
        heatmap_figure({})
    with pytest.raises(ValueError, match="of others: uncertainty must be given, got None"):
        uncertainty_figure(named)
    with pytest.raises(ValueError, match="of others: levels must be given"):
        reliability_figure(named)
    none = dict.fromkeys(("target", "valid", "log_prob", "hdr_tie", "energy_score"))
    blank = dataclasses.replace(named["of others"], **none)
    with pytest.raises(ValueError, match="blank: predictions must have labels"):
        ced_figure({"right": named["right"], "blank": blank})
    with pytest.raises(ValueError, match="sample must be one that fine has, got 'a'"):
        heatmap_figure(maps, sample="a")
    with pytest.raises(ValueError, match=r"landmarks must be 0 to 3, got \(4,\)"):
        heatmap_figure(maps, landmarks=(4,))
    with pytest.raises(ValueError, match=r"window must be in \(0, 1\], got 0"):
        heatmap_figure(maps, window=0)
    apart = {"coarse": dataclasses.replace(maps["coarse"], ids=("p", "q", "r"))}
    with pytest.raises(ValueError, match="must have a sample in common"):
        heatmap_figure({**maps, **apart})


def test_files(named, maps, tmp_path, monkeypatch):
    monkeypatch.setattr("kdn.figures._DPI", 30)  # for speed
    before = dict(mpl.rcParams)
    paths = write_figures(named, tmp_path / "new", maps=maps)
    assert [path.name for path in paths] == [
        *("ced.png", "uncertainty.png", "sparsification.png", "reliability.png"),
        *("heatmaps_b-1.png", "heatmaps_c.png"),
    ]
    for path in paths:
        assert path.read_bytes().startswith(b"\x89PNG")
    assert dict(mpl.rcParams) == before
    bare = write_figures({"of others": named["of others"]}, tmp_path)
    assert [path.name for path in bare] == ["ced.png"]


def test_a_diagnosis_is_drawn_with_its_numbers():
    predictions = gaussian_predictions(samples=16, width=0.7)
    found = diagnose(predictions, by="side", values=np.array(["left", "right"] * 8), bootstrap=20)
    axes = calibration_figure(found).axes
    assert [each.get_title(loc="left") for each in axes] == [
        "Coverage",
        "Levels",
        "Sparsification",
        "Risk and share kept",
    ]
    lines = {line.get_label(): line for line in axes[0].get_lines()}
    assert predictions.hdr_level is not None
    assert predictions.valid is not None
    held = [plain.coverage(predictions.hdr_level, predictions.valid, 0.9)]
    drawn = next(line for name, line in lines.items() if str(name).startswith("all ("))
    assert np.asarray(drawn.get_xdata())[89] == pytest.approx(90)
    assert [np.asarray(drawn.get_ydata())[89]] == pytest.approx(held)
    assert sum("side" in str(name) for name in lines) == 2
    heights = [bar.get_height() for bar in axes[1].patches if isinstance(bar, Rectangle)]
    assert len(heights) == 20
    assert np.mean(heights) == pytest.approx(1.0)
    assert heights[-1] > 1.5  # densities too narrow: labels at the ends of the tails
    risk, left = (np.asarray(each.get_lines()[0].get_ydata()) for each in (axes[3], axes[2]))
    assert risk[-1] == pytest.approx(found["all"]["mean error"].value)
    assert risk[49] == pytest.approx(0.01 * risk[-1] * left[50])
    bare = dataclasses.replace(predictions, hdr_level=None, hdr_tie=None, uncertainty=None)
    said = [text.get_text() for each in calibration_figure(diagnose(bare, bootstrap=0)).axes
            for text in each.texts]  # fmt: skip
    assert said == ["no column of levels"] * 2 + ["no column uncertainty"] * 2
