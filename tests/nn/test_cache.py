"""The cache of keys and values: the same numbers, each computed once."""

import numpy as np
import pytest

import scratchgrad as sg
from scratchgrad import nn
from scratchgrad.errors import ConfigError, DtypeError, GraphError, ShapeError
from scratchgrad.nn import functional as F


@pytest.mark.parametrize("pieces", [[7], [1] * 7, [3, 1, 3], [1, 6]])
@pytest.mark.parametrize("kv_heads", [4, 2, 1])
def test_pieces_of_a_text_equal_the_whole(pieces, kv_heads, rng):
    qkv = rng.standard_normal((2, 7, (4 + 2 * kv_heads) * 3))
    cache = nn.KVCache(2, kv_heads, 9, 3, dtype=np.float64)
    got, start = [], 0
    for n in pieces:
        got.append(cache.attend(sg.tensor(qkv[:, start : start + n]), 4).numpy())
        start += n
        assert cache.length == start
    whole = F.causal_self_attention(sg.tensor(qkv), 4, kv_heads).numpy()
    np.testing.assert_allclose(np.concatenate(got, axis=1), whole, rtol=1e-12, atol=1e-14)


def test_a_whole_model_with_a_cache(rng):
    model = sg.GPT(sg.GPTConfig(vocab_size=11, block_size=6, n_layer=2, n_head=2, n_embd=8))
    model.eval()
    ids = rng.integers(0, 11, (3, 6))
    with sg.no_grad():
        whole, _ = model(ids)
        cache = model.new_cache(batch=3)
        for start, stop in ((0, 2), (2, 3), (3, 6)):
            logits = model.next_logits(ids[:, start:stop], cache)
            np.testing.assert_allclose(
                logits.numpy(), whole.numpy()[:, stop - 1], rtol=1e-4, atol=1e-6
            )


def test_a_repeated_cache_goes_on_as_the_text_alone_and_each_by_itself(rng):
    qkv = rng.standard_normal((4, 5, 24))
    qkv[:, :3] = qkv[0, :3]  # one beginning, four ends
    first = nn.KVCache(1, 2, 6, 3, dtype=np.float64)
    first.attend(sg.tensor(qkv[:1, :3]), 4)
    cache = first.repeat(4)
    assert (cache.length, first.length) == (3, 3)
    got = cache.attend(sg.tensor(qkv[:, 3:]), 4).numpy()
    whole = F.causal_self_attention(sg.tensor(qkv), 4, 2).numpy()[:, 3:]
    np.testing.assert_allclose(got, whole, rtol=1e-12, atol=1e-14)
    assert first.length == 3
    with pytest.raises(ShapeError, match="the cache of one text, received 4"):
        cache.repeat(2)


def test_no_room(rng):
    cache = nn.KVCache(1, 1, 2, 3)
    with pytest.raises(ShapeError, match="at most 2 positions, received 3"):
        cache.attend(sg.tensor(np.ones((1, 3, 9), np.float32)), 1)


def test_no_gradient_is_dropped_in_silence():
    qkv = sg.tensor(np.ones((1, 1, 9), np.float32), requires_grad=True)
    with pytest.raises(GraphError, match="no_grad"):
        nn.KVCache(1, 1, 2, 3).attend(qkv, 1)


def test_what_a_cache_does_not_fit_is_refused(rng):
    cache = nn.KVCache(2, 2, 5, 4, dtype=np.float64)
    with sg.no_grad(), pytest.raises(DtypeError, match="of float64, received float32"):
        cache.attend(sg.tensor(np.ones((2, 3, 24), np.float32)), 2)
    for shape in ((1, 3, 24), (3, 3, 24), (2, 3, 23)):
        with sg.no_grad(), pytest.raises(ShapeError, match=r"expected qkv \(2, T, 24\)"):
            cache.attend(sg.tensor(rng.standard_normal(shape)), 2)
    assert cache.length == 0


def test_positions_beyond_the_context_are_refused():
    model = sg.GPT(sg.GPTConfig(vocab_size=5, block_size=4, n_layer=1, n_head=1, n_embd=4)).eval()
    cache = model.new_cache()
    with sg.no_grad():
        model.next_logits(np.zeros((1, 3), int), cache)
        with pytest.raises(ShapeError, match=r"at most 4 positions .* received 2 after the 3"):
            model.next_logits(np.zeros((1, 2), int), cache)


def test_memory_is_taken_for_what_comes(rng):
    cache = nn.KVCache(2, 1, 10_000, 3, dtype=np.float64)
    assert cache.keys.nbytes == cache.values.nbytes == 0
    qkv = rng.standard_normal((2, 700, 9))
    moved = 0
    for t in range(700):
        before = cache.keys
        cache.attend(sg.tensor(qkv[:, t : t + 1]), 1)
        assert t < cache.keys.shape[2] <= 1.5 * (t + 1) + 32
        moved += cache.keys is not before
    assert moved < 10  # not at each token
    np.testing.assert_array_equal(cache.keys[:, 0, :700], qkv[:, :, 3:6])
    np.testing.assert_array_equal(cache.values[:, 0, :700], qkv[:, :, 6:])


@pytest.mark.parametrize("pieces", [[1] * 300, [150] + [1] * 150, [7] * 42 + [6], [2, 90, 1, 207]])
@pytest.mark.parametrize("window", [1, 2, 20, 60])
def test_what_has_left_the_window_leaves_the_cache(pieces, window, rng):
    qkv = rng.standard_normal((2, 300, (4 + 2 * 2) * 3))
    cache, last = nn.KVCache(2, 2, 10_000, 3, dtype=np.float64), 0
    got, start = [], 0
    for n in pieces:
        got.append(cache.attend(sg.tensor(qkv[:, start : start + n]), 4, window).numpy())
        last, start = n, start + n
        assert cache.length == start
    whole = F.causal_self_attention(sg.tensor(qkv), 4, 2, window=window).numpy()
    np.testing.assert_allclose(np.concatenate(got, axis=1), whole, rtol=1e-11, atol=1e-13)
    if last < 10:
        assert cache.keys.shape[2] <= 1.5 * (2 * window + 32 + last) + 32


def test_a_cache_with_a_window_repeats_what_it_holds(rng):
    qkv = np.repeat(rng.standard_normal((1, 90, 9)), 3, axis=0)
    cache = nn.KVCache(1, 1, 100, 3, dtype=np.float64)
    for t in range(80):
        cache.attend(sg.tensor(qkv[:1, t : t + 1]), 1, 4)
    assert cache.keys.shape[2] < 80
    got = cache.repeat(3).attend(sg.tensor(qkv[:, 80:]), 1, 4).numpy()
    whole = F.causal_self_attention(sg.tensor(qkv), 1, 1, window=4).numpy()
    np.testing.assert_allclose(got, whole[:, 80:], rtol=1e-11, atol=1e-13)


@pytest.mark.parametrize("window", [None, 1, 2, 8, 28])
def test_a_cache_that_is_rewound_goes_on_as_if_it_had_not_seen_more(window, rng):
    """To any length, after any length: where the window needs what was dropped, it begins anew."""
    qkv, other = (rng.standard_normal((1, 80, 12)) for _ in range(2))
    grown = nn.KVCache(1, 1, 1000, 3, dtype=np.float64)
    grown.attend(sg.tensor(qkv[:, :30]), 2, window)
    results = {"kept": 0, "anew": 0}
    for seen in range(30, 80):
        for length in {0, 5, seen - 20, seen - 9, seen - 4, seen - 1, seen}:
            cache = grown.repeat(1)
            kept = cache.rewind(length)
            assert kept == cache.length
            assert kept == length or (kept == 0 and window is not None)
            results["kept" if kept == length else "anew"] += 1
            text = np.concatenate([qkv[:, :length], other[:, :2]], axis=1)
            got = cache.attend(sg.tensor(text[:, kept:]), 2, window).numpy()
            whole = F.causal_self_attention(sg.tensor(text), 2, 1, window=window).numpy()
            np.testing.assert_allclose(got, whole[:, kept:], rtol=1e-10, atol=1e-12)
        grown.attend(sg.tensor(qkv[:, seen : seen + 1]), 2, window)
    assert results["kept"] > 50
    assert (results["anew"] > 20) == (window is not None)


def test_what_cannot_be_rewound_to():
    cache = nn.KVCache(1, 1, 8, 3)
    cache.attend(sg.tensor(np.ones((1, 4, 9), np.float32)), 1)
    for length in (5, -1):
        with pytest.raises(ShapeError, match=f"a length from 0 to 4, received {length}"):
            cache.rewind(length)


def test_of_a_prompt_too_no_more_is_kept_than_the_window_shows(rng):
    cache = nn.KVCache(1, 1, 10_000, 3, dtype=np.float64)
    cache.attend(sg.tensor(rng.standard_normal((1, 6000, 9))), 1, 16)
    assert (cache.length, cache.keys.shape[2]) == (6000, 15 + 32)


def test_there_is_never_more_memory_than_room(rng):
    cache = nn.KVCache(1, 2, 40, 3, dtype=np.float64)
    cache.attend(sg.tensor(rng.standard_normal((1, 39, 18))), 2)
    assert cache.keys.shape == (1, 2, 40, 3)


def test_next_logits_in_training_mode_is_refused_where_it_would_drop_half():
    sizes = {"vocab_size": 5, "block_size": 4, "n_layer": 1, "n_head": 1, "n_embd": 4}
    ids = np.zeros((1, 3), int)
    with sg.no_grad():
        for dropout in ({"dropout": 0.1}, {"embd_dropout": 0.1}):
            model = sg.GPT(sg.GPTConfig(**sizes, **dropout))
            with pytest.raises(ConfigError, match="evaluation mode"):
                model.next_logits(ids, model.new_cache())
            model.eval().next_logits(ids, model.new_cache())
        model = sg.GPT(sg.GPTConfig(**sizes))
        model.next_logits(ids, model.new_cache())
