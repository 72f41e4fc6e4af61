"""The real model, where it is installed."""

from pathlib import Path

import pytest

from scratchgrad.errors import CheckpointError
from scratchgrad.interop.smollm2 import INSTALL, VARIABLE, find_smollm2


def smollm2_or_skip() -> Path:
    """The file, or a reason to skip the test."""
    try:
        return find_smollm2()
    except CheckpointError:
        pytest.skip(f"no SmolLM2: {INSTALL}, or set {VARIABLE} to its .gguf")
