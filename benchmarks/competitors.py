"""What is timed on a layer: PyTorch's convolution, samepad's, and other packages' for PyTorch."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import samepad
import torch
import torch.nn.functional as F
from samepad import _C
from torch import Tensor, nn

from benchmarks.checks import checked_case
from benchmarks.layers import Layer, same_pads
from benchmarks.published import Conv2dSame, Conv2dStaticSamePadding
from benchmarks.tables import Variant
from benchmarks.timing import Case, Module


def same_padded(input: Tensor, layer: Any, value: float = 0.0) -> Tensor:
    """The input, padded by hand for a convolution or a pool with these sizes."""
    (top, bottom), (left, right) = (
        same_pads(*sizes)
        for sizes in zip(
            input.shape[-2:], layer.kernel_size, layer.stride, layer.dilation, strict=True
        )
    )
    return F.pad(input, (left, right, top, bottom), value=value)


class PadConv2d(nn.Conv2d):
    """What people write by hand: F.pad, then the convolution."""

    def forward(self, input: Tensor) -> Tensor:
        """Pad as TensorFlow does, then convolve."""
        return super().forward(same_padded(input, self))


class PlannedConv2d(samepad.SamePadConv2d):
    """samepad's, by one given plan."""

    def __init__(self, plan: Any, *args: Any, **kwargs: Any) -> None:
        """Take the plan's name, then SamePadConv2d's arguments."""
        super().__init__(*args, **kwargs)
        self.plan = plan

    def forward(self, input: Tensor) -> Tensor:
        """Convolve by the plan."""
        with _C._force_plan(self.plan):
            return super().forward(input)


def _sym(layer: Layer) -> nn.Conv2d:
    return nn.Conv2d(*layer.arguments, padding=layer.symmetric_padding, **layer.options)


#: By name: what makes the module for a layer. All have nn.Conv2d's parameters.
MODULES: dict[str, Callable[[Layer], nn.Module]] = {
    "sym": _sym,
    "pad+conv": lambda layer: PadConv2d(*layer.arguments, **layer.options),
    "samepad": lambda layer: samepad.SamePadConv2d(*layer.arguments, **layer.options),
    "crop": lambda layer: PlannedConv2d("crop", *layer.arguments, **layer.options),
    "pad": lambda layer: PlannedConv2d("pad", *layer.arguments, **layer.options),
    "timm": lambda layer: Conv2dSame(*layer.arguments, **layer.options),
    "efficientnet-pytorch": lambda layer: Conv2dStaticSamePadding(
        *layer.arguments, image_size=layer.size, **layer.options
    ),
}

#: What makes another library's convolution from a layer, sym and the variant.
Maker = Callable[[Layer, nn.Conv2d, Variant], Module]


def layer_case(
    layer: Layer,
    variant: Variant,
    names: Iterable[str],
    others: dict[str, Maker] | None = None,
    dtype: torch.dtype = torch.float64,
) -> Case:
    """The layer with these competitors, all with the same parameters, checked in `dtype`."""
    torch.manual_seed(0)
    sym = _sym(layer)

    def made(name: str) -> nn.Module:
        module = MODULES[name](layer)
        module.load_state_dict(sym.state_dict())
        return variant.place(module)

    modules: dict[str, Module] = {name: made(name) for name in names}
    for name, maker in (others or {}).items():
        modules[name] = maker(layer, sym, variant)
    input = variant.place(torch.randn(layer.input_shape))
    same, equal = made("pad+conv"), made("sym")
    return checked_case(str(layer), input, modules, same, equal, variant, dtype)


def layer_cases(
    layers: Sequence[Layer],
    variant: Variant,
    names: Iterable[str],
    others: dict[str, Maker] | None = None,
) -> Iterable[Case]:
    """One after the other, so that one at a time is in memory."""
    return (layer_case(layer, variant, names, others) for layer in layers)
