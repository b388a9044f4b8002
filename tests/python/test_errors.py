"""Tests wrong arguments, one row each.

The exception has the class that PyTorch raises for the same mistake, and its message names the
argument.
"""

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
    """A wrong call: the arguments that differ from those of a good call, and the error."""

    error: type[Exception]
    message: str
    arguments: dict[str, Any] = field(default_factory=dict)
    #: Whether PyTorch's function of this name refuses the same arguments.
    same_in_torch: bool = True


ROWS = {
    "input rank": Row(
        RuntimeError, "Expected 3D .* input to conv2d", {"input": torch.ones(1, 1, 4, 8, 8)}
    ),
    "weight rank": Row(RuntimeError, "Expected 4D weight", {"weight": torch.ones(6, 4, 3)}),
    "channels": Row(RuntimeError, "expected input to have 4 channels", {"input": INPUT[:, :3]}),
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
    "padding strs and ints": Row(TypeError, "'padding' must be str, int", {"padding": ("same", 1)}),
    "padding ints and strs": Row(TypeError, "'padding' must be str, int", {"padding": (1, "same")}),
    "padding names": Row(
        RuntimeError, "Invalid padding string: 'sane'", {"padding": ("same", "sane")}, False
    ),
    "padding names count": Row(
        RuntimeError,
        r"a mode or a list of 2 modes, but got padding=.'same', 'same', 'same'.",
        {"padding": ("same",) * 3},
        same_in_torch=False,
    ),
    "padding text": Row(
        RuntimeError, "Invalid padding string: 'same, same'", {"padding": "same, same"}
    ),
    "padding causal in a tuple of one": Row(
        RuntimeError, r"such as padding=.'causal', 'same'.", {"padding": ("causal",)}, False
    ),
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
        # PyTorch's convolution of integers happens to work on CPUs, but nowhere else.
        same_in_torch=False,
    ),
    "device": Row(
        RuntimeError,
        "Input device .cpu. and weight device .meta.",
        {"weight": WEIGHT.to("meta")},
        # PyTorch's convolution reads out of bounds.
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


def of_integers(argument: str, **others: Any) -> dict[str, Row]:
    """Return rows for an argument of one int, or one per dimension, each at least 1."""
    must = f"'{argument}' must be .*int or tuple of ints"
    rows = {
        "str": Row(TypeError, must, {argument: "2"}),
        "float": Row(TypeError, must, {argument: 1.5}),
        "floats": Row(TypeError, must, {argument: (1, 1.5)}),
        "bool": Row(TypeError, must, {argument: True}),
        "nested": Row(TypeError, must, {argument: ((2,), (2,))}),
        "zero": Row(RuntimeError, f"expected {argument} to be at least 1", {argument: 0}),
        "negative": Row(RuntimeError, rf"{argument}=\[1, -2\]", {argument: (1, -2)}),
        "count": Row(RuntimeError, f"{argument} to be .* a list of 2", {argument: (1, 1, 1)}),
        "past int64": Row(ValueError, f"'{argument}' must fit int64", {argument: 2**70}),
    }
    if argument != "stride" or "weight" in others:  # a pool's stride may be None
        rows["None"] = Row(TypeError, must, {argument: None})
        rows["none given"] = Row(RuntimeError, rf"expected {argument} to be .*\[\]", {argument: ()})
    return {f"{argument} {name}": row for name, row in rows.items()}


def of_padding(function: str) -> dict[str, Row]:
    """Return rows for `padding` of a function that has no "causal" and does not crop."""
    must = (
        "'padding' must be str, int, tuple of strs, tuple of ints or tuple of .before, after. pairs"
    )
    negative = "negative padding is not supported"
    count = "a list of 2 integers or a list of 2 .before, after. pairs, but got padding="
    return {
        # PyTorch's function takes no names.
        "padding name": Row(RuntimeError, "string: 'sane'", {"padding": "sane"}, False),
        "padding causal": Row(
            RuntimeError, f"'causal' is for conv1d .* {function}", {"padding": "causal"}, False
        ),
        "padding None": Row(TypeError, must, {"padding": None}),
        "padding float": Row(TypeError, must, {"padding": 0.5}),
        "padding bool": Row(TypeError, must, {"padding": True}),
        "padding bytes": Row(TypeError, must, {"padding": b"same"}),
        "padding strs and ints": Row(TypeError, must, {"padding": ("same", 1)}),
        "padding ints and strs": Row(TypeError, must, {"padding": (1, "same")}),
        "padding names": Row(RuntimeError, "'sane'", {"padding": ("same", "sane")}, False),
        "padding names count": Row(
            RuntimeError, "a list of 2 modes, but got", {"padding": ("same",) * 3}, False
        ),
        "padding causal in one dimension": Row(
            RuntimeError,
            rf"'causal' is for convolutions alone, .*'causal', 'same'. in {function}",
            {"padding": ("causal", "same")},
            same_in_torch=False,
        ),
        "padding triple": Row(TypeError, must, {"padding": ((1, 2, 3), (1, 2, 3))}),
        "padding mixed": Row(TypeError, must, {"padding": (1, (1, 2))}),
        "padding mixed too": Row(TypeError, must, {"padding": ((1, 2), 1)}),
        "padding count": Row(RuntimeError, count, {"padding": (1, 2, 3)}),
        "padding flat pairs": Row(RuntimeError, count, {"padding": (0, 1, 0, 1)}),
        "padding pair count": Row(RuntimeError, count, {"padding": ((1, 2),)}, False),
        "padding negative": Row(RuntimeError, negative, {"padding": -1}),
        "padding one negative": Row(RuntimeError, rf"{negative}.*\[1, -1\]", {"padding": (1, -1)}),
        "padding pair negative": Row(
            RuntimeError,
            rf"{negative} in {function}, but got padding=\(0, -1\)",
            {"padding": ((0, -1), (0, 0))},
            same_in_torch=False,
        ),
        "padding past int64": Row(ValueError, "'padding' must fit int64", {"padding": 2**70}),
    }


def of_input(function: str) -> dict[str, Row]:
    """Return rows for an input of shape (N, C, H, W) or (C, H, W)."""
    must = "'input' must be Tensor"
    rank = f"Expected 3D .unbatched. or 4D .batched. input to {function}"
    return {
        "input rank": Row(RuntimeError, rank, {"input": torch.ones(1, 1, 4, 8, 8)}),
        "input flat": Row(RuntimeError, rank, {"input": torch.ones(8)}, same_in_torch=False),
        "input None": Row(TypeError, must, {"input": None}),
        "input list": Row(TypeError, must, {"input": [[1.0]]}),
        "input array": Row(TypeError, must, {"input": np.ones((1, 4, 8, 8))}),
    }


def of_pool(function: str) -> dict[str, Row]:
    """Return rows for the arguments that both kinds of pools have."""
    return {
        **of_input(function),
        **of_integers("kernel_size"),
        **of_integers("stride"),
        **of_padding(function),
        "padding over half": Row(RuntimeError, "pad should be at most half", {"padding": 2}),
        "padding of one over half": Row(
            RuntimeError, "pad should be at most half", {"padding": (1, 2)}
        ),
        "padding pair over the kernel": Row(
            RuntimeError,
            rf"padding of {function} to be at most 2 elements, as the kernel spans 3, but got "
            r"padding \(0, 3\) in spatial dimension 1",
            {"padding": ((0, 2), (0, 3))},
            same_in_torch=False,
        ),
        "kernel too large": Row(
            RuntimeError, "Output size is too small", {"kernel_size": 9, "padding": 0}
        ),
        "kernel too large for valid": Row(
            RuntimeError, "too small", {"kernel_size": 9, "padding": "valid"}, same_in_torch=False
        ),
        "kernel too large for pairs": Row(
            RuntimeError,
            "The kernel spans 20 elements",
            {"kernel_size": 20, "padding": ((1, 1), (1, 1))},
            same_in_torch=False,
        ),
        "bool input": Row(NotImplementedError, "not implemented for 'Bool'", {"input": INPUT > 0}),
        "complex input": Row(
            NotImplementedError, "'ComplexFloat'", {"input": INPUT.to(torch.complex64)}
        ),
        # PyTorch's pools compute with 32-bit integers.
        "kernel_size past int": Row(
            RuntimeError, "kernel_size to be at most 2147483647", {"kernel_size": HUGE}
        ),
        "stride past int": Row(
            RuntimeError, "stride to be at most 2147483647", {"stride": (1, 2**31)}
        ),
        "ceil_mode str": Row(TypeError, "'ceil_mode' must be bool", {"ceil_mode": "True"}),
        "ceil_mode tuple": Row(TypeError, "'ceil_mode' must be bool", {"ceil_mode": (True,)}),
    }


TRANSPOSED_WEIGHT = torch.ones(4, 6, 3, 3)
GOOD: dict[str, dict[str, Any]] = {
    "conv_transpose2d": {"input": INPUT, "weight": TRANSPOSED_WEIGHT},
    "max_pool2d": {"input": INPUT, "kernel_size": 3},
    "avg_pool2d": {"input": INPUT, "kernel_size": 3},
    "pad": {"input": INPUT, "kernel_size": 3},
}

CONV_TRANSPOSE_ROWS = {
    **of_input("conv_transpose2d"),
    **of_integers("stride", weight=True),
    **of_integers("dilation"),
    **of_padding("conv_transpose2d"),
    "weight rank": Row(RuntimeError, "Expected 4D weight", {"weight": torch.ones(4, 6, 3)}),
    "weight None": Row(TypeError, "'weight' must be Tensor", {"weight": None}),
    "channels": Row(RuntimeError, "expected input to have 4 channels", {"input": INPUT[:, :3]}),
    "groups do not divide": Row(RuntimeError, "Given groups=3", {"groups": 3}),
    "groups zero": Row(RuntimeError, "expected groups to be at least 1", {"groups": 0}),
    "groups negative": Row(RuntimeError, "expected groups to be at least 1", {"groups": -2}),
    "groups None": Row(TypeError, "'groups' must be int", {"groups": None}),
    "groups str": Row(TypeError, "'groups' must be int", {"groups": "1"}),
    "groups tuple": Row(TypeError, "'groups' must be int", {"groups": (1, 1)}),
    "bias shape": Row(RuntimeError, "bias .* with 6 elements", {"bias": torch.ones(5)}),
    "bias rank": Row(RuntimeError, "bias to be 1-dimensional", {"bias": torch.ones(6, 1)}),
    "bias bool": Row(TypeError, "'bias' must be Tensor", {"bias": True}),
    "kernel zero": Row(
        RuntimeError, "expected kernel_size to be at least 1", {"weight": torch.ones(4, 6, 0, 3)}
    ),
    "input type": Row(
        RuntimeError, "Input type .Double. and weight type .Float.", {"input": INPUT.double()}
    ),
    # PyTorch's function computes these on CPUs, in some cases by reading out of bounds.
    "integers": Row(
        RuntimeError,
        "Expected input of a floating point or complex type, but got Long",
        {"input": INPUT.long(), "weight": TRANSPOSED_WEIGHT.long()},
        same_in_torch=False,
    ),
    "bias type": Row(
        RuntimeError, "bias type .Double.", {"bias": torch.ones(6).double()}, same_in_torch=False
    ),
    "device": Row(
        RuntimeError,
        "Input device .cpu. and weight device .meta.",
        {"weight": TRANSPOSED_WEIGHT.to("meta")},
        same_in_torch=False,
    ),
    "bias device": Row(
        RuntimeError,
        "Input device .cpu. and bias device .meta.",
        {"bias": torch.ones(6, device="meta")},
        same_in_torch=False,
    ),
    "padding leaves nothing": Row(
        RuntimeError, "leaves nothing of the 10 elements", {"padding": 5}
    ),
    "padding pair leaves nothing": Row(
        RuntimeError,
        r"padding \(4, 6\) in spatial dimension 1 leaves nothing of the 10 elements",
        {"padding": ((0, 9), (4, 6))},
        same_in_torch=False,
    ),
    "padding pair leaves nothing at all": Row(
        RuntimeError,
        "leaves nothing of the 10 elements",
        {"padding": ((HUGE, HUGE), (0, 0))},
        same_in_torch=False,
    ),
    "output_padding past all": Row(
        RuntimeError,
        "output_padding to be smaller than stride or dilation, 2 and 1",
        {"output_padding": HUGE, "stride": 2, "padding": 1},
    ),
    "output_padding None": Row(TypeError, "'output_padding' must be", {"output_padding": None}),
    "output_padding str": Row(TypeError, "'output_padding' must be", {"output_padding": "1"}),
    "output_padding float": Row(TypeError, "'output_padding' must be", {"output_padding": 0.5}),
    "output_padding count": Row(
        RuntimeError, "output_padding to be .* a list of 2", {"output_padding": (0, 0, 0)}
    ),
    "output_padding negative": Row(
        RuntimeError, "expected output_padding to be at least 0", {"output_padding": -1}
    ),
    "output_padding of the stride": Row(
        RuntimeError,
        r"output_padding to be smaller than stride or dilation, 2 and 1 .* output_padding=\[2, 2\]",
        {"output_padding": 2, "stride": 2, "padding": 1},
    ),
    "output_padding with valid": Row(
        RuntimeError,
        r"output_padding to be smaller than stride or dilation, 1 and 1 .* output_padding=\[1, 1\]",
        {"output_padding": 1, "padding": "valid"},
        same_in_torch=False,
    ),
    "output_padding with same": Row(
        RuntimeError,
        r"with padding='same' give conv_transpose2d an output_size, .* output_padding=\[1, 1\]",
        {"output_padding": 1, "stride": 2},
        same_in_torch=False,
    ),
    "output_padding with same_lower": Row(
        RuntimeError,
        r"with padding='same_lower' .* output_padding=\[0, 1\]",
        {"output_padding": (0, 1), "stride": 2, "padding": "same_lower"},
        same_in_torch=False,
    ),
    # PyTorch's function has no argument output_size.
    **{
        name: Row(error, message, arguments, same_in_torch=False)
        for name, error, message, arguments in (
            ("output_size str", TypeError, "'output_size' must be", {"output_size": "8"}),
            ("output_size floats", TypeError, "'output_size' must be", {"output_size": (8, 8.0)}),
            ("output_size bool", TypeError, "'output_size' must be", {"output_size": True}),
            ("output_size past", ValueError, "must fit int64", {"output_size": (2**70, 8)}),
            ("output_size none", RuntimeError, "or a list of 2", {"output_size": ()}),
            ("output_size many", RuntimeError, "or a list of 2", {"output_size": (1, 6, 8, 8)}),
            ("output_size int", RuntimeError, r"from 8 to 8 .*=\[9, 9\]", {"output_size": 9}),
            (
                "output_size small",
                RuntimeError,
                "output_size to be from 15 to 16 in spatial dimension 1, for 8 input elements with "
                r"stride 2, but got output_size=\[15, 14\]",
                {"output_size": (15, 14), "stride": 2},
            ),
            (
                "output_size large",
                RuntimeError,
                r"from 15 to 16 in spatial dimension 0, .* output_size=\[17, 16\]",
                {"output_size": (17, 16), "stride": 2},
            ),
            (
                "output_size negative",
                RuntimeError,
                r"from 8 to 8 .* output_size=\[-1, 8\]",
                {"output_size": (-1, 8)},
            ),
            (
                "output_size of amounts",
                RuntimeError,
                r"from 15 to 17 in spatial dimension 0, .* stride 3, .* output_size=\[18, 24\]",
                {"output_size": (18, 24), "stride": 3, "padding": ((4, 5), (1, 0))},
            ),
            (
                "output_size of valid",
                RuntimeError,
                r"from 17 to 18 in spatial dimension 0",
                {"output_size": (16, 17), "stride": 2, "padding": "valid"},
            ),
            (
                "output_size where dilation is above stride",
                RuntimeError,
                r"padding \(7, 7\) in spatial dimension 0 leaves nothing of the 14 elements",
                {"output_size": (1, 1), "dilation": 3, "padding": 7},
            ),
            *(
                (
                    f"output_size {size} of what is cropped away",
                    RuntimeError,
                    "output_size|leaves nothing",
                    {"output_size": (size, 22), "stride": 3, "padding": ((12, 13), (1, 1))},
                )
                for size in (-1, 0)
            ),
            *(
                (
                    f"output_size and output_padding, {padding}",
                    RuntimeError,
                    r"got both: output_size=\[16, 16\] and output_padding=\[1\]",
                    {"output_size": (16, 16), "output_padding": 1, "stride": 2, "padding": padding},
                )
                for padding in ("same", "valid", 1)
            ),
        )
    },
    # PyTorch's transposed convolutions and pools use 32-bit ints; not all of them check that.
    "stride past int": Row(RuntimeError, "stride to be at most 2147483647", {"stride": 2**31}),
    "dilation past int": Row(RuntimeError, "dilation to be at most 2147483647", {"dilation": HUGE}),
}

MAX_POOL_ROWS = {
    **of_pool("max_pool2d"),
    **of_integers("dilation"),
    "dilated kernel too large": Row(
        RuntimeError, "Output size is too small", {"dilation": 4, "padding": 0}
    ),
    "dilation past int": Row(RuntimeError, "dilation to be at most 2147483647", {"dilation": HUGE}),
    # PyTorch's function accepts any value.
    **{
        f"return_indices {value!r}": Row(
            TypeError, "'return_indices' must be bool", {"return_indices": value}, False
        )
        for value in (None, 1, "True", (True,))
    },
}

AVG_POOL_ROWS = {
    **of_pool("avg_pool2d"),
    "count_include_pad str": Row(
        TypeError, "'count_include_pad' must be bool", {"count_include_pad": "True"}
    ),
    "count_include_pad tuple": Row(
        TypeError, "'count_include_pad' must be bool", {"count_include_pad": (True, True)}
    ),
    "divisor_override zero": Row(
        RuntimeError, "expected divisor_override not to be 0", {"divisor_override": 0}
    ),
    "divisor_override float": Row(
        TypeError, "'divisor_override' must be int", {"divisor_override": 1.5}
    ),
    "divisor_override str": Row(
        TypeError, "'divisor_override' must be int", {"divisor_override": "9"}
    ),
    "divisor_override past int64": Row(
        ValueError, "'divisor_override' must fit int64", {"divisor_override": 2**70}
    ),
}

# PyTorch's pad takes amounts, so it has no corresponding errors.
PAD_ROWS = {
    name: Row(row.error, row.message, row.arguments, same_in_torch=False)
    for name, row in {
        **{n: row for n, row in of_input("pad").items() if n not in ("input rank", "input flat")},
        **{n: row for n, row in of_integers("kernel_size").items() if "count" not in n},
        **of_integers("stride", weight=True),
        **of_integers("dilation"),
        "kernel_size count": Row(
            RuntimeError,
            r"1 to 3 values .* kernel_size=\[3, 3, 3, 3\]",
            {"kernel_size": (3, 3, 3, 3)},
        ),
        "kernel_size for more dimensions than there are": Row(
            RuntimeError,
            r"as many last dimensions of the input, but got kernel_size=\[3, 3, 3\]",
            {"kernel_size": (3, 3, 3), "input": torch.ones(3, 3)},
        ),
        "input without dimensions": Row(
            RuntimeError, "for input of size: ", {"input": torch.ones(())}
        ),
        "input of too many": Row(
            RuntimeError, "expected kernel_size to be", {"input": torch.ones(1, 1, 2, 2, 2, 2)}
        ),
        "padding name": Row(RuntimeError, "string: 'sane'", {"padding": "sane"}),
        "padding causal": Row(
            RuntimeError, "'causal' is for one dimension alone", {"padding": "causal"}
        ),
        "padding names": Row(RuntimeError, "string: 'sane'", {"padding": ("same", "sane")}),
        "padding names count": Row(RuntimeError, "a list of 2 modes", {"padding": ("same",) * 3}),
        "padding strs and ints": Row(
            TypeError, "'padding' must be str or tuple of strs", {"padding": ("same", 1)}
        ),
        "padding None": Row(TypeError, "'padding' must be str", {"padding": None}),
        "padding int": Row(TypeError, "'padding' must be str", {"padding": 1}),
        "padding pairs": Row(TypeError, "'padding' must be str", {"padding": ((0, 1), (0, 1))}),
        "mode name": Row(RuntimeError, "mode must be 'constant', .*'zeros'", {"mode": "zeros"}),
        "mode None": Row(TypeError, "'mode' must be str", {"mode": None}),
        "value str": Row(TypeError, "'value' must be float or None", {"value": "0"}),
        "value tuple": Row(TypeError, "'value' must be float or None", {"value": (0,)}),
        "value complex": Row(TypeError, "'value' must be float or None", {"value": 1j}),
        "value with reflect": Row(
            RuntimeError, "value is for mode='constant'", {"value": 0, "mode": "reflect"}
        ),
        "reflect too wide": Row(
            RuntimeError,
            "'reflect' can add 0 to 7 elements on a side of 8",
            {"mode": "reflect", "kernel_size": 17},
        ),
        "circular too wide": Row(
            RuntimeError,
            "'circular' can add 0 to 8 elements on a side of 8",
            {"mode": "circular", "kernel_size": 18},
        ),
        "dilation overflow": Row(RuntimeError, "more elements than int64", {"dilation": HUGE}),
        "kernel_size overflow": Row(
            RuntimeError, "larger than int64 can count", {"kernel_size": HUGE}
        ),
    }.items()
}

FAMILY = {
    (function, name): row
    for function, rows in {
        "conv_transpose2d": CONV_TRANSPOSE_ROWS,
        "max_pool2d": MAX_POOL_ROWS,
        "avg_pool2d": AVG_POOL_ROWS,
        "pad": PAD_ROWS,
    }.items()
    for name, row in rows.items()
}


@pytest.mark.parametrize("function", GOOD)
def test_good_arguments_are_good(function: str) -> None:
    """The calls from which the rows differ are correct."""
    assert getattr(samepad.functional, function)(**GOOD[function]).numel() > 0


@pytest.mark.parametrize(("function", "name"), FAMILY)
def test_the_family_refuses(function: str, name: str) -> None:
    row = FAMILY[function, name]
    arguments = {**GOOD[function], **row.arguments}
    with pytest.raises(row.error, match=row.message) as raised:
        getattr(samepad.functional, function)(**arguments)
    assert raised.type is row.error
    assert "Exception raised from" not in str(raised.value), "the C++ stack is not for users"
    if row.same_in_torch:
        with pytest.raises(row.error) as theirs:
            getattr(F, function)(**arguments)
        assert theirs.type is row.error


class Sub(torch.Tensor):
    """A tensor subclass, with which calls are traced: they call the operator, not the binding."""


def traced_message(row: Row) -> str:
    """Return what the message must contain; for wrong types it may be the dispatcher's."""
    return next(iter(row.arguments)) if row.error in (TypeError, ValueError) else row.message


TRACEABLE = [
    key
    for key, row in FAMILY.items()
    if isinstance(row.arguments.get("input", INPUT), torch.Tensor)
]


@pytest.mark.parametrize(("function", "name"), TRACEABLE)
def test_traced_calls_of_the_family_refuse_too(function: str, name: str) -> None:
    row = FAMILY[function, name]
    arguments = {**GOOD[function], **row.arguments}
    arguments["input"] = arguments["input"].as_subclass(Sub)
    with pytest.raises((row.error, RuntimeError), match=traced_message(row)):
        getattr(samepad.functional, function)(**arguments)


@pytest.mark.parametrize(("function", "name"), TRACEABLE)
def test_compiled_calls_of_the_family_refuse_too(function: str, name: str) -> None:
    """The compiler wraps an error in its own class."""
    row = FAMILY[function, name]
    torch.compiler.reset()
    compiled = torch.compile(getattr(samepad.functional, function), backend="eager", fullgraph=True)
    with pytest.raises(Exception, match=traced_message(row)):
        compiled(**{**GOOD[function], **row.arguments})


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


@pytest.mark.parametrize("dimensions", [1, 3])
@pytest.mark.parametrize(
    ("function", "error", "message", "arguments"),
    [
        *(
            (function, *rest)
            for function in ("conv_transpose", "max_pool", "avg_pool")
            for rest in (
                (RuntimeError, "expected stride to be at least 1", {"stride": 0}),
                (RuntimeError, "stride to be a single integer", {"stride": (1, 1, 1, 1)}),
                (RuntimeError, "'causal' is for conv1d alone", {"padding": "causal"}),
                (RuntimeError, "Invalid padding string", {"padding": "sane"}),
                (RuntimeError, "expected padding to be a mode", {"padding": (1, 2, 3, 4)}),
                (RuntimeError, "negative padding", {"padding": -1}),
                (RuntimeError, "negative padding", {"padding": "negative pair"}),
                (RuntimeError, "input to", {"input": torch.ones(8)}),
                (TypeError, "'padding' must be str, int", {"padding": None}),
                (TypeError, "'stride' must be", {"stride": "2"}),
            )
        ),
        *(
            (function, *rest)
            for function in ("max_pool", "avg_pool")
            for rest in (
                (RuntimeError, "expected kernel_size to be at least 1", {"kernel_size": 0}),
                (RuntimeError, "kernel_size to be a single", {"kernel_size": (3, 3, 3, 3)}),
                (RuntimeError, "to be at most 2 elements", {"padding": "wide pair"}),
                (RuntimeError, "at most half", {"padding": 2}),
                (
                    RuntimeError,
                    "[Oo]utput size|smaller than kernel",
                    {"kernel_size": 9, "padding": 0},
                ),
                (TypeError, "'ceil_mode' must be bool", {"ceil_mode": None}),
            )
        ),
        ("conv_transpose", RuntimeError, "Given groups=3", {"groups": 3}),
        ("conv_transpose", RuntimeError, "dilation to be at least 1", {"dilation": -1}),
        ("conv_transpose", RuntimeError, "dilation to be at most 2147483647", {"dilation": 2**31}),
        ("conv_transpose", RuntimeError, "weight type", {"weight": "double"}),
        ("conv_transpose", RuntimeError, "leaves nothing of the 10", {"padding": 5}),
        ("conv_transpose", RuntimeError, "from 8 to 8", {"output_size": "small"}),
        ("conv_transpose", RuntimeError, "to be a single integer", {"output_size": (8,) * 4}),
        ("conv_transpose", RuntimeError, "output_padding is for amounts", {"output_padding": 1}),
        ("conv_transpose", TypeError, "'output_size' must be", {"output_size": "8"}),
        ("max_pool", RuntimeError, "dilation to be at least 1", {"dilation": -1}),
        ("max_pool", RuntimeError, "dilation to be at most 2147483647", {"dilation": HUGE}),
        ("max_pool", TypeError, "'return_indices' must be bool", {"return_indices": 1}),
        ("avg_pool", TypeError, "'count_include_pad' must be", {"count_include_pad": "True"}),
    ],
)
def test_the_family_refuses_in_1_and_3_dimensions(
    dimensions: int, function: str, error: type[Exception], message: str, arguments: dict[str, Any]
) -> None:
    good: dict[str, Any] = {"input": torch.ones(1, 4, *[8] * dimensions), "kernel_size": 3}
    if function == "conv_transpose":
        good = {"input": good["input"], "weight": torch.ones(4, 6, *[3] * dimensions)}
    bad = {
        "double": torch.ones(4, 6, *[3] * dimensions).double(),
        "negative pair": ((0, 0),) * (dimensions - 1) + ((0, -1),),
        "wide pair": ((0, 0),) * (dimensions - 1) + ((3, 0),),
        "small": (8,) * (dimensions - 1) + (7,),
    }
    arguments = {name: bad.get(str(value), value) for name, value in arguments.items()}
    call = getattr(samepad.functional, f"{function}{dimensions}d")
    with pytest.raises(error, match=message) as raised:
        call(**{**good, **arguments})
    assert raised.type is error
    call(**good)


@pytest.mark.parametrize("divisor", [0, 1.5])
def test_avg_pool3d_refuses_a_divisor_and_avg_pool1d_has_none(divisor: Any) -> None:
    with pytest.raises((TypeError, RuntimeError), match="divisor_override"):
        samepad.functional.avg_pool3d(torch.ones(1, 4, 8, 8, 8), 3, divisor_override=divisor)
    with pytest.raises(TypeError, match="divisor_override"):
        samepad.functional.avg_pool1d(torch.ones(1, 4, 8), 3, divisor_override=1)  # type: ignore[call-arg]


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
    # An empty dimension needs no padding, so nothing can overflow.
    output = samepad.functional.conv1d(torch.ones(1, 1, 0), torch.ones(1, 1, 3), dilation=2**40)
    assert output.shape == (1, 1, 0)


def test_layouts_that_cannot_be_padded() -> None:
    input, weight = INPUT.to_mkldnn(), WEIGHT.to_mkldnn()
    with pytest.raises(RuntimeError, match="needs a strided input, but got layout Mkldnn"):
        samepad.functional.conv2d(input, weight, stride=2)


#: The operator gets a flat list, in which one pair looks like two amounts, and one text, in which
#: there may be several modes.
OTHER_FORMS = ("padding pair count", "padding text", "padding causal in a tuple of one")
OPERATOR_ROWS = [
    name for name, row in ROWS.items() if row.error is RuntimeError and name not in OTHER_FORMS
]


@pytest.mark.parametrize("name", OPERATOR_ROWS)
def test_the_operator_refuses_too(name: str) -> None:
    """Compiled and scripted programs call the operators without samepad's Python code."""
    row = ROWS[name]
    arguments = {"input": INPUT, "weight": WEIGHT, **row.arguments}
    for argument in ("stride", "padding", "dilation"):
        if isinstance(arguments.get(argument), int):
            arguments[argument] = [arguments[argument]]
    if isinstance(arguments.get("padding"), tuple) and isinstance(arguments["padding"][0], str):
        arguments["padding"] = ", ".join(arguments["padding"])
    if isinstance(arguments.get("padding"), (list, tuple)):
        arguments = {"bias": None, "stride": [1], **arguments}
    with pytest.raises(RuntimeError, match=row.message):
        torch.ops.samepad.conv2d(**arguments)


MODULES: dict[str, tuple[type[Exception], str, dict[str, Any]]] = {
    "groups zero": (ValueError, "groups must be a positive integer", {"groups": 0}),
    "groups": (ValueError, "in_channels must be divisible by groups", {"groups": 3}),
    "padding name": (ValueError, "Invalid padding string 'sane'", {"padding": "sane"}),
    "padding causal": (ValueError, "Invalid padding string 'causal'", {"padding": "causal"}),
    "padding strs and ints": (TypeError, "'padding' must be str, int", {"padding": ("same", 1)}),
    "padding names": (ValueError, "string 'sane'.* in 2-D", {"padding": ("same", "sane")}),
    "padding names count": (RuntimeError, "a list of 2 modes", {"padding": ("same",) * 3}),
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
    """As nn.Conv2d, it refuses some arguments in the constructor and some in the call."""
    error, message, arguments = MODULES[name]

    def make_and_call(cls: Callable[..., nn.Module]) -> None:
        cls(**{"in_channels": 4, "out_channels": 6, "kernel_size": 3, **arguments})(INPUT)

    with pytest.raises(error, match=message) as raised:
        make_and_call(samepad.SamePadConv2d)
    assert raised.type is error
    # PyTorch has no tuples of names.
    with pytest.raises(TypeError if name.startswith("padding names") else error):
        make_and_call(nn.Conv2d)


#: For every other module its constructor's arguments, and a row for each mistake.
OTHER_MODULES: dict[
    str, tuple[dict[str, Any], dict[str, tuple[type[Exception], str, dict[str, Any]]]]
]
OTHER_MODULES = {
    "ConvTranspose2d": (
        {"in_channels": 4, "out_channels": 6, "kernel_size": 3},
        {
            "groups zero": MODULES["groups zero"],
            "groups": MODULES["groups"],
            "padding_mode": (ValueError, "[Oo]nly .*zeros", {"padding_mode": "reflect"}),
            "stride None": MODULES["stride None"],
            "dilation zero": MODULES["dilation zero"],
            "kernel zero": MODULES["kernel zero"],
            "kernel count": MODULES["kernel count"],
            "output_padding": (
                RuntimeError,
                "to be smaller than stride or dilation",
                {"output_padding": 2, "stride": 2, "padding": 1},
            ),
            "output_padding count": (
                RuntimeError,
                "output_padding to be .* a list of 2",
                {"output_padding": (1, 1, 1), "stride": 2, "padding": 1},
            ),
        },
    ),
    "MaxPool2d": (
        {"kernel_size": 3},
        {
            "kernel None": (TypeError, "'kernel_size' must be int", {"kernel_size": None}),
            "kernel zero": (RuntimeError, "expected kernel_size to be", {"kernel_size": 0}),
            "kernel count": (RuntimeError, "a list of 2", {"kernel_size": (3, 3, 3)}),
            "padding over half": (RuntimeError, "at most half", {"padding": 2}),
            "dilation zero": MODULES["dilation zero"],
            "dilation None": (TypeError, "'dilation' must be int", {"dilation": None}),
            "ceil_mode": (TypeError, "'ceil_mode' must be bool", {"ceil_mode": "True"}),
        },
    ),
    "AvgPool2d": (
        {"kernel_size": 3},
        {
            "kernel None": (TypeError, "'kernel_size' must be int", {"kernel_size": None}),
            "kernel zero": (RuntimeError, "expected kernel_size to be", {"kernel_size": 0}),
            "kernel count": (RuntimeError, "a list of 2", {"kernel_size": (3, 3, 3)}),
            "padding over half": (RuntimeError, "at most half", {"padding": 2}),
            "ceil_mode": (TypeError, "'ceil_mode' must be bool", {"ceil_mode": None}),
            "count": (TypeError, "'count_include_pad' must be", {"count_include_pad": "True"}),
            "divisor zero": (RuntimeError, "divisor_override not to be 0", {"divisor_override": 0}),
            "divisor float": (TypeError, "'divisor_override' must be", {"divisor_override": 0.5}),
        },
    ),
}
#: The mistakes that all of them refuse.
for _, rows in OTHER_MODULES.values():
    shared = ("padding None", "padding float", "padding count", "stride zero", "stride count")
    rows.update({name: MODULES[name] for name in (*shared, "padding name", "padding causal")})
MODULE_ROWS = [(name, row) for name, (_, rows) in OTHER_MODULES.items() for row in rows]


@pytest.mark.parametrize(("name", "row"), MODULE_ROWS)
@pytest.mark.filterwarnings("ignore:Initializing zero-element tensors is a no-op:UserWarning")
def test_other_modules_refuse(name: str, row: str) -> None:
    """As torch.nn's, they refuse some arguments in the constructor and some in the call."""
    good, rows = OTHER_MODULES[name]
    error, message, arguments = rows[row]
    ours, theirs = getattr(samepad, f"SamePad{name}"), getattr(nn, name)
    with pytest.raises(error, match=message) as raised:
        ours(**{**good, **arguments})(INPUT)
    assert raised.type is error
    with pytest.raises((error, TypeError)):  # PyTorch raises TypeError for names
        theirs(**{**good, **arguments})(INPUT)


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        *((name, arguments) for name, (arguments, _) in OTHER_MODULES.items()),
        ("DepthwiseConv2d", {"in_channels": 4, "kernel_size": 3}),
        ("SeparableConv2d", {"in_channels": 4, "out_channels": 6, "kernel_size": 3}),
    ],
)
@pytest.mark.parametrize(
    ("error", "message", "padding"),
    [
        (ValueError, r"Invalid padding string 'causal'.* in 2-D", "causal"),
        (ValueError, "Invalid padding string 'SAME'", "SAME"),
        (RuntimeError, "expected padding to be a mode", ((0, 1),)),
        (RuntimeError, "expected padding to be a mode", (0, 1, 0, 1)),
        (RuntimeError, "expected padding to be a mode", ()),
        (TypeError, "'padding' must be str, int", None),
        (TypeError, "'padding' must be str, int", True),
        (TypeError, "'padding' must be str, int", 1.0),
        (TypeError, "'padding' must be str, int", ("same", 1)),
        (TypeError, "'padding' must be str, int", (1, "same")),
        (ValueError, "Invalid padding string 'sane'.* in 2-D", ("same", "sane")),
        (ValueError, "Invalid padding string 'same, same'", "same, same"),
        (ValueError, "Invalid padding string 'causal'", ("causal",)),
        (RuntimeError, "expected padding to be a mode or a list of 2", ("same",) * 3),
        (TypeError, "'padding' must be str, int", ((0, 1), 1)),
    ],
)
def test_modules_refuse_a_padding_when_they_are_made(
    name: str, arguments: dict[str, Any], error: type[Exception], message: str, padding: Any
) -> None:
    lazy = {key: value for key, value in arguments.items() if key != "in_channels"}
    made = [(f"SamePad{name}", arguments), (f"LazySamePad{name}", lazy)]
    for cls, given in [each for each in made if hasattr(samepad, each[0])]:
        with pytest.raises(error, match=message) as raised:
            getattr(samepad, cls)(**given, padding=padding)
        assert raised.type is error


@pytest.mark.parametrize("padding", ["same", "same_lower"])
@pytest.mark.parametrize("dimensions", [1, 2, 3])
def test_output_padding_is_refused_where_an_output_size_is_for_it(
    dimensions: int, padding: str
) -> None:
    message = f"with padding='{padding}' call the layer with an output_size"
    name = f"SamePadConvTranspose{dimensions}d"
    for cls, channels in ((name, (4, 6)), (f"Lazy{name}", (6,))):
        with pytest.raises(ValueError, match=message):
            getattr(samepad, cls)(*channels, 3, stride=2, padding=padding, output_padding=1)


def test_transposed_layers_refuse_output_sizes() -> None:
    layer = samepad.SamePadConvTranspose2d(4, 6, 3, stride=2)
    for size in ([14, 16], [16, 17], [14], [6, 16, 16], [1, 1, 6, 16, 16]):
        with pytest.raises(RuntimeError, match="output_size"):
            layer(INPUT, size)
    with pytest.raises(TypeError, match="'output_size' must be"):
        layer(INPUT, [16, 15.5])
    # For an unbatched input, three values are the sizes of all its dimensions.
    assert layer(INPUT[0], [6, 15, 16]).shape == (6, 15, 16)


@pytest.mark.parametrize("dimensions", [1, 2])
@pytest.mark.filterwarnings("ignore:Initializing zero-element tensors is a no-op:UserWarning")
def test_depthwise_and_separable_layers_refuse(dimensions: int) -> None:
    depthwise = getattr(samepad, f"SamePadDepthwiseConv{dimensions}d")
    separable = getattr(samepad, f"SamePadSeparableConv{dimensions}d")
    input = torch.ones(1, 4, *[8] * dimensions)
    for multiplier in (0, -1, 1.5, None, "2"):
        for cls, channels in ((depthwise, (4,)), (separable, (4, 6))):
            with pytest.raises((TypeError, ValueError, RuntimeError)):
                cls(*channels, 3, depth_multiplier=multiplier)(input)
    for layer in (depthwise(5, 3), separable(5, 6, 3)):
        with pytest.raises(RuntimeError, match=r"input to have 5 channels, .* 4 channels"):
            layer(input)
    with pytest.raises(ValueError, match="groups must be a positive integer"):
        depthwise(0, 3)


@pytest.mark.parametrize("name", ["Conv2d", "ConvTranspose2d"])
def test_lazy_layers_refuse(name: str) -> None:
    """They raise as the other layers do, in the constructor or once the channels are known."""
    cls = getattr(samepad, f"LazySamePad{name}")
    with pytest.raises(ValueError, match="groups must be a positive integer"):
        cls(6, 3, groups=0)
    with pytest.raises(ValueError, match="divisible by groups"):
        cls(6, 3, groups=3)(INPUT)
    for input in (torch.ones(8, 8), torch.ones(1, 1, 4, 8, 8)):
        with pytest.raises(RuntimeError, match=r"Expected 3D .* or 4D"):
            cls(6, 3)(input)


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
