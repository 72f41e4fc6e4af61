"""Planted bugs: the proof that the tests can fail.

``catalogue/`` holds small mistakes, each as a patch to one file of the package, with the test that
is meant to catch it. ``runner.py`` plants them one at a time in a copy of the package and runs that
test there. A bug that survives is a test that is missing. ``python -m tests.planted`` prints the
table; under pytest each bug is a test of its own.
"""
