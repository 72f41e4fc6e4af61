"""Random bits by counting: the published values, and the statistics that dropout relies on."""

import numba
import numpy as np
import pytest

from scratchgrad.kernels import reference
from scratchgrad.kernels.random import CHUNK, dropout, mixed_bits, threshold, uniform_bits

MANY = 2_000 if numba.config.DISABLE_JIT else 200_000


def bits(seed, start=0, n=MANY):
    """The bits of elements start … start + n - 1."""

    @numba.njit
    def fill(seed, start, y):
        for i in range(y.size):
            y[i] = uniform_bits(seed, start + np.uint64(i))

    y = np.empty(n, np.uint32)
    with np.errstate(over="ignore"):
        fill(np.uint64(seed), np.uint64(start), y)
    return y


def test_the_values_of_splitmix64():
    """The first outputs of the generator from state 1234567 and from 0, as they are published."""
    with np.errstate(over="ignore"):
        got = [int(mixed_bits(np.uint64(1234567), np.uint64(i))) for i in range(5)]
        first = int(mixed_bits(np.uint64(0), np.uint64(0)))
    assert got == [
        6457827717110365317,
        3203168211198807973,
        9817491932198370423,
        4593380528125082431,
        16408922859458223821,
    ]
    assert first == 0xE220A8397B1DCDAF


def test_the_upper_half_is_what_is_used():
    with np.errstate(over="ignore"):
        whole = int(mixed_bits(np.uint64(3), np.uint64(5)))
    assert bits(3, 5, 1).tolist() == [whole >> 32]


def test_any_part_alone_is_the_same():
    whole = bits(9, 0, 100)
    assert (bits(9, 40, 10) == whole[40:50]).all()
    assert (bits(9, 2**40, 5) == bits(9, 2**40 - 3, 8)[3:]).all()


@pytest.mark.parametrize("p", [0.0, 0.1, 0.5, 0.9])
def test_the_share_below_the_threshold(p):
    """Within five standard deviations, over seeds that lie side by side."""
    deviation = (p * (1 - p) / MANY) ** 0.5
    for seed in range(5):
        share = (bits(seed) < threshold(p)).mean()
        assert abs(share - p) <= 5 * deviation


def test_thresholds():
    assert threshold(0.0) == 0
    assert threshold(0.5) == 2**31
    assert threshold(1.0) == 2**32 - 1


def correlation(a, b):
    return np.corrcoef(a.astype(float), b.astype(float))[0, 1]


@pytest.mark.parametrize("distance", [1, 2, 3, 8, 64, 768])
def test_neighbours_are_not_correlated(distance):
    u = bits(5)
    assert abs(correlation(u[:-distance], u[distance:])) < 5 / (MANY - distance) ** 0.5


@pytest.mark.parametrize("difference", [1, 2, 256, 2**32, 2**63])
def test_seeds_that_are_close_are_not_correlated(difference):
    assert abs(correlation(bits(7), bits(7 + difference))) < 5 / MANY**0.5


def test_every_bit_is_fair_and_alone():
    """Each of the 32 is set half the time, and no two of them go together."""
    u = bits(11)
    ones = (u[:, None] >> np.arange(32, dtype=np.uint32)) & 1  # (MANY, 32)
    assert np.abs(ones.mean(axis=0) - 0.5).max() < 5 * 0.5 / MANY**0.5
    together = np.corrcoef(ones.T.astype(float)) - np.eye(32)
    assert np.abs(together).max() < 5 / MANY**0.5


def test_one_bit_of_the_place_or_the_seed_changes_half_of_the_result():
    """Avalanche: over all 64 bits of either, each result bit flips about every second time."""
    n = 20 if numba.config.DISABLE_JIT else 500
    rng = np.random.default_rng(0)
    pairs = rng.integers(0, 2**64, (n, 2), dtype=np.uint64)
    flips = np.zeros((2, 64, 32))
    with np.errstate(over="ignore"):
        for seed, index in pairs:
            before = int(uniform_bits(seed, index))
            for b in range(64):
                bit = np.uint64(1 << b)
                for which, after in enumerate(
                    (uniform_bits(seed ^ bit, index), uniform_bits(seed, index ^ bit))
                ):
                    flips[which, b] += [(before ^ int(after)) >> k & 1 for k in range(32)]
    assert np.abs(flips / n - 0.5).max() < 6 * 0.5 / n**0.5


def test_the_reference_has_the_same_bits():
    assert (reference.layers._uniform_bits(2**64 - 5, 100) == bits(2**64 - 5, 0, 100)).all()


# -- dropout -----------------------------------------------------------------------------------


def factors(seed, p, n=MANY):
    return dropout(np.ones(n, np.float32), p, seed)


@pytest.mark.parametrize("p", [0.1, 0.5, 0.9])
def test_the_mean_and_the_variance_of_dropout(p):
    """1 and p / (1 - p), within five standard deviations of each."""
    m = factors(3, p).astype(float)
    variance = p / (1 - p)
    fourth = (1 - p) * (1 / (1 - p) - 1) ** 4 + p  # the fourth moment round 1
    assert abs(m.mean() - 1) < 5 * (variance / MANY) ** 0.5
    assert abs(m.var() - variance) < 5 * ((fourth - variance**2) / MANY) ** 0.5 + 10 / MANY


@pytest.mark.parametrize("other", [4, 3 + 2**32, 2**64 - 1])
def test_two_seeds_drop_independently(other):
    assert abs(correlation(factors(3, 0.2), factors(other, 0.2))) < 5 / MANY**0.5


def test_steps_and_layers_of_a_run_drop_independently():
    """The seeds as a run draws them: from (seed, step, micro step, layer)."""
    places = [(7, 1, 0, 0), (7, 2, 0, 0), (7, 1, 1, 0), (7, 1, 0, 1), (8, 1, 0, 0)]
    seeds = [int(np.random.default_rng(p).integers(2**64, dtype=np.uint64)) for p in places]
    together = np.corrcoef([factors(seed, 0.3).astype(float) for seed in seeds]) - np.eye(5)
    assert np.abs(together).max() < 5 / MANY**0.5


def test_dropout_in_parts_is_dropout_of_the_whole():
    """A longer array begins as a shorter one; no unit of work repeats another."""
    n = 2 * CHUNK + 5
    whole = dropout(np.ones(n), 0.5, 9)
    assert (dropout(np.ones((3, 4)), 0.5, 9).ravel() == whole[:12]).all()
    assert (whole[:CHUNK] != whole[CHUNK : 2 * CHUNK]).any()
    wanted = np.where(bits(9, 0, n) >= threshold(0.5), 2.0, 0.0)
    np.testing.assert_array_equal(whole, wanted)


def test_float64_drops_what_float32_drops():
    x = np.ones(1000, np.float32)
    assert (dropout(x, 0.3, 5) > 0).tolist() == (dropout(x.astype(float), 0.3, 5) > 0).tolist()


def test_dropout_of_all_of_none_and_of_nothing():
    x = np.arange(5.0)
    assert (dropout(x, 0.0, 1) == x).all()
    assert (dropout(x, 1.0, 1) == 0).all()
    assert dropout(np.ones((0, 3)), 0.5, 1).shape == (0, 3)
