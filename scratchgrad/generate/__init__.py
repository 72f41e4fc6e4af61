"""Text from a model, one token at a time: which token (sampling), in a loop (loop), until when."""

from scratchgrad.generate.loop import LanguageModel, complete, generate, generate_rows
from scratchgrad.generate.sampling import History, Sampling, choose, processed
from scratchgrad.generate.stopping import StopStrings

__all__ = [
    "History",
    "LanguageModel",
    "Sampling",
    "StopStrings",
    "choose",
    "complete",
    "generate",
    "generate_rows",
    "processed",
]
