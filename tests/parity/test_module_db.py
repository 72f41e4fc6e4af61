"""Our layers on the inputs that PyTorch ships for tests of its own: module_db.

A layer of ours gets the weights of PyTorch's; value, gradients of the inputs and gradients of the
weights must agree. Where PyTorch has a layer and we have a function, the function answers.
"""

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from torch.testing._internal.common_modules import ModuleErrorEnum, module_db
from torch.testing._internal.common_utils import set_rng_seed

import scratchgrad as sg
from tests.parity import op_db
from tests.parity.op_db_adapters import cross_entropy, pad

F = sg.nn.functional
MODULE_DB = {info.name: info for info in module_db}
RTOL = {torch.float64: 1e-10, torch.float32: 1e-4}


class Answer(NamedTuple):
    """``make`` is called as PyTorch's class is, and gives a Module of ours or a function."""

    make: Callable[..., Callable[..., Any]]
    checked: int  # of the inputs that PyTorch ships, at least so many are not skipped
    skips: Callable[..., str | None] = lambda args, kwargs, inputs: None
    refused: int = 0  # of its error inputs, at least so many raise; the rest are skipped


def layer_norm(shape: Any, eps: float = 1e-5, elementwise_affine: bool = True, bias: bool = True):
    if elementwise_affine:
        return sg.nn.LayerNorm(*shape, eps=eps, bias=bias)
    return lambda x: F.layer_norm(x, eps=eps)


def rms_norm(shape: Any, eps: float, elementwise_affine: bool = True):
    if elementwise_affine:
        return sg.nn.RMSNorm(*shape, eps=eps)
    return lambda x: F.rms_norm(x, eps=eps)


def several_axes(args: Any, kwargs: Any, inputs: Any) -> str | None:
    return "the layers normalise one axis" if len(args[0]) > 1 else None


def a_number(args: Any, kwargs: Any, inputs: Any) -> str | None:
    return "a single number has no axis 0, as in NumPy" if inputs[0].ndim == 0 else None


def other_losses(args: Any, kwargs: Any, inputs: Any) -> str | None:
    if kwargs.get("weight") is not None:
        return "no weights of classes"
    return "targets are ids" if inputs[1].is_floating_point() else None


def function(f: Callable[..., Any], checked: int) -> Answer:
    return Answer(lambda: f, checked)


def along(f: Callable[..., Any], checked: int) -> Answer:
    return Answer(lambda dim: lambda x: f(x, axis=dim), checked, a_number)


def padded(axes: int) -> Answer:
    def make(width: Any, value: float = 0) -> Callable[..., Any]:
        widths = [width] * 2 * axes if isinstance(width, int) else width
        return lambda x: pad(x, widths, value=value)

    return Answer(make, 2)


ANSWERS = {
    "nn.Linear": Answer(sg.nn.Linear, 3),
    "nn.Embedding": Answer(sg.nn.Embedding, 2, refused=2),
    "nn.LayerNorm": Answer(layer_norm, 4, several_axes),
    "nn.RMSNorm": Answer(rms_norm, 4, several_axes),
    "nn.CrossEntropyLoss": Answer(
        lambda **settings: lambda x, target: cross_entropy(x, target, **settings),
        54,
        other_losses,
        refused=4,
    ),
    "nn.ReLU": function(F.relu, 4),
    "nn.GELU": Answer(lambda *form: lambda x: F.gelu(x, *form), 3),
    "nn.SiLU": function(F.silu, 3),
    "nn.Sigmoid": function(F.sigmoid, 4),
    "nn.Tanh": function(F.tanh, 3),
    "nn.Softmax": along(F.softmax, 2),
    "nn.Softmax2d": function(lambda x: F.softmax(x, axis=-3), 2),
    "nn.LogSoftmax": along(F.log_softmax, 3),
    "nn.Softmin": along(lambda x, axis: F.softmax(-x, axis=axis), 3),
    "nn.ZeroPad1d": padded(1),
    "nn.ZeroPad2d": padded(2),
    "nn.ZeroPad3d": padded(3),
    "nn.ConstantPad1d": padded(1),
    "nn.ConstantPad2d": padded(2),
    "nn.ConstantPad3d": padded(3),
}


def shipped(name: str, dtype: torch.dtype) -> Iterator[tuple[Any, Any, Any]]:
    """What each layer is made with, and what it is called with."""
    info = MODULE_DB[name]
    set_rng_seed(0)
    for given in info.module_inputs_func(info, "cpu", dtype, True, False):
        made, called = given.constructor_input, given.forward_input
        if ANSWERS[name].skips(made.args, made.kwargs, called.args) is None:
            yield made.args, made.kwargs, (tuple(called.args), dict(called.kwargs))


def twins(name: str, args: Any, kwargs: Any, dtype: torch.dtype) -> tuple[Any, Any]:
    """The same layer twice, PyTorch's and ours, with the same weights."""
    theirs = MODULE_DB[name].module_cls(*args, **kwargs).to(dtype)
    ours = ANSWERS[name].make(*args, **kwargs)
    if isinstance(ours, sg.nn.Module):
        ours.astype(str(dtype).removeprefix("torch."))
        ours.load_state_dict({n: p.detach().numpy() for n, p in theirs.named_parameters()})
    return theirs, ours


def parameters(layer: Any) -> list[Any]:
    return [p for _, p in sorted(getattr(layer, "named_parameters", list)())]


@pytest.mark.parametrize("name", ANSWERS)
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=["float64", "float32"])
@pytest.mark.parametrize("layout", ["contiguous", "strided"])
def test_values_and_gradients(name: str, dtype: torch.dtype, layout: str) -> None:
    checked = 0
    for args, kwargs, call in shipped(name, dtype):
        theirs, ours = twins(name, args, kwargs, dtype)
        called = op_db.strided(call) if layout == "strided" else call
        x, y = op_db.to_theirs(called), op_db.to_ours(called)
        op_db.compare(
            (lambda f=theirs, c=x: f(*c[0], **c[1]), op_db.wanted(x) + parameters(theirs)),
            (lambda f=ours, c=y: f(*c[0], *c[1].values()), op_db.wanted(y) + parameters(ours)),
            RTOL[dtype],
            seed=checked,
        )
        checked += 1
    assert checked >= ANSWERS[name].checked


@pytest.mark.parametrize("name", [n for n in ANSWERS if MODULE_DB[n].module_error_inputs_func])
def test_what_pytorch_refuses_raises(name: str) -> None:
    info, refused = MODULE_DB[name], 0
    set_rng_seed(0)
    for error in info.module_error_inputs_func(info, "cpu", torch.float64, True, False):
        made, called = error.module_error_input.constructor_input, None
        args, kwargs = tuple(made.args), dict(made.kwargs)
        if error.error_on is ModuleErrorEnum.FORWARD_ERROR:
            called = error.module_error_input.forward_input
            if ANSWERS[name].skips(args, kwargs, called.args) or "scalar type" in error.error_regex:
                continue  # the last: int32 ids are ids
        with pytest.raises(sg.errors.ScratchgradError):
            attempt(name, args, kwargs, called)
        refused += 1
    assert refused >= ANSWERS[name].refused


def attempt(name: str, args: Any, kwargs: Any, called: Any) -> None:
    layer = ANSWERS[name].make(*args, **kwargs)
    if called is not None:
        layer(*op_db.to_ours(tuple(called.args)))


@pytest.mark.parametrize(("p", "training"), [(0.0, True), (1.0, True), (0.3, False), (1.0, False)])
def test_dropout_without_a_draw(p: float, training: bool, rng: np.random.Generator) -> None:
    """module_db has no nn.Dropout."""
    x = torch.tensor(rng.standard_normal((3, 4)), requires_grad=True)
    y = op_db.to_ours(x)
    theirs, ours = torch.nn.Dropout(p).train(training), sg.nn.Dropout(p).train(training)
    op_db.compare((lambda: theirs(x), [x]), (lambda: ours(y), [y]), 1e-12, seed=0)
