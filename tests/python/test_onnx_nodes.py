"""Runs ONNX's own operator tests, whose inputs and outputs are in the package onnx."""

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import onnxruntime
import pytest
import samepad
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from onnx import helper
from onnx.backend.test.case.node import (
    _NodeTestCases,
    averagepool,  # noqa: F401  (importing these adds their cases to the list; importing all
    causal_conv_with_state,  # noqa: F401  of ONNX's would warn of overflows in other operators')
    conv,  # noqa: F401
    convtranspose,  # noqa: F401
    maxpool,  # noqa: F401
)
from onnx.backend.test.case.test_case import TestCase
from torch import Tensor

MODES = {b"SAME_UPPER": "same", b"SAME_LOWER": "same_lower", b"VALID": "valid"}
#: The least number of cases for each operator: those of onnx 1.23.2.
LEAST = {"Conv": 6, "ConvTranspose": 11, "MaxPool": 19, "AveragePool": 20, "CausalConvWithState": 8}


def operator(case: TestCase) -> str:
    """Return the operator of the case's only node, or "" if there are several nodes."""
    nodes = case.model.graph.node
    return nodes[0].op_type if len(nodes) == 1 else ""


def attributes(case: TestCase) -> dict[str, Any]:
    """Return the attributes of the case's node, by name."""
    return {
        each.name: helper.get_attribute_value(each) for each in case.model.graph.node[0].attribute
    }


def is_for_samepad(case: TestCase) -> bool:
    """Whether samepad has the arguments: not dilated average pools, and no state."""
    if operator(case) == "AveragePool":
        return set(attributes(case).get("dilations", [1])) == {1}
    return operator(case) in LEAST and "past_state" not in case.model.graph.node[0].input


CASES: dict[str, TestCase] = {case.name: case for case in _NodeTestCases if operator(case) in LEAST}
CASES_FOR_SAMEPAD = [name for name, case in CASES.items() if is_for_samepad(case)]
AUTO_PADDED = [name for name, case in CASES.items() if attributes(case).get("auto_pad") in MODES]


def function(name: str, dimensions: int) -> Callable[..., Any]:
    return getattr(samepad.functional, f"{name}{dimensions}d")  # type: ignore[no-any-return]


def padding_for(
    output_shape: Sequence[int],
    sizes: Sequence[int],
    kernel: Sequence[int],
    stride: Sequence[int],
    output_padding: Sequence[int],
) -> dict[str, Any]:
    """Derive the padding from `output_shape` without `auto_pad`, as ConvTranspose's text says."""
    pairs, extra = [], []
    for m, n, k, s, p in zip(output_shape, sizes, kernel, stride, output_padding, strict=True):
        total = s * (n - 1) + p + k - m
        end = max(total, 0) // 2
        pairs.append((max(total, 0) - end, end))
        extra.append(p + max(-total, 0))  # a negative total lengthens the output
    return {"padding": pairs, "output_padding": extra}


def run_samepad(case: TestCase, tensors: Sequence[Tensor]) -> tuple[Tensor, ...]:
    """Return what samepad computes for the case's node."""
    given = attributes(case)
    dimensions = tensors[0].dim() - 2
    ones, zeros = [1] * dimensions, [0] * dimensions
    if operator(case) == "CausalConvWithState":
        input, weight, *bias = tensors
        output = samepad.functional.conv1d(
            input, weight, *bias, padding="causal", groups=input.shape[1]
        )
        return (output if given.get("activation", b"none") == b"none" else F.silu(output),)
    pads = given.get("pads", zeros + zeros)
    arguments: dict[str, Any] = {
        "stride": given.get("strides", ones),
        "dilation": given.get("dilations", ones),
        "padding": MODES.get(
            given.get("auto_pad", b"NOTSET"),
            list(zip(pads[:dimensions], pads[dimensions:], strict=True)),
        ),
    }
    if operator(case) == "Conv":
        return (function("conv", dimensions)(*tensors, **arguments),)
    if operator(case) == "ConvTranspose":
        arguments["output_padding"] = given.get("output_padding", zeros)
        if "output_shape" in given:
            arguments |= padding_for(
                given["output_shape"],
                tensors[0].shape[2:],
                tensors[1].shape[2:],
                arguments["stride"],
                arguments["output_padding"],
            )
        groups = given.get("group", 1)
        return (function("conv_transpose", dimensions)(*tensors, groups=groups, **arguments),)
    arguments |= {"kernel_size": given["kernel_shape"], "ceil_mode": bool(given.get("ceil_mode"))}
    if operator(case) == "AveragePool":
        del arguments["dilation"]
        counts = bool(given.get("count_include_pad", 0))
        return (function("avg_pool", dimensions)(*tensors, count_include_pad=counts, **arguments),)
    values, indices = function("max_pool", dimensions)(*tensors, return_indices=True, **arguments)
    if given.get("storage_order"):  # indices count columns first
        height, width = tensors[0].shape[2:]
        indices = indices % width * height + indices // width
    # ONNX's indices count over all channels too; in the cases with indices there is only one
    # channel.
    assert len(case.model.graph.node[0].output) == 1 or tensors[0].shape[:2] == (1, 1)
    return values, indices


def run_onnxruntime(case: TestCase) -> list[NDArray[Any]]:
    """Return what ONNX Runtime computes for the case's model."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3  # no warnings about old opsets
    session = onnxruntime.InferenceSession(
        case.model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    names = [each.name for each in session.get_inputs()]
    inputs = case.data_sets[0][0]
    return session.run(None, dict(zip(names, inputs, strict=True)))  # type: ignore[no-any-return]


def check(case: TestCase, outputs: Sequence[NDArray[Any]]) -> None:
    """Compare with the case's outputs by its own tolerances; updated states are left out."""
    for output, expected in zip(outputs, case.data_sets[0][1], strict=False):
        assert output.dtype == expected.dtype
        np.testing.assert_allclose(output, expected, case.rtol, case.atol, strict=True)


def test_the_cases_are_there() -> None:
    found = Counter(operator(CASES[name]) for name in CASES)
    assert all(found[name] >= least for name, least in LEAST.items()), found
    auto_pads = Counter(attributes(CASES[name])["auto_pad"] for name in AUTO_PADDED)
    assert auto_pads[b"SAME_UPPER"] >= 5
    assert auto_pads[b"SAME_LOWER"] >= 3
    left_out = Counter(operator(CASES[name]) for name in CASES.keys() - set(CASES_FOR_SAMEPAD))
    assert set(left_out) == {"AveragePool", "CausalConvWithState"}
    assert left_out["AveragePool"] == sum("averagepool" in n and "dilat" in n for n in CASES)


@pytest.mark.parametrize("name", CASES_FOR_SAMEPAD)
def test_samepad_gives_the_shipped_outputs(name: str) -> None:
    inputs = [torch.tensor(array) for array in CASES[name].data_sets[0][0]]
    check(CASES[name], [output.numpy() for output in run_samepad(CASES[name], inputs)])


@pytest.mark.parametrize("name", AUTO_PADDED)
def test_onnxruntime_gives_the_shipped_outputs(name: str) -> None:
    """This tells which side is right if the outputs and samepad ever disagree."""
    check(CASES[name], run_onnxruntime(CASES[name]))
