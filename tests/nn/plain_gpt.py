"""Every GPT that GPTConfig describes, as NumPy on whole arrays: the definition, for tests."""

import math

import numpy as np

import scratchgrad as sg

Array = np.ndarray
State = dict[str, Array]


def plain_logits(config: sg.GPTConfig, state: State, ids: Array) -> Array:
    """Logits (T, V) of one text, ids (T,), from the state dictionary of a model."""
    x = state["wte.weight"][ids]  # (T, C)
    if config.position == "learned":
        x = x + state["wpe.weight"][: len(ids)]
    if config.position == "sinusoidal":
        x = x + sinusoids(len(ids), config.n_embd)
    for i in range(config.n_layer):
        part = {k.removeprefix(f"h.{i}."): v for k, v in state.items() if k.startswith(f"h.{i}.")}
        if config.norm_position == "pre":
            x = x + attention(config, part, norm(config, part, "ln_1", x))
            x = x + mlp(config, part, norm(config, part, "ln_2", x))
        else:
            x = norm(config, part, "ln_1", x + attention(config, part, x))
            x = norm(config, part, "ln_2", x + mlp(config, part, x))
    head = state["wte.weight" if config.tied_head else "lm_head.weight"]
    return norm(config, state, "ln_f", x) @ head.T


def sinusoids(positions: int, channels: int) -> Array:
    table = np.zeros((positions, channels))
    for p in range(positions):
        for c in range(channels):
            angle = p / 10000 ** ((c - c % 2) / channels)
            table[p, c] = math.cos(angle) if c % 2 else math.sin(angle)
    return table


def norm(config: sg.GPTConfig, state: State, name: str, x: Array) -> Array:
    weight, bias = state[f"{name}.weight"], state.get(f"{name}.bias", 0)
    if config.norm == "rmsnorm":
        return rms(config, x) * weight
    return rms(config, x - x.mean(-1, keepdims=True)) * weight + bias


def rms(config: sg.GPTConfig, x: Array) -> Array:
    return x / np.sqrt((x**2).mean(-1, keepdims=True) + config.norm_eps)


def linear(state: State, name: str, x: Array) -> Array:
    return x @ state[f"{name}.weight"].T + state.get(f"{name}.bias", 0)


def attention(config: sg.GPTConfig, state: State, x: Array) -> Array:
    h, hk, d = config.n_head, config.n_kv_head or config.n_head, config.n_embd // config.n_head
    q, k, v = np.split(linear(state, "attn.c_attn", x), [h * d, (h + hk) * d], axis=1)
    heads = []
    for i in range(h):
        own, shared = slice(i * d, i * d + d), slice(i // (h // hk) * d, (i // (h // hk) + 1) * d)
        query, key, value = q[:, own], k[:, shared], v[:, shared]  # (T, D)
        if config.qk_norm:
            query = rms(config, query) * state["attn.q_norm.weight"]
            key = rms(config, key) * state["attn.k_norm.weight"]
        if config.position == "rope":
            query, key = turned(config, query), turned(config, key)
        rows = []
        for t in range(len(x)):
            first = 0 if config.sliding_window is None else max(0, t + 1 - config.sliding_window)
            weights = np.exp(key[first : t + 1] @ query[t] / math.sqrt(d))
            rows.append(weights / weights.sum() @ value[first : t + 1])
        heads.append(np.array(rows))
    return linear(state, "attn.c_proj", np.concatenate(heads, axis=1))


def turned(config: sg.GPTConfig, x: Array) -> Array:
    """Each pair of (T, D) as a complex number, turned by its angle."""
    d, y = x.shape[1], x.copy()
    for i in range(d // 2):
        a, b = (2 * i, 2 * i + 1) if config.rope_interleaved else (i, i + d // 2)
        for p in range(len(x)):
            z = complex(x[p, a], x[p, b]) * np.exp(1j * p / config.rope_base ** (2 * i / d))
            y[p, a], y[p, b] = z.real, z.imag
    return y


def mlp(config: sg.GPTConfig, state: State, x: Array) -> Array:
    h = linear(state, "mlp.c_fc", x)
    if config.mlp == "swiglu":
        gate, up = np.split(h, 2, axis=1)
        h = gate / (1 + np.exp(-gate)) * up
    elif config.mlp == "gelu":
        h = h * (1 + np.vectorize(math.erf)(h / math.sqrt(2))) / 2
    elif config.mlp == "gelu_tanh":
        h = h * (1 + np.tanh(math.sqrt(2 / math.pi) * (h + 0.044715 * h**3))) / 2
    else:
        h = np.maximum(h, 0) ** (2 if config.mlp == "relu2" else 1)
    return linear(state, "mlp.c_proj", h)
