"""GGUF files: what is right is read, and what is wrong is refused before memory is taken for it."""

import contextlib
import struct
import tracemalloc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scratchgrad.errors import CheckpointError
from scratchgrad.interop.gguf.quantised import BLOCKS
from scratchgrad.interop.gguf.reading import GGUF, Array
from tests.interop.gguf_files import Raw, Row, Typed, entry, gguf_bytes, row_of, string

ONE = Row((4,), np.arange(4, dtype="<f4").tobytes())
RIGHT = gguf_bytes({"a.b": 1, "list": ["x", "yz"]}, {"one": ONE, "two": ONE})


def opened(tmp_path, data: bytes) -> GGUF:
    path = tmp_path / "model.gguf"
    path.write_bytes(data)
    return GGUF(path)


def refused(tmp_path, data: bytes, *says: str) -> None:
    with pytest.raises(CheckpointError) as error:
        opened(tmp_path, data).close()
    message = str(error.value)
    assert message.startswith(str(tmp_path / "model.gguf"))
    assert len(message.splitlines()) == 1
    for words in says:
        assert words in message


@pytest.mark.parametrize("version", [2, 3])
@pytest.mark.parametrize("alignment", [8, 32, 64])
def test_values_of_every_type_and_tensors(tmp_path, version, alignment):
    values = {
        "u8": Typed("u8", 255), "i8": Typed("i8", -1), "u16": Typed("u16", 65535),
        "i16": Typed("i16", -2), "u32": Typed("u32", 2**32 - 1), "i32": Typed("i32", -3),
        "f32": Typed("f32", 0.5), "bool": True, "text": "naïve", "empty": "",
        "u64": Typed("u64", 2**64 - 1), "i64": Typed("i64", -(2**63)), "f64": Typed("f64", 0.1),
        "general.alignment": alignment,
        "strings": ["", "é", "abc"], "numbers": [Typed("i32", n) for n in (3, -1)],
        "nested": [[1, 2], [3]], "none": [],
    }  # fmt: skip
    array = np.arange(6, dtype=np.float32).reshape(2, 3) / 7
    rows = {"x": row_of(array), "y": row_of(array.T[:1], "F16"), "z": ONE}
    with opened(tmp_path, gguf_bytes(values, rows, version=version, alignment=alignment)) as file:
        got = file.values
        scalars = ["u8", "i8", "u16", "i16", "u32", "i32", "f32", "bool", "text", "empty"]
        assert [got[name] for name in scalars] == [
            255, -1, 65535, -2, 2**32 - 1, -3, 0.5, True, "naïve", "",
        ]  # fmt: skip
        assert [got["u64"], got["i64"], got["f64"]] == [2**64 - 1, -(2**63), 0.1]
        assert list(file.strings("strings")) == ["", "é", "abc"]
        assert file.numbers("numbers").tolist() == [3, -1]
        assert file.numbers("none").tolist() == []
        assert isinstance(got["nested"], Array)
        assert got["nested"].length == 2
        assert file.tensors["x"].shape == (2, 3)
        np.testing.assert_array_equal(file.read("x"), array)
        np.testing.assert_array_equal(file.read("y"), array.T[:1].astype(np.float16))
        into = np.zeros(8, np.float32)
        assert file.read("z", out=into[2:6]).base is into
        assert into.tolist() == [0, 0, 0, 1, 2, 3, 0, 0]


def test_tensors_in_another_order_than_the_table(tmp_path):
    rows = {"late": ONE._replace(start=32), "early": ONE._replace(start=0)}
    with opened(tmp_path, gguf_bytes({}, rows)) as file:
        assert file.read("early").tolist() == file.read("late").tolist() == [0, 1, 2, 3]


def test_a_tensor_longer_than_a_piece(tmp_path, rng):
    blocks = rng.integers(0, 256, (5000, 34), dtype=np.uint8)
    blocks[:, :2] = [0x00, 0x3C]  # a scale of 1
    row = Row((50, 3200), blocks.tobytes(), "Q8_0")
    with opened(tmp_path, gguf_bytes({}, {"long": row})) as file:
        expected = blocks[:, 2:].view(np.int8).astype(np.float32).reshape(50, 3200)
        np.testing.assert_array_equal(file.read("long"), expected)


def header(tensors: int, values: int, rest: bytes = b"") -> bytes:
    return b"GGUF" + struct.pack("<IQQ", 3, tensors, values) + rest


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"", "expected it to begin with"),
        (b"GGU", "expected it to begin with"),
        (b"GGML" + bytes(40), "b'GGML'"),
        (RIGHT.replace(b"\x03\0\0\0", b"\x01\0\0\0", 1), "version 1; expected version 2 or 3"),
        (RIGHT.replace(b"\x03\0\0\0", b"\0\0\0\x03", 1), "version 3, big-endian"),
        (RIGHT.replace(b"\x03\0\0\0", b"\x04\0\0\0", 1), "version 4"),
        (header(2**64 - 1, 0), "18,446,744,073,709,551,615 tensors"),
        (header(0, 2**63), "values; expected at most"),
        (header(1000, 0), "at least 33 bytes for each"),
        (header(0, 1, string(b"\xff")), "not UTF-8"),
        (header(0, 1, struct.pack("<Q", 2**62)), "4,611,686,018,427,387,904 bytes"),
        (header(0, 1, struct.pack("<Q", 1000) + bytes(20)), "expected 1,000 bytes"),
        (header(0, 1, string("") + bytes(40)), "expected visible characters"),
        (header(0, 1, string("a\nb") + bytes(40)), "expected visible characters"),
        (gguf_bytes({"a": 1, "a\0again": 2}, {}), "'a' stands twice"),
        (gguf_bytes({"a": Raw(struct.pack("<I", 13) + bytes(40))}, {}), "unknown type 13"),
        (gguf_bytes({"a": Typed("bool", 2)}, {}), "a truth value of 2"),
        (gguf_bytes({"a": Raw(struct.pack("<IQ", 8, 2**64 - 1))}, {}), "a has 18,446,744"),
        (gguf_bytes({"a": Raw(struct.pack("<IIQ", 9, 4, 2**63) + bytes(9))}, {}), "9,223,372"),
        (gguf_bytes({"a": Raw(struct.pack("<IIQ", 9, 8, 2**61) + bytes(9))}, {}), "items"),
        (gguf_bytes({"a": Raw(struct.pack("<IIQ", 9, 13, 1) + bytes(9))}, {}), "items of a"),
        (gguf_bytes({"a": [[[[[[1]]]]]]}, {}), "nested more than 4 deep"),
        (gguf_bytes({"general.alignment": 0}, {}), "expected a power of two"),
        (gguf_bytes({"general.alignment": 24}, {}), "expected a power of two"),
        (gguf_bytes({"general.alignment": "32"}, {}), "expected a power of two"),
        (gguf_bytes({"general.alignment": 2**31}, {"one": ONE}), "cut short"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)  # fmt: skip
def test_damaged_values(tmp_path, data, says):
    refused(tmp_path, data, says)


@pytest.mark.parametrize(
    ("rows", "says"),
    [
        ({"t": ONE, "t\0again": ONE}, "'t' stands twice"),
        ({"t": ONE._replace(kind=12)}, "tensor t is of type Q4_K; expected one of F32, F16"),
        ({"t": ONE._replace(kind=77)}, "an unknown one, 77"),
        ({"t": ONE._replace(shape=())}, "0 axes"),
        ({"t": ONE._replace(shape=(1,) * 5)}, "5 axes"),
        ({"t": ONE._replace(shape=(0, 4))}, "has the shape (0, 4)"),
        ({"t": ONE._replace(shape=(2**32, 2**32, 2**32))}, "in a file of"),
        ({"t": ONE._replace(shape=(2**62, 4))}, "73,786,976,294,838,206,464 bytes"),
        ({"t": ONE._replace(shape=(33,), kind="Q8_0")}, "a multiple of 32 numbers"),
        ({"t": ONE._replace(shape=(2, 16), kind="Q4_0")}, "a multiple of 32 numbers"),
        ({"t": ONE._replace(start=2**64 - 32)}, "after a hole"),
        ({"t": ONE._replace(start=32)}, "tensor t begins at 32, after a hole; expected 0"),
        ({"t": ONE, "u": ONE._replace(start=0)}, "on another tensor; expected 32"),
        ({"t": ONE, "u": ONE._replace(start=16)}, "tensor u begins at 16, misaligned"),
        ({"t": ONE, "u": ONE._replace(start=96)}, "begins at 96, after a hole; expected 32"),
        ({"t": ONE._replace(shape=(24,))}, "cut short"),
        ({"t": ONE._replace(name=b"\xfe")}, "not UTF-8"),
        ({"t": ONE._replace(name="x" * 2000)}, "expected at most 1,024"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)  # fmt: skip
def test_damaged_tables(tmp_path, rows, says):
    refused(tmp_path, gguf_bytes({}, rows), says)


def test_cut_short_anywhere(tmp_path):
    """All prefixes but those that only miss padding."""
    whole = len(RIGHT) - 16
    for length in range(whole):
        refused(tmp_path, RIGHT[:length])
    opened(tmp_path, RIGHT[:whole]).close()


def test_no_file(tmp_path):
    with pytest.raises(CheckpointError, match="no such file"):
        GGUF(tmp_path / "nothing.gguf")
    with pytest.raises(CheckpointError, match="is a folder"):
        GGUF(tmp_path)


def test_too_many_strings(tmp_path, monkeypatch):
    monkeypatch.setattr("scratchgrad.interop.gguf.reading.MAX_STRINGS", 3)
    refused(tmp_path, gguf_bytes({"a": ["x"] * 2, "b": ["x"] * 2}, {}), "more than 3 strings")


def test_an_array_of_another_type(tmp_path):
    with opened(tmp_path, RIGHT) as file:
        with pytest.raises(CheckpointError, match=r"a\.b: expected an array of strings"):
            list(file.strings("a.b"))
        with pytest.raises(
            CheckpointError, match="nope: expected an array of numbers; got nothing"
        ):
            file.numbers("nope")


def test_hostile_numbers_take_no_memory(tmp_path):
    """A megabyte of file never becomes more than a few."""
    filler = bytes(1 << 20)
    hostile = [
        header(2**40, 2**40, filler),
        header(0, 1, entry("a", Raw(struct.pack("<IQ", 8, 2**40))) + filler),
        header(0, 1, entry("a", Raw(struct.pack("<IIQ", 9, 4, 2**40))) + filler),
        header(0, 1, entry("a", Raw(struct.pack("<IIQ", 9, 8, 100_000))) + filler),
        gguf_bytes({}, {"t": ONE._replace(shape=(2**20, 2**20))}) + filler,
    ]
    for data in hostile:
        path = tmp_path / "model.gguf"
        path.write_bytes(data)
        tracemalloc.start()
        with contextlib.suppress(CheckpointError):
            GGUF(path).close()
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert peak < 3 << 20


def test_reading_takes_the_tensor_and_a_megabyte(tmp_path):
    numbers = 1 << 21
    data = np.zeros(numbers // 32 * 18, np.uint8).tobytes()
    with opened(tmp_path, gguf_bytes({}, {"t": Row((numbers,), data, "Q4_0")})) as file:
        tracemalloc.start()
        file.read("t")
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    assert peak < 4 * numbers + (2 << 20)


@given(st.data())
def test_flipped_bytes_are_refused_or_read(tmp_path_factory, data):
    """Nothing but CheckpointError comes of any change."""
    changed = bytearray(RIGHT)
    for _ in range(data.draw(st.integers(1, 4))):
        changed[data.draw(st.integers(0, len(RIGHT) - 1))] = data.draw(st.integers(0, 255))
    path = tmp_path_factory.mktemp("flipped") / "model.gguf"
    path.write_bytes(changed)
    try:
        with GGUF(path) as file:
            for name in file.tensors:
                file.read(name)
            for name, value in file.values.items():
                if isinstance(value, Array) and value.kind == 8:
                    list(file.strings(name))
    except CheckpointError:
        pass


# ---- blocks

WORKED = {  # type: bytes, some places in it, and the numbers there, computed by hand
    "F32": ("000020c0", {0: -2.5}),
    "F16": ("00c1", {0: -2.5}),
    "BF16": ("20c0", {0: -2.5}),
    # d = 0x3555 = 1365/4096
    "Q8_0": ("5535" + "01" + "80" + "7f" * 30, {0: 1365 / 4096, 1: -128 * 1365 / 4096}),
    # d = -0.25; the bytes are 0x3c: 12 below, 3 above
    "Q4_0": ("00b4" + "3c" * 16, {0: -0.25 * 4, 15: -0.25 * 4, 16: -0.25 * -5, 31: -0.25 * -5}),
    # d = 2, m = 0.5
    "Q4_1": ("0040" + "0038" + "3c" * 16, {0: 24.5, 15: 24.5, 16: 6.5, 31: 6.5}),
}  # fmt: skip


@pytest.mark.parametrize("kind", WORKED)
def test_blocks_worked_by_hand(kind):
    block = next(block for block in BLOCKS.values() if block.name == kind)
    data, expected = WORKED[kind]
    blocks = np.frombuffer(bytes.fromhex(data), np.uint8).reshape(1, block.nbytes)
    out = np.empty((1, block.numbers), np.float32)
    block.dequantise(blocks, out)
    assert {place: out[0, place] for place in expected} == expected


@pytest.mark.parametrize("kind", ["Q4_0", "Q4_1"])
def test_every_half_byte_has_its_place(kind, rng):
    """Number i of a block changes with half byte i alone."""
    block = next(block for block in BLOCKS.values() if block.name == kind)
    first = block.nbytes - 16
    for place in range(32):
        blocks = np.zeros((2, block.nbytes), np.uint8)
        blocks[:, :2] = [0x00, 0x3C]
        blocks[1, first + place % 16] = 0x01 if place < 16 else 0x10
        out = np.empty((2, 32), np.float32)
        block.dequantise(blocks, out)
        assert np.flatnonzero(out[1] - out[0]).tolist() == [place]
