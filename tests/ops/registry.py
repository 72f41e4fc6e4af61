"""The table of operations, as the suite draws from it."""

from hypothesis import strategies as st

from scratchgrad.cases import OPERATIONS, Call
from scratchgrad.testing import drawn

TABLE = OPERATIONS


def calls_of(name: str) -> st.SearchStrategy[Call]:
    """Calls of one operation."""
    return drawn(TABLE[name].calls)
