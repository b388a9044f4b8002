"""LSTM, GRU and RNN of ONNX with the options that torch.nn's layers lack."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from samepad.onnx.indexing import reverse_sequence
from samepad.onnx.quantized import dynamic_mat_mul

#: An activation by its name in ONNX in lower case, and its two parameters.
Activation = tuple[str, float, float]

#: For each activation, the function of a tensor, alpha and beta.
FUNCTIONS: dict[str, Callable[[Tensor, float, float], Tensor]] = {
    "affine": lambda x, a, b: a * x + b,
    "elu": lambda x, a, _: torch.where(x < 0, a * torch.expm1(x), x),
    "hardsigmoid": lambda x, a, b: (a * x + b).clamp(0, 1),
    "leakyrelu": lambda x, a, _: F.leaky_relu(x, a),
    "relu": lambda x, *_: x.relu(),
    "scaledtanh": lambda x, a, b: a * torch.tanh(b * x),
    "sigmoid": lambda x, *_: x.sigmoid(),
    "softplus": lambda x, *_: F.softplus(x),
    "softsign": lambda x, *_: F.softsign(x),
    "tanh": lambda x, *_: x.tanh(),
    "thresholdedrelu": lambda x, a, _: torch.where(x > a, x, torch.zeros_like(x)),
}


class _Direction:
    """The weights and settings of one direction."""

    def __init__(
        self,
        kind: str,
        weights: list[Tensor | None],
        scales: list[Tensor | None] | None,
        activations: Sequence[Activation],
        clip: float | None,
        input_forget: bool,
        linear_before_reset: bool,
    ) -> None:
        self.kernel, self.recurrent, bias, self.peepholes = weights
        assert self.recurrent is not None
        self.hidden = self.recurrent.shape[0 if scales else 1]
        halves: Sequence[Tensor | None] = (None, None) if bias is None else bias.chunk(2)
        self.input_bias, self.state_bias = halves
        self.scales = scales
        self.activations = activations
        self.clip, self.input_forget = clip, input_forget
        self.linear_before_reset = linear_before_reset
        self.step = {"LSTM": self._lstm, "GRU": self._gru, "RNN": self._rnn}[kind]

    def act(self, position: int, value: Tensor, clip: bool = True) -> Tensor:
        """Apply one of the activations to a value, which is clipped first."""
        if clip and self.clip is not None:
            value = value.clamp(-self.clip, self.clip)
        name, alpha, beta = self.activations[position]
        return FUNCTIONS[name](value, alpha, beta)

    def inputs(self, input: Tensor) -> Tensor:
        """Return the products of all steps of the input with the weight."""
        product = self._product(input, self.kernel, 0)
        return product if self.input_bias is None else product + self.input_bias

    def _states(self, state: Tensor) -> Tensor:
        product = self._product(state, self.recurrent, 2)
        return product if self.state_bias is None else product + self.state_bias

    def _product(self, values: Tensor, weight: Tensor | None, position: int) -> Tensor:
        assert weight is not None
        if self.scales is None:
            return values @ weight.T
        scale, zero = self.scales[position : position + 2]
        assert scale is not None
        return dynamic_mat_mul(values, weight, scale, zero)

    def _peephole(self, position: int, cell: Tensor) -> Tensor | float:
        return 0.0 if self.peepholes is None else self.peepholes.chunk(3)[position] * cell

    def _lstm(self, given: Tensor, states: list[Tensor]) -> list[Tensor]:
        hidden, cell = states
        i, o, f, c = (given + self._states(hidden)).chunk(4, -1)
        i = self.act(0, i + self._peephole(0, cell))
        f = 1 - i if self.input_forget else self.act(0, f + self._peephole(2, cell))
        cell = f * cell + i * self.act(1, c)
        o = self.act(0, o + self._peephole(1, cell))
        # ONNX Runtime does not clip the cell, though ONNX's text could be read so.
        return [o * self.act(2, cell, clip=False), cell]

    def _gru(self, given: Tensor, states: list[Tensor]) -> list[Tensor]:
        (hidden,) = states
        z, r, h = given.chunk(3, -1)
        if self.linear_before_reset:
            product = self._states(hidden)
            gates, new = product[..., : 2 * self.hidden], product[..., 2 * self.hidden :]
        else:
            assert self.recurrent is not None
            gates = hidden @ self.recurrent[: 2 * self.hidden].T
            if self.state_bias is not None:
                gates = gates + self.state_bias[: 2 * self.hidden]
        update, reset = (
            self.act(0, part + gate) for part, gate in zip((z, r), gates.chunk(2, -1), strict=True)
        )
        if self.linear_before_reset:
            new = reset * new
        else:
            assert self.recurrent is not None
            new = (reset * hidden) @ self.recurrent[2 * self.hidden :].T
            if self.state_bias is not None:
                new = new + self.state_bias[2 * self.hidden :]
        new = self.act(1, h + new)
        return [(1 - update) * new + update * hidden]

    def _rnn(self, given: Tensor, states: list[Tensor]) -> list[Tensor]:
        return [self.act(0, given + self._states(states[0]))]


def recurrent(
    kind: str,
    input: Tensor,
    kernel: Tensor,
    recurrent: Tensor,
    bias: Tensor | None,
    lengths: Tensor | None,
    hidden: Tensor | None,
    cell: Tensor | None,
    peepholes: Tensor | None,
    scales: Sequence[Tensor | None] | None,
    backwards: Sequence[bool],
    activations: Sequence[Activation],
    batch_first: bool = False,
    clip: float | None = None,
    input_forget: bool = False,
    linear_before_reset: bool = False,
) -> tuple[Tensor, ...]:
    """LSTM, GRU or RNN with ONNX's options.

    Args:
        kind: "LSTM", "GRU" or "RNN".
        input: (T, N, in), or (N, T, in) if `batch_first`.
        kernel: (D, G H, in) for D directions, G gates and H hidden values; (D, in, G H) if
            quantized.
        recurrent: (D, G H, H); (D, H, G H) if quantized.
        bias: (D, 2 G H), that of the inputs and that of the states; or None.
        lengths: The number of steps of each sequence, (N,); or None. Outputs after the end are 0.
        hidden: The first state, (D, N, H), or (N, D, H) if `batch_first`; zeros if None.
        cell: The first cell state of an LSTM, in the same shape; zeros if None.
        peepholes: (D, 3 H) for an LSTM, or None.
        scales: For quantized weights, the scale and zero point of `kernel`, then of `recurrent`;
            each (D,) or (D, G H). None for weights that are not quantized.
        backwards: For each direction, whether it runs from the last step to the first.
        activations: Those of the first direction, then those of the second.
        batch_first: Whether the batch comes before the steps and directions.
        clip: The inputs of activations are between its negative and it; None for no limit.
        input_forget: Whether an LSTM's forget gate is 1 minus its input gate.
        linear_before_reset: Whether a GRU resets after the product with the weight.

    Returns:
        The outputs of all steps, (T, D, N, H), or (N, T, D, H) if `batch_first`; and the last
        state, of the shape of `hidden`, and for an LSTM the last cell state.
    """
    steps = input.transpose(0, 1) if batch_first else input
    first = [s if s is None or not batch_first else s.transpose(0, 1) for s in (hidden, cell)]
    each = len(activations) // len(backwards)
    outputs, lasts = [], []
    for d, back in enumerate(backwards):
        weights = [None if w is None else w[d] for w in (kernel, recurrent, bias, peepholes)]
        quantized = None if scales is None else [None if s is None else s[d] for s in scales]
        chosen = activations[d * each : (d + 1) * each]
        direction = _Direction(
            kind, weights, quantized, chosen, clip, input_forget, linear_before_reset
        )
        zeros = steps.new_zeros(steps.shape[1], direction.hidden)
        states = [zeros if s is None else s[d] for s in first[: 2 if kind == "LSTM" else 1]]
        output, last = _run(direction, steps, states, lengths, back)
        outputs.append(output)
        lasts.append(last)
    result = torch.stack(outputs, 1)
    ends = [torch.stack(parts) for parts in zip(*lasts, strict=True)]
    if batch_first:
        return result.permute(2, 0, 1, 3), *(end.transpose(0, 1) for end in ends)
    return result, *ends


def _run(
    direction: _Direction, steps: Tensor, states: list[Tensor], lengths: Tensor | None, back: bool
) -> tuple[Tensor, list[Tensor]]:
    """Run one direction over (T, N, in); return the outputs, (T, N, H), and the last states."""
    steps = _turned(steps, lengths) if back else steps
    outputs: list[Any] = []
    for t, given in enumerate(direction.inputs(steps)):
        new = direction.step(given, states)
        if lengths is None:
            states = new
            outputs.append(states[0])
            continue
        runs = (t < lengths).unsqueeze(-1)
        states = [torch.where(runs, a, b) for a, b in zip(new, states, strict=True)]
        outputs.append(torch.where(runs, new[0], torch.zeros_like(new[0])))
    if lengths is not None:  # the last states of an empty sequence are 0 in ONNX Runtime
        some = (lengths > 0).unsqueeze(-1)
        states = [torch.where(some, state, torch.zeros_like(state)) for state in states]
    output = torch.stack(outputs)
    return (_turned(output, lengths) if back else output), states


def _turned(steps: Tensor, lengths: Tensor | None) -> Tensor:
    """Reverse the order of the steps of each sequence."""
    return steps.flip(0) if lengths is None else reverse_sequence(steps, lengths, 0, 1)
