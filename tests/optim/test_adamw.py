"""AdamW against the paper's algorithm in plain NumPy; which parameters decay; its state."""

from typing import Any

import numpy as np
import pytest

import scratchgrad as sg
from scratchgrad.errors import CheckpointError, ConfigError, GraphError
from tests.nn.models import batch, tiny_config

AdamW = sg.optim.AdamW


def paper(
    theta: np.ndarray, gradients: list[np.ndarray], rates: list[float], **settings: Any
) -> np.ndarray:
    """Loshchilov and Hutter (2019), algorithm 2, line by line; their lambda times their alpha is
    our lr times weight_decay, as in PyTorch."""
    beta1, beta2 = settings["betas"]
    eps, decay = settings["eps"], settings["weight_decay"]
    theta, m, v = theta.copy(), np.zeros_like(theta), np.zeros_like(theta)
    for t, (g, alpha) in enumerate(zip(gradients, rates, strict=True), start=1):
        m = beta1 * m + (1 - beta1) * g
        v = beta2 * v + (1 - beta2) * g**2
        m_hat = m / (1 - beta1**t)
        v_hat = v / (1 - beta2**t)
        theta = theta - alpha * (m_hat / (np.sqrt(v_hat) + eps)) - alpha * decay * theta
    return theta


SETTINGS = [
    {"betas": (0.9, 0.999), "eps": 1e-8, "weight_decay": 0.01},
    {"betas": (0.9, 0.99), "eps": 1e-8, "weight_decay": 0.1},
    {"betas": (0.0, 0.5), "eps": 1e-3, "weight_decay": 0.0},
    {"betas": (0.5, 0.0), "eps": 1e-2, "weight_decay": 1.0},
]


@pytest.mark.parametrize("settings", SETTINGS)
@pytest.mark.parametrize("shape", [(), (1,), (7,), (5, 3), (2, 3, 4), (300, 40), (0, 3)])
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_it_is_the_algorithm_of_the_paper(
    settings: dict[str, Any], shape: tuple[int, ...], dtype: Any, rng: np.random.Generator
) -> None:
    theta = np.asarray(rng.standard_normal(shape)).astype(dtype)
    gradients = [np.asarray(rng.standard_normal(shape)).astype(dtype) for _ in range(8)]
    rates = list(rng.uniform(1e-3, 1e-1, 8))
    p = sg.tensor(theta, requires_grad=True)
    optimiser = AdamW([p], **settings)
    for g, lr in zip(gradients, rates, strict=True):
        p.grad = g
        optimiser.step(lr)
    wide = [g.astype(np.float64) for g in gradients]
    expected = paper(theta.astype(np.float64), wide, rates, **settings)
    assert p.dtype == dtype
    tolerance = 1e-12 if dtype is np.float64 else 2e-5
    np.testing.assert_allclose(p.numpy(), expected, rtol=tolerance, atol=tolerance)


def test_the_rate_given_to_init_is_used_where_step_gets_none() -> None:
    p, q = (sg.tensor([1.0, 2.0], requires_grad=True) for _ in range(2))
    one, other = AdamW([p], lr=0.05), AdamW([q], lr=9.0)
    for x in (p, q):
        x.grad = np.array([1.0, -1.0], np.float32)
    one.step()
    other.step(0.05)
    np.testing.assert_array_equal(p.numpy(), q.numpy())


def test_a_rate_of_zero_moves_nothing() -> None:
    p = sg.tensor([1.0, 2.0], requires_grad=True)
    p.grad = np.ones(2, np.float32)
    AdamW([p], lr=0.0, weight_decay=0.5).step()
    assert p.numpy().tolist() == [1, 2]


def test_the_gradient_is_read_and_not_written() -> None:
    p = sg.tensor([1.0, 2.0], requires_grad=True)
    g = np.array([3.0, 4.0], np.float32)
    p.grad = g
    AdamW([p]).step()
    assert g.tolist() == [3, 4]
    assert p.grad is g


def test_decay_does_not_pass_through_the_moments() -> None:
    """Decoupled: with a gradient of zero a parameter shrinks by lr times decay and no more."""
    p = sg.tensor([[2.0]], requires_grad=True)
    optimiser = AdamW([p], lr=0.1, weight_decay=0.5)
    p.grad = np.zeros((1, 1), np.float32)
    optimiser.step()
    assert p.item() == pytest.approx(2 * (1 - 0.1 * 0.5))
    assert optimiser.m[0].item() == 0


def test_only_matrices_decay_and_the_tied_one_once() -> None:
    model = sg.GPT(tiny_config())
    decaying, still = sg.optim.parameter_groups(model, 0.1)
    assert decaying["weight_decay"] == 0.1
    assert still["weight_decay"] == 0.0
    names = {id(p): name for name, p in model.named_parameters()}
    groups = [[names[id(p)] for p in group["params"]] for group in (decaying, still)]
    assert len(groups[0]) + len(groups[1]) == len(names)
    assert all(name.endswith("weight") and "ln_" not in name for name in groups[0])
    assert all(name.endswith("bias") or "ln_" in name for name in groups[1])
    assert groups[0].count("wte.weight") == 1


def test_what_decays_in_a_model() -> None:
    model = sg.GPT(tiny_config())
    before = {name: p.numpy().copy() for name, p in model.named_parameters()}
    for p in model.parameters():
        p.grad = np.zeros_like(p.numpy())
    AdamW(sg.optim.parameter_groups(model, 0.5), lr=0.1).step()
    for name, p in model.named_parameters():
        factor = 0.95 if p.ndim == 2 else 1
        np.testing.assert_allclose(p.numpy(), before[name] * factor, rtol=1e-6, err_msg=name)


def test_a_tied_weight_is_stepped_once() -> None:
    model = sg.GPT(tiny_config())
    ids, targets = batch(model.config)
    model(ids, targets)[1].backward()
    w = model.wte.weight
    before, g = w.numpy().astype(np.float64), w.grad.astype(np.float64)
    AdamW(sg.optim.parameter_groups(model, 0.1), lr=0.01).step()
    settings = {"betas": (0.9, 0.999), "eps": 1e-8, "weight_decay": 0.1}
    np.testing.assert_allclose(
        w.numpy(), paper(before, [g], [0.01], **settings), rtol=1e-5, atol=1e-7
    )


def test_groups_fall_back_on_the_common_decay() -> None:
    p, q = (sg.tensor([[1.0]], requires_grad=True) for _ in range(2))
    for x in (p, q):
        x.grad = np.zeros((1, 1), np.float32)
    AdamW([{"params": [p]}, {"params": [q], "weight_decay": 0.0}], lr=0.1, weight_decay=1.0).step()
    assert p.item() == pytest.approx(0.9)
    assert q.item() == 1


def test_a_parameter_without_a_gradient_stays_and_its_state_too() -> None:
    p, q = (sg.tensor([1.0], requires_grad=True) for _ in range(2))
    optimiser = AdamW([p, q], lr=0.1)
    p.grad = np.ones(1, np.float32)
    optimiser.step()
    assert q.item() == 1
    assert optimiser.steps.tolist() == [1, 0]
    p.grad, q.grad = None, np.ones(1, np.float32)
    optimiser.step()
    np.testing.assert_array_equal(p.numpy(), q.numpy())  # each counts its own steps
    optimiser.zero_grad()
    assert p.grad is q.grad is None


def test_a_parameter_in_another_layout_is_stepped_too() -> None:
    values = np.arange(6.0).reshape(2, 3)
    p = sg.tensor(values).T.detach()
    p.requires_grad = True
    q = sg.tensor(values.T, requires_grad=True)
    assert not p.numpy().flags.c_contiguous
    for x in (p, q):
        optimiser = AdamW([x], lr=0.1)
        for factor in (1.0, -3.0):
            x.grad = factor * np.arange(1.0, 7.0).reshape(3, 2)
            optimiser.step()
    np.testing.assert_allclose(p.numpy(), q.numpy(), rtol=1e-12)


def test_a_step_is_announced_to_a_graph_that_is_alive() -> None:
    p = sg.tensor([1.0], requires_grad=True)
    loss = p * p
    p.grad = np.ones(1, np.float32)
    AdamW([p]).step()
    with pytest.raises(GraphError, match="changed in place"):
        loss.backward()


# ----------------------------------------------------------------------------------------- state


def steps(optimiser: Any, parameters: list[sg.Tensor], seeds: range) -> None:
    for seed in seeds:
        rng = np.random.default_rng(seed)
        for p in parameters:
            p.grad = rng.standard_normal(p.shape).astype(p.dtype)
        optimiser.step()


def fresh() -> list[sg.Tensor]:
    rng = np.random.default_rng(9)
    return [
        sg.tensor(rng.standard_normal(shape).astype(np.float32), requires_grad=True)
        for shape in ((3, 4), (5,), ())
    ]


def test_going_on_from_a_state_equals_never_having_stopped() -> None:
    straight = fresh()
    steps(AdamW(straight, lr=0.05), straight, range(10))

    stopped = fresh()
    optimiser = AdamW(stopped, lr=0.05)
    steps(optimiser, stopped, range(4))
    state, weights = optimiser.state_dict(), [p.numpy().copy() for p in stopped]
    steps(optimiser, stopped, range(4, 6))  # lost work

    resumed = [sg.tensor(w, requires_grad=True) for w in weights]
    optimiser = AdamW(resumed, lr=0.05)
    optimiser.load_state_dict(state)
    steps(optimiser, resumed, range(4, 10))
    for a, b in zip(straight, resumed, strict=True):
        np.testing.assert_array_equal(a.numpy(), b.numpy())


def test_the_state_is_a_copy() -> None:
    parameters = fresh()
    optimiser = AdamW(parameters)
    steps(optimiser, parameters, range(2))
    state = optimiser.state_dict()
    assert set(state) == {"steps", "m.0", "v.0", "m.1", "v.1", "m.2", "v.2"}
    kept = {name: value.copy() for name, value in state.items()}
    steps(optimiser, parameters, range(2, 4))
    for name, value in kept.items():
        np.testing.assert_array_equal(state[name], value)
    optimiser.load_state_dict(state)
    state["m.0"][...] = 99
    assert (optimiser.m[0] != 99).all()


def test_a_state_that_does_not_fit_is_refused_whole() -> None:
    parameters = fresh()
    optimiser = AdamW(parameters)
    steps(optimiser, parameters, range(2))
    before = optimiser.state_dict()
    state = {name: value + 1 for name, value in before.items()}
    del state["m.0"]
    state["v.1"] = np.zeros(4)
    state["v.7"] = np.zeros(1)
    with pytest.raises(CheckpointError, match=r"m\.0 is missing; v\.1 should have.*v\.7 is left"):
        optimiser.load_state_dict(state)
    for name, value in optimiser.state_dict().items():
        np.testing.assert_array_equal(value, before[name])


# ---------------------------------------------------------------------------------------- errors


@pytest.mark.parametrize(
    ("settings", "name"),
    [
        ({"lr": -1.0}, "lr"),
        ({"lr": float("nan")}, "lr"),
        ({"betas": (1.0, 0.9)}, "betas"),
        ({"betas": (0.9, -0.1)}, "betas"),
        ({"eps": -1e-8}, "eps"),
        ({"weight_decay": -0.1}, "weight_decay"),
    ],
)
def test_settings_out_of_range(settings: dict[str, Any], name: str) -> None:
    with pytest.raises(ConfigError, match=f"AdamW: {name} is out of its range"):
        AdamW([sg.tensor([1.0], requires_grad=True)], **settings)


def test_parameters_that_cannot_be_stepped() -> None:
    p = sg.tensor([1.0], requires_grad=True)
    with pytest.raises(ConfigError, match="at least one parameter"):
        AdamW([])
    with pytest.raises(ConfigError, match="twice"):
        AdamW([p, p])
    with pytest.raises(ConfigError, match="twice"):
        AdamW([{"params": [p]}, {"params": [p]}])
    for bad in (sg.tensor([1.0]), p * 2):
        with pytest.raises(GraphError, match="leaves with requires_grad=True"):
            AdamW([bad])


@pytest.mark.parametrize("bad", [np.ones(1), 1.0, ("weight", sg.tensor(1.0)), None])
def test_what_is_no_tensor_is_refused(bad: object) -> None:
    with pytest.raises(ConfigError, match="expected Tensors to learn, received"):
        AdamW([sg.tensor(1.0, requires_grad=True), bad])


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("lr", sg.tensor(0.1)),
        ("lr", sg.tensor([0.1, 0.1])),
        ("lr", "0.1"),
        ("eps", sg.tensor(1e-8)),
        ("betas", (0.9, sg.tensor(0.99))),
        ("betas", (0.9,)),
        ("betas", (0.9, 0.99, 0.999)),
    ],
)
def test_settings_are_numbers(name: str, value: object) -> None:
    with pytest.raises(ConfigError, match=f"{name} is out of its range"):
        AdamW([sg.tensor(1.0, requires_grad=True)], **{name: value})


def test_parameters_may_come_from_a_generator() -> None:
    model = sg.nn.Linear(2, 2)
    assert len(AdamW(model.parameters()).params) == 2


@pytest.mark.parametrize("key", ["lr", "weight_decai"])
def test_a_group_s_setting_that_is_not_known_is_refused(key: str) -> None:
    """Or a learning rate meant for one group would be dropped without a word."""
    p = sg.tensor([1.0], requires_grad=True)
    with pytest.raises((ConfigError, TypeError), match=key):
        AdamW([{"params": [p], key: 1e-4}])


def test_a_negative_rate_of_a_step_and_a_negative_decay_of_a_group_are_refused() -> None:
    p = sg.tensor([1.0], requires_grad=True)
    p.grad = np.ones(1, np.float32)
    with pytest.raises(ConfigError, match="lr is out of its range"):
        AdamW([p]).step(lr=-0.1)
    assert p.item() == 1
    with pytest.raises(ConfigError, match="weight_decay is out of its range"):
        AdamW([{"params": [p], "weight_decay": -1.0}])
