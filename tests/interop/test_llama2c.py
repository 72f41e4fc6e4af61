"""llama2.c's files: made here, spoiled, and the published one with its published text."""

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import scratchgrad as sg
from scratchgrad.errors import CheckpointError
from scratchgrad.interop.layout import half_order, half_split_state
from scratchgrad.interop.llama2c import HEADER
from scratchgrad.interop.pretrained import read_pretrained
from tests.interop.models import model

# What llama2.c's own test expects of 200 steps, each the likeliest token.
PUBLISHED = """\
Once upon a time, there was a little girl named Lily. She loved to play outside in the park. \
One day, she saw a big, red ball. She wanted to play with it, but it was too high.
Lily's mom said, "Lily, let's go to the park." Lily was sad and didn't know what to do. \
She said, "I want to play with your ball, but I can't find it."
Lily was sad and didn't know what to do. She said, "I'm sorry, Lily. I didn't know what to do."
Lily didn't want to help her mom, so she"""


def llama(**changes: Any) -> sg.GPT:
    return model("llama", rope_interleaved=True, n_inner=12, norm_eps=1e-5, **changes)


def content(built: sg.GPT) -> bytes:
    """As llama2.c's export.py writes it, from our parameters, one kind after the other."""
    c, state = built.config, built.state_dict()
    keys = c.kv_heads * c.head_size
    numbers = [c.n_embd, c.inner, c.n_layer, c.n_head, c.kv_heads, c.vocab_size, c.block_size]
    numbers[5] *= 1 if c.tied_head else -1
    layers = [{n.split(".", 2)[2]: a for n, a in state.items() if n.startswith(f"h.{i}.")}
              for i in range(c.n_layer)]  # fmt: skip
    arrays = [state["wte.weight"]]
    arrays += [layer["ln_1.weight"] for layer in layers]
    arrays += [layer["attn.c_attn.weight"][: c.n_embd] for layer in layers]
    arrays += [layer["attn.c_attn.weight"][c.n_embd : c.n_embd + keys] for layer in layers]
    arrays += [layer["attn.c_attn.weight"][c.n_embd + keys :] for layer in layers]
    arrays += [layer["attn.c_proj.weight"] for layer in layers]
    arrays += [layer["ln_2.weight"] for layer in layers]
    arrays += [layer["mlp.c_fc.weight"][: c.inner] for layer in layers]
    arrays += [layer["mlp.c_proj.weight"] for layer in layers]
    arrays += [layer["mlp.c_fc.weight"][c.inner :] for layer in layers]
    arrays += [state["ln_f.weight"], np.full((2, c.block_size, c.head_size // 2), np.nan)]
    arrays += [] if c.tied_head else [state["lm_head.weight"]]
    return HEADER.pack(*numbers) + b"".join(a.astype("<f4").tobytes() for a in arrays)


@pytest.mark.parametrize("tied", [True, False])
def test_every_parameter(tmp_path: Path, tied: bool) -> None:
    ours = llama(tied_head=tied)
    (tmp_path / "m.bin").write_bytes(content(ours))
    found = read_pretrained(tmp_path / "m.bin")
    expected, state = ours.state_dict(), found.model.state_dict()
    assert state.keys() == expected.keys()
    for name, array in expected.items():
        np.testing.assert_array_equal(state[name], array, err_msg=name)
    same = ("rope_interleaved", "norm_eps", "norm", "mlp", "position", "kv_heads", "bias")
    config = found.model.config
    assert {n: getattr(config, n) for n in same} == {n: getattr(ours.config, n) for n in same}
    assert (found.begin, found.stop, found.tokenizer) == (1, (1,), None)
    assert found.notes == [f"no tokenizer: {tmp_path} has no tok11.bin and no tokenizer.bin"]


def test_the_published_text(shared_data: Path) -> None:
    found = read_pretrained(shared_data / "stories260k" / "stories260K.bin")
    assert found.tokenizer is not None
    ids, cache = [found.begin], found.model.new_cache()
    with sg.no_grad():
        while len(ids) <= 200:
            logits = found.model.next_logits(np.array([ids[-1:]]), cache).numpy()
            ids.append(int(logits.argmax()))
    assert found.tokenizer.decode(ids[1:]) == PUBLISHED


def test_a_tokenizer_by_name(shared_data: Path) -> None:
    place = shared_data / "stories260k"
    found = read_pretrained(place / "stories260K.bin", tokenizer=place / "tok512.bin")
    assert found.notes == []
    assert found.tokenizer is not None
    assert found.tokenizer.vocab_size == 512


def refused(path: Path, raw: bytes, expected: str) -> None:
    path.write_bytes(raw)
    with pytest.raises(CheckpointError) as caught:
        read_pretrained(path)
    assert expected in str(caught.value)
    assert str(path) in str(caught.value)


def test_spoiled(tmp_path: Path) -> None:
    whole, path = content(llama()), tmp_path / "m.bin"
    refused(path, whole[:-1], f"is cut short: expected {len(whole):,} bytes")
    refused(path, whole + b"\0", f"is too long: expected {len(whole):,} bytes")
    refused(path, b"24ka" + whole[4:], "a later version of llama2.c's format")
    fields = list(HEADER.unpack(whole[: HEADER.size]))
    for place, value, expected in [
        (0, 2**31 - 1, "is no model"),
        (1, 2**31 - 1, "is cut short"),
        (1, -5, "is no model"),
        (2, 2**31 - 1, "is no model"),
        (2, 9999, "is cut short"),
        (3, 3, "is no model"),
        (4, 3, "n_head to be a multiple of n_kv_head"),
        (5, 0, "is no model"),
        (5, -(2**31), "is cut short"),
        (6, 2**31 - 1, "is cut short"),
        (6, 0, "is no model"),
    ]:
        spoiled = [*fields[:place], value, *fields[place + 1 :]]
        refused(path, HEADER.pack(*spoiled) + whole[HEADER.size :], expected)
    for size in range(HEADER.size):
        refused(path, whole[:size], "")


@given(data=st.data())
def test_one_byte_of_the_header(tmp_path_factory: Any, data: st.DataObject) -> None:
    """Nearly every number in it changes how long the file should be."""
    path = tmp_path_factory.mktemp("flip") / "m.bin"
    raw = bytearray(content(llama()))
    place = data.draw(st.integers(0, HEADER.size - 1))
    raw[place] = data.draw(st.integers(0, 255))
    path.write_bytes(bytes(raw))
    try:
        found = read_pretrained(path)
    except CheckpointError as error:
        assert str(path) in str(error)  # noqa: PT017
    else:
        assert os.path.getsize(path) >= 4 * found.model.config.num_parameters


@pytest.mark.parametrize("bias", [True, False])
def test_neighbours_and_halves_are_one_model(bias: bool) -> None:
    """With the rows of queries and keys regrouped, the other RoPE gives the same logits."""
    ours = model("llama", rope_interleaved=True, bias=bias, qk_norm=True)
    config, state = ours.config, ours.state_dict()
    regrouped = half_split_state(config, state)
    changes = {**vars(config), "rope_interleaved": False}
    other = sg.GPT.from_state(sg.GPTConfig(**changes), regrouped).eval()
    ids = np.arange(8)[None] % 11
    np.testing.assert_allclose(other(ids)[0].numpy(), ours(ids)[0].numpy(), rtol=0, atol=1e-5)
    for name, array in state.items():
        np.testing.assert_array_equal(ours.state_dict()[name], array)
    wrong = sg.GPT.from_state(sg.GPTConfig(**changes), state).eval()
    assert np.abs(wrong(ids)[0].numpy() - ours(ids)[0].numpy()).max() > 1e-2


def test_the_order_of_rows() -> None:
    assert half_order(1, 6).tolist() == [0, 2, 4, 1, 3, 5]
