"""A run that cannot fit is refused; one that fits is not, and the bound is a lower one."""

import tracemalloc

import numpy as np
import pytest

from scratchgrad import GPT, GPTConfig
from scratchgrad.errors import ConfigError
from scratchgrad.kernels.buffers import release
from scratchgrad.optim import AdamW
from scratchgrad.train import memory


def test_the_bound_is_below_what_a_step_takes_and_not_far_below():
    config = GPTConfig(65, 64, 2, 2, 64)
    ids = np.zeros((8, 64), np.int64)
    GPT(config)(ids, ids)[1].backward()  # kernels are compiled or loaded outside the measurement
    release()  # or results would take memory that is not counted
    tracemalloc.start()
    model = GPT(config)
    optimiser = AdamW(model.parameters())
    model(ids, ids)[1].backward()
    optimiser.step()
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak / 2 < memory.least_bytes(config, batch_size=8) < peak


def test_what_does_not_fit_is_refused(monkeypatch):
    config = GPTConfig(65, 64, 4, 4, 128)
    needed = memory.least_bytes(config, 12)
    monkeypatch.setattr(memory, "physical_bytes", lambda: needed - 1)
    with pytest.raises(ConfigError, match="take a smaller --batch-size"):
        memory.check_fits(config, 12)
    monkeypatch.setattr(memory, "physical_bytes", lambda: needed)
    memory.check_fits(config, 12)


def test_where_the_system_does_not_say_nothing_is_refused(monkeypatch):
    monkeypatch.delattr("os.sysconf", raising=False)
    assert memory.physical_bytes() is None
    memory.check_fits(GPTConfig(65, 64, 4, 4, 128), 10**12)
