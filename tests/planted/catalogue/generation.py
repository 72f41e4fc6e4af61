"""Mistakes in choosing tokens, in the loop, and in ending a text."""

from tests.planted.bug import Bug

SAMPLING = "generate/sampling.py"
LOOP = "generate/loop.py"
STOPPING = "generate/stopping.py"
RULES = "tests/generate/test_sampling.py::"
TEXTS = "tests/generate/test_loop.py::"
STOPS = "tests/generate/test_stopping.py::"
COMMAND = "tests/cli/test_sample_command.py::"

BUGS = [
    Bug(
        "repetition_penalty_lifts_negative_logits",
        SAMPLING,
        was="changed = np.where(row > 0, row / factor, row * factor)",
        becomes="changed = row / factor",
        caught_by=RULES + "test_repetition_divides_what_is_positive_and_multiplies_what_is_not",
        lesson="The formula as the paper has it: a token that is unlikely becomes likelier.",
    ),
    Bug(
        "frequency_penalty_once_only",
        SAMPLING,
        was="return row - penalty * counts",
        becomes="return row - penalty * (counts > 0)",
        caught_by=RULES + "test_presence_and_frequency_by_openais_formula",
        lesson="The two penalties are one then, and a test with each token once cannot tell.",
    ),
    Bug(
        "presence_penalty_counts_the_prompt",
        SAMPLING,
        was="self.seen[np.asarray(prompt, dtype=np.int64)] = True",
        becomes="self.seen[np.asarray(prompt, dtype=np.int64)] = True\n"
        "        self.counts[np.asarray(prompt, dtype=np.int64)] += 1",
        caught_by=RULES + "test_only_repetition_counts_the_prompt",
        lesson="An answer about the question's subject is what it then avoids.",
    ),
    Bug(
        "temperature_multiplies",
        SAMPLING,
        was="return (row - row.max()) / temperature",
        becomes="return (row - row.max()) * temperature",
        caught_by=RULES + "test_temperature_raises_probabilities_to_a_power",
        lesson="Right at 1, and a text that is merely a bit off everywhere else.",
    ),
    Bug(
        "tiny_temperature_overflows",
        SAMPLING,
        was="return (row - row.max()) / temperature",
        becomes="return row / temperature",
        caught_by=RULES + "test_huge_logits_and_tiny_temperatures_do_not_overflow",
        lesson="inf - inf is NaN; the maximum has to go before the division, not after it.",
    ),
    Bug(
        "top_k_drops_ties",
        SAMPLING,
        was="return np.where(row < smallest, -np.inf, row)",
        becomes="kept = np.argsort(-row)[:k]\n"
        "    return np.where(np.isin(np.arange(len(row)), kept), row, -np.inf)",
        caught_by=(
            RULES + "test_top_k_keeps_those_that_fewer_than_k_exceed",
            RULES + "test_ties_stay_or_go_together",
        ),
        lesson="Of two tokens that are equally likely, the one with the lower id is taken.",
    ),
    Bug(
        "top_p_without_the_token_that_reaches_it",
        SAMPLING,
        was="last = min(int(np.searchsorted(reached, p)), size - 1)",
        becomes='last = max(int(np.searchsorted(reached, p, side="right")) - 1, 0)',
        caught_by=RULES + "test_top_p_keeps_those_above_which_lies_less_than_p",
        lesson="What is left has less than p: off by one, and at 0.95 nobody sees it.",
    ),
    Bug(
        "min_p_is_a_bare_probability",
        SAMPLING,
        was="return np.where(row < row.max() + math.log(share), -np.inf, row)",
        becomes="return np.where(probabilities(row) < share, -np.inf, row)",
        caught_by=RULES + "test_min_p_keeps_those_with_a_share_of_the_likeliest",
        lesson="A fixed threshold: of a flat distribution nothing is left.",
    ),
    Bug(
        "the_temperature_after_the_cuts",
        SAMPLING,
        was="    row = heat(row, s.temperature)\n    if s.top_k is not None:",
        becomes="    row = heat(row, 1.0)\n    if s.top_k is not None:",
        caught_by=RULES + "test_the_temperature_comes_before_the_cuts",
        lesson="Each rule is right and their order is not: top-p means another number then.",
    ),
    Bug(
        "greedy_forgets_the_penalties",
        SAMPLING,
        was="    row = processed(row, sampling, history)\n    if sampling.greedy:\n"
        "        return int(row.argmax())",
        becomes="    if sampling.greedy:\n        return int(row.argmax())\n"
        "    row = processed(row, sampling, history)",
        caught_by=RULES + "test_penalties_count_for_a_greedy_choice",
        lesson="A short cut that looks free; greedy texts are those that repeat themselves most.",
    ),
    Bug(
        "a_token_out_of_play_is_drawn_at_zero",
        SAMPLING,
        was='rng.random() * cumulative[-1], side="right"))',
        becomes='rng.random() * cumulative[-1], side="left"))',
        caught_by=RULES + "test_the_ends_of_the_range_choose_only_possible_tokens",
        lesson="Once in 2^53 draws, where the first token is out of play.",
    ),
    Bug(
        "rows_share_a_generator",
        LOOP,
        was="rngs = [np.random.default_rng([seed, row]) for row in range(len(prompts))]",
        becomes="rngs = [np.random.default_rng([seed, 0])] * len(prompts)",
        caught_by=TEXTS + "test_a_row_does_not_depend_on_the_others",
        lesson="Reproducible, until one more text is asked for and all of them change.",
    ),
    Bug(
        "the_window_slides_a_token_late",
        LOOP,
        was="cache, seen = model.new_cache(batch), end - block_size",
        becomes="cache, seen = model.new_cache(batch), end - block_size + 1",
        caught_by=TEXTS + "test_logits_with_the_cache_are_those_of_a_whole_pass",
        lesson="A context shorter by one: the text reads as well as before.",
    ),
    Bug(
        "the_prompt_is_passed_over_with_every_token",
        LOOP,
        was="            seen = end\n",
        becomes="",
        caught_by=(
            TEXTS + "test_a_token_is_computed_once_until_the_context_is_full",
            TEXTS + "test_logits_with_the_cache_are_those_of_a_whole_pass",
        ),
        lesson="The cache then holds the prompt twice, at positions where it never stood.",
    ),
    Bug(
        "copies_of_a_prompt_begin_anew",
        "nn/cache.py",
        was="copy._length, copy._first, copy._whole = self._length, self._first, self._whole",
        becomes="",
        caught_by=(
            "tests/nn/test_cache.py"
            "::test_a_repeated_cache_goes_on_as_the_text_alone_and_each_by_itself",
            TEXTS + "test_one_prompt_is_passed_over_once_for_all_its_texts",
        ),
        lesson="Each text goes on from its first token alone, in words that are none the worse.",
    ),
    Bug(
        "the_mode_is_left_in_evaluation",
        LOOP,
        was="    finally:\n        if switched:\n            model.train()",
        becomes="    finally:\n        pass",
        caught_by=(
            TEXTS + "test_the_mode_is_put_back_where_the_text_is_not_read_to_its_end",
            TEXTS + "test_the_mode_is_put_back_after_an_error",
        ),
        lesson="A sample in the middle of training, and from then on nothing is dropped.",
    ),
    Bug(
        "a_stopped_row_goes_on_talking",
        LOOP,
        was="if done[row]",
        becomes="if False",
        caught_by=TEXTS + "test_a_row_that_has_stopped_is_filled_and_the_others_go_on",
        lesson="Behind its end-of-text token stands another text, which looks like an answer.",
    ),
    Bug(
        "nothing_is_held_back",
        STOPPING,
        was="held = max((_overlap(whole, stop) for stop in self._stops), default=0)",
        becomes="held = 0",
        caught_by=(
            STOPS + "test_what_is_shown_does_not_depend_on_the_pieces[aab]",
            COMMAND + "test_a_stop_string_is_not_printed_nor_any_part_of_it",
        ),
        lesson="A stop string is found only where one token holds all of it.",
    ),
    Bug(
        "the_first_to_begin_ends_the_text",
        STOPPING,
        was="ends = [(at + len(stop), at, stop) for at, stop in places if at >= 0]",
        becomes="ends = [(at, at, stop) for at, stop in places if at >= 0]",
        caught_by=STOPS + "test_what_is_shown_does_not_depend_on_the_pieces[aabb|ab]",
        lesson="Which of two strings ends the text would depend on how it is cut into tokens.",
    ),
]
