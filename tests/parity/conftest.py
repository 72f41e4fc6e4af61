"""Tests in this folder hold the engine against PyTorch, which is no dependency of the package.

Without it nothing here can be imported, so only ``test_available.py`` is collected, to say so. The
inputs that PyTorch ships for its own tests need ``expecttest`` too.
"""

from importlib.util import find_spec

if find_spec("torch") is None:
    collect_ignore_glob = ["o*.py", "rival.py", "twin.py", "train_twin.py", "test_[!a]*.py"]
elif find_spec("expecttest") is None:
    collect_ignore_glob = ["op_db*.py", "test_*_db.py"]
