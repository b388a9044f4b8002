"""A group normalization that, as Keras's and ONNX's, accepts groups of a single value."""

import torch
from torch import Tensor, nn


class LenientGroupNorm(nn.GroupNorm):
    """nn.GroupNorm that also accepts groups of a single value, whose result is the bias.

    torch.nn.functional.group_norm refuses them, because the variance of a single value is always 0.
    Models of Keras and ONNX have such groups where an image has shrunk to one pixel. Arguments and
    parameters are nn.GroupNorm's.

    Shape:
        (N, C, ...) to the same shape.
    """

    def forward(self, input: Tensor) -> Tensor:
        """Normalize `input`."""
        return torch.group_norm(input, self.num_groups, self.weight, self.bias, self.eps)
