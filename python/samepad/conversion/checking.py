"""Running modules on small inputs, away from the model, to see whether two of them agree.

Copies are run, on the CPU, whose parameters and buffers are random: so that a mask of ones, a
factor of 0 or a bias of 0 shows that it takes part in the result, and so that the model is not
touched.
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

#: Largest difference that rounding explains, over the largest value.
_TOLERANCE = 1e-4


class CannotRunError(Exception):
    """A module can't be run on a small input, and why."""


def tensors_of(module: nn.Module) -> Iterator[Tensor]:
    """Parameters, buffers and other tensors that are attributes, in a module and inside it."""
    for part in module.modules():
        values = chain(part._parameters.values(), part._buffers.values(), vars(part).values())
        yield from (value for value in values if isinstance(value, Tensor))


def _random(tensor: Tensor, generator: torch.Generator) -> Tensor:
    """A tensor to put into the place of `tensor`: positive, since variances are."""
    if not tensor.is_floating_point():
        return tensor.detach().to("cpu", copy=True)
    return torch.rand(tensor.shape, generator=generator) + 0.5


class Copies:
    """Makes copies of modules; a tensor that is in several of them is replaced by equal ones."""

    def __init__(self) -> None:
        """No copies so far."""
        self._generator = torch.Generator().manual_seed(0)
        self._values: dict[int, Tensor] = {}

    def of(self, module: nn.Module) -> tuple[nn.Module, dict[int, Any]]:
        """A copy without hooks, and the copies of all its parts by the id of the original."""
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
    """The dictionaries that hold a module's hooks, by the names of the attributes."""
    return {
        name: vars(module)[name]
        for name, value in vars(nn.Module()).items()
        if isinstance(value, dict) and name not in ("_parameters", "_buffers", "_modules")
    }


def _results(module: nn.Module, input: Tensor, wanted: Sequence[Tensor]) -> list[Any]:
    """Outputs, then, in evaluation, the gradients of the input and of the `wanted` parameters."""
    input = input.clone().requires_grad_()
    random_state = torch.get_rng_state()
    torch.default_generator.manual_seed(0)  # for dropout; torch.manual_seed takes long
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

    That is their outputs in evaluation and in training, and the gradients in evaluation.

    Raises:
        CannotRunError: `old` can't be copied, or raises an error for one of the inputs, other than
            the last, which is the smallest.
    """
    with torch.inference_mode(False):  # whose tensors have no gradients to compare
        return _agree(old, new, shapes)


def _agree(old: nn.Module, new: nn.Module, shapes: Sequence[Shape]) -> bool:
    copies = Copies()
    generator = torch.Generator().manual_seed(1)
    try:
        old_copy, old_parts = copies.of(old)
    except Exception as error:  # whatever a class's own code raises
        raise CannotRunError(str(error)) from error
    new_copy, new_parts = copies.of(new)
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
                continue  # nothing but a padding by as much as SAME's fits the smallest sizes
            raise CannotRunError(str(error)) from error
        try:
            found = _results(new_copy, input, [new_parts[part] for part in shared])
        except (RuntimeError, ValueError):  # sizes that do not fit what comes next
            return False
        if len(found) != len(expected) or not all(map(_close, found, expected)):
            return False
    return True


def geometry(layer: Any) -> list[tuple[int, int, int]]:
    """Kernel size, stride and dilation of a convolution or pool in each dimension."""
    dimensions = STAND_INS[torch_class(layer)]._dimensions
    values = (layer.kernel_size, layer.stride, getattr(layer, "dilation", 1))
    return list(
        zip(*((v,) * dimensions if isinstance(v, int) else tuple(v) for v in values), strict=True)
    )


def shapes_for(layer: nn.Module, channels: int, *, alike: bool = False) -> list[Shape]:
    """Shapes of small inputs that show how `layer` is padded.

    Paddings depend on the remainder of a size by the stride: there are up to four remainders,
    different ones in the dimensions unless they are to be `alike`, and a size of 1 or little more.
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
