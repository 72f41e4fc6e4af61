"""The texts that an action reads, held to the files that it writes."""

from __future__ import annotations

from collections.abc import Sequence
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
    """Refuse a source that is not there, before any work is done."""
    if texts.count("-") > 1:
        raise ConfigError("stdin can be read once; give - only once")
    for text in texts:
        if text != "-" and not Path(text).exists():
            raise DataError(f"no such text file or folder: {text}; check the spelling")
