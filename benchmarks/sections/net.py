"""A published net whole: EfficientNet-Lite0, trained in TensorFlow."""

import copy
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import samepad
import torch
from torch import nn

from benchmarks.checks import checked_case
from benchmarks.published import lite0
from benchmarks.tables import VARIANTS, Settings, Table, Variant
from benchmarks.timing import Case, compare


def symmetric(net: nn.Module) -> nn.Module:
    """A copy whose SAME convolutions are torch.nn's, with equal padding that keeps their sizes."""
    net = copy.deepcopy(net)
    for name, layer in list(net.named_modules()):
        if isinstance(layer, (samepad.SamePadConv1d, samepad.SamePadConv2d)):
            steps = zip(layer.kernel_size, layer.dilation, strict=True)
            options: dict[str, Any] = {
                "stride": layer.stride,
                "padding": tuple((k - 1) * d // 2 for k, d in steps),
                "dilation": layer.dilation,
                "groups": layer.groups,
                "bias": layer.bias is not None,
            }
            size: Any = layer.kernel_size
            make: Any = nn.Conv1d if len(size) == 1 else nn.Conv2d
            plain = make(layer.in_channels, layer.out_channels, size, **options)
            plain.load_state_dict(layer.state_dict())
            net.set_submodule(name, plain)
    return net.train(net.training)


def _cases(variant: Variant) -> Iterable[Case]:
    torch.manual_seed(0)
    published = lite0().eval()
    ours = samepad.convert(copy.deepcopy(published))
    modules: dict[str, Any] = {"sym": symmetric(ours), "published": published, "samepad": ours}
    for module in modules.values():
        variant.place(module)
    for batch in (1, 8):
        images = variant.place(torch.randn(batch, 3, 224, 224))
        label = f"batch {batch}, {variant.layout}"
        yield checked_case(label, images, modules, published, modules["sym"], variant)


def efficientnet_lite0(settings: Settings) -> list[Table]:
    """Inference in both layouts, converted and symmetric; a row is worth several layers'."""
    settings = replace(settings, seconds=10 * settings.seconds)
    return [
        compare(f"EfficientNet-Lite0, {variant}", variant, _cases(variant), settings)
        for variant in VARIANTS
        if not variant.training
    ]
