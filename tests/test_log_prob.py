"""The log-density: its value against torch's own mixtures, and its edges."""

import math
import subprocess
import sys

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from densities import (
    BANDWIDTHS,
    BATCH,
    GRIDS,
    bandwidth_of,
    density_of,
    in_single,
    mixture_of,
    points_of,
    uniform,
)
from kdn.density import KernelDensity
from kdn.grid import Grid


@pytest.mark.parametrize("offsets", [False, True])
@pytest.mark.parametrize("form", BANDWIDTHS)
@pytest.mark.parametrize("ndim", [1, 2, 3])
def test_equals_the_mixture_of_torch(ndim: int, form: str, offsets: bool) -> None:
    density = density_of(form, ndim, offsets=offsets)
    points = points_of(density.grid, 4, *BATCH)
    expected = mixture_of(density).log_prob(points)
    torch.testing.assert_close(density.log_prob(points), expected, rtol=1e-12, atol=1e-12)
    single = in_single(density).log_prob(points)
    assert single.dtype == torch.float32
    torch.testing.assert_close(single.double(), expected, rtol=1e-5, atol=1e-5)


def test_by_hand() -> None:
    """Two cells 1 apart, probabilities ¼ and ¾, bandwidth 2; the point lies on the first."""
    grid = Grid((2,), (10.0,), (1.0,))
    density = KernelDensity(torch.tensor([0.0, math.log(3.0)]), grid, bandwidth=2.0)
    expected = math.log((0.25 + 0.75 * math.exp(-1 / 8)) / (2 * math.sqrt(2 * math.pi)))
    assert density.log_prob(torch.tensor(10.0)).item() == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("form", ["number", "cell"])
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_logits_are_computed_in_float32(dtype: torch.dtype, form: str) -> None:
    grid = GRIDS[2]
    logits = uniform(*BATCH, *grid.shape, low=-3.0, high=3.0).to(dtype)
    bandwidth = bandwidth_of(form, grid)
    points = points_of(grid, *BATCH)
    density = KernelDensity(logits.requires_grad_(), grid, bandwidth=bandwidth)
    exact = KernelDensity(logits.detach().double(), grid, bandwidth=bandwidth).log_prob(points)
    found = density.log_prob(points)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found.double(), exact, rtol=1e-5, atol=1e-5)
    assert torch.autograd.grad(found.sum(), logits)[0].dtype == dtype


def far_away() -> Tensor:
    """Return points inside, beside and a thousand cells away from the 2-D grid."""
    return torch.tensor([[10.0, 3.0], [29.0, -4.0], [4000.0, 3000.0], [-4000.0, 3.0], [9.0, 3e3]])


@pytest.mark.parametrize("scale", [1.0, 1e4])
@pytest.mark.parametrize("form", ["number", "map", "cell"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_finite_and_exact_far_away(dtype: torch.dtype, form: str, scale: float) -> None:
    grid = GRIDS[2]
    leaf = (scale * uniform(*BATCH, *grid.shape, low=-1.0, high=1.0)).to(dtype).requires_grad_()
    points = far_away().to(dtype)[:, None, None].expand(5, *BATCH, 2).clone().requires_grad_()
    bandwidth = torch.as_tensor(bandwidth_of(form, grid), dtype=dtype).requires_grad_()
    found = KernelDensity(leaf, grid, bandwidth=bandwidth).log_prob(points)
    density = KernelDensity(leaf.double(), grid, bandwidth=bandwidth.double())
    expected = mixture_of(density).log_prob(points.double())
    # Differences of numbers as large as the logits are rounded as those are.
    eps = torch.finfo(dtype).eps
    torch.testing.assert_close(found.double(), expected, rtol=4 * eps, atol=4 * eps * scale)
    for gradient in torch.autograd.grad(found.sum(), (leaf, points, bandwidth)):
        assert gradient.isfinite().all()


def test_narrow_kernels_between_cells_are_exact() -> None:
    """Ten bandwidths to the nearest cell, so that no product of weights is a float32 number."""
    grid = Grid((5, 7), (0.0, 0.0), (1.0, 1.0))
    logits = uniform(*BATCH, *grid.shape, low=-3.0, high=3.0)
    points = torch.tensor([[2.5, 1.5], [0.4, 3.0], [6.5, 4.4], [3.0, 2.0]])
    points = points[:, None, None].expand(4, *BATCH, 2)
    exact, leaf = logits.clone().requires_grad_(), logits.float().requires_grad_()
    density = KernelDensity(exact, grid, bandwidth=0.03)
    expected = mixture_of(density).log_prob(points.double())
    found = KernelDensity(leaf, grid, bandwidth=0.03).log_prob(points)
    torch.testing.assert_close(found.double(), expected, rtol=1e-5, atol=0)
    (wanted,) = torch.autograd.grad(expected.sum(), exact)
    (got,) = torch.autograd.grad(found.sum(), leaf)
    torch.testing.assert_close(got.double(), wanted, rtol=1e-4, atol=1e-5)


def test_cells_without_mass() -> None:
    grid = GRIDS[2]
    logits = uniform(*BATCH, *grid.shape)
    logits[..., 1:, :3] = -math.inf
    points = points_of(grid, 4, *BATCH)
    for form in ("number", "cell"):
        density = KernelDensity(logits, grid, bandwidth=bandwidth_of(form, grid))
        finite = KernelDensity(logits.clamp(min=-1e3), grid, bandwidth=bandwidth_of(form, grid))
        torch.testing.assert_close(density.log_prob(points), finite.log_prob(points))


@pytest.mark.parametrize("leading", [(), (3,), (1, 3), (2, 1), (2, 3), (4, 2, 3), (5, 4, 1, 3)])
@pytest.mark.parametrize("form", ["number", "cell"])
def test_points_broadcast_as_in_torch(form: str, leading: tuple[int, ...]) -> None:
    density = density_of(form, 2)
    points = points_of(density.grid, *leading)
    found = density.log_prob(points)
    expected = mixture_of(density).log_prob(points)
    assert found.shape == expected.shape
    torch.testing.assert_close(found, expected)


def test_a_batch_of_one_broadcasts_to_that_of_the_points() -> None:
    density = density_of("map", 2)
    assert density.bandwidth is not None
    one = KernelDensity(density.raw_logits[:, :1], density.grid, bandwidth=density.bandwidth[:, :1])
    points = points_of(density.grid, 4, *BATCH)
    found = one.log_prob(points)
    assert found.shape == (4, *BATCH)
    torch.testing.assert_close(found, mixture_of(one).log_prob(points))


@pytest.mark.parametrize("shape", [(0, 3), (2, 0)])
@pytest.mark.parametrize("form", ["gaussian", "cell", "uniform"])
def test_empty_batches(form: str, shape: tuple[int, int]) -> None:
    grid = GRIDS[2]
    logits = torch.zeros(*shape, *grid.shape, requires_grad=True)
    bandwidth = {"gaussian": 1.0, "cell": torch.ones(*shape, *grid.shape), "uniform": None}[form]
    density = KernelDensity(
        logits, grid, bandwidth=bandwidth, kernel="uniform" if bandwidth is None else "gaussian"
    )
    found = density.log_prob(torch.zeros(4, *shape, 2))
    assert found.shape == (4, *shape)
    found.sum().backward()


@pytest.mark.parametrize("count", [0, 3])
def test_no_points(count: int) -> None:
    density = density_of("number", 2)
    assert density.log_prob(torch.zeros(count, *BATCH, 2)).shape == (count, *BATCH)


@pytest.mark.parametrize("form", ["number", "map", "cell"])
def test_under_autocast(form: str) -> None:
    density = in_single(density_of(form, 2))
    points = points_of(density.grid, 4, *BATCH).float()
    leaf = density.raw_logits.clone().requires_grad_()

    def run() -> list[Tensor]:
        again = KernelDensity(leaf, density.grid, bandwidth=density.bandwidth)
        value = again.log_prob(points)
        moments = [again.mean, again.covariance_matrix]
        return [value, *moments, torch.autograd.grad(value.sum(), leaf)[0]]

    plain = run()
    with torch.autocast("cpu", torch.bfloat16):
        cast = run()
    for one, other in zip(cast, plain, strict=True):
        assert one.dtype == torch.float32
        torch.testing.assert_close(one, other, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("ndim", [1, 2, 3])
def test_uniform_kernels_are_cross_entropy(ndim: int) -> None:
    """To the last digit, where the volume of a cell is 1."""
    shape = GRIDS[ndim].shape
    grid = Grid(shape, (0.0,) * ndim, (1.0,) * ndim)
    logits = uniform(*BATCH, *shape, low=-5.0, high=5.0).float().requires_grad_()
    cells = uniform(*BATCH, ndim) * torch.tensor(shape[::-1])
    points = (cells - 0.5).float()
    target = torch.zeros(BATCH, dtype=torch.long)
    for axis in reversed(range(ndim)):
        target = target * shape[-1 - axis] + cells[..., axis].long()
    if ndim == 1:
        points = points.squeeze(-1)
    found = -KernelDensity(logits, grid, kernel="uniform").log_prob(points)
    expected = F.cross_entropy(logits.reshape(6, -1), target.flatten(), reduction="none")
    assert torch.equal(found.flatten(), expected)
    gradients = [torch.autograd.grad(loss.mean(), logits)[0] for loss in (found, expected)]
    assert torch.equal(*gradients)


def test_uniform_kernels_by_hand() -> None:
    """Three cells of width 2 from -1 to 5; edges belong to the cell above."""
    grid = Grid((3,), (0.0,), (2.0,))
    density = KernelDensity(torch.tensor([0.2, 0.3, 0.5]).log(), grid, kernel="uniform")
    found = density.log_prob(torch.tensor([-1.0, 0.9, 1.0, 4.99, 5.0, -1.01])).exp()
    torch.testing.assert_close(found, torch.tensor([0.1, 0.1, 0.15, 0.25, 0.0, 0.0]))


def test_uniform_kernels_outside_have_no_gradient() -> None:
    grid = GRIDS[2]
    logits = uniform(*BATCH, *grid.shape).requires_grad_()
    found = KernelDensity(logits, grid, kernel="uniform").log_prob(
        far_away().double()[3:, None, None]
    )
    assert (found == -math.inf).all()
    assert not torch.autograd.grad(found.exp().sum(), logits)[0].any()


@pytest.mark.parametrize("form", ["number", "cell", "uniform"])
def test_logits_in_any_memory_layout(form: str) -> None:
    """Maps of a channels-last network lie interleaved, and expanded ones lie in one place."""
    grid, uniform_kernel = GRIDS[2], form == "uniform"
    bandwidth = None if uniform_kernel else bandwidth_of(form, grid)
    kernel = "uniform" if uniform_kernel else "gaussian"
    points = points_of(grid, *BATCH) * 0.5
    logits = uniform(*BATCH, *grid.shape, low=-3.0, high=3.0)
    turned = logits.transpose(2, 3).contiguous().transpose(2, 3)
    shared = logits[:1].expand(2, 3, 5, 7)
    for layout in (logits.contiguous(memory_format=torch.channels_last), turned, shared):
        found = []
        for same in (layout, layout.contiguous()):
            leaf = same.detach().requires_grad_()
            value = KernelDensity(leaf, grid, bandwidth=bandwidth, kernel=kernel).log_prob(points)
            finite = value[value.isfinite()].sum()
            found.append((value, torch.autograd.grad(finite, leaf)[0]))
        torch.testing.assert_close(*found)


COMPILED = """
import torch
from kdn.density import KernelDensity
from kdn.grid import Grid

grid = Grid((5, 7), (1.5, -2.0), (4.0, 3.0))
torch.manual_seed(0)
logits = torch.randn(2, 3, 5, 7, requires_grad=True)
points = 20 * torch.rand(4, 2, 3, 2)
ways = {
    "one bandwidth": dict(bandwidth=3.0),
    "per landmark": dict(bandwidth=2 + torch.rand(3)),
    "per cell": dict(bandwidth=2 + torch.rand(2, 3, 5, 7)),
    "offsets": dict(bandwidth=2 + torch.rand(3), offsets=torch.randn(2, 3, 2, 5, 7)),
    "uniform": dict(kernel="uniform"),
}

def gradient(loss):
    return torch.autograd.grad(loss.exp().sum(), logits)[0]

for name, way in ways.items():
    def log_prob(logits, points):
        return KernelDensity(logits, grid, **way).log_prob(points)

    plain = log_prob(logits, points)
    compiled = torch.compile(log_prob, backend="aot_eager", fullgraph=True)(logits, points)
    torch.testing.assert_close(compiled, plain, rtol=1e-5, atol=1e-5, msg=name)
    torch.testing.assert_close(gradient(compiled), gradient(plain), rtol=1e-4, atol=1e-6, msg=name)
"""


def test_compiles_in_one_graph() -> None:
    """In a process of its own: the checker of shapes is nothing to compile."""
    subprocess.run([sys.executable, "-W", "error", "-c", COMPILED], check=True, timeout=300)
