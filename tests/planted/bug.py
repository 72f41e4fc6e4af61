"""One planted bug, and short names for the checks that most of them are caught by."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Bug:
    """A small mistake that somebody could make.

    Attributes
    ----------
    name : what goes wrong, as an identifier
    file : the file to patch, below ``scratchgrad/``
    was : the text to replace; it stands in the file exactly once
    becomes : the mistake
    caught_by : the pytest node that must fail; several in a tuple must all fail
    lesson : why the mistake is made, or why it hides
    """

    name: str
    file: str
    was: str
    becomes: str
    caught_by: str | tuple[str, ...]
    lesson: str

    @property
    def checks(self) -> tuple[str, ...]:
        """The pytest nodes, always as a tuple."""
        return (self.caught_by,) if isinstance(self.caught_by, str) else self.caught_by


def differences(op: str) -> str:
    """Finite differences against the gradient of one operation, as users call it."""
    return f"tests/ops/test_every_op.py::test_gradients_equal_finite_differences[{op}]"


def forward(op: str) -> str:
    """The value of one operation against NumPy."""
    return f"tests/ops/test_every_op.py::test_forward_equals_numpy[{op}]"


def twin(kernel: str) -> str:
    """One kernel against its formula in kernels/reference."""
    return f"tests/kernels/test_reference.py::test_kernel_equals_reference[{kernel}]"


def layer(name: str) -> str:
    """Finite differences by the input and every parameter of one layer."""
    return f"tests/nn/test_layers.py::test_gradients_equal_finite_differences[{name}]"


def shared(op: str) -> str:
    """The gradient of what a batch shares against the sum over its rows, one at a time."""
    file = "tests/ops/test_shared_by_the_batch.py"
    return f"{file}::test_its_gradient_is_the_sum_over_the_rows[{op}]"


def axis(test: str) -> str:
    """Finite differences along one axis of a cube, where every wrong place has the right shape."""
    return f"tests/ops/test_every_axis.py::{test}"
