"""What is measured: settings, and tables of figures."""

import math
import statistics
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Literal, TypeVar

import torch
from torch import Tensor, nn

Placed = TypeVar("Placed", Tensor, nn.Module)

#: By table's unit: what a figure (seconds, bytes, a number) is multiplied with.
UNITS = {"us": 1e6, "ms": 1e3, "s": 1.0, "MB": 1e-6, "kernels": 1.0, "ratio": 1.0}


@dataclass(frozen=True)
class Settings:
    """What the command line asks for."""

    #: For each row of a table, all competitors together.
    seconds: float
    quick: bool = False
    #: Of the sweep: how many layers, and which ones.
    layers: int = 60
    seed: int = 1

    @property
    def batches(self) -> tuple[int, ...]:
        """Of the layers that are measured."""
        return (1,) if self.quick else (1, 8)


@dataclass(frozen=True)
class Variant:
    """How a layer is run."""

    layout: Literal["NCHW", "channels_last"] = "NCHW"
    #: Forward and backward, with gradients of the input too.
    training: bool = False
    dtype: torch.dtype = torch.float32
    device: str = "cpu"

    def __str__(self) -> str:
        """As titles of tables have it."""
        parts = ["training" if self.training else "inference", self.layout]
        if self.dtype != torch.float32:
            parts.append(str(self.dtype).removeprefix("torch."))
        if self.device != "cpu":
            parts.append(self.device)
        return ", ".join(parts)

    def place(self, what: Placed) -> Placed:
        """The tensor, or the module with its parameters, in this layout and type, on the device."""
        tensors = [what] if isinstance(what, Tensor) else what.parameters()
        has_depth = any(tensor.dim() == 5 for tensor in tensors)
        channels_last = torch.channels_last_3d if has_depth else torch.channels_last
        last = self.layout == "channels_last"
        options: Any = {"memory_format": channels_last if last else torch.contiguous_format}
        return what.to(device=self.device, dtype=self.dtype, **options)


#: Inference and training in both layouts.
VARIANTS = [
    Variant(layout, training) for training in (False, True) for layout in ("NCHW", "channels_last")
]


@dataclass
class Table:
    """Figures of competitors: seconds, bytes or a number, the less the better."""

    title: str
    #: By row's label and competitor's name.
    rows: dict[str, dict[str, float]]
    unit: str = "ms"
    note: str = ""
    #: By column's name and row's label.
    extra: dict[str, dict[str, float]] = field(default_factory=dict)
    #: Whether the report has it; the file of figures has every table.
    reported: bool = True

    @property
    def competitors(self) -> list[str]:
        """In order; the first is what the others are divided by."""
        return list(next(iter(self.rows.values())))

    def ratios(self, competitor: str, against: str) -> dict[str, float]:
        """By row's label, where the row has both."""
        return {
            label: row[competitor] / row[against]
            for label, row in self.rows.items()
            if competitor in row and against in row
        }


def geometric_mean(values: Iterable[float]) -> float:
    """The mean for ratios."""
    return math.exp(statistics.fmean(map(math.log, values)))
