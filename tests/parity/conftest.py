"""Tests in this folder hold the engine against PyTorch, which is no dependency of the package.

Without it nothing here can be imported, so only ``test_available.py`` is collected, to say so.
"""

try:
    import torch  # noqa: F401
except ImportError:
    collect_ignore_glob = ["oracles.py", "twin.py", "train_twin.py", "test_[!a]*.py"]
