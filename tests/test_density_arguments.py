"""What a density accepts, and how it says what it does not."""

import math

import pytest
import torch

from densities import GRIDS, density_of
from kdn.density import KernelDensity
from kdn.grid import Grid

LOGITS = torch.zeros(2, 3, 5, 7)
GRID = GRIDS[2]


def test_batch_and_event_shapes() -> None:
    for ndim, event in ((1, ()), (2, (2,)), (3, (3,))):
        density = density_of("landmark", ndim)
        assert density.batch_shape == (2, 3)
        assert density.event_shape == event
        assert density.mean.shape == density.variance.shape == (2, 3, *event)
        assert density.covariance_matrix.shape == (2, 3, ndim, ndim)
    single = KernelDensity(torch.zeros(5, 7), GRID, bandwidth=1.0)
    assert single.batch_shape == ()
    assert single.log_prob(torch.zeros(4, 2)).shape == (4,)


@pytest.mark.parametrize("shape", [(2, 3, 7, 5), (7,), (2, 5, 3)])
def test_logits_that_do_not_fit_the_grid(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"logits must have shape \(\*batch, 5, 7\)"):
        KernelDensity(torch.zeros(shape), GRID, bandwidth=1.0)


def test_kernels_that_do_not_exist() -> None:
    with pytest.raises(ValueError, match=r"kernel must be one of gaussian, uniform, got 'box'"):
        KernelDensity(LOGITS, GRID, bandwidth=1.0, kernel="box")


def test_a_missing_bandwidth() -> None:
    with pytest.raises(ValueError, match=r"bandwidth must be given for Gaussian kernels"):
        KernelDensity(LOGITS, GRID)


@pytest.mark.parametrize("bandwidth", [0.0, -1.0, math.inf, math.nan])
def test_bandwidths_that_are_not_positive(bandwidth: float) -> None:
    with pytest.raises(
        ValueError, match=rf"bandwidth must be positive and finite, got {bandwidth}"
    ):
        KernelDensity(LOGITS, GRID, bandwidth=bandwidth)
    with pytest.raises(ValueError, match=r"bandwidth must be positive and finite"):
        KernelDensity(
            LOGITS, GRID, bandwidth=torch.tensor([1.0, bandwidth, 1.0]), validate_args=True
        )


@pytest.mark.parametrize("shape", [(2,), (3, 2), (1, 2, 3), (2, 3, 5), (5, 7), (2, 3, 1, 1)])
def test_bandwidths_that_do_not_broadcast(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"bandwidth must be broadcastable .* got \("):
        KernelDensity(LOGITS, GRID, bandwidth=torch.ones(shape))


def test_uniform_kernels_take_neither_bandwidth_nor_offsets() -> None:
    with pytest.raises(ValueError, match=r"bandwidth must not be given for uniform .* got 2.0"):
        KernelDensity(LOGITS, GRID, kernel="uniform", bandwidth=2.0)
    with pytest.raises(ValueError, match=r"offsets must not be given for uniform"):
        KernelDensity(LOGITS, GRID, kernel="uniform", offsets=torch.zeros(2, 3, 2, 5, 7))


@pytest.mark.parametrize("shape", [(2, 3, 5, 7), (2, 3, 5, 7, 2), (3, 2, 5, 7), (2, 3, 2, 7, 5)])
def test_offsets_of_another_shape(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"offsets must have shape \(2, 3, 2, 5, 7\), got"):
        KernelDensity(LOGITS, GRID, bandwidth=1.0, offsets=torch.zeros(shape))


@pytest.mark.parametrize("shape", [(2, 3), (2, 3, 3), (2, 2), (4, 2, 2), (3, 2, 2)])
def test_points_that_do_not_fit(shape: tuple[int, ...]) -> None:
    density = KernelDensity(LOGITS, GRID, bandwidth=1.0)
    with pytest.raises(ValueError, match=r"points must have .*batch.* \(2, 3\).* got \("):
        density.log_prob(torch.zeros(shape))


@pytest.mark.parametrize("name", ["logits", "offsets", "points"])
@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_values_are_looked_at_on_request(name: str, value: float) -> None:
    tensors = {
        "logits": LOGITS.clone(),
        "offsets": torch.zeros(2, 3, 2, 5, 7),
        "points": torch.zeros(2, 3, 2),
    }
    tensors[name].view(-1)[3] = value

    def log_prob(validate: bool) -> torch.Tensor:
        return KernelDensity(
            tensors["logits"], GRID, bandwidth=1.0, offsets=tensors["offsets"],
            validate_args=validate,
        ).log_prob(tensors["points"])  # fmt: skip

    assert log_prob(False).shape == (2, 3)
    with pytest.raises(ValueError, match=rf"{name} must be finite"):
        log_prob(True)


def test_a_map_without_mass() -> None:
    logits = LOGITS.clone()
    logits[1, 2] = -math.inf
    with pytest.raises(ValueError, match=r"logits must be finite in at least one cell"):
        KernelDensity(logits, GRID, bandwidth=1.0, validate_args=True)


def test_repr_says_what_it_is() -> None:
    assert "batch_shape=(2, 3)" in repr(density_of("cell", 2))
    assert "per_cell=True" in repr(density_of("cell", 2))
    grid = Grid((7,), (0.0,), (1.0,))
    assert "'uniform'" in repr(KernelDensity(torch.zeros(7), grid, kernel="uniform"))


@pytest.mark.parametrize(
    "call", [lambda d: d.mode, lambda d: d.entropy(), lambda d: d.hdr_mask(0.9)]
)
def test_logits_that_are_not_numbers_are_named_by_what_searches_them(call) -> None:
    logits = torch.zeros(2, 3, 5, 7)
    logits[1, 2, 3, 4] = math.nan
    density = KernelDensity(logits, Grid.of_heatmap(height=5, width=7, stride=4), bandwidth=4.0)
    with pytest.raises(ValueError, match="logits must be finite or -inf, got NaN"):
        call(density)
