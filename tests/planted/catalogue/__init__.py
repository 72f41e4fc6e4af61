"""Every planted bug, by family: how gradients, and what uses them, go wrong."""

from tests.planted.bug import Bug
from tests.planted.catalogue import (
    attention,
    checker,
    elementwise,
    engine,
    formats,
    generation,
    gguf,
    memory,
    model,
    network,
    optimiser,
    patterns,
    reduction,
    shape,
    tokenizer,
    training,
    variants,
    weights,
)

CATALOGUE: list[Bug] = [
    *engine.BUGS,
    *memory.BUGS,
    *elementwise.BUGS,
    *reduction.BUGS,
    *shape.BUGS,
    *network.BUGS,
    *attention.BUGS,
    *model.BUGS,
    *variants.BUGS,
    *optimiser.BUGS,
    *training.BUGS,
    *generation.BUGS,
    *formats.BUGS,
    *gguf.BUGS,
    *patterns.BUGS,
    *tokenizer.BUGS,
    *weights.BUGS,
    *checker.BUGS,
]
