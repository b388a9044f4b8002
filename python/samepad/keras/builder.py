"""The graph that is being made, and in which layout it holds each of Keras's tensors."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import fx, nn

from samepad._names import identifier
from samepad.keras.weights import load_state, mismatch, state_of


class UnsupportedError(Exception):
    """Why a layer has no counterpart."""


@dataclass(frozen=True)
class Value:
    """One of Keras's tensors."""

    node: fx.Node
    rank: int
    #: Whether it is held as (N, C, ...) where Keras has (N, ..., C).
    channels_first: bool = False


class Builder:
    """Makes a torch.fx.GraphModule, step by step."""

    def __init__(self) -> None:
        """An empty graph."""
        self.root = nn.Module()
        self.graph = fx.Graph()
        #: The layer of Keras that is being said.
        self.layer: Any = None
        #: Names of submodules, by the layer and what the layer calls them.
        self.modules: dict[tuple[int, str], str] = {}

    def name(self, name: str) -> str:
        """A name for a module or a buffer."""
        return identifier(name, {*self.root._modules, *self.root._buffers})

    def input(self, name: str, rank: int, channels_first: bool) -> Value:
        """The next input."""
        taken = {node.name for node in self.graph.nodes}
        node = self.graph.placeholder(identifier(name, taken))
        return Value(node, rank, channels_first and rank > 2)

    def module(self, name: str, module: nn.Module, *inputs: fx.Node) -> fx.Node:
        """Call a submodule: of a layer that has been called before, the one made then."""
        key = (id(self.layer), name)
        if key not in self.modules:
            self.modules[key] = self.name(name)
            self.root.add_module(self.modules[key], module)
        return self.graph.call_module(self.modules[key], inputs)

    def constant(self, name: str, tensor: torch.Tensor) -> fx.Node:
        """A tensor that goes with the module, but is no parameter."""
        name = self.name(name)
        self.root.register_buffer(name, tensor)
        return self.graph.get_attr(name)

    def call(self, function: Callable[..., Any], *args: Any, **kwargs: Any) -> fx.Node:
        """Call a function."""
        return self.graph.call_function(function, args, kwargs)

    def method(self, name: str, *args: Any) -> fx.Node:
        """Call a method of the first argument."""
        return self.graph.call_method(name, args)

    def held(self, value: Value, channels_first: bool) -> Value:
        """The value in a layout: its own, or a permuted view."""
        if value.rank < 3 or value.channels_first == channels_first:
            return value
        spatial = range(1, value.rank - 1)
        order = (
            (0, value.rank - 1, *spatial) if channels_first else (0, *(i + 1 for i in spatial), 1)
        )
        return Value(self.permute(value.node, order), value.rank, channels_first)

    def permute(self, node: fx.Node, order: Sequence[int]) -> fx.Node:
        """The dimensions in another order; of a permuted view, the tensor's own."""
        if node.op == "call_method" and node.target == "permute":
            node, *before = node.args  # type: ignore[assignment]
            order = [before[position] for position in order]  # type: ignore[misc]
        if list(order) == list(range(len(order))):
            return node
        return self.method("permute", node, *order)

    def alike(self, values: Sequence[Value]) -> list[Value]:
        """The values in one layout, that of the first that has more than one."""
        first = next((v.channels_first for v in values if v.rank > 2), False)
        return [self.held(value, first) for value in values]

    def finish(self, outputs: Any, name: str) -> fx.GraphModule:
        """The module that returns the nodes `outputs`, a structure of them."""
        self.graph.output(outputs)
        module = fx.GraphModule(self.root, self.graph, class_name=identifier(name))
        module.graph.eliminate_dead_code()
        module.graph.lint()
        module.recompile()
        return module


def axis(value: Value, keras_axis: int) -> int:
    """Where the axis that Keras means is in the value."""
    position = keras_axis % value.rank
    if not value.channels_first or position == 0:
        return position
    return 1 if position == value.rank - 1 else position + 1


def with_weights(module: nn.Module, layer: Any) -> nn.Module:
    """The module with the weights of Keras's layer."""
    if getattr(layer, "quantization_mode", None):
        raise UnsupportedError(f"quantized to {layer.quantization_mode}")
    state = state_of(layer)
    problem = mismatch(module, state)
    if problem:
        raise UnsupportedError(f"its counterpart {type(module).__name__} {problem}")
    if any(tensor.dtype == torch.float64 for tensor in state.values()):
        module.double()
    load_state(module, state)
    return module
