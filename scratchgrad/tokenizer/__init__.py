"""Text to ids and back."""

from scratchgrad.tokenizer.characters import CharTokenizer

__all__ = ["CharTokenizer"]
