"""The machine: what it is, and what it can do at most."""

from __future__ import annotations

import platform
import time
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import numpy as np

import scratchgrad
from scratchgrad.bench import spec
from scratchgrad.bench.count import product_flops
from scratchgrad.bench.timing import timed
from scratchgrad.kernels import jit, limits, simd
from scratchgrad.kernels.matmul import matmul

# Squares that fit the caches, and one product of a training step.
PEAK_SHAPES = ((256,) * 3, (512,) * 3, (768,) * 3, (1024,) * 3, (1024, 384, 1536))
COPIED = 64 << 20  # bytes: far more than the caches hold


def installed(package: str) -> str | None:
    """The version of a package, without importing it."""
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def cpu_name() -> str:
    """The processor as its maker calls it, where the system says; else as LLVM does."""
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as lines:
            for line in lines:
                if line.startswith("model name"):
                    return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or jit.host()[0]


def facts() -> dict[str, Any]:
    """Versions, processor and threads: what a figure depends on beside the code."""
    return {
        "scratchgrad": scratchgrad.__version__,
        "python": platform.python_version(),
        "numpy": np.__version__,
        "numba": installed("numba"),
        "llvmlite": installed("llvmlite"),
        "system": f"{platform.system()} {platform.machine()}",
        "cpu": cpu_name(),
        "llvm_cpu": jit.host()[0],
        "vector_bits": 8 * simd.VECTOR,
        "threads": jit.get_threads(),
        "jit": jit.compiles(),
    }


def matmul_peak(dtype: Any = np.float32, seconds: float = 0.4) -> dict[str, Any]:
    """The best median rate of our own product over `PEAK_SHAPES`, in FLOP/s, and where it was."""
    best: dict[str, Any] = {"flops": 0.0, "shape": None}
    for shape in PEAK_SHAPES:
        a, b = spec.operands("NN", shape, dtype)
        rate = product_flops(shape) / timed(partial(matmul, a, b), seconds).median
        if rate > best["flops"]:
            best = {"flops": float(rate), "shape": list(shape)}
    return best


def raise_peak(roofs: dict[str, Any], seconds: float = 0.2) -> None:
    """Measure the float32 matmul peak again, and keep the higher one.

    Round a step, so that a peak that was taken in a slow moment does not flatter the step.
    """
    again = matmul_peak("float32", seconds)
    if again["flops"] > roofs["matmul"]["float32"]["flops"]:
        roofs["matmul"]["float32"].update(again)


def register_peak(dtype: Any = np.float32, seconds: float = 0.2) -> float:
    """FLOP/s of a tile of a product whose operands stay in the first cache: the best of three.

    As a limit it should not be low because another program ran meanwhile.
    """
    kind, repeats = np.dtype(dtype), 1
    limits.tiles(kind, repeats)  # compiles
    while True:  # launching the threads must not count
        began = time.perf_counter()
        limits.tiles(kind, repeats)
        if time.perf_counter() - began > 0.02 or not jit.compiles():
            break
        repeats *= 2
    flops = limits.tiles(kind, repeats)[1]
    bursts = [timed(lambda: limits.tiles(kind, repeats), seconds / 3) for _ in range(3)]
    return flops / min(burst.median for burst in bursts)


def bandwidth(seconds: float = 0.4, size: int = COPIED) -> float:
    """Bytes a second, read and written, when memory is copied by all threads."""
    x, y = np.ones(size // 8), np.zeros(size // 8)
    return 2 * x.nbytes / timed(lambda: limits.copy(x, y), seconds).median


def roofs(quick: bool = False) -> dict[str, Any]:
    """All limits, for both dtypes: FLOP/s, bytes a second."""
    seconds = 0.1 if quick else 0.4
    peaks = {name: matmul_peak(name, seconds) for name in ("float32", "float64")}
    return {
        "matmul": peaks,
        "registers": {name: register_peak(name, seconds / 2) for name in peaks},
        "bandwidth": bandwidth(seconds),
    }


def heading(of: dict[str, Any]) -> str:
    """One line for the top of a report."""
    jit_note = "" if of["jit"] else ", JIT DISABLED"
    return (
        f"{of['cpu']}, {of['threads']} threads, {of['vector_bits']}-bit vectors{jit_note}; "
        f"Python {of['python']}, NumPy {of['numpy']}, Numba {of['numba']}, "
        f"scratchgrad {of['scratchgrad']}"
    )
