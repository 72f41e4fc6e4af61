"""Text in, ids out in batches: reading, splitting, and the seeded order of the training data.

Read ``text`` (files to one string), then ``batches`` (ids to the arrays a model trains on).
``untrusted`` is what every reader of files from anywhere stands on.
"""

from scratchgrad.data.batches import (
    Windows,
    batch,
    check_length,
    smallest_dtype,
    split,
    split_text,
    windows,
)
from scratchgrad.data.text import EMBEDDED_NAME, embedded_text, read_text, read_texts

__all__ = [
    "EMBEDDED_NAME",
    "Windows",
    "batch",
    "check_length",
    "embedded_text",
    "read_text",
    "read_texts",
    "smallest_dtype",
    "split",
    "split_text",
    "windows",
]
