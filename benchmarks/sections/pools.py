"""Pools and transposed convolutions, beside torch's with symmetric padding."""

from collections.abc import Iterable
from typing import Any

import samepad
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmarks.checks import checked_case
from benchmarks.competitors import same_padded
from benchmarks.tables import VARIANTS, Settings, Table, Variant
from benchmarks.timing import Case, compare


class _Pool(nn.Module):
    """What pools written by hand have in common."""

    def __init__(self, kernel_size: int, stride: int) -> None:
        """For both dimensions."""
        super().__init__()
        self.kernel_size, self.stride, self.dilation = (kernel_size,) * 2, (stride,) * 2, (1, 1)


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


def _transposed(kernel: int, channels: int) -> tuple[nn.Module, ...]:
    shape = (channels, channels // 2, kernel)
    # Of a 3x3 kernel the symmetric one needs a row more to double the size.
    sym = nn.ConvTranspose2d(*shape, 2, padding=1, output_padding=kernel % 2)
    return (
        sym,
        CropConvTranspose2d(*shape, stride=2),
        samepad.SamePadConvTranspose2d(*shape, stride=2),
    )


def _layers(channels: int) -> dict[str, tuple[nn.Module, ...]]:
    """By name: torch's with symmetric padding, what is written by hand and samepad's."""
    return {
        "MaxPool2d 3x3/2": (
            nn.MaxPool2d(3, 2, padding=1), PadMaxPool2d(3, 2), samepad.SamePadMaxPool2d(3, 2),
        ),
        "AvgPool2d 3x3/2": (
            nn.AvgPool2d(3, 2, padding=1, count_include_pad=False),
            PadAvgPool2d(3, 2),
            samepad.SamePadAvgPool2d(3, 2),
        ),
        "ConvTranspose2d 3x3/2": _transposed(3, channels),
        "ConvTranspose2d 4x4/2": _transposed(4, channels),
    }  # fmt: skip


#: Channels and size as layers.json has them, and which layers: pools of large images, transposed
#: convolutions of small ones.
SHAPES = [(64, 112, "Pool"), (128, 28, ""), (256, 14, "Transpose")]


def _cases(variant: Variant, batches: tuple[int, ...]) -> Iterable[Case]:
    rows = [
        (batch, channels, size, name, modules)
        for channels, size, kind in SHAPES
        for batch in batches
        for name, modules in _layers(channels).items()
        if kind in name
    ]
    for batch, channels, size, name, (sym, by_hand, ours) in rows:
        torch.manual_seed(0)
        modules: dict[str, Any] = {"sym": sym, "by hand": by_hand, "samepad": ours}
        for module in modules.values():
            module.load_state_dict(sym.state_dict())
            variant.place(module)
        input = variant.place(torch.randn(batch, channels, size, size))
        label = f"{batch}x{channels}x{size}x{size}, {name}"
        yield checked_case(label, input, modules, by_hand, sym, variant)


def pools_and_transposed(settings: Settings) -> list[Table]:
    """Inference and training, both layouts."""
    return [
        compare(
            f"pools and transposed, {variant}", variant, _cases(variant, settings.batches), settings
        )
        for variant in VARIANTS
    ]
