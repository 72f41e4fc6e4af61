"""What to say of a text with a special token in it."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from scratchgrad.errors import DataError


@contextlib.contextmanager
def advising(advice: str) -> Iterator[None]:
    """Within the block, let a refusal of a special token advise an option, not an argument."""
    try:
        yield
    except DataError as error:
        refusal, argument, _ = str(error).partition("; pass allowed_special")
        if not argument:
            raise
        raise DataError(f"{refusal}; {advice}") from None
