"""Prints the polynomial coefficients that stand in scratchgrad/kernels/coefficients.py.

Needs mpmath, which the package itself does not. Each function is brought to a short interval,
where a truncated Chebyshev series (within a few per cent of the best polynomial) is fitted with
50 digits and then rounded. The degrees are the smallest whose error, beside each name, is well
under half a unit in the last place: 6e-8 in float32, 1.1e-16 in float64.

    exp, tanh   q(r) = (exp(r) - 1 - r) / r² for |r| <= ln(2) / 2, after x = k ln 2 + r
    exp2        p(r) = (2^r - 1) / r for |r| <= 1/2, after x = k + r
    erf, small  e(u) = erf(√u) / √u for u = x² in [0, 1]
    erf, large  g(t) = exp(x²) erfc(x) for x in [1, limit], with t = (x - 2) / (x + 2), in which
                g is smooth enough for a polynomial; beyond the limit erf rounds to 1
    normal      h(t) = (Φ(x) - 1/2) / x for |x| <= 5.3, with t = 2 (x / 5.3)² - 1, which runs over
                [-1, 1]; in x² itself the terms would be a thousand times their sum and cancel
"""

import mpmath as mp

mp.mp.dps = 50


def expm1_rest(r: mp.mpf) -> mp.mpf:
    """(exp(r) - 1 - r) / r², by its series near 0, where the formula cancels."""
    return sum(r**n / mp.factorial(n + 2) for n in range(30))


def exp2_over_r(r: mp.mpf) -> mp.mpf:
    """(2^r - 1) / r, by its series for the same reason."""
    return sum(mp.log(2) ** (n + 1) * r**n / mp.factorial(n + 1) for n in range(40))


def erf_over_x(u: mp.mpf) -> mp.mpf:
    """erf(√u) / √u, by the series of erf."""
    terms = ((-u) ** n / (mp.factorial(n) * (2 * n + 1)) for n in range(50))
    return 2 / mp.sqrt(mp.pi) * sum(terms)


def scaled_erfc(t: mp.mpf) -> mp.mpf:
    """exp(x²) erfc(x) at the x with t = (x - 2) / (x + 2)."""
    x = 2 * (1 + t) / (1 - t)
    return mp.exp(x * x) * mp.erfc(x)


def normal_over_x(t: mp.mpf) -> mp.mpf:
    """(Φ(x) - 1/2) / x at the x with t = 2 (x / 5.3)² - 1; beyond it 1 - Φ is 6e-8."""
    x = mp.mpf("5.3") * mp.sqrt((1 + t) / 2)
    return erf_over_x(x * x / 2) / mp.sqrt(8) if x < 1 else mp.erf(x / mp.sqrt(2)) / (2 * x)


def fit(name: str, f, low, high, terms: int, digits: int) -> None:
    """Fit, and print the coefficients, the highest power first as Horner's rule wants them."""
    coefficients, error = mp.chebyfit(f, [low, high], terms, error=True)
    print(f"{name} = (  # error {mp.nstr(error, 2)}")
    for c in coefficients:
        print(f"    {mp.nstr(c, digits)},")
    print(")")


def main() -> None:
    """Print all nine."""
    half = (1 + mp.mpf(2) ** -10) / 2  # k is rounded, so r may lie just outside
    half_ln2 = half * mp.log(2)
    to_t = lambda x: mp.mpf(x - 2) / mp.mpf(x + 2)  # noqa: E731
    for bits, digits, exp_terms, exp2_terms, small, large, limit in (
        (32, 10, 5, 6, 7, 7, 4),
        (64, 18, 10, 11, 12, 17, 6),
    ):
        fit(f"EXP{bits}", expm1_rest, -half_ln2, half_ln2, exp_terms, digits)
        fit(f"EXP2_{bits}", exp2_over_r, -half, half, exp2_terms, digits)
        fit(f"ERF_SMALL{bits}", erf_over_x, mp.mpf(0), mp.mpf(1), small, digits)
        fit(f"ERF_LARGE{bits}", scaled_erfc, to_t(1), to_t(limit), large, digits)
    fit("NORMAL32", normal_over_x, mp.mpf(-1), mp.mpf(1), 15, 10)


if __name__ == "__main__":
    main()
