"""What fusing landmarks over time does for jitter and error, on synthetic videos of known truth.

Run `python benchmarks/video.py --checkpoint FILE` with a model trained on synthetic faces, such as
that of `recipes/demo.yaml`. Definitions are in docs/video.md.

Every method gets the same predictions. Its process noise is chosen on the tuning videos: the one of
least jitter whose error on moving landmarks is at most 2 % above that of single frames. The tables
are of other videos.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

from kdn.data import Sample
from kdn.density import GaussianDensity
from kdn.grid import Affine
from kdn.models.checkpoint import load_model
from kdn.models.model import Model
from kdn.predict.columns import predict
from kdn.predict.predictor import Predictor
from kdn.predict.results import Face, face_score
from kdn.predict.track.kalman import LandmarkFilter, smooth
from kdn.predict.track.motion import Motion
from kdn.predict.track.tracker import FaceTracker, Rules
from synthetic_video import SyntheticVideo

MOVING = 0.3
"""Speed above which a landmark moves, face sizes per second."""

STRENGTHS = tuple(float(q) for q in np.logspace(-1.5, 2, 15))
"""Accelerations to choose from, sizes² / s³."""

LATE = 4
"""Frames by which the delayed filter is late."""


@dataclass(frozen=True)
class Video:
    """Predictions of each frame on its own, and the truth. Image pixels, seconds."""

    times: np.ndarray
    landmarks: np.ndarray
    covariances: np.ndarray
    truth: np.ndarray
    sizes: np.ndarray


@dataclass(frozen=True)
class Method:
    """A way to fuse: `kind` is frame, filter, delayed or smoother; `noise` own, one or each."""

    name: str
    kind: str
    noise: str


METHODS = (
    Method("filter, one noise for all", "filter", "one"),
    Method("filter, one noise per landmark", "filter", "each"),
    Method("filter, own covariances", "filter", "own"),
    Method(f"delayed {LATE} frames, own covariances", "delayed", "own"),
    Method("smoother, one noise for all", "smoother", "one"),
    Method("smoother, one noise per landmark", "smoother", "each"),
    Method("smoother, own covariances", "smoother", "own"),
)


def boxes_known(model: Model, video: SyntheticVideo) -> tuple[np.ndarray, np.ndarray]:
    """Return landmarks and covariances with the true box of every frame."""
    predictions = predict(Predictor(model, flip=False), video, batch=20)
    packed = predictions.covariances
    assert packed is not None
    return predictions.prediction, packed[..., [0, 1, 1, 2]].reshape(*packed.shape[:-1], 2, 2)


def boxes_followed(model: Model, video: SyntheticVideo) -> tuple[np.ndarray, np.ndarray]:
    """Return landmarks and covariances with the boxes of a tracker, the first of them true.

    A face that the tracker loses is looked for in its true box again.
    """
    frames = iter(video)
    now: list[Sample] = []

    def asked(image: np.ndarray, /, boxes: list) -> list[Face]:
        predictions = predict(
            Predictor(model, flip=False),
            [replace(now[-1], image=image, bbox=box) for box in boxes],
            batch=20,
        )
        packed = predictions.covariances
        assert packed is not None
        return [
            face_of(points, spread[:, [0, 1, 1, 2]].reshape(-1, 2, 2), box, model)
            for points, spread, box in zip(predictions.prediction, packed, boxes, strict=True)
        ]

    # The true box helps only in the first frame and where the face is lost.
    rules = Rules(every=len(video), score=0.0, unconfirmed=None)
    tracker = FaceTracker(asked, lambda _: now[-1:], rules=rules)
    landmarks, covariances = [], []
    for sample, time in zip(frames, video.times.tolist(), strict=True):
        now.append(sample)
        faces = tracker.update(sample.read(), time=time)
        found = faces[0].measured or faces[0].face
        landmarks.append(found.landmarks)
        covariances.append(found.covariances)
    return np.array(landmarks), np.array(covariances)


def face_of(points: np.ndarray, spread: np.ndarray, box, model: Model) -> Face:
    """Return a face of moments alone."""
    uncertainty = np.linalg.det(spread) ** 0.25
    density = GaussianDensity(torch.from_numpy(points), covariance=torch.from_numpy(spread))
    return Face(
        bbox=box,
        landmarks=points,
        covariances=spread,
        uncertainty=uncertainty,
        score=face_score(uncertainty, box),
        labels=model.labels,
        density=density.mapped(Affine.identity()),
    )


def videos_of(
    seeds: range, frames: int, predicted: Callable[[SyntheticVideo], tuple[np.ndarray, np.ndarray]]
) -> list[Video]:
    """Return the predictions of videos."""
    found = []
    for seed in seeds:
        video = SyntheticVideo(frames, seed=seed)
        truth = np.array([video.landmarks(time) for time in video.times.tolist()])
        extent = np.ptp(truth, axis=1)
        found.append(Video(video.times, *predicted(video), truth, np.sqrt(extent.prod(axis=-1))))
    return found


def noise_levels(videos: list[Video]) -> np.ndarray:
    """Return the mean variance of each landmark along an axis, sizes²."""
    variances = [
        np.trace(v.covariances, axis1=-2, axis2=-1) / 2 / v.sizes[:, None] ** 2 for v in videos
    ]
    return np.concatenate(variances).mean(axis=0)


def fuse(
    video: Video, method: Method, motion: Motion, levels: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return the landmarks and covariances that a method makes of a video."""
    covariances = video.covariances
    if method.noise != "own":
        level = levels if method.noise == "each" else np.full_like(levels, levels.mean())
        scale = level * np.square(np.ptp(video.landmarks, axis=1).prod(axis=-1) ** 0.5)[:, None]
        covariances = scale[..., None, None] * np.eye(2)
    if method.kind == "frame":
        return video.landmarks, covariances
    if method.kind == "smoother":
        fused = smooth(video.times, list(video.landmarks), list(covariances), motion=motion)
        return fused.landmarks, fused.covariances
    online = LandmarkFilter(motion, lag=LATE if method.kind == "delayed" else 0)
    seen = []
    for time, points, spread in zip(
        video.times.tolist(), video.landmarks, covariances, strict=True
    ):
        online.filter(time, points, spread)
        late = online.delayed()
        seen += [] if late is None else [late]
    landmarks = np.array([frame.landmarks for frame in seen])
    spreads = np.array([frame.covariances for frame in seen])
    missing = len(video.times) - len(seen)
    if missing:  # the last frames of a video do not wait
        rest = smooth(video.times, list(video.landmarks), list(covariances), motion=motion)
        landmarks = np.concatenate([landmarks, rest.landmarks[-missing:]])
        spreads = np.concatenate([spreads, rest.covariances[-missing:]])
    return landmarks, spreads


def scores(video: Video, landmarks: np.ndarray, covariances: np.ndarray) -> np.ndarray:
    """Return jitter, error, error while moving, lag (all % of the size), and squared-error ratio.

    The last is the mean of `eᵀ·C⁻¹·e / 2`, which is 1 where covariances are as large as errors.
    """
    sizes = video.sizes[:, None, None]
    error = 100 * (landmarks - video.truth) / sizes
    change = np.diff(error, axis=0)
    spread = np.square(change - change.mean(axis=0)).sum(axis=-1).mean(axis=0)
    velocity = np.gradient(video.truth, video.times, axis=0) / sizes
    speed = np.linalg.norm(velocity, axis=-1)
    moving = speed > MOVING
    length = np.linalg.norm(error, axis=-1)
    along = (error * velocity).sum(axis=-1)[moving] / speed[moving]
    pixels = landmarks - video.truth
    ratio = np.einsum("fli,flij,flj->fl", pixels, np.linalg.inv(covariances), pixels) / 2
    return np.array(
        [np.sqrt(spread).mean(), length.mean(), length[moving].mean(), along.mean(), ratio.mean()]
    )


def scores_of(
    videos: list[Video], method: Method, motion: Motion, levels: np.ndarray
) -> np.ndarray:
    """Return the scores of each video, `(videos, 5)`."""
    return np.array([scores(video, *fuse(video, method, motion, levels)) for video in videos])


def tuned(videos: list[Video], method: Method, motion: Motion, levels: np.ndarray) -> Motion:
    """Return the motion with the process noise of least jitter at hardly more error."""
    single = scores_of(videos, Method("", "frame", "own"), motion, levels).mean(axis=0)
    best, least = replace(motion, acceleration=STRENGTHS[-1]), np.inf
    for strength in STRENGTHS:
        candidate = replace(motion, acceleration=strength)
        jitter, _, error, *_ = scores_of(videos, method, candidate, levels).mean(axis=0)
        if error <= 1.02 * single[2] and jitter < least:
            best, least = candidate, jitter
    return best


def table(tuning: list[Video], testing: list[Video], motion: Motion) -> None:
    """Print the scores of all methods, and own covariances against fixed noise."""
    levels = noise_levels(tuning)
    frame = Method("each frame alone", "frame", "own")
    rows = {frame: (motion, scores_of(testing, frame, motion, levels))}
    for method in METHODS:
        chosen = tuned(tuning, method, motion, levels)
        rows[method] = chosen, scores_of(testing, method, chosen, levels)
    single = rows[frame][1].mean(axis=0)
    print(f"\n{'':36s} {'q':>7s} {'jitter':>12s} {'error':>13s} {'moving':>13s} lag   e²/C")
    for method, (chosen, found) in rows.items():
        jitter, error, moving, lag, ratio = found.mean(axis=0)
        strength = "" if method is frame else f"{chosen.acceleration:.2f}"
        print(
            f"{method.name:36s} {strength:>7s} {jitter:5.2f} ({jitter / single[0]:4.2f}) "
            f"{error:5.2f} ({error / single[1]:5.3f}) {moving:5.2f} ({moving / single[2]:5.3f}) "
            f"{lag:+5.2f} {ratio:5.2f}"
        )
    for kind in ("filter", "smoother"):
        own = next(f for m, (_, f) in rows.items() if (m.kind, m.noise) == (kind, "own"))
        for noise in ("one", "each"):
            other = next(f for m, (_, f) in rows.items() if (m.kind, m.noise) == (kind, noise))
            print(f"{kind}, own against {noise}: {compared(own, other)}")


def compared(own: np.ndarray, other: np.ndarray, rounds: int = 2000) -> str:
    """Return jitter and error of one method over another's, with paired bootstrap intervals."""
    rng = np.random.default_rng(0)
    chosen = rng.integers(len(own), size=(rounds, len(own)))
    said = []
    for column, name in ((0, "jitter"), (1, "error"), (2, "error while moving")):
        ratio = own[:, column].mean() / other[:, column].mean()
        drawn = own[chosen, column].mean(axis=1) / other[chosen, column].mean(axis=1)
        low, high = np.quantile(drawn, [0.025, 0.975])
        said.append(f"{name} × {ratio:.3f} ({low:.3f}–{high:.3f})")
    return ", ".join(said)


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--checkpoint", type=Path, default=Path("demo-train/run/best.safetensors"))
    parser.add_argument("--frames", type=int, default=100)
    parser.add_argument("--tuning", type=int, default=6, help="videos to choose constants on")
    parser.add_argument("--videos", type=int, default=12, help="videos that are reported")
    parser.add_argument("--boxes", choices=("known", "followed", "both"), default="both")
    args = parser.parse_args()
    if not args.checkpoint.is_file():
        print(f"{args.checkpoint}: no such file; train one by recipes/demo.yaml. Nothing measured.")
        return
    model, _ = load_model(args.checkpoint)
    ways = {"known": boxes_known, "followed": boxes_followed}
    for name in ("known", "followed") if args.boxes == "both" else (args.boxes,):

        def predicted(video: SyntheticVideo, way=ways[name]) -> tuple[np.ndarray, np.ndarray]:
            return way(model, video)

        tuning = videos_of(range(100, 100 + args.tuning), args.frames, predicted)
        testing = videos_of(range(200, 200 + args.videos), args.frames, predicted)
        for motion in (Motion(), replace(Motion(), systematic=0.0)):
            print(f"\nboxes {name}, systematic share {motion.systematic}")
            table(tuning, testing, motion)


if __name__ == "__main__":
    main()
