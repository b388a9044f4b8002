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


def replace(model: nn.Module, replacements: Mapping[nn.Module, nn.Module]) -> nn.Module:
    """`model` with layers replaced, wherever and as often as they are in it."""
    for parent in list(model.modules()):
        for name, child in parent._modules.items():
            if child is not None and child in replacements:
                parent._modules[name] = replacements[child]
    return replacements.get(model, model)
