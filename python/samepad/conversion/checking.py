"""Runs copies of modules on small inputs to see whether two modules agree.

The copies are on the CPU and have random parameters and buffers. Thereby the model is not touched,
and a mask of ones, a factor of 0 or a bias of 0 is seen to take part in the result.
"""

import copy
from collections.abc import Iterator, Sequence
from itertools import chain, product
from typing import Any, TypeAlias

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

from samepad.conversion.stand_ins import STAND_INS, torch_class

Shape: TypeAlias = tuple[int, ...]

#: The largest difference that rounding can explain, relative to the largest value.
_TOLERANCE = 1e-4


class CannotRunError(Exception):
    """A module can't be run on a small input; the message says why."""


def tensors_of(module: nn.Module) -> Iterator[Tensor]:
    """Yield the parameters, buffers and other tensor attributes of all submodules."""
    for part in module.modules():
        values = chain(part._parameters.values(), part._buffers.values(), vars(part).values())
        yield from (value for value in values if isinstance(value, Tensor))


def _random(tensor: Tensor, generator: torch.Generator) -> Tensor:
    """Make random values for `tensor`: positive ones, because it may hold variances."""
    if not tensor.is_floating_point():
        return tensor.detach().to("cpu", copy=True)
    return torch.rand(tensor.shape, generator=generator) + 0.5


class Copies:
    """Makes copies of modules; a tensor that is in several of them gets the same random values."""

    def __init__(self) -> None:
        """Start without copies."""
        self._generator = torch.Generator().manual_seed(0)
        self._values: dict[int, Tensor] = {}

    def of(self, module: nn.Module) -> tuple[nn.Module, dict[int, Any]]:
        """Return a copy without hooks, and the copies of all its parts by the originals' ids."""
        copied: dict[int, Any] = {}
        for tensor in tensors_of(module):
            if id(tensor) not in self._values:
                self._values[id(tensor)] = _random(tensor, self._generator)
            value = self._values[id(tensor)].clone()
            if isinstance(tensor, nn.Parameter):
                value = nn.Parameter(value, requires_grad=tensor.requires_grad)
            copied[id(tensor)] = value
        new = copy.deepcopy(module, copied)
        for part in new.modules():
            for hooks in hooks_of(part).values():
                hooks.clear()
        return new, copied


def hooks_of(module: nn.Module) -> dict[str, Any]:
    """Return the dictionaries that hold a module's hooks, by the names of the attributes."""
    return {
        name: vars(module)[name]
        for name, value in vars(nn.Module()).items()
        if isinstance(value, dict) and name not in ("_parameters", "_buffers", "_modules")
    }


def _results(module: nn.Module, input: Tensor, wanted: Sequence[Tensor]) -> list[Any]:
    """Return the outputs and, in eval mode, the gradients of the input and of `wanted`."""
    input = input.clone().requires_grad_()
    random_state = torch.get_rng_state()
    torch.default_generator.manual_seed(0)  # for dropout; torch.manual_seed would take long
    try:
        with torch.enable_grad():
            outputs = tree_leaves(module(input))
    finally:
        torch.set_rng_state(random_state)
    differentiable = [
        output for output in outputs if isinstance(output, Tensor) and output.requires_grad
    ]
    if module.training or not differentiable:
        return outputs
    cotangents = [torch.linspace(-1, 1, out.numel()).view_as(out) for out in differentiable]
    gradients = torch.autograd.grad(differentiable, [input, *wanted], cotangents, allow_unused=True)
    return [*outputs, *gradients]


def _close(found: Any, expected: Any) -> bool:
    if not (isinstance(found, Tensor) and isinstance(expected, Tensor)):
        return found is expected or bool(found == expected)
    if found.shape != expected.shape or found.dtype != expected.dtype:
        return False
    if not expected.numel():
        return True
    scale = expected.detach().abs().max().item()
    return torch.allclose(found, expected, rtol=0, atol=_TOLERANCE * scale, equal_nan=True)


def agree(old: nn.Module, new: nn.Module, shapes: Sequence[Shape]) -> bool:
    """Whether two modules that share parameters give equal results for inputs of `shapes`.

    Compared are the outputs in evaluation and training mode, and the gradients in evaluation mode.

    Raises:
        CannotRunError: One of them can't be copied, or `old` raises an error for an input. Errors
            for the last shape, which is the smallest, do not count if there are others.
    """
    with torch.inference_mode(False):  # tensors of inference mode would have no gradients
        return _agree(old, new, shapes)


def _agree(old: nn.Module, new: nn.Module, shapes: Sequence[Shape]) -> bool:
    copies = Copies()
    generator = torch.Generator().manual_seed(1)
    try:
        old_copy, old_parts = copies.of(old)
        new_copy, new_parts = copies.of(new)
    except Exception as error:  # the class's own code may raise any error
        raise CannotRunError(str(error)) from error
    shared = [
        id(parameter)
        for parameter in old.parameters()
        if parameter.requires_grad and id(parameter) in new_parts
    ]
    for training, shape in product((False, True), shapes):
        old_copy.train(training)
        new_copy.train(training)
        input = torch.randn(shape, generator=generator)
        try:
            expected = _results(old_copy, input, [old_parts[part] for part in shared])
        except Exception as error:
            if shape == shapes[-1] and len(shapes) > 1:
                continue  # the smallest size fits only layers that pad as much as SAME
            raise CannotRunError(str(error)) from error
        try:
            found = _results(new_copy, input, [new_parts[part] for part in shared])
            if len(found) != len(expected) or not all(map(_close, found, expected)):
                return False
        except Exception:
            # The class's own code may rely on the padding in any way: by the output's size, by an
            # attribute of the layer, by an assertion.
            return False
    return True


def geometry(layer: Any) -> list[tuple[int, int, int]]:
    """Return (kernel size, stride, dilation) of a convolution or pool for each dimension."""
    dimensions = STAND_INS[torch_class(layer)]._dimensions
    values = (layer.kernel_size, layer.stride, getattr(layer, "dilation", 1))
    return list(
        zip(*((v,) * dimensions if isinstance(v, int) else tuple(v) for v in values), strict=True)
    )


def shapes_for(layer: nn.Module, channels: int, *, alike: bool = False) -> list[Shape]:
    """Return shapes of small inputs, (N, C, spatial...), that show how `layer` is padded.

    SAME's amounts depend on the remainder of a size divided by the stride. The shapes have up to
    four different remainders, which differ between the dimensions unless `alike`. The last shape
    has sizes of 1 or little more.
    """
    extents = [((k - 1) * d + 1, s) for k, s, d in geometry(layer)]
    if alike:
        extents = [(max(e for e, _ in extents), max(s for _, s in extents))] * len(extents)
    sizes = []
    for dimension, (extent, stride) in enumerate(extents):
        more = [0, 1, stride // 2, stride - 1]
        turn = 0 if alike else dimension % 4
        start = max(extent, stride) + 1
        little = 1 if alike else 1 + dimension
        sizes.append([*(start + m for m in more[turn:] + more[:turn]), little])
    return [(2, channels, *spatial) for spatial in zip(*sizes, strict=True)]
