"""Is a gradient right? Compare it with how the function really changes.

For a function y = f(x) and a random cotangent c, backward gives d(y . c)/dx. Differences give the
same number without any calculus: move x, look at y. In float64 the two agree to nine digits and
more; in float32 a difference is mostly rounding, so the check refuses it.

Read in this order: ``check`` (what is asked, step by step), ``subject`` (what can be checked: a
function of Tensors, a Module, a pair of NumPy functions), ``manners`` (what neither may do),
``differences`` (the numeric side), ``compare`` (the two sides together), ``diagnosis`` (what a
wrong gradient's shape says of its cause).
"""

from scratchgrad.gradcheck.check import gradcheck
from scratchgrad.gradcheck.report import Failure, GradcheckReport

__all__ = ["Failure", "GradcheckReport", "gradcheck"]
