"""A conversation: the cache never changes what is said, and the oldest turns go first."""

from dataclasses import replace

import numpy as np
import pytest

import scratchgrad as sg
from scratchgrad.errors import ConfigError, DataError
from scratchgrad.generate import Sampling
from scratchgrad.interop.chat_template import encode_chat
from scratchgrad.interop.conversation import Conversation
from scratchgrad.interop.gguf import read_gguf
from tests.interop.gguf_files import Typed, tiny_file

GREEDY = Sampling(greedy=True)


@pytest.fixture(scope="module")
def pretrained(tmp_path_factory):
    return read_gguf(tiny_file(tmp_path_factory.mktemp("m") / "tiny.gguf"))


@pytest.fixture
def roomy(tmp_path):
    return read_gguf(tiny_file(tmp_path / "tiny.gguf", llama__context_length=1024))


def by_hand(pretrained, messages, length):
    """The greedy answer, each token from a pass over the whole text."""
    ids, new = encode_chat(pretrained, messages), []
    for _ in range(length):
        with sg.no_grad():
            logits = pretrained.model(np.append(ids, np.array(new, int))[None])[0]
        token = int(np.asarray(logits.data)[0, -1].argmax())
        if token in pretrained.stop:
            break
        new.append(token)
    return pretrained.tokenizer.decode(new)


def ask(conversation, text, length=12, sampling=GREEDY, seed=0):
    rng = np.random.default_rng(seed)
    return "".join(conversation.answer(text, rng=rng, sampling=sampling, max_new_tokens=length))


def test_the_cache_changes_nothing(roomy):
    conversation, messages = Conversation(roomy, "system"), []
    messages = [{"role": "system", "content": "system"}]
    for text in ("ab", "what?", "é"):
        messages.append({"role": "user", "content": text})
        expected = by_hand(roomy, messages, 12)
        assert ask(conversation, text) == expected
        messages.append({"role": "assistant", "content": expected})
        assert conversation.messages == messages


@pytest.mark.parametrize("window", [1, 5, 40, 300])
def test_nor_does_one_that_drops_what_has_left_the_window(roomy, window):
    config = replace(roomy.model.config, sliding_window=window)
    model = sg.GPT.from_state(config, roomy.model.state_dict()).eval()
    windowed = replace(roomy, model=model)
    conversation, messages = Conversation(windowed), []
    for text in ("ab" * 20, "what?", "é" * 30, "x"):
        messages.append({"role": "user", "content": text})
        expected = by_hand(windowed, messages, 40)
        assert ask(conversation, text, length=40) == expected
        messages.append({"role": "assistant", "content": expected})


def test_only_what_is_new_is_computed(roomy):
    conversation = Conversation(roomy)
    ask(conversation, "a" * 100, length=1)
    first = len(encode_chat(roomy, conversation.messages[:1]))
    assert conversation.computed == first
    before = len(encode_chat(roomy, conversation.messages, add_generation_prompt=False))
    ask(conversation, "b", length=1)
    after = len(encode_chat(roomy, conversation.messages[:3]))
    # The answer's token may be encoded otherwise; what stood before it is not computed again.
    assert conversation.computed - first <= after - first
    assert after > before > 100


def test_an_answer_ends_at_a_stop_token(pretrained):
    ids = encode_chat(pretrained, [{"role": "user", "content": "x"}])
    with sg.no_grad():
        logits = np.asarray(pretrained.model(ids[None])[0].data)[0, -1]
    likeliest = int(logits.argmax())
    stopping = type(pretrained)(
        pretrained.model, pretrained.tokenizer, pretrained.chat_template, stop=(likeliest,)
    )
    assert ask(Conversation(stopping), "x") == ""


def test_what_was_yielded_is_the_answer(roomy):
    conversation = Conversation(roomy)
    pieces = conversation.answer("x", rng=np.random.default_rng(0), max_new_tokens=50)
    assert conversation.messages == []  # nothing before the first piece is asked for
    got = next(pieces) + next(pieces)
    pieces.close()
    assert conversation.messages[-1] == {"role": "assistant", "content": got}
    ask(conversation, "go on")
    assert len(conversation.messages) == 4


def test_seeds_and_penalties(roomy):
    draw = Sampling(temperature=1.5, repetition_penalty=1.3)
    one, other, third = (ask(Conversation(roomy), "x", 20, draw, seed) for seed in (1, 1, 2))
    assert one == other != third


def test_the_oldest_turns_are_forgotten(tmp_path):
    notes: list[str] = []
    pretrained = read_gguf(tiny_file(tmp_path / "m.gguf", llama__context_length=160))
    conversation = Conversation(pretrained, "s", notes.append)
    texts = ["a" * 60, "b" * 10, "c" * 10]
    for text in texts:
        ask(conversation, text, length=4)
    assert [m["content"] for m in conversation.messages][:1] == ["s"]
    assert conversation.messages[1]["content"] == "b" * 10
    assert [note for note in notes if "forgotten" in note] == [
        "the context of 160 tokens is full: the oldest turn is forgotten"
    ]
    fresh = Conversation(pretrained, "s")
    fresh.messages = conversation.messages[:-2]
    assert ask(fresh, texts[-1], length=4) == conversation.messages[-1]["content"]


def test_a_full_context_is_emptied_to_half_so_that_it_is_seldom_full(tmp_path):
    """A turn that drops older ones is a pass over what is left; those between are over the new."""
    notes: list[str] = []
    pretrained = read_gguf(tiny_file(tmp_path / "m.gguf", llama__context_length=160))
    conversation, left, passed = Conversation(pretrained, "s", notes.append), [], []
    for number in range(11):  # turns of 23 ids or so: seven fill the context, four its half
        said, before = len(notes), conversation.computed
        ask(conversation, f"{number}", length=1)
        if any("turns are forgotten" in note for note in notes[said:]):
            left.append(len(encode_chat(pretrained, conversation.messages[:-1])))
        else:
            passed.append(conversation.computed - before)
    assert len([note for note in notes if "forgotten" in note]) == len(left) == 2
    assert all(40 < ids <= 80 for ids in left)
    assert max(passed) < 40


def test_a_message_over_half_the_context_is_answered_alone(tmp_path):
    notes: list[str] = []
    pretrained = read_gguf(tiny_file(tmp_path / "m.gguf", llama__context_length=200))
    conversation = Conversation(pretrained, tell=notes.append)
    ask(conversation, "a" * 20, length=1)
    ask(conversation, "b" * 150, length=1)
    assert [m["content"][:1] for m in conversation.messages[:1]] == ["b"]
    assert any("the oldest turn is forgotten" in note for note in notes)


def test_a_message_that_does_not_fit(pretrained):
    conversation = Conversation(pretrained)
    with pytest.raises(DataError, match="the message does not fit: it makes 1"):
        ask(conversation, "x" * 100)
    assert conversation.messages == []
    with pytest.raises(ConfigError, match="at least 1 token"):
        ask(conversation, "x", length=0)


def test_a_byte_that_the_model_has_no_token_for(tmp_path):
    """SmolLM2's vocabulary lacks 21 bytes; here one is unused."""
    kinds = [Typed("i32", 3)] * 3 + [Typed("i32", 1)] * 257
    kinds[3 + 4] = Typed("i32", 5)
    settings = {"tokenizer__ggml__token_type": kinds, "llama__context_length": 512}
    conversation = Conversation(read_gguf(tiny_file(tmp_path / "m.gguf", **settings)))
    with pytest.raises(DataError, match=r"the message has b'\\x04', which this model was never"):
        ask(conversation, "a\x04b")
    assert conversation.messages == []
    ask(conversation, "ab")


def test_a_long_answer_is_cut_and_said_so(pretrained):
    notes: list[str] = []
    conversation = Conversation(pretrained, tell=notes.append)
    ask(conversation, "x", length=3)
    ask(Conversation(pretrained, tell=notes.append), "x", length=500)
    assert notes[0] == "the answer was cut after 3 tokens"
    assert notes[1] == "the context of 64 tokens is full: cut here"
    full = Conversation(pretrained)
    ask(full, "x", length=500)
    assert full.computed == 64  # the last place of the context is used too


def test_a_model_without_an_end(pretrained):
    endless = type(pretrained)(pretrained.model, pretrained.tokenizer, pretrained.chat_template)
    with pytest.raises(ConfigError, match="no token that ends an answer"):
        Conversation(endless)
