"""Prints `tests/vectors/luts.json`, the normative tables, from their definitions.

Python's decimals at 60 digits, then floor(v + 1/2): exact to half a unit.
    python3 contract/tables.py | cmp - tests/vectors/luts.json
"""
import json
from decimal import Decimal as D, ROUND_FLOOR, getcontext

getcontext().prec = 60


def rounded(v):
    return int((v + D("0.5")).to_integral_value(ROUND_FLOOR))


def log2(v):
    return v.ln() / D(2).ln()


def sine(x):
    """Taylor's series; x is at most pi / 2."""
    term, total, n = x, x, 1
    while abs(term) > D(10) ** -58:
        term *= -x * x / ((n + 1) * (n + 2))
        total, n = total + term, n + 2
    return total


PI = D("3.14159265358979323846264338327950288419716939937510582097494")


def noise(a):
    """Gumbel noise at the start of segment entry a; the last entry is the limit of the fit."""
    if a == 256:
        return -log2(D(10))
    v = (1 + D(a % 32) / 32) / D(2) ** (8 - a // 32)
    return -log2(-log2(1 - v))


TABLES = {
    "rsqrt": [0] * 16 + [rounded((D(2) ** 34 / i).sqrt()) for i in range(16, 65)],
    "recip": [rounded(D(65536 * 32) / (32 + i)) for i in range(33)],
    "sigmoid": [min(65535, rounded(65536 / (1 + (-D(i) / 4).exp()))) for i in range(33)],
    "sin": [rounded(16384 * sine(PI / 2 * min(i, 64) / 64)) for i in range(66)],
    "exp2": [rounded(65024 * D(2) ** (-D(i) / 32)) for i in range(32)],
    "gumbel": [rounded(2048 * noise(a)) for a in range(257)],
}
print(json.dumps(TABLES), end="")
