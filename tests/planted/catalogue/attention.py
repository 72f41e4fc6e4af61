"""Mistakes in attention: scale, mask, heads, dropout, and the gradient of the softmax inside."""

from tests.planted.bug import Bug, differences, forward, twin

OPS = "ops/network.py"
KERNEL = "kernels/attention.py"
REFERENCE = "kernels/reference.py"
NETWORK_TESTS = "tests/ops/test_network.py::"
SPECIAL_TESTS = "tests/kernels/test_special.py::"
BACKWARD = (differences("attention"), twin("attention_backward"))

SCALE = [
    Bug(
        "attention_scaled_without_the_root",
        OPS,
        was="scale = 1 / np.sqrt(max(d, 1)) if scale is None else scale",
        becomes="scale = 1 / max(d, 1) if scale is None else scale",
        caught_by="tests/nn/test_layers.py::test_attention_looks_at_itself_and_before",
        lesson="Value and gradient agree; the model only learns worse.",
    ),
    Bug(
        "dq_without_the_scale",
        KERNEL,
        was="block[i, d] *= scale",
        becomes="block[i, d] *= 1",
        caught_by=BACKWARD,
        lesson="The scale is used once forward and twice backward, for dQ and for dK.",
    ),
    Bug(
        "dk_without_the_scale",
        KERNEL,
        was="dk[b, g, j, d] *= scale",
        becomes="dk[b, g, j, d] *= 1",
        caught_by=BACKWARD,
        lesson="The other of the two. A test of dX alone, past the projections, may miss it.",
    ),
]

SOFTMAX = [
    Bug(
        "attention_without_delta",
        KERNEL,
        was="row[i] = weights[i] * (row[i] - shift[i])",
        becomes="row[i] = weights[i] * row[i]",
        caught_by=BACKWARD,
        lesson="The softmax's sum term: at weight scale 0.02, where training starts, weights are "
        "nearly even and the scores' gradient is nearly nothing anyway.",
    ),
    Bug(
        "dk_and_dv_exchanged",
        KERNEL,
        was="    )\n    return dq, dk, dv",
        becomes="    )\n    return dq, dv, dk",
        caught_by=BACKWARD,
        lesson="Three arrays of one shape in a tuple: nothing but their order tells them apart.",
    ),
    Bug(
        "dk_transposed_and_reshaped_into_place",
        REFERENCE,
        was="dk = dscores.swapaxes(-1, -2) @ q",
        becomes="dk = (q.swapaxes(-1, -2) @ dscores).reshape(*dscores.shape[:2], -1, q.shape[-1])",
        caught_by=(
            twin("attention_backward"),
            "tests/kernels/test_formulas.py::test_a_formula_equals_finite_differences[attention]",
        ),
        lesson="Found in the wild: Q^T dS has the elements of dK, and a reshape gives the shape.",
    ),
]

MASK = [
    Bug(
        "attention_sees_the_future",
        KERNEL,
        was="shared = min(keys, i0 + i + 1) if is_causal else keys",
        becomes="shared = min(keys, i0 + i + 2) if is_causal else keys",
        caught_by=(
            forward("attention"),
            SPECIAL_TESTS + "test_causal_attention_never_touches_the_future[67-float64]",
        ),
        lesson="The loss falls wonderfully, for the answer is in sight; samples are rubbish.",
    ),
    Bug(
        "attention_does_not_see_itself",
        KERNEL,
        was="shared = min(keys, i0 + i + 1) if is_causal else keys",
        becomes="shared = min(keys, i0 + i) if is_causal else keys",
        caught_by=(forward("attention"), twin("attention")),
        lesson="Is the bound the last key, or the first that is too late? One step the other way.",
    ),
    Bug(
        "attention_backward_sees_the_future",
        KERNEL,
        was="first = max(0, key - i0)",
        becomes="first = max(0, key - i0 - 1)",
        caught_by=BACKWARD,
        lesson="The forward is causal, the gradient is not: only differences by K and V can see.",
    ),
    Bug(
        "attention_backward_does_not_see_itself",
        KERNEL,
        was="first = max(0, key - i0)",
        becomes="first = max(0, key - i0 + 1)",
        caught_by=BACKWARD,
        lesson="Keys lose the gradient of their own position.",
    ),
    Bug(
        "mask_not_used_in_the_backward",
        KERNEL,
        was="p[j, i] = 0",
        becomes="pass",
        caught_by=BACKWARD,
        lesson="The weights are made anew in the backward, so they must be masked anew.",
    ),
    Bug(
        "masked_by_a_large_negative_number",
        KERNEL,
        was="s[j, i] = -np.inf",
        becomes="s[j, i] = -1e4",
        caught_by=(
            NETWORK_TESTS + "test_a_query_that_may_look_nowhere_gets_zero_and_gives_no_gradient",
            SPECIAL_TESTS + "test_attention_that_may_attend_nowhere_is_zero[5-float64]",
        ),
        lesson="A row without a key becomes the mean of all it must not see; and scores can grow "
        "below -1e4.",
    ),
    Bug(
        "fully_masked_row_is_nan",
        KERNEL,
        was="top[i] = top[i] if top[i] > -np.inf else 0",
        becomes="top[i] = top[i]",
        caught_by=SPECIAL_TESTS + "test_attention_that_may_attend_nowhere_is_zero[5-float64]",
        lesson="-inf minus -inf is nan; one padded row of a batch is enough.",
    ),
    Bug(
        "fully_masked_row_divides_by_zero",
        KERNEL,
        was="total[i] = 1 / total[i] if total[i] != 0 else 0",
        becomes="total[i] = 1 / total[i]",
        caught_by=SPECIAL_TESTS + "test_attention_that_may_attend_nowhere_is_zero[5-float64]",
        lesson="0 weights times 1/0 is nan.",
    ),
    Bug(
        "causal_mask_off_by_one_in_the_formula",
        REFERENCE,
        was="allowed &= np.tri(*scores.shape[-2:], dtype=np.bool_)",
        becomes="allowed &= np.tri(*scores.shape[-2:], k=1, dtype=np.bool_)",
        caught_by=(
            twin("attention"),
            "tests/kernels/test_formulas.py::test_the_formula_of_attention_is_causal",
        ),
        lesson="k=1 for tri and k=1 for triu mean opposite things.",
    ),
]

HEADS = [
    Bug(
        "gqa_with_interleaved_groups",
        KERNEL,
        was="g, n = h // (H // Hk), min(QUERIES, T - i0)",
        becomes="g, n = h % Hk, min(QUERIES, T - i0)",
        caught_by=(
            forward("attention"),
            NETWORK_TESTS + "test_a_group_of_query_heads_shares_a_key_head",
        ),
        lesson="tile instead of repeat: right for one key head, and for as many as query heads.",
    ),
    Bug(
        "gqa_keeps_the_last_head_of_a_group",
        KERNEL,
        was="""        for step in range(H // Hk * blocks):
""",
        becomes="""        for step in range(H // Hk * blocks):
            if step % blocks == 0:
                dk[b, g] = 0
                dv[b, g] = 0
""",
        caught_by=(
            differences("attention"),
            NETWORK_TESTS + "test_a_group_of_query_heads_shares_a_key_head",
        ),
        lesson="The gradient of what is shared is a sum over those who share it.",
    ),
    Bug(
        "gqa_keeps_the_last_head_in_the_formula",
        REFERENCE,
        was="S, D).sum(axis=2)",
        becomes="S, D)[:, :, -1]",
        caught_by="tests/kernels/test_formulas.py::"
        "test_a_formula_equals_finite_differences[attention]",
        lesson="The same in the specification: it is checked as well, or it specifies nothing.",
    ),
]

DROPOUT = [
    Bug(
        "attention_dropout_not_used_for_the_weights",
        KERNEL,
        was="ds[j, i] = p[j, i] * (ds[j, i] * keep[b, h, i0 + i, j] - delta[i])",
        becomes="ds[j, i] = p[j, i] * (ds[j, i] - delta[i])",
        caught_by=BACKWARD,
        lesson="delta is made from the output, so it holds the mask; dP must hold it too.",
    ),
    Bug(
        "attention_dropout_not_used_for_the_values",
        KERNEL,
        was="p[j, i] *= keep[b, h, i0 + i, j]",
        becomes="p[j, i] *= 1",
        caught_by=BACKWARD,
        lesson="V met the weights after dropout, so dV meets them after dropout.",
    ),
]

BUGS = [*SCALE, *SOFTMAX, *MASK, *HEADS, *DROPOUT]
