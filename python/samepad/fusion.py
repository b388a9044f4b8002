"""Folding batch normalization into convolutions."""

import copy
from collections import Counter
from collections.abc import Iterator

from torch import fx, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.conv import _ConvNd
from torch.nn.utils import parametrize
from torch.nn.utils.fusion import fuse_conv_bn_weights

from samepad._replacing import has_own_computation, replace
from samepad.modules.padded import Padded

__all__ = ["fuse_conv_bn"]


class _Tracer(fx.Tracer):
    """Sees convolutions as layers, samepad's and their subclasses too."""

    def is_leaf_module(self, module: nn.Module, qualified_name: str) -> bool:
        layer = isinstance(module, (_ConvNd, _BatchNorm, Padded))
        return layer or super().is_leaf_module(module, qualified_name)


def _graphs(module: nn.Module) -> Iterator[tuple[nn.Module, fx.Graph]]:
    """The graph of `module`, or where it can't be traced, those of what it consists of."""
    if isinstance(module, (_ConvNd, _BatchNorm)):
        return
    try:
        yield module, _Tracer().trace(module)
    except Exception:  # whatever a model's code raises when it is given proxies
        for child in module.children():
            yield from _graphs(child)


def _pairs(model: nn.Module) -> Iterator[tuple[_ConvNd, _BatchNorm]]:
    """Convolutions whose result goes into a batch normalization and nowhere else."""
    owners = Counter(module for _, module in model.named_modules(remove_duplicate=False))
    for module, graph in _graphs(model):
        layers = {
            node: module.get_submodule(str(node.target))
            for node in graph.nodes
            if node.op == "call_module"
        }
        calls = Counter(layers.values())
        # What else reads their parameters.
        read = {
            module.get_submodule(str(node.target).rpartition(".")[0])
            for node in graph.nodes
            if node.op == "get_attr"
        }
        for node, norm in layers.items():
            before = node.args[0] if node.args else None
            if not isinstance(before, fx.Node):
                continue
            conv = layers.get(before)
            if (
                isinstance(norm, _BatchNorm)
                and isinstance(conv, _ConvNd)
                and len(before.users) == 1
                and not read.intersection((conv, norm))
                and all(calls[layer] == owners[layer] == 1 for layer in (conv, norm))
            ):
                yield conv, norm


def _can_fuse(conv: _ConvNd, norm: _BatchNorm) -> bool:
    return (
        norm.running_mean is not None
        and not (conv.transposed and conv.groups > 1)
        and not parametrize.is_parametrized(conv)
        and not parametrize.is_parametrized(norm)
        and not any(map(has_own_computation, (conv, norm)))
        # Pruning and the old spectral_norm keep the weight elsewhere, and make it in such hooks.
        and not any(
            hooks
            for layer in (conv, norm)
            for hooks in (layer._forward_pre_hooks, layer._forward_hooks)
        )
        and all("weight" in layer._parameters for layer in (conv, norm))
    )


def _fuse(conv: _ConvNd, norm: _BatchNorm) -> None:
    conv.weight, conv.bias = fuse_conv_bn_weights(
        conv.weight,
        conv.bias,
        norm.running_mean,  # type: ignore[arg-type]
        norm.running_var,  # type: ignore[arg-type]
        norm.eps,
        norm.weight,
        norm.bias,
        transpose=conv.transposed,
    )


def fuse_conv_bn(model: nn.Module) -> nn.Module:
    """Copy `model` with batch normalization folded into the convolutions before it.

    torch's own fusers know convolutions by their exact type, and miss samepad's. Folded are
    nn.BatchNorm1d, 2d and 3d whose input is the result of a convolution (samepad's, nn.Conv*d or
    nn.ConvTranspose*d) that is used once and nowhere else, as torch.fx sees it; of a model that
    torch.fx can't trace, the parts that it can. In the copy, nn.Identity takes the place of each
    folded normalization, and each such convolution has a bias:

        weight' = weight gamma / sqrt(var + eps)
        bias' = (bias - mean) gamma / sqrt(var + eps) + beta

    Left as they are: transposed convolutions with groups, layers that are parametrized or pruned,
    have hooks or a `forward` of their own (timm's BatchNormAct2d, which is an activation too),
    occur in several places or have parameters that something else reads, and normalization without
    running statistics.

    Args:
        model: A module in eval mode; it is not changed.

    Returns:
        The copy.

    Raises:
        TypeError: `model` is no module.
        ValueError: A normalization to be folded, which the message names, is in training mode,
            where it depends on the batch.

    Example:
        >>> model = nn.Sequential(samepad.SamePadConv2d(3, 8, 3, 2, bias=False), nn.BatchNorm2d(8))
        >>> samepad.fuse_conv_bn(model.eval())
        Sequential(
          (0): SamePadConv2d(3, 8, kernel_size=(3, 3), stride=(2, 2), padding=same)
          (1): Identity()
        )
    """
    if not isinstance(model, nn.Module):
        raise TypeError(f"model must be a torch.nn.Module, not {type(model).__name__}")
    model = copy.deepcopy(model)
    replacements: dict[nn.Module, nn.Module] = {}
    names = {module: name for name, module in model.named_modules()}
    for conv, norm in _pairs(model):
        if not _can_fuse(conv, norm):
            continue
        if norm.training:
            raise ValueError(
                f"fuse_conv_bn needs a model in eval mode, but {names[norm]!r} is in training mode"
            )
        _fuse(conv, norm)
        replacements[norm] = nn.Identity()
    return replace(model, replacements)
