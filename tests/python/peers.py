"""Published models with other packages' SAME layers."""

from typing import Any

import efficientnet_pytorch
import torch
from torch import nn

from benchmarks.published import lite0, timm


def _calibrated(model: nn.Module) -> nn.Module:
    """Set statistics from an input: with the initial ones, random weights give no useful output."""
    norms = [layer for layer in model.modules() if isinstance(layer, nn.BatchNorm2d)]
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.momentum = 1.0
    with torch.no_grad():
        model.train()(torch.randn(4, 3, 64, 64))
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
    return model


#: The functions that make the models, by the models' names.
MODELS: dict[str, Any] = {
    "efficientnet-lite0": lite0,
    "efficientnet-b0": lambda: _calibrated(
        efficientnet_pytorch.EfficientNet.from_name("efficientnet-b0")
    ),
    "tf_efficientnet_b0": lambda: _calibrated(timm.create_model("tf_efficientnet_b0")),
    "tf_mobilenetv3_small_100": lambda: _calibrated(timm.create_model("tf_mobilenetv3_small_100")),
}
