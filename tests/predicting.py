"""Predictions of samples by a model, all in one."""

from collections.abc import Sequence
from typing import Any

from kdn.data import Sample
from kdn.models.model import Model
from kdn.predict.columns import predict
from kdn.predict.predictor import Predictor
from kdn.predictions import Predictions


def predicted(
    model: Model, samples: Sequence[Sample], *, flip: bool = False, **how: Any
) -> Predictions:
    """Return the predictions of a model for samples, as `predict` gives them."""
    return predict(Predictor(model, flip=flip), samples, **how)
