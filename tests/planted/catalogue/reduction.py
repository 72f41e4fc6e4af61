"""Mistakes in operations that fold axes: what is stretched back, and by what it is divided."""

from tests.planted.bug import Bug, axis, differences, forward, twin

OPS = "ops/reduction.py"
SOFT = "kernels/softmax.py"
CONVENTIONS = "tests/ops/test_conventions.py::"

BUGS = [
    Bug(
        "sum_stretches_the_wrong_axis",
        OPS,
        was="np.expand_dims(dy, axes)",
        becomes="np.expand_dims(dy, tuple(range(ndim - dy.ndim)))",
        caught_by=(
            axis("test_a_fold[sum-1]"),
            axis("test_a_fold[mean-2]"),
            axis("test_a_fold[logsumexp-(1, 2)]"),
        ),
        lesson="Broadcasting adds axes in front by itself; on square arrays nothing complains.",
    ),
    Bug(
        "mean_without_its_divisor",
        OPS,
        was="np.broadcast_to(_kept(dy, axes, ndim) / n, shape)",
        becomes="np.broadcast_to(_kept(dy, axes, ndim), shape)",
        caught_by=differences("mean"),
        lesson="AdamW divides a constant factor out again, so the loss curve looks the same.",
    ),
    Bug(
        "mean_over_everything",
        OPS,
        was="shape, ndim, n = x.shape, x.ndim, _count(x, axes)",
        becomes="shape, ndim, n = x.shape, x.ndim, x.size",
        caught_by=differences("mean"),
        lesson="Right for the mean over all axes, the one that a loss takes.",
    ),
    Bug(
        "var_ignores_its_correction_in_the_backward",
        OPS,
        was="lambda dy: (2 / n) * _kept(dy, axes, x.ndim) * centred",
        becomes="lambda dy: (2 / _count(x, axes)) * _kept(dy, axes, x.ndim) * centred",
        caught_by=differences("var"),
        lesson="Right at the default; and for many elements n and n - 1 are nearly the same.",
    ),
    Bug(
        "std_with_the_gradient_of_half_the_variance",
        OPS,
        was="_kept(dy, axes, x.ndim) * centred / (n * s))",
        becomes="_kept(dy, axes, x.ndim) * centred / n)",
        caught_by=differences("std"),
        lesson="The root's own slope 1/(2s) is left out; where s is near 1 one does not see it.",
    ),
    Bug(
        "max_gives_every_tie_all_of_it",
        OPS,
        was="np.where(ties, _kept(dy, axes, x.ndim), 0) / np.sum(ties, axes, keepdims=True)",
        becomes="np.where(ties, _kept(dy, axes, x.ndim), 0)",
        caught_by=CONVENTIONS + "test_ties_of_max_and_min_share_evenly[max]",
        lesson="Random floats never tie; images, padded rows and outputs of relu do.",
    ),
    Bug(
        "prod_by_division",
        OPS,
        was="return _kept(dy, axes, x.ndim) * others",
        becomes="return _kept(dy, axes, x.ndim) * np.prod(x, axes, keepdims=True) / x",
        caught_by=(differences("prod"), CONVENTIONS + "test_prod_with_zeros[1]"),
        lesson="The product of the others is the product divided by the element, but for zeros.",
    ),
    Bug(
        "logsumexp_without_its_normaliser",
        OPS,
        was="np.exp(x - kept)",
        becomes="np.exp(x - top)",
        caught_by=differences("logsumexp"),
        lesson="The gradient is the softmax; the exponentials in hand are not yet divided.",
    ),
    Bug(
        "logsumexp_overflows",
        OPS,
        was="top = np.where(np.isfinite(top), top, 0)",
        becomes="top = np.zeros_like(top)",
        caught_by=CONVENTIONS + "test_logsumexp_at_the_ends",
        lesson="On numbers of size one it is exact; it takes logits beyond 700 to overflow.",
    ),
    Bug(
        "cumulative_sum_not_reversed",
        OPS,
        was="np.flip(np.cumsum(np.flip(dy, axis), axis), axis)",
        becomes="np.cumsum(dy, axis)",
        caught_by=differences("cumulative_sum"),
        lesson="Each element gets what its mirror image should; with ones, the total is right.",
    ),
    Bug(
        "softmax_without_its_sum_term",
        SOFT,
        was="dx[r, j] = y[r, j] * (dy[r, j] - dot)",
        becomes="dx[r, j] = y[r, j] * dy[r, j]",
        caught_by=(differences("softmax"), twin("softmax_backward")),
        lesson="The denominator taken for a constant, though every element is in it.",
    ),
    Bug(
        "softmax_by_the_diagonal_of_its_jacobian",
        SOFT,
        was="dx[r, j] = y[r, j] * (dy[r, j] - dot)",
        becomes="dx[r, j] = y[r, j] * (dy[r, j] - dy[r, j] * y[r, j])",
        caught_by=(differences("softmax"), twin("softmax_backward")),
        lesson="s(1 - s) is the sigmoid's; a softmax couples every element with every other.",
    ),
    Bug(
        "softmax_overflows",
        SOFT,
        was="e = exp(x[r, j] - top)",
        becomes="e = exp(x[r, j])",
        caught_by="tests/ops/test_network.py::test_softmax_adds_up_to_one_and_stands_extremes[-1]",
        lesson="Mathematically the same; the first logit above 88 makes inf / inf in float32.",
    ),
    Bug(
        "softmax_reshaped_where_it_should_be_transposed",
        SOFT,
        was="np.ascontiguousarray(np.moveaxis(rows.reshape(moved), -1, axis)).reshape(like.shape)",
        becomes="rows.reshape(like.shape)",
        caught_by=forward("softmax"),
        lesson="Right for the last axis, the only one that is used much.",
    ),
    Bug(
        "log_softmax_without_the_softmax",
        SOFT,
        was="dx[r, j] = dy[r, j] - exp(y[r, j]) * total",
        becomes="dx[r, j] = dy[r, j] - y[r, j] * total",
        caught_by=differences("log_softmax"),
        lesson="y is the logarithm here; the formula that is remembered is the softmax's own.",
    ),
]
