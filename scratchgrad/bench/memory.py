"""The memory of a training step, measured in a process of its own.

    python -m scratchgrad.bench.memory PRESET THREADS

A process holds on to what it once took from the system, so a peak says something about a step
only where nothing else ran before it.
"""

from __future__ import annotations

import json
import sys
from typing import Any

import numpy as np

from scratchgrad.bench import spec
from scratchgrad.bench.count import captured
from scratchgrad.bench.resident import answer_of, forget_peak, peak_bytes

STEPS = 3


def saved_bytes(result: Any) -> int:
    """The bytes that a recorded graph holds for its backward, but for the leaves' own.

    They are what the backward functions capture: each block of memory once, whoever views it.
    """
    nodes, stack, blocks, leaves = set(), [result._node], {}, set()
    while stack:
        node = stack.pop()
        if node is None or node in nodes:
            continue
        nodes.add(node)
        functions = node.backward if isinstance(node.backward, tuple) else (node.backward,)
        for function in functions:
            for array in captured(function):
                block = _block(array)
                blocks[id(block)] = block
        for edge in node.edges:
            if isinstance(edge, tuple):
                stack.append(edge[0])
            elif edge is not None:
                leaves.add(id(_block(edge._array)))
    return sum(block.nbytes for key, block in blocks.items() if key not in leaves)


def _block(array: np.ndarray) -> np.ndarray:
    """The array that owns the memory."""
    while isinstance(array.base, np.ndarray):
        array = array.base
    return array


def measure(preset: str, steps: int = STEPS) -> dict[str, Any]:
    """Train some steps in this process; all in bytes."""
    from scratchgrad.bench.steps import make_trainer
    from scratchgrad.data import batch

    chosen = spec.PRESETS[preset]
    trainer = make_trainer(chosen)
    before = peak_bytes()
    forget_peak()
    for _ in range(steps):
        trainer.train_step()
    peak = peak_bytes()
    parameters = list(trainer.model.parameters())
    inputs = batch(trainer.training, spec.SEED, steps, chosen.batch_size, chosen.block_size)
    gradients = sum(p.grad.nbytes for p in parameters if p.grad is not None)
    _, loss = trainer.model(*inputs)
    return {
        "preset": preset,
        "steps": steps,
        "peak": peak,
        "peak_before": before,
        "parameters": sum(p.data.nbytes for p in parameters),
        "gradients": gradients,
        "optimiser": sum(v.nbytes for v in trainer.optimizer.state_dict().values()),
        "activations": saved_bytes(loss),
    }


def measure_apart(preset: str, threads: int) -> dict[str, Any]:
    """The same in a process of its own.

    Raises
    ------
    ScratchgradError
        The process failed, as it does where memory ends.
    """
    module = "scratchgrad.bench.memory"
    return answer_of(module, preset, threads, what=f"the memory of a {preset} step")


if __name__ == "__main__":
    from scratchgrad.kernels.threads import set_threads

    set_threads(int(sys.argv[2]))
    sys.stdout.write(json.dumps(measure(sys.argv[1])))
