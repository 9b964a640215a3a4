"""Training: schedules, averaged weights, the loop, and the state it resumes from."""

from kdn.train.loop import NonFiniteLossError, kept_path, train

__all__ = ["NonFiniteLossError", "kept_path", "train"]
