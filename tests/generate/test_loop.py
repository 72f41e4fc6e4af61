"""Continuing a prompt: what the model is shown, when, in which mode, and by which chance."""

import gc
import logging

import numpy as np
import pytest

import scratchgrad as sg
from scratchgrad.errors import (
    ConfigError,
    DataError,
    DtypeError,
    IdRangeError,
    NonFiniteLossError,
    ShapeError,
)
from scratchgrad.generate import History, Sampling, choose, complete, generate, generate_rows
from tests.generate.agreement import Recorded, cache_agrees
from tests.nn.models import grown_up, tiny_config

GREEDY = Sampling(greedy=True)


def tiny(**changes):
    """A model that is sure of what it says, so that texts differ; four tokens of context."""
    config = tiny_config(**{"vocab_size": 7, "n_layer": 1, "n_embd": 8, **changes})
    return grown_up(sg.GPT(config)).astype(np.float32)


@pytest.fixture(scope="module")
def model():
    return tiny(dropout=0.5)


@pytest.fixture(scope="module")
def roomy():
    """One that holds 24 tokens."""
    return tiny(block_size=24, n_layer=2)


def rng_of(seed, row=0):
    return np.random.default_rng([seed, row])


def one(model, ids, length, seed=0, **options):
    return list(generate(model, ids, length, rng=np.random.default_rng(seed), **options))


# ----------------------------------------------------------------------------- what it is shown


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("norm_position", ["pre", "post"])
def test_logits_with_the_cache_are_those_of_a_whole_pass(dtype, norm_position, rng):
    config = sg.GPTConfig(11, 8, 2, 2, 16, norm_position=norm_position)
    model = sg.GPT(config).astype(dtype)
    tolerance = 1e-5 if dtype == np.float32 else 1e-13
    for batch, length in ((1, 1), (3, 5), (2, 8)):
        assert cache_agrees(model, rng.integers(0, 11, (batch, length)), 14, tolerance) < 1e-5


@pytest.mark.parametrize("prompt", [[1], [1, 2, 3], [0, 1, 2, 3]])
def test_each_token_comes_from_the_last_tokens_and_the_mode_is_put_back(model, prompt):
    """The logits are those of a pass over the last ``block_size``, by way of all the rules."""
    sampling = Sampling(temperature=1.5, top_k=5, top_p=0.95, min_p=0.01, repetition_penalty=1.1)
    model.train()
    got = one(model, prompt, 9, seed=5, sampling=sampling)
    assert model.training
    model.eval()
    whole, again, history = list(prompt), np.random.default_rng(5), History(7, prompt)
    for token in got:
        logits, _ = model(np.array([whole[-4:]]))
        assert token == choose(logits.numpy()[0, -1], again, sampling, history)
        whole.append(token)
        history.add(token)


def test_a_token_is_computed_once_until_the_context_is_full(model):
    recorded = Recorded(model)
    one(recorded, [1, 2], 5)
    assert recorded.shapes == [(1, 2), (1, 1), (1, 1), (1, 4), (1, 4)]


def test_the_agreement_itself_fails_for_a_cache_that_forgets(model):
    class Forgetful(Recorded):
        def next_logits(self, ids, cache):
            return super().next_logits(ids, self.model.new_cache(len(ids)))

    forgetful = Forgetful(model)
    forgetful.__class__.__call__ = lambda self, ids: self.model(ids)
    with pytest.raises(AssertionError, match="step 1, 3 tokens"):
        cache_agrees(forgetful, [[1, 2]], 3)


# --------------------------------------------------------------------------------- past the context


def test_it_says_once_that_the_text_outgrows_the_context(model, caplog):
    for length, times in ((2, 0), (3, 0), (4, 1), (9, 1)):
        caplog.clear()
        one(model, [1, 2], length)
        assert len(caplog.records) == times, length
    record = caplog.records[0]
    assert (record.name, record.levelno) == ("scratchgrad", logging.WARNING)
    assert "outgrown the context of 4 tokens" in record.getMessage()
    caplog.clear()
    complete(model, [[1, 2], [3, 4]], 9)
    assert len(caplog.records) == 1


def test_a_listener_is_told_instead(model, caplog):
    told = []
    one(model, [1, 2, 3, 4], 2, on_slide=told.append)
    assert told == [4]
    assert not caplog.records


# --------------------------------------------------------------------------------------------- mode


def switches(model, monkeypatch):
    calls, train = [], type(model).train
    monkeypatch.setattr(
        type(model), "train", lambda self, mode=True: calls.append(mode) or train(self, mode)
    )
    return calls


def test_the_mode_is_switched_once_and_not_at_all_without_need(model, monkeypatch):
    calls = switches(model, monkeypatch)
    model.train()
    calls.clear()
    one(model, [1], 6)
    assert calls == [False, True]
    model.eval()
    calls.clear()
    one(model, [1], 6)
    assert calls == []


def test_the_mode_is_put_back_where_the_text_is_not_read_to_its_end(model):
    model.train()
    stream = generate(model, [1], 6, rng=rng_of(0))
    assert model.training  # nothing happens before the first token
    next(stream)
    assert not model.training
    stream.close()
    assert model.training
    stream = generate(model, [1], 6, rng=rng_of(0))
    next(stream)
    del stream
    gc.collect()
    assert model.training


def test_the_mode_is_put_back_after_an_error():
    broken = tiny(dropout=0.5)
    broken.wte.weight.data[...] = np.nan
    broken.train()
    with pytest.raises(NonFiniteLossError, match="weights are damaged"):
        one(broken, [1], 6)
    assert broken.training


def test_between_two_tokens_gradients_are_recorded_and_training_may_go_on(model):
    model.eval()
    expected = one(model, [1], 6)
    model.train()
    got, stream = [], generate(model, [1], 6, rng=np.random.default_rng(0))
    for token in stream:
        got.append(token)
        model.train()  # as a training step does
        _, loss = model(np.array([[1, 2]]), np.array([[2, 3]]))
        loss.backward()
    assert got == expected
    assert model.training
    model.zero_grad()


def test_two_texts_at_a_time_leave_the_mode_as_it_was(model):
    model.train()
    first, second = (generate(model, [1], 3, rng=rng_of(seed)) for seed in (0, 1))
    next(first), next(second)
    texts = list(first), list(second)
    assert model.training
    model.eval()
    assert texts == tuple(list(generate(model, [1], 3, rng=rng_of(s)))[1:] for s in (0, 1))


# ------------------------------------------------------------------------------------------- chance


def test_one_seed_one_text(model):
    texts = [one(model, [1], 30, seed) for seed in (1, 1, 2)]
    assert texts[0] == texts[1] != texts[2]
    assert one(model, [1], 0) == []


@pytest.mark.parametrize(
    "sampling",
    [
        Sampling(),
        GREEDY,
        Sampling(temperature=2.0, top_k=5, repetition_penalty=1.3, frequency_penalty=0.5),
    ],
)
def test_a_row_does_not_depend_on_the_others(roomy, sampling, rng):
    """Past the context too; and the text of one row is that of one prompt in a row."""
    prompts = rng.integers(0, 7, (5, 3))
    together = complete(roomy, prompts, 30, sampling=sampling, seed=9)
    assert together.shape == (5, 33)
    assert together.dtype == np.int64
    np.testing.assert_array_equal(together[:, :3], prompts)
    np.testing.assert_array_equal(
        complete(roomy, prompts[:2], 30, sampling=sampling, seed=9), together[:2]
    )
    for row, prompt in enumerate(prompts):
        alone = list(generate(roomy, prompt, 30, rng=rng_of(9, row), sampling=sampling))
        assert alone == together[row, 3:].tolist()
    single = complete(roomy, prompts[0], 30, sampling=sampling, seed=9)
    np.testing.assert_array_equal(single, together[0])


def test_rows_of_one_prompt_differ_by_chance_alone(roomy):
    texts = complete(roomy, [[1, 2]] * 4, 20)
    assert len({tuple(row) for row in texts.tolist()}) == 4
    greedy = complete(roomy, [[1, 2]] * 4, 20, sampling=GREEDY)
    assert len({tuple(row) for row in greedy.tolist()}) == 1


def test_logits_of_a_row_are_the_same_bits_in_any_batch(roomy, rng):
    """So is the choice: a uniform number that falls between two roundings would tell.

    Products of at most 12 rows sum in one order, and those of more in another (kernels/matmul.py):
    prompts of two tokens in up to six rows stay on the one side.
    """
    prompts = rng.integers(0, 7, (6, 2))
    logits = {}
    for batch in (1, 2, 6):
        recorded = Recorded(roomy)
        complete(recorded, prompts[:batch], 8, sampling=GREEDY)
        logits[batch] = np.array([each[0] for each in recorded.logits])
    np.testing.assert_array_equal(logits[1], logits[2])
    np.testing.assert_array_equal(logits[1], logits[6])


def test_one_prompt_is_passed_over_once_for_all_its_texts(roomy):
    """So a text has the same bits however many there are, however long the prompt."""
    prompt, texts = [1, 2, 3, 4, 5, 6, 0, 1, 2, 3], {}
    for batch in (1, 3, 12):
        recorded = Recorded(roomy)
        complete(recorded, [prompt] * batch, 6, sampling=GREEDY)
        assert recorded.shapes == [(1, 10), *[(batch, 1)] * 5]
        texts[batch] = np.array([each[0] for each in recorded.logits])
    np.testing.assert_array_equal(texts[1], texts[3])
    np.testing.assert_array_equal(texts[1], texts[12])
    assert cache_agrees(roomy, [prompt] * 3, 20) < 1e-5


# ----------------------------------------------------------------------------- where a text ends


def test_a_text_ends_with_the_first_stop_token(roomy):
    text = one(roomy, [1, 2], 20, seed=3)
    stop = text[5]
    ended = one(roomy, [1, 2], 20, seed=3, stop_tokens=[stop])
    assert ended == text[: text.index(stop) + 1]
    assert one(roomy, [stop], 3, stop_tokens=[0, 1, 2, 3, 4, 5, 6]) == one(roomy, [stop], 1)


def test_a_row_that_has_stopped_is_filled_and_the_others_go_on(roomy):
    hot, stop = Sampling(temperature=5.0), 3
    free = complete(roomy, [[1, 2]] * 6, 16, sampling=hot, seed=4)
    got = complete(roomy, [[1, 2]] * 6, 16, sampling=hot, seed=4, stop_tokens=[stop])
    lengths = []
    for row, text in zip(free, got, strict=True):
        new = row[2:].tolist()
        kept = new.index(stop) + 1 if stop in new else len(new)
        lengths.append(kept)
        assert text[2:].tolist() == new[:kept] + [stop] * (16 - kept)
    assert len(set(lengths)) > 2


def test_where_every_row_has_stopped_nothing_is_computed(roomy):
    recorded = Recorded(roomy)
    text = complete(recorded, [[1], [1]], 9, stop_tokens=range(7))
    assert text.shape == (2, 10)
    assert len(recorded.logits) == 1
    assert all(len(set(row[1:])) == 1 for row in text.tolist())


def test_a_stop_token_in_the_prompt_ends_nothing(roomy):
    assert len(complete(roomy, [1, 2], 5, stop_tokens=[1, 2])) == 7


# ----------------------------------------------------------------------------- what will not do


@pytest.mark.parametrize(
    ("ids", "length", "options", "error", "message"),
    [
        ([0], -1, {}, ConfigError, "length of 0 or more tokens; got -1"),
        ([0], 1.5, {}, DtypeError, "whole numbers for max_new_tokens"),
        ([], 1, {}, DataError, "one or more ids"),
        ([0] * 5, 1, {}, ShapeError, "at most 4 tokens, the model's context; got 5; shorten it"),
        ([1.7], 1, {}, DtypeError, "integer ids"),
        ([7], 1, {}, IdRangeError, "ids from 0 to 6, received 7"),
        ([-1], 1, {}, IdRangeError, "ids from 0 to 6, received -1"),
        (3, 1, {}, ShapeError, r"got shape \(\)"),
        ([0], 1, {"stop_tokens": [7]}, IdRangeError, "stop_tokens: expected ids from 0 to 6"),
        ([0], 1, {"stop_tokens": ["a"]}, DtypeError, "stop_tokens"),
    ],
)
def test_what_will_not_do_is_refused_at_the_call(model, ids, length, options, error, message):
    with pytest.raises(error, match=message):
        generate(model, ids, length, rng=rng_of(0), **options)
    with pytest.raises(error, match=message):
        complete(model, ids, length, **options)


def test_rows_that_will_not_do_are_refused(model):
    with pytest.raises(ShapeError, match=r"expected a prompt of ids \(T,\); got shape \(1, 2\)"):
        generate(model, [[1, 2]], 1, rng=rng_of(0))
    with pytest.raises(ShapeError, match=r"got shape \(0, 2\)"):
        complete(model, np.zeros((0, 2), int), 1)
    with pytest.raises(ShapeError, match=r"got shape \(1, 1, 2\)"):
        complete(model, [[[1, 2]]], 1)
    with pytest.raises(ConfigError, match="a generator for each of 2 rows; got 1"):
        generate_rows(model, [[1], [2]], 1, rngs=[rng_of(0)])
    with pytest.raises(ConfigError, match="a seed of 0 or more; got -1"):
        complete(model, [1], 1, seed=-1)
    with pytest.raises(DtypeError, match="whole numbers for seed"):
        complete(model, [1], 1, seed=0.5)


def test_a_length_takes_no_memory_before_the_text_does(model):
    stream = generate(model, [1], 10**15, rng=np.random.default_rng(0))
    assert [next(stream) for _ in range(200)] == one(model, [1], 200)


def test_no_token_at_all_gives_the_prompt_back(model):
    assert complete(model, [1, 2], 0).tolist() == [1, 2]
    assert complete(model, [[1, 2], [3, 4]], 0).tolist() == [[1, 2], [3, 4]]


def test_prompts_of_several_lengths_and_a_bare_stop_token_are_refused():
    model = sg.GPT(sg.GPTConfig(vocab_size=5, block_size=8, n_layer=1, n_head=1, n_embd=4))
    with pytest.raises(ShapeError, match="prompts of one length"):
        model.generate([[1, 2], [3]], 2)
    with pytest.raises(ConfigError, match="stop_tokens: expected a collection of ids; got 2"):
        model.generate([1], 3, stop_tokens=2)
