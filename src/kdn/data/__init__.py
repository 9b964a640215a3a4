"""Readers of labelled pictures, crops, augmentation and synthetic faces."""

from kdn.data.augment import (
    Augmentation,
    augment_pixels,
    augmented_crop,
    draw_augmentation,
    occluded,
)
from kdn.data.crop import crop_of_box, warp
from kdn.data.dataset import CropDataset, init_worker, read_batches
from kdn.data.held_out import held_out_samples, training_and_validation
from kdn.data.ibug import read_ibug
from kdn.data.merl_rav import read_merl_rav
from kdn.data.occluded import Occluded
from kdn.data.pts import read_pts
from kdn.data.sample import Sample, read_image, tight_box
from kdn.data.sources import load_samples
from kdn.data.splits import Selection, join_samples, picture_names, split_by_picture
from kdn.data.synthetic import SyntheticFaces

__all__ = [
    "Augmentation",
    "CropDataset",
    "Occluded",
    "Sample",
    "Selection",
    "SyntheticFaces",
    "augment_pixels",
    "augmented_crop",
    "crop_of_box",
    "draw_augmentation",
    "held_out_samples",
    "init_worker",
    "join_samples",
    "load_samples",
    "occluded",
    "picture_names",
    "read_batches",
    "read_ibug",
    "read_image",
    "read_merl_rav",
    "read_pts",
    "split_by_picture",
    "tight_box",
    "training_and_validation",
    "warp",
]
