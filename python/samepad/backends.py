"""How convolutions are computed: the choice of plans by measurement.

    samepad.backends.benchmark = True  # as torch.backends.cudnn.benchmark

Then a convolution that several plans can compute is measured at its first call for each combination
of sizes, layout, type, device, number of threads and whether gradients are wanted, which takes some
20 calls' time or 0.2 seconds, and computed by the fastest plan from then on. Without it, a model of
their cost chooses. `samepad.explain` says which plan runs.

The results of plans differ in the rounding of the last bits, so with `benchmark` two runs of a
program may differ in them.
"""

import sys
import types
from dataclasses import dataclass
from typing import Any

from samepad import _C

__all__ = ["Measurement", "measurements", "plans", "reset"]

#: Whether plans are measured; False at first.
benchmark: bool


@dataclass(frozen=True)
class Measurement:
    """The plans of one convolution, as measured."""

    #: What was measured: sizes, type, device, stride, pads, threads.
    convolution: str
    #: Seconds of each plan's call, and where gradients were wanted of its backward pass too; the
    #: fastest, which is the one chosen, first.
    seconds: dict[str, float]

    def __str__(self) -> str:
        """A line: the plans' times, then the convolution."""
        times = ", ".join(f"{plan} {value * 1e6:.0f} us" for plan, value in self.seconds.items())
        return f"{times}: {self.convolution}"


def plans() -> dict[str, str]:
    """The plans: the ways in which a convolution may be computed, and what each of them does."""
    return dict(_C._plans())


def measurements() -> list[Measurement]:
    """What has been measured in this process, from the oldest, at most the last 1024."""
    return [Measurement(text, dict(times)) for text, times in _C._measurements()]


def reset() -> None:
    """Forget what has been measured."""
    _C._reset_measurements()


class _Module(types.ModuleType):
    """A module whose `benchmark` is the library's own setting."""

    @property
    def benchmark(self) -> bool:
        return _C._benchmark()

    @benchmark.setter
    def benchmark(self, value: Any) -> None:
        if not isinstance(value, bool):
            raise TypeError(f"samepad.backends.benchmark must be bool, not {type(value).__name__}")
        _C._set_benchmark(value)


sys.modules[__name__].__class__ = _Module
