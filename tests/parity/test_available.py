"""One skipped test says that all of those with PyTorch are; and this folder opens without it."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def test_pytorch_is_installed() -> None:
    pytest.importorskip("torch", reason="parity needs PyTorch: install the extra 'parity'")


def test_expecttest_is_installed() -> None:
    """PyTorch's testing modules import it: without it, op_db, module_db and optim_db are shut."""
    pytest.importorskip("expecttest", reason="needs expecttest: install the extra 'parity'")


@pytest.mark.parametrize("missing", ["torch", "transformers"])
def test_the_folder_can_be_collected_without(missing: str, tmp_path: Path) -> None:
    """Or the README's test command, which installs neither, would end before its first test."""
    (tmp_path / "hide.py").write_text(f"import sys\nsys.modules[{missing!r}] = None\n")
    ran = subprocess.run(
        [sys.executable, "-m", "pytest", "--collect-only", "-q", "-p", "hide", "tests/parity"],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": f"{tmp_path}{os.pathsep}{ROOT}"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stdout[-2000:] + ran.stderr[-2000:]
