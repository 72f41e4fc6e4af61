"""Measuring: what the machine can do, what each kernel makes of it, where a step's time goes.

`spec` names the work (sizes and data, NumPy only, so that a rival's process can read it too);
`kernels` and `steps` time it; `count` says how many operations and bytes it takes; `versus` holds
it against a rival in a process of its own. docs/bench.md explains every figure.
"""
