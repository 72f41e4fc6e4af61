"""Draws the pictures of checking.md into docs/images, in the manner of pictures.py.

Run it:  python docs/pictures_checking.py
"""

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator
from pictures import BLUE, FOLDER, GREEN, INK, MUTED, ORANGE, axes_of, save

import scratchgrad as sg

SUPERSCRIPT = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")
PURPLE = "#9333ea"


def power(value):
    """A number to one digit, as 4·10⁻¹²."""
    digit, exponent = f"{value:.0e}".split("e")
    return f"{digit}·10{str(int(exponent)).translate(SUPERSCRIPT)}"


def loglog(figure, position, title, x_label, y_label):
    """Axes with powers of ten both ways."""
    axes = axes_of(figure, position)
    axes.set(xscale="log", yscale="log")
    axes.xaxis.set_minor_locator(NullLocator())
    axes.yaxis.set_minor_locator(NullLocator())
    axes.set_title(title, loc="left", color=INK, weight="bold", fontsize=11)
    axes.set_xlabel(x_label, color=MUTED)
    axes.set_ylabel(y_label, color=MUTED)
    return axes


def cotangent(rng, shape):
    """Magnitudes from 0.5 to 1.5, either sign: no entry is near zero."""
    return rng.uniform(0.5, 1.5, shape) * rng.choice([-1.0, 1.0], shape)


# ------------------------------------------------------------------------------ the step size


def forward(f, h):
    return (f(1 * h) - f(0 * h)) / h


def central(f, h):
    return (f(1 * h) - f(-1 * h)) / (2 * h)


def five_point(f, h):
    return (8 * (f(1 * h) - f(-1 * h)) - (f(2 * h) - f(-2 * h))) / (12 * h)


def exp_errors(rule, dtype, steps):
    """The median relative error of a rule for the slope of exp, over many points, by step."""
    x = np.linspace(0.5, 1.5, 401).astype(dtype)
    right = np.exp(x.astype(np.float64))
    slopes = [rule(lambda d: np.exp(x + d), dtype(h)) for h in steps]
    return np.array([np.median(abs(slope / right - 1)) for slope in slopes])


def softmax_errors(rule, dtype, steps):
    """The relative error of the worst entry of a softmax gradient: the median of nine draws."""
    worst = [worst_entry(rule, dtype, steps, np.random.default_rng(seed)) for seed in range(9)]
    return np.median(worst, axis=0)


def worst_entry(rule, dtype, steps, rng):
    """The same of one draw."""
    x, c = rng.normal(size=(8, 16)), cotangent(rng, (8, 16))
    t = sg.tensor(x, requires_grad=True)
    sg.softmax(t).backward(c)
    right = t.grad.ravel()
    # One copy of x for each entry, in which that entry alone moves.
    copies = np.broadcast_to(x, (x.size, *x.shape)).astype(dtype)
    unit, weights = np.eye(x.size, dtype=dtype).reshape(copies.shape), c.astype(dtype)

    def losses(d):
        e = np.exp(copies + d * unit)
        y = e / e.sum(axis=-1, keepdims=True)
        return (y * weights).sum(axis=(-2, -1))

    slopes = [rule(losses, dtype(h)) for h in steps]
    return [(abs(g - right) / np.maximum(abs(g), abs(right))).max() for g in slopes]


CURVES = (
    ("forward, float64", forward, np.float64, MUTED),
    ("central, float64", central, np.float64, BLUE),
    ("five points, float64", five_point, np.float64, GREEN),
    ("central, float32", central, np.float32, ORANGE),
)


def steps():
    """Error of the difference quotients against the step: one exp, and a whole softmax."""
    figure = Figure(figsize=(9, 4.5), dpi=110, layout="constrained")
    left = loglog(figure, 121, "slope of exp: the median", "step h", "relative error")
    right = loglog(figure, 122, "gradient of a softmax: the worst entry", "step h", "")
    hs = np.logspace(-12, 0, 49)
    for name, rule, dtype, colour in CURVES:
        for axes, errors in ((left, exp_errors), (right, softmax_errors)):
            if axes is right and rule is forward:
                continue
            error = errors(rule, dtype, hs)
            axes.plot(hs, error, color=colour, linewidth=1.8, label=name)
            best = int(error.argmin())
            axes.plot(hs[best], error[best], "o", color=colour, zorder=5)
            axes.annotate(
                power(error[best]),
                (hs[best], error[best]),
                (-5, -12),
                textcoords="offset points",
                color=INK,
                fontsize=9,
                ha="right",
                zorder=6,
            )
    guide = {"color": INK, "linewidth": 0.9, "linestyle": (0, (2, 3)), "zorder": 4}
    text = {"color": INK, "fontsize": 10}
    for theory, name, at in (
        (lambda h: h / 2, "h/2", (6e-7, 2e-6)),
        (lambda h: h**2 / 6, "h²/6", (3e-4, 1e-9)),
        (lambda h: h**4 / 30, "h⁴/30", (6e-3, 1.5e-12)),
        (lambda h: 2.0**-53 / h, "ε/h", (1.5e-10, 4e-6)),
        (lambda h: 2.0**-24 / h, "ε/h, float32", (1.5e-5, 2e-2)),
    ):
        seen = hs[(theory(hs) > 1e-14) & (theory(hs) < 1)]
        left.plot(seen, theory(seen), **guide)
        left.text(*at, name, ha="right" if name == "h/2" else "left", **text)
    left.text(2e-12, 0.15, "x + h is x", fontsize=9, color=INK)
    right.axhline(1e-3, **guide)
    right.text(1.5e-10, 1.6e-3, "a formula wrong by 0.1 %", fontsize=9, color=INK)
    for axes in (left, right):
        axes.set(xlim=(1e-12, 1), ylim=(3e-16, 5))
    left.legend(frameon=False, labelcolor=INK, fontsize=9, loc="lower left", borderaxespad=0.2)
    save(figure, "steps.png", colours=64)


# --------------------------------------------------------------------------- the cotangent


def ones():
    """Right and wrong softmax backwards, with a cotangent of ones and with a random one."""
    rng = np.random.default_rng(2)
    x = 0.6 * rng.normal(size=5)
    y = sg.softmax(sg.tensor(x)).data

    def right(dy):
        t = sg.tensor(x, requires_grad=True)
        sg.softmax(t).backward(dy)
        return t.grad

    formulas = (
        ("right", right, BLUE),
        ("a factor y is missing", lambda dy: dy - (dy * y).sum(), ORANGE),
        ("mean for weighted mean", lambda dy: y * (dy - dy.mean()), PURPLE),
        ("zero", np.zeros_like, MUTED),
    )
    figure = Figure(figsize=(9, 3.3), dpi=110, layout="constrained")
    for panel, (name, dy) in enumerate((("ones", np.ones(5)), ("random", cotangent(rng, 5)))):
        axes = axes_of(figure, 121 + panel)
        axes.grid(visible=False, axis="x")
        axes.axhline(0, color=MUTED, linewidth=1)
        differences = []
        for i, (label, backward, colour) in enumerate(formulas):
            dx = backward(dy)
            at = np.arange(5) + 0.2 * (i - 1.5)
            axes.bar(at, dx, 0.18, color=colour, label=label)
            # A bar of no height is not seen; a mark on the line is.
            flat = abs(dx) < 0.01
            axes.plot(at[flat], dx[flat], "_", color=colour, markersize=7, markeredgewidth=3)
            if i > 0:
                differences.append(abs(dx - right(dy)).max())
        first, second, third = differences  # in the order of the legend
        seen = f"errors of {first:.1f}, {second:.1f} and {third:.1f}"
        if max(differences) < 1e-15:
            seen = "all four give 0"
        axes.set_title(f"dy {name}: {seen}", loc="left", color=INK, weight="bold", fontsize=11)
        axes.set(ylim=(-2, 1.2), xticks=range(5))
        axes.set_xlabel("entry of dx", color=MUTED)
    figure.axes[0].legend(frameon=False, labelcolor=INK, loc="lower left", fontsize=9)
    save(figure, "ones.png", colours=64)


# -------------------------------------------------------------------------------- the kink


def value(f, x):
    return f(sg.tensor(np.asarray(x, dtype=np.float64))).data


def fourth_difference(f, x, h):
    down2, down, here, up, up2 = value(f, x + h * np.arange(-2, 3))
    return abs(down2 - 4 * down + 6 * here - 4 * up + up2)


def jump(t):
    return sg.tensor((t.data > 0).astype(np.float64))


def kink():
    """Five points of a smooth function and of a kink, and their fourth differences."""
    figure = Figure(figsize=(9, 3.9), dpi=110, layout="constrained")
    left = axes_of(figure, 121)
    x, h = np.linspace(-1.25, 1.25, 251), 0.5
    five = h * np.arange(-2, 3)
    for name, f, colour in (("ReLU", sg.relu, ORANGE), ("GELU", sg.gelu, BLUE)):
        left.plot(x, value(f, x), color=colour, linewidth=1.6, label=name)
        left.plot(five, value(f, five), "o", color=colour, zorder=4)
    quotient = (value(sg.relu, h) - value(sg.relu, -h)) / (2 * h)
    left.plot(x, quotient * x + 0.25, color=MUTED, linewidth=1.2, linestyle="--")
    note = {"color": INK, "fontsize": 10}
    left.text(-1.2, 0.06, "slope 0", **note)
    left.text(0.42, 0.75, "slope 1", ha="right", **note)
    left.text(-0.1, 0.31, f"central difference: {quotient:.1f}", ha="right", **note)
    left.set_title("five points, h = 0.5", loc="left", color=INK, weight="bold", fontsize=11)
    left.set_xlabel("x", color=MUTED)
    left.set(xlim=(-1.25, 1.25), ylim=(-0.25, 1.25))
    left.legend(frameon=False, labelcolor=INK, loc="upper left", fontsize=9)

    right = loglog(figure, 122, "size of the fourth difference", "step h", "")
    hs = np.logspace(-5, 0, 121)
    for name, f, at, colour in (
        ("jump at the point: h⁰", jump, 0.0, PURPLE),
        ("kink at the point: h¹", sg.relu, 0.0, ORANGE),
        ("kink 0.001 away", sg.relu, 0.001, MUTED),
        ("smooth (GELU at 1): h⁴", sg.gelu, 1.0, BLUE),
    ):
        d = np.array([fourth_difference(f, at, h) for h in hs])
        width = 3.2 if colour == ORANGE else 1.8
        # Far below the rounding of the values, ReLU's differences are 0 or nearly so.
        right.plot(hs, np.where(d > 1e-17, d, 1e-17), color=colour, linewidth=width, label=name)
    right.set(xlim=(1e-5, 1), ylim=(1e-17, 30))
    right.text(1.3e-5, 1.2e-14, "rounding of GELU", color=INK, fontsize=9)
    right.legend(frameon=False, labelcolor=INK, fontsize=9, loc="lower right")
    save(figure, "kink.png", colours=64)


# ----------------------------------------------------------------------- the Taylor remainder


def remainders(f, gradient, x, direction, steps):
    start, slope = f(x), float((gradient * direction).sum())
    return np.array([abs(f(x + h * direction) - start - h * slope) for h in steps])


def taylor():
    """The remainder of a right gradient, of one with one wrong entry, and of a linear function."""
    rng = np.random.default_rng(0)
    x, w = rng.normal(size=(4, 8)), rng.normal(size=(8, 8))
    c, direction = cotangent(rng, (4, 8)), cotangent(rng, (4, 8))
    direction /= np.sqrt((direction**2).sum())
    gain, bias = (sg.tensor(np.full(8, v)) for v in (1.0, 0.0))

    def normal(a):
        return float((sg.layer_norm(sg.tensor(a), gain, bias).data * c).sum())

    def linear(a):
        return float(((a @ w) * c).sum())

    t = sg.tensor(x, requires_grad=True)
    sg.layer_norm(t, gain, bias).backward(c)
    wrong = t.grad.copy()
    wrong[1, 3] *= 1.01

    figure = Figure(figsize=(9, 3.9), dpi=110, layout="constrained")
    left = loglog(figure, 121, "size of the remainder", "step h", "")
    right = axes_of(figure, 122)
    right.set_xscale("log")
    right.xaxis.set_minor_locator(NullLocator())
    right.set_title("its slope", loc="left", color=INK, weight="bold", fontsize=11)
    right.set_xlabel("step h", color=MUTED)
    hs = np.logspace(-6, -0.5, 45)
    for name, f, gradient, colour in (
        ("layer norm: one entry of 32 wrong by 1 %", normal, wrong, ORANGE),
        ("layer norm: right", normal, t.grad, BLUE),
        ("a linear function: right", linear, c @ w.T, MUTED),
    ):
        r = remainders(f, gradient, x, direction, hs)
        left.plot(hs, np.maximum(r, 1e-17), color=colour, linewidth=1.8, label=name)
        if f is normal:
            slope = np.log(r[4:] / r[:-4]) / np.log(hs[4:] / hs[:-4])
            right.plot(hs[2:-2], slope, color=colour, linewidth=1.8)
    note = {"color": INK, "fontsize": 10}
    left.text(2e-5, 1e-12, "slope 2", **note)
    left.text(1e-5, 1.5e-7, "slope 1", **note)
    left.text(1.5e-6, 2e-14, "rounding", ha="left", **note)
    left.legend(frameon=False, labelcolor=INK, fontsize=9, loc="upper left")
    left.set(xlim=(1e-6, 0.3), ylim=(1e-17, 3e2))
    right.axhline(1.8, color=INK, linewidth=0.9, linestyle=(0, (2, 3)))
    right.text(1.3e-6, 1.74, "at least 1.8 is wanted", va="top", **note)
    right.set(xlim=(1e-6, 0.3), ylim=(0.9, 2.15))
    save(figure, "taylor.png", colours=64)


PICTURES = (steps, ones, kink, taylor)

if __name__ == "__main__":
    for draw in PICTURES:
        draw()
    for picture in sorted(FOLDER.glob("*.png")):
        print(f"{picture.relative_to(FOLDER.parent)}  {picture.stat().st_size / 1024:.0f} KB")
