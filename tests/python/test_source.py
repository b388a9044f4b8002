"""Tests names in generated code, and samepad.source on modules made by torch.fx."""

import ast
import enum
import keyword
import math
import operator
import random
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import samepad
import torch
from samepad._names import identifier
from samepad.source import write_source
from torch import fx, nn


def written(module: fx.GraphModule) -> Any:
    """Return an instance of the class in a module's source, with the module's weights."""
    namespace: dict[str, Any] = {}
    exec(write_source(module), namespace)
    twin = namespace["Model"]()
    twin.load_state_dict(module.state_dict())
    return twin.train(module.training)


ODD_NAMES = [
    *("", "_", "__x", "1abc", "a.b/c d", "слой", "x" * 300),
    *("self", "class", "None", "super", "float", "torch", "nn", "inf"),
    *("forward", "meta", "training", "parameters", "T_destination"),
]


@pytest.mark.parametrize("name", ODD_NAMES)
def test_identifiers(name: str) -> None:
    given = identifier(name)
    assert given.isidentifier()
    assert given.isascii()
    assert not keyword.iskeyword(given)
    assert not given.startswith("__")
    assert not hasattr(fx.GraphModule(nn.Module(), fx.Graph()), given)
    assert identifier(name, {given}) not in (given, name)


def test_names_that_are_fit_are_kept() -> None:
    for name in ("conv_1", "Conv2D", "_1", "input", "relu"):
        assert identifier(name) == name
    assert identifier("conv", {"conv", "conv_1"}) == "conv_2"


@pytest.mark.parametrize(
    "class_name", ["", "a b", "1abc", "None", None, "super", "nn", "SamePadConv2d"]
)
def test_names_that_no_class_can_have(class_name: Any) -> None:
    graph = fx.Graph()
    graph.output(graph.call_module("conv", (graph.placeholder("x"),)))
    root = nn.Module()
    root.conv = samepad.SamePadConv2d(3, 4, 3)
    module = fx.GraphModule(root, graph)
    with pytest.raises(ValueError, match="class_name must be a name of a class"):
        write_source(module, class_name)
    assert "class Модель(nn.Module)" in write_source(module, "Модель")


class Mixed(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv1d(3, 4, 3)
        self.norm = nn.BatchNorm1d(4)
        self.lstm = nn.LSTM(4, 5, batch_first=True)

    def forward(self, x: torch.Tensor) -> Any:
        return self.lstm(self.norm(self.conv(x)).movedim(1, 2))[0]


@pytest.mark.parametrize("dtype", [torch.float64, torch.float16, torch.bfloat16])
def test_types_of_weights(dtype: torch.dtype) -> None:
    module = fx.symbolic_trace(Mixed().to(dtype))
    twin = written(module)
    for name, value in module.state_dict().items():
        assert twin.state_dict()[name].dtype == value.dtype, name


class Nested(nn.Module):
    """Has layers in containers, whose names are numbers, and parameters in a container."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Sequential(nn.ReLU(), nn.Flatten()))
        self.offsets = nn.ParameterList([nn.Parameter(torch.ones(4 * 5 * 5))])
        self.register_buffer("scale", torch.full((4 * 5 * 5,), 2.0))

    def forward(self, x: torch.Tensor) -> Any:
        return self.features(x) * self.scale + self.offsets[0]


@pytest.mark.parametrize(
    "module", [Nested(), nn.Sequential(nn.Conv2d(3, 4, 3), nn.Sequential(nn.ReLU(), nn.Dropout()))]
)
def test_what_symbolic_trace_makes_of_containers(module: nn.Module) -> None:
    traced, x = fx.symbolic_trace(module.eval()), torch.randn(2, 3, 7, 7)
    assert torch.equal(written(traced)(x), module(x))


class Indices(nn.Module):
    def forward(self, x: torch.Tensor, i: torch.Tensor) -> Any:
        return x[i, 1:], x[(0,)], x[..., ::2][:, None], x[i][: i.shape[0]]


def test_what_stands_in_brackets() -> None:
    module = fx.symbolic_trace(Indices())
    x, i = torch.randn(3, 4), torch.tensor([2, 0])
    for found, expected in zip(written(module)(x, i), module(x, i), strict=True):
        assert torch.equal(found, expected)


def test_text_in_the_meta_of_a_module_is_written() -> None:
    module = fx.symbolic_trace(nn.Sequential(nn.ReLU()))
    module.meta.update(origin="here", graph=module.graph)
    assert written(module).meta == {"origin": "here"}


#: Pieces of text that may end a string literal, or that Python reads as other text.
PIECES = [
    *(
        "a",
        "0",
        "x y",
        '"',
        "'",
        '"""',
        "'''",
        "\\",
        "\n",
        "\r",
        "\0",
        "{",
        "}",
        "#",
        "%s",
        "$",
        ";",
    ),
    *(
        '"+str(print(1))+"',
        "'+str(print(1))+'",
        ")(print(1))(",
        "class",
        "self",
        "__x",
        "_Model__x",
    ),
    *(
        "\N{GRINNING FACE}",
        "\N{LATIN SMALL LIGATURE FI}",
        "\u2028",
        "\ud800",
        "\x7f",
        "\N{MICRO SIGN}",
    ),
]


class Level(enum.IntEnum):
    LOW = 3


class Kind(str, enum.Enum):
    ODD = 'o"dd'


class Real(float):
    def __repr__(self) -> str:
        return "print(1)"


SCALARS = [
    *(None, True, False, 0, -7, 2**70, 0.1, -0.0, 1e300, math.inf, -math.inf, math.nan, Real(0.3)),
    *(1j, complex(-0.0, 2), complex(math.nan, -math.inf), Level.LOW, Kind.ODD, ...),
    *(np.float64(0.3), np.float32(0.1), np.float16(-math.inf), np.int64(-3), np.uint8(200)),
    *(np.bool_(True), np.complex64(1 + 2j), np.str_("'\""), np.float64(math.nan)),
    *(torch.float32, torch.bfloat16, torch.int64, torch.strided, torch.channels_last),
    *(torch.device("cpu"), torch.device("cuda:1"), torch.Size([2, 3])),
]


def text(rng: random.Random) -> str:
    return "".join(rng.choices(PIECES, k=rng.randint(1, 3)))


def value(rng: random.Random, nodes: list[fx.Node], depth: int = 0) -> Any:
    kind = rng.randrange(9 if depth < 3 else 4)
    if kind == 0:
        return rng.choice(nodes)
    if kind == 1:
        return text(rng)
    if kind < 4:
        return rng.choice(SCALARS)
    items = [value(rng, nodes, depth + 1) for _ in range(rng.randint(0, 3))]
    if kind == 4:
        return {text(rng): item for item in items}
    if kind == 5:
        return slice(*[value(rng, nodes, 3) for _ in range(3)])
    return tuple(items) if kind < 8 else items


def keep(*args: Any, **kwargs: Any) -> Any:
    """Return all arguments."""
    return args, kwargs


def assert_same(found: Any, expected: Any) -> None:
    """Check that values are equal bit for bit, and of Python's own types."""
    if isinstance(expected, torch.Tensor):
        assert found is expected or torch.equal(found, expected)
    elif isinstance(expected, dict):
        assert list(found) == list(expected)
        for key in expected:
            assert_same(found[key], expected[key])
    elif isinstance(expected, (list, tuple)):
        assert isinstance(found, list if isinstance(expected, list) else tuple)
        assert len(found) == len(expected)
        for one, other in zip(found, expected, strict=True):
            assert_same(one, other)
    elif isinstance(expected, slice):
        for end in ("start", "stop", "step"):
            assert_same(getattr(found, end), getattr(expected, end))
    elif isinstance(expected, (float, complex, np.inexact)):
        assert type(found) in (float, complex)
        assert np.array(found).tobytes() == np.array(expected).astype(type(found)).tobytes()
    elif isinstance(expected, torch.device):
        assert torch.device(found) == expected
    else:
        assert found == expected
        assert type(found).__module__ in ("builtins", "torch")


def calls(source: str, function: str) -> Iterator[str]:
    """Yield what a method of the class in a source calls."""
    (kind,) = (node for node in ast.parse(source).body if isinstance(node, ast.ClassDef))
    (method,) = (m for m in kind.body if isinstance(m, ast.FunctionDef) and m.name == function)
    for node in ast.walk(method):
        if isinstance(node, ast.Call):
            yield ast.unparse(node.func)


def hostile(rng: random.Random) -> fx.GraphModule:
    """Make a module with names and arguments that nobody would choose.

    torch.fx would write code with them that may not even parse, so they are inserted after that.
    """
    root = nn.Module()
    for name in ("one", "two"):
        root.add_module(name, nn.Linear(3, 3))
    root.two.add_module("inner", nn.Tanh())  # a layer inside another one that is not called
    root.register_buffer("buffer", torch.ones(3))
    graph = fx.Graph()
    x = graph.placeholder("x")
    one = graph.call_module("one", (x,))
    two = graph.call_module("two", (one,))
    buffer = graph.get_attr("buffer")
    kept = graph.call_function(keep)
    graph.output(kept)
    module = fx.GraphModule(root, graph)
    for node in (one, two, buffer):
        name = text(rng)
        table = module._buffers if node is buffer else module._modules
        if "." not in name and not hasattr(module, name):
            table[name] = table.pop(str(node.target))
            node.target = name
    nodes = [x, one, two, buffer]
    kept.args = tuple(value(rng, nodes) for _ in range(4))
    kept.kwargs = {text(rng): value(rng, nodes) for _ in range(2)}
    return module


@pytest.mark.parametrize("seed", range(150))
def test_hostile_names_and_arguments(seed: int, capsys: pytest.CaptureFixture[str]) -> None:
    module = hostile(random.Random(seed)).eval()
    source = write_source(module)
    assert source.encode()
    own = {"float", "complex", "slice", "getattr"}
    assert len([name for name in calls(source, "forward") if name not in own]) == 3
    made = {"super", "super().__init__", "nn.Linear", "torch.zeros"}
    given = {"self.add_module", "self.register_buffer"}
    assert set(calls(source, "__init__")) <= {*made, *given, "nn.Parameter"}
    x = torch.randn(2, 3)
    assert_same(written(module)(x), fx.Interpreter(module).run(x))
    assert capsys.readouterr().out == ""


def of_one_layer(layer: nn.Module) -> fx.GraphModule:
    return fx.GraphModule(nn.Sequential(layer), fx.symbolic_trace(nn.Sequential(layer)).graph)


@pytest.mark.parametrize(
    ("layer", "expected"),
    [
        (nn.Dropout(np.float64(0.3)), "nn.Dropout(p=0.3)"),
        (nn.Dropout(torch.tensor(0.25)), "nn.Dropout(p=0.25)"),
        (nn.LeakyReLU(np.float32(0.5)), "nn.LeakyReLU(negative_slope=0.5)"),
        (nn.Softmax(dim=np.int64(-1)), "nn.Softmax(dim=-1)"),
        (nn.Hardtanh(-math.inf, Real(2.0)), 'nn.Hardtanh(min_val=float("-inf"), max_val=2.0)'),
        (nn.ZeroPad1d((np.int64(1), np.int32(2))), "nn.ZeroPad1d((1, 2))"),
        (nn.MaxPool1d(np.int64(2), np.int64(2)), "nn.MaxPool1d(2)"),
    ],
)
def test_settings_of_other_types(layer: nn.Module, expected: str) -> None:
    assert expected in write_source(of_one_layer(layer))


def of_one_call(function: Any, *args: Any, op: str = "call_function", **kwargs: Any) -> Any:
    """Make a module that calls `function` with its input and other arguments."""
    graph = fx.Graph()
    x = graph.placeholder("x")
    made = graph.call_function(keep)
    graph.output(made)
    module = fx.GraphModule(nn.Module(), graph)
    made.op, made.target, made.kwargs = op, function, kwargs  # after torch.fx has written its code
    made.args = tuple(x if arg is keep else arg for arg in args)
    return module


@pytest.mark.parametrize(
    ("function", "args"),
    [
        (operator.pow, (-2, keep)),
        (operator.pow, (-0.5, keep)),
        (operator.pow, (complex(-1, 2), keep)),
        (operator.getitem, (keep, (slice(-2, None), 0))),
        (operator.getitem, (keep, ((0, 1),))),
        (operator.getitem, (keep, ((0, 1), 1))),
        (operator.neg, (-3,)),
    ],
)
def test_signs_and_brackets(function: Any, args: Any) -> None:
    module, x = of_one_call(function, *args), torch.arange(9.0).reshape(3, 3)
    assert_same(written(module)(x), fx.Interpreter(module).run(x))


def test_methods_and_arguments_that_are_no_names() -> None:
    x = torch.rand(3)
    module = of_one_call("uniform_", keep, op="call_method", **{"from": 2.0, "to": 2.0})
    assert_same(written(module)(x), torch.full((3,), 2.0))
    hostile = of_one_call("relu() or print(1) or x.relu", keep, op="call_method")
    with pytest.raises(AttributeError, match="print"):
        written(hostile)(x)


class Colour(enum.Enum):
    RED = object()


@pytest.mark.parametrize(
    "argument",
    [
        Colour.RED,
        object(),
        torch.ones(2),
        torch.tensor(2),
        np.ones(2),
        b"",
        print,
        1 + np.longdouble(),
    ],
)
def test_arguments_that_cannot_be_written(argument: Any) -> None:
    with pytest.raises(ValueError, match="cannot write"):
        write_source(of_one_call(torch.add, keep, argument))


@pytest.mark.parametrize("function", [lambda x: x, Real(2).hex, type("Own", (), {})])
def test_functions_that_no_import_gives(function: Any) -> None:
    with pytest.raises(ValueError, match=r"cannot write .* no import by its name gives it"):
        write_source(of_one_call(function, keep))
