"""Choosing a token, and continuing a prompt."""

import numpy as np
import pytest

from scratchgrad.errors import ConfigError, DataError, DtypeError, NonFiniteLossError
from scratchgrad.generate import choose, generate, last_logits
from scratchgrad.gpt import GPT, GPTConfig

LOGITS = np.log(np.array([0.1, 0.2, 0.3, 0.4]))


@pytest.fixture(scope="module")
def model():
    return GPT(GPTConfig(vocab_size=7, block_size=4, n_layer=1, n_head=2, n_embd=8, dropout=0.5))


def frequencies(**options):
    rng = np.random.default_rng(0)
    draws = [choose(LOGITS, rng, **options) for _ in range(20_000)]
    return np.bincount(draws, minlength=4) / len(draws)


def test_tokens_come_as_often_as_the_softmax_says():
    np.testing.assert_allclose(frequencies(), [0.1, 0.2, 0.3, 0.4], atol=0.015)
    squares = np.array([1, 4, 9, 16]) / 30
    np.testing.assert_allclose(frequencies(temperature=0.5), squares, atol=0.015)


def test_top_k_keeps_the_likeliest_and_their_ties():
    np.testing.assert_allclose(frequencies(top_k=2), [0, 0, 3 / 7, 4 / 7], atol=0.015)
    assert set(np.flatnonzero(frequencies(top_k=99))) == {0, 1, 2, 3}
    rng = np.random.default_rng(0)
    tied = np.array([1.0, 2.0, 2.0, 0.0])
    assert {choose(tied, rng, top_k=1) for _ in range(100)} == {1, 2}


def test_temperature_zero_takes_the_likeliest_and_a_tiny_one_does_not_overflow():
    rng = np.random.default_rng(0)
    before = rng.bit_generator.state
    assert choose(LOGITS * 1e6, rng, temperature=0) == 3
    assert rng.bit_generator.state == before
    assert choose(LOGITS * 1e6, rng, temperature=1e-300) == 3


class Edge:
    """A generator at an end of its range."""

    def __init__(self, value):
        self.random = lambda: value


@pytest.mark.parametrize("value", [0.0, 1.0 - 2.0**-53])
def test_the_ends_of_the_range_choose_only_possible_tokens(value):
    impossible = np.array([-1e9, 0.0, 0.0, -1e9])
    assert choose(impossible, Edge(value)) in (1, 2)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_logits_that_are_not_finite_are_refused(bad):
    with pytest.raises(NonFiniteLossError, match="weights are damaged"):
        choose(np.array([0.0, bad]), np.random.default_rng(0))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"temperature": -1.0}, "temperature"),
        ({"temperature": float("nan")}, "temperature"),
        ({"temperature": float("inf")}, "temperature"),
        ({"top_k": 0}, "top-k must be at least 1; got 0"),
        ({"max_new_tokens": -1}, "length"),
    ],
)
def test_settings_are_checked_at_the_call(model, options, message):
    settings = {"max_new_tokens": 1} | options
    with pytest.raises(ConfigError, match=message):
        generate(model, [0], rng=np.random.default_rng(0), **settings)


def test_a_prompt_needs_a_token(model):
    with pytest.raises(DataError, match="one or more ids"):
        generate(model, np.zeros(0, dtype=int), 1, rng=np.random.default_rng(0))
    with pytest.raises(DtypeError, match="whole numbers for ids"):
        generate(model, [1.7], 1, rng=np.random.default_rng(0))


@pytest.mark.parametrize("prompt", [[1], [1, 2, 3], [0, 1, 2, 3, 4, 5]])
def test_each_token_comes_from_the_last_tokens_and_the_mode_is_put_back(model, prompt):
    """With a cache as without: the logits are those of a pass over the last ``block_size``."""
    model.train()
    rng, again = np.random.default_rng(5), np.random.default_rng(5)
    got = list(generate(model, prompt, 9, rng=rng))
    assert model.training
    model.eval()
    whole = list(prompt)
    for token in got:
        logits, _ = model(np.array([whole[-4:]]))
        assert token == choose(logits.numpy()[0, -1], again)
        whole.append(token)


def test_a_token_is_computed_once_until_the_context_is_full(model, monkeypatch):
    sizes, next_logits = [], model.next_logits
    monkeypatch.setattr(
        model, "next_logits", lambda ids, cache: sizes.append(ids.size) or next_logits(ids, cache)
    )
    list(generate(model, [1, 2], 5, rng=np.random.default_rng(0)))
    assert sizes == [2, 1, 1, 4, 4]


def test_the_last_logits_with_a_cache_and_without(model):
    ids, cache = np.array([3, 1, 2, 6]), model.new_cache()
    last_logits(model, ids[:3], cache)
    np.testing.assert_allclose(
        last_logits(model, ids[3:], cache), last_logits(model, ids), rtol=1e-5, atol=1e-6
    )


def test_one_seed_one_text(model):
    texts = [list(generate(model, [1], 30, rng=np.random.default_rng(seed))) for seed in (1, 1, 2)]
    assert texts[0] == texts[1] != texts[2]
    assert list(generate(model, [1], 0, rng=np.random.default_rng(1))) == []
