"""Distribution function and quantiles on a 1-D grid, against SciPy."""

import math

import numpy as np
import pytest
import torch
from scipy import integrate, optimize, stats
from torch import Tensor

from densities import BATCH, GRIDS, density_of, uniform
from kdn.density import KernelDensity
from kdn.grid import Grid


def reference(density: KernelDensity, values: Tensor) -> np.ndarray:
    """Return the distribution function as a sum of SciPy's, `(*sample, *batch)`."""
    (size,) = density.grid.spacing
    probs, centres = density.probs.numpy(), density.grid.origin[0] + size * np.arange(7)
    if density.offsets is not None:
        centres = centres + density.offsets[..., 0, :].numpy()
    if density.bandwidth is None:
        own = stats.uniform(centres - size / 2, size)
    else:
        scale = density.bandwidth.numpy()
        own = stats.norm(centres, scale if density.per_cell else scale[..., None])
    return (probs * own.cdf(values.numpy()[..., None])).sum(-1)


def line(form: str) -> KernelDensity:
    if form == "uniform":
        logits = uniform(*BATCH, 7, low=-3.0, high=3.0)
        return KernelDensity(logits, GRIDS[1], kernel="uniform")
    return density_of(form.split(",")[0], 1, offsets="moved" in form)


FORMS = ["number", "landmark", "cell", "landmark, moved", "cell, moved", "uniform"]


@pytest.mark.parametrize("form", FORMS)
def test_cdf_is_scipys(form: str) -> None:
    density = line(form)
    values = uniform(4, *BATCH, low=-5.0, high=2.0, seed=4)
    np.testing.assert_allclose(density.cdf(values).numpy(), reference(density, values), atol=1e-14)
    shared = uniform(5, 1, 3, low=-5.0, high=2.0)
    assert density.cdf(shared).shape == (5, *BATCH)


@pytest.mark.parametrize("form", ["landmark", "cell, moved", "uniform"])
def test_cdf_is_the_integral_of_the_density(form: str) -> None:
    density = line(form)
    edges = [-3.25 + 0.5 * i for i in range(8)]

    def at(y: float) -> float:
        return density.log_prob(torch.tensor(y, dtype=torch.float64))[1, 2].exp().item()

    below = integrate.quad(at, -12.0, -0.6, points=edges[:6], limit=200)[0]
    assert density.cdf(torch.tensor(-0.6, dtype=torch.float64))[1, 2].item() == pytest.approx(
        below, abs=1e-7
    )


@pytest.mark.parametrize("form", FORMS)
def test_icdf_inverts_the_cdf(form: str) -> None:
    density = line(form)
    levels = uniform(4, *BATCH, seed=5)
    found = density.icdf(levels)
    np.testing.assert_allclose(reference(density, found), levels.numpy(), atol=1e-12)
    level = levels[3, 1, 2].item()
    root = optimize.brentq(
        lambda y: reference(density, torch.full(BATCH, y, dtype=torch.float64))[1, 2] - level,
        -9,
        9,
        xtol=1e-13,
    )
    assert found[3, 1, 2].item() == pytest.approx(root, abs=1e-10)


def test_icdf_at_the_ends() -> None:
    levels = torch.tensor([0.0, 1.0, -0.1, 1.1, math.nan])[:, None, None].expand(5, 2, 3)
    found = line("landmark").icdf(levels)
    assert (found[0] == -math.inf).all()
    assert (found[1] == math.inf).all()
    assert found[2:].isnan().all()
    grid = Grid((5,), (0.0,), (2.0,))
    probs = torch.tensor([0.0, 0.25, 0.0, 0.75, 0.0])
    density = KernelDensity(probs.log(), grid, kernel="uniform")
    asked = torch.tensor([0.0, 0.125, 0.25, 0.625, 1.0, -0.1, 1.1])
    expected = torch.tensor([1.0, 2.0, 3.0, 6.0, 7.0, math.nan, math.nan])
    torch.testing.assert_close(density.icdf(asked), expected, equal_nan=True)


def test_by_hand_and_in_single_precision() -> None:
    """Half the mass at 0, half at 4, bandwidth 1: P(Y ≤ 0) = ½ · ½ + ½ Φ(−4)."""
    density = KernelDensity(torch.zeros(2), Grid((2,), (0.0,), (4.0,)), bandwidth=1.0)
    found = density.cdf(torch.tensor(0.0))
    assert found.dtype == torch.float32
    assert found.item() == pytest.approx(0.25 + 0.5 * stats.norm.cdf(-4), rel=1e-6)
    assert density.icdf(torch.tensor(0.5)).item() == pytest.approx(2.0, abs=1e-6)


def test_the_gradient_of_the_cdf_is_the_density() -> None:
    density = line("cell, moved")
    values = uniform(*BATCH, low=-5.0, high=2.0).requires_grad_()
    (slope,) = torch.autograd.grad(density.cdf(values).sum(), values)
    torch.testing.assert_close(slope, density.log_prob(values).exp())


def test_only_on_a_line() -> None:
    density = density_of("number", 2)
    with pytest.raises(NotImplementedError, match="1-D grid, this has 2-D"):
        density.cdf(torch.zeros(2, 3, 2))
    with pytest.raises(NotImplementedError, match="1-D grid, this has 2-D"):
        density.icdf(torch.zeros(2, 3, 2))


def test_shapes_that_do_not_broadcast() -> None:
    for call in (line("number").cdf, line("number").icdf):
        with pytest.raises(ValueError, match=r"broadcasts with batch \(2, 3\)"):
            call(torch.zeros(4, 2))
