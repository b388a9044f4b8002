"""The registry of classes whose conversion users have defined."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

from torch import nn

from samepad.conversion.stand_ins import STAND_INS

#: Makes the replacement for a layer of a registered class.
Conversion: TypeAlias = Callable[[Any], nn.Module]


@dataclass(frozen=True)
class Registered:
    """What `register_conversion` was told about a class."""

    conversion: Conversion | None
    note: str
    differs: bool


REGISTERED: dict[type[nn.Module], Registered] = {}


def registered(layer: nn.Module) -> Registered | None:
    """Return what is registered for the class of `layer`, if anything."""
    return REGISTERED.get(type(layer))


def register_conversion(
    cls: type[nn.Module],
    conversion: Conversion | None = None,
    *,
    note: str = "",
    differs: bool = False,
) -> None:
    """Let `convert` replace the layers of your own class, which are padded as SAME.

    Unless `differs`, the old layer and the new one are compared on small inputs, if the old one can
    be run on its own; if they differ, the old one is left in place.

    Args:
        cls: The class. Its subclasses are not included, because they may compute more.
        conversion: A function that makes the new layer from an old one. It may be left out if `cls`
            is a subclass of nn.Conv*d, nn.ConvTranspose*d, nn.MaxPool*d or nn.AvgPool*d that pads
            in `forward` and keeps torch.nn's attributes: then the new layer has the old one's
            parameters, under the same names.
        note: What the report says about each layer of the class.
        differs: Whether the new layer's results may differ from the old one's, for example because
            the old one is wrong.

    Raises:
        TypeError: `cls` is not a subclass of nn.Module, `conversion` is not a function, or it is
            left out for a class that is not derived from one of those above.

    Example:
        A layer that pads in `forward` and holds a convolution, `conv`. It becomes a module that
        holds one too, so that the names in the state_dict stay the same:

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
