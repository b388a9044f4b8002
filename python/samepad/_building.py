"""Builds torch.fx.GraphModules; shared by the importers from Keras and ONNX."""

from collections.abc import Iterable
from typing import Any

from torch import fx, nn

from samepad._names import Names, identifier


class UnsupportedError(Exception):
    """A layer or a node has no counterpart in PyTorch; the message says why."""


def one(values: Iterable[Any]) -> Any:
    """Return one number if all are equal, as torch.nn's constructors allow, else a tuple."""
    items = tuple(values)
    return items[0] if len(set(items)) == 1 else items


class GraphBuilder:
    """A graph under construction, and the module that holds its layers and buffers."""

    def __init__(self) -> None:
        """Start with an empty graph."""
        self.root = nn.Module()
        self.graph = fx.Graph()
        #: Chooses a unique name for each submodule and buffer of the root.
        self.name = Names()
        self._input_name = Names()

    def placeholder(self, wanted: str) -> fx.Node:
        """Add the next input; its name is similar to `wanted`."""
        return self.graph.placeholder(self._input_name(wanted))

    def finish(self, outputs: Any, class_name: str) -> fx.GraphModule:
        """Return the finished module, whose outputs are the structure of nodes `outputs`."""
        self.graph.output(outputs)
        module = fx.GraphModule(self.root, self.graph, class_name=identifier(class_name))
        module.graph.eliminate_dead_code()
        module.graph.lint()
        module.recompile()
        return module
