"""scratchgrad: a large language model from scratch, with nothing hidden.

The names below are the public ones; each is imported when it is first used, so that
``import scratchgrad`` and ``scratchgrad --help`` do not wait for Numba.
"""

from __future__ import annotations

import importlib
import sys
from types import ModuleType
from typing import Any

__version__ = "0.1.0"

_HOMES = {
    "tensor": "tensor",
    "Tensor": "tensor",
    "no_grad": "autograd",
    "differentiable": "operation",
    "GPT": "gpt",
    "GPTConfig": "gpt",
    "gradcheck": "gradcheck",
}
_ROOMS = ("errors", "generate", "interop", "nn", "ops", "optim", "testing", "tokenizer")


def __getattr__(name: str) -> Any:
    if name in _ROOMS:
        return importlib.import_module(f"scratchgrad.{name}")
    if name in _HOMES:
        value = getattr(importlib.import_module(f"scratchgrad.{_HOMES[name]}"), name)
    elif name.startswith("_"):
        raise AttributeError(f"module 'scratchgrad' has no attribute {name!r}")
    else:
        ops = importlib.import_module("scratchgrad.ops")
        importlib.import_module("scratchgrad.tensor")  # operations return Tensors
        if name not in ops.__all__:
            raise AttributeError(f"module 'scratchgrad' has no attribute {name!r}")
        value = getattr(ops, name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    ops = importlib.import_module("scratchgrad.ops")
    return sorted({*globals(), *_HOMES, *_ROOMS, *ops.__all__})


class _Package(ModuleType):
    """This package, whose functions win over its modules of the same name.

    Importing ``scratchgrad.tensor`` anywhere binds the module to the package's name ``tensor``;
    what users mean by ``sg.tensor`` is the function.
    """

    def __setattr__(self, name: str, value: Any) -> None:
        if not (name in _HOMES and isinstance(value, ModuleType)):
            super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Package
