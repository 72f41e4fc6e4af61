"""From an operation of your own to a property test of it, in four lines.

``check_op`` draws shapes that broadcast (sizes 0 and 1 among them), memory layouts, values away
from kinks, and settings. For each it compares the value with a reference in plain NumPy, every
gradient with finite differences, and float32 with float64. What fails is shrunk to small shapes.

Needs Hypothesis (pip install hypothesis). Run it:  python examples/06_property_test.py
or, as any test:  python -m pytest examples/06_property_test.py
"""

import numpy as np
from hypothesis import Phase, settings
from hypothesis import strategies as st

import scratchgrad as sg
from scratchgrad.testing import arrays, check_op, shapes

# ----------------------------------------------------------------- an operation, and its test


@sg.differentiable
def softplus(x, /, sharpness=1.0):
    """log(1 + exp(s x)) / s, a smooth ReLU, without overflow."""
    z = sharpness * x
    y = (np.maximum(z, 0) + np.log1p(np.exp(-np.abs(z)))) / sharpness
    return y, lambda dy: dy / (1 + np.exp(-z))


@check_op(softplus, sharpness=st.sampled_from([0.5, 1.0, 3.0]))
def test_softplus(x, sharpness):
    # The formula, plain: what is decorated is the reference.
    return np.log(1 + np.exp(sharpness * x)) / sharpness


# -------------------------------------------------------------------- two inputs that broadcast


@sg.differentiable
def blend(a, b, w):
    # Each gradient may have dy's shape: the engine adds up what broadcasting copied.
    return a + w * (b - a), (
        lambda dy: dy * (1 - w),
        lambda dy: dy * w,
        lambda dy: dy * (b - a),
    )


@check_op(blend)  # three parameters: three arrays that broadcast together
def test_blend(a, b, w):
    return (1 - w) * a + w * b


# ------------------------------------------------------------ an op that wants inputs of a kind


@sg.differentiable
def centre(x):
    """Each row without its mean."""
    return x - x.mean(-1, keepdims=True), lambda dy: dy - dy.mean(-1, keepdims=True)


@check_op(centre, inputs=arrays(shapes(min_dims=1, min_side=1)))  # the mean of nothing is nan
def test_centre(x):
    return x - x.mean(-1, keepdims=True)


# ---------------------------------------------------------------------------- and a wrong one


@sg.differentiable
def centre_wrong(x):
    return x - x.mean(-1, keepdims=True), lambda dy: dy * 1  # the mean taken for a constant


# Without Phase.explain, which would try hundreds of variations of what fails.
@check_op(
    centre_wrong,
    inputs=arrays((3, 4)),
    profile=settings(phases=[Phase.generate, Phase.shrink]),
)
def wrong(x):
    return x - x.mean(-1, keepdims=True)


if __name__ == "__main__":
    for test in (test_softplus, test_blend, test_centre):
        test()
        print(f"{test.__name__}: holds")
    try:
        wrong()
    except sg.errors.GradcheckError as error:
        print(f"wrong: {error}")
    else:
        raise SystemExit("the wrong operation passed")
