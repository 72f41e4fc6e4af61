"""A pytest plugin for the process that a check runs in: it writes down what happened.

The exit code alone does not tell a test that failed from a file that could not be imported, nor
which package was imported; the runner judges by this report.
"""

import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

FILE = "PLANTED_REPORT"  # the environment variable that says where to write

_collection: list[str] = []
_phases: list[dict[str, str]] = []


def pytest_collectreport(report: pytest.CollectReport) -> None:
    if report.failed:
        _collection.append(f"{report.nodeid}: {_last_line(report.longreprtext)}")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[Any]
) -> Iterator[pytest.TestReport]:
    report = yield
    _phases.append(
        {
            "test": report.nodeid,
            "when": report.when,
            "outcome": report.outcome,
            "error": call.excinfo.typename if call.excinfo else "",
            "message": call.excinfo.exconly() if call.excinfo else "",
        }
    )
    return report


def pytest_sessionfinish(session: pytest.Session) -> None:
    package = sys.modules.get("scratchgrad")
    body = {
        "package": str(getattr(package, "__file__", "")),
        "collection": _collection,
        "phases": _phases,
    }
    Path(os.environ[FILE]).write_text(json.dumps(body), encoding="utf-8")


def _last_line(text: str) -> str:
    lines = text.strip().splitlines()
    return lines[-1].strip() if lines else ""
