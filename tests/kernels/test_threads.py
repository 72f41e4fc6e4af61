"""The same bits on any number of threads, and the manners of the pool."""

import itertools
import os
import threading
import time
import warnings

import numba
import numpy as np
import pytest

from scratchgrad.cases.kernels import CASES
from scratchgrad.errors import ConfigError
from scratchgrad.kernels import jit, threads
from scratchgrad.kernels.board import look, new_board
from scratchgrad.kernels.jit import kernel


@pytest.fixture(autouse=True)
def _restore():
    before = threads.get_threads()
    yield
    threads.set_threads(before)


SIZES = {
    "attention": [5, 9, 203, 66, 33],
    "attention_backward": [5, 9, 203, 66, 33],
    "qkv_attention": [5, 9, 203, 66, 33],
    "qkv_attention_backward": [5, 9, 203, 66, 33],
    "cross_entropy": [500, 300, 0, 0, 0],
    "cross_entropy_backward": [500, 300, 0, 0, 0],
    "cross_entropy_with_gradient": [500, 300, 0, 0, 0],
    "cross_entropy_in_place": [500, 300, 0, 0, 0],
    "adamw_step": [500, 300, 0, 0, 0],
    "matmul-2d": [300, 129, 150, 0, 0],
    "linear": [300, 129, 150, 0, 0],
    "linear_gelu-none": [300, 129, 150, 0, 0],
    "linear_gelu-tanh": [300, 129, 150, 0, 0],
    "matmul_gelu_backward-none": [300, 129, 150, 0, 0],
    "matmul_gelu_backward-tanh": [300, 129, 150, 0, 0],
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
    """How many calls of kernels had the board."""
    borrowed, original = [], threads.borrow
    threads.set_threads(2)
    threads.borrow = lambda serve: borrowed.append(original(serve)) or borrowed[-1]
    try:
        run()
    finally:
        threads.borrow = original
    return sum(borrowed)


@kernel()
def _count(start, stop, counts, rounds):
    for i in range(start, stop):
        total = 0.0
        for j in range(rounds):
            total += np.sqrt(total + j)
        counts[i] += 1 if total >= 0 else 0


@kernel()
def _who(start, stop, pieces):
    for i in range(start, stop):
        pieces[i, 0], pieces[i, 1] = start, stop


LARGE = jit.LARGE_WORK + 1
compiled_only = pytest.mark.skipif(numba.config.DISABLE_JIT, reason="nothing is shared")


def test_every_unit_is_done_once_from_many_threads_at_once():
    """Only one of the callers has the board, and the others do their work alone."""
    threads.set_threads(4)
    counts = [np.zeros(1000) for _ in range(8)]
    _count.part(0, 1, np.zeros(1), 1)
    callers = [
        threading.Thread(target=lambda c=c: [_count(1000, c, 20, work=LARGE) for _ in range(50)])
        for c in counts
    ]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join()
    assert all((c == 50).all() for c in counts)


@pytest.mark.parametrize("n", [1, 2, 3, 16])
@pytest.mark.parametrize("units", [0, 1, 2, 17, 500])
def test_every_unit_is_done_once(n, units):
    threads.set_threads(n)
    counts = np.zeros(units + 1)
    for _ in range(300):
        _count(units, counts, 5, work=LARGE)
    assert (counts[:units] == 300).all()
    assert counts[units] == 0


@pytest.mark.parametrize(
    "n", [0, -1, 1.5, "2", None, True, np.True_, threads.MOST + 1, 5000, 10**20]
)
def test_a_number_of_threads_that_is_none(n):
    before = threads.get_threads()
    with pytest.raises(
        ConfigError, match=f"^set_threads: expected .* from 1 to {threads.MOST}, got"
    ):
        threads.set_threads(n)
    assert threads.get_threads() == before


@pytest.mark.parametrize("n", [1, 2, np.int64(2), np.uint8(3), threads.MOST])
def test_a_number_of_threads(n):
    threads.set_threads(n)
    assert threads.get_threads() == n
    assert type(threads.get_threads()) is int


def test_as_many_threads_as_there_are_cores_for_this_process(monkeypatch):
    allowed = {0: {2, 3, 5}, 1: {0}}  # by process; 0 is this one
    monkeypatch.setattr(threads.os, "sched_getaffinity", allowed.__getitem__, raising=False)
    assert threads._cores() == 3
    monkeypatch.delattr(threads.os, "sched_getaffinity")
    for count, expected in ((6, 6), (None, 1)):
        monkeypatch.setattr(threads.os, "cpu_count", lambda count=count: count)
        assert threads._cores() == expected


@compiled_only
@pytest.mark.parametrize(
    ("units", "n", "work", "expected"),
    [
        (100, 2, LARGE, [*range(0, 100, 7), 100]),  # eight pieces for each, of 100/16 and up
        (100, 2, jit.SHARED_WORK, [0, 50, 100]),  # one for each
        (3, 16, LARGE, [0, 1, 2, 3]),
        (5, 1, LARGE, [0, 5]),
        (5, 4, jit.SHARED_WORK - 1, [0, 5]),
    ],
)
def test_the_pieces_of_a_call(units, n, work, expected):
    threads.set_threads(n)
    pieces = np.zeros((units, 2), np.int64)
    _who(units, pieces, work=work)
    assert sorted({tuple(p) for p in pieces.tolist()}) == list(itertools.pairwise(expected))


@pytest.fixture
def helpers(monkeypatch):
    """No helper yet, whatever ran before."""
    own = []
    monkeypatch.setattr(threads, "_helpers", own)
    monkeypatch.setattr(threads, "BOARD", new_board())
    return own


@compiled_only
def test_no_more_helpers_than_wanted_and_none_keeps_the_program_alive(helpers):
    threads.set_threads(4)
    _count(100, np.zeros(100), 5, work=LARGE)
    assert len(helpers) == 3
    threads.set_threads(2)
    _count(100, np.zeros(100), 5, work=LARGE)
    assert len(helpers) == 3
    own = [t for t in threading.enumerate() if t.name.startswith("scratchgrad-")]
    assert len(own) >= 3
    assert all(t.daemon for t in own)  # or the program would not end


@kernel()
def _meet(start, stop, first, second, met):
    for i in range(start, stop):
        own, other = (first, second) if i == 0 else (second, first)
        own[0] = 1
        looks = 0
        while look(other) == 0 and looks < 1 << 16:
            looks += 1
        met[i] = look(other)


@compiled_only
@pytest.mark.parametrize("pause", [0, 0.02])
def test_threads_work_at_once(pause):
    """Each of two units waits for the other. After the pause the helper sleeps, and has to be
    woken; on a machine that is busy it may come too late, but not for ten seconds on end."""
    threads.set_threads(2)
    _meet.part(0, 1, np.zeros(1, np.int64), np.ones(1, np.int64), np.zeros(2, np.int64))
    late = time.monotonic() + 10
    while time.monotonic() < late:  # (compiled by now: while that lasts, helpers fall asleep)
        time.sleep(pause)
        first, second, met = (np.zeros(n, np.int64) for n in (1, 1, 2))
        _meet(2, first, second, met, work=LARGE)
        if met.all():
            return
    pytest.fail("they never met")


@compiled_only
def test_a_helper_that_cannot_be_made_leaves_the_board_free(helpers, monkeypatch):
    threads.set_threads(2)
    counts = np.zeros(100)
    with monkeypatch.context() as broken:
        broken.setattr(threads.threading.Thread, "start", lambda self: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            _count(100, counts, 5, work=LARGE)
    _count(100, counts, 5, work=LARGE)
    assert len(helpers) == 1
    assert (counts == 1).all()


@compiled_only
@pytest.mark.parametrize("given", [0, 2])
def test_fewer_threads_than_wanted_do_all_the_work(helpers, monkeypatch, given):
    threads.set_threads(8)
    counts, start, begun = np.zeros(100), threading.Thread.start, []

    def start_some(thread):
        if len(begun) == given:
            raise RuntimeError("can't start new thread")
        begun.append(thread)
        start(thread)

    with monkeypatch.context() as scarce:
        scarce.setattr(threads.threading.Thread, "start", start_some)
        _count(100, counts, 5, work=LARGE)
        assert threads.get_threads() == 1 + given == 1 + len(helpers)
    _count(100, counts, 5, work=LARGE)
    assert (counts == 2).all()
    assert not threads._busy.locked()


def _lock_held_elsewhere():
    held, done = threading.Event(), threading.Event()

    def hold():
        with threads._busy:
            held.set()
            done.wait(20)

    thread = threading.Thread(target=hold)
    thread.start()
    assert held.wait(20)
    return lambda: (done.set(), thread.join())


@compiled_only
@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_a_child_shares_its_work_with_helpers_of_its_own():
    threads.set_threads(2)
    counts = np.zeros(100)
    _count(100, counts, 5, work=LARGE)
    let_go = _lock_held_elsewhere()  # the child has no thread that would ever release it
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # 3.12 on: forks beside threads
        child = os.fork()
    if child == 0:
        fine = not threads._helpers and threads._busy.acquire(blocking=False)
        threads._busy.release()
        _count(100, counts, 5, work=LARGE)
        os._exit(0 if fine and len(threads._helpers) == 1 and (counts == 2).all() else 1)
    let_go()
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


@kernel()
def _greedy(start, stop, sizes):
    for i in range(start, stop):
        sizes[i] = np.empty(sizes[i]).size


@compiled_only
@pytest.mark.parametrize("n", [1, 2])
def test_a_kernel_that_finds_no_memory_raises_and_the_next_call_works(n):
    threads.set_threads(n)
    for _ in range(5):
        with pytest.raises(MemoryError, match="_greedy"):
            _greedy(40, np.full(40, 1 << 58), work=LARGE)
        sizes = np.full(40, 3)
        _greedy(40, sizes, work=LARGE)
        assert (sizes == 3).all()
