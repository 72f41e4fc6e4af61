"""Mistakes in training, encoding, decoding: in every text that one looks at first, all is well."""

from tests.planted.bug import Bug

KERNELS = "kernels/bpe/"
CALLS = "tokenizer/"
COUNT = "tests/kernels/bpe/test_table_and_count.py::"
TRAIN = "tests/kernels/bpe/test_train.py::"
ENCODE = "tests/kernels/bpe/test_encode.py::"
USE = "tests/tokenizer/test_bpe.py::"
SOURCES = "tests/tokenizer/test_bpe_sources.py::"

BUGS = [
    Bug(
        "a_hash_taken_for_the_string",
        KERNELS + "table.py",
        was="elif same(arena, np.int64(slots[at, SECOND]), words, start, length):",
        becomes="else:",
        caught_by=COUNT + "test_pieces_of_the_same_hash_are_told_apart",
        lesson="64 bits never meet by accident, so no drawn text shows it. By intention they do: "
        "the hash can be computed backwards.",
    ),
    Bug(
        "zeros_past_the_end_taken_for_bytes",
        KERNELS + "table.py",
        was="slots[at, FIRST] == first and slots[at, LENGTH] == size",
        becomes="slots[at, FIRST] == first",
        caught_by=COUNT + "test_zero_bytes_at_the_end_count_wherever_a_piece_lies",
        lesson="What is masked away is zero, and so is the byte NUL. The hash knows the length, so "
        "the two meet only where their slots do.",
    ),
    Bug(
        "a_line_of_the_cache_without_its_length",
        KERNELS + "cache.py",
        was="line[0] != first or line[1] != second or line[2] != np.uint64(length)",
        becomes="line[0] != first or line[1] != second",
        caught_by=ENCODE + "test_pieces_that_differ_in_zero_bytes_only_are_told_apart_in_the_cache",
        lesson="The same mistake, behind a hash of 13 bits.",
    ),
    Bug(
        "a_long_token_that_is_found_nowhere",
        KERNELS + "table.py",
        was="second = np.uint64(begin)",
        becomes="second = np.uint64(0)",
        caught_by=ENCODE
        + "test_whole_tokens_of_any_length_are_found_and_what_is_like_them_is_not[24]",
        lesson="Its merges make the same id, only slower; unless it has no merges.",
    ),
    Bug(
        "a_count_of_yesterday",
        KERNELS + "pairs.py",
        was="elif now < heap.frequency[0]:",
        becomes="elif now < 0:",
        caught_by=TRAIN + "test_merges_are_those_of_the_definition",
        lesson="The heap is right when a pair is entered. Its neighbours are merged later.",
    ),
    Bug(
        "ids_compared_where_bytes_were_meant",
        KERNELS + "pairs.py",
        was="    return tokens.length[a] - tokens.length[b]\n",
        becomes="    return np.int64(a) - np.int64(b)\n",
        caught_by=TRAIN + "test_a_token_that_begins_another_comes_before_it",
        lesson="A longer token has the higher id, nearly always.",
    ),
    Bug(
        "a_pair_that_stands_there_no_more",
        KERNELS + "train.py",
        was="if symbols[at] == left and symbols[at + step] == right:",
        becomes="if symbols[at] == left:",
        caught_by=TRAIN + "test_merges_are_those_of_the_definition",
        lesson="A list of positions is laid down once; what lies beyond has moved on since.",
    ),
    Bug(
        "a_pair_between_two_of_a_kind",
        KERNELS + "train.py",
        was="lost = pair_key(right, left) if token == result else pair_key(token, left)",
        becomes="lost = pair_key(left, right) if token == result else pair_key(token, left)",
        caught_by=TRAIN + "test_merges_are_those_of_the_definition",
        lesson='In "a b a b" the pair between the two is (b, a); by now both are the new token.',
    ),
    Bug(
        "a_table_that_forgets_a_row_when_it_grows",
        KERNELS + "train.py",
        was="    for row in range(start, stop):\n        if old[row, 0] != ZERO:",
        becomes="    for row in range(start + 1, stop):\n        if old[row, 0] != ZERO:",
        caught_by=TRAIN + "test_tables_that_must_grow_all_the_time_lose_nothing",
        lesson="Tables have room for all that tests bring, unless the room can be taken away.",
    ),
    Bug(
        "a_neighbour_that_is_dead",
        KERNELS + "encode.py",
        was="        values[left] = values[right] = NOTHING\n",
        becomes="        values[left] = NOTHING\n",
        caught_by=ENCODE + "test_ids_are_those_of_the_definition",
        lesson="Its entry is still in the heap, with the rank that it had.",
    ),
    Bug(
        "every_token_taken_as_a_whole",
        KERNELS + "encode.py",
        was="chosen = self._reached(text, ends, ids)",
        becomes="chosen = np.ones(len(ends), np.bool_)",
        caught_by=ENCODE
        + "test_a_token_that_no_merge_reaches_is_taken_only_where_that_is_the_rule",
        lesson="For tokens that were learned it is no mistake. Those that were added are another "
        "matter.",
    ),
    Bug(
        "a_block_that_ends_in_a_word",
        CALLS + "corpus.py",
        was="cut = pattern.cut(text, stop) if chunk is not None else stop",
        becomes="cut = stop",
        caught_by=USE + "test_a_file_larger_than_a_block_is_cut_where_no_piece_is",
        lesson="A block is a megabyte. Nobody tests with a megabyte.",
    ),
    Bug(
        "one_document_runs_into_the_next",
        CALLS + "training.py",
        was="pattern.ends_of_texts(group)[0]",
        becomes="pattern.ends(text, len(text) - PADDING)",
        caught_by=USE + "test_a_piece_never_reaches_from_one_document_into_the_next",
        lesson="Short documents lie end to end for speed; their bytes are the same.",
    ),
    Bug(
        "two_spaces_before_a_text",
        CALLS + "encoding.py",
        was="yield from self._many(group)",
        becomes='yield from self._many([b" " + text if text else text for text in group])',
        caught_by=SOURCES + "test_one_space_is_put_before_a_text_and_taken_away_again[hello]",
        lesson="Both callers meant well. It stood here until somebody encoded a batch with the one "
        "kind of vocabulary that has a space.",
    ),
    Bug(
        "the_shorter_of_two_special_tokens",
        CALLS + "special.py",
        was="sorted(names, key=len, reverse=True)",
        becomes="sorted(names)",
        caught_by=USE + "test_the_longest_of_several_special_tokens_is_meant",
        lesson="The first alternative that fits is taken, and the longer one never gets its turn.",
    ),
    Bug(
        "what_a_user_says_becomes_a_role",
        CALLS + "chat.py",
        was="tokenizer.encode(content, disallowed_special=())",
        becomes='tokenizer.encode(content, allowed_special="all")',
        caught_by=USE + "test_a_conversation_is_spliced_so_that_no_content_speaks_for_another",
        lesson="Every polite conversation comes out the same.",
    ),
    Bug(
        "half_a_character_shown",
        CALLS + "decoding.py",
        was="return self._utf8.decode(data)",
        becomes='return data.decode("utf-8", "replace")',
        caught_by=(
            USE + "test_a_stream_gives_the_text_and_never_half_a_character",
            USE + "test_a_stream_that_ends_in_the_middle_of_a_character",
        ),
        lesson="English has no such character.",
    ),
    Bug(
        "ids_among_the_texts_that_they_are_made_from",
        CALLS + "id_file.py",
        was="for file in files:",
        becomes="for file in (f for path in paths for f in files_in(check_path(path, 'paths'))):",
        caught_by=SOURCES + "test_ids_are_never_written_over_what_they_are_made_from",
        lesson="The file is begun before the folder is listed.",
    ),
]
