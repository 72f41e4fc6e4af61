"""Runs small enough for a test, and how to compare two of them."""

import json

from scratchgrad.train.interrupt import Interrupt
from scratchgrad.train.log import read_log
from scratchgrad.train.loop import run_training
from scratchgrad.train.progress import Reporter
from scratchgrad.train.session import begin

TEXT = "the quick brown fox jumps over the lazy dog.\npack my box with five dozen jugs!\n" * 12

SMALL = {
    "n_layer": 1,
    "n_head": 2,
    "n_embd": 16,
    "block_size": 8,
    "batch_size": 2,
    "steps": 8,
    "warmup_steps": 2,
    "lr": 1e-2,
    "min_lr": 1e-3,
    "eval_every": 3,
    "eval_batches": 2,
    "sample_every": 2,
    "sample_length": 6,
    "checkpoint_every": 2,
}

# What depends on the clock, and so may differ between two runs that are the same.
_CLOCK = ("elapsed", "tokens_per_second")


class StopAfter(Reporter):
    """Presses Ctrl-C, as it were, during one step."""

    def __init__(self, step, interrupt):
        self._step, self._interrupt = step, interrupt

    def step(self, record):
        if record["step"] == self._step:
            self._interrupt.signal = 2


def write_text(folder, text=TEXT):
    path = folder / "text.txt"
    path.write_text(text, newline="")
    return str(path)


def start(folder, text_file, **changes):
    return begin(folder, [text_file], "char", SMALL | changes)


def go(session, stop_after=None):
    """Train to the end, or until Ctrl-C in a step."""
    interrupt = Interrupt()
    reporter = Reporter() if stop_after is None else StopAfter(stop_after, interrupt)
    return run_training(session, reporter, interrupt)


def timeless(records):
    return [{k: v for k, v in record.items() if k not in _CLOCK} for record in records]


def remains(run):
    """Return all that a run left behind, without what the clock wrote."""
    newest = sorted((run / "checkpoints").iterdir())[-1]
    state = json.loads((newest / "state.json").read_text())
    del state["elapsed"]
    return {
        "log": timeless(read_log(run / "log.jsonl")),
        "samples": (run / "samples.txt").read_bytes(),
        "model": (newest / "model.safetensors").read_bytes(),
        "optimizer": (newest / "optimizer.safetensors").read_bytes(),
        "checkpoints": sorted(p.name for p in newest.parent.iterdir()),
        "state": state,
    }
