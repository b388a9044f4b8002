"""Convolutions in three dimensions, of networks for videos and for medical volumes."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain

import samepad
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmarks.checks import checked_case
from benchmarks.layers import Pair, same_pads
from benchmarks.sections.memory import saved_bytes
from benchmarks.tables import VARIANTS, Settings, Table, Variant
from benchmarks.timing import Case, compare

Triple = tuple[int, int, int]


@dataclass(frozen=True)
class Volume:
    """One convolution of (batch, channels, depth, height, width)."""

    network: str
    channels: int
    size: Triple
    out: int
    kernel: Triple
    stride: Triple = (1, 1, 1)
    groups: int = 1
    #: Whether the output must not depend on later frames: all padding in time comes before.
    causal: bool = False

    def __str__(self) -> str:
        """The network, input size, output channels, kernel and stride."""
        size, kernel, stride = (
            "x".join(map(str, s)) for s in (self.size, self.kernel, self.stride)
        )
        kind = " depthwise" if self.groups > 1 else " causal" if self.causal else ""
        return f"{self.network}: {self.channels}x{size} -> {self.out}, {kernel}/{stride}{kind}"

    @property
    def pads(self) -> list[Pair]:
        """Before and after each dimension."""
        sizes = zip(self.size, self.kernel, self.stride, (1, 1, 1), strict=True)
        depth, height, width = (same_pads(*of_one) for of_one in sizes)
        return [(sum(depth), 0) if self.causal else depth, height, width]

    @property
    def arguments(self) -> tuple[int, int, Triple, Triple]:
        """What nn.Conv3d takes first."""
        return self.channels, self.out, self.kernel, self.stride


VOLUMES = (
    Volume("R3D-18", 3, (16, 112, 112), 64, (3, 7, 7), (1, 2, 2)),
    Volume("R3D-18", 64, (8, 56, 56), 64, (3, 3, 3)),
    Volume("R(2+1)D-18", 144, (16, 56, 56), 64, (3, 1, 1)),
    Volume("X3D", 54, (16, 56, 56), 54, (3, 3, 3), groups=54),
    Volume("3-D U-Net", 1, (64, 64, 64), 32, (3, 3, 3)),
    Volume("3-D U-Net", 32, (32, 32, 32), 64, (3, 3, 3), (2, 2, 2)),
    Volume("V-Net", 16, (32, 32, 32), 16, (5, 5, 5)),
    Volume("video autoencoder", 128, (5, 32, 32), 128, (3, 3, 3), causal=True),
)


class PadConv3d(nn.Conv3d):
    """What people write by hand: F.pad, then the convolution."""

    def __init__(self, volume: Volume) -> None:
        """Take the padding of the layer."""
        super().__init__(*volume.arguments, groups=volume.groups)
        self.pads = list(chain.from_iterable(reversed(volume.pads)))

    def forward(self, input: Tensor) -> Tensor:
        """Pad, then convolve."""
        return super().forward(F.pad(input, self.pads))


def _case(volume: Volume, variant: Variant) -> Case:
    torch.manual_seed(0)
    depth, height, width = (k // 2 for k in volume.kernel)
    padding: samepad.typing.Padding = ("causal", "same", "same") if volume.causal else "same"
    modules: dict[str, nn.Module] = {
        "sym": nn.Conv3d(*volume.arguments, padding=(depth, height, width), groups=volume.groups),
        "pad+conv": PadConv3d(volume),
        "samepad": samepad.SamePadConv3d(*volume.arguments, padding, groups=volume.groups),
    }
    for module in modules.values():
        module.load_state_dict(modules["sym"].state_dict())
        variant.place(module)
    input = variant.place(torch.randn(1, volume.channels, *volume.size))
    # In float64, checking would take longer than measuring.
    return checked_case(
        str(volume), input, {**modules}, modules["pad+conv"], modules["sym"], variant, torch.float32
    )


def _cases(variant: Variant, settings: Settings) -> Iterator[Case]:
    volumes = VOLUMES[:: 2 if settings.quick else 1]
    return (_case(volume, variant) for volume in volumes)


def volumes(settings: Settings) -> list[Table]:
    """Inference and training in both layouts, and what training keeps for the backward pass."""
    tables = [
        compare(f"volumes, {variant}", variant, _cases(variant, settings), settings)
        for variant in VARIANTS
    ]
    rows = {
        case.label: {
            name: float(saved_bytes(module, case.input)) for name, module in case.modules.items()
        }
        for case in _cases(Variant(), settings)
    }
    return [*tables, Table("volumes, bytes saved for backward", rows, "MB")]
