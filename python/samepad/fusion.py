"""Folds batch normalization into convolutions."""

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
    """Traces convolutions as single layers, including samepad's and their subclasses."""

    def is_leaf_module(self, module: nn.Module, qualified_name: str) -> bool:
        layer = isinstance(module, (_ConvNd, _BatchNorm, Padded))
        return layer or super().is_leaf_module(module, qualified_name)


def _graphs(module: nn.Module) -> Iterator[tuple[nn.Module, fx.Graph]]:
    """Yield the graph of `module` or, if it can't be traced, the graphs of its children."""
    if isinstance(module, (_ConvNd, _BatchNorm)):
        return
    try:
        yield module, _Tracer().trace(module)
    except Exception:  # a model's code may raise any error when it is given proxies
        for child in module.children():
            yield from _graphs(child)


def _pairs(model: nn.Module) -> Iterator[tuple[_ConvNd, _BatchNorm]]:
    """Yield convolutions whose result is used by a batch normalization and nowhere else."""
    owners = Counter(module for _, module in model.named_modules(remove_duplicate=False))
    for module, graph in _graphs(model):
        layers = {
            node: module.get_submodule(str(node.target))
            for node in graph.nodes
            if node.op == "call_module"
        }
        calls = Counter(layers.values())
        # Layers whose parameters the graph also reads directly.
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
        # Pruning and the old spectral_norm compute the weight from another parameter in such hooks.
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

    torch's own fusers recognize convolutions by their exact type, and so miss samepad's. This
    function folds each nn.BatchNorm1d, 2d or 3d whose input is the result of a convolution
    (samepad's, nn.Conv*d or nn.ConvTranspose*d) that is called once and whose result is used
    nowhere else, as far as torch.fx can trace that; if it can't trace the whole model, then in the
    parts that it can trace. In the copy, nn.Identity replaces each folded normalization, and the
    convolution before it has a bias:

        weight' = weight gamma / sqrt(var + eps)
        bias' = (bias - mean) gamma / sqrt(var + eps) + beta

    These are left as they are: transposed convolutions with groups; layers that are parametrized or
    pruned, have hooks, or have a `forward` of their own (such as timm's BatchNormAct2d, which also
    computes an activation); layers that occur in several places or whose parameters something else
    reads; and normalization without running statistics.

    Args:
        model: A module in eval mode; it is not changed.

    Returns:
        The copy.

    Raises:
        TypeError: `model` is not a module.
        ValueError: A normalization to be folded is in training mode, where its result depends on
            the batch; the message names it.

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
