"""The table's rows for ops/indexing.py, ops/linalg.py and ops/network.py."""

from functools import partial
from typing import Any

import numpy as np

import scratchgrad as sg
from scratchgrad.cases.call import Call, entry
from scratchgrad.cases.choices import Choices
from scratchgrad.cases.draw import (
    attention_inputs,
    axes,
    basic_index,
    broadcastable,
    numbers,
    shape_of,
    side,
)
from scratchgrad.cases.elementwise import gelu

# -------------------------------------------------------------------------------------- indexing


def indexed(choose: Choices) -> Call:
    """Slices, whole numbers, ..., None; integer arrays that repeat; masks; and mixtures."""
    kind = choose.one_of(["basic", "integers", "mask", "mixed", "tuple"])
    rng = choose.rng()
    if kind == "basic":
        shape = shape_of(choose, min_dims=1)
        index = basic_index(choose, shape)
    elif kind == "integers":
        shape = shape_of(choose, min_dims=1, min_side=1)
        picked = shape_of(choose, max_dims=2, max_side=3)
        index = tuple(rng.integers(-n, n, picked) for n in shape[: choose.integer(1, len(shape))])
    elif kind == "mask":
        shape = shape_of(choose, min_dims=1)
        index = rng.random(shape[: choose.integer(1, len(shape))]) < 0.5
    elif kind == "tuple":  # NumPy takes a tuple inside the index for an array
        shape = shape_of(choose, min_dims=2, min_side=1)
        index = (tuple(int(i) for i in rng.integers(0, shape[0], 4)), slice(None))
    else:
        shape = shape_of(choose, min_dims=3, min_side=1)
        first, last = (rng.integers(-n, n, 4) for n in (shape[0], shape[2]))
        mask = rng.random(shape[1]) < 0.5
        index = choose.one_of(
            [
                (first, slice(None), last),  # the picked axis goes to the front
                (slice(None), mask),
                (..., last.tolist()),
                (first[:, None], None, ..., last),
                (0, first[:1] * 0, slice(None, None, -1)),
            ]
        )
    return Call(numbers(rng, shape), {"index": index})


def taken(choose: Choices) -> Call:
    shape = shape_of(choose, min_dims=1, min_side=1)
    axis = axes(choose, len(shape), none=len(shape) == 1, several=False)
    rng = choose.rng()
    n = shape[0 if axis is None else axis]
    ids = rng.integers(-n, n, shape_of(choose, max_dims=2))
    return Call((*numbers(rng, shape), ids), {"axis": axis})


def taken_along(choose: Choices) -> Call:
    shape = shape_of(choose, min_dims=1, min_side=1)
    axis = axes(choose, len(shape), none=False, several=False)
    rng = choose.rng()
    lines = [1 if choose.flag() else n for n in shape]  # size 1 broadcasts
    lines[axis] = choose.integer(0, 4)
    ids = rng.integers(-shape[axis], shape[axis], lines)
    return Call((*numbers(rng, shape), ids), {"axis": axis})


def embedded(choose: Choices) -> Call:
    v, c = side(choose, 1), side(choose)
    rng = choose.rng()
    return Call((rng.integers(0, v, shape_of(choose, max_dims=2)), *numbers(rng, (v, c))))


# ---------------------------------------------------------------------------------------- linalg


def multiplied(choose: Choices) -> Call:
    """Matrices in stacks that broadcast; vectors on either side or both."""
    m, k, n = (side(choose) for _ in range(3))
    kind = choose.one_of(["stacks", "one b", "row", "column", "dot"])
    front, other = broadcastable(choose, 2)
    pair = {
        "stacks": ((*front, m, k), (*other, k, n)),
        "one b": ((*front, m, k), (k, n)),
        "row": ((k,), (*front, k, n)),
        "column": ((*front, m, k), (k,)),
        "dot": ((k,), (k,)),
    }
    return Call(numbers(choose.rng(), *pair[kind]))


# Subscripts, and the axes of each operand; the sizes of the letters are drawn. A dot in the axes
# stands for what the ellipsis hides.
EINSUMS = [
    ("ij->ji", ["ij"]),
    ("ij->", ["ij"]),
    ("ii->i", ["ii"]),
    ("ii", ["ii"]),
    ("iij->j", ["iij"]),
    ("ij,jk->ik", ["ij", "jk"]),
    ("ij,jk", ["ij", "jk"]),
    ("ba", ["ba"]),
    ("i,j->ij", ["i", "j"]),
    ("i,i->i", ["i", "i"]),
    ("ij,kj->i", ["ij", "kj"]),
    ("bij,bjk->bik", ["bij", "bjk"]),
    ("...ij,...jk->...ik", ["...ij", ".jk"]),
    ("...i,i", ["..i", "i"]),
    ("i...,...j->...", ["i.", "..j"]),
    ("...->...", ["..."]),
    ("ij,jk,kl->il", ["ij", "jk", "kl"]),
    ("ii,ij,j->", ["ii", "ij", "j"]),
    (" b h t d , b h s d -> b h t s ", ["bhtd", "bhsd"]),
]


def summed(choose: Choices) -> Call:
    subscripts, terms = choose.one_of(EINSUMS)
    sizes = {c: side(choose, high=3) for c in sorted(set("".join(terms)))}
    hidden = [side(choose, 1, 3) for _ in range(3)]
    operands = []
    for term in terms:
        dots = term.count(".")
        front = iter(hidden[3 - dots :])
        operands.append(tuple(next(front) if c == "." else sizes[c] for c in term))
    return Call(numbers(choose.rng(), *operands), {"subscripts": subscripts})


def affine(choose: Choices) -> Call:
    n, out = side(choose), side(choose)
    front = shape_of(choose, max_dims=2, max_side=3)
    shapes = (*front, n), (out, n), (out,), (*front, out)
    x, weight, bias, residual = numbers(choose.rng(), *shapes)
    return Call((x, weight, choose.one_of([bias, None]), choose.one_of([residual, None])))


def widened(choose: Choices) -> Call:
    """Two layers with GELU between them, each with a bias or without."""
    n, inner, out = (side(choose) for _ in range(3))
    front = shape_of(choose, max_dims=2, max_side=3)
    shapes = (*front, n), (inner, n), (inner,), (out, inner), (out,), (*front, out)
    x, up, up_bias, down, down_bias, residual = numbers(choose.rng(), *shapes)
    return Call(
        (
            x,
            up,
            choose.one_of([up_bias, None]),
            down,
            choose.one_of([down_bias, None]),
            choose.one_of([residual, None]),
        ),
        {"approximate": choose.one_of(["none", "tanh"])},
    )


def mlp(x: Any, up: Any, up_bias: Any, down: Any, down_bias: Any, residual: Any, **how: Any) -> Any:
    h = x @ up.T if up_bias is None else x @ up.T + up_bias
    y = gelu(h, **how) @ down.T
    return y + sum(r for r in (down_bias, residual) if r is not None)


# --------------------------------------------------------------------------------------- network


def normalised(choose: Choices, bias: bool) -> Call:
    c = side(choose, 1, 5)
    x, weight, shift = numbers(choose.rng(), (*shape_of(choose, max_dims=2), c), (c,), (c,))
    inputs = [x, choose.one_of([weight, None])]
    if bias:
        inputs.append(choose.one_of([shift, None]))
    # A large eps, for a row that is almost constant has differences too steep to measure.
    return Call(tuple(inputs), {"eps": choose.one_of([0.01, 0.5])})


def layer_norm(x: Any, weight: Any, bias: Any, eps: float) -> Any:
    y = (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + eps)
    y = y if weight is None else y * weight
    return y if bias is None else y + bias


def rms_norm(x: Any, weight: Any, eps: float) -> Any:
    y = x / np.sqrt((x**2).mean(-1, keepdims=True) + eps)
    return y if weight is None else y * weight


def dropped(choose: Choices) -> Call:
    settings = {"p": choose.one_of([0.2, 0.5, 1.0]), "seed": choose.integer(0, 99)}
    return Call(numbers(choose.rng(), shape_of(choose)), settings)


def _dropout(x: Any, p: float, seed: int) -> Any:
    return sg.nn.functional.dropout(x, p, True, np.random.default_rng(seed))


def kept(shape: tuple[int, ...], p: float, seed: int) -> Any:
    """Which elements dropout keeps: by Python's own whole numbers, which do not wrap round."""
    state = int(np.random.default_rng(seed).integers(2**64, dtype=np.uint64))
    drawn = np.empty(shape, bool)
    for i in range(drawn.size):
        state = (state + 0x9E3779B97F4A7C15) % 2**64
        z = (state ^ state >> 30) * 0xBF58476D1CE4E5B9 % 2**64
        z = (z ^ z >> 27) * 0x94D049BB133111EB % 2**64
        drawn.flat[i] = (z ^ z >> 31) / 2**64 >= p
    return drawn


def _dropout_reference(x: Any, p: float, seed: int) -> Any:
    return np.where(kept(x.shape, p, seed), x / (1 - p) if p < 1 else 0, 0)


def classified(choose: Choices) -> Call:
    rng = choose.rng()
    v = side(choose, 1, 5)
    rows = shape_of(choose, max_dims=2, min_side=0 if choose.flag() else 1)
    ignore = choose.one_of([-100, 0, 7])
    targets = np.where(rng.random(rows) < 0.3, ignore, rng.integers(0, v, rows))
    reduction = choose.one_of(["mean", "sum", "none"])
    if reduction == "mean" and not (targets != ignore).any():
        reduction = "sum"  # the mean of nothing has tests of its own
    return Call(
        (*numbers(rng, (*rows, v), high=3.0), targets),
        {
            "ignore_index": ignore,
            "label_smoothing": choose.one_of([0.0, 0.1, 1.0]),
            "reduction": reduction,
        },
    )


def cross_entropy(
    logits: Any, targets: Any, ignore_index: int, label_smoothing: float, reduction: str
) -> Any:
    """One row at a time, from the probabilities."""
    v = logits.shape[-1]
    losses = np.zeros(targets.shape, logits.dtype)
    for row in np.ndindex(targets.shape):
        if targets[row] != ignore_index:
            p = np.exp(logits[row]) / np.exp(logits[row]).sum()
            wanted = np.full(v, label_smoothing / v)
            wanted[targets[row]] += 1 - label_smoothing
            losses[row] = -(wanted * np.log(p)).sum()
    if reduction == "none":
        return losses
    count = (targets != ignore_index).sum() if reduction == "mean" else 1
    return losses.sum() / count


def headed(choose: Choices) -> Call:
    """What is classified, with a last layer before it."""
    call = classified(choose)
    logits, targets = call.inputs
    c = side(choose)
    x, weight = numbers(choose.rng(), (*logits.shape[:-1], c), (logits.shape[-1], c))
    return Call((x, weight, targets), call.settings)


def linear_cross_entropy(x: Any, weight: Any, targets: Any, **settings: Any) -> Any:
    return cross_entropy(x @ weight.T, targets, **settings)


def attended(choose: Choices) -> Call:
    """With all heads, with groups of them, with one; with masks that broadcast or blind a row."""
    q, k, v = attention_inputs(choose)
    (b, h, t, _), s = q.shape, k.shape[2]
    rng = choose.rng()
    mask_shape = choose.one_of([None, (t, s), (b, 1, t, s), (h, 1, s), (b, h, t, s), ()])
    mask = None if mask_shape is None else rng.random(mask_shape) < 0.6
    settings = {
        "is_causal": choose.flag(),
        "scale": choose.one_of([None, 0.7]),
        "dropout_p": choose.one_of([0.0, 0.3]),
        "seed": choose.integer(0, 99),
    }
    return Call((q, k, v, mask), settings)


def weights_kept(seed: int, shape: tuple[int, ...], p: float) -> np.ndarray:
    """What attention multiplies its weights by, where it draws from a generator of this seed."""
    return np.asarray(kept(shape, p, seed) / (1 - p))


def _attention(q: Any, k: Any, v: Any, mask: Any, seed: int, **settings: Any) -> Any:
    rng = np.random.default_rng(seed)
    return sg.nn.functional.scaled_dot_product_attention(q, k, v, mask, rng=rng, **settings)


def attention(
    q: Any,
    k: Any,
    v: Any,
    mask: Any = None,
    is_causal: bool = False,
    scale: float | None = None,
    dropout_p: float = 0.0,
    seed: int = 0,
) -> Any:
    """One query at a time, over the keys that it may see and no others."""
    (b, h, t, d), (_, hk, s, _) = q.shape, k.shape
    allowed = np.broadcast_to(True if mask is None else mask, (b, h, t, s))
    factor = weights_kept(seed, (b, h, t, s), dropout_p)
    out = np.zeros((b, h, t, v.shape[-1]), q.dtype)
    for i, j, m in np.ndindex(b, h, t):
        group = j // (h // hk)
        seen = [n for n in range(s) if allowed[i, j, m, n] and (n <= m or not is_causal)]
        if seen:
            scores = k[i, group, seen] @ q[i, j, m] * (d**-0.5 if scale is None else scale)
            weights = np.exp(scores) / np.exp(scores).sum()
            if dropout_p > 0:
                weights = weights * factor[i, j, m, seen]
            out[i, j, m] = weights @ v[i, group, seen]
    return out


def projected(choose: Choices) -> Call:
    """Heads of queries, keys and values in one array, in groups or not."""
    hk, d = choose.integer(1, 2), side(choose, 1, 3)
    h = hk * choose.integer(1, 3)
    shape = side(choose, 1, 2), side(choose, 0, 5), (h + 2 * hk) * d
    settings = {
        "n_head": h,
        "n_kv_head": hk,
        "scale": choose.one_of([None, 0.7]),
        "dropout_p": choose.one_of([0.0, 0.3]),
        "seed": choose.integer(0, 99),
        "window": choose.one_of([None, 1, 2, 3]),
    }
    return Call(numbers(choose.rng(), shape), settings)


def _causal_self_attention(qkv: Any, seed: int, **settings: Any) -> Any:
    rng = np.random.default_rng(seed)
    return sg.nn.functional.causal_self_attention(qkv, rng=rng, **settings)


def causal_self_attention(
    qkv: Any, n_head: int, n_kv_head: int, window: int | None = None, **settings: Any
) -> Any:
    """Cut into heads, one position after the other, and attend."""
    n = n_head + 2 * n_kv_head
    heads = qkv.reshape(*qkv.shape[:2], n, qkv.shape[2] // n).transpose(0, 2, 1, 3)
    q, k, v = np.split(heads, [n_head, n_head + n_kv_head], axis=1)  # (B, heads, T, D)
    t = np.arange(qkv.shape[1])
    recent = None if window is None else t[:, None] - t < window
    out = attention(q, k, v, recent, True, **settings)
    return np.concatenate([out[:, h] for h in range(n_head)], axis=-1)  # (B, T, H D)


def turned(choose: Choices) -> Call:
    """Heads that are turned, and numbers behind them that are not."""
    heads, half, t = choose.integer(1, 3), side(choose, 1, 3), side(choose)
    rng = choose.rng()
    angle = rng.uniform(0, 2 * np.pi, (t, half))
    shape = side(choose, 0, 2), t, heads * 2 * half + side(choose)
    settings = {
        "cos": np.cos(angle),
        "sin": np.sin(angle),
        "n_head": heads,
        "interleaved": choose.flag(),
    }
    return Call(numbers(rng, shape), settings)


def rope(x: Any, cos: Any, sin: Any, n_head: int, interleaved: bool) -> Any:
    """Each pair as a complex number, times another of length 1."""
    half, y = cos.shape[1], x.copy()
    for h in range(n_head):
        at = h * 2 * half
        first = slice(at, at + 2 * half, 2) if interleaved else slice(at, at + half)
        second = slice(at + 1, at + 2 * half, 2) if interleaved else slice(at + half, at + 2 * half)
        z = (x[..., first] + 1j * x[..., second]) * (cos + 1j * sin)
        y[..., first], y[..., second] = z.real, z.imag
    return y


ENTRIES = dict(
    [
        entry("getitem", indexed, lambda x, index: x[index], function=lambda x, index: x[index]),
        entry("take", taken, np.take),
        entry("take_along_axis", taken_along, np.take_along_axis),
        entry("embedding", embedded, lambda ids, w: w[ids], function=sg.nn.functional.embedding),
        entry("matmul", multiplied, np.matmul),
        entry(
            "einsum",
            summed,
            lambda *operands, subscripts: np.einsum(subscripts, *operands),
            function=lambda *operands, subscripts: sg.einsum(subscripts, *operands),
        ),
        entry(
            "linear",
            affine,
            lambda x, weight, *rest: x @ weight.T + sum(r for r in rest if r is not None),
            function=sg.nn.functional.linear,
        ),
        entry("mlp", widened, mlp, function=sg.nn.functional.mlp, rtol32=1e-4),
        entry(
            "layer_norm",
            partial(normalised, bias=True),
            layer_norm,
            function=sg.nn.functional.layer_norm,
            rtol32=1e-4,
        ),
        entry(
            "rms_norm",
            partial(normalised, bias=False),
            rms_norm,
            function=sg.nn.functional.rms_norm,
            rtol32=1e-4,
        ),
        entry("rope", turned, rope, function=sg.nn.functional.rope),
        entry("dropout", dropped, _dropout_reference, function=_dropout),
        entry(
            "cross_entropy",
            classified,
            cross_entropy,
            function=sg.nn.functional.cross_entropy,
            rtol32=2e-5,
        ),
        entry(
            "linear_cross_entropy",
            headed,
            linear_cross_entropy,
            function=sg.nn.functional.linear_cross_entropy,
            rtol32=2e-5,
        ),
        entry("attention", attended, attention, function=_attention, rtol32=1e-4),
        entry(
            "causal_self_attention",
            projected,
            causal_self_attention,
            function=_causal_self_attention,
            rtol32=1e-4,
        ),
    ]
)
