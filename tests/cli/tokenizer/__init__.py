"""Tests of ``scratchgrad tokenizer``."""
