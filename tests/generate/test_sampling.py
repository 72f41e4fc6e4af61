"""Each rule of sampling against its plain definition; their order; their edges; the draw."""

import math

import numpy as np
import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from scratchgrad.errors import ConfigError, NonFiniteLossError, ShapeError
from scratchgrad.generate import History, Sampling, choose, processed
from scratchgrad.generate.sampling import (
    heat,
    keep_min_p,
    keep_top_k,
    keep_top_p,
    penalise_frequency,
    penalise_presence,
    penalise_repetition,
    probabilities,
)

LOGITS = np.log(np.array([0.1, 0.2, 0.3, 0.4]))

# Rows of few values, so that ties are common; and some tokens out of play, but never all.
few = st.lists(st.sampled_from([0.0, 1.0, -1.5]), min_size=3, max_size=12)
numbers = st.one_of(st.floats(-30, 30, allow_nan=False), st.just(-math.inf))
many = st.lists(numbers, min_size=1, max_size=12).filter(lambda row: max(row) > -math.inf)
rows = st.one_of(few, many)


def in_play(row):
    return set(np.flatnonzero(np.isfinite(row)).tolist())


def plain_softmax(row):
    """One exponential at a time."""
    top = max(row)
    weights = [math.exp(x - top) for x in row]
    total = math.fsum(weights)
    return [w / total for w in weights]


def untouched(before, after, kept):
    """The rule has only put tokens out of play."""
    assert in_play(after) == kept
    assert all(before[i] == after[i] for i in kept)


# ------------------------------------------------------------------- each rule and its definition


@given(rows)
def test_the_softmax(row):
    np.testing.assert_allclose(probabilities(np.array(row)), plain_softmax(row), rtol=1e-12)


@given(rows, st.integers(1, 15))
def test_top_k_keeps_those_that_fewer_than_k_exceed(row, k):
    kept = {i for i, x in enumerate(row) if sum(y > x for y in row) < k and x > -math.inf}
    untouched(row, keep_top_k(np.array(row), k), kept)


@given(rows, st.floats(0.001, 0.999))
@example(row=[0.0, -0.5, -1.0, -1.5], p=0.6)  # 0.46 alone is less, with 0.28 it is more
def test_top_p_keeps_those_above_which_lies_less_than_p(row, p):
    probability = plain_softmax(row)
    above = [math.fsum(q for q in probability if q > mine) for mine in probability]
    assume(all(abs(mass - p) > 1e-9 for mass in above))  # where rounding decides, either is right
    # Two logits may be an ulp apart, and their probabilities equal here and not there.
    apart = {abs(a - b) for a in probability for b in probability if a != b}
    assume(not apart or min(apart) > 1e-12)
    kept = {i for i, mass in enumerate(above) if mass < p and row[i] > -math.inf}
    got = keep_top_p(np.array(row), p)
    # A probability that is rounded to 0 may stay or go: it is never drawn.
    kept = {i for i in kept if probability[i] > 0} | (
        in_play(got) & {i for i in kept if probability[i] == 0}
    )
    untouched(row, got, kept)


@pytest.mark.parametrize("spread", [0.1, 1.0, 4.0])
def test_top_p_of_a_large_vocabulary(spread):
    """A nucleus of a few tokens and one of nearly all, against a sort of all of them."""
    row = spread * np.random.default_rng(0).standard_normal(5_000)
    falling = np.sort(probabilities(row))[::-1]
    sizes = []
    for p in (1e-6, 0.1, 0.5, 0.9, 0.99, 0.9999):
        size = int(np.searchsorted(falling.cumsum(), p)) + 1
        assert in_play(keep_top_p(row, p)) == set(np.argsort(-row)[:size].tolist())
        sizes.append(size)
    assert sizes[0] == 1
    assert sizes[-1] > 2048 or spread == 4.0


@given(rows, st.floats(0.001, 0.999))
def test_min_p_keeps_those_with_a_share_of_the_likeliest(row, share):
    probability = plain_softmax(row)
    least = share * max(probability)
    assume(all(abs(q - least) > 1e-9 * least for q in probability))
    kept = {i for i, q in enumerate(probability) if q >= least}
    untouched(row, keep_min_p(np.array(row), share), kept)


@given(rows, st.floats(0.05, 20))
def test_temperature_raises_probabilities_to_a_power(row, temperature):
    powers = [q ** (1 / temperature) for q in plain_softmax(row)]
    expected = [w / math.fsum(powers) for w in powers]
    got = probabilities(heat(np.array(row), temperature))
    np.testing.assert_allclose(got, expected, rtol=1e-6, atol=1e-12)


@given(rows, st.floats(0.01, 100), st.data())
def test_repetition_divides_what_is_positive_and_multiplies_what_is_not(row, factor, data):
    seen = np.array(data.draw(st.lists(st.booleans(), min_size=len(row), max_size=len(row))))
    expected = [
        x if not s else x / factor if x > 0 else x * factor for x, s in zip(row, seen, strict=True)
    ]
    assert penalise_repetition(np.array(row), seen, factor).tolist() == expected


@given(rows, st.floats(-2, 2), st.floats(-2, 2), st.data())
def test_presence_and_frequency_by_openais_formula(row, frequency, presence, data):
    counts = np.array(data.draw(st.lists(st.integers(0, 3), min_size=len(row), max_size=len(row))))
    expected = [
        x - c * frequency - float(c > 0) * presence for x, c in zip(row, counts, strict=True)
    ]
    got = penalise_frequency(penalise_presence(np.array(row), counts, presence), counts, frequency)
    np.testing.assert_allclose(got, expected, rtol=1e-12, atol=1e-12)


@given(rows, st.floats(0.01, 100))
def test_a_rule_leaves_the_row_it_is_given_alone(row, factor):
    before, counts = np.array(row), np.ones(len(row), int)
    given_row = before.copy()
    penalise_repetition(given_row, counts > 0, factor)
    penalise_presence(given_row, counts, 1.0)
    penalise_frequency(given_row, counts, 1.0)
    for rule, number in ((heat, 0.5), (keep_top_k, 1), (keep_top_p, 0.1), (keep_min_p, 0.9)):
        rule(given_row, number)
    np.testing.assert_array_equal(given_row, before)


@given(rows, st.permutations(range(12)))
def test_tokens_may_be_renumbered(row, order):
    """No rule looks at where a token stands, ties included."""
    row, order = np.array(row), [i for i in order if i < len(row)]
    for rule, number in ((heat, 0.5), (keep_top_k, 2), (keep_top_p, 0.5), (keep_min_p, 0.5)):
        np.testing.assert_allclose(rule(row[order], number), rule(row, number)[order], rtol=1e-12)


# ---------------------------------------------------------------------------------------- order


def test_the_temperature_comes_before_the_cuts():
    """At a low temperature the nucleus is smaller, at a high one larger."""
    p = np.log([0.5, 0.3, 0.2])
    assert in_play(processed(p, Sampling(top_p=0.6))) == {0, 1}
    assert in_play(processed(p, Sampling(top_p=0.6, temperature=0.5))) == {0}
    assert in_play(processed(p, Sampling(top_p=0.75))) == {0, 1}
    assert in_play(processed(p, Sampling(top_p=0.75, temperature=10.0))) == {0, 1, 2}
    assert in_play(processed(p, Sampling(min_p=0.5, temperature=0.5))) == {0}
    assert in_play(processed(p, Sampling(min_p=0.5))) == {0, 1}


def test_top_k_comes_before_top_p_and_that_before_min_p():
    p = np.log([0.4, 0.3, 0.2, 0.1])
    # Of 0.4 and 0.3 alone the first has 4/7 > 0.5: top-p after top-k keeps it alone.
    assert in_play(processed(p, Sampling(top_k=2, top_p=0.5))) == {0}
    assert in_play(processed(p, Sampling(top_p=0.5))) == {0, 1}
    assert in_play(processed(p, Sampling(top_p=0.8, min_p=0.7))) == {0, 1}


def test_penalties_come_before_the_temperature():
    row, history = np.array([2.0, 1.0, -1.0]), History(3, prompt=[0])
    history.add(2)
    s = Sampling(
        temperature=0.5, repetition_penalty=2.0, presence_penalty=0.5, frequency_penalty=0.25
    )
    penalised = np.array([2.0 / 2, 1.0, -1.0 * 2 - 0.5 - 0.25])
    expected = (penalised - penalised.max()) / 0.5
    np.testing.assert_allclose(processed(row, s, history), expected)


def test_only_repetition_counts_the_prompt():
    row, history = np.array([2.0, 1.0]), History(2, prompt=[0, 0])
    assert processed(row, Sampling(greedy=True, repetition_penalty=2), history).tolist() == [1, 1]
    assert processed(row, Sampling(greedy=True, presence_penalty=2), history).tolist() == [2, 1]
    assert processed(row, Sampling(greedy=True, frequency_penalty=2), history).tolist() == [2, 1]
    history.add(0)
    history.add(0)
    assert processed(row, Sampling(greedy=True, presence_penalty=2), history).tolist() == [0, 1]
    assert processed(row, Sampling(greedy=True, frequency_penalty=2), history).tolist() == [-2, 1]


def test_penalties_count_for_a_greedy_choice():
    history = History(2)
    history.add(0)
    rng = np.random.default_rng(0)
    assert choose([1.0, 0.9], rng, Sampling(greedy=True), history) == 0
    assert choose([1.0, 0.9], rng, Sampling(greedy=True, presence_penalty=0.2), history) == 1


# ---------------------------------------------------------------------------------------- the draw


def frequencies(sampling, history, n=20_000):
    rng = np.random.default_rng(0)
    draws = [choose(LOGITS, rng, sampling, history) for _ in range(n)]
    return np.bincount(draws, minlength=len(LOGITS)) / n


def chi_square(observed, expected, n=20_000):
    possible = expected > 0
    assert not observed[~possible].any()
    return n * ((observed - expected)[possible] ** 2 / expected[possible]).sum()


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({}, [1, 2, 3, 4]),
        ({"temperature": 0.5}, [1, 4, 9, 16]),
        ({"temperature": 2.0}, [1, 2**0.5, 3**0.5, 2]),
        ({"top_k": 2}, [0, 0, 3, 4]),
        ({"top_k": 99}, [1, 2, 3, 4]),
        ({"top_p": 0.75}, [0, 2, 3, 4]),
        ({"top_p": 1.0}, [1, 2, 3, 4]),
        ({"min_p": 0.6}, [0, 0, 3, 4]),
        ({"min_p": 0.0}, [1, 2, 3, 4]),
        ({"temperature": 0.5, "top_k": 3, "top_p": 0.85}, [0, 0, 9, 16]),
        ({"presence_penalty": math.log(2)}, [1, 2, 3, 2]),
        ({"frequency_penalty": math.log(2)}, [1, 2, 3, 1]),
        ({"repetition_penalty": 2.0}, [0.1, 2, 3, 1.6]),  # of 0 and 3: squares, logits being < 0
    ],
)
def test_tokens_come_as_often_as_they_should(settings, expected):
    """Pearson's chi-square: with three degrees of freedom, 16.3 is passed once in a thousand."""
    history = History(4, prompt=[0])
    history.add(3)
    history.add(3)
    expected = np.array(expected) / np.sum(expected)
    assert chi_square(frequencies(Sampling(**settings), history), expected) < 16.3


def test_one_number_is_drawn_a_token_and_none_for_a_greedy_one():
    rng, twin = np.random.default_rng(3), np.random.default_rng(3)
    for settings in ({}, {"top_k": 1}, {"top_p": 0.1}, {"min_p": 0.9}, {"temperature": 1e-9}):
        choose(LOGITS, rng, Sampling(**settings))
        twin.random()
        assert rng.bit_generator.state == twin.bit_generator.state
    choose(LOGITS, rng, Sampling(greedy=True))
    assert rng.bit_generator.state == twin.bit_generator.state


@given(rows, st.integers(0, 2**32))
def test_what_is_out_of_play_is_never_chosen(row, seed):
    rng = np.random.default_rng(seed)
    assert row[choose(row, rng)] > -math.inf
    assert choose(row, rng, Sampling(greedy=True)) == row.index(max(row))
    assert row[choose(row, rng, Sampling(top_k=1))] == max(row)
    # Of logits that are an ulp apart the probabilities may be equal: they tie for top-p.
    assert row[choose(row, rng, Sampling(top_p=1e-9))] == pytest.approx(max(row))


class Edge:
    """A generator at an end of its range."""

    def __init__(self, value):
        self.random = lambda: value


@pytest.mark.parametrize("value", [0.0, 1.0 - 2.0**-53])
@pytest.mark.parametrize("nothing", [-1e9, -np.inf])
def test_the_ends_of_the_range_choose_only_possible_tokens(value, nothing):
    assert choose([nothing, 0.0, 0.0, nothing], Edge(value)) in (1, 2)
    # The last probability is lost in the sum of the others, so it never decides.
    assert choose([0.0, -50.0], Edge(value)) == 0


def test_a_vocabulary_of_one_and_a_row_with_one_left():
    rng = np.random.default_rng(0)
    every = Sampling(temperature=0.1, top_k=3, top_p=0.2, min_p=0.9, repetition_penalty=9.0)
    assert choose([-3.0], rng, every, History(1, prompt=[0])) == 0
    assert choose([-np.inf, -np.inf, -700.0], rng, every, History(3, prompt=[2])) == 2


def test_ties_stay_or_go_together():
    rng = np.random.default_rng(0)
    tied = np.array([1.0, 2.0, 2.0, 0.0])
    for settings in ({"top_k": 1}, {"top_p": 0.01}, {"min_p": 0.99}):
        assert {choose(tied, rng, Sampling(**settings)) for _ in range(100)} == {1, 2}
    assert in_play(keep_top_p(np.zeros(5), 0.3)) == {0, 1, 2, 3, 4}


def test_huge_logits_and_tiny_temperatures_do_not_overflow():
    rng, history = np.random.default_rng(0), History(4, prompt=[0, 3])
    for scale in (1e6, 1e300):
        row = np.array([-1.0, 0.2, 0.3, 1.0]) * scale
        assert choose(row, rng, Sampling(temperature=1e-300)) == 3
        assert choose(row, rng, Sampling(repetition_penalty=0.01, top_p=0.5), history) == 3
        lifted = processed(row, Sampling(greedy=True, repetition_penalty=0.01), history)
        assert np.isfinite(lifted).all()
    extremes = np.array([np.finfo(float).max, -np.finfo(float).max])
    for factor in (0.01, 100.0):
        penalised = penalise_repetition(extremes, np.ones(2, bool), factor)
        assert np.isfinite(penalised).all()
        assert choose(penalised, rng) == 0


@pytest.mark.parametrize("bad", [[0.0, np.nan], [0.0, np.inf], [-np.inf, np.nan], [-np.inf] * 2])
def test_logits_of_which_nothing_can_be_made_are_refused(bad):
    with pytest.raises(NonFiniteLossError, match="weights are damaged"):
        choose(bad, np.random.default_rng(0))


@pytest.mark.parametrize("bad", [[], [[1.0]], 1.0])
def test_what_is_no_row_is_refused(bad):
    with pytest.raises(ShapeError, match="one or more logits"):
        choose(bad, np.random.default_rng(0))


# ------------------------------------------------------------------------------------- settings

NAN, INF = math.nan, math.inf


@pytest.mark.parametrize(
    ("name", "values", "message"),
    [
        ("greedy", [1, "yes", None], "True or False"),
        ("temperature", [0, 0.0, -1.0, NAN, INF, "1", None, True], "above 0; .*take greedy=True"),
        ("top_k", [0, -1, 1.0, NAN, "5", True], "at least 1"),
        ("top_p", [0, -0.1, 1.0001, NAN, INF, "0.9", True], "above 0 and up to 1"),
        ("min_p", [-0.1, 1, 1.5, NAN, INF, "0.1", True], "to below 1"),
        ("repetition_penalty", [0, -1.0, 0.009, 101, NAN, INF, "1", None], "0.01 to 100"),
        ("presence_penalty", [-2.1, 2.1, NAN, INF, -INF, "0", None], "from -2 to 2"),
        ("frequency_penalty", [-2.1, 2.1, NAN, INF, -INF, "0", None], "from -2 to 2"),
    ],
)
def test_a_number_out_of_its_range_is_refused_by_name(name, values, message):
    for value in values:
        with pytest.raises(ConfigError, match=f"^{name}: expected .*?{message}") as refused:
            Sampling(**{name: value})
        assert repr(value) in str(refused.value)


def test_the_ends_of_each_range_will_do():
    Sampling(temperature=1e-300, top_k=1, top_p=1, min_p=0, repetition_penalty=100)
    Sampling(top_p=1e-9, min_p=0.999, presence_penalty=-2, frequency_penalty=2)
    Sampling(temperature=np.float32(0.5), top_k=np.int64(3), greedy=np.bool_(False))


def test_greedy_contradicts_what_shapes_a_draw_and_nothing_else():
    for settings in ({"temperature": 0.5}, {"top_k": 2}, {"top_p": 0.9}, {"min_p": 0.1}):
        with pytest.raises(ConfigError, match=f"^greedy: .*{next(iter(settings))}"):
            Sampling(greedy=True, **settings)
    Sampling(greedy=True, repetition_penalty=1.2, presence_penalty=1, frequency_penalty=-1)
