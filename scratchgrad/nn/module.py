"""Module: parameters and sub-modules found by looking at the attributes, nothing registered."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from scratchgrad.autograd import as_array
from scratchgrad.errors import CheckpointError, DtypeError
from scratchgrad.kernels.jit import plain
from scratchgrad.tensor import Tensor


class Parameter(Tensor):
    """A Tensor that a Module learns: it wants a gradient, and is part of the state."""

    __slots__ = ()

    def __init__(self, data: Any, requires_grad: bool = True) -> None:
        super().__init__(data if isinstance(data, Place) else as_array(data), requires_grad)


class Place(np.ndarray):
    """The place of a weight that comes later: a shape, and one zero for all of its memory."""

    @staticmethod
    def of(shape: Any) -> Place:
        """A place of this shape, to be filled by ``load_state_dict(state, assign=True)``."""
        return np.broadcast_to(np.zeros((), np.float32), shape).view(Place)


class Module:
    """A layer, or a network of layers. Subclasses set attributes and define ``forward``.

    >>> import scratchgrad as sg
    >>> class Affine(sg.nn.Module):
    ...     def __init__(self):
    ...         super().__init__()
    ...         self.gain = sg.nn.Parameter([1.0, 2.0])
    ...     def forward(self, x):
    ...         return x * self.gain
    >>> [name for name, _ in Affine().named_parameters()]
    ['gain']
    """

    def __init__(self) -> None:
        self.training = True

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        raise TypeError(f"{type(self).__name__}: a Module is called through its own forward")

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self.forward(*args, **kwargs)

    # ---- what it is made of

    def named_children(self) -> Iterator[tuple[str, Module]]:
        """The modules directly inside; those in a list or a dict are named by index or key."""
        return ((name, part) for name, part in self._parts() if isinstance(part, Module))

    def _parts(self) -> Iterator[tuple[str, Any]]:
        """Every attribute, and every item of those that are a list, a tuple or a dict."""
        for name, value in vars(self).items():
            if isinstance(value, (list, tuple)):
                yield from ((f"{name}.{i}", item) for i, item in enumerate(value))
            elif isinstance(value, dict):
                yield from ((f"{name}.{key}", item) for key, item in value.items())
            else:
                yield name, value

    def modules(self) -> Iterator[Module]:
        """This module and all inside it, parents first."""
        yield self
        for _, child in self.named_children():
            yield from child.modules()

    def _named(self, prefix: str) -> Iterator[tuple[str, Parameter]]:
        for name, part in self._parts():
            if isinstance(part, Parameter):
                yield prefix + name, part
        for name, child in self.named_children():
            yield from child._named(f"{prefix}{name}.")

    def named_parameters(self) -> Iterator[tuple[str, Parameter]]:
        """Each parameter with its dotted name. One that two modules share comes once."""
        seen: set[int] = set()
        for name, parameter in self._named(""):
            if id(parameter) not in seen:
                seen.add(id(parameter))
                yield name, parameter

    def parameters(self) -> Iterator[Parameter]:
        """Each parameter once."""
        return (parameter for _, parameter in self.named_parameters())

    def num_parameters(self) -> int:
        """How many numbers it learns; shared ones count once."""
        return sum(parameter.size for parameter in self.parameters())

    # ---- modes

    def train(self, mode: bool = True) -> Module:
        """Training mode, in which dropout drops."""
        for module in self.modules():
            module.training = mode
        return self

    def eval(self) -> Module:
        """Evaluation mode: nothing is dropped."""
        return self.train(False)

    def zero_grad(self) -> None:
        """Forget all gradients."""
        for parameter in self.parameters():
            parameter.grad = None

    def astype(self, dtype: Any) -> Module:
        """All parameters in another float dtype, in place. Gradients are forgotten."""
        if np.dtype(dtype) not in (np.float32, np.float64):
            raise DtypeError(f"Module.astype: expected float32 or float64, received {dtype}")
        for parameter in self.parameters():
            parameter._array = parameter._array.astype(dtype)
            parameter.grad = None
        return self

    # ---- state

    def state_dict(self) -> dict[str, np.ndarray]:
        """A copy of each parameter by name; one that two modules share comes once."""
        return {name: parameter.data.copy() for name, parameter in self.named_parameters()}

    def load_state_dict(self, state: Mapping[str, np.ndarray], assign: bool = False) -> None:
        """Overwrite every parameter with the array of its name; all are checked first.

        With ``assign`` the arrays themselves become the parameters, dtype and all, without a copy
        (but of those that are not contiguous or not writeable); they must all be float32 or all
        float64.

        Raises
        ------
        CheckpointError
            Listing every parameter that is missing, left over, or of another shape.
        """
        parameters = dict(self.named_parameters())
        faults = [f"{name} is missing" for name in parameters.keys() - state.keys()]
        faults += [f"{name} is left over" for name in state.keys() - parameters.keys()]
        for name in parameters.keys() & state.keys():
            expected, received = parameters[name].shape, np.shape(state[name])
            if expected != received:
                faults.append(f"{name} should have shape {expected}, received {received}")
            elif (kind := np.asarray(state[name]).dtype).kind not in "fiu":
                faults.append(f"{name} should hold real numbers, received {kind}")
            elif assign and kind not in (np.float32, np.float64):
                faults.append(f"{name} should be float32 or float64, received {kind}")
        if assign and len({np.asarray(array).dtype for array in state.values()}) > 1:
            faults.append("all should have one dtype, received several")
        if faults:
            raise CheckpointError("load_state_dict: " + "; ".join(sorted(faults)))
        for name, parameter in parameters.items():
            if assign:
                # Kernels would copy what they cannot read as it lies, at each call anew.
                parameter._array = plain(np.asarray(state[name]))
                parameter.grad = None
            else:
                parameter.writable()[...] = state[name]

    def __repr__(self) -> str:
        lines = "".join(f"\n({name}): {child!r}" for name, child in self.named_children())
        inside = lines.replace("\n", "\n  ") + "\n" if lines else self._settings()
        return f"{type(self).__name__}({inside})"

    def _settings(self) -> str:
        """What a leaf module shows of itself between the parentheses."""
        shown = {n: v for n, v in vars(self).items() if isinstance(v, (bool, int, float))}
        return ", ".join(f"{n}={v}" for n, v in shown.items() if n != "training")
