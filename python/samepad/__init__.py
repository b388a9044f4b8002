"""TensorFlow's SAME padding for PyTorch: exact, for every stride, dilation and kernel size.

    from samepad import SamePadConv2d

    layer = SamePadConv2d(3, 32, kernel_size=3, stride=2)  # as nn.Conv2d; padding="same"

Modules replace those of torch.nn, `samepad.functional` replaces torch.nn.functional,
`samepad.convert` replaces the layers of an existing model, and torch.ops.samepad holds the
operators that all of them call.
"""

from pathlib import Path

import torch

from samepad._build import TORCH_VERSION as _BUILT_FOR
from samepad._build import __version__


def _minor(version: str) -> str:
    return ".".join(version.split(".")[:2])


# A C++ extension works only with the minor version of PyTorch that it was built for. Under another
# version, loading it would fail with an undefined symbol, or worse.
if _minor(torch.__version__) != _minor(_BUILT_FOR):
    raise ImportError(
        f"samepad {__version__} was built for PyTorch {_minor(_BUILT_FOR)}, but this is PyTorch "
        f"{torch.__version__}. Install torch=={_minor(_BUILT_FOR)}.*, or build samepad again: "
        "pip install --force-reinstall --no-deps --no-cache-dir samepad"
    )

from samepad import backends, functional, nn, typing
from samepad._C import same_padding
from samepad.conversion import ConversionReport, LayerReport, convert, register_conversion
from samepad.explanation import Explanation, explain
from samepad.fusion import fuse_conv_bn
from samepad.inference import (
    FusedConv1d,
    FusedConv2d,
    FusedConv3d,
    InferenceReport,
    optimize_for_inference,
)
from samepad.modules import (
    LazySamePadConv1d,
    LazySamePadConv2d,
    LazySamePadConv3d,
    LazySamePadConvTranspose1d,
    LazySamePadConvTranspose2d,
    LazySamePadConvTranspose3d,
    SamePadAvgPool1d,
    SamePadAvgPool2d,
    SamePadAvgPool3d,
    SamePadConv1d,
    SamePadConv2d,
    SamePadConv3d,
    SamePadConvTranspose1d,
    SamePadConvTranspose2d,
    SamePadConvTranspose3d,
    SamePadDepthwiseConv1d,
    SamePadDepthwiseConv2d,
    SamePadMaxPool1d,
    SamePadMaxPool2d,
    SamePadMaxPool3d,
    SamePadSeparableConv1d,
    SamePadSeparableConv2d,
)
from samepad.resolution import resolve_static

#: Folder to add to CMAKE_PREFIX_PATH, so that `find_package(samepad)` finds this installation.
cmake_prefix_path = str(Path(__file__).resolve().parent)

__all__ = [
    "ConversionReport",
    "Explanation",
    "FusedConv1d",
    "FusedConv2d",
    "FusedConv3d",
    "InferenceReport",
    "LayerReport",
    "LazySamePadConv1d",
    "LazySamePadConv2d",
    "LazySamePadConv3d",
    "LazySamePadConvTranspose1d",
    "LazySamePadConvTranspose2d",
    "LazySamePadConvTranspose3d",
    "SamePadAvgPool1d",
    "SamePadAvgPool2d",
    "SamePadAvgPool3d",
    "SamePadConv1d",
    "SamePadConv2d",
    "SamePadConv3d",
    "SamePadConvTranspose1d",
    "SamePadConvTranspose2d",
    "SamePadConvTranspose3d",
    "SamePadDepthwiseConv1d",
    "SamePadDepthwiseConv2d",
    "SamePadMaxPool1d",
    "SamePadMaxPool2d",
    "SamePadMaxPool3d",
    "SamePadSeparableConv1d",
    "SamePadSeparableConv2d",
    "__version__",
    "backends",
    "cmake_prefix_path",
    "convert",
    "explain",
    "functional",
    "fuse_conv_bn",
    "nn",
    "optimize_for_inference",
    "register_conversion",
    "resolve_static",
    "same_padding",
    "typing",
]
