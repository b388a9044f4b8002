"""How fast this machine could be: what it copies, and what it multiplies, in a second."""

import functools
import time
from collections.abc import Callable
from dataclasses import dataclass

import torch

from benchmarks.layers import Layer
from benchmarks.tables import Table, Variant


@dataclass(frozen=True)
class Peaks:
    """Measured; bytes count twice, as read and as written."""

    bytes_per_second: float
    flops_per_second: float


def _fastest(run: Callable[[], object]) -> float:
    """Seconds of the fastest of some calls: a peak is what can be had."""
    times = []
    for _ in range(20):
        start = time.perf_counter()
        run()
        times.append(time.perf_counter() - start)
    return min(times)


@functools.cache
def measure_peaks(dtype: torch.dtype) -> Peaks:
    """The copy of 128 MiB, more than caches hold, and a product of matrices (torch.mm)."""
    source = torch.ones(2**27 // dtype.itemsize, dtype=dtype)
    target = torch.empty_like(source)
    copied = 2 * source.numel() * dtype.itemsize / _fastest(lambda: target.copy_(source))
    side = 1536
    matrix = torch.ones(side, side, dtype=dtype)
    product = torch.empty_like(matrix)
    return Peaks(copied, 2 * side**3 / _fastest(lambda: torch.mm(matrix, matrix, out=product)))


def add_roofline(table: Table, layers: list[Layer], variant: Variant, peaks: Peaks) -> None:
    """Columns: the share that samepad reaches of what memory and multipliers allow.

    The work is what cannot be avoided: input, weight and output moved once, and in training thrice,
    as many products again for either gradient. Over 100 % of the bandwidth: the caches had it.
    """
    passes = 3 if variant.training else 1
    for layer in layers:
        label = str(layer)
        seconds = table.rows[label]["samepad"] / passes
        shares = {
            "bandwidth": layer.elements * variant.dtype.itemsize / seconds / peaks.bytes_per_second,
            "FMA peak": layer.flops / seconds / peaks.flops_per_second,
        }
        for peak, share in (shares | {"roofline": max(shares.values())}).items():
            table.extra.setdefault(f"samepad, % of {peak}", {})[label] = 100 * share
    table.note = (
        f"Copy bandwidth {peaks.bytes_per_second / 1e9:.1f} GB/s, "
        f"FMA peak {peaks.flops_per_second / 1e9:.0f} GFLOP/s (torch.mm), as measured."
    )
