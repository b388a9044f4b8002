"""Finds chains of layers in a graph that one layer can compute, and replaces them."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.fx.node import map_arg
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.conv import _ConvNd
from torch.nn.utils import parametrize

from samepad._arguments import modes_of
from samepad.conversion.report import LayerReport
from samepad.inference.activations import recognize
from samepad.inference.folding import folded
from samepad.inference.modules import (
    FUSED,
    _FusedConvNd,
    _operator_padding,
    convolution_obstacle,
    norm_obstacle,
)
from samepad.inference.tracing import has_hooks, is_elementwise, module_of, name_of, seen

#: Expressions of more operations than this are no activation.
_LONGEST = 12


@dataclass
class _Chain:
    """Nodes that one layer can compute."""

    #: The node of the convolution, or of the normalization if there is no convolution.
    first: fx.Node
    #: What the chain computes so far is this node's value.
    last: fx.Node
    #: All nodes of the chain, in an order in which each comes after its operands.
    nodes: list[fx.Node]
    #: The layers, as a report names them.
    names: list[str]
    norm: _BatchNorm | None = None
    activation: str = "identity"
    parameters: tuple[float, ...] = ()
    #: Where the residual is added, the node that adds it, and the operand that is the chain's.
    residual: str | None = None
    addition: fx.Node | None = None
    added_to: fx.Node | None = None
    #: The padding that takes the place of the convolution's, and what computed it before.
    padding: Any = None
    pad: fx.Node | None = None

    def extend(self, name: str, *nodes: fx.Node) -> None:
        self.names.append(name)
        self.nodes += nodes
        self.last = nodes[-1]


def _only_user(node: fx.Node) -> fx.Node | None:
    return next(iter(node.users)) if len(node.users) == 1 else None


def _layer_obstacle(graph: fx.GraphModule, node: fx.Node) -> str | None:
    """Return why a layer can't be merged with others, whatever it computes; None if it can."""
    layer = module_of(graph, node)
    assert layer is not None
    if parametrize.is_parametrized(layer):
        return "is parametrized"
    if has_hooks(layer):
        return "has hooks"
    if "forward" in vars(layer):
        return "has a forward of its own"
    if len(node.args) != 1 or node.kwargs or seen(node.args[0]) is None or seen(node) is None:
        return "is called with other arguments than one tensor"
    return None


def _conv_obstacle(graph: fx.GraphModule, node: fx.Node) -> str | None:
    conv: Any = module_of(graph, node)
    if obstacle := _layer_obstacle(graph, node) or convolution_obstacle(conv):
        return obstacle
    input = seen(node.args[0])
    assert input is not None
    if len(input.shape) != conv.weight.dim():
        return "is called without a batch dimension"
    if input.dtype != conv.weight.dtype:
        return f"is of {conv.weight.dtype}, but its input of {input.dtype}"
    return None


class _Finder:
    """Finds the chains of a graph; no node is in two of them."""

    def __init__(self, graph: fx.GraphModule) -> None:
        self.graph = graph
        self.taken: set[fx.Node] = set()

    def _free_user(self, node: fx.Node) -> fx.Node | None:
        user = _only_user(node)
        return None if user in self.taken else user

    def norm_after(self, node: fx.Node) -> tuple[fx.Node, _BatchNorm] | None:
        """Return the plain normalization that alone uses a node's value, if that is so."""
        user = self._free_user(node)
        norm = module_of(self.graph, user) if user else None
        if not user or norm_obstacle(norm) or _layer_obstacle(self.graph, user):
            return None
        assert isinstance(norm, _BatchNorm)
        return user, norm

    def activation_after(
        self, value: fx.Node
    ) -> tuple[str, tuple[float, ...], list[fx.Node]] | None:
        """Return the activation that is computed from a value, which nothing else uses.

        Returns:
            The activation's name and parameters, and the nodes that compute it.
        """
        region = [value]
        for node in region:  # which grows meanwhile
            for user in node.users:
                if (
                    len(region) <= _LONGEST
                    and user not in region
                    and user not in self.taken
                    and is_elementwise(self.graph, user)
                    and all(n in region or self._is_number(n) for n in user.all_input_nodes)
                ):
                    region.append(user)
        expressions = [self._expression(value, end, region) for end in region[1:]]
        for nodes in sorted(expressions, key=len, reverse=True):
            inner = {value, *nodes[:-1]}
            if all(user in nodes for node in inner for user in node.users):
                found = recognize(self._function(value, nodes))
                if found:
                    return *found, nodes
        return None

    def _is_number(self, node: fx.Node) -> bool:
        """Whether a node's value is a tensor of one element that the module holds."""
        value = seen(node)
        return node.op == "get_attr" and value is not None and value.shape.numel() == 1

    def _expression(self, value: fx.Node, end: fx.Node, region: list[fx.Node]) -> list[fx.Node]:
        """Return the nodes by which `end` is computed from `value`, in order."""
        needed = {end}
        for node in reversed(region):
            if node in needed and node is not value:
                needed.update(n for n in node.all_input_nodes if n in region)
        return [node for node in region if node in needed and node is not value]

    def _function(self, value: fx.Node, nodes: list[fx.Node]) -> Callable[[Tensor], Tensor]:
        def function(input: Tensor) -> Tensor:
            values: dict[fx.Node, Any] = {value: input}

            def value_of(node: fx.Node) -> Any:
                if node in values:
                    return values[node]
                return _attribute(self.graph, str(node.target)).double().reshape(())

            for node in nodes:
                args, kwargs = map_arg((node.args, node.kwargs), value_of)
                if node.op == "call_module":
                    called: Any = module_of(self.graph, node)
                elif node.op == "call_method":
                    called = getattr(torch.Tensor, str(node.target))
                else:
                    called = node.target
                values[node] = called(*args, **kwargs)
            return values[nodes[-1]]  # type: ignore[no-any-return]

        return function

    def addition_after(self, value: fx.Node) -> fx.Node | None:
        """Return the node that adds another tensor of the same shape, and alone uses a value."""
        user = self._free_user(value)
        if user is None or user.op == "call_module" or name_of(user) != "add":
            return None
        if len(user.args) != 2 or user.kwargs.get("alpha", 1) != 1 or set(user.kwargs) - {"alpha"}:
            return None
        others = [argument for argument in user.args if argument is not value]
        # A result of another size would be broadcast.
        if len(others) == 1 and seen(others[0]) and self._are_alike(others[0], value, user):
            return user
        return None

    @staticmethod
    def _are_alike(*nodes: Any) -> bool:
        return len({(s.shape, s.dtype) for node in nodes if (s := seen(node))}) == 1

    def follow(self, chain: _Chain) -> _Chain:
        """Extend a chain by an activation and an addition, as far as they follow."""
        if found := self.activation_after(chain.last):
            self._end_with(chain, found)
        addition = self.addition_after(chain.last)
        if addition is None:
            return chain
        chain.residual = "before" if chain.activation == "identity" else "after"
        chain.addition, chain.added_to = addition, chain.last
        chain.extend("residual", addition)
        if chain.residual == "before" and (found := self.activation_after(chain.last)):
            self._end_with(chain, found)
        return chain

    @staticmethod
    def _end_with(chain: _Chain, found: tuple[str, tuple[float, ...], list[fx.Node]]) -> None:
        chain.activation, chain.parameters, nodes = found
        chain.extend(chain.activation, *nodes)

    def convolution(self, node: fx.Node) -> _Chain:
        """Return the longest chain that begins with a convolution."""
        conv: Any = module_of(self.graph, node)
        chain = _Chain(node, node, [node], [type(conv).__name__])
        if before := self._pad_before(node, conv):
            chain.pad, chain.padding = before
            chain.names.insert(0, "padding")
            chain.nodes.insert(0, chain.pad)
        if after := self.norm_after(node):
            chain.norm = after[1]
            chain.extend(type(after[1]).__name__, after[0])
        return self.follow(chain)

    def _pad_before(self, node: fx.Node, conv: _ConvNd) -> tuple[fx.Node, Any] | None:
        """Return the node that pads a convolution's input by zeros, and the padding altogether."""
        pad = node.args[0]
        if (
            not isinstance(pad, fx.Node)
            or _only_user(pad) is not node
            or modes_of(conv.padding) not in ((), ("valid",))
        ):
            return None
        amounts = _zeros_added(self.graph, pad)
        dimensions = len(conv.kernel_size)
        if amounts is None or len(amounts) > 2 * dimensions or any(a < 0 for a in amounts):
            return None
        _, own = _operator_padding(conv.padding, dimensions)
        amounts = amounts + [0] * (2 * dimensions - len(amounts))
        pairs = [
            (own[2 * d] + amounts[-2 * d - 2], own[2 * d + 1] + amounts[-2 * d - 1])
            for d in range(dimensions)
        ]
        return pad, tuple(pairs)


def _attribute(graph: fx.GraphModule, path: str) -> Tensor:
    *parents, name = path.split(".")
    value = getattr(graph.get_submodule(".".join(parents)), name)
    assert isinstance(value, Tensor)
    return value


def _zeros_added(graph: fx.GraphModule, node: fx.Node) -> list[int] | None:
    """Return how many zeros a node adds around its operand, as F.pad has it; None if it doesn't."""
    module: Any = module_of(graph, node)
    if module is not None:
        is_pad = isinstance(module, (nn.modules.padding._ConstantPadNd, nn.ZeroPad1d))
        if not is_pad or module.value != 0 or _layer_obstacle(graph, node):
            return None
        amounts: Any = module.padding
    elif name_of(node) in ("pad", "_pad", "constant_pad_nd") and len(node.args) <= 4:
        values = dict(zip(("input", "pad", "mode", "value"), node.args, strict=False)) | node.kwargs
        if name_of(node) == "constant_pad_nd":
            values["value"] = values.pop("mode", 0)
        if values.get("mode", "constant") != "constant" or values.get("value") not in (None, 0):
            return None
        amounts = values.get("pad")
    else:
        return None
    is_list = isinstance(amounts, (tuple, list))
    return list(amounts) if is_list and all(type(a) is int for a in amounts) else None


@dataclass
class _Rewriter:
    """Replaces chains in a graph by single layers."""

    graph: fx.GraphModule
    #: The names of layers that have been made, so that a layer that is called twice stays one.
    made: dict[Any, str] = field(default_factory=dict)

    def put(self, chain: _Chain, layer: nn.Module, *key: Any) -> None:
        """Let one layer compute a chain."""
        path = str(chain.first.target)
        key = (path, id(chain.norm), chain.activation, chain.parameters, *key)
        if key not in self.made:
            variants = sum(each[0] == path for each in self.made)
            self.made[key] = f"{path}_{variants}" if variants else path
            self.graph.add_submodule(self.made[key], layer)
        operands = [(chain.pad or chain.first).args[0]]
        if chain.addition is not None:
            operands += [value for value in chain.addition.args if value is not chain.added_to]
        with self.graph.graph.inserting_before(chain.last):
            new = self.graph.graph.call_module(self.made[key], tuple(operands))
        new.meta = dict(chain.last.meta)
        chain.last.replace_all_uses_with(new)
        for node in reversed(chain.nodes):
            self.graph.graph.erase_node(node)


def _rank(node: fx.Node) -> int:
    """Return the number of dimensions of a node's value, or 0 if it is no tensor."""
    value = seen(node)
    return len(value.shape) if value else 0


def _chains(
    graph: fx.GraphModule,
) -> Iterator[tuple[_Chain, nn.Module, tuple[Any, ...]] | LayerReport]:
    """Yield the chains with the layers that compute them, and reports of what is left."""
    finder = _Finder(graph)
    layers = [
        (node, module_of(graph, node)) for node in graph.graph.nodes if node.op == "call_module"
    ]
    # From the end: of two convolutions that are added, the last one takes the addition.
    for node, layer in reversed(layers):
        if isinstance(layer, _ConvNd) and not layer.transposed:
            if obstacle := _conv_obstacle(graph, node):
                yield LayerReport(str(node.target), type(layer).__name__, None, obstacle)
                continue
            chain = finder.convolution(node)
            finder.taken.update(chain.nodes)
            fused: nn.Module = FUSED[len(layer.kernel_size)].from_conv(
                layer, chain.norm, chain.activation, chain.parameters, chain.residual, chain.padding
            )
            yield chain, fused, (chain.residual, chain.padding)
        elif isinstance(layer, (_ConvNd, nn.Linear)):
            obstacle = _layer_obstacle(graph, node)
            after = None if obstacle else finder.norm_after(node)
            if after and (_rank(node) == 2 or isinstance(layer, _ConvNd)):
                chain = _Chain(node, node, [node], [type(layer).__name__], after[1])
                chain.extend(type(after[1]).__name__, after[0])
                finder.taken.update(chain.nodes)
                yield chain, folded(layer, after[1]), ()
            elif isinstance(layer, _ConvNd):
                note = obstacle or "is transposed, and nothing is folded into it"
                yield LayerReport(str(node.target), type(layer).__name__, None, note)
    for node, layer in layers:
        if isinstance(layer, _BatchNorm) and node not in finder.taken:
            obstacle = _layer_obstacle(graph, node) or norm_obstacle(layer)
            rank = _rank(node)
            chain = _Chain(node, node, [node], [type(layer).__name__], layer)
            if not obstacle and rank - 2 in FUSED:
                finder.follow(chain)
            if len(chain.nodes) == 1:
                note = obstacle or "follows no layer that it could be folded into"
                yield LayerReport(str(node.target), type(layer).__name__, None, note)
                continue
            finder.taken.update(chain.nodes)
            fused = FUSED[rank - 2].from_norm(
                layer, chain.activation, chain.parameters, chain.residual
            )
            yield chain, fused, (chain.residual,)


def fuse(graph: fx.GraphModule) -> list[LayerReport]:
    """Replace chains of layers by single ones, in place; return what was done, in order."""
    order = {str(node.target): i for i, node in enumerate(graph.graph.nodes)}
    rewriter = _Rewriter(graph)
    reports = []
    found = list(_chains(graph))
    for item in found:
        if isinstance(item, LayerReport):
            reports.append(item)
            continue
        chain, layer, key = item
        rewriter.put(chain, layer, *key)
        before, after = " + ".join(chain.names), type(layer).__name__
        reports.append(LayerReport(str(chain.first.target), before, after, _remark(layer)))
    graph.delete_all_unused_submodules()
    graph.recompile()
    return sorted(reports, key=lambda report: order[report.name])


def _remark(layer: nn.Module) -> str:
    return "" if isinstance(layer, _FusedConvNd) else "the normalization is folded into the weight"
