"""Compares convolutions with TensorFlow, Keras, JAX, ONNX Runtime and the definition.

Each generated case runs under every plan that samepad may choose for it.
"""

import contextlib
import itertools
import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any, NamedTuple

import naive
import numpy as np
import oracles
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from oracles import Array, Conv
from samepad import _C, functional
from torch.utils._python_dispatch import TorchDispatchMode

Arrays = tuple[Array, Array, Array | None]
Tensors = tuple[torch.Tensor | None, ...]
Oracle = Callable[[Conv, Array, Array, Array | None], Array]

FUNCTIONS = {1: functional.conv1d, 2: functional.conv2d, 3: functional.conv3d}
PLANS: list[Any] = [None, "crop", "pad"]  # None: samepad's own choice

PADDINGS = ["same", "same_lower", "valid", "causal", "signed pairs"]


def examples(count: int) -> settings:
    """Return settings for this many cases, the same ones in each run."""
    return settings(max_examples=count, derandomize=True, deadline=None, print_blob=True)


class Axis(NamedTuple):
    """One spatial dimension of a case."""

    size: int
    kernel: int
    stride: int
    dilation: int
    pair: naive.Pair = (0, 0)


@st.composite
def axes(draw: st.DrawFn, padding: str, strided: bool, dilated: bool, largest: int) -> Axis:
    kernel = draw(st.integers(1, largest))
    stride = draw(st.integers(1, largest + 1)) if strided else 1
    dilation = draw(st.integers(1, 3)) if dilated else 1
    extent = (kernel - 1) * dilation + 1
    # With "valid" there is no output unless the kernel fits the input.
    smallest = extent if padding == "valid" else 1
    size = draw(st.integers(smallest, smallest + 2 * largest - 1))
    if "pairs" not in padding:
        return Axis(size, kernel, stride, dilation)
    # Negative amounts crop, and one of them may even crop more than there is. What remains after
    # both amounts has to be large enough for the kernel.
    most_cropped = size + 2 if padding == "signed pairs" else 0
    before = draw(st.integers(-most_cropped, 4))
    least = max(-most_cropped, extent - size - before)
    after = draw(st.integers(least, max(least, 4)))
    return Axis(size, kernel, stride, dilation, (before, after))


@st.composite
def convs(draw: st.DrawFn, padding: str) -> Conv:
    """Draw a convolution with a mode, "pairs" of amounts, or "signed pairs", which also crop."""
    dimensions = 1 if padding == "causal" else draw(st.integers(1, 3))
    # Only one case in three has both stride and dilation, because some oracles refuse that.
    strided, dilated = draw(st.sampled_from([(True, False), (False, True), (True, True)]))
    axis = axes(padding, strided, dilated, largest=5 if dimensions < 3 else 3)
    sizes, kernel, stride, dilation, pairs = zip(
        *(draw(axis) for _ in range(dimensions)), strict=True
    )
    return Conv(
        batch=draw(st.integers(1, 2)),
        groups=draw(st.integers(1, 3)),
        in_per_group=draw(st.integers(1, 2)),
        out_per_group=draw(st.integers(1, 2)),
        bias=draw(st.booleans()),
        sizes=sizes,
        kernel=kernel,
        stride=stride,
        dilation=dilation,
        padding=pairs if "pairs" in padding else padding,
    )


def arrays_for(conv: Conv) -> Arrays:
    """Make input, weight and bias: reproducible, and exact in float32 too."""
    random = np.random.default_rng(0)

    def array(*shape: int) -> Array:
        return random.uniform(-1, 1, shape).astype(np.float32).astype(np.float64)

    bias = array(conv.weight_shape[0]) if conv.bias else None
    return array(*conv.input_shape), array(*conv.weight_shape), bias


def tensors_for(arrays: Arrays, dtype: torch.dtype, requires_grad: bool = False) -> Tensors:
    return tuple(
        None if array is None else torch.tensor(array, dtype=dtype, requires_grad=requires_grad)
        for array in arrays
    )


def run_samepad(
    conv: Conv, tensors: Tensors, plan: Any, padding_mode: Any = "zeros"
) -> torch.Tensor:
    with contextlib.nullcontext() if plan is None else _C._force_plan(plan):
        return FUNCTIONS[conv.dimensions](
            *tensors, conv.stride, conv.padding, conv.dilation, conv.groups, padding_mode
        )


def assert_close(actual: torch.Tensor | None, expected: Array | None, message: str) -> None:
    if actual is None or expected is None:
        assert actual is None, message
        assert expected is None, message
        return
    result = actual.detach().numpy()
    assert result.shape == expected.shape, message
    # A sum is off by at most a few thousand rounding errors, which is far less than a misplaced
    # element.
    tolerance = 2**12 * max(np.finfo(array.dtype).eps for array in (result, expected))
    np.testing.assert_allclose(result, expected, tolerance, tolerance, err_msg=message)


def assert_agrees(conv: Conv, expected: Array, arrays: Arrays, padding_mode: str = "zeros") -> None:
    for dtype, plan in itertools.product([torch.float64, torch.float32], PLANS):
        output = run_samepad(conv, tensors_for(arrays, dtype), plan, padding_mode)
        assert output.dtype == dtype
        assert_close(output, expected, f"plan {plan}, {dtype}")


def assert_gradients_agree(conv: Conv, expected: oracles.Gradients, arrays: Arrays) -> None:
    for plan in PLANS:
        leaves = tensors_for(arrays, torch.float64, requires_grad=True)
        output = run_samepad(conv, leaves, plan)
        output.backward(torch.from_numpy(oracles.cotangent(tuple(output.shape))))
        for name, leaf, gradient in zip(("input", "weight", "bias"), leaves, expected, strict=True):
            actual = None if leaf is None else leaf.grad
            assert_close(actual, gradient, f"plan {plan}, gradient of {name}")


def check_output(oracle: Oracle, conv: Conv) -> None:
    arrays = arrays_for(conv)
    assert_agrees(conv, oracle(conv, *arrays), arrays)


def check_output_and_gradients(conv: Conv) -> None:
    arrays = arrays_for(conv)
    output, gradients = oracles.jax_conv_and_gradients(conv, *arrays)
    assert_agrees(conv, output, arrays)
    assert_gradients_agree(conv, gradients, arrays)


@pytest.mark.parametrize("padding", PADDINGS)
@given(data=st.data())
@examples(100)
def test_jax(padding: str, data: st.DataObject) -> None:
    check_output_and_gradients(data.draw(convs(padding).filter(oracles.jax_is_sound)))


@pytest.mark.parametrize("padding", ["same", "valid"])
@given(data=st.data())
@examples(300)
def test_tensorflow(padding: str, data: st.DataObject) -> None:
    conv = data.draw(convs(padding).filter(oracles.tensorflow_is_sound))
    check_output(oracles.tensorflow_conv, conv)


@given(conv=convs("causal").filter(oracles.keras_is_sound))
@examples(50)
def test_keras(conv: Conv) -> None:
    check_output(oracles.keras_conv, conv)


@pytest.mark.parametrize("padding", ["same", "same_lower", "valid", "signed pairs"])
@given(data=st.data())
@examples(250)
def test_onnxruntime(padding: str, data: st.DataObject) -> None:
    conv = data.draw(convs(padding).filter(oracles.onnxruntime_is_sound))
    check_output(oracles.onnxruntime_conv, conv)


def naive_conv(conv: Conv, input: Array, weight: Array, bias: Array | None) -> Array:
    return naive.conv(input, weight, bias, conv.stride, conv.pads, conv.dilation, conv.groups)


def is_quick(conv: Conv) -> bool:
    """Whether a loop over kernel elements and outputs takes little time."""
    return math.prod(conv.input_shape) * math.prod(conv.weight_shape) < 20_000


@pytest.mark.parametrize("padding", PADDINGS)
@given(data=st.data())
@examples(60)
def test_definition(padding: str, data: st.DataObject) -> None:
    check_output(naive_conv, data.draw(convs(padding).filter(is_quick)))


EMPTY = Conv(
    batch=2,
    groups=2,
    in_per_group=2,
    out_per_group=1,
    bias=True,
    sizes=(0,),
    kernel=(3,),
    stride=(1,),
    dilation=(1,),
    padding="same",
)


@pytest.mark.parametrize(
    "conv",
    [
        EMPTY,
        replace(EMPTY, stride=(2,), padding="same_lower"),
        replace(EMPTY, dilation=(2,), bias=False),
        replace(EMPTY, stride=(5,), padding="causal"),
        replace(EMPTY, batch=0, sizes=(5,), stride=(2,)),
        replace(EMPTY, batch=0, sizes=(5,), padding="valid"),
        replace(EMPTY, sizes=(0, 5), kernel=(2, 3), stride=(1, 2), dilation=(1, 1)),
        replace(EMPTY, sizes=(4, 0), kernel=(4, 1), stride=(2, 3), dilation=(1, 2)),
        replace(EMPTY, sizes=(0, 0), kernel=(2, 2), stride=(3, 1), dilation=(1, 2)),
        replace(EMPTY, sizes=(3, 0, 2), kernel=(2, 3, 4), stride=(2, 1, 1), dilation=(1, 2, 1)),
        replace(EMPTY, batch=0, sizes=(3, 0), kernel=(2, 3), stride=(2, 2), dilation=(1, 1)),
    ],
    ids=lambda conv: f"{conv.padding}-{conv.batch}x{conv.sizes}",
)
def test_empty(conv: Conv) -> None:
    check_output_and_gradients(conv)
    if oracles.tensorflow_is_sound(conv):
        check_output(oracles.tensorflow_conv, conv)


# The padding modes, with numpy.pad's names for them.
FILLS: dict[str, Any] = {"reflect": "reflect", "replicate": "edge", "circular": "wrap"}


def can_fill(conv: Conv, padding_mode: str) -> bool:
    """Whether samepad allows the mode: no element is added twice, and nothing is cropped."""
    if padding_mode == "replicate":
        return min(map(min, conv.pads)) >= 0
    spare = 1 if padding_mode == "reflect" else 0
    return all(
        min(pair) >= 0 and max(pair) <= n - spare
        for n, pair in zip(conv.sizes, conv.pads, strict=True)
    )


def filled(conv: Conv, input: Array, padding_mode: str) -> tuple[Conv, Array]:
    """Return the same convolution for an input that is padded beforehand."""
    padded = np.pad(input, ((0, 0), (0, 0), *conv.pads), FILLS[padding_mode])
    return replace(conv, sizes=padded.shape[2:], padding="valid"), padded


@pytest.mark.parametrize("padding", ["same", "same_lower", "causal", "pairs"])
@pytest.mark.parametrize("padding_mode", FILLS)
@given(data=st.data())
@examples(25)
def test_padding_mode(padding: str, padding_mode: str, data: st.DataObject) -> None:
    conv = data.draw(convs(padding).filter(lambda conv: can_fill(conv, padding_mode)))
    arrays = arrays_for(conv)
    valid, padded = filled(conv, arrays[0], padding_mode)
    assert_agrees(conv, oracles.jax_conv(valid, padded, *arrays[1:]), arrays, padding_mode)


class PadCalls(TorchDispatchMode):
    """Counts padded copies."""

    count = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.count += func.overloadpacket is torch.ops.aten.constant_pad_nd
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize(("plan", "copies"), [("crop", 0), ("pad", 1)])
def test_plans_are_forced(plan: str, copies: int) -> None:
    conv = replace(EMPTY, sizes=(6,), stride=(2,))
    with PadCalls() as calls:
        run_samepad(conv, tensors_for(arrays_for(conv), torch.float32), plan)
    assert calls.count == copies
