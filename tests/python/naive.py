"""Padding and convolution written down from their definitions: loops and counting, in float64.

Nothing here is clever, and nothing comes from the closed formulas under test.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

Pair = tuple[int, int]


def pads(mode: str, n: int, k: int, s: int, d: int) -> Pair:
    """Count the elements that `mode` adds before and after n elements."""
    taps = range(0, k * d, d)
    if mode == "valid":
        return 0, 0
    if mode == "causal":
        # Output i must read nothing after input i s, so its last kernel element is there, the
        # others before.
        return taps[-1], 0
    # A window starts at every s-th element, and the last one has to end inside the padded input. If
    # there are no elements, the last window has number -1, as in TensorFlow's formula.
    last_start = (len(range(0, n, s)) - 1) * s
    favoured = other = 0
    while last_start + taps[-1] >= n + favoured + other:
        # Add one element at a time, on alternating sides, first on the favoured side.
        if favoured == other:
            favoured += 1
        else:
            other += 1
    return {"same": (other, favoured), "same_lower": (favoured, other)}[mode]


def conv(
    input: ArrayLike,
    weight: ArrayLike,
    bias: ArrayLike | None,
    stride: Sequence[int],
    pads: Sequence[Pair],
    dilation: Sequence[int],
    groups: int,
) -> NDArray[np.float64]:
    """Convolve (N, C, ...), padded by (before, after) zeros, with (O, C / groups, ...)."""
    x, w = np.asarray(input, np.float64), np.asarray(weight, np.float64)
    b = np.zeros(len(w)) if bias is None else np.asarray(bias, np.float64)
    starts = [
        range(-before, n + after - (k - 1) * d, s)
        for n, k, s, (before, after), d in zip(
            x.shape[2:], w.shape[2:], stride, pads, dilation, strict=True
        )
    ]
    output = np.empty((len(x), len(w), *map(len, starts)))
    for image, channel, *position in np.ndindex(output.shape):
        start = [axis[i] for axis, i in zip(starts, position, strict=True)]
        first_channel = channel // (len(w) // groups) * w.shape[1]
        total = b[channel]
        for offset, *tap in np.ndindex(w.shape[1:]):
            at = [i + t * d for i, t, d in zip(start, tap, dilation, strict=True)]
            if all(0 <= i < n for i, n in zip(at, x.shape[2:], strict=True)):
                total += w[(channel, offset, *tap)] * x[(image, first_channel + offset, *at)]
        output[(image, channel, *position)] = total
    return output
