"""Pools and transposed convolutions, beside torch's with symmetric padding."""

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import samepad
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmarks.checks import checked_case
from benchmarks.competitors import same_padded
from benchmarks.layers import Pair
from benchmarks.tables import VARIANTS, Settings, Table, Variant
from benchmarks.timing import Case, compare


class _Pool(nn.Module):
    """What pools written by hand have in common."""

    def __init__(self, kernel_size: Pair, stride: Pair) -> None:
        """Take the sizes of windows and the steps between them."""
        super().__init__()
        self.kernel_size, self.stride, self.dilation = kernel_size, stride, (1, 1)


class PadMaxPool2d(_Pool):
    """F.pad, then the pool."""

    def forward(self, input: Tensor) -> Tensor:
        """Pad with what is never a maximum."""
        return F.max_pool2d(same_padded(input, self, -float("inf")), self.kernel_size, self.stride)


class PadAvgPool2d(_Pool):
    """F.pad and the pool, by the share of each window that is not padding."""

    def forward(self, input: Tensor) -> Tensor:
        """Pad the input, and ones in its place."""
        share = same_padded(torch.ones_like(input[:1, :1]), self)
        sums = F.avg_pool2d(same_padded(input, self), self.kernel_size, self.stride)
        return sums / F.avg_pool2d(share, self.kernel_size, self.stride)


class CropConvTranspose2d(nn.ConvTranspose2d):
    """The full result, and of it what SAME keeps."""

    def forward(self, input: Tensor, output_size: Any = None) -> Tensor:
        """Crop as TensorFlow does."""
        output = super().forward(input, output_size)
        for dim, stride, kernel in zip((2, 3), self.stride, self.kernel_size, strict=True):
            size = input.shape[dim] * stride
            total = (input.shape[dim] - 1) * stride + kernel - size
            output = output.narrow(dim, total // 2, size)
        return output


@dataclass(frozen=True)
class Window:
    """A pool or a transposed convolution."""

    kind: str  #: "max pool", "average pool" or "transposed"
    batch: int
    channels: int
    size: Pair
    out: int
    kernel: Pair
    stride: Pair

    def __str__(self) -> str:
        """Input size, filters if any, kernel, stride and kind."""
        shape = "x".join(map(str, (self.batch, self.channels, *self.size)))
        out = f" -> {self.out}" if self.kind == "transposed" else ""
        kernel, stride = ("x".join(map(str, pair)) for pair in (self.kernel, self.stride))
        return f"{shape}{out}, {kernel}/{stride} {self.kind}"

    @property
    def elements(self) -> int:
        """Of the input, or of a transposed convolution's output if that is larger."""
        pixels = self.batch * math.prod(self.size)
        enlarged = math.prod(self.stride) if self.kind == "transposed" else 0
        return pixels * max(self.channels, self.out * enlarged)

    def modules(self) -> tuple[nn.Module, nn.Module, nn.Module]:
        """Torch's with symmetric padding, what is written by hand, and samepad's."""
        kernel, stride = self.kernel, self.stride
        if self.kind == "transposed":
            shape = (self.channels, self.out, kernel, stride)
            # A kernel and a stride of which one is odd need a row more for the size that SAME has.
            (down, across), (height, width) = stride, kernel
            padding = (max(height - down + 1, 0) // 2, max(width - across + 1, 0) // 2)
            more = (down - height + 2 * padding[0], across - width + 2 * padding[1])
            return (
                nn.ConvTranspose2d(*shape, padding, more),
                CropConvTranspose2d(*shape),
                samepad.SamePadConvTranspose2d(*shape),
            )
        padding = ((kernel[0] - 1) // 2, (kernel[1] - 1) // 2)
        if self.kind == "max pool":
            return (
                nn.MaxPool2d(kernel, stride, padding),
                PadMaxPool2d(kernel, stride),
                samepad.SamePadMaxPool2d(kernel, stride),
            )
        return (
            nn.AvgPool2d(kernel, stride, padding, count_include_pad=False),
            PadAvgPool2d(kernel, stride),
            samepad.SamePadAvgPool2d(kernel, stride),
        )


def _listed(batches: tuple[int, ...]) -> Iterator[Window]:
    """Pools of large images and transposed convolutions of small ones, as layers.json has them."""
    for batch in batches:
        for channels, side in ((64, 112), (128, 28)):
            for kind in ("max pool", "average pool"):
                size = (side, side)
                yield Window(kind, batch, channels, size, channels, (3, 3), (2, 2))
        for channels, side in ((128, 28), (256, 14)):
            for kernel in (3, 4):
                square, size = (kernel, kernel), (side, side)
                yield Window("transposed", batch, channels, size, channels // 2, square, (2, 2))


def window_cases(windows: Iterable[Window], variant: Variant) -> Iterator[Case]:
    """Yield the checked case of each."""
    for window in windows:
        torch.manual_seed(0)
        sym, by_hand, ours = window.modules()
        modules: dict[str, Any] = {"sym": sym, "by hand": by_hand, "samepad": ours}
        for module in modules.values():
            module.load_state_dict(sym.state_dict())
            variant.place(module)
        input = variant.place(torch.randn(window.batch, window.channels, *window.size))
        yield checked_case(str(window), input, modules, by_hand, sym, variant)


def pools_and_transposed(settings: Settings) -> list[Table]:
    """Inference and training, both layouts."""
    return [
        compare(
            f"pools and transposed, {variant}",
            variant,
            window_cases(_listed(settings.batches), variant),
            settings,
        )
        for variant in VARIANTS
    ]
