"""Text as it comes, on a terminal or into a file, and what is said beside it."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from contextlib import AbstractContextManager
from typing import Any


def print_pieces(pieces: Iterable[str]) -> None:
    """Print each piece of a text once it is there, without a new line at the end."""
    from scratchgrad.train.progress import printable

    # A terminal obeys control characters that a text may hold; a file receives them as they are.
    show = printable if sys.stdout.isatty() else str
    for piece in pieces:
        print(show(piece), end="", flush=True)


def tell(note: str) -> None:
    """Say something that is no part of the text."""
    sys.stdout.flush()
    print(f"note: {note}", file=sys.stderr, flush=True)


def telling_why_it_waits() -> AbstractContextManager[Any]:
    """Within it, the first kernel to be compiled says that kernels are."""
    from scratchgrad.kernels.jit import on_compile

    return on_compile(_CompileNotice())


class _CompileNotice:
    def __init__(self) -> None:
        self._said = False

    def __call__(self, kernel: str) -> None:
        if not self._said:
            print("compiling kernels (first time only)", file=sys.stderr, flush=True)
            self._said = True
