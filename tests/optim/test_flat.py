"""Parameters side by side in one array: laid out, stepped, clipped, assigned to, copied."""

import copy
import itertools
import math
import tracemalloc

import numpy as np
import pytest

import scratchgrad as sg
from scratchgrad.errors import ConfigError, ShapeError
from scratchgrad.kernels import buffers
from scratchgrad.kernels.adamw import CHUNK, Run, adamw_runs, adamw_step
from scratchgrad.kernels.threads import get_threads, set_threads
from scratchgrad.optim import AdamW, clip_factor, clip_grad_norm, grad_norm
from scratchgrad.optim.flat import at_home
from tests.nn.models import batch, tiny_config

SHAPES = [(3, 5), (), (0, 4), (CHUNK + 7,), (16,), (2, 3, 4), (1,), (40, 50), (2 * CHUNK + 1,)]


def parameters(rng: np.random.Generator, dtype: type = np.float32) -> list[sg.Tensor]:
    return [
        sg.tensor(np.asarray(rng.standard_normal(shape)).astype(dtype), requires_grad=True)
        for shape in SHAPES
    ]


def gradients(rng: np.random.Generator, dtype: type = np.float32) -> list[np.ndarray]:
    return [np.asarray(rng.standard_normal(shape)).astype(dtype) for shape in SHAPES]


def address(array: np.ndarray) -> int:
    return array.__array_interface__["data"][0]


# -------------------------------------------------------------------------------------- the layout


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_parameters_keep_their_values_and_lie_in_order(dtype: type) -> None:
    params = parameters(np.random.default_rng(1), dtype)
    before = [p.numpy().copy() for p in params]
    optimiser = AdamW(params)
    ((_, flat),) = optimiser._flats
    for p, old in zip(params, before, strict=True):
        np.testing.assert_array_equal(p.numpy(), old)
        assert p.dtype == dtype
    filled = [p for p in params if p.size]
    for p in filled:
        assert np.shares_memory(p._array, flat.param)
        assert np.shares_memory(p._home.array, flat.grad)
        for array in (p._array, p._home.array):
            assert address(array) % 64 == 0
            assert array.flags.c_contiguous
    ends = [(address(p._array), address(p._array) + p._array.nbytes) for p in filled]
    assert all(a[1] <= b[0] < a[1] + 64 for a, b in itertools.pairwise(ends))
    for whole, parts in ((flat.m, optimiser.m), (flat.v, optimiser.v)):
        assert all(np.shares_memory(whole, x) for x in parts if x.size)
        assert [x.shape for x in parts] == SHAPES


def test_both_dtypes_in_one_optimiser(rng: np.random.Generator) -> None:
    params = [
        sg.tensor(rng.standard_normal(3).astype(t), requires_grad=True)
        for t in (np.float32, np.float64, np.float32)
    ]
    alone = [sg.tensor(p.numpy(), requires_grad=True) for p in params]
    together = AdamW(params, lr=0.1)
    apart = [AdamW([p], lr=0.1) for p in alone]
    assert [m.dtype for m in together.m] == [np.float32, np.float64, np.float32]
    for _ in range(3):
        for p, q in zip(params, alone, strict=True):
            p.grad = rng.standard_normal(3).astype(p.dtype)
            q.grad = p.grad
        together.step()
        for one in apart:
            one.step()
    for p, q in zip(params, alone, strict=True):
        np.testing.assert_array_equal(p.numpy(), q.numpy())


# ---------------------------------------------------------------------------------------- the step


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_it_is_the_step_of_each_parameter_by_itself(dtype: type) -> None:
    """To the bit: with decays in turn, steps of their own, and some gradients missing."""
    rng = np.random.default_rng(5)
    params = parameters(rng, dtype)
    decays = [0.0, 0.1, 0.1, 0.1, 0.5, 0.5, 0.0, 0.1, 0.3]
    optimiser = AdamW(
        [{"params": [p], "weight_decay": d} for p, d in zip(params, decays, strict=True)], lr=0.02
    )
    theta = [p.numpy().copy() for p in params]
    m, v = ([np.zeros_like(t) for t in theta] for _ in range(2))
    counts = [0] * len(params)
    for step in range(6):
        optimiser.zero_grad()
        for i, g in enumerate(gradients(rng, dtype)):
            if step in (0, 1, 5) or rng.random() < 0.6:
                params[i].grad = g
                counts[i] += 1
                settings = (0.02, 0.9, 0.999, 1e-8, decays[i], counts[i])
                adamw_step(theta[i], g, m[i], v[i], *settings)
        optimiser.step()
        for i, p in enumerate(params):
            np.testing.assert_array_equal(p.numpy(), theta[i], err_msg=f"step {step}, {i}")
            np.testing.assert_array_equal(optimiser.m[i], m[i])
            np.testing.assert_array_equal(optimiser.v[i], v[i])
    assert optimiser.steps.tolist() == counts


def test_what_lies_between_the_parameters_stays_zero(rng: np.random.Generator) -> None:
    params = parameters(rng)
    optimiser = AdamW(params, lr=0.1)
    ((_, flat),) = optimiser._flats
    for _ in range(2):
        for p, g in zip(params, gradients(rng), strict=True):
            p.grad = g
        optimiser.step()
    between = np.ones(flat.param.size, bool)
    for start, p in zip(flat.starts, params, strict=True):
        between[start : start + p.size] = False
    assert between.any()
    for array in (flat.param, flat.grad, flat.m, flat.v):
        assert not array[between].any()


def test_neighbours_that_are_stepped_alike_are_one_run() -> None:
    model = sg.GPT(tiny_config())
    optimiser = AdamW(sg.optim.parameter_groups(model, 0.1))
    ((_, flat),) = optimiser._flats
    n = len(flat.params)
    runs = flat.runs([True] * n, optimiser.decays, [1] * n)
    assert [run.weight_decay for run in runs] == [0.1, 0.0]
    assert (runs[0].start, runs[0].stop) == (0, runs[1].start)
    assert runs[1].stop == flat.param.size
    # One that got no gradient, and one with a count of its own, stand apart.
    runs = flat.runs([i != 1 for i in range(n)], optimiser.decays, [1] * (n - 1) + [7])
    assert [run.step for run in runs] == [1, 1, 1, 7]


def test_the_same_bits_on_any_number_of_threads() -> None:
    before, results = get_threads(), []
    try:
        for threads in (1, 2, 3):
            set_threads(threads)
            rng = np.random.default_rng(0)
            p = sg.tensor(rng.standard_normal(40 * CHUNK).astype(np.float32), requires_grad=True)
            q = sg.tensor(rng.standard_normal((5, 7)).astype(np.float32), requires_grad=True)
            optimiser = AdamW([p, q])
            norms = []
            for _ in range(2):
                p.grad = rng.standard_normal(p.shape).astype(np.float32)
                q.grad = rng.standard_normal(q.shape).astype(np.float32)
                norms.append(grad_norm([p, q]))
                optimiser.step(scale=clip_factor(norms[-1], 1.0))
            results.append([p.numpy().tobytes(), q.numpy().tobytes(), norms])
    finally:
        set_threads(before)
    assert results[0] == results[1] == results[2]


def test_a_step_allocates_nothing_large(rng: np.random.Generator) -> None:
    p = sg.tensor(rng.standard_normal(300_000).astype(np.float32), requires_grad=True)
    optimiser = AdamW([p])
    for _ in range(2):
        (p * p).sum().backward()
        optimiser.step(scale=clip_factor(grad_norm([p]), 1.0))
    tracemalloc.start()
    try:
        optimiser.step(scale=clip_factor(grad_norm([p]), 1.0))
        clip_grad_norm([p], 1e-3)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 100_000


def test_a_training_step_makes_no_new_blocks(rng: np.random.Generator) -> None:
    config = sg.GPTConfig(vocab_size=65, block_size=64, n_layer=2, n_head=2, n_embd=128)
    model = sg.GPT(config)
    optimiser = AdamW(sg.optim.parameter_groups(model, 0.1))
    ids = rng.integers(0, 65, (4, 65))
    made = []
    for _ in range(6):
        optimiser.zero_grad()
        model(ids[:, :-1], ids[:, 1:])[1].backward()
        optimiser.step(scale=clip_factor(grad_norm(model.parameters()), 1.0))
        made.append(buffers._clock)
    assert made[2:] == [made[2]] * 4


# -------------------------------------------------------------------------- what callers do between


def train(model: sg.GPT, optimiser: AdamW, steps: int) -> list[float]:
    ids, targets = batch(model.config)
    losses = []
    for _ in range(steps):
        optimiser.zero_grad()
        _, loss = model(ids, targets)
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    return losses


def test_data_that_is_assigned_later_is_taken_in() -> None:
    one, other = (sg.GPT(tiny_config(), seed=1) for _ in range(2))
    first = AdamW(one.parameters(), lr=0.01)
    w = one.wte.weight
    new = np.full(w.shape, 0.5, np.float32)
    w.data = new
    other.wte.weight.data = new  # before there is an optimiser
    second = AdamW(other.parameters(), lr=0.01)
    assert train(one, first, 3) == train(other, second, 3)
    assert np.shares_memory(w._array, first._flats[0][1].param)
    assert (new == 0.5).all()


def test_data_changed_in_place_and_a_loaded_state_are_seen() -> None:
    one, other = (sg.GPT(tiny_config(), seed=1) for _ in range(2))
    first = AdamW(one.parameters(), lr=0.01)
    other.wpe.weight.data -= 0.25
    one.wpe.weight.data -= 0.25
    one.load_state_dict(other.state_dict())
    assert train(one, first, 2) == train(other, AdamW(other.parameters(), lr=0.01), 2)


@pytest.mark.parametrize("together", [True, False])
def test_a_deep_copy_goes_on_alike_and_alone(together: bool) -> None:
    model = sg.GPT(tiny_config(), seed=1)
    optimiser = AdamW(sg.optim.parameter_groups(model, 0.1), lr=0.01)
    train(model, optimiser, 2)
    if together:
        twin, twin_optimiser = copy.deepcopy((model, optimiser))
    else:
        twin = copy.deepcopy(model)
        twin_optimiser = AdamW(sg.optim.parameter_groups(twin, 0.1), lr=0.01)
        twin_optimiser.load_state_dict(optimiser.state_dict())
    for p, q in zip(model.parameters(), twin.parameters(), strict=True):
        assert not np.shares_memory(p._array, q._array)
    train(twin, twin_optimiser, 2)
    kept = {name: p.numpy().copy() for name, p in twin.named_parameters()}
    losses = train(model, optimiser, 4)
    assert train(twin, twin_optimiser, 2) == losses[2:]
    for name, p in model.named_parameters():
        np.testing.assert_array_equal(p.numpy(), dict(twin.named_parameters())[name].numpy())
        assert (kept[name] != p.numpy()).any()


def test_two_optimisers_of_the_same_parameters_take_turns() -> None:
    """Each keeps its own means; the parameters are those of whoever stepped last."""
    rng = np.random.default_rng(2)
    params = parameters(rng)
    theta = [p.numpy().copy() for p in params]
    both = [AdamW(params, lr=0.1), AdamW(params, lr=0.01, betas=(0.5, 0.9))]
    means = [[(np.zeros_like(t), np.zeros_like(t)) for t in theta] for _ in both]
    for turn in range(6):
        which = turn % 2
        for p in params:
            p.grad = None
            (p * p).sum().backward()
        for i, t in enumerate(theta):
            m, v = means[which][i]
            o = both[which]
            adamw_step(t, 2 * t, m, v, o.lr, *o.betas, o.eps, 0.01, turn // 2 + 1)
        both[which].step()
        for p, t in zip(params, theta, strict=True):
            np.testing.assert_allclose(p.numpy(), t, rtol=1e-5, atol=1e-6)


def test_an_optimiser_that_is_gone_leaves_its_parameters_usable() -> None:
    model = sg.GPT(tiny_config(), seed=1)
    first = train(model, AdamW(model.parameters(), lr=0.01), 3)
    second = train(model, AdamW(model.parameters(), lr=0.01), 3)
    assert second[0] < first[-1]


def test_a_dtype_that_changed_is_an_error_that_says_so() -> None:
    layer = sg.nn.Linear(2, 2)
    optimiser = AdamW(layer.parameters())
    layer.astype(np.float64)
    layer(np.ones((1, 2))).sum().backward()
    with pytest.raises(ConfigError, match=r"was float32 and is float64 now; .* after astype"):
        optimiser.step()


def test_a_gradient_of_another_shape_is_refused() -> None:
    p = sg.tensor(np.ones((2, 3)), requires_grad=True)
    optimiser = AdamW([p])
    p.grad = np.ones(3)  # would broadcast
    with pytest.raises(ShapeError, match=r"shape \(2, 3\) for parameter 0, received \(3,\)"):
        optimiser.step()
    assert optimiser.steps.tolist() == [0]


@pytest.mark.parametrize("run", [Run(-1, 2, 0.0, 1), Run(0, 4, 0.0, 1), Run(2, 1, 0.0, 1)])
def test_runs_beyond_the_arrays_are_refused(run: Run) -> None:
    arrays = [np.ones(3) for _ in range(4)]
    with pytest.raises(ShapeError, match=r"adamw_runs: expected runs within \(N,\)"):
        adamw_runs(*arrays, [run], 0.1, 0.9, 0.99, 1e-8)


# ---------------------------------------------------------------------------------------- clipping


def housed(rng: np.random.Generator) -> list[sg.Tensor]:
    """Parameters with gradients: most at home, one assigned, one missing with its home full."""
    params = parameters(rng)
    AdamW(params)
    for p in params:
        (p * np.asarray(rng.standard_normal(p.shape)).astype(np.float32)).sum().backward()
    params[4].grad = None
    params[7].grad = params[7].grad * 3
    return params


def test_the_norm_counts_every_gradient_once_and_no_other(rng: np.random.Generator) -> None:
    params = housed(rng)
    there = [p.grad.astype(np.float64) for p in params if p.grad is not None]
    expected = math.sqrt(sum(float((g**2).sum()) for g in there))
    assert grad_norm(params) == pytest.approx(expected, rel=1e-12)
    assert grad_norm([*params, *params]) == grad_norm(params)
    flat, elsewhere = at_home(params[::-1])
    assert len(flat) == 3  # cut by the missing one and by the assigned one
    assert [p for p, _ in elsewhere] == [params[7]]
    assert elsewhere[0][1] is params[7].grad
    assert grad_norm(params[3:4]) == pytest.approx(
        float(np.linalg.norm(params[3].grad.astype(np.float64))), rel=1e-12
    )
    assert grad_norm([]) == 0


def test_clipping_in_place_and_of_what_was_assigned(rng: np.random.Generator) -> None:
    params = housed(rng)
    assigned = params[7].grad
    before = [None if p.grad is None else p.grad.copy() for p in params]
    norm = clip_grad_norm([*params, params[0]], 0.5)
    factor = np.float32(0.5 / (norm + 1e-6))
    for i, (p, g) in enumerate(zip(params, before, strict=True)):
        if g is None:
            assert p.grad is None
        else:
            np.testing.assert_array_equal(p.grad, g * factor)
            assert (p.grad is p._home.array) == (i != 7)
    np.testing.assert_array_equal(assigned, before[7])
    assert grad_norm(params) == pytest.approx(0.5, rel=1e-5)


def test_the_factor_of_clipping_given_to_the_step_is_clipping(rng: np.random.Generator) -> None:
    one, other = housed(np.random.default_rng(3)), housed(np.random.default_rng(3))
    first, second = AdamW(one, lr=0.1), AdamW(other, lr=0.1)
    norm = grad_norm(one)
    first.step(scale=clip_factor(norm, 0.5))
    assert clip_grad_norm(other, 0.5) == norm
    second.step()
    for p, q, m, n in zip(one, other, first.m, second.m, strict=True):
        np.testing.assert_allclose(p.numpy(), q.numpy(), rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(m, n, rtol=1e-5, atol=1e-9)
    assert grad_norm(one) == norm  # left as they are


def test_the_factor_itself() -> None:
    assert clip_factor(2.0, 4.0) == clip_factor(4.0, 4.0) == 1
    assert clip_factor(math.inf, 4.0) == clip_factor(math.nan, 4.0) == 1
    assert clip_factor(5.0, math.inf) == 1
    assert clip_factor(8.0, 4.0) == pytest.approx(0.5)
    with pytest.raises(ConfigError, match="max_norm above 0"):
        clip_factor(1.0, 0.0)
