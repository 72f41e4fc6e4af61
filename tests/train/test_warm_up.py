"""What is compiled before the first step is all that a run needs."""

import json
import subprocess
import sys

import pytest

PROGRAM = """
import json
import sys
import numpy as np
from scratchgrad import GPT, GPTConfig
from scratchgrad.kernels.jit import on_compile
from scratchgrad.kernels.warm_up import warm_up
from scratchgrad.optim import AdamW, clip_grad_norm

compiled = []
with on_compile(compiled.append):
    config = GPTConfig(65, 64, 1, 2, 32, dropout=0.1, **json.loads(sys.argv[1]))
    variant = config.norm, config.mlp, config.position
    names = [name for _, _, name in warm_up(variant=variant) if name]
    before = len(compiled)
    model = GPT(config)
    ids = np.zeros((4, 64), dtype=np.int64)
    model.seed_dropout(0, 0)
    model(ids, ids)[1].backward()
    clip_grad_norm(model.parameters(), 1.0)
    AdamW(model.parameters()).step()
print(json.dumps([len(names), before, compiled[before:]]))
"""


LLAMA = {"norm": "rmsnorm", "mlp": "swiglu", "position": "rope", "n_kv_head": 1, "qk_norm": True}


@pytest.mark.parametrize("variant", [{}, LLAMA], ids=["GPT-2", "Llama"])
def test_a_training_step_compiles_nothing_after_the_warm_up(variant, tmp_path, monkeypatch):
    monkeypatch.setenv("SCRATCHGRAD_CACHE", str(tmp_path))  # an empty one: all is compiled
    result = subprocess.run(
        [sys.executable, "-W", "error", "-c", PROGRAM, json.dumps(variant)],
        capture_output=True,
        text=True,
        check=True,
    )
    warmed, before, later = json.loads(result.stdout)
    assert before == warmed
    assert later == []
