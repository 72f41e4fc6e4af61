"""What every reader of a tokenizer file needs: the bytes, the JSON, and ids that can be ids.

A tokenizer file may come from anywhere: see `scratchgrad.data.untrusted`.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from scratchgrad.data.untrusted import PathLike, open_file, parse_object, shorten
from scratchgrad.errors import DataError
from scratchgrad.tokenizer.checks import check_path

# The largest tokenizer.json in use, of 262,144 tokens, has 33 MB and 1.8 million values.
MAX_FILE_BYTES = 64 << 20
MAX_VALUES = 4_000_000
# The largest vocabularies in use have 2.6 MB of tokens, the longest of 128 or 256 bytes. Where
# every split of every token is looked up, the work grows with the square of the lengths.
MAX_TOKEN_BYTES = 1024
MAX_ALL_TOKENS_BYTES = 4 << 20


def read_bytes(path: PathLike) -> bytes:
    """Read a tokenizer file, if it is one file of a size that a tokenizer may have."""
    check_path(path, "path")
    file, size = open_file(path, DataError, "tokenizer file")
    with file:
        if size > MAX_FILE_BYTES:
            raise DataError(
                f"{path} has {size >> 20} MiB or more; a tokenizer file has at most "
                f"{MAX_FILE_BYTES >> 20} MiB"
            )
        try:
            raw = file.read(size + 1)
        except OSError as error:
            raise DataError(f"cannot read tokenizer file {path}: {error.strerror}") from None
    if len(raw) != size:
        raise DataError(f"{path} changed while it was read; try again")
    if not raw:
        raise DataError(f"{path} is empty; expected a tokenizer file")
    return raw


def read_text(path: PathLike) -> str:
    """Read a tokenizer file that must be UTF-8."""
    raw = read_bytes(path)
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError as error:
        raise DataError(
            f"{path} is not UTF-8: byte 0x{raw[error.start]:02x} at offset {error.start}"
        ) from None


def read_json(path: PathLike) -> dict[str, Any]:
    """Read a JSON object, in which no key stands twice."""
    text = read_text(path)
    try:
        return parse_object(text, MAX_VALUES)
    except ValueError as error:
        raise DataError(f"{path} is not a tokenizer: {error}") from None


@contextlib.contextmanager
def naming(path: PathLike) -> Iterator[None]:
    """Put the file's name before what a check inside has to say."""
    try:
        yield
    except DataError as error:
        raise DataError(f"{path}: {error}") from None
    except RecursionError:
        raise DataError(f"{path}: nested too deeply") from None


def id_limit(count: int) -> int:
    """The ids that ``count`` tokens may use: gaps are fair, memory by the claim is not."""
    return 10 * count + 1000


def check_id(id_: Any, token: object, limit: int) -> int:
    """Return an id from a file, if it is one. JSON's true is no 1, and 1.0 is no 1 either."""
    if type(id_) is not int:
        raise DataError(f"token {shorten(token)} has id {shorten(id_)}; expected a whole number")
    if not 0 <= id_ < limit:
        raise DataError(
            f"token {shorten(token)} has id {shorten(id_)}; expected 0 to {limit - 1}, which "
            f"leaves room for gaps"
        )
    return id_


def by_id(
    ordinary: Iterable[tuple[bytes, Any]], special_tokens: Mapping[str, Any], count: int
) -> list[bytes | None]:
    """Make the list of tokens from pairs of token and id.

    ``count`` is the number of tokens, which the ids are measured against before any place is made
    for them.
    """
    limit = id_limit(count + len(special_tokens))
    found: dict[int, bytes] = {}
    names = ((text.encode("utf-8", "surrogatepass"), id_) for text, id_ in special_tokens.items())
    for pairs in (ordinary, names):
        for token, id_ in pairs:
            if check_id(id_, token, limit) in found:
                raise DataError(
                    f"id {id_} belongs to both {shorten(found[id_])} and {shorten(token)}; every "
                    f"token must have an id of its own"
                )
            found[id_] = token
    tokens: list[bytes | None] = [None] * (max(found, default=-1) + 1)
    for id_, token in found.items():
        tokens[id_] = token
    return tokens


def check_lengths(tokens: Iterable[bytes]) -> None:
    """Refuse tokens so long that to look up every split of each would take forever."""
    total = 0
    for token in tokens:
        total += len(token)
        if len(token) > MAX_TOKEN_BYTES:
            raise DataError(
                f"token {shorten(token[:60])} has {len(token):,} bytes; expected at most "
                f"{MAX_TOKEN_BYTES:,}"
            )
        if total > MAX_ALL_TOKENS_BYTES:
            raise DataError(
                f"the tokens have more than {MAX_ALL_TOKENS_BYTES >> 20} MiB together; "
                f"too many for a tokenizer"
            )


def beside(path: PathLike, *names: str) -> Path | None:
    """The first of these files in the folder of ``path``."""
    folder = Path(path)
    folder = folder if folder.is_dir() else folder.parent
    return next((folder / name for name in names if (folder / name).is_file()), None)
