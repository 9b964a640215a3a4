"""Affine maps: points, covariances and densities, against plain loops, OpenCV and numpy."""

import math

import cv2
import numpy as np
import pytest
import torch
from torch import Tensor
from torch.distributions import MultivariateNormal

import unchecked
from kdn.grid import Affine


def some_maps(*batch: int, seed: int = 0) -> Affine:
    """Return maps that turn, shear, stretch and move, none of them near to flattening."""
    generator = torch.Generator().manual_seed(seed)
    linear = torch.randn(*batch, 2, 2, generator=generator, dtype=torch.float64)
    linear = linear + 3 * torch.tensor([[1.0, 0.5], [-0.7, 1.2]], dtype=torch.float64)
    return Affine(linear, 50 * torch.randn(*batch, 2, generator=generator, dtype=torch.float64))


def some_points(*shape: int) -> Tensor:
    return 100 * torch.randn(*shape, 2, generator=torch.Generator().manual_seed(1)).double()


def slow_point(matrix: list[list[float]], point: list[float]) -> list[float]:
    """Return a moved point, by school arithmetic."""
    (a, b, c), (d, e, f) = matrix
    x, y = point
    return [a * x + b * y + c, d * x + e * y + f]


def slow_of_crop(crop: list[float], *, centre, scale, height, width, rotation, flip) -> list[float]:
    """Return the image point that a crop point shows, step by step."""
    x = crop[0] - (width - 1) / 2
    y = crop[1] - (height - 1) / 2
    if flip:
        x = -x
    turned_x = x * math.cos(rotation) - y * math.sin(rotation)
    turned_y = x * math.sin(rotation) + y * math.cos(rotation)
    return [centre[0] + scale * turned_x, centre[1] + scale * turned_y]


def assert_near(ours: Tensor, expected, *, atol: float = 1e-9) -> None:
    expected = torch.as_tensor(expected, dtype=ours.dtype)
    torch.testing.assert_close(ours, expected, rtol=1e-12, atol=atol)


def test_points_agree_with_plain_loops() -> None:
    maps, points = some_maps(2, 3), some_points(2, 3, 5)
    moved = maps.points(points)
    for i in range(2):
        for j in range(3):
            for k in range(5):
                expected = slow_point(maps.matrix[i, j].tolist(), points[i, j, k].tolist())
                assert_near(moved[i, j, k], expected)


def test_one_map_moves_points_of_any_shape() -> None:
    one, points = some_maps(), some_points(4, 1, 3)
    assert_near(
        one.points(points)[3, 0, 2], slow_point(one.matrix.tolist(), points[3, 0, 2].tolist())
    )
    assert one.points(points[0, 0, 0]).shape == (2,)


def test_a_batch_is_paired_with_the_leading_dimensions() -> None:
    # As many maps as landmarks: pairing from the right would go unnoticed but for the values.
    maps, points = some_maps(3), some_points(3, 3)
    for i in range(3):
        one = Affine(maps.linear[i], maps.offset[i])
        assert_near(maps.points(points)[i], one.points(points[i]))


def test_round_trips_to_a_millionth_of_a_pixel() -> None:
    maps, points = some_maps(2, 3), some_points(2, 3, 5)
    assert_near(maps.inverse().points(maps.points(points)), points, atol=1e-6)
    assert_near(maps.points(maps.inverse().points(points)), points, atol=1e-6)
    again = maps.inverse().inverse()
    assert_near(again.matrix, maps.matrix)


def test_a_crop_done_by_hand() -> None:
    # 100×100 pixels to 50×50: crop pixel (0, 0) covers image pixels 0 and 1 on both axes, whose
    # middle is 0.5; crop pixel (49, 10) covers columns 98, 99 and rows 20, 21.
    crop_to_image = Affine.of_crop(centre=(49.5, 49.5), scale=2, height=50, width=50)
    assert_near(crop_to_image.points(torch.zeros(2).double()), [0.5, 0.5])
    assert_near(crop_to_image.points(torch.tensor([49.0, 10.0]).double()), [98.5, 20.5])


def test_a_turned_crop_done_by_hand() -> None:
    # Five columns and three rows, middle at crop (2, 1). A quarter turn from x towards y: one
    # step right in the crop is one step (of 10 px) down in the image, one down is one left.
    turned = Affine.of_crop(centre=(7, 9), scale=10, height=3, width=5, rotation=math.pi / 2)
    assert_near(turned.points(torch.tensor([2.0, 1.0]).double()), [7.0, 9.0])
    assert_near(turned.points(torch.tensor([3.0, 1.0]).double()), [7.0, 19.0])
    assert_near(turned.points(torch.tensor([2.0, 2.0]).double()), [-3.0, 9.0])


@pytest.mark.parametrize("flip", [False, True])
@pytest.mark.parametrize("rotation", [0.0, 0.6, -2.0])
def test_crops_agree_with_plain_steps(rotation: float, flip: bool) -> None:
    how = {
        "centre": (31.0, 17.5),
        "scale": 1.7,
        "height": 24,
        "width": 36,
        "rotation": rotation,
        "flip": flip,
    }
    crop_to_image = Affine.of_crop(**how)
    for point in ([0.0, 0.0], [35.0, 23.0], [3.25, 20.5]):
        moved = crop_to_image.points(torch.tensor(point, dtype=torch.float64))
        assert_near(moved, slow_of_crop(point, **how))


@pytest.mark.parametrize("flip", [False, True])
@pytest.mark.parametrize("dot", [(30, 20), (45, 31), (22, 37)])
def test_a_bright_dot_is_drawn_where_the_map_says(dot: tuple[int, int], flip: bool) -> None:
    # OpenCV draws the crop; the dot's centre of mass in it is found without any of our code.
    image = np.zeros((60, 80), dtype=np.float32)
    image[dot[1], dot[0]] = 1.0
    image = cv2.GaussianBlur(image, (0, 0), 2.0)
    crop_to_image = Affine.of_crop(
        centre=(33.0, 28.0), scale=0.8, height=50, width=70, rotation=0.4, flip=flip
    )
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP  # with that flag OpenCV wants crop → image
    crop = cv2.warpAffine(image, crop_to_image.matrix.numpy(), (70, 50), flags=flags)
    rows, columns = np.mgrid[:50, :70]
    mass = crop.astype(np.float64) / crop.sum()
    seen = [(columns * mass).sum(), (rows * mass).sum()]
    said = crop_to_image.inverse().points(torch.tensor(dot, dtype=torch.float64))
    assert said.tolist() == pytest.approx(seen, abs=0.03)  # OpenCV works in 1/32 pixels


@pytest.mark.parametrize("width", [1, 2, 5, 640])
def test_flips_are_exact(width: int) -> None:
    flip = Affine.flip(width)
    columns = torch.arange(width, dtype=torch.float32)
    points = torch.stack([columns, 3 * columns], dim=-1)
    assert torch.equal(flip.points(points), torch.stack([columns.flip(0), 3 * columns], dim=-1))
    assert torch.equal((flip @ flip).matrix, Affine.identity().matrix)
    assert torch.equal(flip.inverse().matrix, flip.matrix)


def test_a_flipped_crop_is_the_crop_behind_a_flip() -> None:
    how = {"centre": (31.0, 17.5), "scale": 1.7, "height": 24, "width": 36, "rotation": 0.6}
    flipped = Affine.of_crop(**how, flip=True)
    assert_near(flipped.matrix, (Affine.of_crop(**how) @ Affine.flip(36)).matrix)


def test_a_flipped_picture_agrees_with_numpy() -> None:
    image = np.arange(15, dtype=np.float32).reshape(3, 5)
    matrix = Affine.flip(5).matrix.numpy()
    flags = cv2.INTER_NEAREST | cv2.WARP_INVERSE_MAP
    np.testing.assert_array_equal(
        cv2.warpAffine(image, matrix, (5, 3), flags=flags), image[:, ::-1]
    )


def test_compose_applies_its_argument_first() -> None:
    outer, inner, points = some_maps(2, seed=3), some_maps(2, seed=4), some_points(2, 5)
    expected = outer.points(inner.points(points))
    assert_near((outer @ inner).points(points), expected)
    assert_near(outer.compose(inner).points(points), expected)
    assert (inner.compose(outer).points(points) - expected).abs().max() > 1


def test_compose_of_one_map_and_a_batch() -> None:
    one, batch, points = some_maps(seed=3), some_maps(4, seed=4), some_points(4, 5)
    assert_near((one @ batch).points(points), one.points(batch.points(points)))
    assert_near((batch @ one).points(points), batch.points(one.points(points)))


def test_identity_and_inverse_undo() -> None:
    maps = some_maps(2, 3)
    undone = maps.inverse() @ maps
    assert_near(undone.matrix, Affine.identity().matrix.expand(2, 3, 2, 3))
    points = some_points(7)
    assert torch.equal(Affine.identity().points(points), points)


def test_covariances_are_those_of_moved_points() -> None:
    maps, points = some_maps(2, 3), some_points(2, 3, 50)
    moved = maps.points(points)
    for i in range(2):
        for j in range(3):
            before = torch.from_numpy(np.cov(points[i, j].T.numpy()))
            one = Affine(maps.linear[i, j], maps.offset[i, j])
            after = np.cov(moved[i, j].T.numpy())
            assert_near(one.covariances(before), after, atol=1e-8)


def test_covariances_of_a_batch_are_paired_with_the_maps() -> None:
    maps, factor = some_maps(3), some_points(3, 3, 2)
    covariances = factor @ factor.transpose(-1, -2)
    moved = maps.covariances(covariances)
    for i in range(3):
        for k in range(3):
            a, c = maps.linear[i].numpy(), covariances[i, k].numpy()
            np.testing.assert_allclose(moved[i, k].numpy(), a @ c @ a.T, rtol=1e-12)


def test_log_densities_agree_with_the_moved_normal() -> None:
    maps, points = some_maps(2), some_points(2, 5)
    mean, covariance = some_points(2), torch.tensor([[9.0, 2.0], [2.0, 4.0]]).double()
    before = MultivariateNormal(mean[:, None], covariance)
    after = MultivariateNormal(
        maps.points(mean)[:, None], maps.covariances(covariance.expand(2, 2, 2))[:, None]
    )
    ours = maps.log_densities(before.log_prob(points))
    assert_near(ours, after.log_prob(maps.points(points)), atol=1e-8)


def test_moved_densities_still_integrate_to_one() -> None:
    # A crop of 1.5 image pixels per crop pixel, mirrored: areas grow 2.25-fold, whatever the sign.
    crop_to_image = Affine.of_crop(
        centre=(0.0, 0.0), scale=1.5, height=11, width=21, rotation=0.3, flip=True
    )
    assert crop_to_image.log_abs_det().item() == pytest.approx(2 * math.log(1.5), abs=1e-12)
    normal = MultivariateNormal(torch.tensor([10.0, 5.0]).double(), 2 * torch.eye(2).double())
    steps = torch.arange(-20, 20, 0.25, dtype=torch.float64)
    image = torch.stack(torch.meshgrid(steps, steps, indexing="xy"), dim=-1)
    crop = crop_to_image.inverse().points(image)
    density = crop_to_image.log_densities(normal.log_prob(crop)).exp()
    assert density.sum().item() * 0.25**2 == pytest.approx(1.0, abs=1e-6)


def test_matrices_of_opencv_are_taken_and_given() -> None:
    matrix = cv2.getRotationMatrix2D((10.0, 20.0), 30.0, 1.5)
    ours = Affine.of_matrix(matrix)
    assert_near(ours.points(torch.tensor([10.0, 20.0]).double()), [10.0, 20.0])
    assert_near(ours.matrix, matrix)
    assert Affine.of_matrix(np.stack([matrix, matrix, matrix])).offset.shape == (3, 2)


def test_points_keep_their_dtype_and_gradient() -> None:
    maps = some_maps(2)
    points = torch.ones(2, 5, 2, requires_grad=True)
    moved = maps.points(points)
    assert moved.dtype == torch.float32
    moved[..., 0].sum().backward()
    assert points.grad is not None
    assert_near(points.grad[1, 3].double(), maps.linear[1, 0], atol=1e-6)
    assert maps.to(torch.float32).matrix.dtype == torch.float32


def test_wrong_shapes_are_refused() -> None:
    with pytest.raises(ValueError, match=r"linear must be .*, got \(2, 2\) and \(3, 2\)"):
        unchecked.load("kdn.grid").Affine(torch.eye(2), torch.zeros(3, 2))
    with pytest.raises(ValueError, match="at least as many leading dimensions, got shape"):
        some_maps(2, 3).points(some_points(2))
    with pytest.raises(ValueError, match="at least as many leading dimensions, got shape"):
        some_maps(2, 3).covariances(torch.eye(2).double().expand(2, 2, 2))
    with pytest.raises(ValueError, match="at least as many leading dimensions, got shape"):
        some_maps(2, 3).log_densities(torch.zeros(2).double())


@pytest.mark.parametrize("scale", [0.0, -1.0, math.nan, math.inf])
def test_a_wrong_scale_is_refused(scale: float) -> None:
    with pytest.raises(ValueError, match="scale must be positive and finite"):
        Affine.of_crop(centre=(0.0, 0.0), scale=scale, height=3, width=5)


def test_a_map_that_flattens_the_plane_has_no_inverse() -> None:
    flat = Affine(torch.ones(2, 2).double(), torch.zeros(2).double())
    with pytest.raises(RuntimeError, match="singular"):  # torch.linalg.LinAlgError is one
        flat.inverse()
