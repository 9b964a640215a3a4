"""The figure of values: what is drawn is what the scores say."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from kdn.figures.values import values_figure
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


def test_a_calibrated_density_is_flat_and_on_the_line() -> None:
    drawn = values_figure(predictions(1.0), bootstrap=20)
    pit, coverage, errors, _ = drawn.axes
    heights = [bar.get_height() for bar in pit.patches]  # pyright: ignore[reportAttributeAccessIssue]
    assert len(heights) == 20
    assert np.mean(heights) == pytest.approx(1.0)
    assert np.std(heights) < 0.4
    _, *lines = coverage.lines
    assert [line.get_label() for line in lines] == ["age", "height"]
    for line in lines:
        nominal, held = (np.asarray(axis) for axis in line.get_data())
        assert np.abs(held - nominal).max() < 7
    for line in errors.lines[:2]:
        spread, error = (np.asarray(axis) for axis in line.get_data())
        np.testing.assert_allclose(error, spread * np.sqrt(2 / np.pi), rtol=0.45)
        assert (np.diff(spread) > 0).all()


def test_a_density_that_is_too_wide_is_humped_and_covers_too_much() -> None:
    pit, coverage, *_ = values_figure(predictions(2.0), bootstrap=0).axes
    heights = [bar.get_height() for bar in pit.patches]  # pyright: ignore[reportAttributeAccessIssue]
    assert np.mean(heights[8:12]) > 3 * np.mean(heights[:2] + heights[-2:])
    nominal, held = (np.asarray(axis) for axis in coverage.lines[1].get_data())
    assert (held - nominal)[len(nominal) // 2] > 20


@pytest.mark.parametrize("missing", ["target", "cdf_low", "quantiles"])
def test_what_is_missing_is_named(missing: str) -> None:
    given = predictions(1.0)
    about = dict.fromkeys(("valid", "cdf_low", "cdf_high") if missing == "target" else ())
    given = dataclasses.replace(given, **{missing: None}, **about)
    with pytest.raises(ValueError, match=f"a column of {missing}"):
        values_figure(given)


def test_it_can_be_written(tmp_path: Path) -> None:
    values_figure(predictions(1.0, count=30), bootstrap=5).savefig(tmp_path / "one.png")
    assert (tmp_path / "one.png").stat().st_size > 10_000
