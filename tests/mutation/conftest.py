"""This folder is a program, not tests: ``python -m tests.mutation``. Nothing here is collected."""

collect_ignore_glob = ["*.py"]
