"""How fast this machine could be: what it copies from each cache, and what it multiplies."""

import ctypes
import functools
import hashlib
import os
import subprocess
from dataclasses import dataclass
from pathlib import Path

import torch

from benchmarks.layers import Layer
from benchmarks.tables import Table, Variant

SOURCE = Path(__file__).with_name("cpp") / "peaks.cpp"
BUILD = Path(__file__).parents[1] / "build"

#: Bytes that lie in the first, second and third cache and in memory, for one thread.
LEVELS = {"L1": 2**14, "L2": 2**19, "L3": 2**22, "memory": 2**27}


@dataclass(frozen=True)
class Peaks:
    """Measured; bytes count twice, as read and as written."""

    #: By the name of a level.
    bytes_per_second: dict[str, float]
    #: None where the machine has no instruction for the type.
    flops_per_second: float | None


def _library() -> ctypes.CDLL:
    """peaks.cpp, compiled for this CPU."""
    text = SOURCE.read_bytes()
    library = BUILD / f"peaks-{hashlib.sha256(text).hexdigest()[:8]}.so"
    if not library.exists():
        BUILD.mkdir(exist_ok=True)
        compiler = os.environ.get("CXX", "c++")
        flags = ["-O3", "-march=native", "-std=c++20", "-fopenmp", "-shared", "-fPIC"]
        subprocess.run([compiler, *flags, str(SOURCE), "-o", str(library)], check=True)
    return ctypes.CDLL(str(library))


@functools.cache
def measure_peaks(dtype: torch.dtype, threads: int) -> Peaks:
    """Copies of data of each level's size, and products that never leave the registers."""
    library = _library()
    name = str(dtype).removeprefix("torch.")
    flops = getattr(library, f"{name}_peak")
    for function in (flops, library.copy_bandwidth):
        function.restype = ctypes.c_double
    bandwidths = {
        level: library.copy_bandwidth(threads, ctypes.c_int64(size))
        for level, size in LEVELS.items()
    }
    return Peaks(bandwidths, flops(threads) or None)


def add_roofline(table: Table, layers: list[Layer], variant: Variant, peaks: Peaks) -> None:
    """Columns: the share that samepad reaches of what memory and multipliers allow.

    The work is what cannot be avoided: input, weight and output moved once, and in training thrice,
    as many products again for either gradient. Over 100 % of the bandwidth: the caches had it.
    """
    passes = 3 if variant.training else 1
    memory = peaks.bytes_per_second["memory"]
    for layer in layers:
        label = str(layer)
        seconds = table.rows[label]["samepad"] / passes
        shares = {"bandwidth": layer.elements * variant.dtype.itemsize / seconds / memory}
        if peaks.flops_per_second is not None:
            shares["FMA peak"] = layer.flops / seconds / peaks.flops_per_second
        for peak, share in (shares | {"roofline": max(shares.values())}).items():
            table.extra.setdefault(f"samepad, % of {peak}", {})[label] = 100 * share
    levels = ", ".join(
        f"{speed / 1e9:.0f} GB/s in {level}" for level, speed in peaks.bytes_per_second.items()
    )
    table.note = f"Copies: {levels}."
    if peaks.flops_per_second is not None:
        table.note += f" FMA peak {peaks.flops_per_second / 1e9:.0f} GFLOP/s, in registers."
