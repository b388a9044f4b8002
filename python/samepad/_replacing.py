"""Putting layers of a model into the place of others."""

from collections.abc import Mapping
from typing import Any, TypeVar

from torch import nn

Layer = TypeVar("Layer", bound=nn.Module)


def become(cls: type[Layer], layer: nn.Module, **changes: Any) -> Layer:
    """A layer of class `cls` with everything that `layer` has, but for the attributes in `changes`.

    Parameters, buffers, hooks and what users have added are the same objects as in `layer`, which
    is to be thrown away. `cls` has to keep the same attributes as the class of `layer`, as
    samepad's layers and torch.nn's do.
    """
    new = cls.__new__(cls)
    new.__dict__ = {
        # Hooks stay in their own dictionaries, which the handles that remove them hold.
        key: value.copy() if key in ("_parameters", "_buffers", "_modules") else value
        for key, value in {**vars(layer), **changes}.items()
    }
    return new


def has_own_computation(layer: nn.Module) -> bool:
    """Whether a layer computes something else than samepad's or torch.nn's class that it is of.

    Its class may change the constructor, as samepad.nn's do.
    """
    known = next(
        cls
        for cls in type(layer).__mro__
        if cls.__module__.startswith(("samepad.modules.", "torch.nn.modules."))
    )
    return any(
        name in vars(layer) or getattr(type(layer), name, None) is not getattr(known, name, None)
        for name in ("forward", "_conv_forward")
    )


def replace(model: nn.Module, replacements: Mapping[nn.Module, nn.Module]) -> nn.Module:
    """`model` with layers replaced, wherever and as often as they are in it or in new ones."""
    for parent in [*model.modules(), *replacements.values()]:
        for name, child in parent._modules.items():
            if child is not None and child in replacements:
                parent._modules[name] = replacements[child]
    return replacements.get(model, model)
