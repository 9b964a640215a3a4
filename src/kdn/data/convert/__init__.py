"""Labels from one format into another: `.pts` folders, tables, COCO keypoints and dlib's XML."""

from kdn.data.convert.convert import FORMS, Converted, convert

__all__ = ["FORMS", "Converted", "convert"]
