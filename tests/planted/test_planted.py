"""Every planted bug is caught by the check that is meant to catch it."""

import os
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor

import pytest

from tests.planted.bug import Bug
from tests.planted.catalogue import CATALOGUE
from tests.planted.runner import Verdict, checks_by_file, try_bug, try_clean

BUGS = {bug.name: bug for bug in CATALOGUE}


@pytest.fixture(scope="module")
def pool() -> Iterator[ThreadPoolExecutor]:
    executor = ThreadPoolExecutor(os.cpu_count())
    yield executor
    executor.shutdown(cancel_futures=True)


@pytest.fixture(scope="module")
def clean(
    pool: ThreadPoolExecutor, tmp_path_factory: pytest.TempPathFactory
) -> list[Future[list[Verdict]]]:
    folder = tmp_path_factory.mktemp("clean")
    return [pool.submit(try_clean, checks, folder) for checks in checks_by_file(CATALOGUE)]


@pytest.fixture(scope="module")
def tried(
    request: pytest.FixtureRequest,
    pool: ThreadPoolExecutor,
    tmp_path_factory: pytest.TempPathFactory,
) -> dict[str, Future[Verdict]]:
    """A verdict to come for each bug that this session asks for."""
    folder = tmp_path_factory.mktemp("planted")
    params = [item.callspec.params for item in request.session.items if hasattr(item, "callspec")]
    bugs = [p["bug"] for p in params if isinstance(p.get("bug"), Bug)]
    return {bug.name: pool.submit(try_bug, bug, folder) for bug in bugs}


def test_names_are_unique_and_every_bug_has_a_lesson() -> None:
    assert len(BUGS) == len(CATALOGUE)
    for bug in CATALOGUE:
        assert bug.name.isidentifier(), bug.name
        assert bug.lesson.endswith("."), bug.name
        assert bug.checks, bug.name


def test_every_check_passes_where_there_is_no_bug(clean: list[Future[list[Verdict]]]) -> None:
    """A check that fails anyhow would catch everything."""
    verdicts = [verdict for future in clean for verdict in future.result()]
    assert [str(v) for v in verdicts if v.outcome != "passed"] == []


@pytest.mark.parametrize("bug", CATALOGUE, ids=lambda bug: bug.name)
def test_it_is_caught(bug: Bug, tried: dict[str, Future[Verdict]]) -> None:
    verdict = tried[bug.name].result()
    assert verdict.outcome == "caught", str(verdict)
