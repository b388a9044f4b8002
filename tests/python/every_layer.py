"""A model of every kind of SAME layer, and inputs of sizes that need different padding.

It imports nothing but torch and samepad, because the tests on CUDA devices use it too.
"""

import samepad
import torch
from torch import Tensor, nn

#: Sizes that need different padding. They are large enough that no layer gets a size of 1, which
#: compilers and exporters treat as a special case.
SIZES = [(40, 36), (41, 36), (40, 37), (43, 39), (33, 50)]


def model() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(
        samepad.SamePadConv2d(3, 4, 3, 2),
        nn.ReLU(),
        samepad.SamePadMaxPool2d(3, 2),
        samepad.SamePadDepthwiseConv2d(4, 3, depth_multiplier=2),
        samepad.SamePadAvgPool2d(3, 2, "same_lower"),
        samepad.SamePadConvTranspose2d(8, 3, 3, 2),
    )


def images(*sizes: tuple[int, int], batch: int = 2) -> list[Tensor]:
    return [torch.randn(batch, 3, *size) for size in sizes or SIZES]
