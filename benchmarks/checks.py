"""A competitor is timed only after its outputs, and gradients, have been compared."""

import copy

import torch
from torch import Tensor, nn

from benchmarks.tables import Variant
from benchmarks.timing import Case, Module

#: Largest difference from the float64 reference, of its largest element. CUDA's float32 may have 10
#: bits (TF32). A pad on the wrong side is off by a tenth and more.
TOLERANCES = {torch.float32: 1e-3, torch.bfloat16: 3e-2, torch.float16: 5e-3}


class WrongOutputError(AssertionError):
    """A competitor computes something else."""


def check(name: str, found: Tensor, expected: Tensor) -> None:
    """Raise WrongOutputError where `found` is not `expected`.

    Raises:
        WrongOutputError: where they differ, or are not of one shape.
    """
    if found.shape != expected.shape:
        raise WrongOutputError(f"{name}: {tuple(found.shape)}, not {tuple(expected.shape)}")
    difference = (found.double() - expected).abs().max() / expected.abs().max()
    if not difference <= TOLERANCES[found.dtype]:  # so that NaN is wrong too
        raise WrongOutputError(f"{name}: off by {difference:.1e} of the largest element")


def answers(module: Module, input: Tensor, training: bool) -> list[Tensor]:
    """The output, and in training the gradients of the input and of the parameters."""
    if not training:
        with torch.no_grad():
            return [module(input)]
    assert isinstance(module, nn.Module)
    input = input.clone().requires_grad_()
    output = module(input)
    generator = torch.Generator().manual_seed(0)
    cotangent = torch.randn(output.shape, generator=generator).to(output)
    return [output, *torch.autograd.grad(output, [input, *module.parameters()], cotangent)]


def checked_case(
    label: str,
    input: Tensor,
    modules: dict[str, Module],
    same: nn.Module,
    sym: nn.Module,
    variant: Variant,
    dtype: torch.dtype = torch.float64,
) -> Case:
    """The case, of modules that compute what `same` does in `dtype`, and `sym` the one named so."""

    def reference(module: nn.Module) -> list[Tensor]:
        return answers(copy.deepcopy(module).to(dtype), input.to(dtype), variant.training)

    symmetric, asymmetric = reference(sym), reference(same)
    for name, module in modules.items():
        found = answers(module, input, variant.training)
        expected = symmetric if name == "sym" else asymmetric
        for part, (value, correct) in enumerate(zip(found, expected, strict=True)):
            check(f"{name} on {label}, {'gradient' if part else 'output'}", value, correct)
    return Case(label, input, modules)
