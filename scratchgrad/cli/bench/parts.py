"""What can be measured, by the names that a user gives; and where the figures are printed."""

from __future__ import annotations

import sys

DIFFER = 1  # exit code: the two sides of a comparison did not compute the same

# Repeated here, for --help must not import what knows them; a test holds them together.
KERNELS = (
    "matmul", "attention", "loss", "activation", "norm", "softmax", "optimiser", "embedding"
)  # fmt: skip
PARTS = ("peak", *KERNELS, "step", "memory")
STEPS = ("char", "baby", "gpt2")


class Printer:
    """Sections to stdout as they are ready; to a terminal also what is being done."""

    def __init__(self, quiet: bool) -> None:
        self._quiet = quiet
        self._live = sys.stderr.isatty()

    def __call__(self, text: str) -> None:
        self.doing("")
        if not self._quiet:
            print(text, flush=True)

    def doing(self, what: str) -> None:
        """Show this until the next section is ready."""
        if self._live:
            print(f"\r\x1b[K{what[:78]}", end="", file=sys.stderr, flush=True)
