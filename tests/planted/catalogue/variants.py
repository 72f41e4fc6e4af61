"""Mistakes in what GPTConfig can choose: shapes fit, models learn, and it is another model."""

from tests.planted.bug import Bug, differences, forward, twin

ROPE = "kernels/rope.py"
KERNEL = "kernels/attention_kernel.py"
BLOCKS = "kernels/attention_blocks.py"
BLOCK = "nn/transformer.py"
POSITIONS = "nn/positions.py"
TESTS = "tests/nn/test_variants.py::"
DEFINITION = TESTS + "test_logits_equal_the_plain_definition"
CACHED = TESTS + "test_the_cache_gives_the_logits_of_the_whole_text_at_every_step"

BUGS = [
    Bug(
        "rope_turned_back_is_turned_on",
        ROPE,
        was="return rope(dy, cos, -sin, heads, interleaved)",
        becomes="return rope(dy, cos, sin, heads, interleaved)",
        caught_by=(differences("rope"), twin("rope_backward")),
        lesson="At position 0 it is right, and the lengths are everywhere.",
    ),
    Bug(
        "rope_in_steps_of_nothing",
        ROPE,
        was="        for head in range(heads):\n            at = head * D\n",
        becomes="        for at in range(0, heads * D, D):\n",
        caught_by=twin("rope"),
        lesson="Where heads have no numbers, the step is 0. Shapes drawn by chance met it in one "
        "run of many; now each size is 0 once in every run.",
    ),
    Bug(
        "rope_is_a_reflection",
        ROPE,
        was="y[row, at + half + i] = b * cos[t, i] + a * sin[t, i]",
        becomes="y[row, at + half + i] = b * cos[t, i] - a * sin[t, i]",
        caught_by=(forward("rope"), twin("rope")),
        lesson="The kernel of the backward has the same slip, so differences with the wrong "
        "matrix may even agree; the definition does not.",
    ),
    Bug(
        "values_are_turned_too",
        BLOCK,
        was="partial(_turned, rope, n_head + kv_heads)",
        becomes="partial(_turned, rope, n_head + 2 * kv_heads)",
        caught_by=DEFINITION,
        lesson="It learns; only weights from elsewhere show it.",
    ),
    Bug(
        "rope_of_a_cached_token_starts_anew",
        BLOCK,
        was="0 if cache is None else cache.length",
        becomes="0",
        caught_by=CACHED,
        lesson="The loss is right. Every sample is not.",
    ),
    Bug(
        "rope_base_is_not_heeded",
        "gpt/model.py",
        was="Rope(c.head_size, c.rope_base, c.rope_interleaved)",
        becomes="Rope(c.head_size, interleaved=c.rope_interleaved)",
        caught_by=DEFINITION,
        lesson="With the usual base nothing is wrong.",
    ),
    Bug(
        "sinusoids_one_frequency_too_far",
        POSITIONS,
        was="base ** (-np.arange(0, channels, 2) / channels)",
        becomes="base ** (-np.arange(0, channels, 2) / (channels - 2))",
        caught_by=DEFINITION,
        lesson="Two readings of one formula: the longest wave is 10000 or a bit less.",
    ),
    Bug(
        "heads_normalised_after_rope",
        BLOCK,
        was="self.on_heads.append(partial(",
        becomes="self.on_heads.insert(0, partial(",
        caught_by=DEFINITION,
        lesson="A turn changes no length, so only the gain tells the order.",
    ),
    Bug(
        "window_one_too_wide",
        BLOCKS,
        was="s[j * BLOCK + min(n, max(0, j + reach))",
        becomes="s[j * BLOCK + min(n, max(0, j + reach + 1))",
        caught_by=(forward("causal_self_attention"), twin("qkv_attention")),
        lesson="Does a window of 4 see four keys or four before its own? Nobody notices in a loss.",
    ),
    Bug(
        "window_forgotten_on_the_way_back",
        KERNEL,
        was="                if window > 0:\n                    hide_past",
        becomes="                if window > 99999:\n                    hide_past",
        caught_by=(differences("causal_self_attention"), twin("qkv_attention_backward")),
        lesson="The weights are made again in the backward, and all that hides them with them.",
    ),
    Bug(
        "window_starts_a_block_late",
        KERNEL,
        was="max(0, i0 - window + 1) // BLOCK * BLOCK",
        becomes="max(0, i0 - window + 1 + BLOCK - 1) // BLOCK * BLOCK",
        caught_by=TESTS + "test_windows_longer_than_a_block_equal_a_mask",
        lesson="With small tests the first block is the only one.",
    ),
    Bug(
        "window_of_the_cache_one_too_narrow",
        "kernels/attention_cache.py",
        was="max(0, n - window)",
        becomes="max(0, n - window + 1)",
        caught_by=twin("attend_to_cache"),
        lesson="The rule stands in two kernels, and one of them is right.",
    ),
    Bug(
        "a_cache_that_grows_forgets",
        "nn/cache.py",
        was="made[:, :, :needed] = former[:, :, held - needed : held]",
        becomes="pass",
        caught_by="tests/nn/test_cache.py::test_memory_is_taken_for_what_comes",
        lesson="Prompts of a test fit into the first piece of memory; conversations do not.",
    ),
    Bug(
        "gone_back_behind_the_window",
        "nn/cache.py",
        was="if length < self._whole:",
        becomes="if length < self._first:",
        caught_by=(
            "tests/nn/test_cache.py"
            "::test_a_cache_that_is_rewound_goes_on_as_if_it_had_not_seen_more[8]"
        ),
        lesson="The position is still held, but not all that the next one sees.",
    ),
    Bug(
        "what_the_window_still_shows_is_dropped",
        "nn/cache.py",
        was="min(self._held, before)",
        becomes="min(self._held, before - 1)",
        caught_by="tests/nn/test_cache.py::test_what_has_left_the_window_leaves_the_cache",
        lesson="Nothing is dropped before some thirty tokens, which no other test generates.",
    ),
    Bug(
        "swiglu_as_narrow_as_gelu",
        "gpt/config.py",
        was="-(-8 * self.n_embd // 24) * 8",
        becomes="-(-8 * self.n_embd // 3)",
        caught_by="tests/nn/test_config.py::test_the_inner_width_of_swiglu",
        lesson="Two of three sources round, and to different numbers.",
    ),
    Bug(
        "post_norm_leaves_the_stream_out",
        BLOCK,
        was="return norm(half(x, *cache, residual=x))",
        becomes="return x + norm(half(x, *cache))",
        caught_by=(DEFINITION, "tests/nn/test_layers.py::test_blocks_add_to_the_stream"),
        lesson="A third place for the norm, and a fine model: but another one.",
    ),
    Bug(
        "relu2_is_relu",
        BLOCK,
        was='"relu2": _squared_relu',
        becomes='"relu2": F.relu',
        caught_by=(DEFINITION, TESTS + "test_fused_and_spelled_out_agree"),
        lesson="Differences prove a gradient, not that it is of the function one meant.",
    ),
    Bug(
        "untied_head_is_tied",
        "gpt/model.py",
        was="if c.tied_head:",
        becomes="if c.n_head:",
        caught_by=(DEFINITION, "tests/nn/test_config.py::test_parameters_by_part"),
        lesson="Fewer parameters than were paid for.",
    ),
]
