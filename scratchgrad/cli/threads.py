"""The option of every command that computes for long."""

from __future__ import annotations

import argparse
from typing import Any


def add_threads_option(parser: Any) -> None:
    """Describe it."""
    parser.add_argument("--threads", type=int, metavar="N", help="processor threads (default: all)")


def set_threads_of(arguments: argparse.Namespace) -> None:
    """Heed it.

    Raises
    ------
    ConfigError
        There are not so many.
    """
    if arguments.threads is not None:
        from scratchgrad.kernels.threads import set_threads

        set_threads(arguments.threads, name="--threads")
