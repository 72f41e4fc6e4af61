"""Why the first word of a model takes its time."""

from __future__ import annotations

import sys


class CompileNotice:
    """Says once, and not in the text, that kernels are being compiled."""

    def __init__(self) -> None:
        self._said = False

    def __call__(self, kernel: str) -> None:
        if not self._said:
            print("compiling kernels (first time only)", file=sys.stderr, flush=True)
            self._said = True
