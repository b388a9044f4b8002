"""Controls how convolutions are computed: plans can be chosen by measurement.

    samepad.backends.benchmark = True  # as torch.backends.cudnn.benchmark

With this setting, a convolution that several plans can compute is measured at its first call for
each combination of sizes, layout, type, device, number of threads and whether gradients are wanted.
That takes as long as about 20 calls, or 0.2 seconds. From then on the fastest plan computes it.
Without the setting, a cost model chooses. `samepad.explain` says which plan runs.

The results of different plans are rounded differently in the last bits, so with `benchmark` two
runs of a program may differ in them.
"""

import sys
import types
from dataclasses import dataclass
from typing import Any

from samepad import _C

__all__ = ["Measurement", "measurements", "plans", "reset"]

#: Whether plans are chosen by measurement; False by default.
benchmark: bool


@dataclass(frozen=True)
class Measurement:
    """The measured times of the plans for one convolution."""

    #: Describes what was measured: sizes, type, device, stride, pads, threads.
    convolution: str
    #: For each plan the seconds of one call, including the backward pass where gradients were
    #: wanted. The fastest plan, which is the one chosen, comes first.
    seconds: dict[str, float]

    def __str__(self) -> str:
        """One line: the plans' times, then the convolution."""
        times = ", ".join(f"{plan} {value * 1e6:.0f} us" for plan, value in self.seconds.items())
        return f"{times}: {self.convolution}"


def plans() -> dict[str, str]:
    """Return the ways to compute a convolution: each plan's name and what it does."""
    return dict(_C._plans())


def measurements() -> list[Measurement]:
    """Return the last 1024 measurements of this process, the oldest one first."""
    return [Measurement(text, dict(times)) for text, times in _C._measurements()]


def reset() -> None:
    """Forget all measurements."""
    _C._reset_measurements()


class _Module(types.ModuleType):
    """A module whose attribute `benchmark` is the setting in the C++ library."""

    @property
    def benchmark(self) -> bool:
        return _C._benchmark()

    @benchmark.setter
    def benchmark(self, value: Any) -> None:
        if not isinstance(value, bool):
            raise TypeError(f"samepad.backends.benchmark must be bool, not {type(value).__name__}")
        _C._set_benchmark(value)


sys.modules[__name__].__class__ = _Module
