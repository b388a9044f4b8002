"""torch.nn, whose convolutions and pools take padding="same" at every stride and dilation.

    from samepad import nn  # in place of: from torch import nn

    nn.Conv2d(3, 32, kernel_size=3, stride=2, padding="same")

Conv*, ConvTranspose*, MaxPool*, AvgPool* and the lazy convolutions take the same paddings as
samepad's layers ("same", "same_lower", "causal" in nn.Conv1d, a tuple with a mode per dimension,
(before, after) pairs), with torch.nn's signatures and defaults. With padding=0 and other numbers
they give the same bits as torch.nn's layers, except where PyTorch is known to be wrong
(docs/pytorch-convolution-faults.md). Every other name is torch.nn's own. An average pool leaves the
elements that SAME adds out of its means unless count_include_pad is given.

These classes are subclasses of torch.nn's. isinstance(layer, nn.Conv2d) is also true for layers of
torch.nn's own class, which other packages make.
"""

import abc as _abc
import inspect as _inspect
import sys as _sys
from typing import Any as _Any

import torch as _torch

# Imported names begin with an underscore, because all other names of this module are torch.nn's.
from samepad import modules as _modules

__all__ = [name for name in dir(_torch.nn) if not name.startswith("_")]


class _StandIn(_abc.ABCMeta):
    """The metaclass here: instances of the torch.nn class that is replaced count as its own."""

    _torch_class: type[_torch.nn.Module]

    def __instancecheck__(cls, instance: object) -> bool:
        return cls.__subclasscheck__(type(instance))

    def __subclasscheck__(cls, subclass: type) -> bool:
        # `_torch_class` is not inherited: a user's subclass does not replace any torch.nn class.
        own = vars(cls).get("_torch_class")
        known = super().__subclasscheck__(subclass)
        return known or (own is not None and issubclass(subclass, own))


def _stand_in(name: str, ours: type[_torch.nn.Module]) -> type[_torch.nn.Module]:
    """Make a subclass of `ours` with the name and signature of torch.nn's class `name`."""
    theirs = getattr(_torch.nn, name)
    signature = _inspect.signature(theirs.__init__)

    def init(self: _torch.nn.Module, *args: _Any, **kwargs: _Any) -> None:
        _, *given = signature.bind(self, *args, **kwargs).arguments.items()
        ours.__init__(self, **{"padding": 0, **dict(given)})

    init.__name__ = "__init__"
    init.__signature__ = signature  # type: ignore[attr-defined]
    attributes: dict[str, _Any] = {
        "__doc__": ours.__doc__,
        "__init__": init,
        "__module__": __name__,
        "_torch_class": theirs,
    }
    if hasattr(ours, "cls_to_become"):
        attributes["cls_to_become"] = globals()[name.removeprefix("Lazy")]
    return _StandIn(name, (ours,), attributes)


Conv1d = _stand_in("Conv1d", _modules.SamePadConv1d)
Conv2d = _stand_in("Conv2d", _modules.SamePadConv2d)
Conv3d = _stand_in("Conv3d", _modules.SamePadConv3d)
ConvTranspose1d = _stand_in("ConvTranspose1d", _modules.SamePadConvTranspose1d)
ConvTranspose2d = _stand_in("ConvTranspose2d", _modules.SamePadConvTranspose2d)
ConvTranspose3d = _stand_in("ConvTranspose3d", _modules.SamePadConvTranspose3d)
MaxPool1d = _stand_in("MaxPool1d", _modules.SamePadMaxPool1d)
MaxPool2d = _stand_in("MaxPool2d", _modules.SamePadMaxPool2d)
MaxPool3d = _stand_in("MaxPool3d", _modules.SamePadMaxPool3d)
AvgPool1d = _stand_in("AvgPool1d", _modules.SamePadAvgPool1d)
AvgPool2d = _stand_in("AvgPool2d", _modules.SamePadAvgPool2d)
AvgPool3d = _stand_in("AvgPool3d", _modules.SamePadAvgPool3d)
LazyConv1d = _stand_in("LazyConv1d", _modules.LazySamePadConv1d)
LazyConv2d = _stand_in("LazyConv2d", _modules.LazySamePadConv2d)
LazyConv3d = _stand_in("LazyConv3d", _modules.LazySamePadConv3d)
LazyConvTranspose1d = _stand_in("LazyConvTranspose1d", _modules.LazySamePadConvTranspose1d)
LazyConvTranspose2d = _stand_in("LazyConvTranspose2d", _modules.LazySamePadConvTranspose2d)
LazyConvTranspose3d = _stand_in("LazyConvTranspose3d", _modules.LazySamePadConvTranspose3d)


# `import samepad.nn.functional as F` and `from samepad.nn.parameter import Parameter` give
# torch.nn's own modules.
for _name, _module in vars(_torch.nn).items():
    if _inspect.ismodule(_module) and _module.__name__ == f"torch.nn.{_name}":
        _sys.modules[f"{__name__}.{_name}"] = _module


def __getattr__(name: str) -> _Any:
    # `__path__` must not be forwarded: the import system would load torch.nn's files a second time.
    if name.startswith("__"):
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(_torch.nn, name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
