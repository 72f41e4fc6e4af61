"""Mistakes in reading and writing weights: the model loads, and talks, a little worse."""

from tests.planted.bug import Bug

HOME = "interop/"
BITS = "tests/interop/test_dtypes.py::"
FILE = "tests/interop/test_safetensors_file.py::"
MODEL_FOLDER = "tests/interop/test_model_folder.py::"
FOREIGN = "tests/interop/test_foreign_folders.py::"
ALONG = "tests/interop/test_folder_tokenizers.py::"
SETTINGS = "tests/interop/test_settings.py::"
LLAMA2C = "tests/interop/test_llama2c.py::"
LAYOUTS = "tests/interop/test_layouts.py::"

BUGS = [
    Bug(
        "bfloat16_cut_off",
        HOME + "dtypes.py",
        was="rounded = (words + np.uint32(0x7FFF) + odd) >> np.uint32(16)",
        becomes="rounded = words >> np.uint32(16)",
        caught_by=BITS + "test_rounding_to_bfloat16_is_to_the_nearest_even",
        lesson="The upper half is a bfloat16, so it looks like a conversion. All numbers shrink.",
    ),
    Bug(
        "halves_rounded_up",
        HOME + "dtypes.py",
        was="up = (lost > half) | ((lost == half) & ((kept & np.uint32(1)) == 1))",
        becomes="up = lost >= half",
        caught_by=BITS + "test_rounding_to_float16_is_numpys",
        lesson="Only a number exactly between two shows it, and only every other one of these.",
    ),
    Bug(
        "denormals_with_a_leading_one",
        HOME + "dtypes.py",
        was="np.where(size < 0x0400, small, normal)",
        becomes="normal",
        caught_by=(
            BITS + "test_float16_is_numpys",
            BITS + "test_every_pattern_has_the_value_of_its_definition[float16]",
        ),
        lesson="Numbers below 6e-5 are rare in weights, and nobody misses one.",
    ),
    Bug(
        "infinity_that_is_large",
        HOME + "dtypes.py",
        was="found = np.where(size >= 0x7C00, special,",
        becomes="found = np.where(size > 0x7FFF, special,",
        caught_by=BITS + "test_float16_is_numpys",
        lesson="Without its own case the largest exponent is one more: infinity reads as 65,536.",
    ),
    Bug(
        "a_hole_in_the_file",
        HOME + "safetensors_file.py",
        was="if entry.start != end:",
        becomes="if entry.start < end:",
        caught_by=FILE + "test_a_rule_that_is_broken[a hole]",
        lesson="Overlaps are the obvious danger. In a hole any other file can be carried along.",
    ),
    Bug(
        "a_header_as_long_as_it_says",
        HOME + "safetensors_file.py",
        was="if length > size - 8:",
        becomes="if length > size * 1000 + 1000:",
        caught_by=FILE + "test_a_header_longer_than_the_file",
        lesson="Memory is taken for what a number says before the file turns out to be short.",
    ),
    Bug(
        "the_last_of_two_names_wins",
        "data/untrusted.py",
        was="    if len(found) < len(pairs):",
        becomes="    if not pairs:",
        caught_by=FILE + "test_a_rule_that_is_broken[a name twice]",
        lesson="json.loads keeps the last, other readers the first: two people load two models.",
    ),
    Bug(
        "true_is_a_size",
        HOME + "safetensors_file.py",
        was="all(type(v) is int and 0 <= v < 2**63 for v in values)",
        becomes="all(isinstance(v, int) and 0 <= v < 2**63 for v in values)",
        caught_by=FILE + "test_a_rule_that_is_broken[true as size]",
        lesson="In Python True is an int.",
    ),
    Bug(
        "gpt2_the_other_way_round",
        HOME + "gpt2.py",
        was='turned = len(shape) == 2 and name.startswith("h.")',
        becomes='turned = len(shape) == 2 and "c_proj" not in name and name.startswith("h.")',
        caught_by=LAYOUTS + "test_gpt2_stands_the_other_way_round",
        lesson="attn.c_proj is square: its shape says nothing about which way round it is.",
    ),
    Bug(
        "up_before_gate",
        HOME + "llama.py",
        was='"mlp.c_fc": ("mlp.gate_proj", "mlp.up_proj"),',
        becomes='"mlp.c_fc": ("mlp.up_proj", "mlp.gate_proj"),',
        caught_by=LAYOUTS + "test_llama_has_each_projection_by_itself[False]",
        lesson="Both have the same shape, and a round trip through our own files shows nothing.",
    ),
    Bug(
        "keys_for_values",
        HOME + "llama.py",
        was='("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj")',
        becomes='("self_attn.q_proj", "self_attn.v_proj", "self_attn.k_proj")',
        caught_by=LAYOUTS + "test_llama_has_each_projection_by_itself[True]",
        lesson="The order is ours alone; what we write comes back, and is another model there.",
    ),
    Bug(
        "the_other_epsilon",
        HOME + "llama.py",
        was='norm_eps=settings.number("rms_norm_eps", 1e-6)',
        becomes='norm_eps=settings.number("layer_norm_epsilon", 1e-6)',
        caught_by=SETTINGS + "test_a_config_goes_there_and_back[llama]",
        lesson="An epsilon hides below every tolerance, until activations are small.",
    ),
    Bug(
        "mistral_without_a_window",
        HOME + "llama.py",
        was='settings.optional_whole("sliding_window", 4096)',
        becomes='settings.optional_whole("sliding_window", None)',
        caught_by=SETTINGS + "test_llama_defaults_are_those_of_transformers",
        lesson="What a file leaves out is what its library fills in, and no text shows the window "
        "before it is longer than it.",
    ),
    Bug(
        "what_is_not_known_is_passed_over",
        HOME + "settings.py",
        was="        if left:",
        becomes="        if len(left) > 1:",
        caught_by=SETTINGS + "test_refused_by_name[llama-changes26-factor is not known]",
        lesson="A model with one setting more loads as well, and computes something else.",
    ),
    Bug(
        "a_tied_head_that_is_not",
        HOME + "huggingface.py",
        was="if config.tied_head and _HEAD in tensors.entries:",
        becomes="if False:",
        caught_by=(
            FOREIGN + "test_a_head_that_is_said_to_be_tied[gpt2]",
            FOREIGN + "test_a_head_that_is_said_to_be_tied[llama]",
        ),
        lesson="The head is ignored because it is the table once more. Unless it is not.",
    ),
    Bug(
        "a_list_that_leads_elsewhere",
        HOME + "shards.py",
        was='any(letter in name for letter in "/\\\\:\\0")',
        becomes='any(letter in name for letter in ":\\0")',
        caught_by=FOREIGN + "test_several_files",
        lesson="The list of shards is a file from anywhere, and names paths.",
    ),
    Bug(
        "the_former_settings_with_the_new_weights",
        HOME + "model_folder.py",
        was="    (folder / CONFIG).unlink(missing_ok=True)\n    sync_folder(folder)\n",
        becomes="",
        caught_by=MODEL_FOLDER + "test_whenever_it_is_killed",
        lesson="Each file is replaced in one move, and still five of them are not: between two "
        "moves there is a model that nobody made.",
    ),
    Bug(
        "a_tokenizer_left_behind",
        HOME + "model_folder.py",
        was="for name in sorted(former - written):",
        becomes="for name in sorted(former - written - {TOKENIZER}):",
        caught_by=MODEL_FOLDER + "test_another_model_takes_nothing_of_the_former",
        lesson="A model that brings no tokenizer gets that of the one before it.",
    ),
    Bug(
        "written_over_what_is_read",
        HOME + "model_folder.py",
        was="os.path.samefile(source, folder)",
        becomes="str(source) == str(folder)",
        caught_by="tests/cli/test_import_export.py::test_mistakes_are_one_line[over itself]",
        lesson="A folder has many names.",
    ),
    Bug(
        "no_begin_without_its_tokenizer",
        HOME + "huggingface.py",
        was="        if found.tokenizer is None:\n            special = _added_tokens(file)",
        becomes="        if found.tokenizer is None:\n            return None",
        caught_by=ALONG + "test_what_begins_a_text_is_kept_where_the_tokenizer_is_not",
        lesson="A model that never saw a text without its first token still answers, worse.",
    ),
    Bug(
        "rows_of_values_regrouped_too",
        HOME + "layout.py",
        was="heads = config.n_head + config.kv_heads\n",
        becomes="heads = config.n_head + 2 * config.kv_heads\n",
        caught_by=LLAMA2C + "test_neighbours_and_halves_are_one_model[True]",
        lesson="Queries and keys are compared with each other, values are not: their order counts.",
    ),
    Bug(
        "llama2c_gate_is_w3",
        HOME + "llama2c.py",
        was='"mlp.c_fc": ("w1", "w3"),',
        becomes='"mlp.c_fc": ("w3", "w1"),',
        caught_by=LLAMA2C + "test_every_parameter[True]",
        lesson="w1 is the gate, w3 the way up, and w2 the way down.",
    ),
]
