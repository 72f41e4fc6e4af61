"""The layers' rarer paths: each was wrong in a mutant that no other test caught."""

import numpy as np
import pytest

import scratchgrad as sg
from scratchgrad import nn
from scratchgrad.errors import ConfigError


@pytest.mark.parametrize("p", [0.0, 1.0])
def test_both_ends_of_a_probability_are_allowed(p: float) -> None:
    y = nn.Dropout(p)(sg.tensor(np.ones(100)))
    assert y.numpy().tolist() == [1 - p] * 100
    for beyond in (p - 1.5, p + 1.5):
        with pytest.raises(ConfigError, match="Dropout: expected a probability"):
            nn.Dropout(beyond)


def test_attention_drops_nothing_in_evaluation(rng: np.random.Generator) -> None:
    x = sg.tensor(rng.standard_normal((2, 5, 8)).astype(np.float32))
    dropping = nn.CausalSelfAttention(8, 2, dropout=0.9, rng=np.random.default_rng(1)).eval()
    without = nn.CausalSelfAttention(8, 2, rng=np.random.default_rng(1))
    np.testing.assert_array_equal(dropping(x).numpy(), without(x).numpy())
    assert np.abs(without(x).numpy()).max() > 0
