"""Each kind of decoder says the same with its cache as without, past the context too."""

import numpy as np
import pytest

import scratchgrad as sg
from tests.generate.agreement import cache_agrees
from tests.interop.models import LIKE
from tests.nn.models import grown_up

VARIANTS = {
    "norm_rmsnorm": {"norm": "rmsnorm"},
    "norm_position_post": {"norm_position": "post"},
    "mlp_gelu_tanh": {"mlp": "gelu_tanh"},
    "mlp_relu": {"mlp": "relu"},
    "mlp_relu2": {"mlp": "relu2"},
    "mlp_swiglu": {"mlp": "swiglu"},
    "position_sinusoidal": {"position": "sinusoidal"},
    "position_rope": {"position": "rope"},
    "position_rope_interleaved": {"position": "rope", "rope_interleaved": True, "rope_base": 100.0},
    "position_none": {"position": "none"},
    "gqa": {"n_kv_head": 2},
    "mqa": {"n_kv_head": 1},
    "qk_norm": {"qk_norm": True},
    "qk_norm_and_rope": {"qk_norm": True, "position": "rope"},
    "sliding_window": {"sliding_window": 3},
    "sliding_window_of_one": {"sliding_window": 1},
    "sliding_window_rope_gqa": {"sliding_window": 4, "position": "rope", "n_kv_head": 2},
    "no_bias_untied": {"bias": False, "tied_head": False},
    "llama": LIKE["llama"],
}


def variant(name):
    """Weights of size one would make a softmax of float32 all or nothing; a third of that."""
    config = sg.GPTConfig(11, 12, 2, 4, 16, **VARIANTS[name])
    model = grown_up(sg.GPT(config))
    for parameter in model.parameters():
        if parameter.ndim == 2:
            parameter.data = parameter.data / 3
    return model


@pytest.mark.parametrize("name", VARIANTS)
def test_the_cache_agrees(name, rng):
    model = variant(name)
    for dtype, tolerance in ((np.float64, 1e-13), (np.float32, 1e-5)):
        model.astype(dtype)
        for batch, length in ((1, 1), (3, 5), (2, 12)):
            cache_agrees(model, rng.integers(0, 11, (batch, length)), 16, tolerance)
