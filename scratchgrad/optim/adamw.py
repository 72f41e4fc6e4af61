"""AdamW: a step of each parameter's own size, and weight decay apart from the gradient."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from scratchgrad.autograd import Variable
from scratchgrad.errors import CheckpointError, ConfigError, GraphError
from scratchgrad.kernels.adamw import adamw_runs
from scratchgrad.optim.flat import Flat


def parameter_groups(module: Any, weight_decay: float) -> list[dict[str, Any]]:
    """The parameters of a Module in two groups: matrices decay, biases and norm gains do not.

    A bias or a gain has nothing to do with how steep the function is, which is what decay holds
    down. A matrix that two layers share is in the list once, so it decays once.
    """
    parameters = list(module.parameters())
    return [
        {"params": [p for p in parameters if p.ndim >= 2], "weight_decay": weight_decay},
        {"params": [p for p in parameters if p.ndim < 2], "weight_decay": 0.0},
    ]


def _require(name: str, value: Any, good: bool) -> None:
    if not good:
        raise ConfigError(f"AdamW: {name} is out of its range, received {value!r}")


def _is_number(value: Any) -> bool:
    """A Tensor is none: the kernel cannot take it."""
    return isinstance(value, (int, float, np.integer, np.floating))


class AdamW:
    """Adam with decoupled weight decay.

    Each step t, for each parameter p with gradient g::

        m = b1 m + (1 - b1) g               the gradient's running mean
        v = b2 v + (1 - b2) g^2             its running mean square
        p = p - lr wd p                     decay, not part of g
        p = p - lr m' / (sqrt(v') + eps)    m' = m / (1 - b1^t), v' = v / (1 - b2^t)

    m and v start at 0, which pulls them towards 0 in the first steps; the primes undo that.

    Parameters
    ----------
    params : Tensors, or groups ``{"params": [...], "weight_decay": ...}``
        Their arrays become views of one flat array, and so do their gradients. What is assigned to
        ``data`` or ``grad`` afterwards is copied in at the next step; arrays taken from ``data``
        before are no longer the parameters'. A gradient taken from ``grad`` is overwritten by the
        first backward after ``zero_grad``, and added to by each other: copy it to keep it.
    lr : learning rate; ``step`` may be given another each time.
    betas : (b1, b2)
    eps : added to the denominator
    weight_decay : wd, of every group that names none of its own

    Source: Loshchilov and Hutter, Decoupled Weight Decay Regularization (2019), algorithm 2.
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.01,
    ) -> None:
        given = list(params)
        groups: list[Any] = (
            given if given and isinstance(given[0], Mapping) else [{"params": given}]
        )
        _require("lr", lr, _is_number(lr) and lr >= 0)
        fit = all(_is_number(b) and 0 <= b < 1 for b in betas)
        _require("betas", betas, fit and len(betas) == 2)
        _require("eps", eps, _is_number(eps) and eps >= 0)
        self.lr, self.betas, self.eps = lr, betas, eps
        self.params: list[Variable] = []
        self.decays: list[float] = []
        for group in groups:
            unknown = group.keys() - {"params", "weight_decay"}
            if unknown:
                raise ConfigError(
                    f"AdamW: a group may hold params and weight_decay, received {sorted(unknown)}"
                )
            decay = group.get("weight_decay", weight_decay)
            _require("weight_decay", decay, decay >= 0)
            for p in group["params"]:
                if not isinstance(p, Variable):
                    raise ConfigError(f"AdamW: expected Tensors to learn, received {p!r:.60}")
                self.params.append(p)
                self.decays.append(decay)
        if not self.params:
            raise ConfigError("AdamW: expected at least one parameter, received none")
        if len({id(p) for p in self.params}) != len(self.params):
            raise ConfigError("AdamW: a parameter is in the list twice; it would be stepped twice")
        for p in self.params:
            if not p.requires_grad or p._node is not None:
                raise GraphError("AdamW: expected leaves with requires_grad=True")
        self.steps = np.zeros(len(self.params), dtype=np.int64)
        of_dtype: dict[np.dtype, list[int]] = {}
        for i, p in enumerate(self.params):
            of_dtype.setdefault(p._array.dtype, []).append(i)
        self._flats = [
            (indices, Flat([self.params[i] for i in indices])) for indices in of_dtype.values()
        ]
        # Views of the flat arrays, in the order of the parameters.
        self.m: list[np.ndarray] = [np.empty(0)] * len(self.params)
        self.v = self.m.copy()
        for indices, flat in self._flats:
            for i, m, v in zip(indices, flat.split(flat.m), flat.split(flat.v), strict=True):
                self.m[i], self.v[i] = m, v

    def step(self, lr: float | None = None, scale: float = 1.0) -> None:
        """Move every parameter that has a gradient; the others, and their m and v, stay.

        Parameters
        ----------
        lr : float, optional
            The learning rate of this step, if not the one given at the start.
        scale : float
            Multiplies every gradient on the way, and leaves it as it is: the factor of clipping.
        """
        lr = self.lr if lr is None else lr
        _require("lr", lr, lr >= 0)
        found = [(flat, indices, flat.gather()) for indices, flat in self._flats]
        for flat, indices, there in found:
            self.steps[indices] += there
            for p, has_gradient in zip(flat.params, there, strict=True):
                if has_gradient:
                    p.writable()  # tells the tape
            steps = self.steps[indices].tolist()
            runs = flat.runs(there, [self.decays[i] for i in indices], steps)
            adamw_runs(
                flat.param, flat.grad, flat.m, flat.v, runs, lr, *self.betas, self.eps, scale
            )

    def zero_grad(self) -> None:
        """Forget all gradients."""
        for p in self.params:
            p.grad = None

    def __deepcopy__(self, memo: dict[int, Any]) -> AdamW:
        """An optimiser of the copies of the parameters, laid flat anew."""
        groups = [
            {"params": [copy.deepcopy(p, memo)], "weight_decay": decay}
            for p, decay in zip(self.params, self.decays, strict=True)
        ]
        twin = memo[id(self)] = type(self)(groups, self.lr, self.betas, self.eps)
        twin.load_state_dict(self.state_dict())
        return twin

    def state_dict(self) -> dict[str, np.ndarray]:
        """A copy of m, v and the step counts: all that the next step depends on."""
        state = {"steps": self.steps.copy()}
        for i, (m, v) in enumerate(zip(self.m, self.v, strict=True)):
            state[f"m.{i}"], state[f"v.{i}"] = m.copy(), v.copy()
        return state

    def load_state_dict(self, state: Mapping[str, np.ndarray]) -> None:
        """Go on from a state of an optimiser of the same parameters; all is checked first."""
        own = self.state_dict()
        faults = [f"{key} is missing" for key in own.keys() - state.keys()]
        faults += [f"{key} is left over" for key in state.keys() - own.keys()]
        for key in own.keys() & state.keys():
            if own[key].shape != np.shape(state[key]):
                faults.append(f"{key} should have shape {own[key].shape}")
        if faults:
            raise CheckpointError("AdamW.load_state_dict: " + "; ".join(sorted(faults)))
        self.steps[...] = state["steps"]
        for i in range(len(self.params)):
            self.m[i][...], self.v[i][...] = state[f"m.{i}"], state[f"v.{i}"]
