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
from kdn.data.formats.coco import read_coco
from kdn.data.formats.cofw import CofwFaces, read_cofw, read_cofw68
from kdn.data.formats.disfa import DISFA_UNITS, read_disfa
from kdn.data.formats.dlib import read_dlib
from kdn.data.formats.fgnet import read_fgnet
from kdn.data.formats.fitted import read_300wlp, read_aflw2000
from kdn.data.formats.format import Format
from kdn.data.formats.ibug import read_ibug
from kdn.data.formats.merl_rav import read_merl_rav
from kdn.data.formats.pts import read_pts
from kdn.data.formats.sources import load_samples, source_forms, source_markup, source_place
from kdn.data.formats.table import read_table
from kdn.data.formats.utkface import read_utkface
from kdn.data.formats.wflw import read_wflw
from kdn.data.framing import Framing
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
from kdn.data.synthetic.occluders import Occluded

__all__ = [
    "DISFA_UNITS",
    "Augmentation",
    "CofwFaces",
    "CropDataset",
    "Format",
    "Framing",
    "Labels",
    "Occluded",
    "PointLabels",
    "Sample",
    "ScalarLabels",
    "Selection",
    "SyntheticExpressions",
    "SyntheticFaces",
    "attribute_columns",
    "augment_pixels",
    "augmented_crop",
    "crop_of_box",
    "draw_augmentation",
    "held_out_samples",
    "init_worker",
    "join_samples",
    "labels_of",
    "labels_of_metadata",
    "load_samples",
    "occluded",
    "picture_names",
    "read_300wlp",
    "read_aflw2000",
    "read_batches",
    "read_coco",
    "read_cofw",
    "read_cofw68",
    "read_disfa",
    "read_dlib",
    "read_fgnet",
    "read_ibug",
    "read_image",
    "read_merl_rav",
    "read_pts",
    "read_table",
    "read_utkface",
    "read_wflw",
    "sample_scalars",
    "source_forms",
    "source_markup",
    "source_place",
    "split_by_picture",
    "tight_box",
    "training_and_validation",
    "warp",
]
