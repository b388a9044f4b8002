"""Makes random calls of samepad.functional, and computes what each should return.

The references compute in NumPy and float64 and follow the definitions: pads are counted
(naive.pads), windows are cut out of an explicitly padded array, a transposed convolution adds up
its kernels.

A failed case is printed as one line that can be pasted into `python -c` in this folder:

    from fuzzing import *; check(Case(...))
"""

import contextlib
import itertools
import math
import random
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import naive
import numpy as np
import samepad.functional
import torch
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray
from samepad import _C, backends
from torch import Tensor

Array = NDArray[Any]
Pairs = list[naive.Pair]


@dataclass(frozen=True)
class Case:
    """A call: the function's name, the shapes, types and layout of its tensors, and options."""

    function: str
    seed: int
    shapes: tuple[tuple[int, ...], ...]
    options: dict[str, Any]
    dtype: str = "float64"
    #: "contiguous", "strided" or "channels_last".
    layout: str = "contiguous"
    #: The plan that a convolution is forced to run, if it can.
    plan: str | None = None

    @property
    def dimensions(self) -> int:
        return 1 if "1d" in self.function else 2 if "2d" in self.function else 3

    @property
    def batched(self) -> bool:
        return len(self.shapes[0]) == self.dimensions + 2

    @property
    def sizes(self) -> tuple[int, ...]:
        return self.shapes[0][-self.dimensions :]

    @property
    def kernel(self) -> tuple[int, ...]:
        if "kernel_size" in self.options:
            return each(self.options["kernel_size"], self.dimensions)
        return self.shapes[1][2:]

    @property
    def stride(self) -> tuple[int, ...]:
        return each(self.options.get("stride") or self.kernel, self.dimensions)

    @property
    def dilation(self) -> tuple[int, ...]:
        return each(self.options.get("dilation", 1), self.dimensions)

    @property
    def extents(self) -> tuple[int, ...]:
        return tuple((k - 1) * d + 1 for k, d in zip(self.kernel, self.dilation, strict=True))

    def pairs(self, sizes: tuple[int, ...]) -> Pairs:
        """Return the (before, after) pairs of the padding for these sizes."""
        padding = self.options["padding"]
        if isinstance(padding, str):
            axes = zip(sizes, self.kernel, self.stride, self.dilation, strict=True)
            return [naive.pads(padding, *axis) for axis in axes]
        amounts = each(padding, self.dimensions)
        return [amount if isinstance(amount, tuple) else (amount, amount) for amount in amounts]


def padded_axes(kernel: Any, shape: tuple[int, ...]) -> int:
    """Return how many of the input's last dimensions `pad` pads."""
    count = len(each(kernel, 1))
    return count if count > 1 else max(len(shape) - 2, 1)


def pads_alone(case: Case) -> Pairs:
    """Return the (before, after) pairs that the function `pad` adds."""
    d = padded_axes(case.options["kernel_size"], case.shapes[0])
    names = ("kernel_size", "stride", "dilation")
    values = (
        value * d if len(value) == 1 else value
        for value in (each(case.options[name], 1) for name in names)
    )
    axes = zip(case.shapes[0][-d:], *values, strict=True)
    return [naive.pads(case.options["padding"], *axis) for axis in axes]


def each(value: Any, dimensions: int) -> tuple[Any, ...]:
    return value if isinstance(value, tuple) else (value,) * dimensions


# References


def padded(x: Array, pairs: Pairs, mode: str = "constant", fill: float = 0) -> Array:
    """Pad the last dimensions of `x`; negative amounts crop."""
    around = [(0, 0)] * (x.ndim - len(pairs))
    added = [(max(before, 0), max(after, 0)) for before, after in pairs]
    options = {"constant_values": fill} if mode == "constant" else {}
    modes = {"constant": "constant", "reflect": "reflect", "replicate": "edge", "circular": "wrap"}
    x = np.pad(x, [*around, *added], modes[mode], **options)  # type: ignore[call-overload]
    cuts = [
        slice(max(-before, 0), size - max(-after, 0))
        for size, (before, after) in zip(x.shape[-len(pairs) :], pairs, strict=True)
    ]
    return x[(..., *cuts)]


def windows(x: Array, case: Case, starts: list[list[int]]) -> Array:
    """Cut the windows at `starts` out of padded `x`; (N, C, outputs..., kernel...), NaN outside."""
    missing = [
        (0, max(0, (axis[-1] if axis else 0) + e - n))
        for n, e, axis in zip(x.shape[2:], case.extents, starts, strict=True)
    ]
    x = padded(x, missing, fill=float("nan"))
    views = sliding_window_view(x, case.extents, tuple(range(2, x.ndim)))
    views = views[(slice(None), slice(None), *np.ix_(*starts))]
    return views[(..., *(slice(None, None, d) for d in case.dilation))]


def starts(case: Case, totals: tuple[int, ...], limits: tuple[int, ...]) -> list[list[int]]:
    """Return where windows start; with ceil_mode one more may overhang if it starts in limits."""
    same = case.options["padding"] in ("same", "same_lower")
    rounding = case.options.get("ceil_mode", False) and not same
    result = []
    for total, limit, e, s in zip(totals, limits, case.extents, case.stride, strict=True):
        axis = [start for start in range(0, total, s) if start + e <= total]
        following = len(axis) * s
        if rounding and axis[-1] + e < total and following < limit:
            axis.append(following)
        result.append(axis)
    return result


def conv(case: Case, x: Array, w: Array, bias: Array | None) -> Array:
    mode = case.options.get("padding_mode", "zeros").replace("zeros", "constant")
    x = padded(x, case.pairs(case.sizes), mode)
    cut = windows(x, case, starts(case, x.shape[2:], x.shape[2:]))
    g, d = case.options["groups"], case.dimensions
    outs = cut.shape[2 : 2 + d]
    cut = cut.reshape(len(x), g, w.shape[1], math.prod(outs), math.prod(case.kernel))
    kernels = w.reshape(g, len(w) // g, w.shape[1], math.prod(case.kernel))
    output = np.einsum("ngcpk,gock->ngop", cut, kernels).reshape(len(x), len(w), *outs)
    return output if bias is None else output + bias.reshape(-1, *[1] * d)


def conv_transpose(case: Case, x: Array, w: Array, bias: Array | None) -> Array:
    g, d = case.options["groups"], case.dimensions
    per_group = w.shape[1]
    full = [(n - 1) * s + e for n, s, e in zip(case.sizes, case.stride, case.extents, strict=True)]
    mode = case.options["padding"]
    if mode in ("same", "same_lower"):
        wanted = case.options.get("output_size") or tuple(
            n * s for n, s in zip(case.sizes, case.stride, strict=True)
        )
        crops = case.pairs(wanted)
    else:
        crops = [(0, 0)] * d if mode == "valid" else case.pairs(case.sizes)
        extra = each(case.options.get("output_padding", 0), d)
        wanted = case.options.get("output_size") or tuple(
            f - b - a + tail for f, (b, a), tail in zip(full, crops, extra, strict=True)
        )
    length = [max(f, b + m) for f, (b, _), m in zip(full, crops, wanted, strict=True)]
    output = np.zeros((len(x), g * per_group, *(max(n, 0) for n in length)))
    groups = x.reshape(len(x), g, x.shape[1] // g, math.prod(case.sizes))
    for tap in itertools.product(*map(range, case.kernel)):
        kernel = w[(slice(None), slice(None), *tap)].reshape(g, -1, per_group)
        added = np.einsum("ngcp,gco->ngop", groups, kernel)
        places = tuple(
            slice(t * dil, t * dil + (n - 1) * s + 1, s) if n else slice(0, 0)
            for t, dil, n, s in zip(tap, case.dilation, case.sizes, case.stride, strict=True)
        )
        output[(..., *places)] += added.reshape(len(x), g * per_group, *case.sizes)
    kept = tuple(slice(b, b + m) for (b, _), m in zip(crops, wanted, strict=True))
    output = output[(..., *kept)]
    return output if bias is None else output + bias.reshape(-1, *[1] * d)


def pool(case: Case, x: Array) -> Array:
    d = case.dimensions
    pairs = case.pairs(case.sizes)
    inside = padded(np.ones_like(x), pairs)
    at = starts(
        case, inside.shape[2:], tuple(n + b for n, (b, _) in zip(case.sizes, pairs, strict=True))
    )
    taps = tuple(range(-d, 0))
    if case.function.startswith("max"):
        cut = windows(padded(x, pairs, fill=-np.inf), case, at)
        return np.where(np.isnan(cut), -np.inf, cut).max(taps)
    total = np.nansum(windows(padded(x, pairs), case, at), taps)
    if case.options.get("divisor_override"):
        return rounded(case, total / case.options["divisor_override"])
    counts = case.options["count_include_pad"]
    if counts is None:
        counts = not isinstance(case.options["padding"], str)
    real = windows(inside, case, at)
    return rounded(case, total / ((~np.isnan(real)).sum(taps) if counts else np.nansum(real, taps)))


def rounded(case: Case, means: Array) -> Array:
    """Round the means of integers towards zero, as PyTorch does."""
    return np.trunc(means) if "int" in case.dtype else means


# Cases

MODES = ["same", "same", "same_lower", "valid"]
PADDING_MODES = ["zeros", "zeros", "reflect", "replicate", "circular"]


class _IllegalError(Exception):
    """The call that was drawn is not legal."""


def _some(rng: random.Random, d: int, low: int, high: int) -> Any:
    """Draw an int, or a tuple with an int for each dimension."""
    return rng.choice([rng.randint(low, high), tuple(rng.randint(low, high) for _ in range(d))])


def _padding(rng: random.Random, d: int, extents: tuple[int, ...], low: int) -> Any:
    if rng.random() < 0.6:
        return rng.choice(MODES + ["causal"] * (d == 1 and low < 0))
    if rng.random() < 0.5:
        return _some(rng, d, 0, 3)
    return tuple((rng.randint(low, e - 1), rng.randint(low, e - 1)) for e in extents)


def _draw_lengthening(
    rng: random.Random, options: dict[str, Any], sizes: tuple[int, ...], extents: Any, d: int
) -> None:
    """Draw output_padding or output_size of a transposed convolution padded by amounts."""
    steps, dilation = each(options["stride"], d), each(options["dilation"], d)
    if rng.random() < 0.4:
        amounts = each(0 if options["padding"] == "valid" else options["padding"], d)
        least = [
            (n - 1) * s + e - sum(each(amount, 2))
            for n, s, e, amount in zip(sizes, steps, extents, amounts, strict=True)
        ]
        options["output_size"] = tuple(
            max(size, 1) + rng.randint(0, s - 1 + min(size - 1, 0))
            for size, s in zip(least, steps, strict=True)
            if size + s > 1
        )
        if len(options["output_size"]) < d:
            raise _IllegalError
        return
    longest = [max(pair) - 1 for pair in zip(steps, dilation, strict=True)]
    if rng.random() < 0.2:
        options["output_padding"] = rng.randint(0, min(longest))
    else:
        options["output_padding"] = tuple(rng.randint(0, most) for most in longest)


def _draw_pad(rng: random.Random, seed: int, shape: tuple[int, ...], d: int) -> Case:
    """Draw a call of `pad`, which pads as many last dimensions as the kernel has."""
    kernel = _some(rng, rng.randint(1, d), 1, 5)
    padded_dimensions = padded_axes(kernel, shape)
    options: dict[str, Any] = {
        "kernel_size": kernel,
        "stride": _some(rng, padded_dimensions, 1, 4),
        "dilation": rng.choice([1, 1, _some(rng, padded_dimensions, 1, 3)]),
        "padding": rng.choice(MODES + ["causal"] * (padded_dimensions == 1)),
        "mode": rng.choice(["constant", "constant", "reflect", "replicate", "circular"]),
    }
    if options["mode"] == "constant" and rng.random() < 0.5:
        options["value"] = rng.choice([-1.5, 2])
    # PyTorch pads with the input's own elements only if at most two dimensions are left unpadded,
    # and only if no dimension but the batch is empty.
    if options["mode"] != "constant" and (len(shape) - padded_dimensions > 2 or 0 in shape[1:]):
        raise _IllegalError
    case = Case("pad", seed, (shape,), options)
    for n, pair in zip(shape[-padded_dimensions:], pads_alone(case), strict=True):
        limit = {"reflect": n - 1, "circular": n}.get(options["mode"], max(pair))
        if max(pair) > limit:
            raise _IllegalError
    return case


def draw(rng: random.Random, seed: int) -> Case:
    d = rng.choice([1, 1, 2, 2, 2, 3])
    family = rng.choice(["conv", "conv", "conv_transpose", "max_pool", "avg_pool", "pad"])
    most = {1: (12, 6, 5, 4), 2: (9, 5, 4, 3), 3: (5, 3, 3, 2)}[d]
    sizes = tuple(
        rng.randint(0, most[0]) if rng.random() < 0.4 else rng.randint(1, most[0]) for _ in range(d)
    )
    kernel, stride = _some(rng, d, 1, most[1]), _some(rng, d, 1, most[2])
    dilation = rng.choice([1, 1, _some(rng, d, 1, most[3])]) if family != "avg_pool" else 1
    extents = tuple(
        (k - 1) * r + 1 for k, r in zip(each(kernel, d), each(dilation, d), strict=True)
    )
    groups = rng.choice([1, 1, 2, 3]) if "conv" in family else 1
    channels = groups * rng.randint(1, 2)
    batch = [] if rng.random() < 0.15 else [rng.choice([0, 1, 2, 2])]
    shapes = [(*batch, channels, *sizes)]
    options: dict[str, Any] = {"stride": stride}
    if family == "pad":
        return _draw_pad(rng, seed, shapes[0], d)
    function = f"{family}{d}d"
    if "conv" in family:
        other = rng.randint(1, 2)
        first, second = (groups * other, channels // groups)
        if family == "conv_transpose":
            first, second = (channels, other)
        shapes.append((first, second, *each(kernel, d)))
        if rng.random() < 0.5:
            shapes.append((groups * other,))
        options |= {"dilation": dilation, "groups": groups}
    if family == "conv":
        options["padding"] = _padding(rng, d, extents, -1)
        options["padding_mode"] = rng.choice(PADDING_MODES)
    elif family == "conv_transpose":
        options["padding"] = _padding(rng, d, extents, 0)
        steps = each(stride, d)
        if rng.random() < 0.4 and options["padding"] in ("same", "same_lower"):
            options["output_size"] = tuple(
                n * s - rng.randint(0, min(s, n * s) - 1) if n else 0
                for n, s in zip(sizes, steps, strict=True)
            )
        elif not isinstance(options["padding"], str) or options["padding"] == "valid":
            _draw_lengthening(rng, options, sizes, extents, d)
    else:
        options |= {"kernel_size": kernel, "padding": _padding(rng, d, extents, 0)}
        options["ceil_mode"] = rng.random() < 0.3
        if rng.random() < 0.1:
            options["stride"] = None
    if family == "max_pool":
        options |= {"dilation": dilation, "return_indices": rng.random() < 0.5}
    if family == "avg_pool":
        options["count_include_pad"] = rng.choice([None, False, True])
        if d > 1 and rng.random() < 0.2:
            options["divisor_override"] = rng.randint(1, 5)
    dtypes = ["float64"] * 6 + ["float32"]
    # PyTorch's max_pool1d does not pool integers unless it returns indices.
    if family == "max_pool" and (d > 1 or options["return_indices"]):
        dtypes += ["int64", "int32", "uint8"]
    if family == "avg_pool":
        dtypes += ["int64"] * 2
    dtype = rng.choice(dtypes)
    layouts = ["contiguous"] * 3 + ["strided"]
    # PyTorch's max pools of channels_last uint8 count elements in uint8, which overflows.
    if d > 1 and batch and dtype != "uint8":
        layouts.append("channels_last")
    case = Case(
        function,
        seed,
        tuple(shapes),
        options,
        dtype,
        rng.choice(layouts),
        rng.choice([None, *backends.plans()]) if family == "conv" else None,
    )
    _check_legal(case, family)
    return case


def _check_legal(case: Case, family: str) -> None:
    """Raise for arguments that PyTorch refuses or for which it computes wrong results."""
    padding = case.options["padding"]
    amounts = not isinstance(padding, str)
    same = padding in ("same", "same_lower", "causal")
    if 0 in case.sizes and not same:
        raise _IllegalError
    pairs = case.pairs(case.sizes)
    for n, k, e, s, dil, (before, after) in zip(
        case.sizes, case.kernel, case.extents, case.stride, case.dilation, pairs, strict=True
    ):
        if family == "conv_transpose":
            shortest = (n - 1) * s + e - before * amounts - after * amounts
            if not same and shortest < 1 and "output_size" not in case.options:
                raise _IllegalError
            continue
        if not same and n + before + after < e:
            raise _IllegalError
        mode = case.options.get("padding_mode", "zeros")
        limit = {"reflect": n - 1, "circular": n}.get(mode, n + before + after)
        if mode != "zeros" and (min(before, after) < 0 or max(before, after) > limit or n == 0):
            raise _IllegalError
        if "pool" in family and amounts and not isinstance(each(padding, 1)[0], tuple):
            # PyTorch requires pads of at most half the kernel, and an element in each window.
            if before > k // 2 or (dil > 1 and n < dil and before):
                raise _IllegalError
            if case.function == "avg_pool3d" and n < k:
                raise _IllegalError
        if case.function == "avg_pool3d" and padding == "valid" and n < k:
            raise _IllegalError


def cases(seed: int, count: int) -> Iterator[Case]:
    """Yield `count` legal cases, the same ones for the same seed."""
    rng = random.Random(seed)
    number = 0
    while number < count:
        with contextlib.suppress(_IllegalError):
            yield draw(rng, seed * 1_000_003 + number)
            number += 1


def tags(case: Case) -> set[str]:
    """Return the properties of a case by which cases are counted."""
    found = {case.function, str(case.dtype), case.layout, f"plan {case.plan}"}
    padding = case.options["padding"]
    found.add(padding if isinstance(padding, str) else "amounts")
    if isinstance(padding, tuple) and isinstance(padding[0], tuple):
        found.add("pairs")
    if case.function == "pad":
        return found | {f"pad {case.options['mode']}"}
    pairs = zip(case.sizes, case.kernel, case.stride, case.dilation, strict=True)
    for n, k, s, d in pairs:
        conditions = {
            "k < s": k < s,
            "k > n": k > n,
            "empty": n == 0,
            "dilated": d > 1,
            "n = 1": n == 1,
        }
        found |= {name for name, holds in conditions.items() if holds}
    found |= {name for name, value in case.options.items() if value}
    if not case.batched:
        found.add("unbatched")
    return found | {f"fill {case.options.get('padding_mode')}"}


# Checks


def tensors(case: Case) -> list[Tensor]:
    generator = torch.Generator().manual_seed(case.seed)
    made = [
        (torch.randn(shape, generator=generator, dtype=torch.float64) * 4).to(
            getattr(torch, case.dtype)
        )
        for shape in case.shapes
    ]
    if case.layout == "strided":
        made[0] = made[0].repeat_interleave(2, -1)[..., ::2]
    if case.layout == "channels_last":
        formats = {4: torch.channels_last, 5: torch.channels_last_3d}
        made[0] = made[0].contiguous(memory_format=formats[made[0].dim()])
    return made


def is_dense(tensor: Tensor) -> bool:
    formats = {4: torch.channels_last, 5: torch.channels_last_3d}
    return tensor.is_contiguous() or (
        tensor.dim() in formats and tensor.is_contiguous(memory_format=formats[tensor.dim()])
    )


def expected(case: Case, given: list[Tensor]) -> Array:
    x, *others = (tensor.numpy().astype(np.float64) for tensor in given)
    if case.function == "pad":
        return padded(x, pads_alone(case), case.options["mode"], case.options.get("value", 0))
    x = x if case.batched else x[None]
    if "pool" in case.function:
        output = pool(case, x)
    else:
        reference = conv_transpose if "transpose" in case.function else conv
        output = reference(case, x, others[0], others[1] if len(others) > 1 else None)
    return output if case.batched else output[0]


def problem(case: Case) -> str | None:
    """Return what is wrong with the result of a call, or None if it is right."""
    given = tensors(case)
    function = getattr(samepad.functional, case.function)
    guard = _C._force_plan(case.plan) if case.plan else contextlib.nullcontext()  # type: ignore[arg-type]
    try:
        with guard:
            output = function(*given, **case.options)
    except Exception as error:
        return f"raises {type(error).__name__}: {error}"
    indices = None
    if case.options.get("return_indices"):
        output, indices = output
    reference = expected(case, given)
    if output.shape != reference.shape:
        return f"has shape {tuple(output.shape)}, not {reference.shape}"
    if output.dtype != given[0].dtype:
        return f"has type {output.dtype}"
    tolerance = 2e-4 if case.dtype == "float32" else 1e-9
    values = output.numpy().astype(np.float64)
    if case.dtype in ("int64", "int32", "uint8"):
        # Integer types have their smallest value in place of -inf.
        smallest = float(torch.iinfo(output.dtype).min)
        reference = np.where(np.isinf(reference), smallest, reference)
    if not np.allclose(values, reference, rtol=tolerance, atol=tolerance):
        return f"is off by {np.nanmax(np.abs(values - reference)):.3g}"
    if case.function != "pad" and not is_dense(output):
        return f"is not dense: {output.shape}, {output.stride()}"
    if indices is not None and output.numel():
        d = case.dimensions
        there = given[0].flatten(-d).gather(-1, indices.flatten(-d)).view(output.shape)
        # A dilated window may contain only padding, which has no index.
        held = torch.from_numpy(np.isfinite(expected(case, given)))
        if not torch.equal(there[held], output[held]):
            return "has indices of other elements"
    if case.seed % 8 == 0:
        meta = function(*(tensor.to("meta") for tensor in given), **case.options)
        shape = (meta[0] if indices is not None else meta).shape
        if shape != output.shape:
            return f"has shape {tuple(shape)} on the meta device"
    return None


def check(case: Case) -> None:
    """Raise if the call's result is wrong."""
    found = problem(case)
    assert found is None, f"{found}: from fuzzing import *; check({case!r})"
