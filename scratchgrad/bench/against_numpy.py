"""NumPy's side of a comparison: matrix products by the BLAS it was built with.

python -m scratchgrad.bench.against_numpy
"""

from __future__ import annotations

from typing import Any

import numpy as np

from scratchgrad.bench import spec
from scratchgrad.bench.side import Made, serve


def make(work: dict[str, Any]) -> Made:
    """A product; NumPy hands transposed views to the BLAS as they are."""
    a, b = spec.operands(work["form"], tuple(work["shape"]), work["dtype"])
    return Made({"np.matmul": lambda: np.matmul(a, b)}, float(np.matmul(a, b)[0, 0]))


def about() -> str:
    """NumPy's version, and whose products these are."""
    blas = np.show_config(mode="dicts")["Build Dependencies"]["blas"]
    return f"NumPy {np.__version__}, {blas['name']} {blas['version']}"


if __name__ == "__main__":
    serve(about(), make)
