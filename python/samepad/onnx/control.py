"""Functions for ONNX's If, Loop and Scan, whose branches and bodies are modules."""

import itertools
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from samepad.onnx.shapes import number

#: A branch or a body: takes tensors and returns a tuple of tensors.
Module = Callable[..., tuple[Tensor, ...]]


def branch(
    condition: Any,
    then_branch: Module,
    else_branch: Module,
    inputs: Sequence[Tensor],
    then_takes: Sequence[int],
    else_takes: Sequence[int],
) -> tuple[Tensor, ...]:
    """If: the results of one of two modules, which take the inputs at the positions given.

    Graphs that torch.export and torch.compile make contain both modules if the condition is a
    tensor; then their results must have the same numbers of dimensions and types. If it is a
    comparison of sizes, such graphs contain only the module for the sizes that they are made for.
    """
    then, other = _of(then_branch, then_takes), _of(else_branch, else_takes)
    if isinstance(condition, Tensor) and torch.compiler.is_compiling():
        chosen = torch.cond(condition.reshape(()).bool(), then, other, tuple(inputs))
        return tuple(chosen)
    return (then if condition else other)(*inputs)


def _of(module: Module, takes: Sequence[int]) -> Module:
    """Let a module take some of the inputs, and copy its results.

    torch.cond refuses branches that return their own inputs, as those for Identity do.
    """

    def called(*inputs: Tensor) -> tuple[Tensor, ...]:
        return tuple(result.clone() for result in module(*[inputs[i] for i in takes]))

    return called


def iterate(
    step: Callable[[int, list[Any]], tuple[Any, list[Any], list[Any]]],
    times: int | None,
    states: Sequence[Any],
) -> tuple[list[Any], list[list[Any]]]:
    """Call a function repeatedly, at most `times` times unless that is None.

    Args:
        step: Takes the number of the iteration and the states; returns whether to go on, the new
            states, and one row for each output that collects rows.
        times: The most iterations.
        states: The first states.

    Returns:
        The last states, and the rows of each iteration.
    """
    rows: list[list[Any]] = []
    current = list(states)
    for i in itertools.count() if times is None else range(times):
        going, current, row = step(i, current)
        rows.append(row)
        if not going:
            break
    return current, rows


def loop(
    body: Module,
    times: Any,
    condition: Any,
    states: Sequence[Tensor],
    captured: Sequence[Tensor],
    empty: Sequence[tuple[list[int], torch.dtype | None]],
) -> tuple[Tensor, ...]:
    """Loop: calls a module until the number of iterations is reached or it says to stop.

    Args:
        body: Takes the number of the iteration, True, the states and `captured`; returns whether to
            go on, the new states, and a row for each of the outputs that collect rows.
        times: The most iterations; None for no limit.
        condition: Whether to begin; None for yes.
        states: The first states.
        captured: What the body takes from around the loop.
        empty: For each output that collects rows, the sizes and type of a row, which are those of
            the output if there is no iteration.

    Returns:
        The last states, then the outputs whose rows are stacked along a new first dimension.
    """

    def step(i: int, current: list[Any]) -> tuple[Any, list[Any], list[Any]]:
        counters = torch.tensor(i), torch.tensor(True)
        going, *results = body(*counters, *current, *captured)
        return going, results[: len(states)], results[len(states) :]

    begins = condition is None or bool(condition)
    last, rows = iterate(step, number(times) if begins else 0, states)
    if not rows:
        made = [torch.zeros(0, *sizes, dtype=dtype) for sizes, dtype in empty]
        return (*last, *made)
    return (*last, *map(torch.stack, zip(*rows, strict=True)))


def scan(
    body: Module,
    states: Sequence[Tensor],
    inputs: Sequence[Tensor],
    captured: Sequence[Tensor],
    input_axes: Sequence[int],
    input_reverse: Sequence[int],
    output_axes: Sequence[int],
    output_reverse: Sequence[int],
) -> tuple[Tensor, ...]:
    """Scan: calls a module for each slice of the inputs.

    Args:
        body: Takes the states, a slice of each input and `captured`; returns the new states and a
            row for each of the outputs that collect rows.
        states: The first states.
        inputs: The tensors whose slices along `input_axes` the body takes.
        captured: What the body takes from around the node.
        input_axes: For each input, the dimension along which it is sliced.
        input_reverse: For each input, 1 if its slices are taken from the end.
        output_axes: For each output that collects rows, the new dimension along which they are
            stacked.
        output_reverse: For each of them, 1 if the last row comes first.

    Returns:
        The last states, then the outputs of stacked rows.
    """
    slices = [
        reversed(parts) if backwards else parts
        for parts, backwards in zip(
            [x.unbind(axis) for x, axis in zip(inputs, input_axes, strict=True)],
            input_reverse,
            strict=True,
        )
    ]
    given = list(zip(*slices, strict=True))

    def step(i: int, current: list[Any]) -> tuple[Any, list[Any], list[Any]]:
        results = list(body(*current, *given[i], *captured))
        return True, results[: len(states)], results[len(states) :]

    last, rows = iterate(step, len(given), states)
    if not rows:
        raise ValueError("Scan's inputs have no slices, expected at least one")
    columns = zip(zip(*rows, strict=True), output_axes, output_reverse, strict=True)
    return (*last, *(stacked(column, axis, backwards) for column, axis, backwards in columns))


def stacked(rows: Sequence[Tensor], axis: int, backwards: int) -> Tensor:
    """Stack rows along a new dimension, the last row first if `backwards`."""
    return torch.stack(list(reversed(rows)) if backwards else list(rows), axis)
