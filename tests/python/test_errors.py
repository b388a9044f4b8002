"""Wrong arguments, one row each: the exception is the one that PyTorch raises for the same mistake,
and its message names the argument."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
import samepad
import torch
import torch.nn.functional as F
from torch import nn

INPUT = torch.ones(1, 4, 8, 8)
WEIGHT = torch.ones(6, 4, 3, 3)
HUGE = 2**63 - 1


@dataclass
class Row:
    """A call of conv2d: tensors that differ from the good ones, and other arguments."""

    error: type[Exception]
    message: str
    arguments: dict[str, Any] = field(default_factory=dict)
    #: Whether PyTorch's conv2d refuses the same arguments.
    same_in_torch: bool = True


ROWS = {
    "input rank": Row(
        RuntimeError, "Expected 3D .* input to conv2d", {"input": torch.ones(1, 1, 4, 8, 8)}
    ),
    "weight rank": Row(RuntimeError, "Expected 4D weight", {"weight": torch.ones(6, 4, 3)}),
    "channels": Row(
        RuntimeError, "expected input to have 4 channels", {"input": INPUT[:, :3]}
    ),
    "groups do not divide": Row(RuntimeError, "Given groups=4", {"groups": 4}),
    "groups zero": Row(RuntimeError, "expected groups to be at least 1", {"groups": 0}),
    "groups negative": Row(RuntimeError, "expected groups to be at least 1", {"groups": -2}),
    "groups None": Row(TypeError, "'groups' must be int", {"groups": None}),
    "groups str": Row(TypeError, "'groups' must be int", {"groups": "1"}),
    "groups tuple": Row(TypeError, "'groups' must be int", {"groups": (1, 1)}),
    "bias shape": Row(RuntimeError, "bias", {"bias": torch.ones(5)}),
    "stride zero": Row(RuntimeError, "expected stride to be at least 1", {"stride": 0}),
    "stride negative": Row(RuntimeError, r"stride=\[1, -2\]", {"stride": (1, -2)}),
    "stride count": Row(RuntimeError, "stride to be .* a list of 2", {"stride": (1, 1, 1)}),
    "stride none given": Row(RuntimeError, "stride to be .* a list of 2", {"stride": ()}),
    "stride None": Row(TypeError, "'stride' must be int or tuple of ints", {"stride": None}),
    "stride str": Row(TypeError, "'stride' must be int or tuple of ints", {"stride": "2"}),
    "stride float": Row(TypeError, "'stride' must be int or tuple of ints", {"stride": 1.5}),
    "stride floats": Row(TypeError, "'stride' must be int or tuple of ints", {"stride": (1, 1.5)}),
    "dilation zero": Row(RuntimeError, "expected dilation to be at least 1", {"dilation": 0}),
    "dilation negative": Row(RuntimeError, "expected dilation to be at least 1", {"dilation": -1}),
    "dilation count": Row(RuntimeError, "dilation to be .* a list of 2", {"dilation": (1, 1, 1)}),
    "dilation str": Row(TypeError, "'dilation' must be int", {"dilation": "same"}),
    "dilation None": Row(TypeError, "'dilation' must be int", {"dilation": None}),
    "kernel zero": Row(
        RuntimeError, "expected kernel_size to be at least 1", {"weight": torch.ones(6, 4, 0, 3)}
    ),
    "kernel too large": Row(
        RuntimeError,
        "The kernel spans 9 elements",
        {"weight": torch.ones(6, 4, 9, 9), "padding": "valid"},
    ),
    "padding name": Row(RuntimeError, "Invalid padding string: 'sane'", {"padding": "sane"}),
    "padding causal": Row(RuntimeError, "'causal' is for conv1d", {"padding": "causal"}),
    "padding count": Row(RuntimeError, "padding=.1, 2, 3.", {"padding": (1, 2, 3)}),
    "padding negative": Row(RuntimeError, "negative padding", {"padding": -1}),
    "padding None": Row(TypeError, "'padding' must be str, int", {"padding": None}),
    "padding float": Row(TypeError, "'padding' must be str, int", {"padding": 0.5}),
    "padding strs": Row(TypeError, "'padding' must be str, int", {"padding": ("same", "same")}),
    "padding pair count": Row(
        RuntimeError, "2 .before, after. pairs", {"padding": ((1, 2),)}, same_in_torch=False
    ),
    "padding triple": Row(
        TypeError, "tuple of .before, after. pairs", {"padding": ((1, 2, 3), (1, 2, 3))}
    ),
    "padding mixed": Row(TypeError, "tuple of .before, after. pairs", {"padding": (1, (1, 2))}),
    "padding overflow": Row(
        RuntimeError, "larger than int64 can count", {"padding": 2**62}, same_in_torch=False
    ),
    "dilation overflow": Row(
        RuntimeError, "more elements than int64", {"dilation": HUGE}, same_in_torch=False
    ),
    "stride past int64": Row(ValueError, "'stride' must fit int64", {"stride": 2**70}),
    "padding_mode": Row(
        RuntimeError, "padding_mode must be", {"padding_mode": "zero"}, same_in_torch=False
    ),
    "padding_mode None": Row(TypeError, "'padding_mode' must be str", {"padding_mode": None}),
    "reflect too wide": Row(
        RuntimeError,
        "'reflect' can add 0 to 7 elements on a side of 8",
        {"padding": 8, "padding_mode": "reflect"},
        same_in_torch=False,
    ),
    "circular too wide": Row(
        RuntimeError,
        "'circular' can add 0 to 8 elements on a side of 8",
        {"padding": 9, "padding_mode": "circular"},
        same_in_torch=False,
    ),
    "input type": Row(
        RuntimeError, "Input type .Double. and weight type .Float.", {"input": INPUT.double()}
    ),
    "bias type": Row(RuntimeError, "bias type", {"bias": torch.ones(6).double()}),
    "integers": Row(
        RuntimeError,
        "Expected input of a floating point or complex type, but got Long",
        {"input": INPUT.long(), "weight": WEIGHT.long()},
        # PyTorch's own convolution of integers happens to work on CPU, nowhere else.
        same_in_torch=False,
    ),
    "device": Row(
        RuntimeError,
        "Input device .cpu. and weight device .meta.",
        {"weight": WEIGHT.to("meta")},
        # PyTorch's reads memory that is not there.
        same_in_torch=False,
    ),
    "input None": Row(TypeError, "'input' must be Tensor", {"input": None}),
    "input list": Row(TypeError, "'input' must be Tensor", {"input": [[1.0]]}),
    "input array": Row(TypeError, "'input' must be Tensor", {"input": np.ones((1, 4, 8, 8))}),
    "weight None": Row(TypeError, "'weight' must be Tensor", {"weight": None}),
    "bias bool": Row(TypeError, "'bias' must be Tensor", {"bias": True}),
}


@pytest.mark.parametrize("name", ROWS)
def test_conv2d_refuses(name: str) -> None:
    row = ROWS[name]
    arguments = {"input": INPUT, "weight": WEIGHT, **row.arguments}
    with pytest.raises(row.error, match=row.message) as raised:
        samepad.functional.conv2d(**arguments)
    assert raised.type is row.error
    assert "Exception raised from" not in str(raised.value), "the C++ stack is not for users"
    if row.same_in_torch and "padding_mode" not in arguments:
        with pytest.raises(row.error) as theirs:
            F.conv2d(**arguments)
        assert theirs.type is row.error


@pytest.mark.parametrize("dimensions", [1, 3])
@pytest.mark.parametrize(
    ("error", "message", "arguments"),
    [
        (RuntimeError, "expected stride to be at least 1", {"stride": 0}),
        (RuntimeError, "stride to be a single integer", {"stride": (1, 1, 1, 1)}),
        (RuntimeError, "expected dilation to be at least 1", {"dilation": -1}),
        (RuntimeError, "Given groups=3", {"groups": 3}),
        (RuntimeError, "Invalid padding string", {"padding": "sane"}),
        (RuntimeError, "expected padding to be a mode", {"padding": (1, 2, 3, 4)}),
        (RuntimeError, "The kernel spans 17 elements", {"padding": 0, "dilation": 8}),
        (RuntimeError, "more elements than int64", {"dilation": HUGE}),
        (RuntimeError, "weight type", {"weight": "double"}),
        (RuntimeError, "input to conv", {"input": "flat"}),
        (TypeError, "'padding' must be str, int", {"padding": None}),
        (TypeError, "'stride' must be int", {"stride": "2"}),
    ],
)
def test_conv1d_and_conv3d_refuse(
    dimensions: int, error: type[Exception], message: str, arguments: dict[str, Any]
) -> None:
    good = {
        "input": torch.ones(1, 4, *[8] * dimensions),
        "weight": torch.ones(6, 4, *[3] * dimensions),
    }
    bad = {"double": good["weight"].double(), "flat": good["input"].flatten()}
    arguments = {name: bad.get(str(value), value) for name, value in arguments.items()}
    with pytest.raises(error, match=message) as raised:
        getattr(samepad.functional, f"conv{dimensions}d")(**{**good, **arguments})
    assert raised.type is error


def test_causal_is_for_one_dimension() -> None:
    with pytest.raises(RuntimeError, match="'causal' is for conv1d alone, but got it in conv3d"):
        samepad.functional.conv3d(
            torch.ones(1, 1, 4, 4, 4), torch.ones(1, 1, 2, 2, 2), padding="causal"
        )


def test_what_no_memory_could_hold_is_an_error() -> None:
    with pytest.raises(RuntimeError, match=r"memory|overflow"):
        samepad.functional.conv1d(
            torch.ones(1, 1, 4), torch.ones(1, 1, 2), padding="causal", dilation=2**62 - 1
        )
    # An empty dimension needs none.
    output = samepad.functional.conv1d(torch.ones(1, 1, 0), torch.ones(1, 1, 3), dilation=2**40)
    assert output.shape == (1, 1, 0)


def test_layouts_that_cannot_be_padded() -> None:
    input, weight = INPUT.to_mkldnn(), WEIGHT.to_mkldnn()
    with pytest.raises(RuntimeError, match="needs a strided input, but got layout Mkldnn"):
        samepad.functional.conv2d(input, weight, stride=2)


# The operator sees a flat list, in which one pair is two amounts.
OPERATOR_ROWS = [
    name for name, row in ROWS.items() if row.error is RuntimeError and name != "padding pair count"
]


@pytest.mark.parametrize("name", OPERATOR_ROWS)
def test_the_operator_refuses_too(name: str) -> None:
    """What compiled and scripted programs call has no Python in front of it."""
    row = ROWS[name]
    arguments = {"input": INPUT, "weight": WEIGHT, **row.arguments}
    for argument in ("stride", "padding", "dilation"):
        if isinstance(arguments.get(argument), int):
            arguments[argument] = [arguments[argument]]
    if isinstance(arguments.get("padding"), (list, tuple)):
        arguments = {"bias": None, "stride": [1], **arguments}
    with pytest.raises(RuntimeError, match=row.message):
        torch.ops.samepad.conv2d(**arguments)


MODULES: dict[str, tuple[type[Exception], str, dict[str, Any]]] = {
    "groups zero": (ValueError, "groups must be a positive integer", {"groups": 0}),
    "groups": (ValueError, "in_channels must be divisible by groups", {"groups": 3}),
    "padding name": (ValueError, "Invalid padding string 'sane'", {"padding": "sane"}),
    "padding causal": (ValueError, "Invalid padding string 'causal'", {"padding": "causal"}),
    "padding None": (TypeError, "'padding' must be str, int", {"padding": None}),
    "padding float": (TypeError, "'padding' must be str, int", {"padding": 1.5}),
    "padding count": (RuntimeError, "padding=.1, 2, 3.", {"padding": (1, 2, 3)}),
    "padding_mode": (ValueError, "padding_mode must be one of", {"padding_mode": "zero"}),
    "stride zero": (RuntimeError, "expected stride to be at least 1", {"stride": 0}),
    "stride None": (TypeError, "'stride' must be int", {"stride": None}),
    "stride count": (RuntimeError, "stride to be .* a list of 2", {"stride": (1, 1, 1)}),
    "dilation zero": (RuntimeError, "expected dilation to be at least 1", {"dilation": 0}),
    "kernel zero": (RuntimeError, "expected kernel_size to be at least 1", {"kernel_size": 0}),
    "kernel count": (RuntimeError, "Expected 4D weight", {"kernel_size": (3, 3, 3)}),
}


@pytest.mark.parametrize("name", MODULES)
@pytest.mark.filterwarnings("ignore:Initializing zero-element tensors is a no-op:UserWarning")
def test_module_refuses(name: str) -> None:
    """As nn.Conv2d, some when it is made and some when it is called."""
    error, message, arguments = MODULES[name]

    def make_and_call(cls: Callable[..., nn.Module]) -> None:
        cls(**{"in_channels": 4, "out_channels": 6, "kernel_size": 3, **arguments})(INPUT)

    with pytest.raises(error, match=message) as raised:
        make_and_call(samepad.SamePadConv2d)
    assert raised.type is error
    with pytest.raises(error):
        make_and_call(nn.Conv2d)


@pytest.mark.parametrize(
    ("error", "message", "arguments"),
    [
        (RuntimeError, "expected input_size to be at least 0", (-1, 3)),
        (RuntimeError, "expected input_size to have a value per dimension", ((), 3)),
        (RuntimeError, "expected kernel_size to be at least 1", (8, 0)),
        (RuntimeError, "kernel_size to be .* a list of 2", ((8, 8), (3, 3, 3))),
        (RuntimeError, "expected stride to be at least 1", (8, 3, 0)),
        (RuntimeError, "expected dilation to be at least 1", (8, 3, 1, -1)),
        (RuntimeError, "more elements than int64", (8, 3, 1, HUGE)),
        (RuntimeError, "Invalid padding string: 'full'", (8, 3, 1, 1, "full")),
        (RuntimeError, "mode='causal' is for one dimension", ((8, 8), 3, 1, 1, "causal")),
        (TypeError, "'input_size' must be int or tuple of ints", ("8", 3)),
        (TypeError, "'input_size' must be int or tuple of ints", (None, 3)),
        (TypeError, "'kernel_size' must be int or tuple of ints", (8, 3.0)),
        (TypeError, "'mode' must be str", (8, 3, 1, 1, None)),
    ],
)
def test_same_padding_refuses(error: Any, message: str, arguments: tuple[Any, ...]) -> None:
    with pytest.raises(error, match=message) as raised:
        samepad.same_padding(*arguments)
    assert raised.type is error


@pytest.mark.parametrize(
    "two", [np.int64(2), np.int32(2), torch.tensor(2), (np.int64(2), 2), [2, 2]], ids=repr
)
def test_everything_that_is_an_integer_is_taken(two: Any) -> None:
    expected = samepad.functional.conv2d(INPUT, WEIGHT, stride=2)
    assert torch.equal(samepad.functional.conv2d(INPUT, WEIGHT, stride=two), expected)
    layer = samepad.SamePadConv2d(4, 6, 3, padding=two)
    assert layer.padding == (2, 2)


@pytest.mark.parametrize("stride", [2**31, 2**40, 2**62, HUGE])
def test_a_huge_stride_gives_one_output(stride: int) -> None:
    input, weight = torch.randn(1, 4, 5), torch.randn(6, 4, 3)
    output = samepad.functional.conv1d(input, weight, stride=stride)
    torch.testing.assert_close(output, F.conv1d(input[..., :3], weight))


@pytest.mark.parametrize("dilation", [100, 2**31, 2**40])
def test_a_huge_dilation_sees_the_middle_tap_alone(dilation: int) -> None:
    input, weight = torch.randn(1, 4, 8, 8), torch.randn(6, 4, 3, 3)
    output = samepad.functional.conv2d(input, weight, dilation=dilation)
    torch.testing.assert_close(output, F.conv2d(input, weight[:, :, 1:2, 1:2]))
