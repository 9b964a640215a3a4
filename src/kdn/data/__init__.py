"""Readers of labelled pictures, crops, augmentation and synthetic faces."""

from kdn.data.augment import (
    Augmentation,
    augment_pixels,
    draw_augmentation,
    occluded,
    varied_crop,
)
from kdn.data.dataset import CropDataset, init_worker, read_batches
from kdn.data.formats.format import Format
from kdn.data.formats.sources import load_samples, source_forms, source_markup, source_place
from kdn.data.framing import Framing, warp
from kdn.data.held_out import held_out_samples, training_and_validation
from kdn.data.labels import (
    Labels,
    PointLabels,
    ScalarLabels,
    labels_of,
    labels_of_metadata,
    sample_scalars,
)
from kdn.data.sample import Sample, attribute_columns, read_image, tight_box
from kdn.data.split import Selection, join_samples, picture_names, split_by_picture
from kdn.data.synthetic.expressions import SyntheticExpressions
from kdn.data.synthetic.faces import SyntheticFaces

__all__ = [
    "Augmentation",
    "CropDataset",
    "Format",
    "Framing",
    "Labels",
    "PointLabels",
    "Sample",
    "ScalarLabels",
    "Selection",
    "SyntheticExpressions",
    "SyntheticFaces",
    "attribute_columns",
    "augment_pixels",
    "draw_augmentation",
    "held_out_samples",
    "init_worker",
    "join_samples",
    "labels_of",
    "labels_of_metadata",
    "load_samples",
    "occluded",
    "picture_names",
    "read_batches",
    "read_image",
    "sample_scalars",
    "source_forms",
    "source_markup",
    "source_place",
    "split_by_picture",
    "tight_box",
    "training_and_validation",
    "varied_crop",
    "warp",
]
