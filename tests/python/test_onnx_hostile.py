"""Small ONNX files that ask for too much memory are refused quickly, with a short message."""

import json
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx.parser
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper
from samepad._building import GraphBuilder
from samepad._names import Names

OPSETS = [helper.make_opsetid("", 18), helper.make_opsetid("own", 1)]


def model_of(nodes: list[Any], functions: Any = (), constants: Any = ()) -> Any:
    floats = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [2]) for name in "xy"]
    initializers = [
        numpy_helper.from_array(np.asarray(a), name) for name, a in dict(constants).items()
    ]
    graph = helper.make_graph(nodes, "net", floats[:1], floats[1:], initializers)
    return helper.make_model(graph, opset_imports=OPSETS, ir_version=10, functions=functions)


def function(name: str, *calls: str) -> Any:
    """Make a function of one value that passes it through other functions."""
    values = ["a", *(f"v{i}" for i in range(len(calls) - 1)), "b"]
    nodes = [
        helper.make_node(kind, [given], [result], domain="" if kind == "Relu" else "own")
        for kind, given, result in zip(calls, values, values[1:], strict=False)
    ]
    return helper.make_function("own", name, ["a"], ["b"], nodes, OPSETS)


def calling(name: str, *functions: Any) -> Any:
    return model_of([helper.make_node(name, ["x"], ["y"], domain="own")], functions)


def functions_of_functions(count: int, calls: int) -> list[Any]:
    """Make functions of which each calls the previous one `calls` times."""
    return [
        function("F0", "Relu"),
        *(function(f"F{i}", *[f"F{i - 1}"] * calls) for i in range(1, count)),
    ]


def in_a_branch() -> Any:
    """Make a function that calls itself from a branch of an If."""
    call = helper.make_node("F0", ["a"], ["c"], domain="own")
    branch = helper.make_graph([call], "branch", [], [helper.make_tensor_value_info("c", 1, [2])])
    nodes = [
        helper.make_node("Constant", [], ["yes"], value=numpy_helper.from_array(np.array(True))),
        helper.make_node("If", ["yes"], ["b"], then_branch=branch, else_branch=branch),
    ]
    body = helper.make_function("own", "F0", ["a"], ["b"], nodes, OPSETS)
    return calling("F0", body)


def large_constant_in_a_function() -> Any:
    """Make a function with a constant of 0.8 MB, and call it 10,000 times."""
    value = numpy_helper.from_array(np.zeros((100_000, 2), np.float32))
    nodes = [
        helper.make_node("Constant", [], ["w"], value=value),
        helper.make_node("Add", ["a", "w"], ["c"]),
        helper.make_node("ReduceMax", ["c"], ["b"]),
    ]
    first = helper.make_function("own", "F0", ["a"], ["b"], nodes, OPSETS)
    return calling("F2", first, *functions_of_functions(3, 100)[1:])


#: Code that computes the constant `t`, on which y depends, from the large numbers n, m and o.
FOLDED = {
    "ConstantOfShape": "t = ConstantOfShape(n)",
    "ConstantOfShape, many small ones": "a = ConstantOfShape(m)  b = Add(a, f)"
    "  c = Concat<axis = 0>(b, b, b, b)  d = Concat<axis = 0>(c, c, c, c)"
    "  t = Concat<axis = 0>(d, d, d, d)",
    "Tile": "t = Tile(f, n)",
    "Range": "i = Squeeze(n)  a = Sub(i, i)  b = Div(i, i)  t = Range(a, i, b)",
    "OneHot": "i = Squeeze(n)  t = OneHot(two, i, ends)",
    "Expand": "t = Expand(f, n)",
    "Resize": 's = Cast<to = 1>(n)  i = Reshape(f, one)  t = Resize<mode = "linear">(i, , s)',
    "Resize to a size": "t = Resize(f, , , n)",
    "Upsample": "r = Reshape(f, four)  t = Resize(r, , , image)",
    "Pad": "t = Pad(f, wide)",
    "Pad by edges": 't = Pad<mode = "edge">(f, wide)',
    "Gather": "a = ConstantOfShape(m)  i = Cast<to = 7>(a)  t = Gather(table, i)",
    "MatMul": "a = ConstantOfShape(column)  b = ConstantOfShape(row)  t = MatMul(a, b)",
    "Add": "a = ConstantOfShape(column)  b = ConstantOfShape(row)  t = Add(a, b)",
    "Where": "a = ConstantOfShape(column)  b = ConstantOfShape(row)  c = Cast<to = 9>(a)"
    "  t = Where(c, a, b)",
    "Einsum": 'a = ConstantOfShape(m)  t = Einsum<equation = "i,j->ij">(a, a)',
    "ConvTranspose": "r = Reshape(f, four)  t = ConvTranspose<strides = [1000000, 1000000],"
    " output_padding = [999999, 999999]>(r, r)",
    "HannWindow": "i = Squeeze(n)  t = HannWindow(i)",
    "sizes": "a = ConstantOfShape(m)  i = Cast<to = 7>(a)  t = Reshape(f, i)",
    "steps backwards": "a = ConstantOfShape(m)  b = Cast<to = 7>(a)  t = Slice(f, b, b, b, b)",
    "SequenceConstruct": "q = SequenceConstruct(f, f)  t = ConcatFromSequence<axis = 0>(q)",
}
#: The same, with many results that are each no larger than what they are computed from.
COPIES = {
    "many results": "a0 = ConstantOfShape(m)  "
    + "  ".join(f"a{i + 1} = Exp(a{i})" for i in range(60))
    + f"  t = Sum({', '.join(f'a{i}' for i in range(60))})",
    "wider types": "a = ConstantOfShape<value = int8[1] {1}>(m)  "
    + "  ".join(f"a{i} = Cast<to = 11>(a)" for i in range(40))
    + f"  t = Sum({', '.join(f'a{i}' for i in range(40))})",
}


def folded(steps: str) -> Any:
    text = f"""
    <ir_version: 9, opset_import: ["": 18]>
    net (float[2] x) => (float[] y)
    <int64[1] n = {{4294967296}}, int64[1] m = {{67108864}},
     float[1] f = {{1.0}}, int64[1] one = {{1}},
     int64[2] two = {{1, 0}}, int64[4] four = {{1, 1, 1, 1}}, int64[2] row = {{1, 60000}},
     int64[2] column = {{60000, 1}}, int64[2] wide = {{2147483648, 2147483648}},
     int64[4] image = {{1, 1, 60000, 60000}}, float[2] ends = {{0.0, 1.0}},
     float[1,8] table = {{1, 2, 3, 4, 5, 6, 7, 8}}>
    {{ {steps}  u = Cast<to = 1>(t)  y = Add(u, x) }}
    """
    return onnx.parser.parse_model(text)


def sized(steps: str) -> Any:
    """Make a model that adds the sum of t, which it computes from sizes, to its input."""
    text = f"""
    <ir_version: 9, opset_import: ["": 18]>
    net (float[a, b] x) => (float[] y)
    <int64[1] zero = {{0}}, int64[1] one = {{1}}, int64[1] two = {{2}}, int64[1] n = {{100000000}}>
    {{ s0 = Shape(x)  p0 = Gather(s0, zero)  {steps}
       r = ReduceSum<keepdims = 0>(t)  u = Cast<to = 1>(r)  y = Add(x, u) }}
    """
    return onnx.parser.parse_model(text)


def doubled(times: int) -> str:
    """Return code that concatenates s0 with itself so many times."""
    return "  ".join(f"s{i + 1} = Concat<axis = 0>(s{i}, s{i})" for i in range(times))


def outer(times: int) -> str:
    """Return code that multiplies each number of a doubled s0 by each one."""
    column, row = f"c = Unsqueeze(s{times}, one)", f"r0 = Unsqueeze(s{times}, zero)"
    return f"{doubled(times)}  {column}  {row}  t = Mul(c, r0)"


def repeated(step: str, times: int, first: int = 0) -> str:
    """Return code that computes p1, p2 and so on, each from the one before, which is "p" in it."""
    numbers = range(first, first + times)
    return "  ".join(f"p{i + 1} = {step.replace('p', f'p{i}')}" for i in numbers)


#: Models of sizes that load within limits, because larger ones are computed as tensors.
SIZES = {
    "sizes, doubled": sized(f"{doubled(32)}  t = Identity(s32)"),
    "sizes, each by each": sized(outer(10)),
    "sizes at many places": sized("z = ConstantOfShape(n)  i = Cast<to = 7>(z)  t = Gather(s0, i)"),
    "sizes, reduced often": sized(
        f"{doubled(12)}  " + "  ".join(f"q{i} = ReduceProd(s12)" for i in range(300)) + "  t = Sum("
        f"{', '.join(f'q{i}' for i in range(300))})"
    ),
    "a size, doubled": sized(f"{repeated('Add(p, p)', 40)}  t = Div(p40, two)"),
    "a size, added to": sized(f"{repeated('Add(p, two)', 3000)}  t = Div(p3000, two)"),
    "a size, added to, in a branch": sized(
        f"{repeated('Add(p, two)', 3000)}  a = ReduceSum<keepdims = 0>(x)  c = Cast<to = 9>(a)  "
        "t = If(c) <then_branch = then () => (int64[1] v) { v = Identity(p3000) }, "
        "else_branch = other () => (int64[1] w) { w = Div(p3000, two) }>"
    ),
    "a size with a large bound": sized(
        f"m = Max(p0, two)  p1 = Identity(m)  {repeated('Mul(p, p)', 60, first=1)}"
        "  t = Div(p61, two)"
    ),
    "known sizes, squared": sized(
        f"p1 = Concat<axis = 0>(p0, two)  {repeated('Mul(p, p)', 60, first=1)}  t = Identity(p61)"
    ),
}


def sparse() -> Any:
    model = model_of([helper.make_node("Add", ["x", "w"], ["y"])])
    values = numpy_helper.from_array(np.ones(1, np.float32), "w")
    indices = numpy_helper.from_array(np.zeros((1, 2), np.int64), "i")
    tensor = helper.make_sparse_tensor(values, indices, [2**16, 2**16])
    model.graph.sparse_initializer.append(tensor)
    return model


CYCLE = (function("F0", "F1"), function("F1", "F2"), function("F2", "F0"))
#: Models, and a part of the error's message for each.
HOSTILE: dict[str, tuple[Any, str]] = {
    "thirty functions": (calling("F29", *functions_of_functions(30, 2)), "1,610,612,735 nodes"),
    "a hundred functions": (
        calling("F98", *functions_of_functions(99, 9)),
        "nodes when its functions",
    ),
    "deep functions": (calling("F5000", *functions_of_functions(5001, 1)), "more than 100 deep"),
    "a function of itself": (calling("F0", function("F0", "Relu", "F0")), "own.F0 calls itself"),
    "a circle": (calling("F1", *CYCLE), "calls itself"),
    "a circle in a branch": (in_a_branch(), "own.F0 calls itself"),
    "a constant in a function": (large_constant_in_a_function(), "bytes out of constants"),
    "a sparse weight": (sparse(), "4,294,967,295 elements"),
    **{name: (folded(steps), "") for name, steps in FOLDED.items()},
    **{name: (folded(steps), "bytes out of constants") for name, steps in COPIES.items()},
}

LOAD = """
import json, re, resource, sys, time
from pathlib import Path
import samepad.onnx, samepad.onnx.loading
resource.setrlimit(resource.RLIMIT_AS, (12 * 2**30, 12 * 2**30))
print("ready", flush=True)
for path in sorted(Path(sys.argv[1]).iterdir()):
    before = time.process_time()
    try:
        samepad.onnx.load(path)
        answer = "loaded"
    except ValueError as error:
        answer = str(error)
    except Exception as error:
        answer = "raw: " + repr(error)
    # Not ru_maxrss, which begins with the memory of the process that has started this one.
    status = Path("/proc/self/status").read_text()
    most = int(re.search(r"VmHWM:\\s+(\\d+) kB", status)[1]) // 2**10
    print(json.dumps([path.stem, answer, time.process_time() - before, most]), flush=True)
"""


@pytest.fixture(scope="module")
def answers(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[str, float, int]]:
    """Load each model in a child process with little memory.

    The result for each model is the error, the CPU seconds, and the most memory in MiB.
    """
    folder = tmp_path_factory.mktemp("hostile")
    models = {name: model for name, (model, _) in HOSTILE.items()} | SIZES
    for name, model in models.items():
        content = model.SerializeToString()
        assert len(content) < 1_000_000, name
        (folder / f"{name}.onnx").write_bytes(content)
    done = subprocess.run(
        [sys.executable, "-c", LOAD, folder],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    lines = [json.loads(line) for line in done.stdout.splitlines()[1:]]
    return {name: tuple(rest) for name, *rest in lines}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_models_are_refused(name: str, answers: dict[str, tuple[str, float, int]]) -> None:
    assert name in answers, "the child process died"
    answer, _, megabytes = answers[name]
    assert answer != "loaded"
    assert not answer.startswith("raw")
    assert HOSTILE[name][1] in answer
    # The message has a title, and a line for each node that is refused.
    assert len(answer.splitlines()) <= 3
    assert len(answer) < 600
    assert megabytes < 3000
    if name in FOLDED and name not in ("sizes", "steps backwards", "SequenceConstruct"):
        assert "elements out of constants, expected at most" in answer


@pytest.mark.parametrize("name", SIZES)
def test_many_sizes_take_little(name: str, answers: dict[str, tuple[str, float, int]]) -> None:
    assert name in answers, "the child process died"
    answer, seconds, megabytes = answers[name]
    assert answer == "loaded"
    assert seconds < 30
    assert megabytes < 3000


def test_more_sizes_than_the_limit() -> None:
    """They are computed as tensors, with the same result."""
    import samepad.onnx

    x = torch.zeros(2, 3)
    for times in (3, 14):  # 16 and 32,768 numbers
        module = samepad.onnx.load(sized(f"{doubled(times)}  t = Identity(s{times})"))
        assert torch.equal(module(x), x + 5 * 2**times)
    for times in (3, 8):  # 256 and 262,144 numbers
        module = samepad.onnx.load(sized(outer(times)))
        assert torch.equal(module(x), x + (5 * 2**times) ** 2)


def test_weights_may_be_converted(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a file's weights are converted to is allowed in proportion to them."""
    import samepad.onnx
    from samepad.onnx import limits

    monkeypatch.setattr(limits, "MOST_BYTES", 0)
    random = np.random.default_rng(0)
    nodes: list[Any] = []
    constants: dict[str, Any] = {"scale": np.float32(0.5)}
    sums = ["x"]
    for i in range(4):
        constants[f"q{i}"] = random.integers(-128, 127, (300, 200)).astype(np.int8)
        constants[f"h{i}"] = random.normal(size=(200, 300)).astype(np.float16)
        nodes += [
            helper.make_node("DequantizeLinear", [f"q{i}", "scale"], [f"d{i}"]),
            helper.make_node("Transpose", [f"d{i}"], [f"t{i}"], perm=[1, 0]),
            helper.make_node("Cast", [f"h{i}"], [f"c{i}"], to=TensorProto.FLOAT),
            helper.make_node("Neg", [f"c{i}"], [f"n{i}"]),
            helper.make_node("Add", [f"t{i}", f"n{i}"], [f"w{i}"]),
            helper.make_node("ReduceSum", [f"w{i}"], [f"s{i}"], keepdims=0),
        ]
        sums.append(f"s{i}")
    nodes.append(helper.make_node("Sum", sums, ["y"]))
    module = samepad.onnx.load(model_of(nodes, constants=constants))
    expected = sum(
        0.5 * constants[f"q{i}"].sum(dtype=np.float64) - constants[f"h{i}"].sum(dtype=np.float64)
        for i in range(4)
    )
    assert module(torch.zeros(2)).tolist() == pytest.approx([expected] * 2, rel=1e-4)


def test_an_interrupt_stops_loading(tmp_path: Path) -> None:
    """Ctrl-C ends the loading of 250,000 nodes, which are not refused as too many."""
    large = calling("F2", *functions_of_functions(3, 500))
    (tmp_path / "large.onnx").write_bytes(large.SerializeToString())
    command = [sys.executable, "-c", LOAD, tmp_path]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == "ready\n"
        with pytest.raises(subprocess.TimeoutExpired):
            child.wait(2)
        child.send_signal(signal.SIGINT)
        output, error = child.communicate(timeout=60)
    assert output == ""
    assert error.strip().endswith("KeyboardInterrupt")


def test_functions_that_are_within_the_limits() -> None:
    import samepad.onnx

    module = samepad.onnx.load(calling("F10", *functions_of_functions(11, 2)))
    assert len(list(module.children())) == 2**10


def test_many_equal_names() -> None:
    """Equal names take no longer than different ones; in quadratic time, this would take hours."""
    names = Names()
    assert len({names("same") for _ in range(50_000)}) == 50_000
    builder = GraphBuilder()
    given = [builder.placeholder("x") for _ in range(5_000)]
    assert len({node.name for node in given}) == 5_000
