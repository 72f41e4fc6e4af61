"""What a process does that is born to run one check: it becomes one that started in the copy."""

import os
import sys
from collections.abc import Mapping, Sequence


def run_pytest(
    arguments: Sequence[str], place: str, environment: Mapping[str, str], log: str
) -> None:
    """Run pytest in the folder, with this environment, and end with its exit code.

    Of the modules that were imported before, those stay that are no concern of a check. Output goes
    to the file ``log``, whatever writes it.
    """
    with open(log, "wb") as output, open(os.devnull, "rb") as nothing:
        os.dup2(nothing.fileno(), 0)
        os.dup2(output.fileno(), 1)
        os.dup2(output.fileno(), 2)
    os.chdir(place)
    os.environ.clear()
    os.environ.update(environment)
    sys.path[:] = [place, *(path for path in sys.path if path not in ("", place))]
    for name in [n for n in sys.modules if n.partition(".")[0] in ("tests", "scratchgrad")]:
        del sys.modules[name]
    sys.dont_write_bytecode = True

    import numba
    import pytest

    numba.core.config.reload_config()  # NUMBA_DISABLE_JIT, which it read when it was imported
    sys.exit(pytest.main(list(arguments)))
