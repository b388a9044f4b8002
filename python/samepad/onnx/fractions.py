"""Floats that a model computes from sizes on the way to other sizes, as fractions.

Exporters write floor(size * 0.7) with floats, and a graph that keeps its sizes open has to say it with
integers: size * 7 // 10. ONNX computes it in float32, of which each step rounds, so that both need not
be the same: they are compared for all sizes up to LARGEST.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import fx

LARGEST = 2**20

_TYPES: dict[torch.dtype, Any] = {torch.float32: np.float32, torch.float64: np.float64}


@dataclass(frozen=True)
class Line:
    """scale * size + offset."""

    scale: Fraction
    offset: Fraction


@dataclass(frozen=True)
class Fractional:
    """A float that ONNX computes from one size; or of two sizes the quotient."""

    size: fx.Node | int
    #: What it is up to rounding: with the constants as people wrote them, then with their floats.
    lines: tuple[Line, ...] = (Line(Fraction(1), Fraction(0)),)
    #: What ONNX computes for many sizes at once.
    computed: Callable[[NDArray[Any]], NDArray[Any]] = field(default=lambda n: n, compare=False)
    #: What the size is divided by, where it is another size.
    divisor: fx.Node | None = None


def _fractions(constant: float, dtype: torch.dtype) -> tuple[Fraction, Fraction]:
    """The simplest fraction that is this number in a floating-point type, and the number itself."""
    exact, simple, digits = Fraction(constant), Fraction(constant), 1
    while digits < 10**6:
        simple = exact.limit_denominator(digits)
        if _TYPES[dtype](float(simple)) == _TYPES[dtype](constant):
            return simple, exact
        digits *= 10
    return exact, exact


def with_constant(
    value: fx.Node | Fractional, constant: float, operator: str, dtype: torch.dtype
) -> Fractional | None:
    """A size, or a fraction, and a constant on its right; None for what is said with tensors.

    Args:
        value: On the left.
        constant: On the right; finite.
        operator: +, -, * or /.
        dtype: Of both.
    """
    left = value if isinstance(value, Fractional) else Fractional(value)
    if (
        left.divisor is not None
        or not math.isfinite(constant)
        or (operator == "/" and not constant)
    ):
        return None
    change: dict[str, Callable[[Line, Fraction], Line]] = {
        "+": lambda line, c: Line(line.scale, line.offset + c),
        "-": lambda line, c: Line(line.scale, line.offset - c),
        "*": lambda line, c: Line(line.scale * c, line.offset * c),
        "/": lambda line, c: Line(line.scale / c, line.offset / c),
    }
    compute: dict[str, Callable[[Any, Any], Any]] = {
        "+": np.add,
        "-": np.subtract,
        "*": np.multiply,
        "/": np.divide,
    }
    constants = _fractions(constant, dtype)
    lines = [change[operator](line, c) for line, c in zip(left.lines * 2, constants, strict=False)]
    before, number = left.computed, _TYPES[dtype](constant)
    return Fractional(left.size, tuple(lines), lambda n: compute[operator](before(n), number))


def quotient(left: Any, right: Any) -> Fractional | None:
    """Of two sizes, or of a whole number and a size."""
    if not isinstance(left, (int, fx.Node)) or not isinstance(right, fx.Node):
        return None
    return Fractional(left, divisor=right)


def rounded(
    value: Fractional, how: str, dtype: torch.dtype, least: int
) -> tuple[int, int, int] | None:
    """The numbers a, b and q so that (a * size + b) // q is the fraction rounded; None where none
    give what ONNX computes for each size. Up it is the same of the negative, negated.

    Args:
        value: Not a quotient of two sizes.
        how: "floor" or "ceil".
        dtype: Which ONNX computes in.
        least: What the size is no less than.
    """
    sizes = np.arange(least, LARGEST + 1)
    with np.errstate(all="ignore"):
        expected = getattr(np, how)(value.computed(sizes.astype(_TYPES[dtype])))
    for line in value.lines:
        q = math.lcm(line.scale.denominator, line.offset.denominator)
        a, b = int(line.scale * q), int(line.offset * q)
        if max(abs(a), abs(b), q) < 2**40:  # within int64 for every size
            found = (a * sizes + b) // q if how == "floor" else -((-a * sizes - b) // q)
            if bool((expected == found).all()):
                return a, b, q
    return None
