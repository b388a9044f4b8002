"""Tests that the modules equal torch.nn's except for their padding."""

import copy
import inspect
import io
import itertools
import pickle
from collections.abc import Callable
from typing import Any

import pytest
import samepad
import torch
import torch.nn.functional as F
from torch import Tensor, nn

SIZES = {1: (10,), 2: (11, 8), 3: (5, 8, 7)}
FAMILIES = ("Conv", "ConvTranspose", "MaxPool", "AvgPool")
#: The names of torch.nn's layers that have a replacement.
LAYERS = [f"{family}{dimensions}d" for family in FAMILIES for dimensions in (1, 2, 3)]
CONVOLUTIONS = [name for name in LAYERS if "Conv" in name]
TRANSPOSED = [name for name in LAYERS if "Transpose" in name]
POOLS = [name for name in LAYERS if "Pool" in name]

by_layer = pytest.mark.parametrize("name", LAYERS)
by_convolution = pytest.mark.parametrize("name", CONVOLUTIONS)
by_transposed = pytest.mark.parametrize("name", TRANSPOSED)


def dimensions_of(name: str) -> int:
    return int(name[-2])


def size_of(name: str) -> tuple[int, ...]:
    return SIZES[dimensions_of(name)]


def arguments_of(name: str) -> tuple[int, ...]:
    """Return the constructor's arguments: channels, if the layer has any, and kernel size."""
    return (4, 6, 3) if name in CONVOLUTIONS else (3,)


def input_of(name: str, dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.randn(2, 4, *size_of(name), dtype=dtype)


def ours(name: str, *args: Any, **kwargs: Any) -> Any:
    return getattr(samepad, f"SamePad{name}")(*(args or arguments_of(name)), **kwargs)


def theirs(name: str, *args: Any, **kwargs: Any) -> Any:
    return getattr(nn, name)(*(args or arguments_of(name)), **kwargs)


#: Makes each layer of samepad; separable ones have no counterpart in torch.nn.
EVERY: dict[str, Callable[..., Any]] = {
    **{name: lambda name=name, **kwargs: ours(name, **kwargs) for name in LAYERS},
    "DepthwiseConv1d": lambda **kwargs: samepad.SamePadDepthwiseConv1d(4, 3, **kwargs),
    "DepthwiseConv2d": lambda **kwargs: samepad.SamePadDepthwiseConv2d(4, 3, **kwargs),
    "SeparableConv1d": lambda **kwargs: samepad.SamePadSeparableConv1d(4, 6, 3, **kwargs),
    "SeparableConv2d": lambda **kwargs: samepad.SamePadSeparableConv2d(4, 6, 3, **kwargs),
}
by_every = pytest.mark.parametrize("name", EVERY)


def forms(dimensions: int) -> list[Any]:
    """Return paddings of every form."""
    pairs = ((0, 1), (1, 2), (1, 1))[:dimensions]
    modes = ("same_lower", "valid", "same")[:dimensions]
    return ["same", "same_lower", "valid", modes, 1, (1, 0, 1)[:dimensions], pairs]


def causal_forms(name: str) -> list[Any]:
    """Return the causal paddings of a layer; only convolutions have any."""
    if "Transpose" in name or "Pool" in name:
        return []
    modes = ("causal", "same", "valid")[: dimensions_of(name)]
    return [modes, "causal"] if dimensions_of(name) == 1 else [modes]


def same_sizes(name: str, stride: int = 2) -> list[int]:
    if name in TRANSPOSED:
        return [n * stride for n in size_of(name)]
    return [-(-n // stride) for n in size_of(name)]


def saved_and_loaded(layer: nn.Module) -> Any:
    file = io.BytesIO()
    torch.save(layer, file)
    file.seek(0)
    return torch.load(file, weights_only=False)


def test_every_module_is_tested() -> None:
    layers = [name for name in samepad.__all__ if "SamePad" in name]
    tested = {f"SamePad{name}" for name in EVERY} | {f"LazySamePad{name}" for name in CONVOLUTIONS}
    assert set(layers) == tested


@by_layer
def test_is_a_torch_layer(name: str) -> None:
    layer = ours(name, stride=2)
    assert isinstance(layer, getattr(nn, name))
    assert layer.padding == "same"
    output = layer(input_of(name))
    assert output.shape == (2, 6 if name in CONVOLUTIONS else 4, *same_sizes(name))


@by_layer
def test_layers_call_the_function_of_their_name(name: str) -> None:
    family = {"Conv": "conv", "ConvTranspose": "conv_transpose", "MaxPool": "max_pool"}
    function = getattr(samepad.functional, family.get(name[:-2], "avg_pool") + name[-2:])
    input = input_of(name)
    for padding in forms(dimensions_of(name)):
        layer = ours(name, stride=2, padding=padding)
        weights = (layer.weight, layer.bias) if name in CONVOLUTIONS else (3,)
        assert torch.equal(layer(input), function(input, *weights, stride=2, padding=padding))


@by_convolution
def test_draws_the_same_parameters(name: str) -> None:
    torch.manual_seed(5)
    mine = ours(name).state_dict()
    torch.manual_seed(5)
    expected = theirs(name).state_dict()
    assert list(mine) == list(expected)
    for key, value in expected.items():
        assert torch.equal(mine[key], value)


@by_convolution
def test_state_dict_goes_both_ways(name: str) -> None:
    mine, other = ours(name), theirs(name, padding=1)
    mine.load_state_dict(other.state_dict())
    input = input_of(name)
    torch.testing.assert_close(mine(input), other(input))
    with torch.no_grad():
        mine.weight.mul_(2)
    other.load_state_dict(mine.state_dict())
    torch.testing.assert_close(mine(input), other(input))


#: All arguments by position, none with its default value unless there is no other valid one.
POSITIONAL: dict[str, tuple[Any, ...]] = {
    "Conv": (4, 6, 3, 2, 1, 1, 2, False, "circular", "cpu", torch.float64),
    "ConvTranspose": (4, 6, 3, 2, 1, 1, 2, False, 2, "zeros", "cpu", torch.float64),
    "MaxPool": (3, 2, 1, 2, True, True),
    "AvgPool": (3, 2, 1, True, False, 5),
}


@by_layer
def test_positional_arguments_are_torchs(name: str) -> None:
    arguments = POSITIONAL[name[:-2]][: 5 if name == "AvgPool1d" else None]
    mine, other = ours(name, *arguments), theirs(name, *arguments)
    assert len(arguments) == len(inspect.signature(type(mine)).parameters)
    mine.load_state_dict(other.state_dict())
    input = input_of(name, torch.float64)
    torch.testing.assert_close(mine(input), other(input), rtol=0, atol=0)


@by_every
def test_every_argument_has_its_attribute(name: str) -> None:
    layer = EVERY[name](stride=2)
    if "Separable" in name:
        layer = layer.depthwise
    parameters = inspect.signature(type(layer)).parameters.keys() - {"device", "dtype", "bias"}
    assert all(hasattr(layer, parameter) for parameter in parameters)


@pytest.mark.parametrize(
    ("padding", "kept", "shown"),
    [
        ("same", "same", "padding=same"),
        ("same_lower", "same_lower", "padding=same_lower"),
        ("valid", "valid", "padding=valid"),
        (1, (1, 1), "padding=(1, 1)"),
        ((1, 2), (1, 2), "padding=(1, 2)"),
        ([[0, 1], [2, 3]], ((0, 1), (2, 3)), "padding=((0, 1), (2, 3))"),
    ],
)
def test_padding_reads_back_and_shows(padding: Any, kept: Any, shown: str) -> None:
    layer = samepad.SamePadConv2d(3, 8, 3, stride=2, padding=padding)
    assert layer.padding == kept
    assert repr(layer) == f"SamePadConv2d(3, 8, kernel_size=(3, 3), stride=(2, 2), {shown})"
    layer = samepad.SamePadConvTranspose2d(3, 8, 3, stride=2, padding=padding)
    assert layer.padding == kept
    expected = f"SamePadConvTranspose2d(3, 8, kernel_size=(3, 3), stride=(2, 2), {shown})"
    assert repr(layer) == expected
    # torch.nn's pools keep an int as an int.
    kept = padding if isinstance(padding, int) else kept
    for layer in (samepad.SamePadMaxPool2d(3, 2, padding), samepad.SamePadAvgPool2d(3, 2, padding)):
        assert layer.padding == kept
        assert f"(kernel_size=3, stride=2, padding={kept}" in repr(layer)


@by_layer
def test_padding_of_zero_shows_as_torchs(name: str) -> None:
    mine, other = ours(name, padding=0), theirs(name, padding=0)
    assert repr(mine) == repr(other).replace(name, f"SamePad{name}", 1)


@by_layer
@pytest.mark.parametrize("kind", ["same", "same_lower", "pairs"])
def test_a_plain_layer_rebuilt_from_its_attributes_fails_loudly(name: str, kind: str) -> None:
    """Tools rebuild layers from attributes; wrong results would be worse than an error."""
    padding = ((0, 1),) * dimensions_of(name) if kind == "pairs" else kind
    layer = ours(name, stride=2, padding=padding)
    channels = (layer.in_channels, layer.out_channels) if name in CONVOLUTIONS else ()
    with pytest.raises((ValueError, TypeError, RuntimeError)):
        theirs(name, *channels, layer.kernel_size, layer.stride, layer.padding)(input_of(name))


@by_layer
def test_padding_set_later_takes_effect(name: str) -> None:
    layer = ours(name, stride=2)
    lower = ours(name, stride=2, padding="same_lower")
    lower.load_state_dict(layer.state_dict())
    input = input_of(name)
    assert not torch.equal(layer(input), lower(input))
    layer.padding = "same_lower"
    assert torch.equal(layer(input), lower(input))


@by_every
@pytest.mark.parametrize("padding", ["same_lower", "pairs"])
def test_copies_and_pickles(name: str, padding: Any) -> None:
    if padding == "pairs":
        padding = ((0, 1),) * dimensions_of(name)
    layer = EVERY[name](stride=2, padding=padding)
    input = torch.randn(2, 4, *SIZES[dimensions_of(name)])
    for twin in (
        copy.deepcopy(layer),
        pickle.loads(pickle.dumps(layer)),
        saved_and_loaded(layer),
    ):
        assert twin is not layer
        assert not set(twin.parameters()) & set(layer.parameters())
        assert repr(twin) == repr(layer)
        assert torch.equal(twin(input), layer(input))


@by_every
def test_loads_state_dicts_with_weights_only(name: str) -> None:
    layer, other = EVERY[name](), EVERY[name]()
    file = io.BytesIO()
    torch.save(layer.state_dict(), file)
    file.seek(0)
    other.load_state_dict(torch.load(file, weights_only=True))
    input = torch.randn(2, 4, *SIZES[dimensions_of(name)])
    assert torch.equal(other(input), layer(input))


@pytest.mark.parametrize("length", [1, 2, 7, 8, 30])
@by_every
def test_one_layer_serves_every_size(name: str, length: int) -> None:
    layer = EVERY[name](stride=2)
    assert not [name for name, _ in layer.named_buffers()]
    before = layer.__dict__.keys(), layer.state_dict().keys()
    sizes = (length, 5, 4)[: dimensions_of(name)]
    expected = tuple(2 * n if name in TRANSPOSED else -(-n // 2) for n in sizes)
    assert layer(torch.zeros(1, 4, *sizes)).shape[2:] == expected
    assert (layer.__dict__.keys(), layer.state_dict().keys()) == before


def test_causal_sees_nothing_later() -> None:
    layer = samepad.SamePadConv1d(1, 1, 3, padding="causal", dilation=2)
    input = torch.randn(1, 1, 20)
    changed = input.clone()
    changed[..., 10:] += 1
    before, after = layer(input), layer(changed)
    assert torch.equal(before[..., :10], after[..., :10])
    assert not torch.equal(before[..., 10:], after[..., 10:])


@by_transposed
def test_output_size_is_what_the_call_asks_for(name: str) -> None:
    """In the SAME modes, every size is accepted that a stride of 3 reduces to the input's."""
    for padding in ("same", "same_lower"):
        layer = ours(name, stride=3, padding=padding)
        input = input_of(name)
        for size in itertools.product(*[range(3 * n - 2, 3 * n + 1) for n in size_of(name)]):
            assert layer(input, list(size)).shape == (2, 6, *size)
            if size == tuple(same_sizes(name, 3)):
                assert torch.equal(layer(input, size), layer(input))


@by_transposed
@pytest.mark.parametrize("batched", [True, False], ids=["batched", "unbatched"])
def test_output_size_is_taken_as_torchs(name: str, batched: bool) -> None:
    """It may hold the spatial sizes or those of all dimensions; only the former are read."""
    mine, other = ours(name, stride=3, padding=1), theirs(name, stride=3, padding=1)
    mine.load_state_dict(other.state_dict())
    input = input_of(name) if batched else input_of(name)[0]
    least = [3 * n - 2 for n in size_of(name)]
    outer = list(other(input).shape[: 2 if batched else 1])
    for extra in (0, 1, 2):
        size = [n + extra for n in least]
        expected = other(input, size)
        assert list(expected.shape) == [*outer, *size]
        for given in (size, tuple(size), torch.Size(size), [*outer, *size], expected.shape):
            assert torch.equal(mine(input, given), expected)
    assert torch.equal(mine(input, None), other(input, None))
    # PyTorch's Python code raises ValueError; here the operator checks.
    for wrong in (
        [n - 1 for n in least],
        [n + 3 for n in least],
        least[1:],
        [1, 1, *outer, *least],
    ):
        with pytest.raises((ValueError, IndexError)):
            other(input, wrong)
        with pytest.raises(RuntimeError, match="output_size"):
            mine(input, wrong)


@by_transposed
def test_output_padding_counts_where_no_output_size_is_asked_for(name: str) -> None:
    arguments = {"stride": 3, "padding": 1, "output_padding": 2}
    mine, other = ours(name, **arguments), theirs(name, **arguments)
    mine.load_state_dict(other.state_dict())
    input = input_of(name)
    size = [3 * n - 1 for n in size_of(name)]
    assert torch.equal(mine(input), other(input))
    assert list(mine(input).shape[2:]) == [n + 1 for n in size]
    assert torch.equal(mine(input, size), other(input, size))
    assert list(mine(input, size).shape[2:]) == size


@pytest.mark.parametrize("dimensions", [1, 2, 3])
def test_return_indices(dimensions: int) -> None:
    """With the indices, nn.MaxUnpool puts the maxima back into their places."""
    name = f"MaxPool{dimensions}d"
    pool = ours(name, 3, stride=3, return_indices=True)
    input = input_of(name)
    maxima, indices = pool(input)
    assert torch.equal(maxima, ours(name, 3, stride=3)(input))
    assert indices.dtype == torch.int64
    unpool = getattr(nn, f"MaxUnpool{dimensions}d")(3, 3)
    unpooled = unpool(maxima, indices, output_size=input.shape)
    assert torch.equal(unpooled[unpooled != 0], input[unpooled != 0])
    assert int((unpooled != 0).sum()) == maxima.numel()


@pytest.mark.parametrize("dimensions", [1, 2, 3])
@pytest.mark.parametrize("given", [None, False, True])
def test_count_include_pad_follows_the_padding_unless_given(dimensions: int, given: Any) -> None:
    """It is False for modes, as in TensorFlow, and True for amounts, as in torch.nn."""
    name = f"AvgPool{dimensions}d"
    ones = torch.ones(1, 1, *[5] * dimensions)
    for padding in forms(dimensions):
        layer = ours(name, stride=1, padding=padding, count_include_pad=given)
        are_modes = padding == "valid" or "same" in str(padding)
        expected = not are_modes if given is None else given
        assert layer.count_include_pad is expected
        # Counted zeros make the means of ones smaller; "valid" adds none.
        assert bool((layer(ones) < 1).any()) == (expected and padding != "valid")


def test_a_divisor_is_what_sums_are_divided_by() -> None:
    for name in ("AvgPool2d", "AvgPool3d"):
        layer = ours(name, stride=2, divisor_override=7)
        assert layer.divisor_override == 7
        sums = layer(torch.ones(1, 1, *size_of(name))) * 7
        torch.testing.assert_close(sums, sums.round())
        assert sums.max() == 3 ** dimensions_of(name)


@pytest.mark.parametrize("multiplier", [1, 2])
@pytest.mark.parametrize("dimensions", [1, 2])
def test_depthwise_filters_each_channel_alone(dimensions: int, multiplier: int) -> None:
    cls = getattr(samepad, f"SamePadDepthwiseConv{dimensions}d")
    layer = cls(4, 3, stride=2, depth_multiplier=multiplier)
    assert isinstance(layer, getattr(samepad, f"SamePadConv{dimensions}d"))
    assert (layer.groups, layer.depth_multiplier) == (4, multiplier)
    assert layer.weight.shape == (4 * multiplier, 1, *[3] * dimensions)
    function = getattr(samepad.functional, f"conv{dimensions}d")
    input = torch.randn(2, 4, *SIZES[dimensions])
    output = layer(input)
    assert output.shape[1] == 4 * multiplier
    for index in range(4 * multiplier):
        channel = index // multiplier
        only = function(
            input[:, channel : channel + 1],
            layer.weight[index : index + 1],
            layer.bias[index : index + 1],
            2,
        )
        torch.testing.assert_close(output[:, index : index + 1], only)


@pytest.mark.parametrize("dimensions", [1, 2])
def test_depthwise_positional_arguments_and_parameters(dimensions: int) -> None:
    cls = getattr(samepad, f"SamePadDepthwiseConv{dimensions}d")
    arguments = (4, 3, 2, 1, 2, 3, False, "reflect", "cpu", torch.float64)
    assert len(arguments) == len(inspect.signature(cls).parameters)
    torch.manual_seed(5)
    layer = cls(*arguments)
    torch.manual_seed(5)
    other = theirs(
        f"Conv{dimensions}d", 4, 12, 3, 2, 1, 2, 4, False, "reflect", "cpu", torch.float64
    )
    input = torch.randn(2, 4, *SIZES[dimensions], dtype=torch.float64)
    assert torch.equal(layer(input), other(input))


@pytest.mark.parametrize("dimensions", [1, 2])
def test_separable_is_depthwise_then_pointwise(dimensions: int) -> None:
    cls = getattr(samepad, f"SamePadSeparableConv{dimensions}d")
    arguments = (4, 6, 3, 2, "same_lower", 2, 3, True, "replicate", "cpu", torch.float64)
    assert len(arguments) == len(inspect.signature(cls).parameters)
    layer = cls(*arguments)
    shapes = {name: tuple(value.shape) for name, value in layer.state_dict().items()}
    ones = [1] * dimensions
    assert shapes == {
        "depthwise.weight": (12, 1, *[3] * dimensions),
        "pointwise.weight": (6, 12, *ones),
        "pointwise.bias": (6,),
    }
    function = getattr(samepad.functional, f"conv{dimensions}d")
    input = torch.randn(2, 4, *SIZES[dimensions], dtype=torch.float64)
    weight, pointwise, bias = layer.state_dict().values()
    filtered = function(input, weight, None, 2, "same_lower", 2, 4, "replicate")
    expected = getattr(F, f"conv{dimensions}d")(filtered, pointwise, bias)
    torch.testing.assert_close(layer(input), expected)
    assert cls(4, 6, 3, bias=False).pointwise.bias is None


def lazy(name: str, **kwargs: Any) -> Any:
    return getattr(samepad, f"LazySamePad{name}")(6, 3, **kwargs)


@by_convolution
def test_lazy_layers_become_what_they_are_twins_of(name: str) -> None:
    layer = lazy(name, stride=2, padding="same_lower")
    assert isinstance(layer, getattr(samepad, f"SamePad{name}"))
    assert layer.has_uninitialized_params()
    spatial = ", ".join(["{}"] * dimensions_of(name))
    shown = f"6, kernel_size=({spatial.replace('{}', '3')}{',' * (name[-2] == '1')}), stride=("
    assert repr(layer).startswith(f"LazySamePad{name}(0, {shown}")
    assert "padding=same_lower" in repr(layer)
    input = input_of(name)
    torch.manual_seed(5)
    output = layer(input)
    assert type(layer) is getattr(samepad, f"SamePad{name}")
    torch.manual_seed(5)
    eager = ours(name, stride=2, padding="same_lower")
    assert repr(layer) == repr(eager)
    assert torch.equal(output, eager(input))
    assert torch.equal(layer(input), output)
    assert layer.in_channels == 4


@by_convolution
def test_lazy_positional_arguments_are_torchs(name: str) -> None:
    # All arguments except the input's channels.
    arguments = POSITIONAL[name[:-2]][1:]
    mine = getattr(samepad, f"LazySamePad{name}")(*arguments)
    other = getattr(nn, f"Lazy{name}")(*arguments)
    assert len(arguments) == len(inspect.signature(type(mine)).parameters)
    assert repr(mine) == repr(other).replace("Lazy", "LazySamePad", 1)
    input = input_of(name, torch.float64)
    torch.manual_seed(5)
    output = mine(input)
    torch.manual_seed(5)
    assert torch.equal(output, other(input))


@by_convolution
def test_lazy_layers_load_state_before_an_input(name: str) -> None:
    layer, eager = lazy(name), ours(name)
    layer.load_state_dict(eager.state_dict())
    assert layer.weight.shape == eager.weight.shape
    input = input_of(name)
    assert torch.equal(layer(input), eager(input))
    assert type(layer) is type(eager)


@by_convolution
def test_lazy_layers_copy_and_pickle_before_an_input(name: str) -> None:
    layer = lazy(name, stride=2, padding=((0, 1),) * dimensions_of(name), bias=False)
    for twin in (
        copy.deepcopy(layer),
        pickle.loads(pickle.dumps(layer)),
        saved_and_loaded(layer),
    ):
        assert type(twin) is type(layer)
        assert twin.has_uninitialized_params()
        twin(input_of(name))
        assert type(twin) is getattr(samepad, f"SamePad{name}")
        assert twin.bias is None
        assert twin.padding == layer.padding


@by_every
def test_a_mode_per_dimension_is_kept(name: str) -> None:
    """Copies, files and lazy layers have the modes as given, and so has the printed layer."""
    modes = (*causal_forms(name), ("valid", "same", "same_lower")[: dimensions_of(name)])[0]
    layer = EVERY[name](stride=2, padding=list(modes))
    assert f"padding={modes!r}" in repr(layer)
    input = input_of(name)
    copies = (pickle.loads(pickle.dumps(layer)), copy.deepcopy(layer), saved_and_loaded(layer))
    for other in copies:
        assert repr(other) == repr(layer)
        assert torch.equal(other(input), layer(input))
    if name in LAYERS:
        assert layer.padding == modes
        made = getattr(samepad.nn, name)(*arguments_of(name), stride=2, padding=modes)
        assert made.padding == modes
    if name in CONVOLUTIONS:
        lazy = getattr(samepad, f"LazySamePad{name}")(6, 3, stride=2, padding=modes)
        assert lazy(input).shape == layer(input).shape
        assert lazy.padding == modes


@by_every
def test_torchscript_of_every_padding(name: str) -> None:
    """After scripting, saving and loading, outputs are the same, also for another input size."""
    dimensions = dimensions_of(name)
    for padding in forms(dimensions) + causal_forms(name):
        layer = EVERY[name](stride=2, padding=padding)
        scripted = torch.jit.script(layer)
        file = io.BytesIO()
        torch.jit.save(scripted, file)
        file.seek(0)
        loaded = torch.jit.load(file)
        for sizes in (SIZES[dimensions], (6, 5, 8)[:dimensions]):
            input = torch.randn(2, 4, *sizes)
            assert torch.equal(scripted(input), layer(input))
            assert torch.equal(loaded(input), layer(input))


@by_transposed
def test_torchscript_takes_an_output_size(name: str) -> None:
    for padding in ("same", 1):
        layer = ours(name, stride=3, padding=padding)
        scripted = torch.jit.script(layer)
        input = input_of(name)
        size = [3 * n - 2 for n in size_of(name)]
        for given in (size, [2, 6, *size]):
            output = scripted(input, given)
            assert list(output.shape[2:]) == size
            assert torch.equal(output, layer(input, given))


@pytest.mark.parametrize("dimensions", [1, 2, 3])
def test_torchscript_returns_indices(dimensions: int) -> None:
    layer = ours(f"MaxPool{dimensions}d", 3, stride=2, return_indices=True)
    input = input_of(f"MaxPool{dimensions}d")
    maxima, indices = torch.jit.script(layer)(input)
    for mine, expected in zip((maxima, indices), layer(input), strict=True):
        assert torch.equal(mine, expected)
