"""A row for something of a user's own: a function, a pair of functions or a layer in their file."""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import sys
import traceback
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from scratchgrad import nn
from scratchgrad.cases.choices import Choices
from scratchgrad.cases.draw import numbers
from scratchgrad.errors import ConfigError, DataError, GradcheckError, ScratchgradError
from scratchgrad.gradcheck import GradcheckReport, gradcheck


@dataclass(frozen=True)
class OwnRow:
    """What to check, and the shapes of its inputs: (None, shape), or (n, shape) for ids below n."""

    name: str
    fn: Any
    inputs: list[tuple[int | None, tuple[int, ...]]]

    def prove(self, choose: Choices) -> GradcheckReport:
        """Draw inputs and check; a failure inside the function is told in one line."""
        rng = choose.rng()
        shapes = [shape for n, shape in self.inputs if n is None]
        floats = iter(numbers(rng, *shapes) if shapes else ())
        inputs = [
            next(floats) if n is None else rng.integers(0, n, shape) for n, shape in self.inputs
        ]
        try:
            return gradcheck(self.fn, inputs)
        except GradcheckError as error:
            if error.failure.kind == "call":
                raise DataError(str(error)) from error
            raise
        except (Exception, SystemExit) as error:
            given = ", ".join(str(shape) for _, shape in self.inputs)
            raise DataError(
                f"{self.name}: {_told(error)} (called with inputs of shape {given}, as --inputs "
                "says or by default)"
            ) from error


def own_row(spec: str, inputs: list[str] | None, module: bool) -> tuple[str, OwnRow]:
    """The row for ``path.py:name``, ``path.py:forward,vjp`` or ``package.module:name``.

    Raises
    ------
    ConfigError
        If there is no such file or name, or no shapes where they are needed.
    DataError
        If the file itself fails.
    """
    path, colon, names = spec.rpartition(":")
    if not colon or not path or not names:
        raise ConfigError(f"expected a file and a name, as in my_ops.py:swish, received {spec!r}")
    found = _load(path)
    parts = [_member(found, path, name.strip()) for name in names.split(",")]
    if len(parts) > 2 or (module and len(parts) > 1):
        raise ConfigError(f"expected one name, or forward,vjp, received {names!r}")
    fn: Any = tuple(parts) if len(parts) == 2 else parts[0]
    if module:
        fn = _layer(fn, names)
    if inputs is None:
        if module:
            raise ConfigError(
                "--module: say the shape of each input of the layer, as in --inputs 2x8"
            )
        inputs = ["3x4"] * _count(parts[0])
    return names, OwnRow(names, fn, [_shape(text) for text in inputs])


def _load(path: str) -> ModuleType:
    try:
        if not path.endswith(".py"):
            sys.path.insert(0, str(Path.cwd()))  # a command does not look there by itself
            return importlib.import_module(path)
        file = Path(path)
        if not file.is_file():
            raise ConfigError(f"{path}: no such file")
        # Beside the file may lie others that it imports.
        sys.path.insert(0, str(file.resolve().parent))
        name = f"own_{file.stem}"  # so that a file json.py stands in nobody's way
        spec = importlib.util.spec_from_file_location(name, file)
        if spec is None or spec.loader is None:
            raise ConfigError(f"{path}: not a Python file")
        loaded = importlib.util.module_from_spec(spec)
        sys.modules[name] = loaded  # as import does; dataclasses look there
        spec.loader.exec_module(loaded)
        return loaded
    except ScratchgradError:
        raise
    except (Exception, SystemExit) as error:
        raise DataError(f"{path}: {_told(error)}") from error


def _told(error: BaseException) -> str:
    """The error and the last line of the user's code that it went through."""
    package = str(Path(__file__).parents[1])
    own = [
        frame
        for frame in traceback.extract_tb(error.__traceback__)
        if frame.filename.endswith(".py") and not frame.filename.startswith(package)
    ]
    where = f", line {own[-1].lineno} of {Path(own[-1].filename).name}" if own else ""
    return f"{type(error).__name__}: {error}{where}"


def _member(found: ModuleType, path: str, name: str) -> Any:
    try:
        return getattr(found, name)
    except AttributeError:
        public = [n for n, v in vars(found).items() if callable(v) and not n.startswith("_")]
        raise ConfigError(f"{path} has no {name!r}; it has {', '.join(public) or 'none'}") from None


def _layer(made: Any, name: str) -> nn.Module:
    if not isinstance(made, nn.Module):
        if not callable(made):
            raise ConfigError(f"{name}: expected a Module, received {type(made).__name__}")
        try:
            made = made()
        except TypeError as error:
            raise ConfigError(
                f"{name}: it must be made without arguments ({error}); name a function that "
                "returns the layer"
            ) from error
        except (Exception, SystemExit) as error:
            raise DataError(f"{name}: {_told(error)}") from error
    if not isinstance(made, nn.Module):
        raise ConfigError(f"{name}: expected a Module, received {type(made).__name__}")
    return made


def _count(function: Any) -> int:
    """How many arrays a function takes: its parameters without a default."""
    if hasattr(function, "op"):
        return len(function.op.inputs)
    if not callable(function):
        raise ConfigError(f"expected a function, received {type(function).__name__}")
    parameters = inspect.signature(function).parameters.values()
    return max(1, sum(p.default is p.empty and p.kind is not p.VAR_KEYWORD for p in parameters))


def _shape(text: str) -> tuple[int | None, tuple[int, ...]]:
    below, colon, sizes = text.rpartition(":")
    try:
        shape = () if sizes in ("0d", "") else tuple(int(n) for n in sizes.split("x"))
        limit = int(below) if colon else None
    except ValueError:
        shape, limit = (-1,), None
    if 0 in shape:
        raise ConfigError(f"--inputs: {text} holds nothing, so nothing would be compared")
    if min(shape, default=0) < 0 or (limit is not None and limit < 1):
        raise ConfigError(
            "--inputs: expected shapes as 3x4, or 50:2x8 for ids below 50, or 0d, received "
            f"{text!r}"
        )
    return limit, shape
