"""The memory of training a tokenizer, measured in a process of its own.

    python -m scratchgrad.bench.tokenizer_memory PATH VOCAB_SIZE TIMES THREADS

The files are streamed, each so many times over. What stays is the distinct pieces, so a text that
is streamed twice should need no more than once.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from scratchgrad.bench.against_tokenizers import learn, warm_up
from scratchgrad.bench.resident import answer_of, forget_peak, peak_bytes
from scratchgrad.tokenizer.corpus import files_in


def measure(path: Path, vocab_size: int, times: int) -> dict[str, Any]:
    """Train in this process; all in bytes, None where the system does not say."""
    files = list(files_in(path))
    warm_up()  # what is added shall not be the kernels
    forget_peak()
    before = peak_bytes()
    learn((file for file in files for _ in range(times)), vocab_size)
    peak = peak_bytes()
    return {
        "times": times,
        "bytes": times * sum(file.stat().st_size for file in files),
        "peak": peak,
        "before": before,
        "added": None if peak is None or before is None else peak - before,
    }


def measure_apart(path: Path, vocab_size: int, times: int, threads: int) -> dict[str, Any]:
    """The same in a process of its own.

    Raises
    ------
    ScratchgradError
        The process failed, as it does where memory ends.
    """
    module = "scratchgrad.bench.tokenizer_memory"
    arguments = (path.absolute(), vocab_size, times, threads)
    return answer_of(module, *arguments, what="the memory of training")


if __name__ == "__main__":
    from scratchgrad.kernels.threads import set_threads

    set_threads(int(sys.argv[4]))
    measured = measure(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
    sys.stdout.write(json.dumps(measured))
