"""Mistakes in products, norms, the loss and dropout."""

from tests.planted.bug import Bug, differences, forward, layer, shared, twin

LINALG = "ops/linalg.py"
OPS = "ops/network.py"
NORM, RANDOM = "kernels/norm.py", "kernels/random.py"
LOSS, LOSS_OPS = "kernels/cross_entropy.py", "ops/loss.py"
NETWORK_TESTS = "tests/ops/test_network.py::"

PRODUCTS = [
    Bug(
        "matmul_da_without_the_transpose",
        LINALG,
        was="da = product(dy, b.swapaxes(-1, -2))",
        becomes="da = product(dy, b)",
        caught_by=differences("matmul"),
        lesson="For square matrices the shapes fit; for symmetric ones the numbers do too.",
    ),
    Bug(
        "matmul_db_transposed",
        LINALG,
        was="db = product(a.swapaxes(-1, -2), dy)",
        becomes="db = product(dy.swapaxes(-1, -2), a)",
        caught_by=differences("matmul"),
        lesson="(A^T dY)^T: right in norm, so no gradient explodes to tell of it.",
    ),
    Bug(
        "matmul_db_of_the_first_of_the_batch",
        LINALG,
        was="db = product(rows_of(a).T, rows_of(dy))",
        becomes="db = product(a.swapaxes(-1, -2), dy)[(0,) * (a.ndim - 2)]",
        caught_by=shared("matmul"),
        lesson="The sum over the batch is missing: right for a batch of one.",
    ),
    Bug(
        "einsum_does_not_stretch_what_was_summed",
        LINALG,
        was="g = np.broadcast_to(g, sizes)",
        becomes="g = np.broadcast_to(g, g.shape)",
        caught_by="tests/ops/test_linalg.py::test_einsum[ij,j->-shapes10]",
        lesson="A letter of one operand alone is a sum, and the gradient of a sum is a stretch.",
    ),
    Bug(
        "matmul_kernel_misses_a_row_of_the_last_tile",
        "kernels/matmul.py",
        was="rows[i * depth + k] = a[a0 + min(i, m - 1) * ai + k * ak]",
        becomes="rows[i * depth + k] = a[a0 + min(i, m - 2) * ai + k * ak]",
        caught_by=twin("matmul"),
        lesson="Only where the rows do not fill the last tile: sizes that are powers of two, which "
        "everybody tries first, never reach it.",
    ),
    Bug(
        "matmul_kernel_forgets_all_but_the_last_block",
        "kernels/matmul.py",
        was="more = add or k0 > 0",
        becomes="more = add",
        caught_by="tests/ops/test_linalg.py::test_matmul_beyond_a_block_of_the_kernel"
        "[float64-a1-b1]",
        lesson="Right up to 384 channels: small test shapes never reach the second block.",
    ),
    Bug(
        "matmul_kernel_takes_the_first_strip_twice",
        "kernels/matmul.py",
        was="at = second * depth * ROWS",
        becomes="at = 0",
        caught_by="tests/ops/test_linalg.py::test_matmul_beyond_a_block_of_the_kernel"
        "[float64-a6-b6]",
        lesson="Only transposed matrices whose steps lie 2048 bytes apart are copied in pairs: 512 "
        "rows of float32, never 500.",
    ),
    Bug(
        "linear_weight_gradient_reshaped_into_place",
        OPS,
        was="into(lambda dy, out, add: product(rows_of(dy).T, x, out, add)),",
        becomes="lambda dy: product(x.T, rows_of(dy)).reshape(weight.shape),",
        caught_by=differences("linear"),
        lesson="The transpose is wanted; a reshape has its shape and not its order.",
    ),
    Bug(
        "linear_bias_of_the_first_row",
        OPS,
        was="        column_sums,",
        becomes="        lambda dy: rows_of(dy)[:1].sum(axis=0),",
        caught_by=(layer("Linear"), shared("linear")),
        lesson="The sum over the batch is missing: right for one row, and the shape is right.",
    ),
    Bug(
        "linear_bias_by_the_mean",
        OPS,
        was="        column_sums,",
        becomes="        lambda dy: rows_of(dy).mean(axis=0),",
        caught_by=(layer("Linear"), shared("linear")),
        lesson="The mean over the batch is in the loss already.",
    ),
]

EPILOGUES = "tests/kernels/test_epilogues.py::"

LAYERS_WITH_GELU = [
    Bug(
        "gelu_slope_at_the_product",
        "kernels/matmul.py",
        was="row[j] *= slope_exact(beside[j])",
        becomes="row[j] *= slope_exact(row[j])",
        caught_by=(
            twin("matmul_gelu_backward-none"),
            EPILOGUES + "test_the_bits_are_those_of_one_step_after_the_other[a-block-float32-none]",
        ),
        lesson="The slope belongs to what GELU was fed, not to the gradient that comes back.",
    ),
    Bug(
        "gelu_before_the_last_depth",
        "kernels/matmul.py",
        was="if k0 + depth < K or (bias.size == 0 and then == NOTHING):",
        becomes="if (k0 + depth < K and then <= RESIDUAL) or (bias.size == 0 and then == NOTHING):",
        caught_by=(
            EPILOGUES + "test_the_numbers_are_those_of_the_formulas[two-depths-float64-none]",
            EPILOGUES + "test_the_numbers_are_those_of_the_formulas[two-depths-float64-tanh]",
        ),
        lesson="Up to 512 steps there is one depth, the last one; a bias is added twice beyond.",
    ),
    Bug(
        "gelu_written_over_what_the_backward_needs",
        "kernels/matmul.py",
        was="beside[j] = gelu_by_tanh(row[j])",
        becomes="beside[j] = gelu_by_tanh(row[j])\n"
        "                                row[j] = beside[j]",
        caught_by=(twin("linear_gelu-tanh"), NETWORK_TESTS + "test_mlp_of_many_rows[tanh]"),
        lesson="The result is right; only the way back asks for h again.",
    ),
    Bug(
        "mlp_gradient_without_the_slope",
        OPS,
        was="dh = matmul_gelu_backward(rows_of(dy), down_weight, h, approximate)",
        becomes="dh = product(rows_of(dy), down_weight)",
        caught_by=differences("mlp"),
        lesson="Shapes fit, and the last layer learns; what comes before is led by a linear model.",
    ),
    Bug(
        "mlp_down_weight_fed_with_h",
        OPS,
        was="into(lambda dy, out, add: product(rows_of(dy).T, a, out, add)),",
        becomes="into(lambda dy, out, add: product(rows_of(dy).T, h, out, add)),",
        caught_by=differences("mlp"),
        lesson="Two arrays of one shape are kept, before GELU and after; far above 0 they agree.",
    ),
    Bug(
        "shared_backward_forgets_the_home",
        "tape.py",
        was="g if g is None or callable(g) else (lambda _, g=g: g) for g in gradients",
        becomes="None if g is None else (lambda _, g=g: g(dy) if callable(g) else g)\n"
        "                for g in gradients",
        caught_by="tests/engine/test_home.py::test_what_is_shared_is_computed_once_and_gone",
        lesson="Every number is right; only the second array and its copy are back.",
    ),
]

NORMS = [
    Bug(
        "layer_norm_without_the_mean_s_term",
        NORM,
        was="dx[r, j] = s * (dy[r, j] * weight[j] - mean_dn - n * mean_dn_n)",
        becomes="dx[r, j] = s * (dy[r, j] * weight[j] - n * mean_dn_n)",
        caught_by=(differences("layer_norm"), twin("layer_norm_backward")),
        lesson="The mean taken for a constant; the missing term is small where gradients cancel.",
    ),
    Bug(
        "layer_norm_without_the_variance_s_term",
        NORM,
        was="dx[r, j] = s * (dy[r, j] * weight[j] - mean_dn - n * mean_dn_n)",
        becomes="dx[r, j] = s * (dy[r, j] * weight[j] - mean_dn)",
        caught_by=(differences("layer_norm"), twin("layer_norm_backward")),
        lesson="The deviation taken for a constant: as if the statistics were detached.",
    ),
    Bug(
        "layer_norm_with_the_sample_variance",
        NORM,
        was="""            total += (x[r, j] - m) * (x[r, j] - m)
        s = one / np.sqrt(total / count + eps)""",
        becomes="""            total += (x[r, j] - m) * (x[r, j] - m)
        s = one / np.sqrt(total / (count - one) + eps)""",
        caught_by=(forward("layer_norm"), twin("layer_norm")),
        lesson="var() divides by n - 1 in some libraries; over 768 channels it is 0.07 percent.",
    ),
    Bug(
        "layer_norm_with_eps_outside_the_root",
        NORM,
        was="""            total += (x[r, j] - m) * (x[r, j] - m)
        s = one / np.sqrt(total / count + eps)""",
        becomes="""            total += (x[r, j] - m) * (x[r, j] - m)
        s = one / (np.sqrt(total / count) + eps)""",
        caught_by=(forward("layer_norm"), twin("layer_norm")),
        lesson="With eps 1e-5 and variance 1 nobody sees it; a test needs a large eps.",
    ),
    Bug(
        "layer_norm_variance_in_one_pass",
        NORM,
        was="total += (x[r, j] - m) * (x[r, j] - m)",
        becomes="total += x[r, j] * x[r, j] - m * m",
        caught_by=NETWORK_TESTS + "test_layer_norm_far_from_zero_keeps_its_digits",
        lesson="The same algebra, but the digits cancel where the mean is large.",
    ),
    Bug(
        "norm_gains_of_the_first_rows_only",
        NORM,
        was="return dx, dweight.sum(axis=0), dbias.sum(axis=0)",
        becomes="return dx, dweight[:1].sum(axis=0), dbias[:1].sum(axis=0)",
        caught_by=(shared("layer_norm"), twin("layer_norm_backward")),
        lesson="A unit of work is 32 rows: a test on fewer cannot see that the others are lost.",
    ),
    Bug(
        "norm_gain_stored_under_bias",
        NORM,
        was="return dx, dweight.sum(axis=0), dbias.sum(axis=0)",
        becomes="return dx, dbias.sum(axis=0), dweight.sum(axis=0)",
        caught_by=(differences("layer_norm"), twin("layer_norm_backward")),
        lesson="Both are (C,), and dx is right: the gain trains on the gradient of the bias.",
    ),
    Bug(
        "rms_norm_without_its_projection",
        NORM,
        was="dx[r, j] = s * (dy[r, j] * weight[j] - x[r, j] * s * mean_dn_n)",
        becomes="dx[r, j] = s * (dy[r, j] * weight[j])",
        caught_by=(differences("rms_norm"), twin("rms_norm_backward")),
        lesson="Stretching x leaves y as it is, so dx must be at a right angle to x; here it is "
        "not.",
    ),
    Bug(
        "rms_norm_gain_forgotten_in_the_mean",
        NORM,
        was="mean_dn_n += dy[r, j] * weight[j] * n",
        becomes="mean_dn_n += dy[r, j] * n",
        caught_by=(differences("rms_norm"), twin("rms_norm_backward")),
        lesson="Gains start at 1: a fresh layer passes, a trained one does not.",
    ),
]

LOSSES = [
    Bug(
        "cross_entropy_mean_over_ignored_rows_too",
        LOSS_OPS,
        was="int(np.count_nonzero(counted))",
        becomes="counted.size",
        caught_by=NETWORK_TESTS + "test_ignored_rows_have_no_loss_and_no_gradient",
        lesson="Loss and gradient agree, and both are too small by the share of padding.",
    ),
    Bug(
        "cross_entropy_gradient_over_ignored_rows_too",
        LOSS_OPS,
        was="share = np.full(len(rows), _share(reduction, n), logits.dtype)",
        becomes="share = np.full(len(rows), _share(reduction, len(rows)), logits.dtype)",
        caught_by=differences("cross_entropy"),
        lesson="Without ignored rows, which is how it is first tried, it is right.",
    ),
    Bug(
        "cross_entropy_gradient_without_its_dy",
        LOSS_OPS,
        was="""    if dy != 1:
        gradient *= dy
""",
        becomes="",
        caught_by=differences("cross_entropy"),
        lesson="Made in the forward, the gradient knows nothing of dy: 1 in every plain run, and "
        "another number where gradients are accumulated or the loss is scaled.",
    ),
    Bug(
        "cross_entropy_gradient_given_away_twice",
        LOSS_OPS,
        was="drows = waiting.pop() if waiting",
        becomes="drows = waiting[0] if waiting",
        caught_by=NETWORK_TESTS + "test_a_second_backward_of_the_loss_is_made_anew",
        lesson="Scaled in place, and scaled again at the next backward of a graph that was kept.",
    ),
    Bug(
        "label_smoothing_missing_in_the_backward",
        LOSS,
        was="dlogits[r, j] = scale * dlogits[r, j] - dlosses[r] * even",
        becomes="dlogits[r, j] = scale * dlogits[r, j]",
        caught_by=(differences("cross_entropy"), twin("cross_entropy_backward")),
        lesson="Right at the default of no smoothing. Here the rows do not add up to 0 any more.",
    ),
    Bug(
        "label_smoothing_missing_at_the_target",
        LOSS,
        was="dlogits[r, targets[r]] -= dlosses[r] * (one - smoothing)",
        becomes="dlogits[r, targets[r]] -= dlosses[r]",
        caught_by=(differences("cross_entropy"), twin("cross_entropy_backward")),
        lesson="The other half of the same option.",
    ),
    Bug(
        "ignored_rows_given_a_gradient",
        LOSS,
        was="dlogits[r] = 0  # not 0 times something: that may be nan",
        becomes="dlogits[r] = dlosses[r] * np.exp(logits[r])",
        caught_by=(
            differences("cross_entropy"),
            NETWORK_TESTS + "test_ignored_rows_have_no_loss_and_no_gradient",
        ),
        lesson="A target that is nowhere: every padded row pushes all logits down.",
    ),
    Bug(
        "ignored_rows_times_zero",
        LOSS,
        was="dlogits[r] = 0  # not 0 times something: that may be nan",
        becomes="dlogits[r] = 0 * dlosses[r] * np.exp(logits[r])",
        caught_by="tests/kernels/test_special.py::test_ignored_rows_are_exactly_zero[float64]",
        lesson="0 times nan is nan: padding may hold anything, and poisons the whole gradient.",
    ),
]

HEAD_TEST = NETWORK_TESTS + "test_the_chunks_of_the_head_do_not_show[sum-3]"
LOSSES += [
    Bug(
        "head_gradient_of_the_last_chunk_only",
        LOSS_OPS,
        was="out=dweight, add=chunk.start > 0)",
        becomes="out=dweight)",
        caught_by=HEAD_TEST,
        lesson="Right while all rows fit into one chunk: in every small test.",
    ),
    Bug(
        "head_weight_s_gradient_transposed",
        LOSS_OPS,
        was="product(dlogits.T, times(dy, rows), out, add)",
        becomes="product(times(dy, rows).T, dlogits).reshape(weight.shape)",
        caught_by=differences("linear_cross_entropy"),
        lesson="A reshape where a transpose is meant has the right shape and the wrong numbers.",
    ),
    Bug(
        "head_gradient_not_scaled",
        LOSS_OPS,
        was="dx, dweight = (_scaled(gradient, dy) for gradient in ready)",
        becomes="dx, dweight = ready[0], _scaled(ready[1], dy)",
        caught_by=HEAD_TEST,
        lesson="dy is 1 in a plain run; with another, the body learns at another rate.",
    ),
]

RANDOM_TESTS = "tests/kernels/test_random.py::"
DROPOUT = [
    Bug(
        "dropout_scaled_by_the_wrong_share",
        RANDOM,
        was="type(1 / (1 - p) if p < 1 else 0)",
        becomes="type(1 / p)",
        caught_by=NETWORK_TESTS + "test_dropout_zeroes_the_share_and_scales_the_rest",
        lesson="p to keep, or p to drop: at 0.5 it makes no difference.",
    ),
    Bug(
        "dropout_not_scaled",
        RANDOM,
        was="type(1 / (1 - p) if p < 1 else 0)",
        becomes="type(1)",
        caught_by=NETWORK_TESTS + "test_dropout_zeroes_the_share_and_scales_the_rest",
        lesson="The network then sees larger numbers in evaluation than it was trained on.",
    ),
    Bug(
        "dropout_gradient_unscaled",
        OPS,
        was="lambda dy: random.dropout(dy, p, seed)",
        becomes="lambda dy: np.where(random.dropout(np.ones_like(dy), p, seed), dy, 0)",
        caught_by=differences("dropout"),
        lesson="What was dropped is remembered, the factor of the rest is not.",
    ),
    Bug(
        "dropout_not_used_in_the_backward",
        OPS,
        was="lambda dy: random.dropout(dy, p, seed)",
        becomes="lambda dy: dy",
        caught_by=differences("dropout"),
        lesson="On average it is right, and a check without a fixed seed sees only noise.",
    ),
    Bug(
        "dropout_drawn_again_in_the_backward",
        OPS,
        was="lambda dy: random.dropout(dy, p, seed)",
        becomes="lambda dy: random.dropout(dy, p, seed + 1)",
        caught_by=differences("dropout"),
        lesson="Bits that are made twice must be made from the same seed.",
    ),
    Bug(
        "dropout_the_same_in_each_unit_of_work",
        RANDOM,
        was="np.uint64(start * CHUNK)",
        becomes="np.uint64(0)",
        caught_by="tests/kernels/test_units.py::test_the_order_of_the_units_does_not_matter"
        "[dropout-float32]",
        lesson="Share and mean are right; every 4096 elements the same ones are dropped, and on "
        "another number of threads others.",
    ),
    Bug(
        "dropout_of_neighbours_together",
        RANDOM,
        was="z = seed + (index + ONE) * GAMMA",
        becomes="z = seed + (index >> ONE) * GAMMA",
        caught_by=RANDOM_TESTS + "test_neighbours_are_not_correlated[1]",
        lesson="The mean and the deviation of the whole say nothing of what hangs together.",
    ),
]

BUGS = [*PRODUCTS, *LAYERS_WITH_GELU, *NORMS, *LOSSES, *DROPOUT]
