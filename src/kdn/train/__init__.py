"""Training: schedules, averaged weights, the loop, and the state it resumes from."""

from kdn.train.loop import NonFiniteLossError, train

__all__ = ["NonFiniteLossError", "train"]
