"""Both sides of `scratchgrad bench --vs torch` do the same work: in small, and a whole step."""

from collections.abc import Iterator
from typing import Any

import pytest

from scratchgrad.bench import versus

SMALL = {
    "matmul": {"form": "NT", "shape": [5, 6, 7], "dtype": "float64"},
    "attention": {"shape": [2, 3, 9, 4]},
    "cross_entropy": {"shape": [5, 11]},
    "step": {"preset": "char"},
    "adamw": {"preset": "char"},
}


@pytest.fixture(scope="module")
def sides() -> Iterator[tuple[versus.Side, versus.Side]]:
    with versus.our_side(2) as ours, versus.rival_side("torch", 2) as rival:
        assert rival.about.startswith("PyTorch")
        yield ours, rival


def works() -> list[dict[str, Any]]:
    found = [{"kind": kind, **sizes} for kind, sizes in SMALL.items()]
    names = [work["name"] for work in versus.works("torch", (), ()) if work["kind"] == "rows"]
    return found + [{"kind": "rows", "name": name, "shape": [6, 8]} for name in names]


@pytest.mark.parametrize("work", works(), ids=lambda work: work.get("name", work["kind"]))
def test_the_results_agree(sides: tuple[versus.Side, versus.Side], work: dict[str, Any]) -> None:
    named = {"part": "p", "label": "l", "seconds": 0.001, **work}
    compared = versus.compare(*sides, named, rounds=1, pause=0)
    assert compared.agree
    assert all(seconds > 0 for way in compared.rivals.values() for seconds in way)


def test_nothing_is_left_out() -> None:
    """Every kind of work that is compared with PyTorch is in the list above."""
    kinds = {work["kind"] for work in versus.works("torch", (), ("char",))}
    assert kinds <= {work["kind"] for work in works()}
