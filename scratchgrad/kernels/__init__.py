"""Kernels: arrays in, arrays out.

One file a family, forward and backward side by side, compiled by Numba when first called.
`reference` is the same list of functions as plain NumPy, and the place to start reading;
`jit` holds all that has to do with compiling, caching and threads; `elementary` holds the
polynomials for exp, tanh and erf that every other kernel leans on.
"""
