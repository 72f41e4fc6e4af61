"""Text to ids and back."""

from scratchgrad.tokenizer.bpe import BPETokenizer
from scratchgrad.tokenizer.characters import CharTokenizer
from scratchgrad.tokenizer.chat import CHAT_TOKENS
from scratchgrad.tokenizer.decoding import TokenStream
from scratchgrad.tokenizer.patterns import Pattern
from scratchgrad.tokenizer.vocabulary import Vocabulary

__all__ = [
    "CHAT_TOKENS",
    "BPETokenizer",
    "CharTokenizer",
    "Pattern",
    "TokenStream",
    "Vocabulary",
]
