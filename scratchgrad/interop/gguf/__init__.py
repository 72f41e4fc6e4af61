"""GGUF, the file of llama.cpp: one file with a model's numbers, its tokenizer and its settings.

`reading` reads the file and believes nothing in it; `quantised` turns blocks of small whole
numbers into float32; `model` and `tokenizer` say what the names in the file mean. The page
docs/quantised.md explains all of it.
"""

from scratchgrad.interop.gguf.model import read_gguf

__all__ = ["read_gguf"]
