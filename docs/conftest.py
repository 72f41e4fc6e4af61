"""The tests of this folder are its pages; its scripts draw and compute, and have no doctests."""

collect_ignore_glob = ["*.py", "derivations/*"]
