"""One skipped test says that all of them are."""

import pytest


def test_pytorch_is_installed() -> None:
    pytest.importorskip("torch", reason="parity needs PyTorch: install the extra 'parity'")
