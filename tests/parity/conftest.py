"""Tests in this folder hold the engine against PyTorch; without it they are skipped."""

import pytest

pytest.importorskip("torch", reason="parity needs PyTorch: install the extra 'parity'")
