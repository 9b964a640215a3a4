"""Heads of values on one axis, against SciPy, torch's distributions, and by hand."""

import math
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from scipy import special, stats
from torch.distributions import Categorical, MixtureSameFamily, Normal

from kdn.data import PointLabels, ScalarLabels
from kdn.data.markup import FACE5
from kdn.density import LaplaceDensity
from kdn.grid import Grid
from kdn.models.heads import Head, build_head
from kdn.models.heads.coral import Coral
from kdn.models.heads.gaussian import Gaussian
from kdn.models.heads.kernel import KDNAdaptive, KDNGaussian, KDNUniform
from kdn.models.heads.regression import L1, L2
from kdn.recipe import HeadRecipe

VALUES, LOW, HIGH, STEP, CELLS = 3, 20.0, 36.0, 2.5, 7
AXIS = Grid.of_interval(20.0, 35.0, step=STEP)
CENTRES = 20.0 + 2.5 * torch.arange(CELLS, dtype=torch.float64)
LABELS = ScalarLabels(("age", "weight", "length"), AXIS, 1.0)
POINTS = torch.tensor([[21.3, 27.5, 35.9], [33.0, 19.1, 24.2]], dtype=torch.float64)
NAMES = ("kdn_uniform", "kdn_gaussian", "kdn_adaptive", "gaussian", "l1", "l2", "dex", "coral")


def outputs_of(head: Head, seed: int = 0, scale: float = 1.0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return scale * torch.randn(2, head.channels, generator=generator, dtype=torch.float64)


def head_of(name: Any, **settings: Any) -> Head:
    return build_head(HeadRecipe(name, **settings), LABELS, AXIS)


def parts(outputs: torch.Tensor, kinds: int, length: int = CELLS) -> list[torch.Tensor]:
    """Return a vector's parts, all of one kind before all of the next: written once more."""
    size = VALUES * length
    pieces = [outputs[:, i * size : (i + 1) * size] for i in range(kinds)]
    return [piece.reshape(2, VALUES, length) for piece in pieces]


def mixture(logits, centres, scale) -> MixtureSameFamily:
    shape = logits.shape
    kernels = Normal(centres.expand(shape), scale.expand(shape))
    return MixtureSameFamily(Categorical(logits=logits), kernels)


def interval_mass(logits, centres, scale, rounding: float) -> np.ndarray:
    """Return the log of the mean density about `POINTS`, by SciPy."""
    probs = torch.softmax(logits, -1).numpy()
    kernels = stats.norm(centres.numpy(), scale.numpy())
    y = POINTS.numpy()[..., None]
    mass = kernels.cdf(y + rounding / 2) - kernels.cdf(y - rounding / 2)
    return np.log((probs * mass).sum(-1) / rounding)


def bounded(x: np.ndarray) -> np.ndarray:
    """Return the log-ratio between −5 and 3 that is 0 at 0, with slope 1 there."""
    start = math.atanh(0.25)
    return -1 + 4 * np.tanh(x / 4 / (1 - 0.0625) + start)


def gaussian_kernels(learn: Any) -> tuple[KDNGaussian, torch.Tensor, tuple[torch.Tensor, ...]]:
    """Return a head, outputs, and the logits, centres and bandwidths that they should mean."""
    head = KDNGaussian(VALUES, AXIS, bandwidth=1.2, learn_bandwidth=learn)
    head = head.double()
    outputs = outputs_of(head, scale=0.6)
    kinds = parts(outputs, 2 if learn == "map" else 1)
    width = torch.full((1, VALUES, 1), 1.2 * STEP, dtype=torch.float64)
    if learn == "landmark":
        assert head.log_ratio is not None
        with torch.no_grad():
            head.log_ratio.copy_(torch.tensor([-0.03, 0.0, 0.05], dtype=torch.float64))
        width = width * torch.tensor(bounded(np.array([-0.3, 0.0, 0.5])))[None, :, None].exp()
    if learn == "map":
        width = width * torch.tensor(bounded(kinds[1].mean(-1, keepdim=True).numpy())).exp()
    return head, outputs, (kinds[0], CENTRES, width)


def adaptive_kernels() -> tuple[KDNAdaptive, torch.Tensor, tuple[torch.Tensor, ...]]:
    head = KDNAdaptive(VALUES, AXIS, bandwidth=0.8, offset_limit=1.5)
    outputs = outputs_of(head, scale=0.7)
    logits, moves, widths = parts(outputs, 3)
    centres = CENTRES + 1.5 * STEP * torch.tanh(moves)
    scale = 0.8 * STEP * torch.tensor(bounded(widths.numpy())).exp()
    return head, outputs, (logits, centres, scale)


KERNELS = [
    pytest.param(lambda: gaussian_kernels("fixed"), id="fixed"),
    pytest.param(lambda: gaussian_kernels("landmark"), id="landmark"),
    pytest.param(lambda: gaussian_kernels("map"), id="map"),
    pytest.param(adaptive_kernels, id="adaptive"),
]


@pytest.mark.parametrize("kernels", KERNELS)
def test_exact_labels_have_the_likelihood_of_torch_s_mixture(kernels):
    head, outputs, meant = kernels()
    expected = -mixture(*meant).log_prob(POINTS)
    torch.testing.assert_close(head.loss(outputs, POINTS), expected, rtol=1e-10, atol=1e-10)
    density = head.density(outputs)
    torch.testing.assert_close(density.mean, mixture(*meant).mean)
    torch.testing.assert_close(density.variance, mixture(*meant).variance)


@pytest.mark.parametrize("rounding", [1.0, 0.2, 6.0])
@pytest.mark.parametrize("kernels", KERNELS)
def test_rounded_labels_have_the_mean_density_of_their_interval(kernels, rounding):
    head, outputs, meant = kernels()
    head.rounding = rounding
    expected = -interval_mass(*meant, rounding)  # pyright: ignore[reportCallIssue]
    np.testing.assert_allclose(head.loss(outputs, POINTS).detach().numpy(), expected, rtol=1e-9)


def test_the_median_is_where_half_of_the_mass_is():
    for kernels in (lambda: gaussian_kernels("landmark"), adaptive_kernels):
        head, outputs, meant = kernels()
        if isinstance(head, KDNGaussian):
            assert head.decoder == "median"
        found = head.decode(head.density(outputs), "median").detach()
        half = mixture(*meant).cdf(found)
        torch.testing.assert_close(half, torch.full_like(half, 0.5), rtol=0, atol=1e-9)
        assert (found - head.density(outputs).mean).abs().min() > 1e-3  # the mean is another


def test_softmax_is_cross_entropy_where_labels_are_rounded_to_cells():
    """Nats per unit: a cell's mass over its length, `log p − log step`."""
    head = KDNUniform(VALUES, AXIS, STEP)
    outputs = outputs_of(head)
    cells = torch.tensor([[0, 3, 6], [5, 2, 2]])
    found = head.loss(outputs, CENTRES[cells])
    logits = outputs.reshape(2, VALUES, CELLS)
    wanted = F.cross_entropy(logits.flatten(0, 1), cells.flatten(), reduction="none")
    torch.testing.assert_close(found, wanted.reshape(2, VALUES) + math.log(STEP))
    # A label between two cells, rounded to as much, lies in both by halves.
    between = head.loss(outputs, CENTRES[cells] - 0.5 * STEP * torch.tensor([[0, 1, 1], [1, 1, 0]]))
    probs = torch.softmax(logits, -1)
    both = 0.5 * (probs[0, 1, 3] + probs[0, 1, 2]) / STEP
    assert between[0, 1].item() == pytest.approx(-both.log().item())


def test_softmax_by_hand():
    """Three cells of 10 about 0, 10 and 20 with masses ¼, ½ and ¼, and two such values."""
    head = KDNUniform(2, Grid.of_interval(0, 20, step=10))
    outputs = torch.tensor([[1.0, 2.0, 1.0, 2.0, 1.0, 1.0]] * 2).log()
    loss = head.loss(outputs, torch.tensor([[4.0, 4.0], [14.0, -6.0]]))
    expected = torch.tensor([[1 / 40, 1 / 20], [1 / 20, 0.0]]).log().neg()
    torch.testing.assert_close(loss, expected)
    density = head.density(outputs)
    # Of the second, half the mass lies in the first cell, from −5 to 5.
    torch.testing.assert_close(head.decode(density), torch.tensor([[10.0, 5.0]] * 2))


def test_softmax_does_not_learn_from_labels_outside_its_cells():
    head = KDNUniform(VALUES, AXIS)
    edges = torch.tensor([[18.74, 18.76, 27.0], [36.24, 36.26, 0.0]], dtype=torch.float64)
    wanted = [[False, True, True], [True, False, False]]
    assert head.covers(outputs_of(head), edges).tolist() == wanted
    other = gaussian_kernels("fixed")[0]
    assert other.covers(outputs_of(other), edges).all()


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("rounding", [0.0, 1.0])
@pytest.mark.parametrize("outside", [0.0, 18.2, -1e4, 1e4])
def test_what_is_not_learned_from_leaves_no_trace(name, rounding, outside):
    """A label that is missing is 0 in a batch, which may lie far outside the axis."""
    head = head_of(name)
    head.rounding = rounding
    outputs = outputs_of(head).float().requires_grad_()
    points = POINTS.float().clone()
    points[0, 1] = outside
    counts = torch.tensor([[True, False, True], [True, True, True]])
    counts = counts & head.covers(outputs, points)
    loss = head.loss(outputs, points)
    torch.where(counts, loss, torch.zeros_like(loss)).sum().backward()
    assert outputs.grad is not None
    for gradient in (outputs.grad, *(p.grad for p in head.parameters())):
        assert gradient is not None
        assert bool(gradient.isfinite().all())
    length = head.channels // VALUES
    if name in ("kdn_uniform", "dex", "kdn_gaussian"):
        assert (outputs.grad[0, length : 2 * length] == 0).all()
        assert (outputs.grad[0, :length] != 0).any()


@pytest.mark.parametrize("name", [n for n in NAMES if n not in ("kdn_uniform", "dex")])
@pytest.mark.parametrize("rounding", [0.0, 1.0])
def test_gradients_are_finite_far_out(name, rounding):
    head = head_of(name)
    head.rounding = rounding
    far = torch.tensor([[-300.0, 27.0, 500.0], [33.0, 5000.0, 24.0]])
    for scale in (1.0, 30.0):
        outputs = outputs_of(head, scale=scale).float().requires_grad_()
        loss = head.loss(outputs, far)
        assert bool(loss.isfinite().all())
        loss.sum().backward()
        assert outputs.grad is not None
        for gradient in (outputs.grad, *(p.grad for p in head.parameters())):
            assert gradient is not None
            assert bool(gradient.isfinite().all())


@pytest.mark.parametrize("rounding", [0.0, 1.5])
def test_a_gaussian_is_scipy_s(rounding):
    """All means before all deviations; 0 is the middle of 18.75 … 36.25, 1 its upper end."""
    head = Gaussian(VALUES, AXIS, rounding)
    assert head.channels == 2 * VALUES
    outputs = outputs_of(head, scale=0.25)
    mean = 27.5 + 8.75 * outputs[:, :VALUES].numpy()
    scale = 0.25 * 8.75 * np.exp(6 * np.tanh(outputs[:, VALUES:].numpy() / 6))
    own, y = stats.norm(mean, scale), POINTS.numpy()
    expected = own.logpdf(y)  # pyright: ignore[reportAttributeAccessIssue]
    if rounding:
        # Behind the mean from the other side, where nothing cancels.
        beyond = own.sf(y - rounding / 2) - own.sf(y + rounding / 2)
        before = own.cdf(y + rounding / 2) - own.cdf(y - rounding / 2)
        expected = np.log(np.where(y > mean, beyond, before) / rounding)
    np.testing.assert_allclose(head.loss(outputs, POINTS).numpy(), -expected, rtol=1e-6)
    density = head.density(outputs)
    for decoder in ("default", "mean", "median", "mode", "argmax"):
        np.testing.assert_allclose(head.decode(density, decoder).numpy(), mean, atol=1e-9)
    np.testing.assert_allclose(density.variance.sqrt().numpy(), scale)


@pytest.mark.parametrize("rounding", [0.0, 1.5])
@pytest.mark.parametrize(("error", "family"), [(L1, stats.laplace), (L2, stats.norm)])
def test_a_number_with_the_width_of_its_residuals(error, family, rounding):
    head = error(VALUES, AXIS, rounding).double()
    with torch.no_grad():
        head.log_ratio.copy_(torch.tensor([-0.05, 0.0, 0.08], dtype=torch.float64))
    outputs = outputs_of(head).requires_grad_()
    numbers = 27.5 + 8.75 * outputs.detach().numpy()
    own, y = family(numbers, 0.25 * 8.75 * np.exp([-0.5, 0.0, 0.8])), POINTS.numpy()
    likelihood = own.logpdf(y)
    if rounding:
        likelihood = np.log((own.cdf(y + rounding / 2) - own.cdf(y - rounding / 2)) / rounding)
    off = (numbers - y) / (17.5 / 4)
    wanted = np.abs(off) if error is L1 else off**2
    loss = head.loss(outputs, POINTS)
    np.testing.assert_allclose(loss.detach().numpy(), wanted - likelihood, rtol=1e-9)
    # What the number learns by is the error alone.
    loss.sum().backward()
    slope = np.sign(off) if error is L1 else 2 * off
    assert outputs.grad is not None
    np.testing.assert_allclose(outputs.grad.numpy(), 2 * slope, rtol=1e-12)
    assert head.log_ratio.grad is not None
    assert (head.log_ratio.grad != 0).all()
    density = head.density(outputs)
    np.testing.assert_allclose(head.decode(density).detach().numpy(), numbers)
    np.testing.assert_allclose(density.variance.detach().numpy(), own.var())
    np.testing.assert_allclose(density.cdf(POINTS).detach().numpy(), own.cdf(y), atol=1e-14)


@pytest.mark.parametrize("error", [L1, L2])
def test_the_width_learns_the_mean_residual(error):
    """For a Laplace the mean of the absolute residuals, for a Gaussian the root mean square."""
    head = error(2, AXIS).double()
    generator = torch.Generator().manual_seed(3)
    points = 27.5 + torch.tensor([1.0, 3.0]) * torch.randn(500, 2, generator=generator).double()
    optimiser = torch.optim.LBFGS(head.parameters(), max_iter=60, tolerance_grad=1e-12)
    zeros = torch.zeros(500, 2, dtype=torch.float64)

    def closure() -> torch.Tensor:
        optimiser.zero_grad()
        loss = head.loss(zeros, points).mean()
        loss.backward()
        return loss

    optimiser.step(closure)
    residuals = points - 27.5
    density = head.density(zeros)
    found = density.scale if isinstance(density, LaplaceDensity) else density.variance.sqrt()
    wanted = residuals.abs().mean(0) if error is L1 else residuals.square().mean(0).sqrt()
    torch.testing.assert_close(found[0].detach(), wanted, rtol=1e-4, atol=0)


def coral(seed: int = 1) -> Coral:
    """Return a head whose biases are out of order in places."""
    head = Coral(VALUES, AXIS).double()
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        head.bias += torch.randn(head.bias.shape, generator=generator, dtype=torch.float64)  # pyright: ignore[reportAttributeAccessIssue]
    assert bool((head.bias.diff(dim=-1) > 0).any())
    return head


def test_coral_is_one_yes_or_no_for_every_boundary():
    head = coral()
    outputs = outputs_of(head)
    boundaries = 21.25 + 2.5 * np.arange(CELLS - 1)
    bias = head.bias.detach().numpy()
    for row, value in np.ndindex(2, VALUES):
        above = special.expit(outputs[row, value].item() + bias[value])
        truth = POINTS[row, value].item() > boundaries
        by_hand = -sum(math.log(p if t else 1 - p) for p, t in zip(above, truth, strict=True))
        found = head.loss(outputs, POINTS)[row, value].item()
        assert found == pytest.approx(by_hand, rel=1e-9)


def test_coral_counts_the_boundaries_that_are_rather_exceeded():
    head = coral()
    outputs = outputs_of(head, scale=2.0)
    density = head.density(outputs)
    above = special.expit(outputs.numpy()[..., None] + head.bias.detach().numpy())
    rank = (above > 0.5).sum(-1)
    assert len(np.unique(rank)) > 3
    np.testing.assert_allclose(head.decode(density).detach().numpy(), 20 + 2.5 * rank)
    np.testing.assert_allclose(head.decode(density, "rank").detach().numpy(), 20 + 2.5 * rank)
    # The masses of the cells are the differences of the probabilities in falling order.
    falling = -np.sort(-above, axis=-1)
    ends = [np.ones((2, VALUES, 1)), falling, np.zeros((2, VALUES, 1))]
    masses = np.asarray(-np.diff(np.concatenate(ends, axis=-1), axis=-1), np.float64)
    assert (masses >= 0).all()
    np.testing.assert_allclose(density.probs.detach().numpy(), masses, atol=1e-12)
    np.testing.assert_allclose(density.probs.detach().sum(-1).numpy(), 1, atol=1e-12)
    mean = (masses * CENTRES.numpy()).sum(-1)
    np.testing.assert_allclose(head.decode(density, "mean").detach().numpy(), mean)


def test_coral_at_its_ends_and_far_out():
    """A score far above or below all boundaries is the last or the first cell, in float32 too."""
    head = Coral(VALUES, AXIS)
    outputs = torch.tensor([[1e4, -1e4, 0.0], [50.0, -50.0, 3.1]])
    density = head.density(outputs)
    found = head.decode(density)
    assert bool(density.probs.isfinite().all())
    torch.testing.assert_close(density.probs.sum(-1), torch.ones(2, VALUES))
    assert found[:, :2].tolist() == [[35.0, 20.0]] * 2
    assert found[1, 2].item() == 35.0
    with pytest.raises(ValueError, match="at least two cells, got 1"):
        Coral(2, Grid.of_interval(0, 0, step=1))


def test_dex_expects_the_softmax():
    head = head_of("dex")
    outputs = outputs_of(head)
    expected = torch.softmax(outputs.reshape(2, VALUES, CELLS), -1) @ CENTRES
    torch.testing.assert_close(head.decode(head.density(outputs)), expected)
    torch.testing.assert_close(
        head.loss(outputs, POINTS), head_of("kdn_uniform").loss(outputs, POINTS)
    )


@pytest.mark.parametrize("name", NAMES)
def test_every_head_gives_what_a_model_needs(name):
    head = head_of(name)
    assert not head.takes_maps
    outputs = outputs_of(head).float()
    density = head.density(outputs)
    assert density.batch_shape == (2, VALUES)
    assert head.loss(outputs, POINTS.float()).shape == (2, VALUES)
    half = density.cdf(density.icdf(torch.tensor(0.5)))
    torch.testing.assert_close(half, torch.full((2, VALUES), 0.5), atol=1e-5, rtol=0)
    usual = {"dex": "mean", "coral": "rank", "gaussian": "mean", "l1": "mean", "l2": "mean"}
    assert head.decoder == usual.get(name, head.decoder)
    if name.startswith("kdn"):
        assert head.decoder == "median"
    for decoder in ("default", "mean", "median", "mode", "argmax"):
        assert head.decode(density, decoder).shape == (2, VALUES)
    with pytest.raises(ValueError, match=r"decoder must be one of .*median, got 'middle'"):
        head.decode(density, "middle")
    assert head_of(name, decoder="mode").decoder == "mode"


@pytest.mark.parametrize("name", NAMES)
def test_every_head_learns_what_two_inputs_mean(name):
    """Outputs that are free, as for pictures known by heart, end at the labels."""
    head = head_of(name)
    outputs = torch.zeros(2, head.channels, requires_grad=True)
    points = torch.tensor([[22.0, 28.0, 34.0], [31.0, 25.0, 21.0]])
    optimiser = torch.optim.Adam([outputs, *head.parameters()], lr=0.05)
    for _ in range(300):
        optimiser.zero_grad()
        head.loss(outputs, points).sum().backward()
        optimiser.step()
    density = head.density(outputs)
    # Cells, and kernels that stay where they are, tell no more than which of them it is.
    far = 0.5 if name in ("kdn_adaptive", "gaussian", "l1", "l2") else 0.5 * STEP + 1e-3
    assert (head.decode(density) - points).abs().max() < far
    assert density.energy_score(points).mean() < 0.25 * STEP


def test_heads_that_do_not_fit():
    points = PointLabels(FACE5)
    cells = Grid.of_heatmap(height=8, width=12, stride=4)
    with pytest.raises(ValueError, match=r"head\.name softlabel is for points, not scalars"):
        head_of("softlabel")
    for name in ("l1", "l2", "dex", "coral"):
        with pytest.raises(ValueError, match=rf"head\.name {name} is for scalars, not points"):
            build_head(HeadRecipe(name), points, cells)
    for name in ("kdn_gaussian", "kdn_adaptive"):
        with pytest.raises(ValueError, match=r"head\.refine must be 1 for scalars, got 4"):
            head_of(name, refine=4)
        assert head_of(name, refine=1).channels == head_of(name).channels
    with pytest.raises(ValueError, match=r"head\.decoder median is for scalars"):
        build_head(HeadRecipe(decoder="median"), points, cells)
    with pytest.raises(ValueError, match=r"head\.bandwidth has no meaning for l1, got 2\.0"):
        head_of("l1", bandwidth=2.0)
    with pytest.raises(ValueError, match="refine must be 1 on a line, got 2"):
        KDNGaussian(2, AXIS, refine=2)
