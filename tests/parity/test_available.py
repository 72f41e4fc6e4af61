"""One skipped test says that all of those with PyTorch are."""

import pytest


def test_pytorch_is_installed() -> None:
    pytest.importorskip("torch", reason="parity needs PyTorch: install the extra 'parity'")


def test_expecttest_is_installed() -> None:
    """PyTorch's testing modules import it: without it, op_db, module_db and optim_db are shut."""
    pytest.importorskip("expecttest", reason="needs expecttest: install the extra 'parity'")
