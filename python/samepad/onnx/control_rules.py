"""Rules for ONNX's If, Loop and Scan, in a table by name.

A branch is chosen, and a loop is written out, while the model is loaded wherever that is possible.
"""

import operator
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, fx

from samepad._building import UnsupportedError
from samepad.onnx import control
from samepad.onnx.call import Body, Builder, Call, Kind, Rule, Value, kind_of


def _truth(value: Value | None) -> bool | None:
    """Return the constant value of a condition; None if it depends on inputs.

    Raises:
        UnsupportedError: It has several elements.
    """
    if not isinstance(value, Tensor):
        return None
    if value.numel() != 1:
        raise UnsupportedError(f"a condition of shape {tuple(value.shape)}, expected one element")
    return bool(value)


def _if(c: Call) -> Any:
    """If: one of the branches, or a choice when the module runs."""
    assert c.graphs is not None
    branches = [c.get("then_branch"), c.get("else_branch")]
    truth = _truth(c.given[0])
    if truth is not None:
        return c.graphs.inline(branches[0 if truth else 1], [])
    names = [f"{c.name}_then", f"{c.name}_else"]
    bodies = [c.graphs.module(g, name, []) for g, name in zip(branches, names, strict=True)]
    needed = c.graphs.rank_by_use()
    fit = [body for body in bodies if _fits(body, needed)]
    ranks = [[_rank(dims) for dims in body.dims] for body in bodies]
    if ranks[0] != ranks[1] and len(fit) == 1:
        # Exporters write a choice between Squeeze and Identity where they do not know a size. What
        # follows takes only one of the two.
        chosen = branches[bodies.index(fit[0])]
        if c.graphs.repeat(chosen, 1):
            return c.graphs.inline(chosen, [])
    captured = list(dict.fromkeys([*bodies[0].captured, *bodies[1].captured]))
    condition, sizes = c[0], c.sizes(0)
    if ranks[0] != ranks[1] and sizes is not None:
        condition = sizes.items[0]  # torch.cond needs equal numbers of dimensions
    taken = [[captured.index(value) for value in body.captured] for body in bodies]
    modules = [body.module for body in bodies]
    result = c.b.later(control.branch, condition, *modules, captured, *taken)
    outputs = []
    for i in range(c.outputs):
        dtypes = {body.dtypes[i] for body in bodies}
        outputs.append(_output(c, result, i, _common(bodies, i), dtypes.pop()))
    return outputs


def _rank(dims: list[int | None] | None) -> int | None:
    return None if dims is None else len(dims)


def _fits(body: Body, needed: list[int | None]) -> bool:
    """Whether a branch's results have the numbers of dimensions that their use implies."""
    pairs = list(zip(map(_rank, body.dims), needed, strict=True))
    return any(n is not None for _, n in pairs) and all(n in (None, r) for r, n in pairs)


def _common(bodies: list[Body], i: int) -> list[int | None] | None:
    """Return the sizes of an output as far as both branches have the same."""
    one, other = (body.dims[i] for body in bodies)
    if one is None or other is None or len(one) != len(other):
        return None
    return [a if a == b else None for a, b in zip(one, other, strict=True)]


def _output(
    c: Call,
    result: fx.Node,
    position: int,
    dims: list[int | None] | None,
    dtype: torch.dtype | None,
) -> fx.Node:
    """Take one output of a branch or loop, whose type is noted."""
    node: fx.Node = c.b.later(operator.getitem, result, position)
    node.meta |= {"dims": dims} if dims is not None else {}
    node.meta |= {"dtype": dtype} if dtype is not None else {}
    return node


@contextmanager
def _repeating(b: Builder) -> Iterator[None]:
    """Let the iterations that are written out share their layers."""
    before = b.repeated
    b.repeated = {} if before is None else before
    try:
        yield
    finally:
        b.repeated = before


def _kinds(values: list[Any]) -> list[Kind]:
    """Return the types of states, whose sizes may change from one iteration to the next."""
    kinds = map(kind_of, values)
    return [(dtype, None if dims is None else [None] * len(dims)) for dtype, dims in kinds]


def _loop(c: Call) -> Any:
    """Loop: written out if the number of iterations is constant and small, else a function."""
    assert c.graphs is not None
    body, states = c.get("body"), c.given[2:]
    count, rows = len(states), len(body.output) - 1 - len(states)
    times, condition = c.number(0), c.given[1] if len(c.given) > 1 else None
    begins = True if condition is None else _truth(condition)
    own = {value.name for value in body.input[2:]}
    fixed = begins is not None and not c.graphs.depends(body, body.output[0].name, own)
    if begins is False:
        times = 0
    if times == 0 and rows == 0:
        return states
    if isinstance(times, int) and times > 0 and fixed and c.graphs.repeat(body, times):
        return _written_out_loop(c, body, times, states)
    kinds: list[Kind] = [(torch.int64, []), (torch.bool, []), *_kinds(states)]
    made = c.graphs.module(body, f"{c.name}_body", kinds)
    # Open sizes of an output without rows are 0, as in ONNX Runtime.
    empty = [
        ([n or 0 for n in made.dims[i] or ()], made.dtypes[i])
        for i in range(1 + count, 1 + count + rows)
    ]
    given = [c.b.tensor(state) for state in states]
    start = None if condition is None else c[1]
    result = c.b.later(control.loop, made.module, times, start, given, made.captured, empty)
    dims: list[list[int | None] | None]
    dims = [None if d is None else [None] * len(d) for d in made.dims[1:]]
    for i in range(count, count + rows):
        known = dims[i]
        dims[i] = None if known is None else [None, *known]
    return [_output(c, result, i, dims[i], made.dtypes[1 + i]) for i in range(count + rows)]


def _written_out_loop(c: Call, body: Any, times: int, states: list[Any]) -> list[Any]:
    graphs, count = c.graphs, len(states)
    assert graphs is not None

    def step(i: int, current: list[Any]) -> tuple[bool, list[Any], list[Any]]:
        going, *results = graphs.inline(body, [torch.tensor(i), torch.tensor(True), *current])
        truth = _truth(going)
        assert truth is not None  # it depends on constants only
        return truth, results[:count], results[count:]

    with _repeating(c.b):
        last, found = control.iterate(step, times, states)
    return [*last, *(_stack(c, list(column), 0, 0) for column in zip(*found, strict=True))]


def _stack(c: Call, rows: list[Any], axis: int, backwards: int) -> Any:
    return c.b.call(control.stacked, [c.b.tensor(row) for row in rows], axis, backwards)


def _scan(c: Call) -> Any:
    """Scan: written out if the number of slices is constant and small, else a function."""
    assert c.graphs is not None
    if c.opset >= 9:
        return _scanned(c, c.given, c.get("num_scan_inputs"))
    # Opset 8 has a batch, each item of which is scanned on its own, and lengths as first input.
    given, slices = c.given[1:], c.get("num_scan_inputs")
    if c.given[0] is not None:
        raise UnsupportedError("sequence_lens, expected none")
    batch = c.size(1, 0)
    if batch is None or not c.graphs.repeat(c.get("body"), batch):
        raise UnsupportedError(
            f"a batch size of {batch or 'any number'}, expected a constant and small one before "
            "opset 9"
        )
    results = [
        _scanned(c, [c.b.call(torch.select, c.b.tensor(v), 0, i) for v in given], slices)
        for i in range(batch)
    ]
    return [_stack(c, list(column), 0, 0) for column in zip(*results, strict=True)]


def _scanned(c: Call, given: list[Any], slices: int) -> list[Any]:
    assert c.graphs is not None
    body, count = c.get("body"), len(given) - slices
    states, inputs = given[:count], [c.b.tensor(value) for value in given[count:]]
    rows = len(body.output) - count
    old = "directions" if c.opset < 9 else "scan_input_directions"
    input_axes, backwards = c.get("scan_input_axes", [0] * slices), c.get(old, [0] * slices)
    output_axes = c.get("scan_output_axes", [0] * rows)
    output_backwards = c.get("scan_output_directions", [0] * rows)
    types = [kind_of(value) for value in inputs]
    dims = types[0][1]
    times = None if dims is None else dims[input_axes[0]]
    if times is not None and times > 0 and c.graphs.repeat(body, times):
        graphs = c.graphs

        def step(i: int, current: list[Any]) -> tuple[bool, list[Any], list[Any]]:
            positions = [times - 1 - i if back else i for back in backwards]
            parts = [
                c.b.call(torch.select, value, axis, position)
                for value, axis, position in zip(inputs, input_axes, positions, strict=True)
            ]
            results = graphs.inline(body, [*current, *parts])
            return True, results[:count], results[count:]

        with _repeating(c.b):
            last, found = control.iterate(step, times, states)
        columns = zip(zip(*found, strict=True), output_axes, output_backwards, strict=True)
        return [*last, *(_stack(c, list(column), axis, back) for column, axis, back in columns)]
    kinds = _kinds(states)
    for (dtype, each), axis in zip(types, input_axes, strict=True):
        part = None if each is None else [n for i, n in enumerate(each) if i != axis % len(each)]
        kinds.append((dtype, part))
    made = c.graphs.module(body, f"{c.name}_body", kinds)
    settings = (input_axes, backwards, output_axes, output_backwards)
    result = c.b.later(
        control.scan,
        made.module,
        [c.b.tensor(state) for state in states],
        inputs,
        made.captured,
        *(list(each) for each in settings),
    )
    outputs = []
    for i in range(count + rows):
        known = made.dims[i]
        rank = None if known is None else len(known) + (i >= count)
        outputs.append(
            _output(c, result, i, None if rank is None else [None] * rank, made.dtypes[i])
        )
    return outputs


RULES: dict[str, Rule] = {"If": _if, "Loop": _loop, "Scan": _scan}
