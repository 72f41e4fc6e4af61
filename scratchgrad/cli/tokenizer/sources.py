"""The texts that an action reads, held to the files that it writes."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from scratchgrad.cli.output import check_output
from scratchgrad.errors import ConfigError, DataError


def check_out(out: str | None, sources: Sequence[str], option: str = "--out") -> None:
    """Refuse what cannot be written, and what is read itself; a source - is stdin, and no file."""
    check_output(option, out)
    read = [Path(source).resolve() for source in sources if source != "-"]
    if out is not None and Path(out).resolve() in read:
        raise ConfigError(f"{option}: {out} is read too, and would be lost; name another file")


def check_sources(texts: list[str]) -> None:
    """Refuse a source that cannot be read, before any work is done."""
    if texts.count("-") > 1:
        raise ConfigError("stdin can be read once; give - only once")
    for text in texts:
        path = Path(text)
        if text == "-" or path.is_file() or path.is_dir() or path.is_fifo():
            continue
        if not path.exists():
            raise DataError(f"no such text file or folder: {text}; check the spelling")
        raise DataError(f"{text} is a device, and may never end; pipe its text in, and give -")


def is_stream(text: str) -> bool:
    """Whether a source is stdin or a pipe, which is read once, and whole."""
    return text == "-" or Path(text).is_fifo()


def read_stream(text: str) -> bytes:
    """All that stdin or a pipe has."""
    return sys.stdin.buffer.read() if text == "-" else Path(text).read_bytes()


def read_source(text: str) -> Iterator[tuple[str, bytes]]:
    """The names and contents of the files of a source, which may be a folder or a stream."""
    from scratchgrad.tokenizer.corpus import files_in

    if is_stream(text):
        yield text, read_stream(text)
        return
    for file in files_in(Path(text)):
        yield str(file), file.read_bytes()
