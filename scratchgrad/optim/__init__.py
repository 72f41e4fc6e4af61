"""What is done with the gradients: AdamW, clipping, the learning rate's schedule."""

from scratchgrad.optim.adamw import AdamW, parameter_groups
from scratchgrad.optim.clip import clip_factor, clip_grad_norm, grad_norm
from scratchgrad.optim.schedule import cosine_schedule

__all__ = [
    "AdamW",
    "clip_factor",
    "clip_grad_norm",
    "cosine_schedule",
    "grad_norm",
    "parameter_groups",
]
