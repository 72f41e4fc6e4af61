"""The kernels of byte-pair encoding: bytes and ids in arrays; no text, no vocabulary files.

Read them in the order in which bytes go through them: ``scan`` cuts a text into pieces, ``table``
finds a piece among many, ``count`` counts the distinct ones, ``train`` learns merges from the
counts, ``encode`` applies merges to pieces. The same things as a few lines of plain Python are in
`scratchgrad.kernels.reference.bpe`.
"""
