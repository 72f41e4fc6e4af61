"""The pool of memory: reused when nobody holds it, never before; bounded; from any thread."""

import gc
import itertools
import multiprocessing
import subprocess
import sys
import threading
import weakref

import numpy as np
import pytest

import scratchgrad as sg
from scratchgrad.kernels import buffers
from scratchgrad.kernels.buffers import SLACK, SMALL, empty, held, release

SHAPE = (64, 200)  # 51,200 bytes


@pytest.fixture(autouse=True)
def _fresh_pool():
    release()
    yield
    release()


def place(array: np.ndarray) -> int:
    return array.__array_interface__["data"][0]


# ------------------------------------------------------------------------------------- the array


@pytest.mark.parametrize("dtype", [np.float32, "float64", np.dtype(np.int64), bool])
@pytest.mark.parametrize(
    "shape", [(), (0,), (3, 0), (1,), (5, 7), (300, 100), (1, 65536), (2, 3, 4096)]
)
def test_it_is_an_array_like_any_other(shape: tuple[int, ...], dtype: object) -> None:
    a = empty(shape, dtype)
    assert type(a) is np.ndarray
    assert a.shape == shape
    assert a.dtype == dtype
    assert a.flags.c_contiguous
    assert a.flags.writeable
    assert a.flags.aligned
    a[...] = 1
    assert (a == 1).all()


@pytest.mark.parametrize("n", [0, 3, 30_000])
def test_a_length_is_a_shape(n: int) -> None:
    assert empty(n, np.float32).shape == (n,)


@pytest.mark.parametrize("n", [SMALL, SMALL + 1, 51_200, 1 << 20, (1 << 20) + 8, 5_000_001])
def test_results_begin_on_a_cache_line(n: int) -> None:
    for a in [empty((n,), np.uint8) for _ in range(3)]:
        assert place(a) % 64 == 0


def test_small_arrays_are_left_to_numpy() -> None:
    a = empty((SMALL - 1,), np.uint8)
    assert a.base is None
    assert held() == (0, 0)
    b = empty((SMALL,), np.uint8)
    assert held()[0] >= b.nbytes


def test_little_is_wasted() -> None:
    for n in (*range(SMALL, 4 * SMALL, 97), 154_389_504, (1 << 27) + 1):
        a = empty((n,), np.uint8)  # never touched, so the system gives no page of it
        assert n <= held()[0] <= n * 17 / 16
        del a


# ----------------------------------------------------------------------------------------- reuse


def test_a_block_is_used_again_when_the_array_is_gone() -> None:
    a = empty(SHAPE, np.float32)
    where = place(a)
    del a
    assert place(empty(SHAPE, np.float32)) == where
    assert place(empty((200, 32), np.float64)) == where  # the bytes count, not the shape
    assert held()[0] == 0


def test_the_block_used_last_is_used_first() -> None:
    arrays = [empty(SHAPE, np.float32) for _ in range(3)]
    places = [place(a) for a in arrays]
    for i in (1, 0, 2):
        arrays[i] = None
    arrays = [empty(SHAPE, np.float32) for _ in range(3)]
    assert [place(a) for a in arrays] == [places[i] for i in (2, 0, 1)]


VIEWS = {
    "itself": lambda a: a,
    "slice": lambda a: a[1:],
    "slice of a slice": lambda a: a[1:][::2, 3:],
    "transpose": lambda a: a.T,
    "reshape of a transpose": lambda a: a.T.reshape(-1, order="F"),
    "view": lambda a: a.view(np.uint8),
    "another class": lambda a: a.view(np.recarray),
    "view of another class": lambda a: a.view(np.recarray)[2:].view(np.ndarray),
    "broadcast": lambda a: np.broadcast_to(a, (2, *SHAPE)),
    "as_strided": lambda a: np.lib.stride_tricks.as_strided(a, (3,), (4,)),
    "diagonal": lambda a: np.einsum("ii->i", a[:64, :64]),
    "one of a split": lambda a: np.split(a, 2)[1],
    "memoryview": lambda a: memoryview(a)[1:],
    "frombuffer": lambda a: np.frombuffer(a, np.float32)[5:],
    "buffer=": lambda a: np.ndarray((3,), np.float32, a.data),
    "flat iterator": lambda a: a.flat,
    "interface": lambda a: np.asarray(Wrapper(a)),
    "field of a record": lambda a: a.view([("x", np.float32), ("y", np.float32)])["y"],
    "a Tensor's view": lambda a: sg.Tensor(a).T,
    "closure": lambda a: lambda: a,
    "cycle": lambda a: in_a_cycle(a),
}


class Wrapper:
    def __init__(self, a: np.ndarray) -> None:
        self.a = a
        self.__array_interface__ = a.__array_interface__


def in_a_cycle(a: np.ndarray) -> list:
    cycle: list = [a[1:]]
    cycle.append(cycle)
    return cycle


@pytest.mark.parametrize("name", VIEWS)
def test_no_reuse_while_anything_holds_the_array(name: str) -> None:
    a = empty(SHAPE, np.float32)
    where = place(a)
    holder = VIEWS[name](a)
    del a
    gc.collect()
    others = [empty(SHAPE, np.float32) for _ in range(3)]
    assert where not in [place(b) for b in others]
    assert holder is not None
    del holder
    gc.collect()
    assert place(empty(SHAPE, np.float32)) == where


def test_a_view_in_a_cycle_gives_its_block_back_to_the_collector() -> None:
    cycle = in_a_cycle(empty(SHAPE, np.float32))
    lent = held()[0]
    gc.disable()
    try:
        del cycle
        assert held()[0] == lent
        gc.collect()
        assert held()[0] == 0
    finally:
        gc.enable()


def test_a_weak_reference_does_not_hold() -> None:
    a = empty(SHAPE, np.float32)
    seen = weakref.ref(a)
    again = weakref.ref(a, lambda _: None)
    del a
    assert seen() is again() is None
    assert held()[0] == 0


def test_live_arrays_never_share_memory(rng: np.random.Generator) -> None:
    live: list[np.ndarray] = []
    for _ in range(2000):
        if live and rng.random() < 0.5:
            i = rng.integers(len(live))
            assert (live[i] == live[i].flat[0]).all()
            live[i] = live[-1]
            live.pop()
        else:
            a = empty((int(rng.integers(4000, 40_000)),), np.float32)
            a[...] = len(live)
            live.append(a[rng.integers(3) :])
    spans = sorted((place(a), place(a) + a.nbytes) for a in live)
    assert all(stop <= start for (_, stop), (start, _) in itertools.pairwise(spans))


# ---------------------------------------------------------------------------------------- bounds


def test_a_mixture_that_repeats_makes_no_new_blocks() -> None:
    sizes = [20_000, 50_000, 50_000, 300_000, 1_000_000]

    def step() -> None:
        kept = [empty((n,), np.uint8) for n in sizes]
        while kept:
            other = empty((kept[-1].nbytes,), np.uint8)
            kept.pop()
            del other

    step()
    made = buffers._clock
    for _ in range(5):
        step()
    assert buffers._clock == made


def test_free_memory_of_other_sizes_is_bounded() -> None:
    largest = 0
    for n in range(1 << 20, 1 << 24, 1 << 18):  # no size comes twice
        a = empty((n,), np.uint8)
        largest = max(largest, held()[0])
        del a
        assert sum(held()) <= largest * 9 / 8 + SLACK


def test_the_sizes_unused_for_longest_go_first() -> None:
    old, new = (1 << 23,), (3 << 22,)  # 8 and 12 MB: with 16 of slack, both may stay free
    empty(old, np.uint8)
    where = place(empty(new, np.uint8))
    empty((1 << 24,), np.uint8)
    assert held()[1] < (1 << 23) + (3 << 22) + (1 << 24)
    assert place(empty(new, np.uint8)) == where
    assert not buffers._piles[1 << 23].free


def test_release_drops_what_is_free_and_only_that() -> None:
    kept, dropped = empty(SHAPE, np.float32), empty(SHAPE, np.float32)
    memory = weakref.ref(dropped.base.base)
    kept[...] = 7
    del dropped
    assert held()[1] > 0
    release()
    assert held()[1] == 0
    assert memory() is None  # without the garbage collector
    assert (kept == 7).all()
    where = place(kept)
    del kept
    assert place(empty(SHAPE, np.float32)) == where


def test_memory_that_runs_out_is_looked_for_among_the_free(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    empty(SHAPE, np.float32)
    make, free = buffers._Block, []

    def refuse_once(*args: object) -> np.ndarray:
        free.append(len(buffers._piles[51_200].free))
        if len(free) == 1:
            raise MemoryError
        return make(*args)

    monkeypatch.setattr(buffers, "_Block", refuse_once)
    assert empty((1 << 20,), np.uint8).nbytes == 1 << 20
    assert free == [1, 0]


# --------------------------------------------------------------------------- threads and processes


def test_many_threads_at_once() -> None:
    wrong: list[str] = []
    interval = sys.getswitchinterval()

    def hammer(number: int) -> None:
        rng = np.random.default_rng(number)
        live = []
        for i in range(3000):
            a = empty((int(rng.integers(4096, 6000)),), np.float32)
            a[...] = mark = number * 10_000 + i
            live.append((a[3:], mark))
            if len(live) > rng.integers(8):
                view, mark = live.pop(int(rng.integers(len(live))))
                if not (view == mark).all():
                    wrong.append(f"thread {number}, array {mark}")

    threads = [threading.Thread(target=hammer, args=(n,)) for n in range(4)]
    sys.setswitchinterval(1e-6)
    try:
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        sys.setswitchinterval(interval)
    assert not wrong
    assert held()[0] == 0


def test_a_block_may_come_back_in_another_thread() -> None:
    arrays = [empty(SHAPE, np.float32)]
    where = place(arrays[0])
    thread = threading.Thread(target=arrays.clear)
    thread.start()
    thread.join()
    assert place(empty(SHAPE, np.float32)) == where


@pytest.mark.skipif(
    "fork" not in multiprocessing.get_all_start_methods(), reason="this system does not fork"
)
def test_a_fork_while_another_thread_makes_a_block() -> None:
    code = """
import os, threading, numpy as np
from scratchgrad.kernels import buffers
a = buffers.empty((1 << 20,), np.uint8)
a[...] = 1
lock = buffers._lock
lock.acquire()  # as if another thread were within
child = os.fork()
if child == 0:
    b = buffers.empty((1 << 20,), np.uint8)
    b[...] = 2
    os._exit(0 if (a == 1).all() and not np.shares_memory(a, b) else 1)
lock.release()
assert os.waitpid(child, 0)[1] == 0
assert (a == 1).all()
"""
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


# ------------------------------------------------------------------------------- in the operations


def test_what_is_left_in_a_block_is_never_seen(rng: np.random.Generator) -> None:
    """A training step gives the same bits whatever earlier results have left behind."""
    config = sg.GPTConfig(vocab_size=65, block_size=64, n_layer=2, n_head=2, n_embd=128)
    ids = rng.integers(0, 65, (4, 65))

    def step() -> list[bytes]:
        model = sg.GPT(config)
        logits, loss = model(ids[:, :-1], ids[:, 1:])
        loss.backward()
        return [x.tobytes() for x in (logits.numpy(), *(p.grad for p in model.parameters()))]

    first = step()
    gc.collect()
    for value in (0, 255, 127):
        for pile in buffers._piles.values():
            for lease in pile.free:
                lease.block[...] = value
        assert step() == first


def test_a_view_of_a_result_is_watched_with_it() -> None:
    """Pooled results have a base; a view has the result as its own."""
    x = sg.tensor(np.ones((100, 100), np.float32), requires_grad=True)
    y = x + x
    with sg.no_grad():
        view = y[1:]
    assert view._array.base is y._array
    assert view._memory is y._memory
    assert y._memory is not x._memory
