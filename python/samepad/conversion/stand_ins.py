"""Makes the layer of samepad that replaces one of torch.nn or of a class derived from it."""

from typing import Any, TypeVar

from torch import nn
from torch.nn.modules.conv import _ConvNd
from torch.nn.modules.lazy import LazyModuleMixin
from torch.nn.utils import parametrize

from samepad import modules
from samepad._arguments import each_mode
from samepad._replacing import become
from samepad.modules.conv import _SamePadConvNd
from samepad.modules.padded import Padded, kept_padding
from samepad.typing import Padding

#: The replacements of torch.nn's classes.
STAND_INS: dict[type[nn.Module], type[Padded]] = {
    getattr(nn, f"{family}{dimensions}d"): getattr(modules, f"SamePad{family}{dimensions}d")
    for family in ("Conv", "ConvTranspose", "MaxPool", "AvgPool")
    for dimensions in (1, 2, 3)
}

Layer = TypeVar("Layer", bound=Padded)


def is_layer(module: nn.Module) -> bool:
    """Whether a module is a convolution or a pool, of torch.nn or a class derived from it."""
    return isinstance(module, (*STAND_INS, _ConvNd))


def torch_class(layer: nn.Module) -> type[nn.Module]:
    """Return torch.nn's class of a convolution or pool, even if it derives only from _ConvNd."""
    for cls in STAND_INS:
        if isinstance(layer, cls):
            return cls
    assert isinstance(layer, _ConvNd)
    family = "ConvTranspose" if layer.transposed else "Conv"
    return getattr(nn, f"{family}{len(layer.kernel_size)}d")  # type: ignore[no-any-return]


def is_padding_alone(name: str, module: nn.Module) -> bool:
    """Whether a child called `name` only pads, as far as its names and contents tell."""
    return (
        "pad" in f"{name} {type(module).__name__}".lower()
        and not is_layer(module)
        and next(module.parameters(), None) is None
        and next(module.children(), None) is None
    )


def obstacle(layer: nn.Module) -> str | None:
    """Return why a layer can't be replaced by one of another class, or None if it can."""
    if isinstance(layer, LazyModuleMixin):
        return "is lazy: run the model once first"
    if parametrize.is_parametrized(layer):
        return "is parametrized: convert first, parametrize then"
    if "forward" in vars(layer) or "_conv_forward" in vars(layer):
        return "has a forward of its own"
    if any(
        getattr(hook, "with_module", False) for hook in layer._load_state_dict_pre_hooks.values()
    ):
        return "has a load_state_dict hook that refers to it"
    return None


def with_padding(cls: type[Layer], layer: Any, padding: Padding) -> Layer:
    """Make a layer of class `cls` with the parameters, hooks and attributes of `layer`."""
    dimensions = cls._dimensions
    kept = kept_padding(padding, dimensions, is_convolution=issubclass(cls, _SamePadConvNd))
    changes: dict[str, Any] = {"padding": kept}
    # Classes of other packages may keep lists or a single int where torch.nn keeps tuples.
    for name in ("kernel_size", "stride", "dilation"):
        value = getattr(layer, name, None)
        if isinstance(value, list):
            changes[name] = tuple(value)
        elif isinstance(value, int) and isinstance(layer, _ConvNd):
            changes[name] = (value,) * dimensions
    if not isinstance(layer, Padded):
        changes["_modules"] = {
            name: module
            for name, module in layer._modules.items()
            if module is None or not is_padding_alone(name, module)
        }
    if isinstance(layer, _ConvNd) and isinstance(kept, int):
        changes["padding"] = (kept,) * dimensions
    if modes := each_mode(kept, dimensions):
        # These arguments apply only to padding given as amounts.
        if hasattr(layer, "count_include_pad"):
            changes["count_include_pad"] = False
        if getattr(layer, "transposed", False) and any(mode != "valid" for mode in modes):
            given = layer.output_padding
            extras = given if isinstance(given, (tuple, list)) else (given,) * dimensions
            changes["output_padding"] = tuple(
                extra if mode == "valid" else 0 for mode, extra in zip(modes, extras, strict=True)
            )
    return become(cls, layer, **changes)


def stand_in(layer: nn.Module, padding: Padding) -> nn.Module:
    """Make the layer of samepad that does the same as `layer`, but with `padding`."""
    cls = type(layer) if isinstance(layer, Padded) else STAND_INS[torch_class(layer)]
    return with_padding(cls, layer, padding)
