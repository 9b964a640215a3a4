"""Which landmarks are hidden, told from their densities: scores, and a weighted sum of them.

A density is spread out where the picture does not show the landmark. No label of occlusion is
needed to train the network; a few are needed to weigh the scores against each other.
"""

from kdn.evaluate.occlusion.combination import Combination
from kdn.evaluate.occlusion.scores import Detection, detect, hidden_landmarks, hidden_scores

__all__ = ["Combination", "Detection", "detect", "hidden_landmarks", "hidden_scores"]
