"""Formats of users' labels, one file each: how it is read and, where it makes sense, written."""

from kdn.data.formats.entries import labelled, read_entries
from kdn.data.formats.format import Format, Writer

__all__ = ["Format", "Writer", "labelled", "read_entries"]
