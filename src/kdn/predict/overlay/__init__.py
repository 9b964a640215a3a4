"""Faces and their uncertainty drawn over the picture they were found in."""

from kdn.predict.overlay.faces import PARTS, draw_faces
from kdn.predict.overlay.heat import heat_of
from kdn.predict.overlay.strokes import ellipse, ellipse_radius, face_size, unsure

__all__ = ["PARTS", "draw_faces", "ellipse", "ellipse_radius", "face_size", "heat_of", "unsure"]
