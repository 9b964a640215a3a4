"""What labelled data are like, and what is wrong with them, before anything is trained."""

from kdn.datacheck.check import DataReport, Duplicates, SourceReport, check_data
from kdn.datacheck.pose import pose_of, roll_and_yaw
from kdn.datacheck.sheet import contact_sheet

__all__ = [
    "DataReport",
    "Duplicates",
    "SourceReport",
    "check_data",
    "contact_sheet",
    "pose_of",
    "roll_and_yaw",
]
