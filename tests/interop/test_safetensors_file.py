"""The format by rule: what is whole is read, and whatever breaks a rule is refused, in one line."""

import itertools
import json
import os
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.numpy
from hypothesis import given
from hypothesis import strategies as st

from scratchgrad.errors import CheckpointError, DtypeError
from scratchgrad.interop.dtypes import float32_to_bfloat16, float32_to_float16
from scratchgrad.interop.safetensors_file import SafetensorsFile, write_safetensors

F32 = np.float32


def content(header: Any, data: bytes = b"", length: int | None = None) -> bytes:
    """A file of this header, as JSON or as it stands, and these bytes after it."""
    raw = header if isinstance(header, bytes) else json.dumps(header).encode()
    return (len(raw) if length is None else length).to_bytes(8, "little") + raw + data


def entry(dtype: str, shape: list[int], start: int, stop: int) -> dict[str, Any]:
    return {"dtype": dtype, "shape": shape, "data_offsets": [start, stop]}


def written(path: Path, raw: bytes) -> Path:
    path.write_bytes(raw)
    return path


def refused(path: Path) -> str:
    """The message, which names the file and is one line of a length that can be read."""
    with pytest.raises(CheckpointError) as caught, SafetensorsFile(path):
        pass
    message = str(caught.value)
    assert str(path)[:60] in message
    assert "\n" not in message
    assert len(message) < 1000
    return message


# ---- what is whole


def tensors(rng: np.random.Generator) -> dict[str, np.ndarray]:
    return {
        "matrix": rng.standard_normal((3, 5)).astype(F32),
        "double": rng.standard_normal((2, 2, 2)),
        "scalar": np.array(2.5, dtype=F32),
        "empty": np.zeros((0, 4), dtype=F32),
        "naïve – name": np.array([np.nan, np.inf, -0.0], dtype=F32),
    }


def test_what_we_write_the_library_reads(tmp_path: Path, rng: np.random.Generator) -> None:
    ours = tensors(rng)
    write_safetensors(tmp_path / "a", ours, {"format": "pt"})
    theirs = safetensors.numpy.load_file(tmp_path / "a")
    assert theirs.keys() == ours.keys()
    for name, array in ours.items():
        assert theirs[name].dtype == array.dtype
        np.testing.assert_array_equal(theirs[name], array)
    assert [p.name for p in tmp_path.iterdir()] == ["a"]


def test_what_the_library_writes_we_read(tmp_path: Path, rng: np.random.Generator) -> None:
    theirs = tensors(rng)
    half = rng.standard_normal((4, 4)).astype(F32)
    safetensors.numpy.save_file(
        theirs | {"half": half.astype(np.float16), "ids": np.arange(3)}, tmp_path / "a"
    )
    with SafetensorsFile(tmp_path / "a") as file:
        assert file.entries.keys() == theirs.keys() | {"half", "ids"}
        for name, array in theirs.items():
            found = file.read(name, array.dtype)
            assert found.dtype == array.dtype
            np.testing.assert_array_equal(found, array)
        np.testing.assert_array_equal(file.read("half"), half.astype(np.float16).astype(F32))
        with pytest.raises(CheckpointError, match="'ids' holds I64; expected one of F32"):
            file.read("ids")
        with pytest.raises(CheckpointError, match="has no tensor 'idz'"):
            file.read("idz")


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_every_float_becomes_what_is_asked_for(tmp_path: Path, dtype: Any) -> None:
    """More numbers than are widened at once."""
    numbers = np.linspace(-3, 3, 700_001, dtype=F32)
    bf16, f16 = float32_to_bfloat16(numbers), float32_to_float16(numbers)
    raw = {"BF16": bf16.tobytes(), "F16": f16.tobytes(), "F32": numbers.tobytes()}
    raw["F64"] = (numbers.astype(np.float64) / 3).tobytes()
    ends = [0, *itertools.accumulate(len(part) for part in raw.values())]
    places = zip(raw, itertools.pairwise(ends), strict=True)
    header = {kind: entry(kind, [len(numbers)], *place) for kind, place in places}
    path = written(tmp_path / "a", content(header, b"".join(raw.values())))
    expected = {
        "BF16": (bf16.astype(np.uint32) << 16).view(F32),
        "F16": numbers.astype(np.float16),
        "F32": numbers,
        "F64": numbers.astype(np.float64) / 3,
    }
    with SafetensorsFile(path) as file:
        for kind, array in expected.items():
            found = file.read(kind, dtype)
            assert found.dtype == dtype
            np.testing.assert_array_equal(found, array.astype(dtype))


def test_a_header_in_another_order_and_with_spaces(tmp_path: Path) -> None:
    header = {
        "b": entry("F32", [1], 4, 8),
        "z": entry("F32", [0], 4, 4),
        "a": entry("F32", [1], 0, 4),
    }
    raw = json.dumps(header).encode() + b"     "
    data = np.array([1, 2], dtype="<f4").tobytes()
    with SafetensorsFile(written(tmp_path / "a", content(raw, data))) as file:
        assert list(file.entries) == ["a", "z", "b"]
        assert (file.read("a"), file.read("b")) == (1, 2)


def test_no_tensors_at_all(tmp_path: Path) -> None:
    write_safetensors(tmp_path / "a", {})
    with SafetensorsFile(tmp_path / "a") as file:
        assert file.entries == {}
        assert file.metadata == {}


def test_what_cannot_be_written(tmp_path: Path) -> None:
    with pytest.raises(DtypeError, match="ids is int64; expected float32"):
        write_safetensors(tmp_path / "a", {"ids": np.arange(3)})
    with pytest.raises(CheckpointError, match="'x' stands twice"):
        write_safetensors(tmp_path / "a", [("x", np.zeros(1)), ("x", np.zeros(1))])
    assert not list(tmp_path.iterdir())


def test_a_disk_that_fails_leaves_the_former_file(tmp_path: Path, monkeypatch: Any) -> None:
    write_safetensors(tmp_path / "a", {"x": np.zeros(1)})
    before = (tmp_path / "a").read_bytes()

    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        write_safetensors(tmp_path / "a", {"x": np.ones(1)})
    assert (tmp_path / "a").read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["a"]


# ---- what breaks a rule

HEADERS = {
    "a hole": ({"a": entry("F32", [1], 0, 4), "b": entry("F32", [1], 8, 12)}, 12, "'b' follows a"),
    "a hole before all": ({"a": entry("F32", [1], 4, 8)}, 8, "'a' follows a hole"),
    "an overlap": ({"a": entry("F32", [2], 0, 8), "b": entry("F32", [1], 4, 8)}, 8, "'b' overlaps"),
    "one place twice": ({"a": entry("F32", [1], 0, 4), "b": entry("F32", [1], 0, 4)}, 4, "overla"),
    "bytes after the last": ({"a": entry("F32", [1], 0, 4)}, 5, "goes on after its last tensor"),
    "too few bytes": ({"a": entry("F32", [2], 0, 8)}, 7, "is cut short: expected"),
    "another size": ({"a": entry("F32", [2], 0, 4)}, 4, "has 8 bytes; data_offsets say 4"),
    "another dtype": ({"a": entry("F64", [1], 0, 4)}, 4, "has 8 bytes; data_offsets say 4"),
    "an unknown dtype": ({"a": entry("F31", [1], 0, 4)}, 4, "expected a dtype of"),
    "no dtype": ({"a": {"shape": [1], "data_offsets": [0, 4]}}, 4, "expected data_offsets, dtype"),
    "a key more": ({"a": entry("F32", [1], 0, 4) | {"x": 1}}, 4, "expected data_offsets, dtype"),
    "a negative size": ({"a": entry("F32", [-1], 0, 4)}, 4, "expected a shape"),
    "a fraction as size": ({"a": entry("F32", [1.0], 0, 4)}, 4, "expected a shape"),  # type: ignore
    "true as size": ({"a": entry("F32", [True], 0, 4)}, 4, "expected a shape"),
    "a shape that is none": ({"a": {**entry("F32", [], 0, 4), "shape": 1}}, 4, "expected a shape"),
    "too many axes": ({"a": entry("F32", [1] * 33, 0, 4)}, 4, "expected a shape"),
    "negative offsets": ({"a": entry("F32", [1], -4, 0)}, 4, "expected data_offsets to be two"),
    "offsets the wrong way": ({"a": entry("F32", [1], 4, 0)}, 4, "the smaller one first"),
    "three offsets": ({"a": {**entry("F32", [1], 0, 4), "data_offsets": [0, 4, 4]}}, 4, "be two"),
    "an overflow": ({"a": entry("F32", [2**62, 4], 0, 0)}, 0, "too large for any memory"),
    "one that an empty axis hides": ({"a": entry("F32", [0, 2**62, 4], 0, 0)}, 0, "too large for"),
    "a size beyond 64 bits": ({"a": entry("F32", [2**64], 0, 0)}, 0, "expected a shape"),
    "offsets beyond the file": ({"a": entry("F32", [2**40], 0, 2**42)}, 4, "is cut short"),
    "a tensor that is none": ({"a": [1, 2]}, 0, "expected data_offsets, dtype"),
    "metadata that is no text": ({"__metadata__": {"a": 1}}, 0, "expected __metadata__"),
    "metadata that is no object": ({"__metadata__": "a"}, 0, "expected __metadata__"),
    "a name of a megabyte": ({"x" * (1 << 20): entry("F32", [1], 0, 4)}, 4, "more than 1024"),
    "half a surrogate": (rb'{"\ud800": {}}', 0, "no UTF-8"),
    "a name twice": (b'{"a": {}, "a": {}}', 0, "the name 'a' stands twice"),
    "a key twice": (
        b'{"a": {"dtype": "F32", "dtype": "F32", "shape": [1], "data_offsets": [0, 4]}}',
        4,
        "the name 'dtype' stands twice",
    ),
    "a list": (b"[]", 0, "begins with b'['"),
    "spaces first": (b" {}", 0, "begins with b' '"),
    "an empty header": (b"", 0, "begins with b''"),
    "no JSON": (b"{", 0, "no valid JSON"),
    "two objects": (b"{}{}", 0, "no valid JSON"),
    "no UTF-8": (b'{"\xff": 1}', 0, "not UTF-8"),
    "NaN": (b'{"a": NaN}', 0, "NaN is no number of JSON"),
    "a number of many digits": (b'{"a": ' + b"9" * 100_000 + b"}", 0, "100,000 digits"),
    "deep JSON": (b'{"a": ' + b"[" * 200_000 + b"]" * 200_000 + b"}", 0, "nested too deeply"),
    "a million values": (b'{"a": [' + b"[]," * 1_100_000 + b"[]]}", 0, "too many to be read"),
}  # fmt: skip


@pytest.mark.parametrize("name", HEADERS)
def test_a_rule_that_is_broken(tmp_path: Path, name: str) -> None:
    header, size, expected = HEADERS[name]
    path = written(tmp_path / "a.safetensors", content(header, bytes(size)))
    assert expected in refused(path)


@pytest.mark.parametrize("length", [100_000_001, 4 << 30, 2**63, 2**64 - 1])
def test_a_header_of_gigabytes(tmp_path: Path, length: int) -> None:
    path = written(tmp_path / "a", content(b"{}", bytes(100), length=length))
    assert "expected at most 100,000,000" in refused(path)


def test_a_header_longer_than_the_file(tmp_path: Path) -> None:
    path = written(tmp_path / "a", content(b"{}", bytes(100), length=103))
    assert "its header should have 103 bytes; the file has 102" in refused(path)


def test_cut_short_at_every_place(tmp_path: Path, rng: np.random.Generator) -> None:
    write_safetensors(tmp_path / "a", tensors(rng))
    whole = (tmp_path / "a").read_bytes()
    for size in range(len(whole)):
        refused(written(tmp_path / "b", whole[:size]))


def test_files_that_are_none(tmp_path: Path) -> None:
    assert "no such file" in refused(tmp_path / "nothing")
    assert "is a folder" in refused(tmp_path)
    assert "it has 0 bytes" in refused(written(tmp_path / "empty", b""))
    with pytest.raises(CheckpointError, match="cannot read"):
        SafetensorsFile("a\0b")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes here")
def test_a_pipe_behind_a_link(tmp_path: Path) -> None:
    """To open one would wait for ever."""
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "link").symlink_to(tmp_path / "pipe")
    assert "no ordinary file; expected a file of weights" in refused(tmp_path / "link")


def test_a_file_that_becomes_shorter_meanwhile(tmp_path: Path) -> None:
    write_safetensors(tmp_path / "a", {"x": np.zeros(100_000)})
    with SafetensorsFile(tmp_path / "a") as file:
        os.truncate(tmp_path / "a", 5000)
        with pytest.raises(CheckpointError, match="became shorter"):
            file.read("x", np.float64)


WHOLE = {"a": np.arange(6, dtype=F32).reshape(2, 3), "b": np.ones(4), "c": np.zeros(0, dtype=F32)}


@given(data=st.data())
def test_one_byte_changed(tmp_path_factory: Any, data: st.DataObject) -> None:
    """Refused, or a file of the same bytes under other names or shapes; nothing else."""
    folder = tmp_path_factory.mktemp("flip")
    write_safetensors(folder / "a", WHOLE, {"format": "pt"})
    raw = bytearray((folder / "a").read_bytes())
    end = 8 + int.from_bytes(raw[:8], "little")
    place = data.draw(st.integers(0, end - 1))
    raw[place] = data.draw(st.integers(0, 255))
    path = written(folder / "a", bytes(raw))
    tracemalloc.start()
    try:
        with SafetensorsFile(path) as file:
            total = sum(found.stop - found.start for found in file.entries.values())
            assert total == len(raw) - 8 - int.from_bytes(raw[:8], "little")
            for name, found in file.entries.items():
                if found.dtype in ("F32", "F64"):
                    assert file.read(name).shape == found.shape
    except CheckpointError:
        pass
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 1 << 20


@given(raw=st.binary(max_size=200))
def test_anything_at_all(tmp_path_factory: Any, raw: bytes) -> None:
    path = tmp_path_factory.mktemp("any") / "a"
    refused(written(path, raw))
    if raw.strip() not in (b"", b"}"):  # with which it is whole, and holds nothing
        refused(written(path, content(b"{" + raw)))


def peak_of(action: Any) -> int:
    tracemalloc.start()
    try:
        action()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("kind", ["BF16", "F16", "F32", "F64"])
def test_memory_is_the_tensor_and_a_few_megabytes(tmp_path: Path, kind: str) -> None:
    width, count = {"BF16": 2, "F16": 2, "F32": 4, "F64": 8}[kind], 8 << 20
    header = {"a": entry(kind, [count], 0, count * width)}
    path = tmp_path / "a"
    with open(path, "wb") as file:
        file.write(content(header))
        file.truncate(file.tell() + count * width)
    with SafetensorsFile(path) as file:
        assert peak_of(lambda: file.read("a")) < 4 * count + (6 << 20)


def test_a_header_takes_little_memory(tmp_path: Path) -> None:
    """Less than two hundred bytes for each that the most wasteful of files has."""
    raw = b'{"a": [' + b"[]," * 400_000 + b"[]]}"
    path = written(tmp_path / "a", content(raw))
    assert peak_of(lambda: refused(path)) < 100 << 20
