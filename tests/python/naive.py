"""The convolution and its padding, written from their definitions: slow and plain, in float64."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Pair = tuple[int, int]


def extent(k: int, d: int) -> int:
    """Elements from the first to the last tap of a kernel, both included."""
    return len(range(0, k * d, d)[-1:]) and range(0, k * d, d)[-1] + 1


def pads(mode: str, n: int, k: int, s: int, d: int) -> Pair:
    raise NotImplementedError
