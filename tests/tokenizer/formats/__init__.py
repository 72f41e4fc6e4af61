"""Tests of tokenizer files: written and read again, and real ones mean what their programs do."""
