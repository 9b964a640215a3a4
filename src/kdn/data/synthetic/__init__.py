"""Drawn faces, shapes and expressions with exact labels."""

__all__: list[str] = []
