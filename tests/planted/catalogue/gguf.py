"""Mistakes with a GGUF and with chat templates: the model still says something."""

from tests.planted.bug import Bug

GGUF = "interop/gguf/"
READING = "tests/interop/test_gguf_reading.py::"
MODEL = "tests/interop/test_gguf_model.py::"
CHAT = "tests/interop/test_chat_template.py::"
TALK = "tests/interop/test_conversation.py::"

BUGS = [
    Bug(
        "half_bytes_side_by_side",
        GGUF + "quantised.py",
        was="    out[:, :16] = data & np.uint8(0x0F)\n    out[:, 16:] = data >> np.uint8(4)",
        becomes="    out[:, ::2] = data & np.uint8(0x0F)\n    out[:, 1::2] = data >> np.uint8(4)",
        caught_by=READING + "test_every_half_byte_has_its_place[Q4_1]",
        lesson="Two numbers of a byte look like neighbours. They are 16 apart, and a block in the "
        "wrong order has the right mean, size and shape.",
    ),
    Bug(
        "quants_without_their_sign",
        GGUF + "quantised.py",
        was="blocks[:, 2:].view(np.int8)",
        becomes="blocks[:, 2:]",
        caught_by=READING + "test_blocks_worked_by_hand[Q8_0]",
        lesson="A byte is unsigned unless somebody says so; small positive weights come out right.",
    ),
    Bug(
        "four_bits_around_seven",
        GGUF + "quantised.py",
        was="out -= np.float32(8)",
        becomes="out -= np.float32(7)",
        caught_by=READING + "test_blocks_worked_by_hand[Q4_0]",
        lesson="The middle of 0 to 15 is no whole number; Q4_0 takes 8, so that 0 is exact.",
    ),
    Bug(
        "rows_left_interleaved",
        GGUF + "model.py",
        was="        q[...] = half_split(q, heads)\n        k[...] = half_split(k, kv_heads)\n",
        becomes="",
        caught_by=MODEL + "test_the_model_is_that_of_the_file",
        lesson="All shapes fit, and at position 0 nothing is rotated: the first token is right.",
    ),
    Bug(
        "the_heads_of_keys_taken_for_those_of_queries",
        GGUF + "model.py",
        was="k[...] = half_split(k, kv_heads)",
        becomes="k[...] = half_split(k, heads)",
        caught_by=MODEL + "test_the_model_is_that_of_the_file",
        lesson="With as many keys as queries it is the same; with fewer, rows go to other heads.",
    ),
    Bug(
        "up_and_gate_swapped",
        GGUF + "model.py",
        was='"mlp.c_fc": ("ffn_gate", "ffn_up"),',
        becomes='"mlp.c_fc": ("ffn_up", "ffn_gate"),',
        caught_by=MODEL + "test_every_weight_is_where_it_belongs",
        lesson="silu(a) b and a silu(b) are alike enough for fluent text.",
    ),
    Bug(
        "what_the_values_say_beyond_is_ignored",
        GGUF + "model.py",
        was="if value not in _HARMLESS.get(name, ()) or type(value) is bool:",
        becomes="if False:",
        caught_by=MODEL + "test_what_the_values_say_is_refused[-llama.rope.scaling.type is 'yarn']",
        lesson="A model with scaled positions is right for its first thousands of tokens.",
    ),
    Bug(
        "digits_take_their_space",
        GGUF + "tokenizer.py",
        was=r"|\s+(?![^\s\p{N}])|\s+",
        becomes=r"|\s+(?!\S)|\s+",
        caught_by=MODEL + "test_how_a_text_is_cut[smollm-it's  12 two-pieces0]",
        lesson="Two cuts in one expression: what ends the text for the second is a number for the "
        "first. Only two spaces before a digit show it.",
    ),
    Bug(
        "a_size_that_wraps",
        GGUF + "reading.py",
        was="nbytes = math.prod(shape) // block.numbers * block.nbytes",
        becomes="nbytes = (math.prod(shape) // block.numbers * block.nbytes) % 2**64",
        caught_by=READING + "test_damaged_tables[-73,786,976,294,838,206,464 bytes]",
        lesson="In numbers of 64 bits 2^64 bytes are none at all, and fit into every file.",
    ),
    Bug(
        "holes_are_passed_over",
        GGUF + "reading.py",
        was="if row.start != expected:",
        becomes="if row.start < expected:",
        caught_by=READING + "test_damaged_tables[-tensor t begins at 32, after a hole; expected 0]",
        lesson="The tensors that are there are read well; nobody asks for what is missing.",
    ),
    Bug(
        "a_length_is_believed",
        GGUF + "reading.py",
        was="if length * _LEAST_ITEM[kind] > self._size - self._at:",
        becomes="if False:",
        caught_by=READING + "test_damaged_values[-9,223,372]",
        lesson="Whoever skips that many bytes is told of them, not of the number that is wrong; "
        "whoever makes a list of so many is not told.",
    ),
    Bug(
        "what_is_said_is_searched_for_tokens",
        "interop/chat_template.py",
        was="parts = list(finder.split(masked, allowed))",
        becomes="parts = list(finder.split(plain, allowed))",
        caught_by=CHAT + "test_special_tokens_that_somebody_types_are_characters",
        lesson="Render, then encode with all special tokens allowed, is what most programs do.",
    ),
    Bug(
        "somebody_else_thinks_aloud",
        "interop/chat_template.py",
        was=" or any(_marks(finder.split(t, allowed)) for t in typed):",
        becomes=":",
        caught_by=CHAT + "test_a_special_token_in_the_place_of_the_templates_own",
        lesson="The same tokens in the same order, and one of them is the user's: the template "
        "saw it and left its own out.",
    ),
    Bug(
        "masks_over_the_spaces",
        "interop/chat_template.py",
        was="visible = sorted(character for character in seen if not character.isspace())",
        becomes="visible = sorted(seen)",
        caught_by=CHAT + "test_no_content_becomes_a_special_token",
        lesson="Spaces in disguise are not trimmed, so both texts differ and the plain one counts.",
    ),
    Bug(
        "the_cache_keeps_the_last_one_too",
        "interop/conversation.py",
        was="differ = np.flatnonzero(ids[:both] != self._seen[:both])",
        becomes="differ = np.zeros(0, int)",
        caught_by=TALK + "test_the_oldest_turns_are_forgotten",
        lesson="An answer is not always encoded again as it was sampled; a dropped turn is gone "
        "from the text and stays in the cache.",
    ),
    Bug(
        "as_few_turns_as_will_do",
        "interop/conversation.py",
        was="while full and len(ids) > block_size // 2 and",
        becomes="while full and len(ids) > room and",
        caught_by=TALK + "test_a_full_context_is_emptied_to_half_so_that_it_is_seldom_full",
        lesson="Every answer is as good; each one after the first overflow is paid for with a pass "
        "over the whole conversation.",
    ),
    Bug(
        "the_first_unknown_id_is_known",
        "interop/known.py",
        was="unknown = given[given >= pretrained.model.config.vocab_size]",
        becomes="unknown = given[given > pretrained.model.config.vocab_size]",
        caught_by="tests/cli/test_sample_command.py::"
        "test_a_byte_without_a_row_is_refused_before_anything_is_printed[1]",
        lesson="One byte of the 21 reaches the model, which speaks of ids after the prompt is out.",
    ),
    Bug(
        "lists_are_as_light_as_they_look",
        "interop/template_sandbox.py",
        was="def visit_List(self, node: nodes.List) -> _Node:\n        self.generic_visit(node)\n"
        '        return _call("weighed", node)',
        becomes="def visit_List(self, node: nodes.List) -> _Node:\n"
        "        self.generic_visit(node)\n"
        "        return node",
        caught_by=CHAT
        + "test_hostile_templates_come_to_an_end[{% set n = namespace(s=1) %}{% for i in 0]",
        lesson="[x, x] has two items whatever x is; printed, it has all of them.",
    ),
]
