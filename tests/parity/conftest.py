"""Tests in this folder hold us against others, which are no dependencies of the package.

Most hold the engine against PyTorch, and cannot be imported without it; ``test_available.py`` says
so then. The inputs that PyTorch ships for its own tests need ``expecttest`` too. Those of
tokenizers need other packages, and each skips what it cannot do.
"""

from importlib.util import find_spec

# Programs, not modules: each says in its own way what it lacks, and ends
collect_ignore = ["rival.py", "rival_transformers.py"]

if find_spec("torch") is None:
    collect_ignore_glob = ["o*.py", "twin.py", "train_twin.py"]
    collect_ignore_glob += ["test_[cgmo]*.py", "test_rival.py", "test_transformers.py"]
elif find_spec("expecttest") is None:
    collect_ignore_glob = ["op_db*.py", "test_*_db.py"]
