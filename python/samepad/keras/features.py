"""Finds the order of flattened features in a module that flattens as PyTorch does.

Keras flattens an image in the order (H, W, C), and a module that has its channels first in the
order (C, H, W). The weights of the layers that follow have to be reordered, up to the first layer
that mixes all features.
"""

from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from samepad._building import UnsupportedError
from samepad.keras.errors import described, refusal
from samepad.keras.functions import SHAPED
from samepad.keras.graph import (
    arguments_of,
    functional,
    has_channels_last,
    inputs_of,
    nodes_in_order,
    wants_channels_first,
)
from samepad.keras.layers import is_model, rule_of
from samepad.keras.structures import flat, is_custom
from samepad.keras.tracing import may_flatten, traced
from samepad.keras.weights import WEIGHTS

#: Layers that mix all features, so that the order of their outputs does not depend on the inputs'.
_MIXING = ("Dense", "LSTM", "GRU", "SimpleRNN", "Bidirectional")

#: Layers that compute each feature separately, so that the order stays the same.
_EACH_ALONE = ("BatchNormalization", "LayerNormalization", "PReLU")

#: Functions whose outputs have their dimensions in Keras's order. GetItem is none of them, because
#: a part of an image is an image.
_AS_KERAS = SHAPED.keys() - {"GetItem"}


@dataclass(frozen=True)
class Features:
    """How the module holds one of Keras's tensors."""

    #: Keras's shape, without the batch.
    shape: tuple[int | None, ...]
    #: Whether the module has (N, C, ...) where Keras has (N, ..., C).
    channels_first: bool = False
    #: For each feature of the module, in the last dimension, its position in Keras; None if the
    #: order is the same.
    order: Tensor | None = None

    def flattened(self) -> "Features":
        """Return the features after flattening all dimensions but the batch."""
        sizes = [size for size in self.shape if size is not None]
        if len(sizes) < len(self.shape):
            return Features((None,))
        indices = torch.arange(torch.Size(sizes).numel()).reshape(sizes)
        if self.order is not None:
            indices = indices[..., self.order]
        if self.channels_first:
            indices = indices.movedim(-1, 0)
        order = indices.reshape(-1)
        moved = not torch.equal(order, torch.arange(order.numel()))
        return Features((order.numel(),), order=order if moved else None)


def _same(left: Tensor | None, right: Tensor | None) -> bool:
    return left is right or (left is not None and right is not None and torch.equal(left, right))


def _concatenated(given: list[Features]) -> Tensor | None:
    """Return the order of the concatenated features."""
    if all(value.order is None for value in given):
        return None
    parts, start = [], 0
    for value in given:
        size = value.shape[-1] or 0
        parts.append(start + (torch.arange(size) if value.order is None else value.order))
        start += size
    return torch.cat(parts)


class Tracer:
    """Follows a model's graph, and finds the order of the features that each layer takes."""

    def __init__(self) -> None:
        """Start without knowing any layer."""
        #: The order of the features that a layer takes, by the layer's id.
        self.orders: dict[int, Tensor | None] = {}

    def model(self, model: Any, inputs: list[Features] | None = None) -> list[Features]:
        """Return how the outputs of a model are held.

        Raises:
            UnsupportedError: The weights of a layer would have to be in two orders at once, or an
                order cannot be followed.
        """
        if is_custom(model):
            return self.custom(model) or []
        graph = functional(model)
        nodes = nodes_in_order(graph)
        if inputs is None:
            inputs = self.taken(model, graph.inputs, nodes)
        return self.follow(nodes, graph.inputs, graph.outputs, inputs)

    def taken(self, model: Any, tensors: list[Any], nodes: list[Any]) -> list[Features]:
        """Return how a model's inputs are held."""
        last = has_channels_last(model)
        return [
            Features(tuple(tensor.shape[1:]), last and wants_channels_first(tensor, nodes))
            for tensor in tensors
        ]

    def follow(
        self, nodes: list[Any], taken: list[Any], returned: list[Any], inputs: list[Features]
    ) -> list[Features]:
        """Follow calls from tensors `taken`, held as `inputs`; return how `returned` are held."""
        held = dict(zip(map(id, taken), inputs, strict=True))
        for node in nodes:
            operation, items = node.operation, arguments_of(node)
            outputs = self.custom(operation, node, held) if is_custom(operation) else None
            if outputs is None:
                if is_model(operation) and not is_custom(operation):
                    items = inputs_of(functional(operation), items[0])
                given = [held[id(item)] for item in flat(items) if id(item) in held]
                shapes = [tuple(tensor.shape[1:]) for tensor in node.outputs]
                outputs = self.operation(operation, given, shapes)
            held.update(zip(map(id, node.outputs), outputs, strict=True))
        return [held[id(tensor)] for tensor in returned]

    def custom(
        self, layer: Any, node: Any = None, held: dict[int, Features] | None = None
    ) -> list[Features] | None:
        """Return how the outputs of a custom layer or model are held.

        Args:
            layer: The custom layer or model, whose code calls the layers that it holds.
            node: One of its calls; None for a call with the shapes for which it was built.
            held: With `node`, how the tensors of the graph are held, by their ids.

        Returns:
            None if the code cannot be followed, but does not flatten anything.

        Raises:
            UnsupportedError: The code cannot be followed, and may flatten something.
        """
        try:
            trace = traced(layer, node.arguments if node else None)
        except Exception as error:  # any kind: TensorFlow's functions take no symbolic tensors
            reordered = [value for value in (held or {}).values() if value.order is not None]
            if reordered or may_flatten(layer):
                reason = str(error).strip().partition("\n")[0]
                raise UnsupportedError(
                    f"the code of {described(layer)} cannot be followed ({reason})"
                ) from error
            return None
        taken = [tensor for _, tensor in trace.inputs]
        if held is None:
            inputs = self.taken(layer, taken, trace.nodes)
        else:
            inputs = [held[id(tensor)] for tensor, _ in trace.inputs]
        return self.follow(trace.nodes, taken, trace.outputs, inputs)

    def operation(
        self, operation: Any, given: list[Features], shapes: list[tuple[int | None, ...]]
    ) -> list[Features]:
        """Return how the outputs of an operation, which have these shapes, are held."""
        kind = type(operation).__name__
        if is_model(operation) and not is_custom(operation):
            return self.model(operation, given)
        if kind == "TimeDistributed":
            steps = given[0].shape[0]
            one = replace(given[0], shape=given[0].shape[1:])
            outputs = self.operation(operation.layer, [one], [shape[1:] for shape in shapes])
            return [replace(output, shape=(steps, *output.shape)) for output in outputs]
        if kind == "Flatten" or (kind == "Reshape" and len(shapes[0]) == 1):
            value = given[0]
            if getattr(operation, "data_format", None) == "channels_first" and value.shape:
                value = Features((*value.shape[1:], value.shape[0]), channels_first=True)
            return [value.flattened()]
        first = self.channels_first(operation, given)
        order = self.order(operation, given, shapes)
        return [
            Features(shape, first and len(shape) == len(given[0].shape), order) for shape in shapes
        ]

    def channels_first(self, operation: Any, given: list[Features]) -> bool:
        """Whether an operation takes channels first, and returns so for outputs of that rank."""
        if type(operation).__name__ in _AS_KERAS:
            return False
        try:
            layout = rule_of(operation).channels_first(operation, len(given[0].shape) + 1)
        except UnsupportedError:
            layout = None
        held = next((value.channels_first for value in given if len(value.shape) > 1), False)
        return held if layout is None else layout

    def order(
        self, operation: Any, given: list[Features], shapes: list[tuple[int | None, ...]]
    ) -> Tensor | None:
        """Return the order of an operation's outputs, and note the order of its inputs."""
        kind = type(operation).__name__
        rank = len(given[0].shape) + 1
        if kind == "Concatenate" and operation.axis % rank == rank - 1:
            return _concatenated(given)
        order = given[0].order
        if not all(_same(order, value.order) for value in given):
            raise UnsupportedError(refusal(operation, "its inputs' features are in several orders"))
        if not _same(order, self.orders.get(id(operation), order)):
            raise UnsupportedError(refusal(operation, "called on features in several orders"))
        self.orders[id(operation)] = order
        if kind in _MIXING or order is None:
            return None
        reordered = kind in _EACH_ALONE or kind not in (*WEIGHTS, "Permute", "Reshape")
        if not reordered or any(shape[-1:] != given[0].shape[-1:] for shape in shapes):
            raise UnsupportedError(refusal(operation, "takes features that were flattened"))
        return order


def reordered(layer: Any, state: dict[str, Tensor], order: Tensor) -> dict[str, Tensor]:
    """Reorder a state_dict of a layer's counterpart that takes features in this order."""
    everywhere = type(layer).__name__ in _EACH_ALONE
    return {
        name: value[..., order]
        if value.shape[-1] > 1 and (everywhere or (name.startswith("weight") and "_hh" not in name))
        else value
        for name, value in state.items()
    }
