"""Replacing the convolutions of an existing model by samepad's."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Literal, overload

from torch import nn
from torch.nn.modules.conv import _ConvNd, _ConvTransposeNd
from torch.nn.modules.lazy import LazyModuleMixin
from torch.nn.utils import parametrize

from samepad.modules.conv import SamePadConv1d, SamePadConv2d, SamePadConv3d, _SamePadConvNd
from samepad.typing import Padding, Select

__all__ = ["ConversionReport", "LayerReport", "convert"]

_TORCH_CLASSES: dict[type[nn.Module], type[_SamePadConvNd]] = {
    nn.Conv1d: SamePadConv1d,
    nn.Conv2d: SamePadConv2d,
    nn.Conv3d: SamePadConv3d,
}

_STATIC = "was padded for one input size, is now for every size"


@dataclass(frozen=True)
class _Peer:
    """A class of another package that computes a SAME convolution."""

    packages: tuple[str, ...]
    note: str = ""


# Known by the name of the class that defines `forward` and by its package, so that none of the
# packages has to be there.
_PEERS = {
    "Conv2dSame": _Peer(("timm",)),
    "Conv2dSameExport": _Peer(("timm",), _STATIC),
    "Conv2dDynamicSamePadding": _Peer(("efficientnet_pytorch", "efficientnet_lite_pytorch")),
    "Conv2dStaticSamePadding": _Peer(
        ("efficientnet_pytorch", "efficientnet_lite_pytorch"), _STATIC
    ),
}


@dataclass(frozen=True)
class LayerReport:
    """What `convert` did with one layer."""

    #: Qualified name, as in `model.named_modules()`; "" is the model itself.
    name: str
    #: Class before.
    before: str
    #: Class now; None where the layer was left as it is.
    after: str | None
    #: What to know about the replacement, or why the layer was left.
    note: str


@dataclass(frozen=True)
class ConversionReport:
    """What `convert` did, convolution by convolution. `print` it for a table."""

    layers: tuple[LayerReport, ...]

    @property
    def replaced(self) -> tuple[LayerReport, ...]:
        """The layers that were replaced."""
        return tuple(layer for layer in self.layers if layer.after is not None)

    @property
    def left(self) -> tuple[LayerReport, ...]:
        """The convolutions that were left as they are."""
        return tuple(layer for layer in self.layers if layer.after is None)

    def __str__(self) -> str:
        """A line of totals, then a line per layer."""
        rows = [
            (
                "replaced" if layer.after else "left",
                layer.name or "(the model)",
                f"{layer.before} -> {layer.after}" if layer.after else layer.before,
                layer.note,
            )
            for layer in self.layers
        ]
        widths = [max((len(row[column]) for row in rows), default=0) for column in range(3)]
        lines = [f"{len(self.replaced)} convolutions replaced, {len(self.left)} left"]
        for row in rows:
            cells = [cell.ljust(width) for cell, width in zip(row, widths, strict=False)]
            lines.append("  ".join(["", *cells, row[3]]).rstrip())
        return "\n".join(lines)


def _torch_class(layer: nn.Module) -> type[nn.Module]:
    return next(cls for cls in _TORCH_CLASSES if isinstance(layer, cls))


def _peer(layer: nn.Module) -> _Peer | None:
    cls = type(layer)
    peer = _PEERS.get(cls.__name__)
    return peer if peer and cls.__module__.split(".")[0] in peer.packages else None


def _obstacle(layer: _ConvNd) -> str | None:
    """Why the layer can't be replaced by one that does all it does but for the padding."""
    if isinstance(layer, LazyModuleMixin):
        return "is lazy: run the model once first"
    if parametrize.is_parametrized(layer):
        return "is parametrized: convert first, parametrize then"
    if "forward" in vars(layer):
        return "has a forward of its own"
    if any(
        getattr(hook, "with_module", False) for hook in layer._load_state_dict_pre_hooks.values()
    ):
        return "has a load_state_dict hook that refers to it"
    if _peer(layer):
        if isinstance(layer.padding, str) or any(layer.padding):
            return f"pads by {layer.padding} on top of its SAME padding"
        return None
    if type(layer) not in _TORCH_CLASSES and not isinstance(layer, _SamePadConvNd):
        return f"{type(layer).__name__} may compute more than nn.{_torch_class(layer).__name__}"
    return None


def _chooser(model: nn.Module, select: Select | None) -> Callable[[str, _ConvNd], bool]:
    """The function that says which convolutions to replace."""
    if select is None:
        return lambda _, layer: layer.padding == "same" or _peer(layer) is not None
    if callable(select):
        return select
    if isinstance(select, str) or not isinstance(select, Iterable):
        raise TypeError(f"select must be a function or a list of names, not {select!r}")
    names = list(select)
    modules = dict(model.named_modules(remove_duplicate=False))
    for name in names:
        if not isinstance(name, str):
            raise TypeError(f"select must be a function or a list of names, but holds {name!r}")
        if name not in modules:
            raise ValueError(f"select names {name!r}, but the model has no such layer")
        if not isinstance(modules[name], tuple(_TORCH_CLASSES)):
            kind = type(modules[name]).__name__
            raise ValueError(f"select names {name!r}, but {kind} is no nn.Conv1d, 2d or 3d")
    chosen = {id(modules[name]) for name in names}
    return lambda _, layer: id(layer) in chosen


def _replacement(layer: _ConvNd, padding: Padding) -> _SamePadConvNd:
    """A SAME layer with the parameters, buffers, hooks and mode of `layer`."""
    new = _TORCH_CLASSES[_torch_class(layer)](
        layer.in_channels,
        layer.out_channels,
        layer.kernel_size,
        tuple(layer.stride),
        padding,
        tuple(layer.dilation),
        layer.groups,
        bias=layer.bias is not None,
        padding_mode=layer.padding_mode,
        device="meta",
    )
    # What the constructor made stays; what nn.Module and the layer's users added moves along.
    # Hooks stay in their own dictionaries, which the handles that remove them hold.
    inherited = vars(nn.Module()).keys() | (vars(layer).keys() - vars(new).keys())
    for key in inherited - {"_modules"}:
        value = vars(layer)[key]
        new.__dict__[key] = value.copy() if key in ("_parameters", "_buffers") else value
    for name, child in layer._modules.items():
        if name not in ("static_padding", "pad"):  # the peers' pads
            new._modules[name] = child
    return new


@overload
def convert(
    model: nn.Module,
    select: Select | None = None,
    *,
    padding: Padding = "same",
    return_report: Literal[False] = False,
) -> nn.Module: ...


@overload
def convert(
    model: nn.Module,
    select: Select | None = None,
    *,
    padding: Padding = "same",
    return_report: Literal[True],
) -> tuple[nn.Module, ConversionReport]: ...


@overload
def convert(
    model: nn.Module,
    select: Select | None = None,
    *,
    padding: Padding = "same",
    return_report: bool,
) -> nn.Module | tuple[nn.Module, ConversionReport]: ...


def convert(
    model: nn.Module,
    select: Select | None = None,
    *,
    padding: Padding = "same",
    return_report: bool = False,
) -> nn.Module | tuple[nn.Module, ConversionReport]:
    """Replace convolutions of `model` by samepad's, which share their parameters.

    The model is changed in place, as by `nn.SyncBatchNorm.convert_sync_batchnorm`; its parameters,
    and so its optimizer and its state_dict, stay the same objects. `copy.deepcopy` it first to
    keep the original. Where an error is raised, nothing has been changed. Convert before
    parametrizing, before DistributedDataParallel or fully_shard, and before torch.compile.

    Args:
        model: Any module; a convolution alone is replaced as a whole.
        select: Which convolutions to replace. By default nn.Conv1d, nn.Conv2d and nn.Conv3d with
            padding="same", and the SAME convolutions of timm (Conv2dSame), EfficientNet-PyTorch
            and efficientnet-lite-pytorch (static and dynamic). Otherwise a function that is given
            (qualified name, layer) for each convolution, or the qualified names themselves: layers
            chosen so get `padding`, whatever they had.
        padding: Padding of the new layers.
        return_report: Whether to return the report too.

    Returns:
        The model, which is another object only where the model itself is a convolution; with
        `return_report`, the model and a `ConversionReport` of what was replaced, what was left
        and why.

    Raises:
        TypeError: `model` is no module, or `select` is neither a function nor names.
        ValueError: `select` chooses a layer that is not there, is no convolution, or has a
            computation of its own that a samepad layer would not do; or `padding` is no known
            name.
        RuntimeError: `padding` fits no layer of that many dimensions.

    Example:
        >>> model, report = samepad.convert(model, return_report=True)
        >>> samepad.convert(model, lambda name, layer: layer.kernel_size != (1, 1))
    """
    if not isinstance(model, nn.Module):
        raise TypeError(f"model must be a torch.nn.Module, not {type(model).__name__}")
    chosen = _chooser(model, select)
    names: dict[_ConvNd, list[str]] = {}
    for name, layer in model.named_modules(remove_duplicate=False):
        if isinstance(layer, _ConvNd):
            names.setdefault(layer, []).append(name)
    replacements: dict[nn.Module, nn.Module] = {}
    layers = []
    for layer, (name, *others) in names.items():
        before = type(layer).__name__
        if isinstance(layer, _ConvTransposeNd):
            layers.append(LayerReport(name, before, None, "is transposed"))
            continue
        if select is None and isinstance(layer, _SamePadConvNd):
            continue
        obstacle = _obstacle(layer)
        wanted = any(chosen(each, layer) for each in (name, *others))
        if wanted and obstacle and select is not None:
            raise ValueError(f"select chooses {name!r}, but it can't be replaced: {obstacle}")
        if wanted and not obstacle:
            new = replacements[layer] = _replacement(layer, padding)
            peer = _peer(layer)
            layers.append(LayerReport(name, before, type(new).__name__, peer.note if peer else ""))
        else:
            unwanted = "was not selected" if select else f"padding={layer.padding!r} is not 'same'"
            layers.append(LayerReport(name, before, None, obstacle or unwanted))

    # Every new layer exists by now, so nothing below can fail half-way.
    for parent in list(model.modules()):
        for key, child in parent._modules.items():
            if child in replacements:
                parent._modules[key] = replacements[child]
    model = replacements.get(model, model)
    return (model, ConversionReport(tuple(layers))) if return_report else model
