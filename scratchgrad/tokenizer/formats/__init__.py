"""Tokenizer files of ours and of others, each between a file and a `Vocabulary`.

``own`` is the format to keep a tokenizer in. ``huggingface`` and ``tiktoken`` are read and written,
``gpt2`` and ``llama2c`` are read. A file either means exactly what comes out, or is refused with
one line that names it. `detect` tells them apart. Read `scratchgrad.tokenizer.reading` first for
what is believed of a file, then ``splits`` for what a format without merges means.
"""

from scratchgrad.tokenizer.formats.detection import Found, detect

__all__ = ["Found", "detect"]
