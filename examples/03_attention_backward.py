"""Attention forward and backward, one matrix at a time, every gradient checked.

One head: T queries look at T keys. Sizes: T time, D head size.

    forward                          shape     backward
    S = Q K^T / sqrt(D)              (T, T)    dQ = dS K / sqrt(D),  dK = dS^T Q / sqrt(D)
    P = softmax of each row of S     (T, T)    dS = P (dP - rowsum(dP P))
    O = P V                          (T, D)    dP = dO V^T,  dV = P^T dO

The right column is derived in docs/attention.md. Here each line of it is compared with central
differences, and the ends of it with scratchgrad's own fused operation.

Run it:  python examples/03_attention_backward.py
"""

import numpy as np

import scratchgrad as sg
from scratchgrad.nn import functional as F

T, D = 5, 3
SCALE = 1 / np.sqrt(D)
MAY_LOOK = np.tri(T, dtype=bool)  # query t looks at the keys 0 to t

# ------------------------------------------------------------------------------------- forward


def scores(Q, K):
    """How well each key matches each query; minus infinity where a query may not look."""
    return np.where(MAY_LOOK, Q @ K.T * SCALE, -np.inf)  # (T, D) @ (D, T) -> (T, T)


def weights(S):
    """Softmax of each row: positive, and adding up to 1."""
    E = np.exp(S - S.max(axis=1, keepdims=True))  # exp(-inf) = 0: no weight on the future
    return E / E.sum(axis=1, keepdims=True)  # (T, T)


def output(P, V):
    """Each query's weighted mean of the values."""
    return P @ V  # (T, T) @ (T, D) -> (T, D)


# ------------------------------------------------------------------------------------ backward


def output_backward(dO, P, V):
    """Forward: O = P V."""
    dP = dO @ V.T  # (T, D) @ (D, T) -> (T, T)
    dV = P.T @ dO  # (T, T) @ (T, D) -> (T, D): a value gets from every query that used it
    return dP, dV


def weights_backward(dP, P):
    """Forward: P = softmax(S), which couples the entries of a row: they share a sum of 1."""
    return P * (dP - (dP * P).sum(axis=1, keepdims=True))  # (T, T)


def scores_backward(dS, Q, K):
    """Forward: S = Q K^T scale. Where a query may not look P is 0, and so is dS."""
    dQ = dS @ K * SCALE  # (T, T) @ (T, D) -> (T, D)
    dK = dS.T @ Q * SCALE  # (T, T) @ (T, D) -> (T, D)
    return dQ, dK


# ----------------------------------------------------------------------------------- the check


def differences(loss, x, h=1e-6):
    """d loss(x) / dx, each entry moved by h each way. Float64, or rounding would drown it."""
    dx = np.zeros_like(x)
    for i in np.ndindex(x.shape):
        up, down = x.copy(), x.copy()
        up[i] += h
        down[i] -= h
        dx[i] = (loss(up) - loss(down)) / (2 * h)
    return dx


def check(name, ours, expected, against):
    """Print one line of the table, and stop if the two disagree."""
    error = np.abs(ours - expected).max() / np.abs(expected).max()
    print(f"  {name:3} {ours.shape!s:8} largest error {error:.0e}   against {against}")
    assert error < 1e-7, f"{name} is wrong"


def main():
    """Forward, backward, then each gradient against differences and against the fused op."""
    rng = np.random.default_rng(0)
    Q, K, V = rng.normal(size=(3, T, D))
    dO = rng.normal(size=(T, D))  # random: the loss is sum(O dO), so its gradient by O is dO

    S = scores(Q, K)
    P = weights(S)
    O = output(P, V)  # noqa: E741
    dP, dV = output_backward(dO, P, V)
    dS = weights_backward(dP, P)
    dQ, dK = scores_backward(dS, Q, K)

    with np.printoptions(precision=2, suppress=True):
        print(f"P, the weights: a row a query, a column a key\n{P}")
        print("dS: each row adds up to 0, for a row of P always adds up to 1")
        print(np.round(dS, 2) + 0)  # + 0 makes a 0 of -0

    def loss(P, V):
        return (output(P, V) * dO).sum()

    print("each gradient, by its formula, against the function it belongs to:")
    tried = "central differences"
    check("dP", dP, differences(lambda P: loss(P, V), P), tried)
    check("dS", dS, differences(lambda S: loss(weights(S), V), S), tried)
    check("dQ", dQ, differences(lambda Q: loss(weights(scores(Q, K)), V), Q), tried)
    check("dK", dK, differences(lambda K: loss(weights(scores(Q, K)), V), K), tried)
    check("dV", dV, differences(lambda V: loss(P, V), V), tried)

    # The kernel never holds P. It keeps the log-sum-exp of each row, from which any block of P
    # can be made again, and replaces rowsum(dP P) by rowsum(dO O), which needs no P at all.
    print("what the kernel does instead:")
    lse = np.log(np.exp(S).sum(axis=1, keepdims=True))  # (T, 1)
    check("P", P, np.exp(S - lse), "exp(S - lse)")
    check("D", (dP * P).sum(axis=1), (dO * O).sum(axis=1), "rowsum(dO O)")

    print("scratchgrad's fused operation:")
    q, k, v = (sg.tensor(x[None, None], requires_grad=True) for x in (Q, K, V))  # (1, 1, T, D)
    out = F.scaled_dot_product_attention(q, k, v, is_causal=True)
    out.backward(dO[None, None])
    fused = "F.scaled_dot_product_attention"
    check("O", O, out.data[0, 0], fused)
    for name, ours, tensor in (("dQ", dQ, q), ("dK", dK, k), ("dV", dV, v)):
        check(name, ours, tensor.grad[0, 0], fused)
    print("all gradients agree")


if __name__ == "__main__":
    main()
