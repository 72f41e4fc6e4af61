"""Text to ids and back."""

from scratchgrad.tokenizer.bpe import BPETokenizer
from scratchgrad.tokenizer.characters import CharTokenizer
from scratchgrad.tokenizer.chat import CHAT_TOKENS
from scratchgrad.tokenizer.decoding import TokenStream
from scratchgrad.tokenizer.interface import Tokenizer, byte_length
from scratchgrad.tokenizer.load import load_tokenizer
from scratchgrad.tokenizer.patterns import Pattern
from scratchgrad.tokenizer.training import Progress
from scratchgrad.tokenizer.vocabulary import Vocabulary

__all__ = [
    "CHAT_TOKENS",
    "BPETokenizer",
    "CharTokenizer",
    "Pattern",
    "Progress",
    "TokenStream",
    "Tokenizer",
    "Vocabulary",
    "byte_length",
    "load_tokenizer",
]
