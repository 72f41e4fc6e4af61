"""Products: NumPy's broadcasting inside einsum, and matrices larger than a block of the kernel."""

import numpy as np
import pytest

import scratchgrad as sg
from tests.finite import check_gradients


@pytest.mark.parametrize(
    ("subscripts", "shapes"),
    [
        ("ij,ij->ij", [(2, 1), (2, 3)]),
        ("ij,ij->", [(1, 3), (2, 1)]),
        ("ij,jk->ik", [(2, 1), (3, 4)]),
        ("...i,...i->...", [(4, 1, 2), (3, 1)]),
        ("...,...", [(2, 1), (3,)]),
        ("i...->...", [(2, 3, 4)]),
        ("...ii->...i", [(2, 3, 3)]),
        ("iij,jk->ki", [(2, 2, 3), (3, 2)]),
        ("iij,ikk->jk", [(2, 2, 3), (2, 3, 3)]),
        ("a,b,c->cab", [(2,), (3,), (4,)]),
        ("ij,j->", [(2, 3), (3,)]),
        ("cba", [(2, 3, 4)]),
    ],
)
def test_einsum(subscripts: str, shapes: list[tuple[int, ...]], rng: np.random.Generator) -> None:
    operands = [sg.tensor(rng.standard_normal(shape), requires_grad=True) for shape in shapes]
    y = sg.einsum(subscripts, *operands)
    expected = np.einsum(subscripts, *(x.numpy() for x in operands))
    np.testing.assert_allclose(y.numpy(), expected, rtol=1e-13)
    del y
    check_gradients(lambda: sg.einsum(subscripts, *operands), operands, rng)


def test_einsum_is_attention_s_product_too(rng: np.random.Generator) -> None:
    q, k = (sg.tensor(rng.standard_normal((2, 3, n, 4))) for n in (5, 6))
    scores = sg.einsum("bhtd,bhsd->bhts", q, k)
    np.testing.assert_allclose(scores.numpy(), (q @ k.swapaxes(-1, -2)).numpy(), rtol=1e-12)


@pytest.mark.parametrize(
    ("a", "b"),
    [
        ((70, 130), (130, 600)),
        ((19, 600), (600, 33)),
        ((33, 129), (129, 513)),
        ((5, 1, 40, 7), (3, 7, 50)),
        ((2, 70, 33), (33, 34)),
        ((30, 1024), (1024, 36)),  # in dB the columns of A^T lie 4096 bytes apart
        ((600, 512), (512, 40)),
        ((7, 3072), (3072, 4)),
        ((300,), (300, 5)),
        ((5, 300), (300,)),
    ],
)
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_matmul_beyond_a_block_of_the_kernel(
    a: tuple[int, ...], b: tuple[int, ...], dtype: type, rng: np.random.Generator
) -> None:
    """dA = dY B^T and dB = A^T dY, in plain NumPy."""
    x = sg.tensor(rng.standard_normal(a).astype(dtype), requires_grad=True)
    w = sg.tensor(rng.standard_normal(b).astype(dtype), requires_grad=True)
    y = x @ w
    tolerance = 1e-12 if dtype is np.float64 else 1e-5

    def close(ours: np.ndarray, theirs: np.ndarray) -> None:
        assert ours.dtype == dtype
        scale = tolerance * np.abs(theirs).max()
        np.testing.assert_allclose(ours, theirs, rtol=tolerance, atol=scale)

    close(y.numpy(), x.numpy() @ w.numpy())
    dy = rng.standard_normal(y.shape).astype(dtype)
    y.backward(dy)
    if x.ndim == 1:
        close(x.grad, w.numpy() @ dy)
        close(w.grad, np.outer(x.numpy(), dy))
    elif w.ndim == 1:
        close(x.grad, np.outer(dy, w.numpy()))
        close(w.grad, x.numpy().T @ dy)
    else:
        dx = dy @ w.numpy().swapaxes(-1, -2)
        dw = x.numpy().swapaxes(-1, -2) @ dy
        close(x.grad, unstretched(dx, x.shape))
        close(w.grad, unstretched(dw, w.shape))


def unstretched(g: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Summed over the axes that broadcasting added or stretched."""
    g = g.sum(axis=tuple(range(g.ndim - len(shape))))
    axes = tuple(i for i, n in enumerate(shape) if n == 1 and g.shape[i] != 1)
    return g.sum(axis=axes, keepdims=True)
