"""The chain rule three ways: by hand, by the tape, by trying it out.

A derivative says how much the result moves when one input moves a little. We find it

1. by hand, with the chain rule on plain Python numbers;
2. with scratchgrad's Tensor, which records what is computed and walks back through it;
3. by moving the input a little each way and looking at the result: central differences, which
   know nothing of calculus.

Run it:  python examples/01_chain_rule_by_hand.py
"""

import math

import scratchgrad as sg


def central_difference(f, values, i, h=1e-5):
    """df / d(values[i]), by moving that one value by h each way."""
    up = [v + h if k == i else v for k, v in enumerate(values)]
    down = [v - h if k == i else v for k, v in enumerate(values)]
    return (f(*up) - f(*down)) / (2 * h)


def by_tape(f, values):
    """The value of f, and its gradient for each input, from scratchgrad."""
    tensors = [sg.tensor(v, dtype="float64", requires_grad=True) for v in values]
    y = f(*tensors)
    y.backward()
    return y.item(), [t.grad.item() for t in tensors]


def compare(names, f, values, by_hand):
    """Print the three columns, and stop if they disagree."""
    _, tape = by_tape(f, values)
    print(f"{'':8}{'by hand':>14}{'by the tape':>14}{'differences':>14}")
    for i, name in enumerate(names):
        tried = central_difference(f, values, i)
        print(f"  d/d{name:<3}{by_hand[i]:14.6f}{tape[i]:14.6f}{tried:14.6f}")
        assert math.isclose(by_hand[i], tape[i], rel_tol=1e-12), f"d/d{name}: the tape disagrees"
        assert math.isclose(by_hand[i], tried, rel_tol=1e-6), f"d/d{name}: differences disagree"
    print("  all three agree\n")


# ------------------------------------------------------------------------------------- a chain

print("1. A chain: y = (a b + c)^2 at a = 2, b = -3, c = 10")
a, b, c = 2.0, -3.0, 10.0

# Forward: one step at a time, each with a name, for the way back needs the values.
u = a * b  # -6
s = u + c  # 4
y = s * s  # 16
print(f"  forward:   u = a b = {u:g}   s = u + c = {s:g}   y = s^2 = {y:g}")

# Backward: the same steps in reverse. Each takes the gradient of its result and makes the
# gradients of its inputs: the gradient of the result times the local slope.
dy = 1.0  # y moves one for one with itself
ds = dy * 2 * s  # forward: y = s * s
du = ds * 1  # forward: s = u + c
dc = ds * 1
da = du * b  # forward: u = a * b, so a unit of a is worth b units of u
db = du * a
print(f"  backward:  ds = {ds:g}   du = {du:g}   dc = {dc:g}   da = {da:g}   db = {db:g}")
compare("abc", lambda a, b, c: (a * b + c) ** 2, (a, b, c), (da, db, dc))

# ----------------------------------------------------------------------------------- a diamond

print("2. A diamond: x is used twice, y = x^2 e^x at x = 1.5")


def diamond(x):
    """p and q both come from x, and meet again in y."""
    p = x * x
    q = sg.exp(x) if isinstance(x, sg.Tensor) else math.exp(x)
    return p * q


x = 1.5
p, q = x * x, math.exp(x)
dp, dq = 1.0 * q, 1.0 * p  # forward: y = p * q
through_p = dp * 2 * x  # forward: p = x * x
through_q = dq * q  # forward: q = exp(x), which is its own slope
dx = through_p + through_q  # moving x moves y along both paths, so the two are added
print(f"  through p: {through_p:.6f}   through q: {through_q:.6f}   together: {dx:.6f}")
compare("x", diamond, (x,), (dx,))

# An engine that overwrites instead of adding keeps one path only, and is wrong without a word.
measured = central_difference(diamond, (x,), 0)
print(f"  keeping only the last path would give {through_q:.6f}; the function says {measured:.6f}")
