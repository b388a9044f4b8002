"""Whether a module computes what the model does that it was converted from."""

import copy
import itertools
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, fx, nn
from torch.fx.node import map_aggregate

#: From what a framework's model takes to what it returns, in the framework's layout.
Run = Callable[[list[Any]], list[Any]]

#: Of an output: the largest difference, and the largest absolute value that was expected.
Difference = tuple[float, float]

#: Below it single precision loses digits; smaller values are taken for zero.
SMALLEST = float(np.finfo(np.float32).tiny)

#: Inputs of more bytes together are not made.
LARGEST_INPUTS = 2**32

#: How many choices of open sizes are tried.
TRIALS = 64

#: Of two computations in single precision, by how much one may be further from float64.
ROUNDING_FACTOR = 5.0

#: What functions of values about one, such as a sigmoid, may be off by in single precision.
NEGLIGIBLE = 1e-6


@dataclass(frozen=True)
class Input:
    """One input of a model."""

    name: str
    #: None where a size is open, or in place of all sizes where not even their number is known.
    shape: list[int | None] | None
    dtype: np.dtype[Any]
    #: Names of sizes, which are equal where the names are; None where there is none.
    symbols: list[str | None]


@dataclass(frozen=True)
class Model:
    """A model as its own framework has it, and what samepad made of it."""

    inputs: list[Input]
    #: What computes it, for messages.
    runtime: str
    #: The framework's computation, from arrays to arrays.
    run: Run
    #: The same in float64, for floating-point arrays of that type; raises where there is no such.
    run_in_double: Run
    module: fx.GraphModule
    #: The computation of the module, or of one with its graph, from tensors to tensors.
    call: Callable[[nn.Module, list[Tensor]], list[Tensor]]


@dataclass(frozen=True)
class Settings:
    """What the user says of a comparison."""

    #: A larger difference is no rounding: `atol` plus `rtol` times an output's largest value.
    rtol: float
    atol: float
    #: Of the inputs, with or without the batch; None for a choice of ours.
    shapes: list[list[int]] | None = None
    #: Lowest and highest value, for all inputs or for each; None for a choice of ours.
    ranges: list[tuple[float, float]] | None = None


@dataclass(frozen=True)
class Result:
    """What came of a comparison."""

    right: bool
    #: Lines for the user.
    report: list[str]


def compare(model: Model, settings: Settings) -> Result:
    """Compare the outputs of a model and of its module for random inputs.

    Where they differ by more than the tolerance, the module in float64 is the reference of both:
    the module is right if it is about as close to it as the other runtime, or closer. That alone
    would hold for a wrong module too. So the model in float64, computed by its framework, has to
    agree with the reference; or, where nothing computes that, the other runtime has to be about as
    close to the reference as the module.

    Raises:
        ValueError: The settings do not fit the model's inputs; one of the two cannot take such
            inputs; their outputs' shapes differ, or there is nothing in them to compare.
    """
    arrays, theirs = _inputs(model, settings)
    try:
        ours = _ours(model, model.module, arrays)
    except Exception as error:  # of many kinds
        message = _cannot_run("the module", arrays, error, _has_choice(model, settings))
        raise ValueError(message) from error
    differences = _differences(ours, theirs)
    described = (
        f"{given.name} {array.dtype} {array.shape}"
        for given, array in zip(model.inputs, arrays, strict=True)
    )
    report = [
        f"compared with {model.runtime} for {', '.join(described)}",
        f"largest difference of outputs, relative: {_largest(differences):.1e}",
    ]
    if _are_small(differences, [settings.atol + settings.rtol * scale for _, scale in differences]):
        return Result(True, report)

    wide = [array.astype(np.float64) if _is_real(array.dtype) else array for array in arrays]
    try:
        exact = _ours(model, in_double(model.module), wide)
    except Exception as error:  # as above
        report.append(f"the module cannot be computed in float64: {reason(error)}")
        return Result(False, report)
    of_ours, of_theirs = _differences(ours, exact), _differences(theirs, exact)
    limits = [settings.atol + settings.rtol * scale for _, scale in of_ours]
    report.append(
        f"difference from the module in float64: of the module {_largest(of_ours):.1e}, of "
        f"{model.runtime} {_largest(of_theirs):.1e}"
    )
    right = _are_as_close(of_ours, of_theirs, limits)
    try:
        between = _differences(exact, model.run_in_double(wide))
    except Exception as error:  # of the frameworks' own kinds
        report.append(f"the model itself cannot be computed in float64: {reason(error)}")
        limits = [max(limit, NEGLIGIBLE) for limit in limits]
        right = right and _are_as_close(of_theirs, of_ours, limits)
    else:
        report.append(f"difference from the model in float64: {_largest(between):.1e}")
        right = right and _are_small(between, limits)
    if right:
        report.append("so the module is right: no further from float64 than single precision is")
    return Result(right, report)


def _are_small(differences: list[Difference], limits: list[float]) -> bool:
    return all(found <= limit for (found, _), limit in zip(differences, limits, strict=True))


def _are_as_close(these: list[Difference], others: list[Difference], limits: list[float]) -> bool:
    """Whether differences are within limits, or not much larger than the others."""
    allowed = [
        max(limit, ROUNDING_FACTOR * other)
        for limit, (other, _) in zip(limits, others, strict=True)
    ]
    return _are_small(these, allowed)


def _ours(model: Model, module: nn.Module, arrays: list[Any]) -> list[Tensor]:
    """A module's outputs."""
    with torch.no_grad():
        return model.call(module, [_tensor(array) for array in arrays])


def _tensor(array: Any) -> Tensor:
    if array.dtype.isbuiltin != 1:  # of ml_dtypes, of which torch takes the bytes
        bits = torch.from_numpy(array.view(f"u{array.dtype.itemsize}"))
        return bits.view(getattr(torch, array.dtype.name))
    return torch.from_numpy(array)


def _has_choice(model: Model, settings: Settings) -> bool:
    """Whether the user may choose sizes, and has not."""
    return settings.shapes is None and any(None in (given.shape or []) for given in model.inputs)


def _cannot_run(what: str, arrays: list[Any], error: Exception, has_choice: bool) -> str:
    shapes = ", ".join(str(array.shape) for array in arrays)
    advice = "; --input-shape sets the sizes that the model leaves open" if has_choice else ""
    return f"{what} cannot run on input of shape {shapes}: {reason(error)}{advice}"


def _differences(found: list[Any], expected: list[Any]) -> list[Difference]:
    """For each output, an array or a tensor, the largest difference and the largest value expected.

    Equal infinities do not differ, nor does NaN from NaN; either differs infinitely from a number.

    Raises:
        ValueError: Shapes differ, or an output has no finite number.
    """
    results = []
    for position, (ours, theirs) in enumerate(zip(found, expected, strict=True)):
        a, b = (torch.as_tensor(_plain(value)).double() for value in (ours, theirs))
        if a.shape != b.shape:
            raise ValueError(f"an output has shape {a.shape}, expected {b.shape}")
        if a.numel() == 0:
            results.append((0.0, 1.0))
            continue
        if not (a.isfinite() | b.isfinite()).any():
            raise ValueError(
                f"output {position} has no finite number for the inputs that were drawn; "
                "--input-range sets where they are from"
            )
        same = (a == b) | (a.isnan() & b.isnan())
        distance = (a - b).abs().nan_to_num(nan=torch.inf, posinf=torch.inf).masked_fill(same, 0)
        finite = b.masked_fill(~b.isfinite(), 0).abs()
        results.append((float(distance.amax()), float(finite.amax().clamp(min=SMALLEST))))
    return results


def _plain(value: Any) -> Any:
    """An array in a type that torch knows; a tensor as it is."""
    if isinstance(value, Tensor):
        return value
    array = np.asarray(value)
    return array if array.dtype.isbuiltin == 1 else array.astype(np.float64)


def _largest(differences: list[Difference]) -> float:
    return max((distance / scale for distance, scale in differences), default=0.0)


def in_double(module: fx.GraphModule) -> fx.GraphModule:
    """A copy of a module that computes in float64 what the module computes in other types."""
    half_or_single = (torch.float16, torch.bfloat16, torch.float32)
    wide = copy.deepcopy(module).double()
    for part in wide.modules():
        if not isinstance(part, fx.GraphModule):
            continue
        for node in part.graph.nodes:
            node.args, node.kwargs = map_aggregate(
                (node.args, node.kwargs),
                lambda leaf: torch.float64 if leaf in half_or_single else leaf,
            )
        part.recompile()
    return wide


def _inputs(model: Model, settings: Settings) -> tuple[list[Any], list[Any]]:
    """Random inputs that the framework's model takes, and its outputs for them.

    Of the sizes that the model leaves open, the first choice is taken with which it runs. Integers
    come from as wide a range as both computations take: they may be indices.

    Raises:
        ValueError: The settings do not fit the inputs, or the model does not run.
    """
    ranges = _given_ranges(model.inputs, settings.ranges)
    failure = None
    for shapes in _choices(model.inputs, settings.shapes):
        arrays = _draw(model.inputs, shapes, ranges)
        try:
            outputs = model.run(arrays)
            break
        except Exception as error:  # of the frameworks' own kinds
            has_choice = _has_choice(model, settings)
            failure = failure or (_cannot_run(model.runtime, arrays, error, has_choice), error)
    else:
        assert failure is not None
        message, cause = failure
        raise ValueError(message) from cause
    if settings.ranges is None:
        for position, given in enumerate(model.inputs):
            for highest in _highest(given.dtype, arrays[position].ndim):
                wider = [*ranges]
                wider[position] = (0, highest)
                candidate = _draw(model.inputs, shapes, wider)
                try:
                    outputs_there = model.run(candidate)
                    _ours(model, model.module, candidate)
                except Exception:  # as above; the narrower range is taken
                    continue
                ranges, arrays, outputs = wider, candidate, outputs_there
                break
    return arrays, outputs


def _highest(dtype: np.dtype[Any], rank: int) -> Iterator[int]:
    """Upper ends of ranges to try for an input of integers, from the widest to the narrowest."""
    if dtype.kind in "iu":
        # What has no second dimension may be sizes, which multiply.
        highest = min(255 if rank > 1 else 15, np.iinfo(dtype).max)
        while highest > 1:
            yield highest
            highest //= 2


def _given_ranges(
    inputs: list[Input], ranges: list[tuple[float, float]] | None
) -> list[tuple[float, float]]:
    """The range for each input.

    Raises:
        ValueError: There are neither one nor as many as inputs, or one holds nothing of its
            input's type.
    """
    found = [(0.0, 1.0)] if ranges is None else ranges
    found = found * len(inputs) if len(found) == 1 else found
    if len(found) != len(inputs):
        raise ValueError(
            f"{len(found)} input ranges are given, but the model has {len(inputs)} inputs"
        )
    for given, (low, high) in zip(inputs, found, strict=True):
        if given.dtype.kind in "iu":
            limits = np.iinfo(given.dtype)
            if math.ceil(low) > math.floor(high) or low < limits.min or high > limits.max:
                raise ValueError(
                    f"input range {low:g},{high:g} does not fit the input {given.name}, which is "
                    f"of {given.dtype}"
                )
    return found


def _draw(
    inputs: list[Input], shapes: list[list[int]], ranges: list[tuple[float, float]]
) -> list[Any]:
    """Random inputs, the same in each run.

    Raises:
        ValueError: They are too large, or of a type that has no numbers.
    """
    generator = np.random.default_rng(0)
    total = sum(
        math.prod(shape) * max(given.dtype.itemsize, 8)
        for given, shape in zip(inputs, shapes, strict=True)
    )
    if total > LARGEST_INPUTS:
        raise ValueError(
            f"inputs of shape {', '.join(map(str, shapes))} take {total:,} bytes, too many to "
            f"compare outputs for; at most {LARGEST_INPUTS:,} are taken"
        )
    arrays = []
    for given, shape, (low, high) in zip(inputs, shapes, ranges, strict=True):
        values: Any
        if given.dtype.kind in "iu":
            values = generator.integers(math.ceil(low), math.floor(high), shape, endpoint=True)
        elif given.dtype.kind == "b":
            values = generator.integers(0, 2, shape)
        elif _is_real(given.dtype):
            values = low + (high - low) * generator.random(shape)
        else:
            raise ValueError(f"input {given.name} is of {given.dtype}, expected a type of numbers")
        arrays.append(np.asarray(values, given.dtype))
    return arrays


def _is_real(dtype: np.dtype[Any]) -> bool:
    """Whether a type is of floating-point numbers; those of ml_dtypes are among them."""
    return dtype.kind == "f" or (dtype.kind == "V" and "float" in dtype.name)


def _choices(inputs: list[Input], given: list[list[int]] | None) -> Iterator[list[list[int]]]:
    """Shapes of the inputs: the given ones, else choices of the sizes that are open, best first.

    An open size is 2 where it comes first in a shape, which is mostly the batch, and 64 elsewhere;
    or, where the model does not run with that, 1 or a size that other inputs have: one input may
    fix a size that another one leaves open, as a recurrent layer's first state fixes the batch.

    Raises:
        ValueError: The given ones do not fit.
    """
    if given is not None:
        yield _fitting(inputs, given)
        return
    for item in inputs:
        if item.shape is None:
            raise ValueError(f"input {item.name} has no shape: --input-shape sets one")
    keys = [
        [
            (symbol or (position, dim)) if size is None else size
            for dim, (size, symbol) in enumerate(zip(item.shape or [], item.symbols, strict=True))
        ]
        for position, item in enumerate(inputs)
    ]
    usual: dict[Any, int] = {}
    others: dict[Any, set[int]] = {}
    for shape in keys:
        for dim, key in enumerate(shape):
            if not isinstance(key, int):
                usual[key] = 2 if dim == 0 else usual.get(key, 64)
                fixed = [n for other in keys if key not in other for n in other]
                others[key] = {1, *(n for n in fixed if isinstance(n, int))}
    # With a size of 1 more runs than should: it broadcasts.
    ordered = {
        key: sorted(sizes, key=lambda size: (size == 1, size)) for key, sizes in others.items()
    }

    def choices() -> Iterator[dict[Any, int]]:
        for count in range(len(usual) + 1):
            for chosen in itertools.combinations(usual, count):
                for sizes in itertools.product(*(ordered[key] for key in chosen)):
                    yield {**usual, **dict(zip(chosen, sizes, strict=True))}

    for sizes in itertools.islice(choices(), TRIALS):
        yield [[key if isinstance(key, int) else sizes[key] for key in shape] for shape in keys]


def _fitting(inputs: list[Input], given: list[list[int]]) -> list[list[int]]:
    """The given shapes, with the batch.

    Raises:
        ValueError: They do not fit.
    """
    if len(given) != len(inputs):
        raise ValueError(f"{len(given)} input shapes are given, but the model has {len(inputs)}")
    found = []
    for item, wanted in zip(inputs, given, strict=True):
        shape = item.shape
        if shape is None:
            found.append(wanted)
            continue
        # The batch may be left out.
        full = [shape[0] or 2, *wanted] if len(wanted) == len(shape) - 1 else wanted
        fits = len(full) == len(shape) and all(
            size in (None, other) for size, other in zip(shape, full, strict=True)
        )
        if not fits:
            raise ValueError(f"input shape {wanted} does not fit the model's input {shape}")
        found.append(full)
    return found


def reason(error: BaseException) -> str:
    """What an error says, in one line, or its kind where it says nothing."""
    return " ".join(str(error).split()) or type(error).__name__
