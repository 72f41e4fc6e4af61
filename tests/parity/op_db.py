"""How PyTorch's own sample inputs are put to our operations: `torch.testing._internal`'s op_db.

    python -m tests.parity.op_db

prints, for every name, how many of its samples and error inputs are checked, and why the others are
not. A name with variants is written ``name:variant``. ``op_db_mapped.py`` says which function of
ours answers to which name, through the adapters of ``op_db_adapters.py``; ``op_db_unmapped.py``
says which names have no answer, and why.
"""

import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from torch.testing._internal.common_methods_invocations import op_db
from torch.testing._internal.common_utils import noncontiguous_like, set_rng_seed

import scratchgrad as sg


def full_name(op: Any) -> str:
    return f"{op.name}:{op.variant_test_name}" if op.variant_test_name else op.name


OP_DB = {full_name(op): op for op in op_db}


class Rule(NamedTuple):
    """What is left out by design, and why."""

    reason: str
    applies: Callable[[Any], bool]  # asked with a SampleInput or an ErrorInput


@dataclass(frozen=True)
class Mapped:
    """Our answer to a name of op_db.

    ``ours`` is called as PyTorch's function is, with Tensors for tensors. ``rules`` name samples
    that it does not take, ``accepts`` error inputs that are no error here. ``theirs`` picks the
    part of PyTorch's result that ours answers to.
    """

    ours: Callable[..., Any]
    rules: tuple[Rule, ...] = ()
    accepts: tuple[Rule, ...] = ()
    theirs: Callable[[Any], Any] = lambda result: result


def leaves(value: Any) -> Iterator[Any]:
    """Everything inside the tuples, lists, dicts and slices of a sample."""
    if isinstance(value, (tuple, list)):
        for part in value:
            yield from leaves(part)
    elif isinstance(value, dict):
        yield from leaves(list(value.values()))
    elif isinstance(value, slice):
        yield from leaves([value.start, value.stop, value.step])
    else:
        yield value


def rebuilt(value: Any, change: Callable[[Any], Any]) -> Any:
    """The same nest with every leaf changed."""
    if isinstance(value, (tuple, list)):
        return type(value)(rebuilt(part, change) for part in value)
    if isinstance(value, dict):
        return {key: rebuilt(part, change) for key, part in value.items()}
    return value if isinstance(value, slice) else change(value)


def parts(sample: Any) -> tuple[Any, tuple[Any, ...], dict[str, Any]]:
    """What a function is called with."""
    return sample.input, tuple(sample.args), dict(sample.kwargs)


# --------------------------------------------------------------------------------- general rules

_NARROW = (torch.float16, torch.bfloat16)


def _tensors(sample: Any) -> list[torch.Tensor]:
    return [x for x in leaves(parts(sample)) if isinstance(x, torch.Tensor)]


def _is_complex(sample: Any) -> bool:
    return any(isinstance(x, complex) for x in leaves(parts(sample))) or any(
        t.is_complex() for t in _tensors(sample)
    )


def _is_mixed(sample: Any) -> bool:
    return len({t.dtype for t in _tensors(sample) if t.is_floating_point()}) > 1


EVERYWHERE = (
    Rule("complex numbers", _is_complex),
    Rule("out=", lambda s: "out" in s.kwargs),
    Rule("dtype=: astype says it aloud", lambda s: s.kwargs.get("dtype") is not None),
    Rule("sixteen bits", lambda s: any(t.dtype in _NARROW for t in _tensors(s))),
    Rule("two float dtypes: astype says it aloud", _is_mixed),
    Rule("NumPy has 64 axes at the most", lambda s: any(t.ndim > 64 for t in _tensors(s))),
)


def _first(rules: tuple[Rule, ...], asked: Any) -> str | None:
    return next((rule.reason for rule in rules if rule.applies(asked)), None)


def reason_to_skip(mapped: Mapped, sample: Any) -> str | None:
    """Why a sample is not checked, or None if it is."""
    return _first(EVERYWHERE + mapped.rules, sample)


def reason_to_accept(mapped: Mapped, error: Any) -> str | None:
    """Why an error input need not raise, or None if it must."""
    return _first(EVERYWHERE, error.sample_input) or _first(mapped.accepts, error)


# --------------------------------------------------------------------------------------- samples


@contextmanager
def quiet_torch() -> Iterator[None]:
    """PyTorch warns about what its samples do on purpose (deprecated calls, a std of one number);
    those warnings are about PyTorch and not ours to mend."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


# OpInfo.sample_inputs would set the seed before every sample and look for a unittest among all the
# frames of the stack, which under pytest takes most of the time; the functions behind it do not.


def samples(name: str, dtype: torch.dtype = torch.float64) -> list[Any]:
    """The sample inputs of a name, the same ones each time."""
    op = OP_DB[name]
    set_rng_seed(0)
    with quiet_torch():
        return list(op.sample_inputs_func(op, "cpu", dtype, op.supports_autograd))


def references(name: str) -> list[Any]:
    """The larger set by which PyTorch holds its operations against NumPy: extreme values, odd
    shapes and strides. Not every name has one; the samples are among it."""
    op = OP_DB[name]
    if op.reference_inputs_func is None:
        return []
    set_rng_seed(0)
    with quiet_torch():
        found = list(op.reference_inputs_func(op, "cpu", torch.float64, False))
    for sample in found if op.supports_autograd else []:
        for tensor in _tensors(sample):
            tensor.requires_grad_(tensor.is_floating_point())  # asked for, integers would fail
    return found


def error_inputs(name: str) -> list[Any]:
    """What PyTorch must refuse, with the error it raises. Not every name has some."""
    op = OP_DB[name]
    set_rng_seed(0)
    with quiet_torch():
        return list(op.error_inputs_func(op, "cpu")) if op.error_inputs_func else []


def to_ours(value: Any) -> Any:
    """A nest with Tensors on the very memory of its tensors, strides and all."""

    def change(leaf: Any) -> Any:
        if isinstance(leaf, torch.Tensor):
            array = leaf.detach().numpy()
            if leaf.dtype in (torch.float32, torch.float64):
                return sg.Tensor(array, leaf.requires_grad)  # sg.tensor would copy
            return sg.tensor(array)
        if isinstance(leaf, torch.dtype):
            return torch.zeros(0, dtype=leaf).numpy().dtype
        return leaf

    return rebuilt(value, change)


def to_theirs(value: Any) -> Any:
    """A nest with tensors of its own for gradients to arrive at."""

    def change(leaf: Any) -> Any:
        if isinstance(leaf, torch.Tensor):
            return leaf.detach().requires_grad_(leaf.requires_grad)
        return leaf

    return rebuilt(value, change)


def strided(value: Any) -> Any:
    """A nest with tensors whose elements do not lie side by side."""

    def change(leaf: Any) -> Any:
        return noncontiguous_like(leaf) if isinstance(leaf, torch.Tensor) else leaf

    return rebuilt(value, change)


def wanted(value: Any) -> list[Any]:
    """The leaves that want a gradient, ours or theirs."""
    return [leaf for leaf in leaves(value) if getattr(leaf, "requires_grad", False)]


# --------------------------------------------------------------------------------------- running


def as_list(value: Any) -> list[Any]:
    return list(value) if isinstance(value, (tuple, list)) else [value]


def _as_tensor(y: Any) -> torch.Tensor:
    return y if isinstance(y, torch.Tensor) else torch.from_numpy(np.asarray(y))  # of a number


def run_theirs(
    function: Callable[[], Any], inputs: list[Any], rng: np.random.Generator
) -> tuple[list[np.ndarray], list[np.ndarray], list[np.ndarray | None]]:
    """PyTorch's outputs, a random cotangent for each, and the gradients of the inputs."""
    with quiet_torch():
        outputs = [_as_tensor(y) for y in as_list(function())]
    cotangents = [rng.standard_normal(tuple(y.shape)) for y in outputs]
    rooted = [(y, dy) for y, dy in zip(outputs, cotangents, strict=True) if y.requires_grad]
    gradients: list[Any] = [None] * len(inputs)
    if rooted and inputs:
        roots = [y for y, _ in rooted]
        dys = [torch.tensor(dy).to(y.dtype) for y, dy in rooted]
        gradients = list(torch.autograd.grad(roots, inputs, dys, allow_unused=True))
    arrays = [y.detach().numpy() for y in outputs]
    return arrays, cotangents, [None if g is None else g.numpy() for g in gradients]


def run_ours(
    function: Callable[[], Any], inputs: list[Any], cotangents: list[np.ndarray]
) -> tuple[list[np.ndarray], list[np.ndarray | None]]:
    """Our outputs, and the gradients of the inputs."""
    with np.errstate(all="ignore"):  # samples hold 1/0 and log(0), and both sides answer inf
        outputs = as_list(function())
        for y, dy in zip(outputs, cotangents, strict=True):
            if getattr(y, "requires_grad", False):
                y.backward(dy.astype(y.dtype), retain_graph=True)
    return [np.asarray(y) for y in outputs], [t.grad for t in inputs]


def compare(
    theirs: tuple[Callable[[], Any], list[Any]],
    ours: tuple[Callable[[], Any], list[Any]],
    rtol: float,
    seed: int,
) -> None:
    """The same values, the same gradients of the same inputs, and no input written to."""
    before = [t.detach().numpy().copy() for t in theirs[1]]
    expected, cotangents, expected_gradients = run_theirs(*theirs, np.random.default_rng(seed))
    outputs, gradients = run_ours(*ours, cotangents)
    for y, e in zip(outputs, expected, strict=True):
        assert (y.shape, y.dtype) == (e.shape, e.dtype)
        close(y, e, rtol)
    for g, e in zip(gradients, expected_gradients, strict=True):
        if g is None or e is None:  # no way from the outputs to this input: as good as zeros
            assert not np.any(g)
            assert not np.any(e)
            continue
        assert (g.shape, g.dtype) == (e.shape, e.dtype)
        close(g, e, rtol)
    for t, kept in zip(ours[1], before, strict=True):
        np.testing.assert_array_equal(t.data, kept, "an input was written to")


def close(ours: Any, theirs: np.ndarray, rtol: float) -> None:
    """Equal but for rounding, which is measured against the largest number."""
    finite = np.abs(theirs[np.isfinite(theirs)])
    np.testing.assert_allclose(ours, theirs, rtol=rtol, atol=rtol * finite.max(initial=1.0))


def check(op: Any, mapped: Mapped, call: Any, rtol: float, seed: int) -> None:
    """One call, an (input, args, kwargs), of PyTorch's function and of ours."""
    x, args, kwargs = ours = to_ours(call)
    y, theirs_args, theirs_kwargs = theirs = to_theirs(call)
    compare(
        (lambda: mapped.theirs(op(y, *theirs_args, **theirs_kwargs)), wanted(theirs)),
        (lambda: mapped.ours(x, *args, **kwargs), wanted(ours)),
        rtol,
        seed,
    )


# ---------------------------------------------------------------------------------------- counts


def counts(name: str, mapped: Mapped) -> tuple[Counter[str], Counter[str]]:
    """How many samples, reference inputs and errors are tried, and why the rest is not."""
    tried: Counter[str] = Counter()
    skipped: Counter[str] = Counter()
    for kind, given in {"samples": samples(name), "references": references(name)}.items():
        for sample in given:
            reason = reason_to_skip(mapped, sample)
            (skipped if reason else tried)[reason or kind] += 1
    for error in error_inputs(name):
        reason = reason_to_accept(mapped, error)
        (skipped if reason else tried)[f"error: {reason}" if reason else "errors"] += 1
    return tried, skipped


def main() -> None:
    from tests.parity.op_db_mapped import MAPPED
    from tests.parity.op_db_unmapped import UNMAPPED

    kinds = ("samples", "references", "errors")
    total: Counter[str] = Counter()
    print(f"PyTorch {torch.__version__}\n{'checked of':<44}" + "".join(f"{k:>11}" for k in kinds))
    for name, mapped in MAPPED.items():
        tried, skipped = counts(name, mapped)
        total += tried + Counter(skipped=skipped.total())
        why = "; ".join(f"{n} {reason}" for reason, n in skipped.items())
        print(f"{name:<44}{''.join(f'{tried[k]:>11}' for k in kinds)}  {why and f'skipped: {why}'}")
    print(f"{len(MAPPED)} names: {dict(total)}")
    for reason, names in UNMAPPED.items():
        print(f"not mapped, {len(names.split())} names: {reason}")


if __name__ == "__main__":
    main()
