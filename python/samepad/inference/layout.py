"""Chooses the order in memory of a whole graph's images: contiguous, or with the channels last."""

import time
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import fx, nn
from torch.fx.node import map_arg

from samepad.inference.modules import _FusedConvNd, channels_last_format
from samepad.inference.tracing import module_of, name_of, seen

#: How long a whole model is run, in seconds, to see how fast a layout is.
_SECONDS = 0.5

#: Methods whose results tell of the order in memory: where a graph calls one, the order stays.
_TELLING = ("as_strided", "data_ptr", "is_contiguous", "storage_offset", "stride")


def may_choose(graph: fx.GraphModule) -> bool:
    """Whether a graph computes the same with images in another order, and has images."""
    nodes = graph.graph.nodes
    return not any(name_of(node) in _TELLING for node in nodes) and any(
        _format(node) for node in nodes if module_of(graph, node) is not None
    )


def make_independent(graph: fx.GraphModule) -> None:
    """Replace `view`, which needs a certain order in memory, by `reshape`."""
    for node in graph.graph.nodes:
        is_view = node.op == "call_method" and node.target in ("view", "view_as")
        if is_view and not any(isinstance(value, torch.dtype) for value in node.args):
            node.target = "reshape" if node.target == "view" else "reshape_as"


def _format(node: fx.Node) -> torch.memory_format | None:
    """Return the format with the channels last of a node's value, if there is one."""
    value = seen(node)
    return channels_last_format(len(value.shape) - 2) if value is not None else None


def set_layout(graph: fx.GraphModule, channels_last: bool) -> None:
    """Give a graph's weights and images one of the two orders, whatever it was before.

    The results stay in the order that they had in the original model.
    """
    nodes = graph.graph
    for node in list(nodes.nodes):
        if "converts_layout" in node.meta:
            node.replace_all_uses_with(node.args[0])
            nodes.erase_node(node)

    def converted(node: fx.Node, layout: torch.memory_format) -> fx.Node:
        new = nodes.call_method("contiguous", (node,), {"memory_format": layout})
        new.meta = {"converts_layout": True, **node.meta}
        return new

    for module in graph.modules():
        place(module, channels_last)
    for node in list(nodes.nodes):
        last = _format(node)
        if node.op == "placeholder" and channels_last and last:
            # The fused layers take both orders.
            others = [u for u in node.users if not isinstance(module_of(graph, u), _FusedConvNd)]
            if others:
                with nodes.inserting_after(node):
                    new = converted(node, last)
                for user in others:
                    user.replace_input_with(node, new)
        elif node.op == "output":

            def restored(result: fx.Node) -> fx.Node:
                value = seen(result)
                if value is None or len(value.shape) < 3 or value.layout is None:
                    return result
                return converted(result, value.layout)

            with nodes.inserting_before(node):
                node.args = map_arg(node.args, restored)
    graph.recompile()


def place(module: nn.Module, channels_last: bool) -> None:
    """Give the weights that a module itself holds one of the two orders."""
    weight: Any = getattr(module, "weight", None)
    last = channels_last_format(weight.dim() - 2) if isinstance(weight, torch.Tensor) else None
    if last:
        layout = last if channels_last else torch.contiguous_format
        module._apply(  # type: ignore[no-untyped-call]
            lambda tensor: (
                tensor.contiguous(memory_format=layout) if tensor.dim() == weight.dim() else tensor
            ),
            recurse=False,
        )


def seconds(run: Callable[[], object], set_up: Sequence[Callable[[], None]]) -> list[float]:
    """Measure how long something takes with each of several settings, at best; return seconds."""
    best = []
    for setting in set_up:
        setting()
        run()
        times: list[float] = []
        end = time.perf_counter() + _SECONDS
        while len(times) < 3 or (time.perf_counter() < end and len(times) < 50):
            start = time.perf_counter()
            run()
            times.append(time.perf_counter() - start)
        best.append(min(times))
    return best
