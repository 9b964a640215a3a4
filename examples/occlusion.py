"""Which landmarks are occluded: the scores of a density, weighed by scikit-learn on a few labels.

    python examples/occlusion.py train.parquet test.parquet

What occludes a landmark mostly occludes its neighbours too, and how far a density spreads depends
on the landmark: so each score enters less the landmark's own mean, and once more as the mean of the
landmarks around. Without files, entropies are drawn that know a little.
"""

from __future__ import annotations

import sys

import numpy as np
from sklearn.linear_model import LogisticRegression

from kdn.data import SyntheticFaces
from kdn.evaluate.occlusion import detect, occluded_landmarks, occlusion_scores
from kdn.predictions import Predictions, read_predictions


class Combination:
    """A logistic regression on the occlusion scores of a landmark and of those around it."""

    def __init__(self, train: Predictions, *, reach: float = 0.1, ridge: float = 1.0) -> None:
        self.reach = reach  # how far around a landmark counts, as a share of the face's size
        occluded, counted = occluded_landmarks(train)
        stack = np.stack(list(occlusion_scores(train).values()), axis=-1)
        known = np.where(counted[..., None], stack, np.nan)
        self.centre = np.nanmean(known, axis=0)
        self.scale = np.nanstd(known - self.centre, axis=(0, 1))
        self.model = LogisticRegression(C=1 / ridge, max_iter=1000)
        self.model.fit(self.terms(train)[counted], occluded[counted])

    def terms(self, predictions: Predictions) -> np.ndarray:
        """Return the terms of every landmark: scores, those around, and which landmark it is."""
        stack = np.stack(list(occlusion_scores(predictions).values()), axis=-1)
        z = (stack - self.centre) / self.scale
        points = predictions.prediction
        size = self.reach * np.sqrt(np.ptp(points, axis=1).prod(axis=-1))[:, None, None]
        apart = np.linalg.norm(points[:, :, None] - points[:, None], axis=-1)
        share = np.exp(-0.5 * (apart / size) ** 2) * ~np.eye(points.shape[1], dtype=bool)
        around = share @ z / np.maximum(share.sum(axis=-1, keepdims=True), 1e-12)
        which = np.broadcast_to(np.eye(points.shape[1]), (len(points), *(2 * points.shape[1:2])))
        return np.concatenate([z, around, which], axis=-1)

    def __call__(self, predictions: Predictions) -> np.ndarray:
        """Return the log-odds that each landmark is occluded, `(n, L)`."""
        terms = self.terms(predictions)
        return self.model.decision_function(terms.reshape(-1, terms.shape[-1])).reshape(
            terms.shape[:2]
        )


def drawn(count: int, seed: int) -> Predictions:
    """Return predictions of occluded synthetic faces whose entropies know a little."""
    faces = list(SyntheticFaces(count, seed=seed, ambiguous=0, occluded=1.0))
    visible = np.array([face.visible for face in faces])
    points = np.array([face.landmarks for face in faces])
    noise = np.random.default_rng(seed).normal(size=visible.shape)
    return Predictions(
        id=tuple(face.id for face in faces),
        landmarks=points,
        target=points,
        visible=visible,
        entropy=noise + 1.0 * ~visible,
        crop_to_image=np.tile(np.eye(2, 3), (count, 1, 1)),
    )


def main(files: list[str]) -> dict[str, float]:
    """Print how well each score and their combination tell what is occluded; return the AUROC."""
    train, test = map(read_predictions, files) if files else (drawn(30, 0), drawn(30, 100))
    fitted = Combination(train)
    scores = {**occlusion_scores(test), "combination": fitted(test)}
    detections = detect(scores, *occluded_landmarks(test), bootstrap=50)
    for one in detections:
        print(f"{one.name}: AUROC {one.auroc:.2f}, average precision {one.precision:.2f}")
    return {one.name: one.auroc for one in detections}


if __name__ == "__main__":
    main(sys.argv[1:])
