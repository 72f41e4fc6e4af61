"""Clipping by the joint norm, and the learning rate over the steps."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import scratchgrad as sg
from scratchgrad.errors import ConfigError
from scratchgrad.testing import rngs

clip_grad_norm, cosine_schedule = sg.optim.clip_grad_norm, sg.optim.cosine_schedule


def with_gradients(*gradients: np.ndarray) -> list[sg.Tensor]:
    found = []
    for g in gradients:
        p = sg.tensor(np.zeros_like(g), requires_grad=True)
        p.grad = g
        found.append(p)
    return found


@given(rng=rngs, max_norm=st.floats(0.01, 100))
def test_the_joint_norm_is_bounded_and_the_direction_kept(
    rng: np.random.Generator, max_norm: float
) -> None:
    gradients = [rng.standard_normal(shape) for shape in ((3, 4), (5,), (), (0, 2))]
    gradients = [np.asarray(g) for g in gradients]
    parameters = with_gradients(*gradients)
    flat = np.concatenate([g.ravel() for g in gradients])
    norm = clip_grad_norm(parameters, max_norm)
    assert norm == pytest.approx(np.linalg.norm(flat), rel=1e-14)
    clipped = np.concatenate([p.grad.ravel() for p in parameters])
    assert np.linalg.norm(clipped) <= max_norm * (1 + 1e-12)
    expected = flat * min(1, max_norm / np.linalg.norm(flat))
    np.testing.assert_allclose(clipped, expected, rtol=1e-3)
    if np.linalg.norm(flat) <= max_norm:
        np.testing.assert_array_equal(clipped, flat)


def test_it_is_the_norm_that_is_clipped_not_the_values() -> None:
    (p,) = with_gradients(np.array([30.0, 40.0], np.float32))
    assert clip_grad_norm([p], 5.0) == 50
    np.testing.assert_allclose(p.grad, [3, 4], rtol=1e-6)
    assert p.grad.dtype == np.float32


def test_the_norm_is_returned_as_it_was_before() -> None:
    (p,) = with_gradients(np.array([3.0, 4.0]))
    assert clip_grad_norm([p], 1.0) == 5
    assert clip_grad_norm([p], 1.0) == pytest.approx(1)


def test_an_array_that_the_caller_holds_is_not_written_to() -> None:
    g = np.array([3.0, 4.0])
    (p,) = with_gradients(g)
    clip_grad_norm([p], 1.0)
    assert g.tolist() == [3, 4]


@pytest.mark.parametrize("bad", [np.inf, -np.inf, np.nan])
def test_gradients_that_are_not_finite_are_left_and_reported(bad: float) -> None:
    p, q = with_gradients(np.array([bad, 1.0]), np.array([2.0]))
    norm = clip_grad_norm([p, q], 1.0)
    assert not math.isfinite(norm)
    np.testing.assert_array_equal(p.grad, [bad, 1.0])
    assert q.grad.tolist() == [2]


def test_a_norm_beyond_float32_is_still_right() -> None:
    (p,) = with_gradients(np.full(4, 1e30, np.float32))
    assert clip_grad_norm([p], 1.0) == pytest.approx(2e30, rel=1e-6)
    np.testing.assert_allclose(p.grad, 0.5, rtol=1e-5)


def test_parameters_without_gradients_and_generators() -> None:
    p = sg.tensor([1.0], requires_grad=True)
    assert clip_grad_norm([p], 1.0) == 0
    assert p.grad is None
    assert clip_grad_norm([], 1.0) == 0
    assert clip_grad_norm(iter(with_gradients(np.array([2.0]))), 1.0) == 2


@pytest.mark.parametrize("bad", [0.0, -1.0, float("nan")])
def test_a_bound_that_is_none(bad: float) -> None:
    with pytest.raises(ConfigError, match="max_norm above 0"):
        clip_grad_norm([], bad)


# -------------------------------------------------------------------------------------- schedule

SETTINGS = st.tuples(
    st.floats(1e-5, 1.0),  # lr
    st.floats(0.0, 1.0),  # min_lr, as a share of lr
    st.integers(0, 200),  # warm-up
    st.integers(1, 500),  # the steps of decay after it
)


def rates(lr: float, share: float, warmup: int, decay: int) -> list[float]:
    last = warmup + decay
    return [cosine_schedule(step, lr, share * lr, warmup, last) for step in range(last + 5)]


@given(SETTINGS)
def test_it_rises_to_the_rate_and_falls_to_the_least(settings: tuple) -> None:
    lr, share, warmup, decay = settings
    values = rates(*settings)
    assert values[warmup] == pytest.approx(lr)  # the top
    assert values[warmup + decay :] == [share * lr] * 5
    assert all(0 < v <= lr * (1 + 1e-12) for v in values[: warmup + 1])
    assert all(a < b for a, b in itertools.pairwise(values[: warmup + 1]))
    falling = values[warmup : warmup + decay + 1]
    assert all(a >= b for a, b in itertools.pairwise(falling))


@given(SETTINGS)
def test_it_never_jumps(settings: tuple) -> None:
    lr, share, warmup, decay = settings
    values = rates(*settings)
    steepest = max(1 / (warmup + 1), math.pi / 2 * (1 - share) / decay)
    for a, b in itertools.pairwise(values):
        assert abs(b - a) <= lr * steepest * (1 + 1e-9) + 1e-15


def test_the_middle_of_the_cosine() -> None:
    assert cosine_schedule(60, 1.0, 0.2, 10, 110) == pytest.approx(0.6)
    assert cosine_schedule(35, 1.0, 0.0, 10, 110) == pytest.approx(0.5 + math.sqrt(2) / 4)


def test_without_warm_up_it_starts_at_the_top() -> None:
    assert cosine_schedule(0, 0.1, 0.01, 0, 10) == 0.1


def test_the_first_step_learns_something() -> None:
    assert cosine_schedule(0, 1.0, 0.1, 100, 2000) > 0


def test_decay_that_ends_with_the_warm_up_or_before() -> None:
    assert cosine_schedule(5, 1.0, 0.1, 5, 5) == 0.1
    assert cosine_schedule(5, 1.0, 0.1, 5, 3) == 0.1
    assert cosine_schedule(4, 1.0, 0.1, 5, 3) == pytest.approx(5 / 6)


def test_the_steps_of_the_warm_up() -> None:
    values = [cosine_schedule(step, 1.0, 0.1, 4, 10) for step in range(5)]
    np.testing.assert_allclose(values, [0.2, 0.4, 0.6, 0.8, 1.0], rtol=1e-15)
