"""Tests that sizes that an ONNX file leaves open stay open, whatever computes with them.

The outputs are compared with ONNX Runtime's.
"""

import itertools
from typing import Any

import numpy as np
import onnx
import onnx.parser
import pytest
import samepad.onnx
import torch
from onnx import TensorProto, helper, numpy_helper
from onnx_models import assert_as_onnxruntime, run
from samepad.source import write_source


class Net:
    """Builds a graph for an opset as exporters do: it computes every shape."""

    def __init__(self, opset: int, seed: int) -> None:
        self.opset, self.random = opset, np.random.default_rng(seed)
        self.nodes: list[Any] = []
        self.constants: list[Any] = []

    def constant(self, array: Any) -> str:
        name = f"c{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(np.asarray(array), name))
        return name

    def op(self, kind: str, *inputs: str, **attributes: Any) -> str:
        name = f"v{len(self.nodes)}"
        self.nodes.append(
            helper.make_node(kind, inputs, [name], f"n{len(self.nodes)}", **attributes)
        )
        return name

    def size(self, value: str, axis: int) -> str:
        """Write a size as a tensor of one number, in the way of a randomly chosen exporter."""
        shape = self.op("Shape", value)
        how = self.random.integers(3)
        if how == 0:  # PyTorch's way
            scalar = self.op("Gather", shape, self.constant(np.int64(axis)), axis=0)
            return self.with_axes("Unsqueeze", scalar, [0])
        if how == 1:  # Paddle's way
            shape = self.op("Cast", shape, to=TensorProto.INT32)
            if self.opset < 10:
                part = self.op("Slice", shape, starts=[axis], ends=[axis + 1], axes=[0])
            else:
                ends = [self.constant(np.array([n], np.int64)) for n in (axis, axis + 1, 0)]
                part = self.op("Slice", shape, *ends)
            return self.op("Cast", part, to=TensorProto.INT64)
        return self.op("Gather", shape, self.constant(np.array([axis], np.int64)), axis=0)

    def with_axes(self, kind: str, value: str, axes: list[int]) -> str:
        if self.opset < 13:
            return self.op(kind, value, axes=axes)
        return self.op(kind, value, self.constant(np.array(axes, np.int64)))

    def numbers(self, *values: int) -> str:
        return self.constant(np.array(values, np.int64))

    def reshape(self, value: str, *parts: str) -> str:
        return self.op("Reshape", value, self.op("Concat", *parts, axis=0))

    def flattened(self, value: str) -> str:
        """Turn (n, c, h, w) into (n, h w, c), by a product of sizes, and apply some layers."""
        n, h, w = (self.size(value, axis) for axis in (0, 2, 3))
        value = self.reshape(value, n, self.numbers(4), self.op("Mul", h, w))
        value = self.op("Transpose", value, perm=[0, 2, 1])
        weight = self.constant(self.random.normal(size=(4, 4)).astype(np.float32))
        value = self.op(
            "Add", self.op("MatMul", value, weight), self.constant(np.ones(4, np.float32))
        )
        return self.op("Softmax", value, axis=2)

    def heads(self, value: str) -> str:
        """Split (n, l, c) into (n, l, 2, c / 2), permute it, and undo both."""
        n, length = self.size(value, 0), self.size(value, 1)
        split = self.reshape(value, n, self.numbers(-1, 2, 2))
        split = self.op("Transpose", split, perm=[0, 2, 1, 3])
        split = self.op("Mul", split, self.constant(np.float32(0.5)))
        back = self.op("Transpose", split, perm=[0, 2, 1, 3])
        return self.reshape(back, n, length, self.numbers(4))

    def image(self, value: str, like: str) -> str:
        """Turn (n, l, c) into (n, c, h, w), with the sizes of another value."""
        sizes = [self.size(like, axis) for axis in (0, 2, 3)]
        value = self.op("Transpose", value, perm=[0, 2, 1])
        value = self.reshape(value, sizes[0], self.numbers(4), *sizes[1:])
        weight = self.constant(self.random.normal(size=(4, 4, 3, 3)).astype(np.float32))
        return self.op("Conv", value, weight, pads=[1, 1, 1, 1], strides=[1, 1])

    def made(self, output: str, rank: int) -> Any:
        open_sizes = ["n", 4, "h", "w"]
        graph = helper.make_graph(
            self.nodes,
            "net",
            [helper.make_tensor_value_info("x", TensorProto.FLOAT, open_sizes)],
            [helper.make_tensor_value_info(output, TensorProto.FLOAT, [None] * rank)],
            self.constants,
        )
        opsets = [helper.make_opsetid("", self.opset)]
        return helper.make_model(graph, opset_imports=opsets, ir_version=8)


def recognizer(opset: int, seed: int) -> Any:
    """Make a model that flattens and unflattens repeatedly, as text recognizers do."""
    net = Net(opset, seed)
    value = "x"
    for _ in range(2):
        flat = net.flattened(value)
        for _ in range(net.random.integers(1, 3)):
            flat = net.heads(flat)
        value = net.image(flat, value)
    return net.made(value, 4)


def assert_stays_open(model: Any, *shapes: Any, how: Any = ("export", "strict", "compile")) -> Any:
    """Check that the sizes of x that differ between the shapes stay open."""
    arrays = [np.random.default_rng(0).random(shape, np.float32) for shape in shapes]
    for array in arrays:
        module = assert_as_onnxruntime(model, array)
    inputs = [torch.from_numpy(array) for array in arrays]
    ends = zip(*shapes, strict=True)
    sizes = {i: torch.export.Dim.DYNAMIC for i, end in enumerate(ends) if len(set(end)) > 1}
    candidate: Any
    for each in how:
        if each == "compile":
            torch._dynamo.reset()
            candidate = torch.compile(module, fullgraph=True, dynamic=True, backend="eager")
        else:
            candidate = torch.export.export(
                module, (inputs[0],), dynamic_shapes=(sizes,), strict=each == "strict"
            ).module()
        with torch.no_grad():
            for input in inputs:
                torch.testing.assert_close(candidate(input), module(input))
    return module


@pytest.mark.parametrize("opset", [7, 9, 10, 11, 12, 13, 17])
def test_shapes_after_computed_shapes(opset: int) -> None:
    how = {7: "strict", 10: "compile", 11: "strict", 13: "compile"}.get(opset, "export")
    module = assert_stays_open(recognizer(opset, opset), (2, 4, 3, 5), (3, 4, 6, 2), how=[how])
    assert "tensor_of" not in write_source(module)


def text_model(body: str, constants: str = "", opset: int = 13, sizes: str = "n, c, h, w") -> Any:
    text = f"""
    <ir_version: 8, opset_import: ["": {opset}]>
    net (float[{sizes}] x) => (float[] y)
    <int64[1] zero = {{0}}, int64[1] one = {{1}}, int64[1] two = {{2}}, int64[1] three = {{3}},
     int64[1] four = {{4}}, int64[1] minus = {{-1}} {constants}>
    {{ s = Shape(x)  {body} }}
    """
    return onnx.parser.parse_model(text)


#: Code that computes k from f, a size in float32, and the constant c.
IN_FLOATS = {
    "twice": ("g = Mul(f, c)  k = Floor(g)", 2.0),
    "half, down": ("g = Mul(f, c)  k = Floor(g)", 0.5),
    "half, up": ("g = Mul(c, f)  k = Ceil(g)", 0.5),
    "by seven": ("g = Div(f, c)  k = Floor(g)", 7.0),
    "up by three": ("g = Div(f, c)  k = Ceil(g)", 3.0),
    "seven tenths": ("g = Mul(f, c)  k = Floor(g)", 0.7),
    "a third": ("g = Mul(f, c)  k = Ceil(g)", 1 / 3),
    "towards zero": ("k = Mul(f, c)", 1.3),
    "to the nearest": (
        "e = Constant<value_float = 0.5>()  g = Mul(f, c)  h = Add(g, e)  k = Floor(h)",
        0.4,
    ),
    "whole": ("g = Add(f, c)  h = Mul(g, g)  k = Sub(h, c)", 3.0),
    "up by less than nothing": ("g = Div(f, c)  h = Ceil(g)  k = Neg(h)", -3.0),
    "two steps": ("g = Mul(f, c)  h = Mul(g, c)  k = Floor(h)", 0.75),
    "rounded twice": ("g = Mul(f, c)  h = Ceil(g)  i = Div(h, c)  k = Floor(i)", 1.5),
    "from the right": ("g = Mul(f, c)  h = Floor(g)  i = Sub(f, h)  k = Ceil(i)", 0.6),
}


@pytest.mark.parametrize("name", IN_FLOATS)
def test_sizes_through_floats(name: str) -> None:
    """The results equal ONNX Runtime's in float32 for every size."""
    steps, constant = IN_FLOATS[name]
    body = f"""
      a = Slice(s, three, four)  f = Cast<to = 1>(a)  {steps}  t = Cast<to = 7>(k)
      y = ConstantOfShape(t)
    """
    constants = f", float[1] c = {{{np.float32(constant)!s}}}"
    model = text_model(body, constants)
    module = samepad.onnx.load(model)
    assert "tensor_of" not in write_source(module)
    arrays = [np.zeros((1, 1, 1, n), np.float32) for n in range(1, 60)]
    for array in arrays:
        assert module(torch.from_numpy(array)).shape == run(model, array)[0].shape
    assert_stays_open(model, (1, 1, 1, 20), (1, 1, 1, 33), how=["export"])


#: Code that computes k from the sizes h and w, and from them as floats, f and g.
COMPUTED = {
    "Div, any sign": "a = Sub(h, four)  b = Div(a, two)  k = Add(b, three)",
    "Div by less than nothing": "a = Sub(four, h)  d = Neg(two)  b = Div(a, d)  k = Add(b, three)",
    "Div of floats, any sign": "a = Sub(h, four)  e = Cast<to = 1>(a)  i = Cast<to = 1>(three)"
    "  b = Div(e, i)  m = Cast<to = 7>(b)  k = Add(m, three)",
    "Mod": "a = Mod(h, four)  k = Add(a, two)",
    "Mod of less than nothing": "a = Neg(h)  b = Mod(a, four)  k = Add(h, b)",
    "Mod, fmod": "a = Sub(four, h)  b = Mod<fmod = 1>(a, three)  k = Add(b, four)",
    "Mod of floats": "i = Cast<to = 1>(three)  a = Mod<fmod = 1>(f, i)  b = Cast<to = 7>(a)"
    "  k = Add(b, two)",
    "Max of floats": "a = Max(f, low)  k = Cast<to = 7>(a)",
    "Max of a fraction": "a = Mul(f, c)  b = Max(a, half, c)  d = Ceil(b)  i = Cast<to = 7>(d)"
    "  k = Add(i, one)",
    "Min of floats": "a = Min(f, g)  k = Cast<to = 7>(a)",
    "Clip": "k = Clip(h, least, most)",
    "Clip of floats": "a = Mul(f, half)  b = Clip(a, lowest, )  i = Cast<to = 7>(b)"
    "  k = Add(i, one)",
    "Abs": "a = Sub(h, w)  b = Abs(a)  k = Add(b, two)",
    "Sign": "a = Sub(h, w)  b = Sign(a)  k = Add(b, three)",
    "Sqrt": "a = Mul(f, f)  b = Sqrt(a)  k = Cast<to = 7>(b)",
    "Sqrt, rounded": "a = Sqrt(f)  b = Ceil(a)  k = Cast<to = 7>(b)",
    "Reciprocal": "a = Mul(f, g)  b = Reciprocal(g)  d = Mul(a, b)  k = Cast<to = 7>(d)",
    "Round": "a = Mul(f, c)  b = Round(a)  i = Cast<to = 7>(b)  k = Add(i, two)",
    "Round of halves": "a = Mul(f, half)  b = Round(a)  i = Cast<to = 7>(b)  k = Add(i, one)",
    "Pow": "i = Cast<to = 1>(two)  a = Pow(g, i)  b = Add(a, f)  k = Cast<to = 7>(b)",
    "Pow of one half": "a = Pow(f, half)  b = Ceil(a)  i = Cast<to = 7>(b)  k = Add(i, one)",
    "Pow of less than nothing": "m = Cast<to = 1>(minus)  a = Pow(g, m)  b = Mul(f, a)"
    "  d = Ceil(b)  i = Cast<to = 7>(d)  k = Add(i, one)",
    "Sum": "a = Sum(f, g, f)  k = Cast<to = 7>(a)",
    "Mean": "a = Mean(f, g, f)  k = Cast<to = 7>(a)",
    "ReduceMax": "a = Slice(s, two, four)  k = ReduceMax(a)",
    "ReduceMin": "a = Slice(s, two, four)  k = ReduceMin(a)",
    "ReduceMean": "a = Slice(s, two, four)  i = Cast<to = 1>(a)  b = ReduceMean(i)"
    "  k = Cast<to = 7>(b)",
    "Equal to a large number": "a = Equal(h, large)  k = Where(a, one, h)",
    "Equal to the largest number": "a = Equal(far, h)  b = And(a, a)  k = Where(b, one, h)",
    "Less": "a = Less(h, w)  k = Where(a, w, h)",
    "And": "a = Less(h, w)  b = Greater(h, three)  d = And(a, b)  k = Where(d, two, h)",
    "And of what is known": "a = Less(h, w)  b = Less(zero, one)  d = And(a, b)"
    "  e = Less(one, zero)  i = And(e, d)  j = Or(i, d)  k = Where(j, w, h)",
    "Or": "a = Less(h, w)  b = Greater(h, seven)  d = Or(a, b)  k = Where(d, two, h)",
    "Xor": "a = Less(h, seven)  b = Less(h, w)  d = Xor(a, b)  k = Where(d, two, h)",
    "Not": "a = Less(h, w)  b = Not(a)  k = Where(b, two, w)",
    "Cast of a truth": "a = Less(h, seven)  b = Cast<to = 7>(a)  k = Add(b, two)",
}


@pytest.mark.parametrize("name", COMPUTED)
def test_computed_sizes(name: str) -> None:
    body = f"""
      h = Slice(s, two, three)  w = Slice(s, three, four)  f = Cast<to = 1>(h)  g = Cast<to = 1>(w)
      {COMPUTED[name]}  z = ConstantOfShape(k)  y = Slice(z, zero, k, zero)
    """
    constants = f""", int64[1] seven = {{7}}, int64 least = {{3}}, int64 most = {{8}},
      int64[1] large = {{1000000000}}, int64[1] far = {{2147483647}}, float[1] low = {{-1e9}},
      float lowest = {{{np.finfo(np.float32).min!s}}}, float[1] c = {{0.3}}, float[1] half = {{0.5}}
    """
    model = text_model(body, constants)
    assert "tensor_of" not in write_source(samepad.onnx.load(model))
    shapes = [(1, 1, h, 5) for h in (10, 2, 3, 5, 6, 7, 8, 13)]
    assert_stays_open(model, *shapes, how=["export", "compile"])


def test_quotients_of_sizes() -> None:
    body = """
      a = Slice(s, two, three)  b = Slice(s, three, four)  f = Cast<to = 1>(a)  g = Cast<to = 1>(b)
      q = Div(f, g)  u = Ceil(q)  i = Cast<to = 7>(u)  v = Floor(q)  j = Cast<to = 7>(v)
      t = Concat<axis = 0>(i, j)  y = ConstantOfShape(t)
    """
    model = text_model(body)
    assert "tensor_of" not in write_source(samepad.onnx.load(model))
    for h, w in itertools.product((1, 5, 6, 12, 49), (1, 3, 6, 7)):
        assert_as_onnxruntime(model, np.zeros((1, 1, h, w), np.float32))
    assert_stays_open(model, (1, 1, 12, 5), (1, 1, 23, 7), how=["export", "compile"])


@pytest.mark.parametrize("constant", [float(np.float32(1 / 49)), 0.9999999, 1e-12, 3e20])
def test_floats_that_no_integers_say(constant: float) -> None:
    """The result depends on the rounding of floats, which has to be ONNX's."""
    body = """
      a = Slice(s, three, four)  f = Cast<to = 1>(a)  g = Mul(f, c)  k = Floor(g)
      z = Cast<to = 1>(zero)  m = Min(k, z)  d = Mul(f, z)  e = Add(m, d)  y = Add(k, e)
    """
    model = text_model(body, f", float[1] c = {{{constant!r}}}")
    for n in (1, 3, 49, 98, 147, 196, 343):
        assert_as_onnxruntime(model, np.zeros((1, 1, 1, n), np.float32))


#: Code that computes y from x and its shape s.
SHAPES = {
    "Resize by floats": "a = Slice(s, two, four)  f = Cast<to = 1>(a)  g = Mul(f, c)  h = Floor(g)"
    "  t = Cast<to = 7>(h)  b = Slice(s, zero, two)  u = Concat<axis = 0>(b, t)"
    '  y = Resize<mode = "nearest", coordinate_transformation_mode = "asymmetric",'
    ' nearest_mode = "floor">(x, , , u)',
    "Pad to a multiple": "a = Slice(s, two, three)  k = Div(a, four)  l = Mul(k, four)"
    "  m = Sub(a, l)  p = Max(m, zero)  q = Sub(four, p)  z = Mul(zero, q)"
    "  t = Concat<axis = 0>(zero, zero, q, zero, zero, zero, zero, z)  y = Pad(x, t)",
    "Split of a shape": "a, b = Split<axis = 0>(s, halves)  p = ReduceProd(b)"
    "  t = Concat<axis = 0>(a, p)  y = Reshape(x, t)",
    "A matrix of sizes": "a = Reshape(s, square)  b = Transpose<perm = [1, 0]>(a)"
    "  t = Reshape(b, minus)  y = Reshape(x, t)",
    "Expand": "a = Slice(s, two, three)  t = Concat<axis = 0>(two, a)  b = Unsqueeze(t, zero)"
    "  u = Squeeze(b, zero)  m = ReduceMean<axes = [0, 1, 3], keepdims = 0>(x)  e = Expand(m, u)"
    "  q = Shape(e)  r = Slice(q, one, two)  v = Concat<axis = 0>(r, two)  y = Reshape(e, v)",
    "GatherND": "a = GatherND(s, rows)  t = Concat<axis = 0>(a, minus)  y = Reshape(x, t)",
    "GatherElements": "a = GatherElements(s, order)  y = Reshape(x, a)",
    "ScatterND": "a = ScatterND(s, others, replacements)  y = Reshape(x, a)",
    "ScatterElements": "a = Slice(s, two, four)  b = ScatterElements(order, first, a)"
    "  y = ConstantOfShape(b)",
    "Pad of a shape": "a = Slice(s, two, four)  b = Pad(a, around, filler)  y = Reshape(x, b)",
    "Backwards": "b = Slice(s, minus, far, zero, minus)  y = ConstantOfShape(b)",
}


@pytest.mark.parametrize("name", SHAPES)
def test_open_sizes(name: str) -> None:
    constants = ", float[1] c = {1.5}, int64[2] square = {2, 2}, int64[2] halves = {2, 2}"
    constants += """, int64[1] far = {-9223372036854775807}, int64[2, 1] rows = {0, 2},
      int64[4] order = {2, 1, 0, 3}, int64[2, 1] others = {1, 3}, int64[2] first = {0, 1},
      int64[2] replacements = {18, 1}, int64[2] around = {1, 0}, int64 filler = {-1}"""
    model = text_model(SHAPES[name], constants)
    module = assert_stays_open(model, (2, 3, 5, 6), (4, 3, 7, 6), how=["export", "compile"])
    assert "tensor_of" not in write_source(module)


#: Nodes that resize x by the factors q.
RESIZES = {
    "Upsample-9, nearest": (9, 'Upsample<mode = "nearest">(x, q)'),
    "Upsample-9, linear": (9, 'Upsample<mode = "linear">(x, q)'),
    "Resize-10, nearest": (10, 'Resize<mode = "nearest">(x, q)'),
    "Resize-11, nearest": (11, 'Resize<mode = "nearest">(x, none, q)'),
    "Resize-11, asymmetric": (
        11,
        'Resize<mode = "nearest", coordinate_transformation_mode = "asymmetric",'
        ' nearest_mode = "floor">(x, none, q)',
    ),
    "Resize-13, linear": (13, 'Resize<mode = "linear">(x, , q)'),
    "Resize-13, cubic": (
        13,
        'Resize<mode = "cubic", coordinate_transformation_mode = "align_corners">(x, , q)',
    ),
}


@pytest.mark.parametrize("name", RESIZES)
def test_resize_by_computed_scales(name: str) -> None:
    """The factors are quotients in float32, as PyTorch exports F.interpolate(x, size)."""
    opset, node = RESIZES[name]
    body = f"""
      a = Gather<axis = 0>(s, last)  b = Mul(a, factors)  d = Add(b, more)
      f = Cast<to = 1>(a)  g = Cast<to = 1>(d)  p = Div(g, f)  q = Concat<axis = 0>(ones, p)
      y = {node}
    """
    constants = """, int64[2] last = {2, 3}, int64[2] factors = {1, 2}, int64[2] more = {5, 0},
      float[2] ones = {1, 1}, float[0] none = {}"""
    model = text_model(body, constants, opset)
    shapes = [(1, 3, h, 4) for h in (9, 7, 11, 13, 23, 39)]
    assert_stays_open(model, *shapes, how=["export", "compile"])


def test_scales_that_data_decides_are_refused() -> None:
    body = "m = ReduceMax<keepdims = 0>(x)  q = Mul(m, ones)  y = Resize(x, , q)"
    model = text_model(body, ", float[4] ones = {1, 1, 1, 1}")
    with pytest.raises(ValueError, match="scales must be constant, or computed from sizes"):
        samepad.onnx.load(model)


def shapeless(model: Any) -> Any:
    model.graph.input[0].type.tensor_type.ClearField("shape")
    return model


@pytest.mark.parametrize("before", ["Identity(x)", "Mul(x, c)", "Relu(x)", "Sub(c, x)"])
def test_inputs_without_a_shape(before: str) -> None:
    """The number of dimensions is inferred from what the model does with the input."""
    body = f"""
      p = {before}  q = MaxPool<kernel_shape = [2, 2], strides = [1, 1]>(p)  r = Shape(q)
      a = Slice(s, zero, one)  b = Slice(r, one, four)  t = Concat<axis = 0>(a, b)
      y = Reshape(q, t)
    """
    model = shapeless(text_model(body, ", float[1] c = {1.5}"))
    assert_stays_open(model, (2, 3, 5, 6), (4, 3, 7, 6), how=["export"])
    assert not model.graph.input[0].type.tensor_type.HasField("shape")


def test_inputs_of_any_rank() -> None:
    model = shapeless(text_model("t = Concat<axis = 0>(one, s)  y = Reshape(x, t)"))
    for shape in ((2,), (2, 3), (4, 1, 2)):
        assert_as_onnxruntime(model, np.ones(shape, np.float32))
