"""The table that drives the proofs: an entry for every operation and layer, by its name.

An operation that is registered but has no entry fails the suite: none goes without its gradient
being compared with finite differences, float32 with float64, and its value with a reference.
"""

from scratchgrad.cases import (
    attention,
    elementwise,
    indexing,
    linalg,
    network,
    reduction,
    shape,
)
from scratchgrad.cases.call import Call, Entry
from scratchgrad.cases.choices import Choices, RandomChoices
from scratchgrad.cases.layers import LAYERS, LayerEntry
from scratchgrad.cases.proof import Proof, Provable, prove
from scratchgrad.cases.variants import VARIANTS, VariantEntry

OPERATIONS: dict[str, Entry] = {
    **elementwise.ENTRIES,
    **reduction.ENTRIES,
    **shape.ENTRIES,
    **indexing.ENTRIES,
    **linalg.ENTRIES,
    **network.ENTRIES,
    **attention.ENTRIES,
}

__all__ = [
    "LAYERS",
    "OPERATIONS",
    "VARIANTS",
    "Call",
    "Choices",
    "Entry",
    "LayerEntry",
    "Proof",
    "Provable",
    "RandomChoices",
    "VariantEntry",
    "prove",
]
