"""Compares transposed convolutions, pools and Keras's layers with other libraries."""

from collections.abc import Callable
from typing import Any

import family_oracles as oracles
import keras
import numpy as np
import pytest
import samepad
import torch
import torch.nn.functional as F
from family_oracles import Pool, Shape, Transposed
from hypothesis import given
from hypothesis import strategies as st
from oracles import Array, cotangent
from samepad import functional
from test_oracles import Arrays, Tensors, assert_close, examples, tensors_for

PADDINGS = ["same", "same_lower", "valid", "pairs"]


@st.composite
def windows(draw: st.DrawFn, dilated: bool = True) -> tuple[Shape, Shape, Shape]:
    """Draw kernel, stride and dilation of one to three dimensions."""
    dimensions = draw(st.integers(1, 3))
    largest = 5 if dimensions < 3 else 3
    # Only one case in three has both stride and dilation, because some oracles refuse that.
    kinds = [(True, False), (False, True), (True, True)] if dilated else [(True, False)]
    strided, spread = draw(st.sampled_from(kinds))

    def ints(most: int) -> Shape:
        return tuple(draw(st.integers(1, most)) for _ in range(dimensions))

    return ints(largest), ints(largest if strided else 1), ints(3 if spread else 1)


def extents_of(kernel: Shape, dilation: Shape) -> Shape:
    return tuple((k - 1) * d + 1 for k, d in zip(kernel, dilation, strict=True))


@st.composite
def transposeds(draw: st.DrawFn, padding: str) -> Transposed:
    kernel, stride, dilation = draw(windows())
    extents = extents_of(kernel, dilation)
    sizes = tuple(draw(st.integers(1, 5 if len(kernel) < 3 else 3)) for _ in kernel)
    changed = draw(st.booleans())
    change = tuple(draw(st.integers(0, s - 1)) if changed else 0 for s in stride)
    pairs = []
    for n, s, e in zip(sizes, stride, extents, strict=True):
        full = (n - 1) * s + e
        before = draw(st.integers(0, min(full, e) - 1))
        pairs.append((before, draw(st.integers(0, min(full - before, e) - 1))))
    return Transposed(
        batch=draw(st.integers(1, 2)),
        groups=draw(st.sampled_from([1, 1, 2, 3])),
        in_per_group=draw(st.integers(1, 2)),
        out_per_group=draw(st.integers(1, 2)),
        bias=draw(st.booleans()),
        sizes=sizes,
        kernel=kernel,
        stride=stride,
        dilation=dilation,
        padding=tuple(pairs) if padding == "pairs" else padding,
        change=change,
    )


@st.composite
def pools(draw: st.DrawFn, maximum: bool, padding: str, rounded: bool = False) -> Pool:
    """Draw a pool; with `rounded`, some round up and some averages count their padding."""
    kernel, stride, dilation = draw(windows(dilated=maximum))
    extents = extents_of(kernel, dilation)
    most = 9 if len(kernel) < 3 else 5
    # Without SAME there may be no padding, so the kernel has to fit the input.
    least = [1 if "same" in padding else e for e in extents]
    sizes = tuple(draw(st.integers(n, max(n, most))) for n in least)
    pairs = tuple((draw(st.integers(0, e - 1)), draw(st.integers(0, e - 1))) for e in extents)
    return Pool(
        maximum=maximum,
        batch=draw(st.integers(1, 2)),
        channels=draw(st.integers(1, 2)),
        sizes=sizes,
        kernel=kernel,
        stride=stride,
        dilation=dilation,
        padding=pairs if padding == "pairs" else padding,
        ceil_mode=rounded and draw(st.booleans()),
        count_include_pad=rounded and not maximum and draw(st.booleans()),
    )


def arrays(*shapes: Shape | None) -> list[Any]:
    """Make reproducible arrays, exact in float32, in which no two elements are equal."""
    random = np.random.default_rng(0)
    return [
        None if shape is None else random.uniform(-1, 1, shape).astype("f4").astype("f8")
        for shape in shapes
    ]


# Transposed convolutions


def transposed_arrays(case: Transposed) -> Arrays:
    bias = (case.output_shape[1],) if case.bias else None
    input, weight, bias_array = arrays(case.input_shape, case.weight_shape, bias)
    return input, weight, bias_array


def run_transposed(case: Transposed, tensors: Tensors) -> torch.Tensor:
    options: dict[str, Any] = {"output_padding": case.change}
    if case.is_same:
        # The output_size is passed only if it differs from the default.
        options = {"output_size": case.output_sizes} if any(case.change) else {}
    function = getattr(functional, f"conv_transpose{case.dimensions}d")
    return function(
        *tensors,
        stride=case.stride,
        padding=case.padding,
        groups=case.groups,
        dilation=case.dilation,
        **options,
    )


def check_transposed(
    oracle: Callable[..., Array], case: Transposed, dtypes: tuple[torch.dtype, ...]
) -> None:
    given = transposed_arrays(case)
    expected = oracle(case, *given)
    for dtype in dtypes:
        assert_close(run_transposed(case, tensors_for(given, dtype)), expected, str(dtype))


FLOATS = (torch.float64, torch.float32)


def check_transposed_gradients(case: Transposed) -> None:
    given = transposed_arrays(case)
    expected, gradients = oracles.jax_transposed_and_gradients(case, *given)
    leaves = tensors_for(given, torch.float64, requires_grad=True)
    output = run_transposed(case, leaves)
    assert_close(output, expected, "output")
    output.backward(torch.from_numpy(cotangent(tuple(output.shape))))
    for name, leaf, gradient in zip(("input", "weight", "bias"), leaves, gradients, strict=True):
        assert_close(None if leaf is None else leaf.grad, gradient, f"gradient of {name}")


@pytest.mark.parametrize("padding", PADDINGS)
@given(data=st.data())
@examples(25)
def test_transposed_is_the_gradient_of_jax_convolution(padding: str, data: st.DataObject) -> None:
    check_transposed_gradients(data.draw(transposeds(padding)))


@pytest.mark.parametrize("padding", ["same", "valid"])
@given(data=st.data())
@examples(200)
def test_transposed_agrees_with_tensorflow(padding: str, data: st.DataObject) -> None:
    cases = transposeds(padding).filter(oracles.tensorflow_transposed_is_sound)
    check_transposed(oracles.tensorflow_transposed, data.draw(cases), FLOATS)


@pytest.mark.parametrize("padding", PADDINGS)
@given(data=st.data())
@examples(150)
def test_transposed_agrees_with_onnxruntime(padding: str, data: st.DataObject) -> None:
    cases = transposeds(padding).filter(oracles.onnxruntime_transposed_is_sound)
    check_transposed(oracles.onnxruntime_transposed, data.draw(cases), FLOATS)


@pytest.mark.parametrize("padding", ["same", "valid"])
@given(data=st.data())
@examples(50)
def test_transposed_agrees_with_keras(padding: str, data: st.DataObject) -> None:
    cases = transposeds(padding).filter(oracles.keras_transposed_is_sound)
    check_transposed(oracles.keras_transposed, data.draw(cases), FLOATS)


def test_transposed_worked_numbers() -> None:
    """The numbers are TensorFlow's; the common idiom is SAME_LOWER, which is one pixel off."""
    ones = torch.tensor([[[1.0, 2.0, 3.0]]])
    same = functional.conv_transpose1d(ones, ones, stride=2)
    lower = functional.conv_transpose1d(ones, ones, stride=2, padding="same_lower")
    idiom = F.conv_transpose1d(ones, ones, stride=2, padding=1, output_padding=1)
    assert same.tolist() == [[[1, 2, 5, 4, 9, 6]]]
    assert lower.tolist() == [[[2, 5, 4, 9, 6, 9]]]
    assert idiom.tolist() == lower.tolist()


def test_transposed_ends_in_bias_where_the_stride_exceeds_the_kernel() -> None:
    case = Transposed(1, 1, 1, 1, True, (2,), (1,), (3,), (1,), "same", (0,))
    input, weight, bias = transposed_arrays(case)
    output = run_transposed(case, tensors_for((input, weight, bias), torch.float64))
    assert_close(output, oracles.tensorflow_transposed(case, input, weight, bias), "TensorFlow")
    assert output[0, 0, [1, 2, 4, 5]].tolist() == [bias[0]] * 4  # type: ignore[index]


# Pools


def run_pool(case: Pool, tensor: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor | None]:
    """Return the result and, for a max pool, the indices."""
    name = f"{'max' if case.maximum else 'avg'}_pool{case.dimensions}d"
    if case.maximum:
        return getattr(functional, name)(
            tensor, case.kernel, case.stride, case.padding, case.dilation, case.ceil_mode, True
        )
    output = getattr(functional, name)(
        tensor, case.kernel, case.stride, case.padding, case.ceil_mode, case.count_include_pad
    )
    return output, None


def check_pool(oracle: Callable[..., Array], case: Pool) -> None:
    (input,) = arrays(case.input_shape)
    expected = oracle(case, input)
    for dtype in FLOATS:
        output, _ = run_pool(case, torch.tensor(input, dtype=dtype))
        assert_close(output, expected, str(dtype))


KINDS = pytest.mark.parametrize("maximum", [True, False], ids=["max", "avg"])


@KINDS
@pytest.mark.parametrize("padding", PADDINGS)
@given(data=st.data())
@examples(25)
def test_pool_and_gradient_agree_with_jax(padding: str, maximum: bool, data: st.DataObject) -> None:
    cases = pools(maximum, padding).filter(oracles.jax_pool_gradient_is_sound)
    case = data.draw(cases)
    (input,) = arrays(case.input_shape)
    expected, gradient = oracles.jax_pool_and_gradient(case, input)
    leaf = torch.tensor(input, requires_grad=True)
    output, _ = run_pool(case, leaf)
    assert_close(output, expected, "output")
    output.backward(torch.from_numpy(cotangent(tuple(output.shape))))
    assert_close(leaf.grad, gradient, "gradient")


@pytest.mark.parametrize("padding", PADDINGS)
@given(data=st.data())
@examples(25)
def test_dilated_pool_agrees_with_jax(padding: str, data: st.DataObject) -> None:
    cases = pools(True, padding).filter(lambda case: max(case.dilation) > 1)
    check_pool(oracles.jax_pool, data.draw(cases))


@KINDS
@pytest.mark.parametrize("padding", ["same", "valid"])
@given(data=st.data())
@examples(100)
def test_pool_agrees_with_tensorflow(padding: str, maximum: bool, data: st.DataObject) -> None:
    case = data.draw(pools(maximum, padding).filter(oracles.tensorflow_pool_is_sound))
    check_pool(oracles.tensorflow_pool, case)


@KINDS
@pytest.mark.parametrize("padding", ["same", "valid"])
@given(data=st.data())
@examples(50)
def test_pool_agrees_with_tensorflow_pool(padding: str, maximum: bool, data: st.DataObject) -> None:
    case = data.draw(pools(maximum, padding).filter(oracles.tensorflow_dilated_pool_is_sound))
    check_pool(oracles.tensorflow_dilated_pool, case)


@pytest.mark.parametrize("padding", PADDINGS)
@given(data=st.data())
@examples(150)
def test_max_pool_and_indices_agree_with_onnxruntime(padding: str, data: st.DataObject) -> None:
    cases = pools(True, padding, rounded=True).filter(oracles.onnxruntime_pool_is_sound)
    case = data.draw(cases)
    (input,) = arrays(case.input_shape)
    values, indices = oracles.onnxruntime_max_pool(case, input)
    for dtype in FLOATS:
        output, ours = run_pool(case, torch.tensor(input, dtype=dtype))
        assert_close(output, values, str(dtype))
        assert ours is not None
        assert ours.tolist() == indices.tolist()


@pytest.mark.parametrize("padding", PADDINGS)
@given(data=st.data())
@examples(150)
def test_avg_pool_agrees_with_onnxruntime(padding: str, data: st.DataObject) -> None:
    cases = pools(False, padding, rounded=True).filter(oracles.onnxruntime_pool_is_sound)
    check_pool(oracles.onnxruntime_avg_pool, data.draw(cases))


def test_max_pool_worked_numbers() -> None:
    """Padding by zeros would give [-1, 0]."""
    input = torch.tensor([[[-1.0, -2.0, -3.0, -4.0]]])
    assert functional.max_pool1d(input, 3, 2).tolist() == [[[-1, -3]]]


def test_avg_pool_worked_numbers() -> None:
    """Counting the padding would give [2, 7 / 3]."""
    input = torch.tensor([[[1.0, 2.0, 3.0, 4.0]]])
    assert functional.avg_pool1d(input, 3, 2).tolist() == [[[2, 3.5]]]


# Keras's layers


@st.composite
def keras_convolutions(draw: st.DrawFn) -> dict[str, Any]:
    """Draw arguments that depthwise convolutions of Keras and samepad share.

    Keras refuses unequal strides and, as TensorFlow, a stride with a dilation.
    """
    dimensions = draw(st.integers(1, 2))
    stride = draw(st.integers(1, 4))
    return {
        "channels": draw(st.integers(1, 3)),
        "depth_multiplier": draw(st.integers(1, 3)),
        # These sizes are large enough for the kernel with "valid" too.
        "sizes": tuple(draw(st.integers(7, 12)) for _ in range(dimensions)),
        "kernel": tuple(draw(st.integers(1, 4)) for _ in range(dimensions)),
        "stride": stride,
        "dilation": 1 if stride > 1 else draw(st.integers(1, 2)),
        "padding": draw(st.sampled_from(["same", "same", "valid"])),
        "bias": draw(st.booleans()),
    }


def keras_options(case: dict[str, Any]) -> dict[str, Any]:
    return {
        "strides": case["stride"],
        "padding": case["padding"],
        "depth_multiplier": case["depth_multiplier"],
        "data_format": "channels_last",
        "dilation_rate": case["dilation"],
        "use_bias": case["bias"],
        "dtype": "float64",
    }


def samepad_options(case: dict[str, Any]) -> dict[str, Any]:
    names = ("stride", "padding", "dilation", "depth_multiplier", "bias")
    return {name: case[name] for name in names} | {"dtype": torch.float64}


def depthwise_weight(kernel: Array) -> torch.Tensor:
    """Convert (kernel..., C, M) to (C M, 1, kernel...), as the layer's docstring says."""
    sizes = kernel.shape[:-2]
    d = len(sizes)
    return torch.tensor(kernel).permute(d, d + 1, *range(d)).reshape(-1, 1, *sizes)


@given(case=keras_convolutions())
@examples(150)
def test_depthwise_agrees_with_keras(case: dict[str, Any]) -> None:
    c, m = case["channels"], case["depth_multiplier"]
    d = len(case["kernel"])
    input, kernel, bias = arrays((2, c, *case["sizes"]), (*case["kernel"], c, m), (c * m,))
    theirs = getattr(keras.layers, f"DepthwiseConv{d}D")(case["kernel"], **keras_options(case))
    ours = getattr(samepad, f"SamePadDepthwiseConv{d}d")(c, case["kernel"], **samepad_options(case))
    parameters = {"weight": depthwise_weight(kernel), "bias": torch.tensor(bias)}
    ours.load_state_dict({name: parameters[name] for name in ours.state_dict()})
    weights = [kernel, bias] if case["bias"] else [kernel]
    assert_close(ours(torch.tensor(input)), oracles.run_keras(theirs, weights, input), str(ours))


@given(case=keras_convolutions(), out_channels=st.integers(1, 4))
@examples(150)
def test_separable_agrees_with_keras(case: dict[str, Any], out_channels: int) -> None:
    c, m = case["channels"], case["depth_multiplier"]
    d = len(case["kernel"])
    input, kernel, pointwise, bias = arrays(
        (2, c, *case["sizes"]),
        (*case["kernel"], c, m),
        (*[1] * d, c * m, out_channels),
        (out_channels,),
    )
    theirs = getattr(keras.layers, f"SeparableConv{d}D")(
        out_channels, case["kernel"], **keras_options(case)
    )
    ours = getattr(samepad, f"SamePadSeparableConv{d}d")(
        c, out_channels, case["kernel"], **samepad_options(case)
    )
    parameters = {
        "depthwise.weight": depthwise_weight(kernel),
        # Convert (1..., C M, O) to (O, C M, 1...).
        "pointwise.weight": torch.tensor(pointwise).permute(d + 1, d, *range(d)),
        "pointwise.bias": torch.tensor(bias),
    }
    ours.load_state_dict({name: parameters[name] for name in ours.state_dict()})
    weights = [kernel, pointwise, bias] if case["bias"] else [kernel, pointwise]
    assert_close(ours(torch.tensor(input)), oracles.run_keras(theirs, weights, input), str(ours))
