"""Tests ONNX's If, Loop and Scan, and inputs that are bound to constants, with ONNX Runtime."""

import pickle
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx.parser
import pytest
import samepad.onnx
import torch
from onnx_models import from_source, run
from samepad.source import write_source

CONSTANTS = """
  float[4, 4] w = {1, 2, 3, 4, 5, 6, 7, 8, 9, 1, 2, 3, 4, 5, 6, 7}, float[4] bias = {1, 2, 3, 4},
  float zero = {0}, float small = {0.01}, float big = {100000}, bool yes = {1}, bool no = {0},
  int64 one = {1}, int64 three = {3}, int64 many = {9223372036854775807},
  int64[1] five = {5}, int64[1] i0 = {0}, int64[1] i1 = {1}, int64[1] i2 = {2}
"""


def model_of(body: str, inputs: str = "float[n, 4] x", outputs: str = "float[] y") -> Any:
    text = f"""
    <ir_version: 8, opset_import: ["": 13]> net ({inputs}) => ({outputs}) <{CONSTANTS}>
    {{ {body} }}
    """
    return onnx.parser.parse_model(text)


def assert_as_onnxruntime(model: Any, *inputs: Sequence[Any], **constants: Any) -> Any:
    """Compare the module, its copy by pickling and its source with ONNX Runtime."""
    module = samepad.onnx.load(model, constants=constants)
    for arrays in inputs:
        bound = [np.asarray(value) for value in constants.values()]
        expected = run(model, *arrays, *bound)
        for candidate in (module, pickle.loads(pickle.dumps(module)), from_source(module)):
            with torch.no_grad():
                found = candidate(*map(torch.from_numpy, arrays))
            found = found if isinstance(found, tuple) else (found,)
            for ours, theirs in zip(found, expected, strict=True):
                assert ours.numpy().dtype == theirs.dtype
                np.testing.assert_allclose(ours.numpy(), theirs, rtol=1e-4, strict=True)
    return module


def rows(count: int, sign: float = 1.0) -> Any:
    return [np.random.default_rng(count).random((count, 4), np.float32) * np.float32(sign)]


def assert_exports(module: Any, *inputs: Sequence[Any]) -> None:
    """Check that exported and compiled modules take the same branches, with an open size."""
    tensors = [tuple(map(torch.from_numpy, arrays)) for arrays in inputs]
    sizes = tuple({0: torch.export.Dim.DYNAMIC} for _ in tensors[0])
    for how in ("export", "strict", "compile"):
        candidate: Any
        if how == "compile":
            torch._dynamo.reset()
            candidate = torch.compile(module, fullgraph=True, dynamic=True, backend="aot_eager")
        else:
            candidate = torch.export.export(
                module,
                tensors[0],
                dynamic_shapes=(sizes,) if len(sizes) > 1 else sizes,
                strict=how == "strict",
            ).module()
        with torch.no_grad():
            for given in tensors:
                torch.testing.assert_close(candidate(*given), module(*given))


BRANCHES = """
  <then_branch = t () => (float[] a) {
     r = MatMul(x, w)  o = Shape(x)  m = Slice(o, i0, i1)  f = Cast<to = 1>(m)  a = Add(r, f) },
   else_branch = e () => (float[] b) { b = Identity(x) }>
"""
CONDITIONS = {
    "data": "q = ReduceSum<keepdims = 0>(x)  c = Greater(q, zero)",
    "size": "s = Shape(x)  n = Slice(s, i0, i1)  c = Greater(n, five)",
    "size, scalar": "s = Shape(x)  n = Slice(s, i0, i1)  k = Squeeze(n)  c = Less(k, three)",
    "product of sizes": "k = Size(x)  l = Cast<to = 7>(k)  c = LessOrEqual(five, l)",
}


@pytest.mark.parametrize("name", CONDITIONS)
def test_if_exports(name: str) -> None:
    module = assert_as_onnxruntime(
        model_of(f"{CONDITIONS[name]}  y = If(c) {BRANCHES}"), rows(7), rows(7, -1), rows(2)
    )
    assert_exports(module, rows(7), rows(7, -1), rows(3))


DECIDED = {
    "a constant": "y = If(yes)",
    "the other branch": "y = If(no)",
    "a number of dimensions": "s = Shape(x)  k = Size(s)  c = Equal(k, one)  y = If(c)",
    "a known size": "s = Shape(x)  k = Slice(s, i1, i2)  c = Equal(k, five)  y = If(c)",
    "a size that is not negative": "minus = Sub(i0, i1)  s = Shape(x)  k = Slice(s, i0, i1)"
    "  c = Greater(k, minus)  y = If(c)",
}


@pytest.mark.parametrize("name", DECIDED)
def test_if_is_decided(name: str) -> None:
    module = assert_as_onnxruntime(model_of(DECIDED[name] + BRANCHES), rows(3), rows(6))
    assert not any(isinstance(child, torch.fx.GraphModule) for child in module.children())
    assert "branch" not in write_source(module)


def test_if_by_a_bound_input() -> None:
    """Of an input that is bound, the module takes none, and only one branch is left."""
    inputs = "float[n, 4] x, int64 sr"
    model = model_of(f"c = Equal(sr, three)  y = If(c) {BRANCHES}", inputs)
    for rate in (3, 8):
        module = assert_as_onnxruntime(model, rows(2), sr=rate)
        assert len(list(module.parameters())) == (rate == 3)
    assert_as_onnxruntime(model, [*rows(2), np.array(3)], [*rows(2), np.array(4)])


@pytest.mark.parametrize(
    ("constants", "message"),
    [
        ({"rate": 1}, r"constants has 'rate', expected names of inputs: \['x', 'sr'\]"),
        ({"sr": [1, 2]}, r"constants\['sr'\] has shape \(2,\), expected \(\)"),
        ({"x": np.zeros((2, 3))}, r"constants\['x'\] has shape \(2, 3\), expected \(\?, 4\)"),
        ({"sr": "text"}, r"constants\['sr'\] is 'text', expected numbers"),
        ({"w": 1}, "constants has 'w'"),
    ],
)
def test_wrong_constants(constants: Any, message: str) -> None:
    model = model_of("y = Identity(x)", "float[n, 4] x, int64 sr")
    with pytest.raises(ValueError, match=message):
        samepad.onnx.load(model, constants=constants)


SQUEEZE = """
  s = Shape(x)  k = Slice(s, i1, i2)  c = Equal(k, i1)
  z = If(c) <then_branch = t () => (float[] a) { a = Squeeze(x, i1) },
             else_branch = e () => (float[] b) { b = Identity(x) }>
"""


def test_if_of_unequal_ranks() -> None:
    """Which branch runs depends on a size; an exported module has that of its example."""
    model = model_of(SQUEEZE + "y = Relu(z)", "float[n, k, 4] x")
    one, two = [np.ones((3, 1, 4), np.float32)], [np.ones((3, 2, 4), np.float32)]
    module = assert_as_onnxruntime(model, one, two)
    assert_exports(module, one, [np.ones((5, 1, 4), np.float32)])
    assert_exports(module, two, [np.ones((5, 2, 4), np.float32)])


def test_if_whose_rank_the_next_operator_needs() -> None:
    after = "p = MaxPool<kernel_shape = [2]>(z)  y = Relu(p)"
    module = assert_as_onnxruntime(
        model_of(SQUEEZE + after, "float[n, k, 4] x"), [np.ones((3, 2, 4), np.float32)]
    )
    assert "branch" not in write_source(module)


def test_if_refuses_what_both_branches_hold() -> None:
    body = """
      q = ReduceSum<keepdims = 0>(x)  c = Greater(q, zero)
      y = If(c) <then_branch = t () => (float[] a) { a = RandomNormalLike(x) },
                 else_branch = e () => (float[] b) { b = RandomUniformLike(x) }>
    """
    with pytest.raises(ValueError, match=r"RandomNormalLike .*\n.*RandomUniformLike"):
        samepad.onnx.load(model_of(body))
    # A branch that is not chosen may hold anything.
    decided = body.replace("Greater(q, zero)", "Identity(no)").replace("RandomUniform", "ThisLike")
    decided = decided.replace("b = ThisLikeLike(x)", "b = Identity(x)")
    assert_as_onnxruntime(model_of(decided), rows(2))


def test_nested_branches() -> None:
    inner = """y = If(c) <then_branch = t () => (float[] a) {
        d = Greater(q, big)
        a = If(d) <then_branch = t2 () => (float[] a2) { a2 = Add(x, q) },
                   else_branch = e2 () => (float[] b2) { r = MatMul(x, w)  b2 = Mul(r, q) }> },
      else_branch = e () => (float[] b) { b = Neg(x) }>"""
    module = assert_as_onnxruntime(
        model_of(CONDITIONS["data"] + inner), rows(3), rows(3, -1), rows(3, 1e6)
    )
    assert_exports(module, rows(3), rows(4, -1), rows(5, 1e6))


LOOP = """<body = b (int64 i, bool g, float[n, 4] a) => (bool h, float[n, 4] v, float[n, 4] r) {
  m = MatMul(a, w)  q = Add(m, bias)  s = Mul(q, small)  half = Constant<value_float = 0.5>()
  t = Softplus(s)  v = Mul(t, half)  r = Identity(v)  %s }>"""
LOOPS = {
    "constant": ("y, z = Loop(three, , x)", "h = Identity(g)"),
    "until a constant": ("y, z = Loop(three, , x)", "h = Less(i, one)"),
    "a number that is given": ("y, z = Loop(k, , x)", "h = Identity(g)"),
    "a size": ("o = Shape(x)  j = Slice(o, i0, i1)  l = Squeeze(j)  y, z = Loop(l, yes, x)",
               "h = Identity(g)"),
    "while": ("y, z = Loop(many, yes, x)",
              "l = Less(i, three)  n = ReduceSum<keepdims = 0>(v)  o = Less(n, big)"
              "  h = And(l, o)"),
    "no limit": ("y, z = Loop(, yes, x)", "h = Less(i, three)"),
    "huge": ("y, z = Loop(many, yes, x)", "h = Less(i, three)"),
    "none": ("e = Sub(one, one)  y, z = Loop(e, yes, x)", "h = Identity(g)"),
    "not begun": ("y, z = Loop(three, no, x)", "h = Identity(g)"),
}  # fmt: skip
WRITTEN_OUT = ("constant", "until a constant")


@pytest.mark.parametrize("name", LOOPS)
def test_loop(name: str) -> None:
    call, end = LOOPS[name]
    given = "k" if name == "a number that is given" else ""
    inputs = "float[n, 4] x" + (", int64 k" if given else "")
    model = model_of(call + LOOP % end, inputs, "float[] y, float[] z")
    arrays = [[*rows(n), np.array(n)] if given else rows(n) for n in (2, 5)]
    module = assert_as_onnxruntime(model, *arrays)
    written_out = name in WRITTEN_OUT
    assert ("loop(" in write_source(module)) == (not written_out)
    # Iterations that are written out share their layer and its weight.
    assert len(list(module.parameters())) <= 2
    if written_out:
        assert_exports(module, *arrays)


def test_loop_that_grows() -> None:
    body = """y = Loop(three, , x) <body = b (int64 i, bool g, float[m, 4] a)
      => (bool h, float[o, 4] v) { v = Concat<axis = 0>(a, a)  h = Identity(g) }>"""
    assert_as_onnxruntime(model_of(body), rows(2), rows(3))
    assert_as_onnxruntime(
        model_of(body.replace("three", "k"), "float[n, 4] x, int64 k"), [*rows(2), np.array(2)]
    )


SCANS = {
    "written out": "a0 = ReduceMax<axes = [1], keepdims = 0>(x)  y, z = Scan<num_scan_inputs = 1,"
    " scan_input_axes = [1], scan_input_directions = [1], scan_output_axes = [1],"
    " scan_output_directions = [1], body = b (float[n] a, float[n] c) => (float[n] v, float[n] r)"
    " { v = Add(a, c)  r = Mul(v, c) }>(a0, x)",
    "open": "y, z = Scan<num_scan_inputs = 1, scan_output_axes = [1], body = b (float[4] a,"
    " float[4] c) => (float[4] v, float[4] r) { v = Add(a, c)  r = Mul(v, bias) }>(bias, x)",
    "backwards": "u = Neg(x)  y, z = Scan<num_scan_inputs = 2, scan_input_directions = [1, 0],"
    " scan_output_directions = [1], body = b (float[4] a, float[4] c, float[4] d) => (float[4] v,"
    " float[4] r) { e = Mul(c, d)  v = Add(a, e)  r = Sub(v, c) }>(bias, x, u)",
}


@pytest.mark.parametrize("name", SCANS)
def test_scan(name: str) -> None:
    model = model_of(SCANS[name], outputs="float[] y, float[] z")
    module = assert_as_onnxruntime(model, rows(3), rows(6))
    assert ("scan(" in write_source(module)) == (name != "written out")


def test_loops_that_are_too_long_are_not_written_out() -> None:
    """Loading takes the same time for any number of iterations, of nested loops too."""
    begin = time.process_time()
    long = "l = Constant<value_int = 1000000000000>()"
    inner = """v = Loop(l, , a) <body = b2 (int64 i2, bool g2, float[n, 4] a2)
      => (bool h2, float[n, 4] v2) { v2 = Add(a2, x)  h2 = Identity(g2) }>"""
    outer = f"""y = Loop(l, , x) <body = b (int64 i, bool g, float[n, 4] a)
      => (bool h, float[n, 4] v) {{ {inner}  h = Identity(g) }}>"""
    empty = """y = Loop(l, yes, x) <body = b (int64 i, bool g, float[n, 4] a)
      => (bool g, float[n, 4] a) { }>"""
    for body in (outer, empty, outer.replace("Add(a2, x)", "Add(bias, bias)")):
        samepad.onnx.load(model_of(f"{long}  {body}"))
    few = outer.replace("(l, , x)", "(k, , x)").replace("(l, , a)", "(k, , a)")
    module = samepad.onnx.load(model_of(f"k = Constant<value_int = 150>()  {few}"))
    assert len(module.graph.nodes) < 50_000
    assert time.process_time() - begin < 60


def test_deep_branches_take_little_time() -> None:
    """Each branch is converted once, or twice within a limit for the whole model."""
    body = "b%d = Squeeze(x, i1)"
    for depth in range(20):
        then = (body % depth) if depth == 0 else body
        body = (
            f"b{depth + 1} = If(c) <then_branch = t{depth} () => (float[] b{depth}) {{ {then} }},"
            f" else_branch = e{depth} () => (float[] f{depth}) {{ f{depth} = Identity(x) }}>"
            f"  r{depth + 1} = MaxPool<kernel_shape = [2]>(b{depth + 1})"
        )
    condition = "s = Shape(x)  k = Slice(s, i1, i2)  c = Equal(k, i1)"
    begin = time.process_time()
    samepad.onnx.load(model_of(f"{condition}  {body}  y = Relu(r20)", "float[n, k, 4] x"))
    assert time.process_time() - begin < 60


def test_an_endless_loop_can_be_interrupted(tmp_path: Path) -> None:
    model = model_of("y, z = Loop(, yes, x)" + LOOP % "h = Identity(yes)", outputs="float[] y")
    onnx.save(model, tmp_path / "endless.onnx")
    code = """
import sys, torch, samepad.onnx
module = samepad.onnx.load(sys.argv[1])
print("loaded", flush=True)
module(torch.ones(1, 4))
"""
    command = [sys.executable, "-c", code, tmp_path / "endless.onnx"]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == "loaded\n"
        with pytest.raises(subprocess.TimeoutExpired):
            child.wait(1)
        child.send_signal(signal.SIGINT)
        _, error = child.communicate(timeout=60)
    assert error.strip().endswith("KeyboardInterrupt")
