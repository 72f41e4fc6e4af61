"""Mistakes in the model: its gradients are right, for another function than the one meant."""

from tests.planted.bug import Bug, layer

GPT = "gpt/model.py"
BLOCK = "nn/transformer.py"
MODULE = "nn/module.py"
LAYER_TESTS = "tests/nn/test_layers.py::"
GPT_TESTS = "tests/nn/test_gpt.py::"

BUGS = [
    Bug(
        "heads_reshaped_without_swapping",
        "kernels/attention.py",
        was="q, k, v = ((at * D, T * C, D, C, 1) for at in (0, H, H + Hk))",
        becomes="q, k, v = ((at * T * D, T * C, T * D, D, 1) for at in (0, H, H + Hk))",
        caught_by=LAYER_TESTS + "test_attention_looks_at_itself_and_before",
        lesson="(B, T, H, D) read as (B, H, T, D): positions and heads are mixed, the shapes fit, "
        "and differences agree.",
    ),
    Bug(
        "queries_and_keys_exchanged",
        "kernels/attention.py",
        was="q, k, v = ((at * D",
        becomes="k, q, v = ((at * D",
        caught_by=LAYER_TESTS + "test_attention_looks_at_itself_and_before",
        lesson="A model learns as well with them exchanged; weights from elsewhere make no sense.",
    ),
    Bug(
        "attention_not_causal",
        "kernels/attention.py",
        was="how = None, True, scale, dropout",
        becomes="how = None, False, scale, dropout",
        caught_by=GPT_TESTS + "test_a_changed_token_leaves_all_earlier_logits_bit_equal",
        lesson="The training loss goes to nearly 0, which is taken for success.",
    ),
    Bug(
        "residual_missing",
        BLOCK,
        was="return half(norm(x), *cache, residual=x)",
        becomes="return half(norm(x), *cache)",
        caught_by=LAYER_TESTS + "test_blocks_add_to_the_stream",
        lesson="Two layers still train; twelve do not, and then one looks everywhere else.",
    ),
    Bug(
        "residual_missing_where_something_is_dropped",
        BLOCK,
        was="return y if residual is None else residual + y",
        becomes="return y",
        caught_by=LAYER_TESTS + "test_the_stream_runs_on_past_what_is_dropped",
        lesson="Two ways to the same sum, and every test of the model ran without dropout.",
    ),
    Bug(
        "norm_missing_before_attention",
        BLOCK,
        was="x = self.add(self.ln_1, self.attn, x, cache)",
        becomes="x = self.add(lambda x: x, self.attn, x, cache)",
        caught_by=(LAYER_TESTS + "test_blocks_add_to_the_stream", layer("Block")),
        lesson="A layer that is made and never called: its parameters get no gradient at all.",
    ),
    Bug(
        "attention_dropout_in_evaluation",
        BLOCK,
        was="dropout_p=drop.p if self.training else 0.0",
        becomes="dropout_p=drop.p",
        caught_by=LAYER_TESTS + "test_dropout_in_attention_and_mlp_acts_only_in_training",
        lesson="A functional call does not know the mode of the module round it.",
    ),
    Bug(
        "dropout_in_evaluation",
        "nn/layers.py",
        was="F.dropout(x, self.p, self.training, self.rng)",
        becomes="F.dropout(x, self.p, True, self.rng)",
        caught_by=LAYER_TESTS + "test_dropout_in_training_and_in_evaluation",
        lesson="The validation loss is too high and differs from call to call.",
    ),
    Bug(
        "modes_do_not_reach_the_layers",
        MODULE,
        was="        for module in self.modules():\n            module.training = mode",
        becomes="        self.training = mode",
        caught_by=(
            "tests/nn/test_module.py::test_modes_reach_every_module",
            GPT_TESTS + "test_dropout_is_a_function_of_seed_step_and_micro_step",
        ),
        lesson="eval() on the model, and the dropout three levels down goes on.",
    ),
    Bug(
        "tied_weight_counted_twice",
        MODULE,
        was="if id(parameter) not in seen:",
        becomes="if name not in seen:",
        caught_by=(
            "tests/nn/test_module.py::test_shared_parameters_come_once",
            GPT_TESTS + "test_the_tied_weight_is_counted_once",
        ),
        lesson="Two names, one matrix: it would be stepped twice and decay twice.",
    ),
    Bug(
        "weights_not_tied",
        GPT,
        was="self.lm_head.weight = self.wte.weight",
        becomes="self.lm_head.weight.data = self.wte.weight.data",
        caught_by=GPT_TESTS + "test_the_tied_weight_is_counted_once",
        lesson="Equal at the start, a copy and not the same: they part at the first step.",
    ),
    Bug(
        "positions_from_the_end",
        "nn/positions.py",
        was="return x + self.weight[start : start + x.shape[1]]",
        becomes="return x + self.weight[-x.shape[1] :]",
        caught_by=GPT_TESTS + "test_a_beginning_by_itself_has_the_logits_that_it_has_in_the_whole",
        lesson="Right at full context, where training is; samples begin with a short one.",
    ),
    Bug(
        "residual_projections_start_too_large",
        GPT,
        was="0.02 / np.sqrt(2 * self.config.n_layer) if on_stream else 0.02",
        becomes="0.02",
        caught_by=GPT_TESTS + "test_the_initialisation_table",
        lesson="The stream grows with depth; at four layers it does no harm yet.",
    ),
    Bug(
        "residual_projections_counted_once_a_layer",
        GPT,
        was="0.02 / np.sqrt(2 * self.config.n_layer) if on_stream else 0.02",
        becomes="0.02 / np.sqrt(self.config.n_layer) if on_stream else 0.02",
        caught_by=GPT_TESTS + "test_the_initialisation_table",
        lesson="Each layer writes to the stream twice.",
    ),
    Bug(
        "all_layers_drop_the_same_elements",
        GPT,
        was="np.random.default_rng([seed, step, micro_step, i])",
        becomes="np.random.default_rng([seed, step, micro_step])",
        caught_by=GPT_TESTS + "test_layers_drop_different_elements",
        lesson="Repeatable, as was asked, and so the same channel is dropped all the way up.",
    ),
]
