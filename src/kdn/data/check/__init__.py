"""What labelled data are like, and what is wrong with them, before anything is trained."""

from kdn.data.check.check import check_data, pose_of, roll_and_yaw
from kdn.data.check.report import as_json, as_text
from kdn.data.check.sheet import contact_sheet

__all__ = ["as_json", "as_text", "check_data", "contact_sheet", "pose_of", "roll_and_yaw"]
