"""Names in generated Python, and samepad.source on modules that torch.fx made."""

import keyword
from typing import Any

import pytest
import samepad
import torch
from samepad._names import identifier
from samepad.source import write_source
from torch import fx, nn


def written(module: fx.GraphModule) -> Any:
    """An instance of the class in the module's source, with the module's weights."""
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
    """Layers in containers, whose names are numbers, and parameters in one."""

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
