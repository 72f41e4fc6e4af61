"""Layers, written by hand, under PyTorch's names."""

from scratchgrad.nn import functional
from scratchgrad.nn.cache import KVCache
from scratchgrad.nn.layers import Dropout, Embedding, LayerNorm, Linear, RMSNorm
from scratchgrad.nn.module import Module, Parameter
from scratchgrad.nn.positions import LearnedPositions, Rope, SinusoidalPositions
from scratchgrad.nn.transformer import MLP, Block, CausalSelfAttention

__all__ = [
    "MLP",
    "Block",
    "CausalSelfAttention",
    "Dropout",
    "Embedding",
    "KVCache",
    "LayerNorm",
    "LearnedPositions",
    "Linear",
    "Module",
    "Parameter",
    "RMSNorm",
    "Rope",
    "SinusoidalPositions",
    "functional",
]
