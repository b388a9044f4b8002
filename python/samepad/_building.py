"""What making a torch.fx.GraphModule from another framework's graph takes, whichever it is."""

from collections.abc import Iterable
from typing import Any

from torch import fx, nn

from samepad._names import Names, identifier


class UnsupportedError(Exception):
    """Why a layer or a node has no counterpart in PyTorch."""


def one(values: Iterable[Any]) -> Any:
    """Equal numbers as one of them, which torch.nn's constructors take; others as a tuple."""
    items = tuple(values)
    return items[0] if len(set(items)) == 1 else items


class GraphBuilder:
    """A graph that is being made, and the module that holds its layers and buffers."""

    def __init__(self) -> None:
        """An empty graph."""
        self.root = nn.Module()
        self.graph = fx.Graph()
        #: Gives a name to each submodule and buffer of the root.
        self.name = Names()
        self._input_name = Names()

    def placeholder(self, wanted: str) -> fx.Node:
        """The next input, under a name like this."""
        return self.graph.placeholder(self._input_name(wanted))

    def finish(self, outputs: Any, class_name: str) -> fx.GraphModule:
        """The module that returns the nodes `outputs`, a structure of them."""
        self.graph.output(outputs)
        module = fx.GraphModule(self.root, self.graph, class_name=identifier(class_name))
        module.graph.eliminate_dead_code()
        module.graph.lint()
        module.recompile()
        return module
