"""What labelled data are like, and what is wrong with them, before anything is trained."""

from kdn.data.check.check import DataReport, Duplicates, SourceReport, check_data
from kdn.data.check.pose import pose_of, roll_and_yaw
from kdn.data.check.sheet import contact_sheet

__all__ = [
    "DataReport",
    "Duplicates",
    "SourceReport",
    "check_data",
    "contact_sheet",
    "pose_of",
    "roll_and_yaw",
]
