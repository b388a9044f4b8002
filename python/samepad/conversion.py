"""Replacing layers of an existing model by samepad's."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias, overload

from torch import nn
from torch.nn.modules.lazy import LazyModuleMixin
from torch.nn.utils import parametrize

from samepad import modules
from samepad._replacing import become, replace
from samepad.modules.padded import CONVOLUTION_MODES, OTHER_MODES, Padded, kept_padding
from samepad.typing import Padding, Select

__all__ = ["ConversionReport", "LayerReport", "convert", "register_conversion"]

#: What stands in for torch.nn's classes.
_STAND_INS: dict[type[nn.Module], type[Padded]] = {
    getattr(nn, f"{family}{dimensions}d"): getattr(modules, f"SamePad{family}{dimensions}d")
    for family in ("Conv", "ConvTranspose", "MaxPool", "AvgPool")
    for dimensions in (1, 2, 3)
}


@dataclass(frozen=True)
class _Peer:
    """A class of another package that computes, or means to compute, a SAME layer."""

    packages: tuple[str, ...]
    note: str = ""
    #: Whether the SAME layer computes something else.
    differs: bool = False


_STATIC = "was padded for one input size, is now for every size"
_COUNTED = "counted its padding as zeros: means at the edges differ, and are now TensorFlow's"
_ZEROS = (
    "padded with 0 rather than -inf: differs where all of a window at the edge is negative, and is "
    "now TensorFlow's"
)
_EFFICIENTNETS = ("efficientnet_pytorch", "efficientnet_lite_pytorch")

# Known by the name of the class that defines `forward` and by its package, so that none of the
# packages has to be there.
_PEERS = {
    "Conv2dSame": _Peer(("timm",)),
    "Conv2dSameExport": _Peer(("timm",), _STATIC),
    "MaxPool2dSame": _Peer(("timm",)),
    "AvgPool2dSame": _Peer(("timm",), _COUNTED, differs=True),
    "Conv2dDynamicSamePadding": _Peer(_EFFICIENTNETS),
    "Conv2dStaticSamePadding": _Peer(_EFFICIENTNETS, _STATIC),
    "MaxPool2dDynamicSamePadding": _Peer(_EFFICIENTNETS, _ZEROS, differs=True),
    "MaxPool2dStaticSamePadding": _Peer(_EFFICIENTNETS, f"{_STATIC}; {_ZEROS}", differs=True),
}

#: Makes the layer that stands in for one of a registered class.
Conversion: TypeAlias = Callable[[Any], nn.Module]


@dataclass(frozen=True)
class _Registered:
    conversion: Conversion | None
    note: str
    differs: bool


_REGISTERED: dict[type[nn.Module], _Registered] = {}


def register_conversion(
    cls: type[nn.Module],
    conversion: Conversion | None = None,
    *,
    note: str = "",
    differs: bool = False,
) -> None:
    """Let `convert` replace the layers of a class of yours that computes a SAME layer.

    Args:
        cls: The class; its subclasses, which may compute more, are not meant.
        conversion: What makes the new layer from an old one. It may be left out where `cls` is a
            subclass of nn.Conv*d, nn.ConvTranspose*d, nn.MaxPool*d or nn.AvgPool*d that pads in
            `forward` and keeps torch.nn's attributes: then the new layer has the old one's
            parameters, under their names.
        note: What the report says about each.
        differs: Whether the new layer computes something else than the old one, as where that is
            wrong.

    Raises:
        TypeError: `cls` is no nn.Module class, or `conversion` no function; or `cls` is no subclass
            of one of those, and there is no `conversion`.

    Example:
        A layer that pads in `forward` and has a convolution of its own, `conv`. It becomes a module
        that has one too, so that the state_dict keeps its names:

        >>> def replacement(layer):
        ...     conv = samepad.convert(layer.conv, lambda *_: True)
        ...     return nn.Sequential(OrderedDict(conv=conv))
        >>> samepad.register_conversion(Conv2dSamePadding, replacement)
        >>> model = samepad.convert(model)
    """
    if not (isinstance(cls, type) and issubclass(cls, nn.Module)):
        raise TypeError(f"cls must be a subclass of torch.nn.Module, not {cls!r}")
    if conversion is None and not issubclass(cls, tuple(_STAND_INS)):
        raise TypeError(
            f"{cls.__name__} is no subclass of a convolution or pool of torch.nn: register it with "
            "a conversion, a function of a layer that makes the new one"
        )
    if conversion is not None and not callable(conversion):
        raise TypeError(f"conversion must be a function of a layer, not {conversion!r}")
    _REGISTERED[cls] = _Registered(conversion, note, differs)


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
    #: Whether the layer now computes something else than before, as where that was wrong.
    differs: bool = False


@dataclass(frozen=True)
class ConversionReport:
    """What `convert` did, layer by layer. `print` it for a table."""

    layers: tuple[LayerReport, ...]

    @property
    def replaced(self) -> tuple[LayerReport, ...]:
        """The layers that were replaced."""
        return tuple(layer for layer in self.layers if layer.after is not None)

    @property
    def left(self) -> tuple[LayerReport, ...]:
        """The convolutions and pools that were left as they are."""
        return tuple(layer for layer in self.layers if layer.after is None)

    @property
    def differing(self) -> tuple[LayerReport, ...]:
        """The layers that compute something else than before; their notes say what."""
        return tuple(layer for layer in self.layers if layer.differs)

    def __str__(self) -> str:
        """A line of totals, then a line per layer."""
        rows = [
            (
                "differs" if layer.differs else "replaced" if layer.after else "left",
                layer.name or "(the model)",
                f"{layer.before} -> {layer.after}" if layer.after else layer.before,
                layer.note,
            )
            for layer in self.layers
        ]
        widths = [max((len(row[column]) for row in rows), default=0) for column in range(3)]
        totals = f"{len(self.replaced)} layers replaced, {len(self.left)} left"
        if self.differing:
            totals += f"; {len(self.differing)} of the new ones differ from the old, see the notes"
        lines = [totals]
        for row in rows:
            cells = [cell.ljust(width) for cell, width in zip(row, widths, strict=False)]
            lines.append("  ".join(["", *cells, row[3]]).rstrip())
        return "\n".join(lines)


def _torch_class(layer: nn.Module) -> type[nn.Module]:
    return next(cls for cls in _STAND_INS if isinstance(layer, cls))


def _known(layer: nn.Module) -> _Peer | _Registered | None:
    """What is known of a class that computes a SAME layer."""
    cls = type(layer)
    if cls in _REGISTERED:
        return _REGISTERED[cls]
    peer = _PEERS.get(cls.__name__)
    return peer if peer and cls.__module__.split(".")[0] in peer.packages else None


def _obstacle(layer: Any) -> str | None:
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
    known = _known(layer)
    if isinstance(known, _Peer) or (known and known.conversion is None):
        on_top = layer.padding
        if isinstance(on_top, str) or (any(on_top) if isinstance(on_top, tuple) else on_top):
            return f"pads by {on_top} on top of its SAME padding"
    if known:
        return None
    if type(layer) not in _STAND_INS and not isinstance(layer, Padded):
        return (
            f"{type(layer).__name__} may compute more than nn.{_torch_class(layer).__name__}: see "
            "samepad.register_conversion"
        )
    return None


def _chooser(model: nn.Module, select: Select | None) -> Callable[[str, nn.Module], bool]:
    """The function that says which layers to replace."""
    if select is None:
        return lambda _, layer: getattr(layer, "padding", None) == "same" or bool(_known(layer))
    if callable(select):
        return select
    if isinstance(select, str) or not isinstance(select, Iterable):
        raise TypeError(f"select must be a function or a list of names, not {select!r}")
    names = list(select)
    layers = dict(model.named_modules(remove_duplicate=False))
    for name in names:
        if not isinstance(name, str):
            raise TypeError(f"select must be a function or a list of names, but holds {name!r}")
        if name not in layers:
            raise ValueError(f"select names {name!r}, but the model has no such layer")
        if not _is_candidate(layers[name]):
            kind = type(layers[name]).__name__
            raise ValueError(
                f"select names {name!r}, but {kind} is no convolution or pool of torch.nn"
            )
    chosen = {id(layers[name]) for name in names}
    return lambda _, layer: id(layer) in chosen


def _is_candidate(layer: nn.Module) -> bool:
    return isinstance(layer, tuple(_STAND_INS)) or type(layer) in _REGISTERED


def _stand_in(layer: Any, padding: Padding) -> nn.Module:
    """A SAME layer with the parameters, buffers, hooks and attributes of `layer`."""
    cls = type(layer) if isinstance(layer, Padded) else _STAND_INS[_torch_class(layer)]
    dimensions = cls._dimensions
    is_conv = issubclass(cls, modules.SamePadConv1d)
    kept = kept_padding(padding, dimensions, CONVOLUTION_MODES if is_conv else OTHER_MODES)
    changes: dict[str, Any] = {"padding": kept}
    # The peers keep lists where torch.nn keeps tuples, and a layer that pads.
    for name in ("kernel_size", "stride", "dilation"):
        value = getattr(layer, name, None)
        if isinstance(value, list):
            changes[name] = tuple(value)
    if not isinstance(layer, Padded):
        pads = ("static_padding", "pad")
        changes["_modules"] = {k: v for k, v in layer._modules.items() if k not in pads}
    if isinstance(layer, nn.modules.conv._ConvNd) and isinstance(kept, int):
        changes["padding"] = (kept,) * dimensions
    if isinstance(kept, str):
        # What goes with amounts of padding only.
        if hasattr(layer, "count_include_pad"):
            changes["count_include_pad"] = False
        if getattr(layer, "transposed", False) and kept != "valid":
            changes["output_padding"] = (0,) * dimensions
    return become(cls, layer, **changes)


def _replacement(layer: nn.Module, padding: Padding) -> nn.Module:
    registered = _REGISTERED.get(type(layer))
    if registered is None or registered.conversion is None:
        return _stand_in(layer, padding)
    new = registered.conversion(layer)
    if not isinstance(new, nn.Module):
        raise TypeError(
            f"the conversion of {type(layer).__name__} must return a torch.nn.Module, not {new!r}"
        )
    for name, value in vars(nn.Module()).items():
        if isinstance(value, dict) and name not in ("_parameters", "_buffers", "_modules"):
            # Hooks, in their own dictionaries, which the handles that remove them hold, unless the
            # new layer has some as well.
            given = vars(layer)[name]
            vars(new)[name] = (
                type(value)({**given, **vars(new)[name]}) if vars(new)[name] else given
            )
    return new.train(layer.training)


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
    """Replace convolutions and pools of `model` by samepad's, which share their parameters.

    The model is changed in place, as by `nn.SyncBatchNorm.convert_sync_batchnorm`; its parameters
    stay the same objects, which an optimizer may hold, under the same names, but for what a
    function given to `register_conversion` makes. `copy.deepcopy` it first to
    keep the original. A layer that is in several places is converted once and stays shared. Where
    an error is raised, nothing has been changed. Convert before parametrizing, before
    DistributedDataParallel or fully_shard, and before torch.compile.

    Args:
        model: Any module; a layer alone is replaced as a whole.
        select: Which layers to replace. By default nn.Conv*d with padding="same", the SAME layers
            of timm (Conv2dSame, MaxPool2dSame, AvgPool2dSame), EfficientNet-PyTorch and
            efficientnet-lite-pytorch (convolutions and max pools, static and dynamic), and those of
            classes given to `register_conversion`. Otherwise a function that is given (qualified
            name, layer) for each nn.Conv*d, nn.ConvTranspose*d, nn.MaxPool*d, nn.AvgPool*d and
            layer of a registered class, or the qualified names themselves: layers chosen so get
            `padding`, whatever they had; an average pool then leaves SAME's padding out of its
            means, and a transposed convolution loses its output_padding.
        padding: Padding of the new layers.
        return_report: Whether to return the report too.

    Returns:
        The model, which is another object only where the model itself is a layer to replace; with
        `return_report`, the model and a `ConversionReport` of what was replaced, what was left and
        why, and where the old layer's result was wrong and the new one's differs.

    Raises:
        TypeError: `model` is no module, or `select` is neither a function nor names, or a
            registered conversion returns no module.
        ValueError: `select` chooses a layer that is not there, is none of those, or has a
            computation of its own that a samepad layer would not do; or `padding` is no name that
            the layer knows.
        RuntimeError: `padding` fits no layer of that many dimensions.

    Example:
        >>> model, report = samepad.convert(model, return_report=True)
        >>> samepad.convert(model, lambda name, layer: isinstance(layer, nn.Conv2d))
    """
    if not isinstance(model, nn.Module):
        raise TypeError(f"model must be a torch.nn.Module, not {type(model).__name__}")
    chosen = _chooser(model, select)
    names: dict[nn.Module, list[str]] = {}
    for name, layer in model.named_modules(remove_duplicate=False):
        if _is_candidate(layer):
            names.setdefault(layer, []).append(name)
    replacements: dict[nn.Module, nn.Module] = {}
    inside: set[nn.Module] = set()  # of layers that are replaced as a whole
    layers = []
    for layer, (name, *others) in names.items():
        if layer in inside or (select is None and isinstance(layer, Padded)):
            continue
        obstacle = _obstacle(layer)
        wanted = any(chosen(each, layer) for each in (name, *others))
        if wanted and obstacle and select is not None:
            raise ValueError(f"select chooses {name!r}, but it can't be replaced: {obstacle}")
        before = type(layer).__name__
        if wanted and not obstacle:
            new = replacements[layer] = _replacement(layer, padding)
            inside.update(layer.modules())
            known = _known(layer)
            about = (known.note, known.differs) if known else ("", False)
            layers.append(LayerReport(name, before, type(new).__name__, *about))
        else:
            kept = getattr(layer, "padding", None)
            unwanted = (
                "was not selected" if select is not None else f"padding={kept!r} is not 'same'"
            )
            layers.append(LayerReport(name, before, None, obstacle or unwanted))

    # Every new layer exists by now, so nothing can fail half-way.
    model = replace(model, replacements)
    return (model, ConversionReport(tuple(layers))) if return_report else model
