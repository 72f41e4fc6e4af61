"""The table's rows for attention and for what turns its queries and keys, of ops/network.py."""

from typing import Any

import numpy as np

import scratchgrad as sg
from scratchgrad.cases.call import Call, entry
from scratchgrad.cases.choices import Choices
from scratchgrad.cases.draw import attention_inputs, numbers, side
from scratchgrad.cases.network import kept


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
        entry("rope", turned, rope, function=sg.nn.functional.rope),
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
