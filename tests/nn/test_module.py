"""Module: what it finds in itself, and its state, out and in again."""

from typing import Any

import numpy as np
import pytest

import scratchgrad as sg
from scratchgrad.errors import CheckpointError, DtypeError
from tests.nn.models import batch, tiny_config

nn = sg.nn


class Nested(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.gain = nn.Parameter([1.0, 2.0])
        self.first = nn.Linear(2, 3)
        self.rest = [nn.Linear(3, 3, bias=False), nn.LayerNorm(3)]
        self.pair = (nn.Linear(3, 1), "not a module")
        self.again = self.first
        self.frozen = sg.tensor([5.0])

    def forward(self, x: Any) -> Any:
        x = self.first(x * self.gain)
        for layer in self.rest:
            x = layer(x)
        return self.pair[0](x)


NAMES = [
    "gain",
    "first.weight",
    "first.bias",
    "rest.0.weight",
    "rest.1.weight",
    "rest.1.bias",
    "pair.0.weight",
    "pair.0.bias",
]


def test_it_finds_parameters_in_attributes_modules_and_lists() -> None:
    module = Nested()
    assert [name for name, _ in module.named_parameters()] == NAMES
    assert len(list(module.parameters())) == len(NAMES)
    assert module.num_parameters() == 2 + 9 + 9 + 6 + 4
    assert all(p.requires_grad and p.is_leaf for p in module.parameters())
    assert [name for name, _ in module.named_children()] == [
        "first",
        "rest.0",
        "rest.1",
        "pair.0",
        "again",
    ]


def test_every_parameter_gets_a_gradient_and_loses_it() -> None:
    module = Nested()
    (module(sg.tensor([[0.3, -0.7]])) * 3).sum().backward()
    assert all(p.grad is not None for p in module.parameters())
    module.zero_grad()
    assert all(p.grad is None for p in module.parameters())


def test_modes_reach_every_module() -> None:
    module = Nested()
    assert module.training
    assert module.eval() is module
    assert not any(m.training for m in module.modules())
    assert module.train() is module
    assert all(m.training for m in module.modules())


def test_a_module_without_a_forward() -> None:
    with pytest.raises(TypeError, match="Module: a Module is called through its own forward"):
        nn.Module()()


def test_a_parameter_is_a_float_tensor_that_wants_a_gradient() -> None:
    p = nn.Parameter(np.zeros((2, 2)))
    assert isinstance(p, sg.Tensor)
    assert p.requires_grad
    assert p.dtype == np.float64
    assert not nn.Parameter([1.0], requires_grad=False).requires_grad
    with pytest.raises(DtypeError):
        nn.Parameter([1, 2])


def test_parameters_in_a_list_or_a_dict_are_found_too() -> None:
    """A parameter that is not found is never trained, and nobody is told."""

    class Listed(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.gains = [nn.Parameter([1.0]), nn.Parameter([2.0])]
            self.layers = {"one": nn.Linear(1, 1)}

    found = {name for name, _ in Listed().named_parameters()}
    assert found == {"gains.0", "gains.1", "layers.one.weight", "layers.one.bias"}


# ----------------------------------------------------------------------------------------- state


def test_state_dict_is_a_copy() -> None:
    module = Nested()
    state = module.state_dict()
    assert list(state) == NAMES
    for name, parameter in module.named_parameters():
        np.testing.assert_array_equal(state[name], parameter.numpy())
        assert not np.shares_memory(state[name], parameter.numpy())
        assert state[name].flags.writeable


def test_round_trip() -> None:
    one, other = Nested(), Nested()
    assert (one.first.weight.numpy() != other.first.weight.numpy()).any()
    other.load_state_dict(one.state_dict())
    for a, b in zip(one.parameters(), other.parameters(), strict=True):
        np.testing.assert_array_equal(a.numpy(), b.numpy())
        assert b.requires_grad


def test_loading_keeps_the_dtype_and_the_optimiser_s_hold() -> None:
    module = Nested()
    weight = module.first.weight
    state = {name: value.astype(np.float64) for name, value in module.state_dict().items()}
    module.load_state_dict(state)
    assert module.first.weight is weight
    assert weight.dtype == np.float32


def test_loading_is_announced_to_a_graph_that_is_alive() -> None:
    module = Nested()
    loss = module(sg.tensor([[0.3, -0.7]])).sum()
    module.load_state_dict(module.state_dict())
    with pytest.raises(sg.errors.GraphError, match="changed in place"):
        loss.backward()


def test_all_faults_are_listed_and_nothing_is_written() -> None:
    module = Nested()
    before = module.state_dict()
    state = {name: value + 1 for name, value in before.items()}
    del state["gain"]
    state["extra"] = np.zeros(1)
    state["first.weight"] = np.zeros((3, 3))
    with pytest.raises(CheckpointError) as caught:
        module.load_state_dict(state)
    message = str(caught.value)
    assert "gain is missing" in message
    assert "extra is left over" in message
    assert "first.weight should have shape (3, 2), received (3, 3)" in message
    for name, value in module.state_dict().items():
        np.testing.assert_array_equal(value, before[name])


@pytest.mark.parametrize(
    "bad", [np.full(1, "text"), np.full(1, 1j), np.full(1, None, dtype=object)]
)
def test_what_is_no_number_is_refused_before_anything_is_written(bad: np.ndarray) -> None:
    module = Nested()
    before = module.state_dict()
    state = {name: value + 1 for name, value in before.items()}
    state["pair.0.bias"] = bad
    with pytest.raises(CheckpointError, match=r"pair\.0\.bias"):
        module.load_state_dict(state)
    for name, value in module.state_dict().items():
        np.testing.assert_array_equal(value, before[name])


def test_shared_parameters_come_once() -> None:
    model = sg.GPT(tiny_config())
    names = [name for name, _ in model.named_parameters()]
    assert "wte.weight" in names
    assert "lm_head.weight" not in names
    assert model.lm_head.weight is model.wte.weight
    assert len({id(p) for p in model.parameters()}) == len(names)
    model.load_state_dict(sg.GPT(tiny_config(), seed=5).state_dict())
    assert model.lm_head.weight is model.wte.weight


def test_astype_moves_all_parameters() -> None:
    model = sg.GPT(tiny_config())
    ids, targets = batch(model.config)
    model(ids, targets)[1].backward()
    assert model.astype(np.float64) is model
    assert all(p.dtype == np.float64 and p.grad is None for p in model.parameters())
    assert model.lm_head.weight is model.wte.weight
    logits, loss = model(ids, targets)
    assert logits.dtype == loss.dtype == np.float64


def test_astype_to_integers_is_refused() -> None:
    with pytest.raises(DtypeError):
        Nested().astype(np.int64)
