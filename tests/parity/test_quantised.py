"""Blocks and files of GGUF against the package of its authors."""

import numpy as np
import pytest

from scratchgrad.interop.gguf.quantised import BLOCKS
from scratchgrad.interop.gguf.reading import GGUF
from tests.interop.smollm2 import smollm2_or_skip

gguf = pytest.importorskip("gguf")

HALVES = {"F16": 2, "Q8_0": 2, "Q4_0": 2, "Q4_1": 4}  # bytes at the front that are float16


@pytest.mark.parametrize("block", BLOCKS.values(), ids=lambda block: block.name)
def test_random_blocks(block, rng):
    """Bit for bit, for all bytes there are but those of scales that are no numbers."""
    blocks = rng.integers(0, 256, (20_000, block.nbytes), dtype=np.uint8)
    halves = blocks[:, : HALVES.get(block.name, 0)].view("<u2")
    halves[(halves & 0x7C00) == 0x7C00] &= 0x83FF  # no infinities, no NaN
    if block.name == "F32":
        blocks = rng.standard_normal((20_000, 1)).astype("<f4").view(np.uint8)
    if block.name == "BF16":
        words = blocks.view("<u2")
        words[(words & 0x7F80) == 0x7F80] = 0
    out = np.empty((len(blocks), block.numbers), np.float32)
    block.dequantise(blocks, out)
    kind = gguf.GGMLQuantizationType[block.name]
    theirs = gguf.quants.dequantize(blocks, kind)
    np.testing.assert_array_equal(out.view(np.uint32), theirs.reshape(out.shape).view(np.uint32))


def test_a_file_of_theirs(tmp_path, rng):
    path = tmp_path / "theirs.gguf"
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_block_count(3)
    writer.add_rope_freq_base(5e5)
    writer.add_token_list(["a", "é", ""])
    writer.add_token_types([1, 3, 5])
    writer.add_bool("some.truth", True)
    array = rng.standard_normal((5, 64)).astype(np.float32)
    expected = {"f32": array, "f16": array.astype(np.float16)}
    for name, tensor in expected.items():
        writer.add_tensor(name, tensor)
    for kind in ("Q8_0", "Q4_0", "Q4_1", "BF16"):
        code = gguf.GGMLQuantizationType[kind]
        data = gguf.quants.quantize(array, code)
        writer.add_tensor(kind, data, raw_dtype=code)
        expected[kind] = gguf.quants.dequantize(data, code)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    with GGUF(path) as file:
        assert file.values["llama.block_count"] == 3
        assert file.values["llama.rope.freq_base"] == 5e5
        assert file.values["some.truth"] is True
        assert list(file.strings("tokenizer.ggml.tokens")) == ["a", "é", ""]
        assert file.numbers("tokenizer.ggml.token_type").tolist() == [1, 3, 5]
        assert {name: t.kind for name, t in file.tensors.items()} == {
            "f32": "F32", "f16": "F16", "Q8_0": "Q8_0", "Q4_0": "Q4_0", "Q4_1": "Q4_1",
            "BF16": "BF16",
        }  # fmt: skip
        for name, numbers in expected.items():
            np.testing.assert_array_equal(file.read(name), numbers)


def test_the_real_file():
    path = smollm2_or_skip()
    theirs = {tensor.name: tensor for tensor in gguf.GGUFReader(path).tensors}
    names = ["token_embd.weight", "blk.0.attn_q.weight", "blk.29.ffn_down.weight"]
    with GGUF(path) as file:
        assert list(file.tensors) == list(theirs)
        for name in [*names, "output_norm.weight"]:
            tensor = theirs[name]
            numbers = gguf.quants.dequantize(tensor.data, tensor.tensor_type)
            np.testing.assert_array_equal(file.read(name), numbers)
