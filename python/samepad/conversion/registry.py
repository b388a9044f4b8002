"""Classes that users have registered."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

from torch import nn

from samepad.conversion.stand_ins import STAND_INS

#: Makes the layer that stands in for one of a registered class.
Conversion: TypeAlias = Callable[[Any], nn.Module]


@dataclass(frozen=True)
class Registered:
    """What `register_conversion` was told about a class."""

    conversion: Conversion | None
    note: str
    differs: bool


REGISTERED: dict[type[nn.Module], Registered] = {}


def registered(layer: nn.Module) -> Registered | None:
    """What is registered for the class of `layer`."""
    return REGISTERED.get(type(layer))


def register_conversion(
    cls: type[nn.Module],
    conversion: Conversion | None = None,
    *,
    note: str = "",
    differs: bool = False,
) -> None:
    """Let `convert` replace the layers of a class of yours that computes a SAME layer.

    Unless `differs`, an old layer and its new one are compared on small inputs, if the old one can
    be run on its own; it is left where they differ.

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
    if conversion is None and not issubclass(cls, tuple(STAND_INS)):
        raise TypeError(
            f"{cls.__name__} is no subclass of a convolution or pool of torch.nn: register it with "
            "a conversion, a function of a layer that makes the new one"
        )
    if conversion is not None and not callable(conversion):
        raise TypeError(f"conversion must be a function of a layer, not {conversion!r}")
    REGISTERED[cls] = Registered(conversion, note, differs)
