"""The bar for work in stages."""

import io
import sys

from scratchgrad.cli.stages import stages
from scratchgrad.kernels import jit


class Screen(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self):
        return True


def screen_of(monkeypatch):
    """Put a screen in the place of stderr; not in a fixture, for pytest has its own there then."""
    stream = Screen()
    monkeypatch.setattr(sys, "stderr", stream)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "100")
    return stream


def test_a_bar_for_each_stage(monkeypatch):
    screen = screen_of(monkeypatch)
    with stages() as progress:
        progress("counting", 0, None)
        progress("counting", 5_000_000, None)
        progress("merging", 10, 1000)
        progress("merging", 1000, 1000)
    shown = screen.getvalue()
    assert "5,000,000 bytes" in shown
    assert "1,000 merges" in shown


def test_a_bar_says_why_it_stands_still(monkeypatch):
    screen = screen_of(monkeypatch)
    with stages() as progress:
        (compiling,) = jit._listeners
        compiling("merge")  # before any stage: nothing to show it on
        assert screen.getvalue() == ""
        progress("merging", 1, 10)
        compiling("merge")
    assert "merging (compiling, first time only)" in screen.getvalue()


def test_no_bar_where_nobody_watches(monkeypatch):
    screen_of(monkeypatch)
    with stages(quiet=True) as progress:
        assert progress is None
    monkeypatch.setenv("TERM", "dumb")
    with stages() as progress:
        assert progress is None
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    with stages() as progress:
        assert progress is None
