"""The same bits on any number of threads, and the manners of the pool."""

import itertools
import threading
import time

import numba
import numpy as np
import pytest

from scratchgrad.errors import ConfigError
from scratchgrad.kernels import threads
from tests.kernels.cases import CASES


@pytest.fixture(autouse=True)
def _restore():
    before = threads.get_threads()
    yield
    threads.set_threads(before)


SIZES = {
    "attention": [5, 9, 203, 66, 33],
    "attention_backward": [5, 9, 203, 66, 33],
    "cross_entropy": [500, 300, 0, 0, 0],
    "cross_entropy_backward": [500, 300, 0, 0, 0],
    "adamw_step": [500, 300, 0, 0, 0],
    "matmul-2d": [300, 129, 150, 0, 0],
    "linear": [300, 129, 150, 0, 0],
    "column_sums": [500, 9, 300, 0, 0],
    "add_rows": [9, 500, 700, 0, 0],
}


@pytest.mark.skipif(numba.config.DISABLE_JIT, reason="interpreted kernels share no work")
@pytest.mark.parametrize("case", CASES, ids=str)
def test_bits_do_not_depend_on_threads(case):
    for seed in range(20):  # until one is large enough to be shared
        args = case.make(
            np.random.default_rng(seed), "float32", SIZES.get(str(case), [13, 300, 200, 70, 33])
        )
        case.run(case.module, args)  # the first call for a dtype compiles, on one thread
        if count_shared(lambda args=args: case.run(case.module, args)):
            break
    else:
        pytest.fail("no arguments large enough for this test to test anything")
    wanted = None
    for n in (1, 2, 3, 16):
        threads.set_threads(n)
        got = [np.asarray(g).tobytes() for g in case.run(case.module, args)]
        wanted = wanted or got
        assert got == wanted, n


def count_shared(run):
    seen = []
    original, threads._Job = threads._Job, lambda *a: seen.append(a) or original(*a)
    threads.set_threads(2)
    try:
        run()
    finally:
        threads._Job = original
    return seen


def test_every_unit_is_done_once_from_many_threads_at_once():
    threads.set_threads(4)
    counts = [np.zeros(1000, int) for _ in range(8)]

    def work(start, stop, count):
        for i in range(start, stop):
            count[i] += 1

    callers = [
        threading.Thread(target=lambda c=c: [threads.share(work, 1000, 4, (c,)) for _ in range(20)])
        for c in counts
    ]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join()
    assert all((c == 20).all() for c in counts)


def test_an_error_in_a_helper_reaches_the_caller():
    threads.set_threads(3)

    def work(start, stop):
        raise ZeroDivisionError

    for _ in range(20):
        with pytest.raises(ZeroDivisionError):
            threads.share(work, 100, 4, ())


@pytest.mark.parametrize("n", [0, -1, 1.5, "2"])
def test_a_number_of_threads_that_is_none(n):
    with pytest.raises(ConfigError, match="1 or more"):
        threads.set_threads(n)


@pytest.mark.parametrize(("n", "units"), [(1, 7), (4, 1)])
def test_one_thread_does_all_units_itself(n, units):
    threads.set_threads(n)
    calls = []
    threads.share(lambda *call: calls.append((*call, threading.get_ident())), units, 4, ("a",))
    assert calls == [(0, units, "a", threading.get_ident())]


def test_as_many_threads_as_there_are_cores_for_this_process(monkeypatch):
    allowed = {0: {2, 3, 5}, 1: {0}}  # by process; 0 is this one
    monkeypatch.setattr(threads.os, "sched_getaffinity", allowed.__getitem__, raising=False)
    assert threads._cores() == 3
    monkeypatch.delattr(threads.os, "sched_getaffinity")
    for count, expected in ((6, 6), (None, 1)):
        monkeypatch.setattr(threads.os, "cpu_count", lambda count=count: count)
        assert threads._cores() == expected


@pytest.mark.parametrize(
    ("units", "n", "size", "expected"),
    [
        (10, 2, 3, [(0, 3), (3, 6), (6, 9), (9, 10)]),
        (20, 2, 1, [(0, 5), (5, 8), (8, 11), (11, 13), *((i, i + 1) for i in range(13, 20))]),
        (20, 2, 2, [(0, 5), (5, 8), (8, 11), (11, 13), (13, 15), (15, 17), (17, 19), (19, 20)]),
        (3, 3, 1, [(0, 1), (1, 2), (2, 3)]),
        (5, 1, 5, [(0, 5)]),
    ],
)
def test_the_pieces_of_a_job(units, n, size, expected):
    calls = []
    job = threads._Job(lambda *call: calls.append(call), units, n, size, ())
    job.help()
    job.wait()
    assert calls == expected


class Stop(BaseException):
    """As KeyboardInterrupt: no Exception."""


def test_after_an_error_of_any_kind_no_further_piece_is_begun():
    calls = []

    def work(start, stop):
        calls.append(start)
        raise Stop

    job = threads._Job(work, 10, 1, 1, ())
    job.help()
    with pytest.raises(Stop):
        job.wait()
    assert calls == [0]


@pytest.fixture
def helpers(monkeypatch):
    """No helper yet, whatever ran before."""
    own = []
    monkeypatch.setattr(threads, "_helpers", own)
    return own


@pytest.mark.parametrize("n", [2, 3])
def test_all_threads_work_at_once_and_again(n, helpers):
    threads.set_threads(n)
    meeting = threading.Barrier(n, timeout=20)  # passes when n threads are within a piece
    for _ in range(3):
        threads.share(lambda start, stop: meeting.wait(), n, 1, ())
    assert len(helpers) == n - 1


def test_no_more_threads_than_wanted_though_more_are_there(helpers):
    seen = set()

    def work(start, stop):
        seen.add(threading.get_ident())
        time.sleep(0.002)

    threads.set_threads(5)
    threads.share(work, 40, 4, ())
    assert len(helpers) == 4
    seen.clear()
    threads.set_threads(2)
    threads.share(work, 40, 20, ())
    assert len(seen) <= 2
    own = [t for t in threading.enumerate() if t.name.startswith("scratchgrad-")]
    assert own
    assert all(t.daemon for t in own)  # or the program would not end


def test_some_pieces_for_each_thread():
    calls = []
    threads.set_threads(2)
    threads.share(lambda *call: calls.append(call), 100, 4, ())
    stops = [0, 25, 43, 57, 70, 83, 96, 100]
    assert sorted(calls) == list(itertools.pairwise(stops))


def test_the_caller_waits_for_the_last_piece_and_no_longer():
    begun, released = threading.Event(), threading.Event()

    def work(start, stop):
        begun.set()
        assert released.wait(20)

    job = threads._Job(work, 1, 1, 1, ())
    helper, caller = threading.Thread(target=job.help), threading.Thread(target=job.wait)
    helper.start()
    assert begun.wait(20)
    caller.start()
    time.sleep(0.05)
    assert caller.is_alive()
    released.set()
    helper.join(20)
    caller.join(5)
    assert not caller.is_alive()
