"""The kernels of byte-pair encoding: bytes and ids in arrays; no text, no vocabulary files.

Read ``reference`` first: the definition, a few lines of plain Python. Then in the order in which
bytes go through: ``kinds``, ``expressions`` and ``scan`` cut a text into pieces, ``table`` finds a
piece among many, ``count`` counts the distinct ones, ``pairs`` and ``train`` learn merges from the
counts, ``cache`` and ``encode`` apply merges to pieces.
"""
