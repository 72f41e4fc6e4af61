"""Write an operation of your own, and let gradcheck say whether its gradient is right.

An operation is one function on NumPy arrays. It returns its value and its backward: a function
that takes dy, the gradient of the value, and gives dx, the gradient of the input. The decorator
makes it work on Tensors; gradcheck compares it with finite differences.

Run it:  python examples/05_check_your_own_gradient.py
"""

import numpy as np

import scratchgrad as sg

rng = np.random.default_rng(0)
x = rng.normal(size=(3, 4))  # float64: in float32 a finite difference is mostly rounding


def caught(fn, inputs):
    """Whether gradcheck refuses, printing what it says."""
    try:
        report = sg.gradcheck(fn, inputs)
    except sg.errors.GradcheckError as error:
        print(f"  WRONG: {error}")
        return True
    print(f"  right: {report}")
    return False


# ---------------------------------------------------------------------------- one right, one wrong

print("1. normalise: y = x / |x|, each row brought to length 1")


@sg.differentiable
def normalise(x):
    n = np.sqrt((x * x).sum(axis=-1, keepdims=True))  # (..., 1)
    y = x / n  # (..., C)

    # The length changes with x too: moving x along y changes only the length, which is divided
    # out again, so that part of dy is taken away.
    return y, lambda dy: (dy - y * (dy * y).sum(axis=-1, keepdims=True)) / n


assert not caught(normalise, [x])

print("2. the same, with the length taken for a constant: the usual mistake")


@sg.differentiable
def normalise_wrong(x):
    n = np.sqrt((x * x).sum(axis=-1, keepdims=True))
    return x / n, lambda dy: dy / n


assert caught(normalise_wrong, [x])

# ---------------------------------------------------------------- why the cotangent must be random

print("3. a softmax whose backward forgot a factor y")


@sg.differentiable
def softmax_wrong(x):
    e = np.exp(x - x.max(axis=-1, keepdims=True))
    y = e / e.sum(axis=-1, keepdims=True)
    return y, lambda dy: dy - (dy * y).sum(axis=-1, keepdims=True)  # y * (...) is right


# A check of the sum sends back dy = 1 everywhere. A row of a softmax always adds up to 1, so the
# true gradient is 0, and this wrong formula gives 1 - 1 = 0 too.
print("   checked through its sum, it looks right:")
assert not caught(lambda x: softmax_wrong(x).sum(), [x])
print("   gradcheck itself sends back random numbers, and sees it:")
assert caught(softmax_wrong, [x])

# --------------------------------------------------------------------------- two inputs, a setting

print("4. two inputs and a setting: y = a tanh(sharpness b), with broadcasting")


@sg.differentiable
def gate(a, b, /, sharpness=1.0):  # what stands before the / is differentiated
    t = np.tanh(sharpness * b)
    # One function an input. Each may return dy's shape: the engine adds up what broadcasting
    # copied.
    return a * t, (lambda dy: dy * t, lambda dy: dy * a * sharpness * (1 - t * t))


assert not caught(lambda a, b: gate(a, b, sharpness=2.0), [x, rng.normal(size=4)])

# ------------------------------------------------------------------------------- a layer, a model

print("5. a layer: every parameter by its name")


class Gate(sg.nn.Module):
    def __init__(self):
        super().__init__()
        self.gain = sg.nn.Parameter(np.array([0.5, 1.0, 1.5, 2.0]))

    def forward(self, x):
        return gate(self.gain, x)


assert not caught(Gate(), [x])

# ---------------------------------------------------------------------------- without our Tensor

print("6. plain NumPy: a forward and a vjp, and a sum that was forgotten")


def scale(x, w):
    return x * w  # (3, 4) * (4,)


assert not caught((scale, lambda dy, x, w: (dy * w, (dy * x).sum(axis=0))), [x, x[0] + 1])
assert caught((scale, lambda dy, x, w: (dy * w, dy * x)), [x, x[0] + 1])

print("the right ones passed, the wrong ones were caught")
