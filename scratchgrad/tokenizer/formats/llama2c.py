"""llama2.c's tokenizer.bin: SentencePiece tokens with a score for each.

The file is an int32, the longest token's length, and then for each id a float32 score, an int32
length and the bytes, all little-endian. The ids 0, 1 and 2 are unknown, begin and end of text, and
the 256 after them are the bytes, spelled ``<0x00>`` to ``<0xFF>``.

llama2.c puts a space before the text, takes every character that has a token as that token and the
bytes of the others one by one, and then joins, again and again, the two neighbours that together
are the token of the highest score, the leftmost of equals. The byte tokens join nothing, because it
compares spellings.
"""

from __future__ import annotations

import struct

import numpy as np

from scratchgrad.data.untrusted import shorten
from scratchgrad.errors import DataError
from scratchgrad.tokenizer.formats.splits import every_split
from scratchgrad.tokenizer.reading import MAX_TOKEN_BYTES, PathLike, naming, read_bytes
from scratchgrad.tokenizer.vocabulary import Vocabulary

SPECIAL = ("<unk>", "<s>", "</s>")
FIRST_BYTE = len(SPECIAL)
FIRST_TOKEN = FIRST_BYTE + 256
_LOWEST_SCORE = -1e10  # llama2.c looks for a score above this one, and joins nothing else


def read(path: PathLike, vocab_size: int | None = None) -> Vocabulary:
    """Read a tokenizer.bin.

    Parameters
    ----------
    path : path
        The file.
    vocab_size : int, optional
        The number of tokens that the model expects. The file does not say how many it has; it has
        as many as stand in it.

    Returns
    -------
    Vocabulary
        With ``characters`` and ``prefix_space``, and a merge for every split of a token into two.
        Equal scores are equal ranks.

    Raises
    ------
    DataError
        The file is missing, cut short, or no such file; it has another number of tokens; a length
        or a score is none; a token stands twice.
    """
    raw = read_bytes(path)
    with naming(path):
        spellings, scores = _parse(raw)
        if vocab_size is not None and len(spellings) != vocab_size:
            raise DataError(f"expected {vocab_size} tokens; the file has {len(spellings)}")
        return _vocabulary(spellings, scores)


def _parse(raw: bytes) -> tuple[list[bytes], np.ndarray]:
    if len(raw) < 4:
        raise DataError(f"no tokenizer of llama2.c: {len(raw)} bytes, expected 4 or more")
    (longest,) = struct.unpack_from("<i", raw)
    if not 0 < longest <= MAX_TOKEN_BYTES:
        raise DataError(
            f"no tokenizer of llama2.c: its longest token has {longest} bytes; expected 1 to "
            f"{MAX_TOKEN_BYTES}"
        )
    spellings: list[bytes] = []
    scores: list[float] = []
    place, end = 4, len(raw)
    while place < end:
        if end - place < 8:
            raise DataError(f"the file ends inside token {len(spellings)}; it is cut short")
        score, length = struct.unpack_from("<fi", raw, place)
        place += 8
        if not 0 < length <= longest:
            raise DataError(
                f"token {len(spellings)} has {length} bytes; expected 1 to {longest}, the longest"
            )
        if length > end - place:
            raise DataError(f"the file ends inside token {len(spellings)}; it is cut short")
        if not np.isfinite(score):
            raise DataError(f"token {len(spellings)} has score {score}; expected a finite number")
        spellings.append(raw[place : place + length])
        scores.append(score)
        place += length
    return spellings, np.array(scores)


def _vocabulary(spellings: list[bytes], scores: np.ndarray) -> Vocabulary:
    if len(spellings) < FIRST_TOKEN:
        raise DataError(f"{len(spellings)} tokens; expected {FIRST_TOKEN} or more")
    for id_, name in enumerate(SPECIAL):
        # written with a newline on either side by llama2.c, for its own output
        if spellings[id_].strip() != name.encode():
            raise DataError(f"token {id_} is {shorten(spellings[id_])}; expected {name}")
    for byte in range(256):
        if spellings[FIRST_BYTE + byte] != b"<0x%02X>" % byte:
            raise DataError(
                f"token {FIRST_BYTE + byte} is {shorten(spellings[FIRST_BYTE + byte])}; "
                f"expected <0x{byte:02X}>"
            )
    ids: dict[bytes, int] = {}
    for id_, token in enumerate(spellings):
        # Two tokens of one spelling: which of them llama2.c's search finds is left to chance.
        if ids.setdefault(token, id_) != id_:
            raise DataError(f"ids {ids[token]} and {id_} are both the token {shorten(token)}")
    ordinary = dict(list(ids.items())[FIRST_TOKEN:])

    special = {name: id_ for id_, name in enumerate(SPECIAL)}
    tokens = [name.encode() for name in SPECIAL] + [bytes([byte]) for byte in range(256)]
    byte_ids = [ordinary.get(bytes([byte]), FIRST_BYTE + byte) for byte in range(256)]
    splits = every_split(ordinary)
    splits = splits[scores[splits[:, 2]] > _LOWEST_SCORE]
    # the highest score is rank 0
    _, ranks = np.unique(-scores[splits[:, 2]], return_inverse=True)
    return Vocabulary(
        tokens=(*tokens, *ordinary),
        merges=np.concatenate([splits, ranks.reshape(-1, 1)], axis=1),
        special_tokens=special,
        characters=True,
        prefix_space=True,
        byte_ids=np.array(byte_ids, dtype=np.int32),
    )
