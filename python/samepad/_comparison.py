"""Checks that a module computes the same as the model that it was converted from."""

import copy
import itertools
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor, fx, nn
from torch.fx.node import map_aggregate

#: Runs a framework's model: takes its inputs and returns its outputs, both in the framework's
#: layout.
Run = Callable[[list[Any]], list[Any]]

#: For one output: the largest difference, and the largest absolute value that was expected; or the
#: share of the integers that differ, and 1.
Difference = tuple[float, float]

#: The smallest normal number in single precision. Below it digits are lost, so an expected value
#: that is smaller is taken for this one when a relative difference is computed.
SMALLEST = float(np.finfo(np.float32).tiny)

#: The comparison refuses inputs that take more bytes than this in total.
LARGEST_INPUTS = 2**32

#: How many combinations of values are tried for the sizes that a model leaves open.
TRIALS = 64

#: Of two correct computations in single precision, one may be this many times as far from float64
#: as the other.
ROUNDING_FACTOR = 5.0

#: Functions of values around one, such as a sigmoid, may be off by this much in single precision.
NEGLIGIBLE = 1e-6

#: Rounding may decide this share of an output of integers, such as the indices of the largest
#: values.
UNDECIDED = 1e-3

#: Outputs whose largest value is below this are so small that a difference of NEGLIGIBLE says
#: nothing about whether they are right.
TELLING = 100 * NEGLIGIBLE


@dataclass(frozen=True)
class Input:
    """One input of a model."""

    name: str
    #: A size is None if it is open; the whole shape is None if not even the number of dimensions is
    #: known.
    shape: list[int | None] | None
    dtype: np.dtype[Any]
    #: One name or None per dimension; sizes with the same name are equal.
    symbols: list[str | None]
    #: Whether its integers stand for numbers, so that any of its type may occur; else they may be
    #: indices.
    quantized: bool = False


@dataclass(frozen=True)
class Model:
    """A model as its own framework runs it, and the module that samepad made of it."""

    inputs: list[Input]
    #: Name of the program that runs the model, for messages.
    runtime: str
    #: The framework's computation; takes and returns arrays.
    run: Run
    #: The same computation in float64, which takes its floating-point arrays in float64; raises an
    #: exception if the framework cannot compute the model in float64.
    run_in_double: Run
    module: fx.GraphModule
    #: Runs `module`, or another module with the same graph; takes and returns tensors.
    call: Callable[[nn.Module, list[Tensor]], list[Tensor]]
    #: How much each output may differ because it is rounded to steps; empty if none is.
    steps: list[float] = field(default_factory=list)
    #: Why correct outputs may differ by more, if they may; it is reported if they do.
    note: str = ""


@dataclass(frozen=True)
class Settings:
    """The user's options for a comparison."""

    #: A difference above `atol` + `rtol` times the largest value of the output is not taken for
    #: rounding.
    rtol: float
    atol: float
    #: Shapes of the inputs, with or without the batch; None to choose them automatically.
    shapes: list[list[int]] | None = None
    #: Lowest and highest value, one pair for all inputs or one for each; None for the defaults.
    ranges: list[tuple[float, float]] | None = None


@dataclass(frozen=True)
class Result:
    """The result of a comparison."""

    right: bool
    #: Lines to print for the user.
    report: list[str]
    #: The inputs for which outputs were compared.
    inputs: list[Tensor]


def compare(model: Model, settings: Settings) -> Result:
    """Compare the outputs of a model and of its module for random inputs.

    Where they differ by more than the tolerance, both are compared with the module computed in
    float64. The module is right if it is about as close to that reference as the other runtime is,
    or closer. This alone would also hold for a module that computes something wrong, so there is a
    second condition: the original model, computed in float64 by its framework, has to agree with
    the reference. If the framework cannot compute in float64, the other runtime's result has to be
    about as close to the reference as the module's.

    Raises:
        ValueError: The settings do not fit the model's inputs; the model or the module cannot run
            on such inputs; the shapes of their outputs differ; or an output has no finite number.
    """
    arrays, theirs = _inputs(model, settings)
    try:
        ours = _ours(model, model.module, arrays)
    except Exception as error:  # a module may raise any kind of error
        message = _cannot_run("the module", arrays, error, _has_choice(model, settings))
        raise ValueError(message) from error
    differences = _differences(ours, theirs)
    described = (
        f"{given.name} {array.dtype} {array.shape}"
        for given, array in zip(model.inputs, arrays, strict=True)
    )
    inputs = [_tensor(array) for array in arrays]
    report = [
        f"compared with {model.runtime} for {', '.join(described)}",
        f"largest difference of outputs, relative: {_largest(differences):.1e}",
    ]
    steps = model.steps or [0.0] * len(theirs)

    def limits_of(found: list[Difference]) -> list[float]:
        pairs = zip(found, steps, strict=True)
        return [settings.atol + settings.rtol * scale + step for (_, scale), step in pairs]

    if _are_small(differences, limits_of(differences)):
        return Result(True, report, inputs)
    if model.note:
        report.append(model.note)
    if any(steps):  # float64 shows how exact single precision is, but not how steps are rounded
        return Result(False, report, inputs)

    wide = [array.astype(np.float64) if _is_real(array.dtype) else array for array in arrays]
    try:
        exact = _ours(model, in_double(model.module), wide)
    except Exception as error:  # any kind of error, as above
        report.append(f"the module cannot be computed in float64: {reason(error)}")
        return Result(False, report, inputs)
    of_ours, of_theirs = (_differences(each, exact, by_share=True) for each in (ours, theirs))
    integers = [not each.is_floating_point() for each in exact]
    limits = [
        UNDECIDED if integer else limit
        for integer, limit in zip(integers, limits_of(of_ours), strict=True)
    ]
    report.append(
        f"difference from the module in float64: of the module {_largest(of_ours):.1e}, of "
        f"{model.runtime} {_largest(of_theirs):.1e}"
        + (" (of integers, the share that differs)" if any(integers) else "")
    )
    right = _are_as_close(of_ours, of_theirs, limits)
    try:
        between = _differences(exact, model.run_in_double(wide))
    except Exception as error:  # frameworks raise errors of their own classes
        report.append(f"the model itself cannot be computed in float64: {reason(error)}")
        limits = [
            max(limit, NEGLIGIBLE) if scale >= TELLING else limit
            for limit, (_, scale) in zip(limits, of_theirs, strict=True)
        ]
        right = right and _are_as_close(of_theirs, of_ours, limits)
        # A share alone would let through a module that is wrong in few integers.
        values_of_theirs, values_of_ours = (_differences(each, exact) for each in (theirs, ours))
        right = right and _are_as_close(values_of_theirs, values_of_ours, limits)
        if not right and any(scale < TELLING for _, scale in of_theirs):
            report.append(
                f"outputs below {TELLING:.0e} are too small to tell whether the module is right; "
                "--input-range draws other inputs, --atol accepts such differences"
            )
    else:
        report.append(f"difference from the model in float64: {_largest(between):.1e}")
        right = right and _are_small(between, limits_of(between))
    if right:
        report.append("so the module is right: no further from float64 than single precision is")
    return Result(right, report, inputs)


def _are_small(differences: list[Difference], limits: list[float]) -> bool:
    return all(found <= limit for (found, _), limit in zip(differences, limits, strict=True))


def _are_as_close(these: list[Difference], others: list[Difference], limits: list[float]) -> bool:
    """Whether each difference is within its limit, or not much larger than the other one."""
    allowed = [
        max(limit, ROUNDING_FACTOR * other)
        for limit, (other, _) in zip(limits, others, strict=True)
    ]
    return _are_small(these, allowed)


def _ours(model: Model, module: nn.Module, arrays: list[Any]) -> list[Tensor]:
    """The outputs of `module` for the inputs `arrays`."""
    with torch.no_grad():
        return model.call(module, [_tensor(array) for array in arrays])


def _tensor(array: Any) -> Tensor:
    if array.dtype.isbuiltin != 1:  # torch takes types of ml_dtypes only as bytes
        bits = torch.from_numpy(array.view(f"u{array.dtype.itemsize}"))
        return bits.view(getattr(torch, array.dtype.name))
    return torch.from_numpy(array)


def _has_choice(model: Model, settings: Settings) -> bool:
    """Whether the model leaves sizes open and the user has not chosen any."""
    return settings.shapes is None and any(None in (given.shape or []) for given in model.inputs)


def _cannot_run(what: str, arrays: list[Any], error: Exception, has_choice: bool) -> str:
    shapes = ", ".join(str(array.shape) for array in arrays)
    advice = "; --input-shape sets the sizes that the model leaves open" if has_choice else ""
    return f"{what} cannot run on input of shape {shapes}: {reason(error)}{advice}"


def _differences(found: list[Any], expected: list[Any], by_share: bool = False) -> list[Difference]:
    """Return, for each output, the largest difference and the largest value expected.

    With `by_share`, return the share of the elements that differ, and 1, for outputs of integers.

    Outputs may be arrays or tensors. Equal infinities do not differ, and NaN does not differ from
    NaN; infinity or NaN differs infinitely from a number.

    Raises:
        ValueError: The shapes of an output differ, or an output contains no finite number.
    """
    results = []
    for position, (ours, theirs) in enumerate(zip(found, expected, strict=True)):
        plain = [torch.as_tensor(_plain(value)) for value in (ours, theirs)]
        a, b = (value.double() for value in plain)
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
        if by_share and not plain[1].is_floating_point():
            results.append((1 - float(same.double().mean()), 1.0))
            continue
        distance = (a - b).abs().nan_to_num(nan=torch.inf, posinf=torch.inf).masked_fill(same, 0)
        finite = b.masked_fill(~b.isfinite(), 0).abs()
        results.append((float(distance.amax()), float(finite.amax().clamp(min=SMALLEST))))
    return results


def _plain(value: Any) -> Any:
    """Convert an array to a type that torch supports; return a tensor unchanged."""
    if isinstance(value, Tensor):
        return value
    array = np.asarray(value)
    return array if array.dtype.isbuiltin == 1 else array.astype(np.float64)


def _largest(differences: list[Difference]) -> float:
    return max((distance / scale for distance, scale in differences), default=0.0)


def in_double(module: fx.GraphModule) -> fx.GraphModule:
    """A copy of `module` in which every floating-point computation is in float64."""
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
    """Return random inputs that the framework's model accepts, and its outputs for them.

    For the sizes that the model leaves open, the first choice with which the model runs is taken.
    Integers may be indices, so they are drawn from the widest range that both computations accept.

    Raises:
        ValueError: The settings do not fit the inputs, or the model runs for no choice of sizes.
    """
    ranges = _given_ranges(model.inputs, settings.ranges)
    failure = None
    for shapes in _choices(model.inputs, settings.shapes):
        arrays = _draw(model.inputs, shapes, ranges)
        try:
            outputs = model.run(arrays)
            break
        except Exception as error:  # frameworks raise errors of their own classes
            has_choice = _has_choice(model, settings)
            failure = failure or (_cannot_run(model.runtime, arrays, error, has_choice), error)
    else:
        assert failure is not None
        message, cause = failure
        raise ValueError(message) from cause
    if settings.ranges is None:
        for position, given in enumerate(model.inputs):
            if given.quantized:
                continue
            for highest in _highest(given.dtype, arrays[position].ndim):
                wider = [*ranges]
                wider[position] = (0, highest)
                candidate = _draw(model.inputs, shapes, wider)
                try:
                    outputs_there = model.run(candidate)
                    _ours(model, model.module, candidate)
                except Exception:  # any kind of error: try the next, narrower range
                    continue
                ranges, arrays, outputs = wider, candidate, outputs_there
                break
    return arrays, outputs


def _highest(dtype: np.dtype[Any], rank: int) -> Iterator[int]:
    """Yield upper ends of ranges to try for an input of integers, the widest range first."""
    if dtype.kind in "iu":
        # An input with fewer than two dimensions may hold sizes, whose product has to stay small.
        highest = min(255 if rank > 1 else 15, np.iinfo(dtype).max)
        while highest > 1:
            yield highest
            highest //= 2


def _given_ranges(
    inputs: list[Input], ranges: list[tuple[float, float]] | None
) -> list[tuple[float, float]]:
    """The range of values for each input.

    Raises:
        ValueError: The number of ranges is neither one nor the number of inputs, or a range does
            not fit the integer type of its input.
    """
    found = [_usual_range(given) for given in inputs] if ranges is None else ranges
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


def _usual_range(given: Input) -> tuple[float, float]:
    if given.quantized:
        limits = np.iinfo(given.dtype)
        return float(limits.min), float(limits.max)
    return 0.0, 1.0


def _draw(
    inputs: list[Input], shapes: list[list[int]], ranges: list[tuple[float, float]]
) -> list[Any]:
    """Draw random inputs from a fixed seed, so that each run gets the same ones.

    Raises:
        ValueError: The inputs would take too much memory, or an input's type is not numeric.
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
    """Whether `dtype` is a floating-point type, including those of ml_dtypes."""
    return dtype.kind == "f" or (dtype.kind == "V" and "float" in dtype.name)


def _choices(inputs: list[Input], given: list[list[int]] | None) -> Iterator[list[list[int]]]:
    """Yield shapes of all inputs: the given ones, or else choices of the open sizes, best first.

    An open size is 2 if it is the first of its shape, which is usually the batch, and 64 elsewhere.
    If the model does not run with these, 1 and the sizes of the other inputs are tried, because one
    input may determine a size that another one leaves open: the initial state of a recurrent layer,
    for example, determines the batch.

    Raises:
        ValueError: The given shapes do not fit the inputs, or an input has no shape and none is
            given.
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
    # A size of 1 broadcasts, so that a model may run with it where the size is not right: try it
    # last.
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
    """The given shapes, completed by the batch where it was left out.

    Raises:
        ValueError: They do not fit the inputs.
    """
    if len(given) != len(inputs):
        raise ValueError(f"{len(given)} input shapes are given, but the model has {len(inputs)}")
    found = []
    for item, wanted in zip(inputs, given, strict=True):
        shape = item.shape
        if shape is None:
            found.append(wanted)
            continue
        # The user may leave out the batch, which comes first.
        full = [shape[0] or 2, *wanted] if len(wanted) == len(shape) - 1 else wanted
        fits = len(full) == len(shape) and all(
            size in (None, other) for size, other in zip(shape, full, strict=True)
        )
        if not fits:
            raise ValueError(f"input shape {wanted} does not fit the model's input {shape}")
        found.append(full)
    return found


def reason(error: BaseException) -> str:
    """The message of an error in one line, or the name of its class if it has no message."""
    return " ".join(str(error).split()) or type(error).__name__
