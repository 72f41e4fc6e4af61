"""Commands as a user types them, for the tests of all of them."""

import subprocess
import sys

from scratchgrad.cli import main
from tests.train.runs import SMALL

# The options of a small model.
NUMBERS = [w for k, v in SMALL.items() for w in ("--" + k.replace("_", "-"), str(v))]


def files_below(folder):
    """Every file and its bytes: what a command that fails must leave as it was."""
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def refused(capsys, *argv):
    """Run a command that must fail, and return its one line of complaint."""
    code = main([str(a) for a in argv])
    captured = capsys.readouterr()
    assert code == 2
    assert captured.err.count("\n") == 1, captured.err
    assert captured.err.startswith(f"scratchgrad {argv[0]}: error: ")
    assert "Traceback" not in captured.err
    return captured.err


def command(*argv, **options):
    """Run a command in a process of its own."""
    return subprocess.run(
        [sys.executable, "-m", "scratchgrad", *map(str, argv)],
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=120,
        **options,
    )
