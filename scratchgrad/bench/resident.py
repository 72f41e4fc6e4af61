"""The most memory a process ever held. NumPy-free, so that a rival's process can ask too."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
from typing import Any

from scratchgrad.errors import ScratchgradError


def peak_bytes() -> int | None:
    """The peak of the resident set in bytes, or None where the system does not say.

    On Linux it is read from /proc: getrusage inherits the peak of the process that started this
    one, which may have been larger.
    """
    try:
        with open("/proc/self/status", encoding="ascii", errors="replace") as lines:
            for line in lines:
                if line.startswith("VmHWM:"):
                    return int(line.split()[1]) * 1024
    except OSError:
        pass
    try:
        import resource
    except ImportError:  # Windows
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def forget_peak() -> None:
    """Let the peak begin anew from what is held now, where the system can do that (Linux)."""
    with contextlib.suppress(OSError), open("/proc/self/clear_refs", "w", encoding="ascii") as file:
        file.write("5")


def answer_of(module: str, *arguments: object, what: str) -> dict[str, Any]:
    """What a program of this package prints, as JSON, from a process of its own.

    Raises
    ------
    ScratchgradError
        It failed, as it does where memory ends; ``what`` says in a few words what it measures.
    """
    command = [sys.executable, "-m", module, *map(str, arguments)]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    if result.returncode:
        last = (result.stderr.strip().splitlines() or [f"exit code {result.returncode}"])[-1]
        raise ScratchgradError(f"{what} could not be measured: {last}")
    answer: dict[str, Any] = json.loads(result.stdout)
    return answer
