"""The cache of compiled kernels, the report of compiling, and running without a compiler."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from scratchgrad.cases.kernels import CASES
from scratchgrad.kernels import jit, softmax
from scratchgrad.kernels.warm_up import warm_up

ROOT = Path(__file__).parents[2]

COUNT = """
import numpy as np
from scratchgrad.kernels.jit import on_compile
from scratchgrad.kernels.softmax import softmax
names = []
with on_compile(names.append):
    y = softmax(np.zeros((2, 2), np.float32), -1)
assert (y == 0.5).all()
print(*names)
"""


def run(code: str, **environment: str) -> str:
    """What a Python process of its own prints; warnings are errors in it."""
    result = subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        env={**os.environ, **environment},
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    assert result.stderr == ""
    return result.stdout.strip()


def entries(folder: Path) -> list[Path]:
    return sorted(p for p in folder.rglob("*") if p.is_file())


def test_second_process_loads_and_damaged_entries_are_made_again(tmp_path):
    here = {"SCRATCHGRAD_CACHE": str(tmp_path)}
    assert run(COUNT, **here) == "softmax.softmax"
    assert run(COUNT, **here) == ""
    (entry,) = entries(tmp_path)
    whole = entry.read_bytes()
    # cut short; and a checksum that disagrees, though Numba itself would take what it guards
    for damaged in (whole[:100], bytes(32) + whole[32:]):
        entry.write_bytes(damaged)
        assert run(COUNT, **here) == "softmax.softmax"
        assert entries(tmp_path) == [entry]
    assert run(COUNT, **here) == ""


def test_no_cache_where_nothing_can_be_written(tmp_path):
    file = tmp_path / "file"
    file.touch()
    assert run(COUNT, SCRATCHGRAD_CACHE=str(file / "below")) == "softmax.softmax"
    if hasattr(os, "geteuid") and os.geteuid() != 0:  # root may write anywhere
        locked = tmp_path / "locked"
        locked.mkdir(mode=0o500)
        assert run(COUNT, SCRATCHGRAD_CACHE=str(locked)) == "softmax.softmax"


def test_cache_folder(tmp_path, monkeypatch):
    monkeypatch.delenv("SCRATCHGRAD_CACHE", raising=False)
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    folder = jit.cache_folder()
    assert folder.parent == tmp_path / "scratchgrad" / "jit"
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")
    monkeypatch.setattr(Path, "home", lambda: tmp_path / "home")
    assert jit.cache_folder().parent == tmp_path / "home" / ".cache" / "scratchgrad" / "jit"
    monkeypatch.setattr(sys, "platform", "darwin")
    caches = tmp_path / "home" / "Library" / "Caches"
    assert jit.cache_folder().parent == caches / "scratchgrad" / "jit"
    monkeypatch.setattr(sys, "platform", "win32")
    monkeypatch.setenv("LOCALAPPDATA", str(tmp_path / "local"))
    assert jit.cache_folder().parent == tmp_path / "local" / "scratchgrad" / "jit"
    monkeypatch.setenv("SCRATCHGRAD_CACHE", str(tmp_path / "own"))
    assert jit.cache_folder().parent == tmp_path / "own" / "jit"
    for home in ("HOME", "USERPROFILE"):
        monkeypatch.setenv(home, str(tmp_path / "me"))
    monkeypatch.setenv("SCRATCHGRAD_CACHE", os.path.join("~", "own"))
    assert jit.cache_folder().parent == tmp_path / "me" / "own" / "jit"
    monkeypatch.setenv("NUMBA_OPT", "0")
    assert jit.cache_folder().name != folder.name

    def no_home():
        raise RuntimeError("no home")

    monkeypatch.delenv("SCRATCHGRAD_CACHE")
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setattr(Path, "home", no_home)
    assert jit.cache_folder() is None


def locked(x: np.ndarray) -> np.ndarray:
    x = x.copy()
    x.flags.writeable = False
    return x


def test_one_specialisation_a_kernel_and_dtype(rng):
    """Layouts and read-only arrays: none makes Numba compile anew."""
    kernels = {}
    for case in CASES:
        for dtype in ("float32", "float64"):
            for lay in (np.copy, np.asfortranarray, lambda x: x[::-1], locked):
                made = case.make(rng, dtype, [3, 4, 5, 6, 7])
                args = tuple(
                    lay(a) if isinstance(a, np.ndarray) and a.ndim and not case.in_place else a
                    for a in made
                )
                case.run(case.module, args)
        kernels |= {k: v for k, v in vars(case.module).items() if isinstance(v, jit.Kernel)}
    assert len(kernels) >= 20
    for name, kernel in kernels.items():
        assert 1 <= len(kernel.compiled.signatures) <= 2, name
    stored = [k.compiled._cache.name for k in kernels.values()]
    assert len(set(stored)) == len(stored)


def test_warm_up_counts_what_it_compiles():
    steps = list(warm_up(np.float32))
    assert [done for done, _, _ in steps] == list(range(len(steps)))
    assert {total for _, total, _ in steps} == {len(steps) - 1}
    assert steps[-1][2] == ""
    names = []
    with jit.on_compile(names.append):
        list(warm_up(np.float32))
    assert names == []


WITHOUT_JIT = """
import numpy as np
from scratchgrad.kernels import reference
from scratchgrad.cases.kernels import CASES, assert_close
from scratchgrad.kernels.warm_up import warm_up
*_, (done, total, _) = warm_up()
assert done == total > 0
for case in CASES:
    for dtype in ("float32", "float64"):
        args = case.make(np.random.default_rng(1), dtype, [2, 3, 4, 5, 3])
        got, wanted = case.run(case.module, args), case.run(reference, args)
        for g, w in zip(got, wanted, strict=True):
            assert_close(g, w, case.name)
print("done", len(CASES))
"""


def test_everything_runs_without_a_compiler():
    assert run(WITHOUT_JIT, NUMBA_DISABLE_JIT="1") == f"done {len(CASES)}"


def test_no_fast_flag_that_breaks_nan_and_infinity():
    assert not {"nnan", "ninf", "fast"} & (jit.FAST | jit.EXACT)
    for path in (ROOT / "scratchgrad").rglob("*.py"):
        assert "fastmath=True" not in path.read_text(encoding="utf-8").replace(
            "``fastmath=True``", ""
        )


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_plain(dtype):
    x = np.arange(6, dtype=dtype).reshape(2, 3)
    assert jit.plain(x) is x
    for odd in (x.T, x[:, ::2], locked(x), x.astype(x.dtype.newbyteorder())):
        same = jit.plain(odd)
        assert same.flags.c_contiguous
        assert same.flags.writeable
        assert same.dtype == dtype
        assert same.dtype.isnative
        np.testing.assert_array_equal(same, odd)


@pytest.mark.parametrize("name", ["_softmax", "_log_softmax"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_bits_do_not_depend_on_where_the_arrays_lie(name: str, dtype: Any) -> None:
    """Side by side in memory, a compiler that fears an overlap takes another, slower loop."""
    compiled = getattr(softmax, name)
    rng = np.random.default_rng(0)
    for gap in [*range(8)] * 20:
        x = rng.normal(size=(4, 4)).astype(dtype)
        apart = np.empty((8, 4, 4), dtype)
        apart[0] = x
        memory = np.empty(2 * x.size + gap, dtype)
        here, there = memory[: x.size].reshape(4, 4), memory[x.size + gap :].reshape(4, 4)
        here[...] = x
        compiled(4, apart[0], apart[-1], work=16)
        compiled(4, here, there, work=16)
        np.testing.assert_array_equal(there, apart[-1])


def test_cache_folder_without_the_variables_of_its_system(tmp_path, monkeypatch):
    for name in ("SCRATCHGRAD_CACHE", "LOCALAPPDATA"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(Path, "home", lambda: tmp_path)
    monkeypatch.setattr(sys, "platform", "win32")
    assert jit.cache_folder().parents[2] == tmp_path / "AppData" / "Local"
    monkeypatch.setattr(sys, "platform", "aix")  # any other system: as on Linux
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    assert jit.cache_folder().parents[2] == tmp_path / ".cache"


def test_sources_that_cannot_be_read_mean_no_cache(monkeypatch):
    def unreadable():
        raise PermissionError

    monkeypatch.setattr(jit, "_state", unreadable)
    assert jit.cache_folder() is None


def test_the_state_is_that_of_the_sources_and_of_numbas_switches(tmp_path, monkeypatch):
    source = tmp_path / "kernel.py"
    source.write_text("one")
    monkeypatch.setattr(jit, "__file__", str(source))
    states = [jit._state()]
    source.write_text("two")
    states.append(jit._state())
    source = source.rename(tmp_path / "other.py")
    states.append(jit._state())
    for switch in ("NUMBA_DEBUG", "NUMBA_OPT"):
        monkeypatch.setenv(switch, "3")
        states.append(jit._state())
    assert len(set(states)) == len(states)
    monkeypatch.setenv("NUMBA_NUM_THREADS", "3")
    monkeypatch.setenv("NO_SWITCH_OF_NUMBA", "3")
    assert jit._state() == states[-1]
