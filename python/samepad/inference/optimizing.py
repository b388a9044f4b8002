"""Makes a copy of a model for inference."""

import copy
from collections.abc import Callable
from functools import partial
from typing import Any, Literal, overload

import torch
from torch import Tensor, fx, nn
from torch.nn.modules.conv import _ConvNd
from torch.utils._pytree import tree_leaves, tree_map_only

from samepad._replacing import replace
from samepad.conversion import convert
from samepad.conversion.report import LayerReport
from samepad.inference import layout
from samepad.inference.chains import fuse
from samepad.inference.mutation import reuse_memory, without_changes
from samepad.inference.norms import split_norms
from samepad.inference.report import InferenceReport
from samepad.inference.tracing import has_hooks, trace, without_identities

#: Larger differences from the original, relative to its largest element, are more than rounding.
_TOLERANCES = {torch.float64: 1e-8, torch.float32: 1e-3}
_LOOSEST = 0.1

#: The memory formats that can be asked for, and whether each has the channels last.
_FORMATS = {
    torch.contiguous_format: False,
    torch.channels_last: True,
    torch.channels_last_3d: True,
}


class _LeftError(Exception):
    """A part of a model can't be optimized; the message says why."""


def _difference(found: Any, expected: Any) -> float:
    """Return the largest difference of two structures of outputs, relative to the largest element.

    It is infinite where they differ in more than the values of tensors.
    """
    ours, theirs = tree_leaves(found), tree_leaves(expected)
    if len(ours) != len(theirs):
        return torch.inf
    return max(map(_leaf_difference, ours, theirs), default=0.0)


def _leaf_difference(found: Any, expected: Any) -> float:
    if not isinstance(expected, Tensor):
        return 0.0 if type(found) is type(expected) and found == expected else torch.inf
    if not isinstance(found, Tensor) or (found.shape, found.dtype) != (
        expected.shape,
        expected.dtype,
    ):
        return torch.inf
    if not expected.numel() or torch.equal(found, expected):
        return 0.0
    wide = torch.complex128 if expected.is_complex() else torch.float64
    a, b = found.to(wide), expected.to(wide)
    same = (a == b) | (a.isnan() & b.isnan())
    distance = (a - b).abs().nan_to_num(nan=torch.inf, posinf=torch.inf).masked_fill(same, 0)
    scale = b.abs().masked_fill(~b.abs().isfinite(), 0).max()
    return float(distance.max() / scale.clamp(min=torch.finfo(torch.float64).tiny))


def _tolerance(outputs: Any) -> float:
    dtypes = {leaf.dtype for leaf in tree_leaves(outputs) if isinstance(leaf, Tensor)}
    known = [_TOLERANCES.get(dtype, _LOOSEST) for dtype in dtypes if dtype.is_floating_point]
    return max(known, default=0.0)


class _Optimizer:
    """Optimizes a model, or the parts of it whose graphs can be found."""

    def __init__(self, model: nn.Module, inputs: tuple[Any, ...], expected: Any) -> None:
        self.model = model
        self.inputs = inputs
        self.expected = expected
        self.reports: list[LayerReport] = []
        self.graphs: list[fx.GraphModule] = []
        self._tried: set[nn.Module] = set()

    def run(self) -> Any:
        """Run the model as it is now, on copies of the inputs, which it may change."""
        inputs = tree_map_only(Tensor, Tensor.clone, self.inputs)
        with torch.no_grad():
            return self.model(*inputs)

    def optimize(self, part: nn.Module, name: str) -> None:
        """Replace a part of the model, or the parts in it, by graphs of fused layers."""
        if part in self._tried:
            return
        self._tried.add(part)
        children: Any = part.named_children()
        if next(part.parameters(), None) is not None:  # else there would be nothing to fuse
            try:
                children = self._replaced(part, name)
            except _LeftError as error:
                self.reports.append(LayerReport(name, type(part).__name__, None, str(error)))
        for child_name, child in list(children):
            self.optimize(child, f"{name}.{child_name}".removeprefix("."))

    def _replaced(self, part: nn.Module, name: str) -> list[tuple[str, nn.Module]]:
        """Replace one part of the model by its graph; return the children that remain to be tried.

        Raises:
            _LeftError: It can't be replaced; the model is as it was before.
        """
        if has_hooks(part):
            raise _LeftError("has hooks, so it stays, and the layers in it are looked at")
        inputs = self.inputs if part is self.model else self._inputs_of(part)
        # A layer alone is a graph of one node, and is replaced by the layer that takes its place.
        is_layer = type(part).__module__.startswith("torch.nn.") or isinstance(part, _ConvNd)
        is_layer = is_layer and not isinstance(part, nn.Sequential)
        try:
            graph = trace(nn.Sequential(part) if is_layer else part, inputs)
        except Exception as error:  # a model's code may raise any error when it is given proxies
            reason = f"{type(error).__name__}: {error}".splitlines()[0]
            raise _LeftError(f"torch.fx can't follow its code ({reason})") from error
        if doubt := without_changes(graph):
            raise _LeftError(doubt)
        without_identities(graph)
        layout.make_independent(graph)
        reports = fuse(graph)
        inner = [
            (each, graph.get_submodule(each))
            for each in dict.fromkeys(
                str(node.target) for node in graph.graph.nodes if node.op == "call_module"
            )
            if next(graph.get_submodule(each).children(), None) is not None
        ]
        if any(report.after for report in reports):
            reuse_memory(graph)
            graph.recompile()
            self._put(part, graph.get_submodule("0") if is_layer else graph)
            if not is_layer:
                self.graphs.append(graph)
        prefix = f"{name}." if name else ""
        self.reports += [
            LayerReport(
                name if is_layer else prefix + report.name,
                report.before,
                report.after,
                report.note,
            )
            for report in reports
        ]
        return [] if is_layer else inner

    def _inputs_of(self, part: nn.Module) -> tuple[Any, ...]:
        """Return the arguments that a part of the model is called with.

        Raises:
            _LeftError: It is not called, or with keyword arguments.
        """
        calls: list[Any] = []

        def note(_: nn.Module, args: Any, kwargs: Any) -> None:
            calls.append((tree_map_only(Tensor, Tensor.clone, args), kwargs))

        hook = part.register_forward_pre_hook(note, with_kwargs=True)
        try:
            self.run()
        finally:
            hook.remove()
        if not calls:
            raise _LeftError("is not called as a module for the example inputs")
        if any(kwargs for _, kwargs in calls):
            raise _LeftError("is called with keyword arguments")
        return calls[0][0]  # type: ignore[no-any-return]

    def _put(self, old: nn.Module, new: nn.Module) -> None:
        """Replace a part of the model, unless the outputs are others then.

        Raises:
            _LeftError: The outputs are others, or there are none.
        """
        self.model = replace(self.model, {old: new})
        try:
            difference = _difference(self.run(), self.expected)
            reason = f"outputs would differ by {difference:.1e} of the largest one"
        except Exception as error:  # code that looks into the part may raise any error
            difference = torch.inf
            reason = f"the model can't run with it fused ({type(error).__name__}: {error})"
        if not difference <= _tolerance(self.expected):
            self.model = replace(self.model, {new: old})
            raise _LeftError(reason)

    def choose_layout(self, wanted: torch.memory_format | None) -> dict[str, float]:
        """Choose the order in memory, by measuring if none is wanted; return the seconds."""
        can_choose = bool(self.graphs) and all(map(layout.may_choose, self.graphs))
        choices = {"contiguous": False, "channels_last": True}
        if wanted is not None:
            choices = {k: last for k, last in choices.items() if last == _FORMATS[wanted]}
        if not can_choose:
            choices = {"contiguous": False}
        set_up: list[Callable[[], None]] = [
            partial(self._set_layout, last) for last in choices.values()
        ]
        times = dict(zip(choices, layout.seconds(self.run, set_up), strict=True))
        fastest = min(times, key=lambda name: times[name])
        self._set_layout(choices[fastest])
        return times

    def _set_layout(self, channels_last: bool) -> None:
        self.channels_last = channels_last
        for graph in self.graphs:
            layout.set_layout(graph, channels_last)


def _describe(inputs: tuple[Any, ...]) -> str:
    return ", ".join(
        f"{str(leaf.dtype).removeprefix('torch.')} {tuple(leaf.shape)}"
        if isinstance(leaf, Tensor)
        else repr(leaf)
        for leaf in tree_leaves(inputs)
    )


def _check(model: Any, inputs: tuple[Any, ...], memory_format: Any) -> None:
    if not isinstance(model, nn.Module):
        raise TypeError(f"model must be a torch.nn.Module, not {type(model).__name__}")
    if not inputs:
        raise TypeError("optimize_for_inference needs example inputs, on which the model is run")
    if memory_format is not None and memory_format not in _FORMATS:
        raise ValueError(
            f"memory_format must be None or one of {', '.join(map(str, _FORMATS))}, but got "
            f"{memory_format!r}"
        )
    for name, module in model.named_modules():
        if module.training:
            raise ValueError(
                f"optimize_for_inference needs a model in eval mode, but {name or 'the model'!r} "
                "is in training mode: call eval() first"
            )


@overload
def optimize_for_inference(
    model: nn.Module,
    *example_inputs: Any,
    memory_format: torch.memory_format | None = None,
    return_report: Literal[False] = False,
) -> nn.Module: ...


@overload
def optimize_for_inference(
    model: nn.Module,
    *example_inputs: Any,
    memory_format: torch.memory_format | None = None,
    return_report: Literal[True],
) -> tuple[nn.Module, InferenceReport]: ...


def optimize_for_inference(
    model: nn.Module,
    *example_inputs: Any,
    memory_format: torch.memory_format | None = None,
    return_report: bool = False,
) -> nn.Module | tuple[nn.Module, InferenceReport]:
    """Copy a model for inference, with chains of layers computed in one pass.

    A chain is a convolution (SAME or not), a batch normalization that is folded into it in float64,
    an activation and the addition of another tensor of the same shape. Each of them but the
    convolution may be missing; an activation may be a module, a function or an expression such as
    `x * torch.sigmoid(x)`. `FusedConv1d`, `2d` and `3d` compute them. A normalization that follows
    no convolution is computed together with the activation after it, zeros that are padded before
    a convolution become part of it, and other activations and products write over their operand
    where nothing else needs it.

    SAME layers of other packages are first replaced as `samepad.convert` does. Then torch.fx looks
    for the model's graph; where it can't follow the model's code, the submodules are replaced one
    by one. Each replacement is undone if the outputs differ from the original's by more than
    rounding.

    The copy takes the same arguments as `model` and returns tensors of the same shapes and in the
    same order in memory, for inputs of every size that the original takes. If it could be traced
    as a whole, it is a torch.fx.GraphModule, without other methods and attributes of the model. It
    is frozen: it has no gradients and no training mode. Arguments that the example leaves at their
    defaults, or gives as numbers or text, are fixed.

    Args:
        model: A module in eval mode, usually on the CPU in float32 or float64; it is not changed.
        example_inputs: Positional arguments for a call of it, with sizes as they will be: on them
            the memory format is chosen.
        memory_format: The order in memory in which the copy computes: torch.contiguous_format or
            torch.channels_last; None measures which of them is faster.
        return_report: Whether to return the report too.

    Returns:
        The copy; with `return_report`, the copy and an `InferenceReport`, which says what was fused
        into what, and what was left and why.

    Raises:
        TypeError: `model` is not a module, or there are no example inputs.
        ValueError: A module in the model is in training mode; the model can't run on the example
            inputs; `memory_format` is none of these.

    Example:
        >>> fast, report = samepad.optimize_for_inference(model.eval(), images, return_report=True)
        >>> print(report)
    """
    _check(model, example_inputs, memory_format)
    # Tensors that are made in inference mode could not be changed outside of it any more.
    with torch.inference_mode(False), torch.no_grad():
        new, report = _optimized(model, example_inputs, memory_format)
    return (new, report) if return_report else new


def _optimized(
    model: nn.Module, inputs: tuple[Any, ...], memory_format: torch.memory_format | None
) -> tuple[nn.Module, InferenceReport]:
    original = _Optimizer(model, inputs, None)
    try:
        expected = original.run()
    except Exception as error:  # a model's code may raise any error
        raise ValueError(
            f"the model can't run on the example inputs ({_describe(inputs)}): {error}"
        ) from error
    new = split_norms(convert(copy.deepcopy(model).requires_grad_(False)))
    optimizer = _Optimizer(new, inputs, expected)
    optimizer.optimize(new, "")
    times = optimizer.choose_layout(memory_format)
    (before,) = layout.seconds(original.run, [lambda: None])
    report = InferenceReport(
        tuple(optimizer.reports),
        torch.channels_last if optimizer.channels_last else torch.contiguous_format,
        {"original": before, **times},
        _difference(optimizer.run(), expected),
    )
    return optimizer.model, report
