"""Gradients of the log-density, first and second, by every way of computing it."""

import pytest
import torch
from torch import Tensor
from torch.autograd import gradcheck, gradgradcheck

from densities import (
    BANDWIDTHS,
    BATCH,
    bandwidth_of,
    density_of,
    mixture_of,
    points_of,
    uniform,
)
from kdn.density import KernelDensity
from kdn.density.loglik import AdaptiveLogProb
from kdn.density.logspace import LogSpace
from kdn.density.separable import Contraction


@pytest.mark.parametrize("ndim", [1, 2, 3])
def test_log_space_equals_the_contraction(ndim: int) -> None:
    """The way for other devices, tried on this one."""
    density = density_of("map", ndim)
    points = points_of(density.grid, 6, 4).reshape(6, 4, ndim).requires_grad_()
    logits = density.raw_logits.flatten(0, 1).requires_grad_()
    assert density.bandwidth is not None
    inputs = (logits, points, density.bandwidth.flatten().requires_grad_())
    weights = uniform(6, 4, seed=5)
    found = []
    for route in (Contraction, LogSpace):
        value = route.apply(*inputs, density.grid)
        found.append((value, *torch.autograd.grad((value * weights).sum(), inputs)))
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("offsets", [False, True])
@pytest.mark.parametrize("form", ["number", "landmark", "cell"])
def test_gradient_of_the_loss_is_probs_less_responsibilities(form: str, offsets: bool) -> None:
    density = density_of(form, 2, offsets=offsets)
    points = points_of(density.grid, *BATCH)
    mixture = mixture_of(density)
    kernels = mixture.component_distribution.log_prob(points.unsqueeze(-2)).exp()
    probs = mixture.mixture_distribution.probs
    shares = kernels * probs / (kernels * probs).sum(-1, keepdim=True)
    leaf = density.raw_logits.clone().requires_grad_()
    again = KernelDensity(leaf, density.grid, bandwidth=density.bandwidth, offsets=density.offsets)
    (slope,) = torch.autograd.grad(-again.log_prob(points).sum(), leaf)
    torch.testing.assert_close(slope.flatten(2), probs - shares, rtol=1e-11, atol=1e-13)
    torch.testing.assert_close(slope.sum((-2, -1)), torch.zeros(BATCH).double())


@pytest.mark.parametrize("offsets", [False, True])
@pytest.mark.parametrize("form", BANDWIDTHS)
@pytest.mark.parametrize("ndim", [1, 2, 3])
def test_gradients_by_finite_differences(ndim: int, form: str, offsets: bool) -> None:
    density = density_of(form, ndim, offsets=offsets)
    grid = density.grid
    bandwidth = torch.as_tensor(bandwidth_of(form, grid), dtype=torch.float64)
    inputs = [density.raw_logits, points_of(grid, 2, *BATCH), bandwidth]
    inputs += [density.offsets] if density.offsets is not None else []

    def log_prob(logits: Tensor, points: Tensor, bandwidth: Tensor, *moved: Tensor) -> Tensor:
        offsets = moved[0] if moved else None
        return KernelDensity(logits, grid, bandwidth=bandwidth, offsets=offsets).log_prob(points)

    leaves = [tensor.clone().requires_grad_() for tensor in inputs]
    assert gradcheck(log_prob, leaves, fast_mode=ndim > 1)


@pytest.mark.parametrize("offsets", [False, True])
@pytest.mark.parametrize("form", ["landmark", "cell"])
def test_second_derivatives_by_finite_differences(form: str, offsets: bool) -> None:
    density = density_of(form, 2, offsets=offsets)
    grid = density.grid
    bandwidth = torch.as_tensor(bandwidth_of(form, grid), dtype=torch.float64)
    points = points_of(grid, 2, *BATCH)

    def log_prob(logits: Tensor, points: Tensor, bandwidth: Tensor, *moved: Tensor) -> Tensor:
        offsets = moved[0] if moved else None
        return KernelDensity(logits, grid, bandwidth=bandwidth, offsets=offsets).log_prob(points)

    inputs = [density.raw_logits, points, bandwidth]
    inputs += [density.offsets] if density.offsets is not None else []
    leaves = [tensor.clone().requires_grad_() for tensor in inputs]
    assert gradgradcheck(log_prob, leaves, fast_mode=True)


@pytest.mark.parametrize("form", ["map", "cell"])
def test_second_derivatives_where_points_come_from_the_logits(form: str) -> None:
    density = density_of(form, 2)
    leaf = density.raw_logits.clone().requires_grad_()
    points = leaf.mean((-2, -1)).unsqueeze(-1) * torch.tensor([1.0, 3.0])
    again = KernelDensity(leaf, density.grid, bandwidth=density.bandwidth)
    slopes = [
        torch.autograd.grad(value.sum(), leaf, create_graph=True)[0]
        for value in (again.log_prob(points), mixture_of(again).log_prob(points))
    ]
    twice = [torch.autograd.grad(slope.square().sum(), leaf, retain_graph=True) for slope in slopes]
    torch.testing.assert_close(*slopes)
    torch.testing.assert_close(*twice)


def test_many_points_are_taken_in_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in ("logspace", "loglik"):
        monkeypatch.setattr(f"kdn.density.{module}.BLOCK", 2 * 6 * 35)
    for route in (LogSpace, AdaptiveLogProb):
        density = density_of("map", 2)
        grid = density.grid
        points = points_of(grid, 6, 5).requires_grad_()
        assert density.bandwidth is not None
        bandwidth = density.bandwidth.reshape(6, *(1,) * (route is AdaptiveLogProb))
        logits = density.raw_logits.reshape(6, *grid.shape).requires_grad_()
        if route is LogSpace:
            found = route.apply(logits, points, bandwidth, grid)
        else:
            centres = density.centres.unsqueeze(0)
            found = route.apply(logits.flatten(1), points, bandwidth, centres)
        expected = mixture_of(density).log_prob(points.transpose(0, 1).reshape(5, *BATCH, 2))
        expected = expected.reshape(5, 6).t()
        torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)
        mixture = mixture_of(KernelDensity(logits.reshape(*BATCH, *grid.shape), grid,
                                           bandwidth=density.bandwidth))  # fmt: skip
        same = mixture.log_prob(points.transpose(0, 1).reshape(5, *BATCH, 2)).sum()
        wanted = torch.autograd.grad(same, (logits, points))
        got = torch.autograd.grad(found.sum(), (logits, points))
        for one, other in zip(got, wanted, strict=True):
            torch.testing.assert_close(one, other, rtol=1e-10, atol=1e-12)
