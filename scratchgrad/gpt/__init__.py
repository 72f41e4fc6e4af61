"""GPT and its configuration: ``model`` is the whole of it on one screen."""

from scratchgrad.gpt.config import GPTConfig
from scratchgrad.gpt.model import GPT

__all__ = ["GPT", "GPTConfig"]
