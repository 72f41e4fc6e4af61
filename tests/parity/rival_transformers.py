"""transformers' side of `scratchgrad bench --vs transformers`: a process of its own.

    python tests/parity/rival_transformers.py THREADS

The model is called as its own `generate` calls it, without what that does beside: inference mode,
a cache of keys and values, logits of the last position only. Both of its ways to attend are
measured. It speaks the lines that `scratchgrad.bench.side` describes.
"""

from __future__ import annotations

import json
import os
import sys
import time
from functools import lru_cache
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[2]))  # where the package lies in a clone
os.environ["HF_HUB_OFFLINE"] = "1"  # the folder has all of it

try:
    import torch
    import transformers
except ImportError as error:
    needs = f"--vs transformers needs PyTorch and transformers: pip install '.[parity]' ({error})"
    print(json.dumps({"error": needs}), flush=True)
    sys.exit()

import numpy as np

from scratchgrad.bench.side import Made, serve
from scratchgrad.bench.timing import no_garbage_collection, summarise, timed

ATTENTIONS = ("sdpa", "eager")


@lru_cache(maxsize=1)
def model_of(folder: str) -> Any:
    model = transformers.AutoModelForCausalLM.from_pretrained(
        folder, dtype=torch.float32, local_files_only=True
    )
    return model.eval()


def make(work: dict[str, Any]) -> Made:
    """A way for each attention that this model has."""
    made, logits = Made({}, timed=True), []
    for attention in ATTENTIONS:
        way = Way(work, attention)
        logits.append(way.logits())
        made.variants[attention] = way.run
    np.save(work["logits"], np.stack(logits))
    return made


class Way:
    def __init__(self, work: dict[str, Any], attention: str) -> None:
        self.work, self.attention = work, attention
        self.model = model_of(work["model"])
        self.ids = torch.tensor([work["ids"]])
        self.start = work["start"] if work["kind"] == "decode" else self.ids.shape[1]

    def begin(self) -> Any:
        return self.model(self.ids[:, : self.start], use_cache=True, logits_to_keep=1)

    def decode(self) -> tuple[float, Any]:
        out = self.begin()
        samples = []
        with no_garbage_collection():
            for at in range(self.start, self.ids.shape[1]):
                began = time.perf_counter()
                out = self.model(
                    self.ids[:, at : at + 1],
                    past_key_values=out.past_key_values,
                    use_cache=True,
                    logits_to_keep=1,
                )
                samples.append(time.perf_counter() - began)
        return summarise(samples[self.work["warm"] :]).median, out

    @torch.inference_mode()
    def run(self) -> float:
        self.model.set_attn_implementation(self.attention)
        if self.work["kind"] == "decode":
            return self.decode()[0]
        return timed(self.begin, self.work["seconds"], least=3).median

    @torch.inference_mode()
    def logits(self) -> Any:
        self.model.set_attn_implementation(self.attention)
        out = self.decode()[1] if self.work["kind"] == "decode" else self.begin()
        return out.logits[0, -1].numpy()


if __name__ == "__main__":
    torch.set_num_threads(int(sys.argv[1]))
    transformers.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    serve(
        f"transformers {transformers.__version__} on PyTorch {torch.__version__}, "
        f"{torch.get_num_threads()} threads",
        make,
    )
