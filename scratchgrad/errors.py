"""The typed errors.

Every error a caller can meet names the operation, what was expected, what was received, and the
likely mend. Each class also derives from the built-in that a Python programmer would expect to
catch, so ``except ValueError`` works as well as ``except ShapeError``.
"""

from typing import Any


class ScratchgradError(Exception):
    """Base of every error that this package raises on purpose."""


class ShapeError(ScratchgradError, ValueError):
    """Shapes or axes that do not fit together."""


class DtypeError(ScratchgradError, TypeError):
    """A dtype, or a kind of value, that an operation cannot take."""


class IdRangeError(ScratchgradError, IndexError):
    """An id or an index outside the table it points into."""


class GraphError(ScratchgradError, RuntimeError):
    """A backward pass that cannot be right: a freed graph, a value changed in place, no graph."""


class GradcheckError(ScratchgradError, AssertionError):
    """A gradient that disagrees with finite differences; ``.failure`` holds it in parts."""

    failure: Any = None


class ConfigError(ScratchgradError, ValueError):
    """A setting that is out of its range, or two that contradict each other."""


class DataError(ScratchgradError, ValueError):
    """Text or ids that cannot be used: empty, too short, not UTF-8, an unknown character."""


class CheckpointError(ScratchgradError, ValueError):
    """A checkpoint or a run folder that is missing, damaged, or of another shape."""


class NonFiniteLossError(ScratchgradError, ArithmeticError):
    """The loss became NaN or infinite; the weights were not touched."""
