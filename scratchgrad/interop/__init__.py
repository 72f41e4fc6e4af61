"""Other people's weights and formats, in and out. Nothing in a file is believed, or executed."""

from scratchgrad.interop.huggingface import write_folder
from scratchgrad.interop.pretrained import Pretrained, read_pretrained, save_pretrained

__all__ = ["Pretrained", "read_pretrained", "save_pretrained", "write_folder"]
