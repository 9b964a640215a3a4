"""Figures of scalars: what is drawn is what the scores say."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from matplotlib.axes import Axes
from scipy import stats

from kdn.evaluate import diagnose
from kdn.figures import (
    calibration_figure,
    ced_figure,
    intervals_figure,
    uncertainty_figure,
    write_figures,
)
from kdn.predictions import QUANTILES, Predictions


def predictions(width: float, *, count: int = 600) -> Predictions:
    """Return Gaussian predictions of two values, `width` times as wide as their errors."""
    rng = np.random.default_rng(4)
    deviation = rng.uniform(1.0, 6.0, (count, 2))
    value = rng.uniform(10.0, 90.0, (count, 2))
    target = value + deviation * rng.standard_normal((count, 2)) / width
    target[:100, 1] = np.nan
    below = stats.norm(value, deviation).cdf(target)
    ends = value[..., None] + deviation[..., None] * stats.norm.ppf(QUANTILES)
    return Predictions(
        id=tuple(map(str, range(count))),
        metadata={"names": ["age", "height"]},
        values=value,
        target=target,
        uncertainty=deviation,
        cdf_low=below,
        cdf_high=below,
        quantiles=ends,
    )


def drawn(width: float, **options: int) -> tuple:
    """Return the axes of the figure of a diagnosis."""
    return tuple(calibration_figure(diagnose(predictions(width, **options), bootstrap=20)).axes)


def heights_of(axes: Axes) -> list[float]:
    return [bar.get_height() for bar in axes.patches]  # pyright: ignore[reportAttributeAccessIssue]


def test_a_calibrated_density_is_flat_and_on_the_line() -> None:
    coverage, levels, *_ = drawn(1.0)
    heights = heights_of(levels)
    assert len(heights) == 20
    assert np.mean(heights) == pytest.approx(1.0)
    assert np.std(heights) < 0.4
    _, *lines = coverage.lines
    assert [str(line.get_label()).split(" (")[0] for line in lines] == ["all", "age", "height"]
    for line in lines:
        nominal, held = (np.asarray(axis) for axis in line.get_data())
        assert np.abs(held - nominal).max() < 7


def test_a_density_that_is_too_wide_is_humped_and_covers_too_much() -> None:
    coverage, levels, *_ = drawn(2.0)
    heights = heights_of(levels)
    assert np.mean(heights[8:12]) > 3 * np.mean(heights[:2] + heights[-2:])
    nominal, held = (np.asarray(axis) for axis in coverage.lines[1].get_data())
    assert (held - nominal)[len(nominal) // 2] > 20


def test_intervals_are_drawn_for_each_scalar() -> None:
    given = predictions(1.0)
    first, second = intervals_figure(given, most=1000).axes[:2]
    assert [axes.get_title(loc="left") or axes.get_title() for axes in (first, second)] == [
        "age",
        "height",
    ]
    points = np.asarray(first.lines[0].get_data()).T
    assert given.target is not None
    wanted = np.stack([given.target[:, 0], given.prediction[:, 0]], axis=1)
    np.testing.assert_allclose(points[np.argsort(points[:, 0])], wanted[np.argsort(wanted[:, 0])])
    assert len(np.asarray(second.lines[0].get_data()).T) == 500  # the others have no label
    with pytest.raises(ValueError, match="must be scalars with labels and quantiles"):
        intervals_figure(dataclasses.replace(given, quantiles=None))


def test_errors_and_uncertainties_are_in_the_label_s_unit() -> None:
    given = {"one": predictions(1.0)}
    axes = ced_figure(given).axes[0]
    assert axes.get_xlabel() == "absolute error"
    error = np.abs(given["one"].prediction - np.asarray(given["one"].target))
    steps, held = (np.asarray(axis) for axis in axes.lines[0].get_data())
    half = np.searchsorted(steps, 4.0, side="right") - 1
    assert held[half] == pytest.approx(100 * np.mean(error[~np.isnan(error)] <= 4.0))
    assert uncertainty_figure(given).axes[0].get_xlabel() == "standard deviation"


def test_all_figures_of_a_file_are_written(tmp_path: Path) -> None:
    paths = write_figures({"one": predictions(1.0, count=60)}, tmp_path / "new")
    names = ["ced", "uncertainty", "sparsification", "reliability", "intervals_one"]
    assert [path.stem for path in paths] == names
    assert all(path.stat().st_size > 10_000 for path in paths)
