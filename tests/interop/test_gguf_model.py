"""From a GGUF to a model that can be used: settings, rows, tokenizer; and all that is refused."""

import contextlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import scratchgrad as sg
from scratchgrad.errors import CheckpointError
from scratchgrad.interop.gguf import read_gguf
from scratchgrad.interop.gguf.reading import GGUF
from scratchgrad.interop.gguf.tokenizer import CUTS
from scratchgrad.interop.layout import half_split
from scratchgrad.interop.pretrained import read_pretrained
from scratchgrad.tokenizer.formats.bytelevel import LETTERS
from scratchgrad.tokenizer.patterns import Pattern
from tests.interop.gguf_files import (
    SPECIAL,
    TEMPLATE,
    Row,
    Typed,
    gguf_bytes,
    row_of,
    tiny_arrays,
    tiny_file,
    tiny_values,
)

IDS = np.array([[5, 60, 7, 100, 259, 3, 9, 60, 5, 1]])


def logits_of(model: sg.GPT) -> np.ndarray:
    with sg.no_grad():
        return np.asarray(model(IDS)[0].data)


def in_our_names(arrays: dict, order=lambda rows, heads: rows) -> dict:
    """The same weights, put together in another way than the reader does it."""
    state = {"wte.weight": arrays["token_embd.weight"], "ln_f.weight": arrays["output_norm.weight"]}
    if "output.weight" in arrays:
        state["lm_head.weight"] = arrays["output.weight"]
    for i in range(2):
        one = {name.split(".")[2]: a for name, a in arrays.items() if name.startswith(f"blk.{i}.")}
        state |= {
            f"h.{i}.ln_1.weight": one["attn_norm"],
            f"h.{i}.attn.c_attn.weight": np.concatenate(
                [order(one["attn_q"], 4), order(one["attn_k"], 2), one["attn_v"]]
            ),
            f"h.{i}.attn.c_proj.weight": one["attn_output"],
            f"h.{i}.ln_2.weight": one["ffn_norm"],
            f"h.{i}.mlp.c_fc.weight": np.concatenate([one["ffn_gate"], one["ffn_up"]]),
            f"h.{i}.mlp.c_proj.weight": one["ffn_down"],
        }
    return state


def config_of(**changes) -> sg.GPTConfig:
    settings = {
        "vocab_size": 260, "block_size": 64, "n_layer": 2, "n_head": 4, "n_embd": 32,
        "n_kv_head": 2, "n_inner": 64, "bias": False, "norm": "rmsnorm", "mlp": "swiglu",
        "norm_eps": float(np.float32(1e-5)), "position": "rope", "rope_base": 10000.0,
    }  # fmt: skip
    return sg.GPTConfig(**{**settings, **changes})


@pytest.mark.parametrize("tied", [True, False])
def test_the_model_is_that_of_the_file(tmp_path, tied):
    """The rows as they are, rotated as llama.cpp rotates them, make the same logits."""
    found = read_gguf(tiny_file(tmp_path / "m.gguf", tied=tied))
    assert found.model.config == config_of(tied_head=tied)
    theirs = sg.GPT.from_state(
        config_of(tied_head=tied, rope_interleaved=True), in_our_names(tiny_arrays(tied=tied))
    )
    np.testing.assert_allclose(logits_of(found.model), logits_of(theirs), rtol=1e-4, atol=1e-5)


def test_every_weight_is_where_it_belongs(tmp_path):
    state = read_gguf(tiny_file(tmp_path / "m.gguf")).model.state_dict()
    expected = in_our_names(tiny_arrays(), half_split)
    assert state.keys() == expected.keys()
    for name, array in expected.items():
        np.testing.assert_array_equal(np.asarray(state[name]), array, err_msg=name)


def test_half_split_undoes_the_converter():
    """llama.cpp's converter: reshape to (heads, 2, D / 2), swap, reshape."""
    ours = np.arange(3 * 8 * 5).reshape(24, 5)
    theirs = ours.reshape(3, 2, 4, 5).swapaxes(1, 2).reshape(24, 5)
    np.testing.assert_array_equal(half_split(theirs, 3), ours)
    assert not np.array_equal(half_split(theirs, 6), ours)  # the heads are not guessed


def test_the_rest_of_the_file(tmp_path):
    found = read_gguf(tiny_file(tmp_path / "m.gguf"))
    assert found.tokenizer.encode("ab 12<|im_end|>", disallowed_special=()).tolist()[:1] == [259]
    assert found.tokenizer.special_tokens == {name: i for i, name in enumerate(SPECIAL)}
    assert found.chat_template == TEMPLATE
    assert (found.begin, found.stop) == (None, (2, 0))
    begin = read_gguf(tiny_file(tmp_path / "b.gguf", tokenizer__ggml__add_bos_token=True))
    assert begin.begin == 1
    assert (found.bos, found.eos, found.notes) == (SPECIAL[1], SPECIAL[2], [])
    ended = read_gguf(tiny_file(tmp_path / "e.gguf", tokenizer__ggml__add_eos_token=True))
    assert ended.notes == [f"{tmp_path / 'e.gguf'} puts a token after every text; none is put here"]


def test_float64_is_kept_on_demand(tmp_path):
    path = tiny_file(tmp_path / "m.gguf")
    single, double = (read_pretrained(path, dtype=dtype) for dtype in (np.float32, np.float64))
    expected = single.model.state_dict()
    for name, array in double.model.state_dict().items():
        assert array.dtype == np.float64
        np.testing.assert_array_equal(array, expected[name])


@pytest.mark.parametrize("kind", ["F16", "BF16"])
def test_other_kinds_of_tensors(tmp_path, kind):
    rows = {name: row_of(a, kind if a.ndim == 2 else "F32") for name, a in tiny_arrays().items()}
    path = tmp_path / "m.gguf"
    path.write_bytes(gguf_bytes(tiny_values(), rows))
    expected = logits_of(read_gguf(tiny_file(tmp_path / "single.gguf")).model)
    assert np.abs(logits_of(read_gguf(path).model) - expected).max() < 0.1


PRE = "tokenizer__ggml__"


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"general__architecture": "gemma"}, "general.architecture is 'gemma'; expected 'llama'"),
        ({"general__architecture": None}, "general.architecture is missing"),
        ({"general__architecture": ["llama"]}, "architecture is an array; expected 'llama'"),
        ({"general__alignment": [32]}, "general.alignment is an array; expected a power of two"),
        ({PRE + "model": ["gpt2"]}, "tokenizer.ggml.model is an array; expected 'gpt2'"),
        ({PRE + "pre": ["gpt-2"]}, "tokenizer.ggml.pre is an array, and how"),
        ({PRE + "add_bos_token": [True]}, "add_bos_token is an array; expected true or false"),
        ({"tokenizer__chat_template": ["a"]}, "chat_template is an array; expected a text"),
        ({"llama__block_count": None}, "llama.block_count is None"),
        ({"llama__block_count": 0}, "llama.block_count is 0"),
        ({"llama__block_count": 2**31}, "llama.block_count is 2,147,483,648"),
        ({"llama__block_count": "2"}, "llama.block_count is '2'"),
        ({"llama__context_length": 2**22 + 1}, "is 4,194,305; expected at most 4,194,304"),
        ({"llama__context_length": 2**32 - 1}, "llama.context_length is 4,294,967,295"),
        ({"llama__embedding_length": 33}, "multiple of twice the heads"),
        ({"llama__attention__head_count": [4, 4]}, "head_count is an array"),
        ({"llama__attention__head_count_kv": 3}, "n_kv_head"),
        ({"llama__rope__dimension_count": 4}, "llama.rope.dimension_count is not 8"),
        ({"llama__attention__key_length": 16}, "llama.attention.key_length is not 8"),
        ({"llama__vocab_size": 261}, "llama.vocab_size is not 260"),
        ({"llama__feed_forward_length": 65}, "expected (65, 32)"),
        ({"llama__attention__layer_norm_rms_epsilon": 0}, "epsilon is 0"),
        ({"llama__rope__scaling__type": "yarn"}, "llama.rope.scaling.type is 'yarn'"),
        ({"llama__rope__scaling__factor": 4.0}, "llama.rope.scaling.factor is 4.0"),
        ({"llama__expert_count": 8}, "llama.expert_count is 8"),
        ({"llama__logit_scale": 2.0}, "llama.logit_scale is 2.0, which cannot be represented"),
        ({PRE + "model": "llama"}, "tokenizer.ggml.model is 'llama' (it is SentencePiece's)"),
        ({PRE + "model": None}, "tokenizer.ggml.model is missing"),
        ({PRE + "pre": "default"}, "tokenizer.ggml.pre is 'default'"),
        ({PRE + "pre": None}, "tokenizer.ggml.pre is missing"),
        ({PRE + "tokens": None}, "expected an array of strings; got nothing"),
        ({PRE + "tokens": [1, 2]}, "expected an array of strings; got another type"),
        ({PRE + "tokens": ["a", "b"]}, "expected one for each of 2 tokens; got 260"),
        ({PRE + "tokens": ["a"] * 260}, "ids 0 and 1 are both the token 'a'"),
        ({PRE + "token_type": [Typed("i32", 6)] * 260}, "is of type 6"),
        ({PRE + "merges": ["a b", "ab a"]}, "merge 1 joins 'ab' and 'a', but 'aba' is no token"),
        ({PRE + "merges": ["ab"]}, "merge 0 is 'ab'; expected two tokens"),
        ({PRE + "merges": ["a b c"]}, "expected two tokens"),
        ({PRE + "bos_token_id": 260}, "tokenizer.ggml.bos_token_id is 260"),
        ({PRE + "bos_token_id": None, PRE + "add_bos_token": True}, "expected a tokenizer.ggml"),
        ({PRE + "add_bos_token": 1}, "add_bos_token is 1; expected true or false"),
        ({PRE + "add_space_prefix": True}, "add_space_prefix is not false"),
        ({"tokenizer__chat_template": 7}, "tokenizer.chat_template is 7; expected a text"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)  # fmt: skip
def test_what_the_values_say_is_refused(tmp_path, changes, says):
    values = tiny_values()
    for name, value in changes.items():
        key = name.replace("__", ".")
        values.pop(key, None)
        if value is not None:
            values[key] = value
    path = tmp_path / "m.gguf"
    path.write_bytes(gguf_bytes(values, {n: row_of(a) for n, a in tiny_arrays().items()}))
    with pytest.raises(CheckpointError) as error:
        read_gguf(path)
    assert says in str(error.value)
    assert str(error.value).startswith(str(path))
    assert len(str(error.value).splitlines()) == 1


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda rows: rows.pop("blk.1.ffn_up.weight"), "missing: blk.1.ffn_up.weight"),
        (lambda rows: rows.pop("token_embd.weight"), "has no tensor token_embd.weight"),
        (lambda rows: rows.update(extra=row_of(np.zeros(4))), "left over: extra"),
        (lambda rows: rows.update({"rope_freqs.weight": row_of(np.ones(4))}), "rope_freqs.weight"),
        (
            lambda rows: rows.update({"blk.0.attn_q.bias": row_of(np.zeros(32))}),
            "left over: blk.0.attn_q.bias",
        ),
        (
            lambda rows: rows.update({"blk.0.attn_k.weight": row_of(np.zeros((32, 16)))}),
            "blk.0.attn_k.weight has shape (32, 16); expected (16, 32)",
        ),
        (
            lambda rows: rows.update({"output_norm.weight": Row((32,), bytes(36), "Q4_K")}),
            "Q4_K",
        ),
    ],
    ids=range(7),
)
def test_other_tensors_are_refused(tmp_path, change, says):
    rows = {name: row_of(array) for name, array in tiny_arrays().items()}
    change(rows)
    if rows["output_norm.weight"].kind == "Q4_K":
        rows["output_norm.weight"] = rows["output_norm.weight"]._replace(kind=12)
    path = tmp_path / "m.gguf"
    path.write_bytes(gguf_bytes(tiny_values(), rows))
    with pytest.raises(CheckpointError) as error:
        read_gguf(path)
    assert says in str(error.value)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A file to be changed: where it is, its bytes, and where its header ends."""
    path = tiny_file(tmp_path_factory.mktemp("whole") / "m.gguf")
    with GGUF(path) as file:
        first = min(tensor.start for tensor in file.tensors.values())
    return path, path.read_bytes(), first


@given(st.data())
def test_flipped_bytes_are_refused_or_read(whole, data):
    """A model, or one error of one kind, comes of any change; never another exception."""
    path, right, first = whole
    changed = bytearray(right)
    for _ in range(data.draw(st.integers(1, 3))):
        changed[data.draw(st.integers(0, first - 1))] = data.draw(st.integers(0, 255))
    path.write_bytes(changed)
    with contextlib.suppress(CheckpointError):
        read_gguf(path)


def test_a_vocabulary_larger_than_the_table(tmp_path):
    path = tmp_path / "m.gguf"
    arrays = tiny_arrays(vocab=259)
    path.write_bytes(gguf_bytes(tiny_values(vocab=259), {n: row_of(a) for n, a in arrays.items()}))
    with pytest.raises(CheckpointError, match="the tokenizer has 260 ids; expected at most 259"):
        read_gguf(path)


def test_unused_tokens_and_missing_bytes(tmp_path):
    """A token that fills a gap is none; a byte without a token gets an id that no row has."""
    values = tiny_values()
    kinds = [Typed("i32", 3)] * 3 + [Typed("i32", 1)] * 257
    tokens = list(values["tokenizer.ggml.tokens"])
    kinds[3 + 4], tokens[3 + 4] = Typed("i32", 5), "[PAD]"
    values |= {"tokenizer.ggml.token_type": kinds, "tokenizer.ggml.tokens": tokens}
    path = tmp_path / "m.gguf"
    path.write_bytes(gguf_bytes(values, {n: row_of(a) for n, a in tiny_arrays().items()}))
    found = read_gguf(path)
    assert found.tokenizer.encode("\x04a").tolist() == [260, 3 + ord("a")]
    assert found.tokenizer.decode([260]) == "\x04"
    assert found.tokenizer.encode("[PAD]").tolist() == [3 + byte for byte in b"[PAD]"]


@pytest.mark.parametrize(
    ("name", "text", "pieces"),
    [
        ("smollm", "it's  12 two", ["it", "'s", "  ", "1", "2", " two"]),
        ("smollm", "a  b \n 7 ", ["a", " ", " b", " \n ", "7", " "]),
        ("gpt-2", "a  12", ["a", " ", " 12"]),
        ("llama-bpe", "IT'S 1234\n\n x", ["IT", "'S", " ", "123", "4", "\n\n", " x"]),
        ("qwen2", "x 12", ["x", " ", "1", "2"]),
    ],
)
def test_how_a_text_is_cut(name, text, pieces):
    found = Pattern(CUTS[name].pattern).split(text.encode())
    assert [piece.decode() for piece in found] == pieces


def test_a_piece_that_is_a_token_where_the_name_says_so(tmp_path):
    """Without the merge that makes it: Llama 3 takes tokens whole, SmolLM by merges alone."""
    settings = {"tokenizer__ggml__merges": ["x y"]}
    tokens = [*SPECIAL, *LETTERS, "ab", "xy"]
    kinds = [Typed("i32", 3)] * 3 + [Typed("i32", 1)] * 258
    settings |= {"tokenizer__ggml__tokens": tokens, "tokenizer__ggml__token_type": kinds}
    rows = {name: row_of(array) for name, array in tiny_arrays(vocab=261).items()}
    path = tmp_path / "m.gguf"
    for pre, expected in (("smollm", [3 + ord("a"), 3 + ord("b")]), ("llama-bpe", [259])):
        values = tiny_values(vocab=261, tokenizer__ggml__pre=pre, **settings)
        path.write_bytes(gguf_bytes(values, rows))
        assert read_gguf(path).tokenizer.encode("ab").tolist() == expected
