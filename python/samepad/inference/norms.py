"""Splits normalizations with an activation of their own into two layers."""

from collections import OrderedDict
from typing import Any

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from samepad._replacing import become, has_own_computation, replace
from samepad.inference.tracing import has_hooks


def split_norms(model: nn.Module) -> nn.Module:
    """Replace normalizations that hold an activation, such as timm's BatchNormAct2d, in place.

    Each becomes an nn.Sequential of torch.nn's normalization and the layers that it holds, if that
    gives the same results.
    """
    splits: dict[nn.Module, nn.Module] = {}
    for norm in model.modules():
        is_own = isinstance(norm, _BatchNorm) and has_own_computation(norm)
        if is_own and not has_hooks(norm) and norm.running_mean is not None:
            split = _split(norm)
            if _agree(norm, split):
                splits[norm] = split
    return replace(model, splits)


def _split(norm: Any) -> nn.Module:
    cls = next(cls for cls in type(norm).__mro__ if cls.__module__.startswith("torch.nn.modules."))
    layers = OrderedDict([("norm", become(cls, norm, _modules={})), *norm.named_children()])
    return nn.Sequential(layers).eval()


def _agree(norm: Any, split: nn.Module) -> bool:
    dimensions = {nn.BatchNorm1d: 1, nn.BatchNorm3d: 3}.get(type(split.norm), 2)  # type: ignore[arg-type]
    size = (2, norm.num_features, *[3] * dimensions)
    input = torch.randn(size, generator=torch.Generator().manual_seed(0))
    input = input.to(norm.running_mean)
    with torch.no_grad():
        try:
            return torch.equal(norm(input.clone()), split(input.clone()))
        except Exception:  # the class's own code may raise any error
            return False
