"""Heads: outputs to densities and losses, against references and by hand."""

import math
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch.distributions import Categorical, Independent, MixtureSameFamily, Normal

from kdn.data import PointLabels
from kdn.data.markup import Markup
from kdn.density import KernelDensity
from kdn.grid import Grid
from kdn.models.heads import Head, build_head
from kdn.models.heads.gaussian import Gaussian
from kdn.models.heads.kernel import KDNAdaptive, KDNGaussian, KDNUniform, interpolate_maps
from kdn.models.heads.softlabel import SoftLabel
from kdn.recipe import HeadRecipe

LANDMARKS, ROWS, COLUMNS, STRIDE = 3, 5, 7, 4
LABELS = PointLabels(Markup("three", LANDMARKS, flip=(1, 0, 2)))
GRID = Grid.of_heatmap(height=ROWS, width=COLUMNS, stride=STRIDE)
SIZE: dict[str, Any] = {"count": LANDMARKS, "grid": GRID}


def centres(rows: int = ROWS, columns: int = COLUMNS, stride: float = STRIDE) -> torch.Tensor:
    """Return cell centres in crop pixels, `(rows · columns, 2)`: the frame, written once more."""
    down, across = torch.meshgrid(torch.arange(rows), torch.arange(columns), indexing="ij")
    cells = torch.stack((across, down), dim=-1).reshape(-1, 2).double()
    return stride * (cells + 0.5) - 0.5


def mixture(logits: torch.Tensor, places: torch.Tensor, bandwidth: torch.Tensor):
    """Return the textbook mixture; `places` and `bandwidth` broadcast to `(B, L, cells, 2)`."""
    shape = (*logits.shape, 2)
    kernels = Normal(places.expand(shape), bandwidth.expand(shape))
    return MixtureSameFamily(Categorical(logits=logits), Independent(kernels, 1))


def random_points(generator: torch.Generator, batch: int = 2) -> torch.Tensor:
    size = torch.tensor([COLUMNS * STRIDE, ROWS * STRIDE], dtype=torch.float64)
    return torch.rand(batch, LANDMARKS, 2, generator=generator, dtype=torch.float64) * size - 0.5


def outputs_of(head: Head, generator: torch.Generator) -> torch.Tensor:
    shape = (2, head.channels, ROWS, COLUMNS) if head.takes_maps else (2, head.channels)
    return torch.randn(shape, generator=generator, dtype=torch.float64)


@pytest.fixture
def generator() -> torch.Generator:
    return torch.Generator().manual_seed(0)


@pytest.mark.parametrize("factor", [1, 2, 4])
def test_interpolation_is_bicubic(factor, generator):
    maps = torch.randn(2, 3, ROWS, COLUMNS, generator=generator, dtype=torch.float64)
    expected = F.interpolate(maps, scale_factor=factor, mode="bicubic", align_corners=False)
    torch.testing.assert_close(interpolate_maps(maps, factor), expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("refine", [1, 2, 4])
def test_kdn_gaussian_is_the_textbook_mixture(refine, generator):
    head = KDNGaussian(**SIZE, bandwidth=0.7, learn_bandwidth="fixed", refine=refine)
    outputs, points = outputs_of(head, generator), random_points(generator)
    logits = outputs
    if refine > 1:
        logits = F.interpolate(outputs, scale_factor=refine, mode="bicubic", align_corners=False)
    places = centres(ROWS * refine, COLUMNS * refine, STRIDE / refine)
    # The bandwidth counts in the network's own cells, however fine the grid is.
    expected = mixture(logits.flatten(-2), places, torch.tensor(0.7 * STRIDE, dtype=torch.float64))
    torch.testing.assert_close(
        head.loss(outputs, points), -expected.log_prob(points), rtol=1e-12, atol=1e-12
    )


def test_kdn_gaussian_learns_one_bandwidth_per_landmark(generator):
    head = KDNGaussian(**SIZE, bandwidth=1.0, learn_bandwidth="landmark", refine=1).double()
    assert head.log_ratio is not None
    with torch.no_grad():
        head.log_ratio.copy_(torch.tensor([-0.1, 0.0, 0.05]))
    outputs, points = outputs_of(head, generator), random_points(generator)
    bandwidth = head.bandwidth(head.kinds(outputs))
    assert isinstance(bandwidth, torch.Tensor)
    assert bandwidth.shape == (LANDMARKS,)
    assert bandwidth[1].item() == pytest.approx(STRIDE)
    assert bandwidth[0] < bandwidth[1] < bandwidth[2]
    expected = mixture(outputs.flatten(-2), centres(), bandwidth[:, None, None])
    loss = head.loss(outputs, points)
    torch.testing.assert_close(loss, -expected.log_prob(points), rtol=1e-12, atol=1e-12)
    loss[:, 2].sum().backward()
    gradient = head.log_ratio.grad
    assert gradient is not None
    assert (gradient != 0).tolist() == [False, False, True]


def test_kdn_gaussian_predicts_one_bandwidth_per_map(generator):
    head = KDNGaussian(**SIZE, learn_bandwidth="map", refine=1)
    assert head.channels == 2 * LANDMARKS
    outputs, points = outputs_of(head, generator), random_points(generator)
    outputs[:, LANDMARKS:] = 0
    outputs[1, LANDMARKS + 2] = -0.5  # the third landmark's second map
    bandwidth = head.bandwidth(head.kinds(outputs))
    assert isinstance(bandwidth, torch.Tensor)
    assert bandwidth.shape == (2, LANDMARKS)
    expected = torch.full((2, LANDMARKS), float(STRIDE), dtype=torch.float64)
    torch.testing.assert_close(bandwidth[0], expected[0])
    assert bandwidth[1, 2] < bandwidth[1, 1]
    reference = mixture(outputs[:, :LANDMARKS].flatten(-2), centres(), bandwidth[:, :, None, None])
    torch.testing.assert_close(
        head.loss(outputs, points), -reference.log_prob(points), rtol=1e-12, atol=1e-12
    )


@pytest.mark.parametrize("refine", [1, 2])
def test_kdn_adaptive_is_the_textbook_mixture(refine, generator):
    head = KDNAdaptive(**SIZE, bandwidth=0.8, offset_limit=1.5, refine=refine)
    assert head.channels == 4 * LANDMARKS
    outputs, points = outputs_of(head, generator), random_points(generator)
    maps = outputs
    if refine > 1:
        maps = F.interpolate(outputs, scale_factor=refine, mode="bicubic", align_corners=False)
    logits, x, y, spread = maps.unflatten(1, (4, LANDMARKS)).flatten(-2).unbind(1)
    places = centres(ROWS * refine, COLUMNS * refine, STRIDE / refine)
    moved = places + 1.5 * STRIDE * torch.tanh(torch.stack((x, y), dim=-1))
    density = head.density(outputs)
    assert isinstance(density, KernelDensity)
    assert density.bandwidth is not None
    bandwidth = density.bandwidth.reshape(spread.shape)
    # Narrow kernels for low outputs, and the initial bandwidth at zero.
    low, high = spread.amin(), spread.amax()
    assert bandwidth[spread == low] < 0.8 * STRIDE < bandwidth[spread == high]
    expected = mixture(logits, moved, bandwidth.unsqueeze(-1))
    torch.testing.assert_close(
        head.loss(outputs, points), -expected.log_prob(points), rtol=1e-11, atol=1e-11
    )


def test_kdn_adaptive_starts_from_the_bandwidth_it_is_given():
    head = KDNAdaptive(**SIZE, bandwidth=0.8)
    density = head.density(torch.zeros(2, head.channels, ROWS, COLUMNS))
    assert isinstance(density, KernelDensity)
    assert density.bandwidth is not None
    torch.testing.assert_close(density.bandwidth.unique(), torch.tensor([0.8 * STRIDE]))


def test_kdn_adaptive_centres_stay_within_the_limit():
    head = KDNAdaptive(**SIZE, offset_limit=1.5)
    outputs = torch.full((2, head.channels, ROWS, COLUMNS), 1e3)
    density = head.density(outputs)
    assert isinstance(density, KernelDensity)
    assert density.offsets is not None
    torch.testing.assert_close(density.offsets.abs().max(), torch.tensor(6.0))


def test_kdn_uniform_is_cross_entropy_per_crop_pixel(generator):
    head = KDNUniform(**SIZE)
    outputs, points = outputs_of(head, generator), random_points(generator)
    cells = ((points + 0.5) / STRIDE).floor().long()
    index = cells[..., 1] * COLUMNS + cells[..., 0]
    expected = F.cross_entropy(outputs.flatten(-2).flatten(0, 1), index.flatten(), reduction="none")
    expected = expected.reshape(2, LANDMARKS) + 2 * math.log(STRIDE)
    torch.testing.assert_close(head.loss(outputs, points), expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("head", [KDNUniform(**SIZE), SoftLabel(**SIZE)])
def test_heads_with_cells_cover_what_lies_within_a_cell(head):
    outputs = torch.zeros(2, LANDMARKS, ROWS, COLUMNS)
    points = torch.tensor(
        [[[-0.5, -0.5], [27.4, 19.4], [27.6, 3.0]], [[3, 19.6], [-0.6, 3], [0, 0]]]
    )
    assert head.covers(outputs, points).tolist() == [[True, True, False], [False, False, True]]


def test_kernels_cover_everything():
    head = KDNGaussian(**SIZE)
    points = torch.full((2, LANDMARKS, 2), -1e4)
    outputs = torch.zeros(2, LANDMARKS, ROWS, COLUMNS)
    assert head.covers(outputs, points).all()
    assert torch.isfinite(head.loss(outputs, points)).all()


def test_softlabel_patch_by_hand():
    head = SoftLabel(2, Grid.of_heatmap(height=9, width=12, stride=4))
    # Crop pixel 13.5 is cell 3.5 − ½ = 3 exactly; 9.5 is cell 2.
    points = torch.tensor([[[13.5, 9.5], [1.5, 1.5]], [[21.5, 13.5], [13.5, 9.5]]])
    target = head.patches(torch.zeros(2, 2, 9, 12), points)
    assert target.shape == (2, 2, 9, 12)
    assert target[0, 0, 2, 3] == 1
    assert target[0, 0, 2, 4].item() == pytest.approx(math.exp(-1 / (2 * 1.75**2)))
    assert target[0, 0, 4, 6].item() == pytest.approx(math.exp(-(9 + 4) / (2 * 1.75**2)))
    assert (target[0, 0] > 0).sum() == 6 * 7  # rows 0 to 5, columns 0 to 6
    assert (target[0, 1] > 0).sum() == 4 * 4  # cut off at the corner
    assert target[1, 0, 3, 5] == 1


def test_softlabel_loss_is_the_mean_square_over_cells(generator):
    head = SoftLabel(**SIZE)
    outputs, points = outputs_of(head, generator), random_points(generator)
    expected = F.mse_loss(outputs, head.patches(outputs, points), reduction="none").mean((-2, -1))
    torch.testing.assert_close(head.loss(outputs, points), expected)
    torch.testing.assert_close(
        head.loss(head.patches(outputs, points), points), torch.zeros(2, LANDMARKS).double()
    )


def test_softlabel_density_is_the_normalised_non_negative_heatmap(generator):
    head = SoftLabel(**SIZE)
    outputs = outputs_of(head, generator)
    outputs[1, 2] = -1.0  # nothing positive: the uniform density
    density = head.density(outputs)
    assert isinstance(density, KernelDensity)
    heat = outputs.clamp(min=0)
    heat[1, 2] = 1
    torch.testing.assert_close(density.probs, heat / heat.sum((-2, -1), keepdim=True))


def test_gaussian_by_hand():
    head = Gaussian(2, Grid.of_heatmap(height=1, width=2, stride=32))
    outputs = torch.zeros(2, 10)
    outputs[0, :5] = torch.tensor([0.5, -0.25, 0.1, -0.2, 0.3])
    density = head.density(outputs)
    # Middle of a 64×32 crop: (31.5, 15.5); half the width and half the height are the units.
    torch.testing.assert_close(density.mean[0, 0], torch.tensor([31.5 + 16, 15.5 - 4]))
    torch.testing.assert_close(density.mean[1, 1], torch.tensor([31.5, 15.5]))
    a, b, c = 8 * math.exp(0.1), 8 * math.exp(-0.2), 8 * 0.3
    expected = torch.tensor([[a * a, a * c], [a * c, b * b + c * c]])
    torch.testing.assert_close(density.covariance_matrix[0, 0], expected, rtol=1e-3, atol=0)


@pytest.mark.parametrize(
    "name", ["softlabel", "kdn_uniform", "kdn_gaussian", "kdn_adaptive", "gaussian"]
)
def test_every_head_has_a_gradient_and_a_density_that_integrates_to_one(name, generator):
    head = build_head(HeadRecipe(name=name), LABELS, GRID)
    outputs = outputs_of(head, generator) * 0.3
    outputs.requires_grad_()
    loss = head.loss(outputs, random_points(generator))
    assert loss.shape == (2, LANDMARKS)
    loss.sum().backward()
    assert outputs.grad is not None
    assert torch.isfinite(outputs.grad).all()
    assert (outputs.grad != 0).any()
    step = 0.25
    points = centres(480, 480, step).reshape(-1, 1, 1, 2) - torch.tensor([46.0, 50.0])
    with torch.no_grad():
        density = head.density(outputs)
        total = density.log_prob(points).exp().sum(0) * step**2
    torch.testing.assert_close(total, torch.ones(2, LANDMARKS).double(), rtol=0, atol=2e-2)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_outputs_are_worked_on_in_float32(dtype, generator):
    head = KDNGaussian(**SIZE)
    outputs = outputs_of(head, generator).to(dtype)
    points = random_points(generator).float()
    loss = head.loss(outputs, points)
    assert loss.dtype == torch.float32
    torch.testing.assert_close(loss, head.loss(outputs.float(), points))


@pytest.mark.parametrize(
    ("name", "setting"),
    [
        ("softlabel", {"bandwidth": 2.0}),
        ("kdn_uniform", {"refine": 2}),
        ("kdn_gaussian", {"offset_limit": 1.0}),
        ("kdn_adaptive", {"learn_bandwidth": "landmark"}),
        ("gaussian", {"refine": 4}),
    ],
)
def test_a_setting_that_the_head_does_not_have_is_an_error(name, setting):
    recipe = HeadRecipe(name=name, **setting)
    with pytest.raises(ValueError, match=rf"head\.{next(iter(setting))} has no meaning for {name}"):
        build_head(recipe, LABELS, GRID)


def test_the_decoder_of_a_recipe_takes_the_place_of_the_head_s_own():
    published = HeadRecipe(learn_bandwidth="fixed", refine=1)
    assert build_head(published, LABELS, GRID).decoder == "mode"
    assert build_head(HeadRecipe(), LABELS, GRID).decoder == "mean"
    other = build_head(HeadRecipe(decoder="local_mean"), LABELS, GRID)
    assert other.decoder == "local_mean"


def test_the_default_head_is_refined_with_a_bandwidth_per_landmark():
    head = build_head(HeadRecipe(), LABELS, GRID)
    assert isinstance(head, KDNGaussian)
    assert head.refine == 4
    assert head.log_ratio is not None


def test_settings_that_say_what_is_so_anyway_are_no_error():
    """A recipe may be turned from one head to another by its name."""
    for name in ("softlabel", "kdn_uniform", "kdn_adaptive", "gaussian"):
        recipe = HeadRecipe(name=name, learn_bandwidth="fixed", refine=1)
        head = build_head(recipe, LABELS, GRID)
        assert head.count == LANDMARKS
