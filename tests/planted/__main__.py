"""``python -m tests.planted [NAME …]``: plant these bugs, or all, and print what caught each."""

import argparse
import os
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests.planted.catalogue import CATALOGUE
from tests.planted.runner import checks_by_file, try_bug, try_clean


def main(argv: list[str] | None = None) -> int:
    """Print the table; 1 if a bug survived or could not be tried, or a check fails without one."""
    parser = argparse.ArgumentParser(prog="python -m tests.planted", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help="bugs to plant (default: all)")
    names = parser.parse_args(argv).names
    unknown = set(names) - {bug.name for bug in CATALOGUE}
    if unknown:
        parser.error(f"no such bug: {', '.join(sorted(unknown))}")
    bugs = [bug for bug in CATALOGUE if not names or bug.name in names]
    width = max(len(bug.name) for bug in bugs)
    bad = 0
    with tempfile.TemporaryDirectory() as name, ThreadPoolExecutor(os.cpu_count()) as pool:
        folder = Path(name)
        clean = [pool.submit(try_clean, checks, folder) for checks in checks_by_file(bugs)]
        tried = [pool.submit(try_bug, bug, folder) for bug in bugs]
        for future in clean:
            for verdict in future.result():
                if verdict.outcome != "passed":
                    print(f"without any bug: {verdict}", flush=True)
                    bad += 1
        for bug, future in zip(bugs, tried, strict=True):
            verdict = future.result()
            bad += verdict.outcome != "caught"
            check = ", ".join(bug.checks)
            line = f"{bug.name:{width}}  {verdict.outcome:8}  {verdict.seconds:5.1f} s  {check}"
            print(line if verdict.outcome == "caught" else f"{line}\n    {verdict.detail}")
            sys.stdout.flush()
    print(f"{len(bugs)} bugs planted, {bad} not as they should be")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
