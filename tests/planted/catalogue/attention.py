"""Mistakes in attention: scale, mask, heads, dropout, and the gradient of the softmax inside."""

from tests.planted.bug import Bug, differences, forward, twin

OPS = "ops/network.py"
CALLS = "kernels/attention.py"
KERNEL = "kernels/attention_kernel.py"
BLOCKS = "kernels/attention_blocks.py"
SIMD = "kernels/simd.py"
REFERENCE = "kernels/reference/attention.py"
NETWORK_TESTS = "tests/ops/test_network.py::"
SPECIAL_TESTS = "tests/kernels/test_special.py::"
OWN_TESTS = "tests/kernels/test_attention.py::"
BACKWARD = (differences("attention"), twin("attention_backward"))

SCALE = [
    Bug(
        "attention_scaled_without_the_root",
        OPS,
        was="scale = float(1 / np.sqrt(max(d, 1)) if scale is None else scale)",
        becomes="scale = float(1 / max(d, 1) if scale is None else scale)",
        caught_by="tests/nn/test_layers.py::test_attention_looks_at_itself_and_before",
        lesson="Value and gradient agree; the model only learns worse.",
    ),
    Bug(
        "dq_and_dk_without_the_scale",
        BLOCKS,
        was="drow[i] = row[i] * (drow[i] - mean[i]) * scale",
        becomes="drow[i] = row[i] * (drow[i] - mean[i])",
        caught_by=BACKWARD,
        lesson="The scale is used once forward and twice backward, for dQ and for dK.",
    ),
]

SOFTMAX = [
    Bug(
        "attention_without_delta",
        BLOCKS,
        was="drow[i] = row[i] * (drow[i] - mean[i]) * scale",
        becomes="drow[i] = row[i] * drow[i] * scale",
        caught_by=BACKWARD,
        lesson="The softmax's sum term: at weight scale 0.02, where training starts, weights are "
        "nearly even and the scores' gradient is nearly nothing anyway.",
    ),
    Bug(
        "dk_and_dv_exchanged",
        CALLS,
        was="    return dq, dk, dv",
        becomes="    return dq, dv, dk",
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
        was="\n        keys = min(S, i0 + n) if causal else S",
        becomes="\n        keys = min(S, i0 + n + 1) if causal else S",
        caught_by=(
            NETWORK_TESTS + "test_attention_longer_than_a_block_of_the_kernel[65-65]",
            OWN_TESTS + "test_sizes_about_a_block[65-65-3-True]",
        ),
        lesson="The loss falls wonderfully, for the answer is in sight; samples are rubbish. Only "
        "a text longer than a block shows it.",
    ),
    Bug(
        "attention_reads_the_future_with_weight_zero",
        SIMD,
        was="for k in range(i + 1):",
        becomes="for k in range(min(i + 2, ROWS)):",
        caught_by=(
            SPECIAL_TESTS + "test_causal_attention_never_touches_the_future[67-float64]",
            *BACKWARD,
        ),
        lesson="Forward it is 0 times a number, and nothing shows until the number is nan.",
    ),
    Bug(
        "attention_does_not_see_itself",
        SIMD,
        was="for k in range(i + 1):",
        becomes="for k in range(i):",
        caught_by=(forward("attention"), twin("attention")),
        lesson="Is the bound the last key, or the first that is too late? One step the other way.",
    ),
    Bug(
        "softmax_counts_the_future",
        BLOCKS,
        was="s[j * BLOCK + j // STRIP * STRIP : j * BLOCK + j] = -np.inf",
        becomes="pass",
        caught_by=(forward("attention"), twin("attention")),
        lesson="What is hidden is not in the product, but still in the sum that divides it.",
    ),
    Bug(
        "attention_backward_sees_the_future",
        BLOCKS,
        was="i = j + ROWS if diagonal else 0",
        becomes="i = j if diagonal else 0",
        caught_by=BACKWARD,
        lesson="The forward is causal, the gradient is not: only differences by K and V can see.",
    ),
    Bug(
        "attention_backward_does_not_see_itself",
        BLOCKS,
        was="if diagonal and j < n:",
        becomes="if diagonal and j < 0:",
        caught_by=BACKWARD,
        lesson="Keys lose the gradient of their own position, and of some after it.",
    ),
    Bug(
        "mask_not_used_in_the_backward",
        KERNEL,
        was="                if masked:\n                    at",
        becomes="                if False:\n                    at",
        caught_by=BACKWARD,
        lesson="The weights are made anew in the backward, so they must be masked anew.",
    ),
    Bug(
        "masked_by_a_large_negative_number",
        BLOCKS,
        was="of_key] else -np.inf",
        becomes="of_key] else -1e4",
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
        was="high[i] = high[i] if high[i] > -np.inf else 0",
        becomes="high[i] = high[i]",
        caught_by=SPECIAL_TESTS + "test_attention_that_may_attend_nowhere_is_zero[5-float64]",
        lesson="-inf minus -inf is nan; one padded row of a batch is enough.",
    ),
    Bug(
        "fully_masked_row_divides_by_zero",
        KERNEL,
        was="share = 1 / total[i] if total[i] != 0 else number(0)",
        becomes="share = 1 / total[i]",
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
        was="\n        g, n = h // (H // Hk), min(BLOCK, T - i0)",
        becomes="\n        g, n = h % Hk, min(BLOCK, T - i0)",
        caught_by=(
            forward("attention"),
            NETWORK_TESTS + "test_a_group_of_query_heads_shares_a_key_head",
        ),
        lesson="tile instead of repeat: right for one key head, and for as many as query heads.",
    ),
    Bug(
        "gqa_keeps_the_last_head_of_a_group",
        CALLS,
        was=".sum(axis=2)",
        becomes="[:, :, -1]",
        caught_by=(
            differences("attention"),
            NETWORK_TESTS + "test_a_group_of_query_heads_shares_a_key_head",
        ),
        lesson="The gradient of what is shared is a sum over those who share it.",
    ),
    Bug(
        "gqa_begins_anew_with_each_head",
        KERNEL,
        was="""            dq0 = q0
""",
        becomes="""            dq0 = q0
            if i0 == 0:
                for j in range(S):
                    dk[dk0 + j * dki : dk0 + j * dki + D] = 0
""",
        caught_by=OWN_TESTS + "test_a_group_adds_up_in_one_unit_or_in_several[0]",
        lesson="The same on the other path, which only many heads take: a test must force it.",
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
        was="drop(ds, m, n, seed, first, np.uint64(S), cut, kept)",
        becomes="pass",
        caught_by=BACKWARD,
        lesson="delta is made from the output, so it holds the mask; dP must hold it too.",
    ),
    Bug(
        "attention_dropout_not_used_for_the_values",
        KERNEL,
        was="                    drop(s, m, n, seed, first, np.uint64(S), cut, kept)",
        becomes="                    pass",
        caught_by=BACKWARD,
        lesson="V met the weights after dropout, so dV meets them after dropout.",
    ),
    Bug(
        "attention_dropout_draws_again_in_the_backward",
        KERNEL,
        was="m, n, diagonal)\n                first = np.uint64(((b * H + h) * T + i0)",
        becomes="m, n, diagonal)\n                first = np.uint64(((b * H + h) * S + i0)",
        caught_by=BACKWARD,
        lesson="The bits are made twice; they must be those of the same place both times.",
    ),
    Bug(
        "attention_dropout_indexed_by_key_and_query",
        BLOCKS,
        was="index = first + np.uint64(i) * keys + np.uint64(j)",
        becomes="index = first + np.uint64(j) * keys + np.uint64(i)",
        caught_by=(twin("attention"), forward("attention")),
        lesson="Forward and backward agree, so differences do: blocks share bits, and only the "
        "specification knows.",
    ),
]

ONLINE = [
    Bug(
        "online_softmax_keeps_the_old_sum",
        KERNEL,
        was="total[i] *= shrink[i]",
        becomes="total[i] *= 1",
        caught_by=(
            OWN_TESTS + "test_the_largest_score_may_come_in_any_block[1-float64]",
            NETWORK_TESTS + "test_attention_longer_than_a_block_of_the_kernel[70-130]",
        ),
        lesson="Right for one block of keys: small tests never see a second.",
    ),
    Bug(
        "online_softmax_keeps_the_old_output",
        KERNEL,
        was="if grown and j0 > oldest:",
        becomes="if grown and j0 > oldest + BLOCK:",
        caught_by=OWN_TESTS + "test_the_largest_score_may_come_in_any_block[1-float64]",
        lesson="Only a second block with a larger score than the first shows it.",
    ),
    Bug(
        "rows_beyond_the_keys_are_summed",
        BLOCKS,
        was="s[m * BLOCK : rows * BLOCK] = -np.inf",
        becomes="pass",
        caught_by=(forward("attention"), twin("attention")),
        lesson="A number of keys that is a multiple of four hides it.",
    ),
]

IN_PLACE = [
    Bug(
        "keys_and_values_exchanged_in_the_projection",
        CALLS,
        was="for at in (0, H, H + Hk)",
        becomes="for at in (0, H + Hk, H)",
        caught_by=(forward("causal_self_attention"), twin("qkv_attention")),
        lesson="A model trained like this learns as well, and no other program can read it.",
    ),
    Bug(
        "heads_left_apart_in_the_output",
        CALLS,
        was="(0, T * H * D, D, H * D, 1)",
        becomes="(0, T * H * D, T * D, D, 1)",
        caught_by=(forward("causal_self_attention"), twin("qkv_attention")),
        lesson="(B, H, T, D) and (B, T, H D) have the same number of elements.",
    ),
    Bug(
        "cached_query_does_not_see_itself",
        "kernels/attention_cache.py",
        was="n = before + t + 1",
        becomes="n = max(before + t, 1)",
        caught_by=(
            twin("attend_to_cache"),
            "tests/nn/test_cache.py::test_pieces_of_a_text_equal_the_whole[4-pieces1]",
        ),
        lesson="Samples look a little worse than the loss; nothing else tells.",
    ),
]

BUGS = [*SCALE, *SOFTMAX, *MASK, *HEADS, *DROPOUT, *ONLINE, *IN_PLACE]
