"""The variant of GRU that Keras and ONNX have and PyTorch lacks."""

import torch
from torch import Tensor, nn


class ResetBeforeGRU(nn.GRU):
    """nn.GRU of one layer that resets the state before the product with its weight, not after.

    This is ONNX's linear_before_reset=0, Keras's reset_after=False and the GRU as it was first
    published. Parameters, arguments, inputs and outputs are nn.GRU's.

    Shape:
        Input (L, N, in), or (N, L, in) with `batch_first`; state (D, N, H), zeros by default. The
        output is (L, N, D H), or (N, L, D H) with `batch_first`; the last state is (D, N, H). D is
        2 if the layer is bidirectional, else 1, and H is `hidden_size`.
    """

    def forward(  # type: ignore[override]
        self, input: Tensor, hx: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Return the outputs of all steps, and the last state of each direction."""
        steps = input.transpose(0, 1) if self.batch_first else input
        directions = 2 if self.bidirectional else 1
        if hx is None:
            hx = steps.new_zeros(directions, steps.shape[1], self.hidden_size)
        results = [
            self._run(steps, hx[0], ""),
            *([self._run(steps.flip(0), hx[1], "_reverse")] if self.bidirectional else []),
        ]
        outputs = [
            torch.stack(states[::step]) for states, step in zip(results, (1, -1), strict=False)
        ]
        output = torch.cat(outputs, -1)
        last = torch.stack([states[-1] for states in results])
        return (output.transpose(0, 1) if self.batch_first else output), last

    def _run(self, steps: Tensor, state: Tensor, suffix: str) -> list[Tensor]:
        """Run one direction over `steps`, (L, N, in); return the state after each step, (N, H)."""
        kinds = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
        names = [f"{kind}_l0{suffix}" for kind in kinds[: 4 if self.bias else 2]]
        weight_ih, weight_hh, *biases = (getattr(self, name) for name in names)
        inputs = steps @ weight_ih.T + sum(biases)
        gates, candidate = weight_hh.split([2 * self.hidden_size, self.hidden_size])
        states = []
        for reset_update, new in zip(
            inputs[..., : 2 * self.hidden_size], inputs[..., 2 * self.hidden_size :], strict=True
        ):
            reset, update = (reset_update + state @ gates.T).sigmoid().chunk(2, -1)
            new = (new + (reset * state) @ candidate.T).tanh()
            state = new + update * (state - new)
            states.append(state)
        return states
