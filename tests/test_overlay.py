"""What is drawn lies where it should, in a picture of any brightness."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.stats import chi2, multivariate_normal

from found_faces import TRIO, face_of, hand_face, spoilt
from kdn import Affine, GaussianDensity, Grid, KernelDensity
from kdn.data import PointLabels
from kdn.predict.overlay import (
    PARTS,
    draw_faces,
    ellipse,
    ellipse_radius,
    face_size,
    heat_of,
    unsure,
)
from kdn.predict.overlay.strokes import Window

GREY = 128


def blank(height=90, width=130, value=GREY):
    return np.full((height, width, 3), value, np.uint8)


def ink(before, after):
    """Return how much each pixel changed, whatever the colour."""
    return np.abs(after.astype(float) - before).sum(axis=-1)


def centroid(weight):
    rows, columns = np.indices(weight.shape)
    return np.array([(weight * columns).sum(), (weight * rows).sum()]) / weight.sum()


def single(point, covariance=((1.0, 0.0), (0.0, 1.0))):
    """Return a face of which one landmark is finite, and the others tell its size."""
    face = hand_face()
    landmarks = np.array([point, [np.nan, 0.0], [np.nan, 1.0]])
    covariances = np.tile(np.array(covariance), (3, 1, 1))
    box = (point[0] - 5.0, point[1] - 4.0, point[0] + 5.0, point[1] + 4.0)
    return replace(face, landmarks=landmarks, covariances=covariances, bbox=box)


def cover(faces, size=(90, 130), **options):
    """Return the share of each pixel that is drawn over: what black and white have in common."""
    black, white = (
        draw_faces(blank(size[0], size[1], value), faces, **options) for value in (0, 255)
    )
    return 1.0 - (white[..., 0].astype(float) - black[..., 0]) / 255.0


@pytest.mark.parametrize("uncertain", [None, 0.5])
def test_a_point_is_where_it_should_be(uncertain):
    for point in np.random.default_rng(7).uniform((5, 5), (124, 84), (60, 2)):
        options = {"what": ["points"], "uncertain": uncertain}
        whole = cover([single(point)], **options)
        disc = draw_faces(blank(value=0), [single(point)], **options)[..., 0]  # the edge is black
        assert 1 < (disc > 0).sum() < (whole > 0).sum() < 60
        np.testing.assert_allclose(centroid(whole), point, atol=0.06)
        np.testing.assert_allclose(centroid(disc.astype(float)), point, atol=0.06)


@pytest.mark.parametrize("size", [1.0, 3.0, 20.0])
def test_lines_are_where_they_should_be_and_as_wide(size):
    rng = np.random.default_rng(3)
    for centre in rng.uniform((60, 40), (64, 44), (10, 2)):
        picture = blank()
        window = Window(picture, (30.25, 7.5, 110.0, 80.0))
        points = ellipse(centre, np.diag([4.0 * size, size]), 0.95)
        assert points is not None
        window.lines([points], width=1.5, closed=True)
        window.lay((255, 255, 255))
        weight = ink(blank(), picture)
        np.testing.assert_allclose(centroid(weight), centre, atol=0.05)
        sides = np.linalg.norm(np.roll(points, -1, axis=0) - points, axis=1)
        assert weight.sum() / (3 * 127) / sides.sum() == pytest.approx(1.5, abs=0.35)


@pytest.mark.parametrize("level", [0.1, 0.5, 0.9, 0.99])
def test_ellipses_hold_their_level(level):
    covariance = np.array([[9.0, -4.0], [-4.0, 2.5]])
    centre = np.array([3.0, -7.0])
    assert ellipse_radius(level) ** 2 == pytest.approx(chi2.ppf(level, df=2))
    points = ellipse(centre, covariance, level, points=400)
    assert points is not None
    samples = np.random.default_rng(0).multivariate_normal(centre, covariance, 40000)
    density = multivariate_normal(centre, covariance).pdf  # pyright: ignore[reportArgumentType]
    on_the_edge = density(points)
    np.testing.assert_allclose(on_the_edge, on_the_edge[0], rtol=1e-9)
    assert (density(samples) > on_the_edge[0]).mean() == pytest.approx(level, abs=0.008)


def test_an_ellipse_is_drawn_where_the_covariance_says():
    # Long along the diagonal that falls to the right, as seen: x and y grow together.
    face = single([61.3, 42.8], [[90.0, 60.0], [60.0, 50.0]])
    weight = cover([face], what=["ellipses"])
    np.testing.assert_allclose(centroid(weight), [61.3, 42.8], atol=0.1)
    rows, columns = np.nonzero(weight > 0.2)
    spread = ellipse_radius(0.9) * math.sqrt(90.0)
    assert columns.max() - 61.3 == pytest.approx(spread, abs=2)
    assert rows.max() - 42.8 == pytest.approx(ellipse_radius(0.9) * math.sqrt(50.0), abs=2)
    assert np.corrcoef(rows, columns)[0, 1] > 0.5
    narrower = cover([face], what=["ellipses"], level=0.5)
    assert np.nonzero(narrower)[1].max() < columns.max() - 5


def test_contours_and_boxes():
    picture, face = blank(), hand_face(20.0, 10.0)
    contour = ink(picture, draw_faces(picture, [face], what=["contours"]))
    middle = face.landmarks[:2].mean(axis=0)
    np.testing.assert_allclose(centroid(contour), middle, atol=0.1)
    assert contour[68:].max() == 0  # no edge leads to the chin
    boxed = ink(picture, draw_faces(picture, [face], what=["boxes"]))
    x0, y0, x1, y1 = face.bbox
    assert boxed[int(y0) + 5 : int(y1) - 5, round(x0)].min() > 100
    assert boxed[int(y0) + 5 : int(y1) - 5, round(x1)].min() > 100
    assert boxed[int(y0) + 4 : int(y1) - 4, int(x0) + 4 : int(x1) - 4].max() == 0
    assert boxed[: int(y0) - 3].max() > 100  # the score
    unscored = replace(face, score=math.nan)
    assert ink(picture, draw_faces(picture, [unscored], what=["boxes"]))[: int(y0) - 3].max() == 0


def test_only_the_unsure_points_are_marked():
    picture, face = blank(), hand_face(20.0, 10.0)  # uncertainties 1.63, 1.22, 3.33
    drawn = ink(picture, draw_faces(picture, [face], uncertain=1.5, what=["points"]))
    there = [drawn[round(y), round(x)] > 0 for x, y in face.landmarks]
    assert there == [True, False, True]
    plain = draw_faces(picture, [face], what=["points"])
    x, y = np.rint(face.landmarks[2]).astype(int)
    marked = draw_faces(picture, [face], uncertain=1.5, what=["points"])
    assert (plain[y, x] != marked[y, x]).any()
    ellipses = ink(picture, draw_faces(picture, [face], uncertain="2px", what=["ellipses"]))
    assert ellipses[:, 55:].max() == 0  # beside the chin's, which is long and thin
    assert ellipses[:, 45:50].max() > 0


def test_thresholds():
    face = hand_face()
    size = math.sqrt((41.0 - 10.25) * (61.0 - 18.1234567))
    assert face_size(face) == pytest.approx(size)
    share = 100 * 1.5 / size
    for threshold in (1.5, "1.5", "1.5 px", f"{share:.6f}%"):
        assert unsure(face, threshold).tolist() == [True, False, True]
    assert unsure(face, None).all()
    assert unsure(spoilt(face, 1), 1e6).tolist() == [False, True, False]
    for wrong in ("", "x", "-1", 0, "3 %%", "nan", "5em"):
        with pytest.raises(ValueError, match="uncertain must be a length in pixels or like 5%"):
            unsure(face, wrong)


def kernel_density():
    """Return densities whose mass lies within their maps."""
    generator = torch.Generator().manual_seed(2)
    logits = 3 * torch.randn(3, 8, 11, generator=generator, dtype=torch.float64)
    inner = torch.zeros(8, 11, dtype=torch.bool)
    inner[2:-2, 2:-2] = True
    logits = logits.masked_fill(~inner, -40.0)
    crop_to_image = Affine.of_crop(centre=(61.0, 40.5), scale=1.7, height=32, width=44)
    grid = Grid.of_heatmap(height=8, width=11, stride=4)
    return KernelDensity(logits, grid, bandwidth=4.0).mapped(crop_to_image)


def test_heat_is_one_minus_the_denser_mass():
    density = kernel_density()
    corner = np.array([25.0, 16.0])
    heat = heat_of(density, corner, height=47, width=71)
    rows, columns = torch.meshgrid(torch.arange(47.0), torch.arange(71.0), indexing="ij")
    points = torch.stack((columns, rows), dim=-1).double() + torch.from_numpy(corner)
    levels = density.hdr_level(points.unsqueeze(2).expand(47, 71, 3, 2))
    expected = (1 - levels).amax(dim=-1).numpy()
    assert (expected > 0.1).sum() > 500
    # Cells of 2 crop pixels are not fine for kernels of 4: a cell is one step of the level.
    assert np.abs(heat - expected).mean() < 0.02
    assert np.abs(heat - expected).max() < 0.12
    assert heat.max() > 0.97


def test_mass_outside_the_map_does_not_tint_it():
    logits = torch.zeros(3, 6, 9)
    logits[:, 0, 4] = 20.0  # a peak in the first row, so that half of its mass lies above the map
    grid = Grid.of_heatmap(height=6, width=9, stride=4)
    density = KernelDensity(logits, grid, bandwidth=5.0).mapped(Affine.identity())
    heat = heat_of(density, np.zeros(2), height=24, width=36)
    assert heat[1, 17] > 0.9
    assert heat[-3:].max() < 0.01


def test_heat_of_a_density_without_cells():
    mean = torch.tensor([[20.0, 12.0], [50.0, 30.0], [33.0, 21.0]], dtype=torch.float64)
    crop = GaussianDensity(mean, scale_tril=4 * torch.eye(2, dtype=torch.float64).expand(3, 2, 2))
    heat = heat_of(crop.mapped(Affine.identity()), np.array([3.0, 2.0]), height=45, width=140)
    for i in range(3):
        x, y = (mean[i] - torch.tensor([3.0, 2.0])).tolist()
        assert heat[round(y), round(x)] == pytest.approx(1.0, abs=0.03)
    # One standard deviation beside a mean, exp(−½) of the mass lies further out.
    assert heat[10, 13] == pytest.approx(math.exp(-0.5), abs=0.03)


def test_heatmaps_are_drawn():
    picture, face = blank(), replace(hand_face(20.0, 10.0), density=kernel_density())
    drawn = ink(picture, draw_faces(picture, [face], what=["heatmaps"]))
    mode = face.density.mode[1].round().int().tolist()
    assert drawn[mode[1], mode[0]] > 60
    assert drawn[0, 0] == drawn[-1, -1] == 0


def test_the_boundary_is_drawn_along_the_jaw_and_wider_where_it_is_less_sure():
    """Three landmarks on a line that are known to a pixel, two of them; the third is not."""
    grid = Grid.of_heatmap(height=20, width=30, stride=4)
    logits = torch.full((3, 20, 30), -torch.inf)
    for landmark, column in enumerate((3, 14, 26)):
        logits[landmark, 10, column] = 0.0
    logits[2, 5:16, 26] = 0.0
    density = KernelDensity(logits, grid, bandwidth=1.0).mapped(Affine.identity())
    markup = replace(TRIO, groups={"jaw": (0, 1, 2)})
    mean = density.mean.double().numpy()
    face = replace(face_of((0, 0, 119, 79), mean, np.tile(np.eye(2), (3, 1, 1)), markup=markup))
    face = replace(face, density=density)
    picture = blank(height=80, width=120)
    drawn = ink(picture, draw_faces(picture, [face], what=["boundary"])) > 5
    near, far = drawn[:, 30].sum(), drawn[:, 100].sum()
    assert drawn[41, 16:101].all()
    assert 3 <= near < 15
    assert far > near + 10
    assert not drawn[:, 118].any()
    with pytest.raises(ValueError, match="boundary needs a group jaw or contour, trio has none"):
        draw_faces(picture, [hand_face()], what=["boundary"])
    with pytest.raises(ValueError, match="boundary needs the density of one crop"):
        draw_faces(picture, [replace(hand_face(), labels=PointLabels(markup))], what=["boundary"])


def test_a_face_smaller_than_a_pixel_has_no_heatmap():
    mapped = GaussianDensity(
        torch.tensor([[0.4, 0.4], [0.6, 0.5], [0.5, 0.6]]), covariance=1e-6 * torch.eye(2)
    ).mapped(Affine.of_crop(centre=(40.5, 30.5), scale=1e-3, height=2, width=2))
    points = mapped.mean.double().numpy()
    face = replace(hand_face(), landmarks=points, covariances=np.zeros((3, 2, 2)), density=mapped)
    picture = blank()
    assert (draw_faces(picture, [face], what=["heatmaps"]) == picture).all()


@pytest.mark.parametrize("value", [0, 255, 90])
def test_everything_shows_on_any_picture(value):
    """Both the colour and its edge would have to be like the picture for nothing to show."""
    picture, face = blank(value=value), hand_face(20.0, 10.0)
    for part in ("contours", "boxes", "ellipses", "points"):
        drawn = draw_faces(picture, [face], what=[part])
        assert np.abs(drawn.astype(int) - value).max() > 100, part


@pytest.mark.parametrize("what", [[part] for part in PARTS[2:]])
def test_what_is_outside_or_not_finite_is_not_drawn(what):
    picture = blank()
    for face in (
        hand_face(1000.0, 7.0),
        hand_face(-300.0, -300.0),
        hand_face(1e9, 1e300),
        replace(hand_face(), landmarks=np.full((3, 2), np.nan), bbox=(math.nan,) * 4),
    ):
        np.testing.assert_array_equal(draw_faces(picture, [face], what=what), picture)
    for face in (spoilt(hand_face(20.0, 10.0), 2), hand_face(90.0, 50.0), flat()):
        assert ink(picture, draw_faces(picture, [face], what=what)).max() > 0


def flat():
    """Return a face of which one covariance is none, and one reaches far beyond the picture."""
    face = hand_face(20.0, 10.0)
    covariances = np.array([np.zeros((2, 2)), 400 * np.eye(2), [[1e6, 0.0], [0.0, 1.0]]])
    return replace(face, covariances=covariances)


def test_the_picture_is_left_alone_and_may_be_a_view():
    picture = blank()
    view = picture[::2, ::-1]
    drawn = draw_faces(view, [hand_face()], what=PARTS[2:])
    assert drawn.shape == view.shape
    assert (picture == GREY).all()
    np.testing.assert_array_equal(draw_faces(picture, []), picture)


def test_a_large_face_is_drawn_as_exactly():
    large = face_of(
        bbox=(500.0, 300.0, 4700.0, 4400.0),
        landmarks=np.array([[700.5, 900.25], [4500.0, 800.0], [2400.25, 4300.0]]),
        covariances=1e4 * np.tile(np.eye(2), (3, 1, 1)),
        markup=TRIO,
    )
    covered = cover([large], (4600, 5000), what=["points"])
    for point in large.landmarks:
        x, y = point.astype(int) - 100
        where = centroid(covered[y : y + 201, x : x + 201])
        np.testing.assert_allclose(np.add(where, (x, y)), point, atol=0.1)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"what": ["points", "hats"]}, "what must be some of heatmaps, boundary, contours"),
        ({"what": "points"}, "what must be some of"),
        ({"level": 1.0}, "level must be above 0 and below 1, got 1.0"),
        ({"level": 0.0}, "level must be above 0 and below 1"),
        ({"uncertain": "much"}, "uncertain must be a length"),
    ],
)
def test_what_cannot_be_drawn(options, said):
    with pytest.raises(ValueError, match=said):
        draw_faces(blank(), [hand_face()], **options)
