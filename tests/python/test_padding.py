"""Compares samepad.same_padding with counting for all small cases; tests some huge ones."""

import itertools
from collections.abc import Callable
from typing import Any, get_args

import naive
import pytest
import samepad
from samepad.typing import Mode

MAX = 2**63 - 1


@pytest.mark.parametrize("mode", get_args(Mode))
@pytest.mark.parametrize("stride", range(1, 7))
def test_every_small_case(mode: Mode, stride: int) -> None:
    cases = list(itertools.product(range(41), range(1, 10), [stride], range(1, 5)))
    assert {case: samepad.same_padding(*case, mode) for case in cases} == {
        case: (naive.pads(mode, *case),) for case in cases
    }


@pytest.mark.parametrize("mode", ["same", "same_lower", "valid"])
@pytest.mark.parametrize(
    ("sizes", "kernels", "strides", "dilations"),
    [
        ((5, 6), (3, 2), (2, 1), (1, 3)),
        ((7, 0), (4, 3), (3, 2), (2, 1)),
        ((1, 8, 13), (2, 5, 1), (1, 3, 4), (3, 1, 2)),
        ((9, 2, 4), (6, 5, 2), (2, 3, 5), (1, 1, 1)),
        ((3, 4, 5, 6), (2, 3, 4, 5), (4, 3, 2, 1), (1, 2, 2, 1)),
    ],
)
def test_each_dimension_on_its_own(
    mode: Mode,
    sizes: tuple[int, ...],
    kernels: tuple[int, ...],
    strides: tuple[int, ...],
    dilations: tuple[int, ...],
) -> None:
    axes = zip(sizes, kernels, strides, dilations, strict=True)
    expected = tuple(naive.pads(mode, *axis) for axis in axes)
    assert samepad.same_padding(sizes, kernels, strides, dilations, mode) == expected
    lists = (list(sizes), list(kernels), list(strides), list(dilations))
    assert samepad.same_padding(*lists, mode) == expected


@pytest.mark.parametrize("mode", ["same", "same_lower", "valid"])
@pytest.mark.parametrize("one_for_all", [int, lambda value: (value,)], ids=["int", "tuple"])
def test_one_value_stands_for_every_dimension(
    mode: Mode, one_for_all: Callable[[int], Any]
) -> None:
    broadcast = samepad.same_padding(
        (8, 9, 10), one_for_all(4), one_for_all(3), one_for_all(2), mode
    )
    assert broadcast == samepad.same_padding((8, 9, 10), (4,) * 3, (3,) * 3, (2,) * 3, mode)
    assert broadcast == tuple(naive.pads(mode, n, 4, 3, 2) for n in (8, 9, 10))


def test_defaults_are_same_with_stride_and_dilation_one() -> None:
    assert samepad.same_padding((6, 7), (4, 3)) == ((1, 2), (1, 1))


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ((224, 3, 2), ((0, 1),)),
        (((28, 28), (3, 5)), ((1, 1), (2, 2))),
        ((224, 7, 2), ((2, 3),)),
        ((224, 7, 2, 1, "same_lower"), ((3, 2),)),
        ((2, 5, 3), ((1, 2),)),  # the kernel is larger than the input
        ((7, 2, 3), ((0, 1),)),  # the last window starts at the last element
        ((6, 2, 3), ((0, 0),)),  # there are gaps between the windows
        ((10, 3, 2, 4, "causal"), ((8, 0),)),
    ],
)
def test_worked_values(arguments: tuple[Any, ...], expected: tuple[naive.Pair, ...]) -> None:
    assert samepad.same_padding(*arguments) == expected


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        # Huge input sizes: the padding depends only on n mod s.
        ((MAX, 3), (1, 1)),
        ((MAX, 3, 2), (1, 1)),
        ((MAX - 1, 3, 2), (0, 1)),
        ((MAX - 1, 3, 2, 1, "same_lower"), (1, 0)),
        ((MAX, 4, 2**62), (0, 0)),  # n = s - 1 mod s
        ((2**62 + 1, 4, 2**62), (1, 2)),  # n = 1 mod s
        # Huge strides.
        ((MAX, 3, MAX), (0, 0)),
        ((1, 3, MAX), (1, 1)),
        ((0, 3, MAX), (0, 0)),
        # Huge extents: (k - 1) d + 1 may be as large as the largest int64.
        ((1, MAX), (2**62 - 1, 2**62 - 1)),
        ((1, MAX - 1), (2**62 - 2, 2**62 - 1)),
        ((1, MAX - 1, 1, 1, "same_lower"), (2**62 - 1, 2**62 - 2)),
        ((1, MAX, 1, 1, "causal"), (MAX - 1, 0)),
        ((1, 2, 1, MAX - 1), (2**62 - 1, 2**62 - 1)),
        ((5, 2**31, 1, 2**32), (2**62 - 2**31, 2**62 - 2**31)),
        ((5, 1, 1, MAX), (0, 0)),
        # All of these are huge.
        ((MAX, MAX, MAX), (0, 0)),
        ((1, MAX, MAX), (2**62 - 1, 2**62 - 1)),
        ((MAX, MAX, MAX, 1, "valid"), (0, 0)),
    ],
)
def test_huge_values(arguments: tuple[Any, ...], expected: naive.Pair) -> None:
    assert samepad.same_padding(*arguments) == (expected,)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((-1, 3), "expected input_size to be at least 0"),
        (((), 3), "expected input_size to have a value per dimension"),
        ((5, 0), "expected kernel_size to be at least 1"),
        ((5, 3, 0), "expected stride to be at least 1"),
        ((5, 3, 1, -2), "expected dilation to be at least 1"),
        (((5, 5), (3, 3, 3)), "expected kernel_size to be"),
        (((5, 5), 3, (1, 1, 1)), "expected stride to be"),
        (((5, 5), 3, 1, ()), "expected dilation to be"),
        ((5, 2, 1, MAX), "spans more elements than int64 can count"),
        ((5, 2**32, 1, 2**32), "spans more elements than int64 can count"),
        (((5, 5), 3, 1, 1, "causal"), "mode='causal' is for one dimension alone"),
        ((5, 3, 1, 1, "full"), "Invalid padding string: 'full'"),
    ],
)
def test_wrong_values_are_named(arguments: tuple[Any, ...], message: str) -> None:
    with pytest.raises(RuntimeError, match=message):
        samepad.same_padding(*arguments)
