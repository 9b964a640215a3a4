"""Readers and writers of users' files of labels, one file a format."""

__all__: list[str] = []
