"""A normalization that torch.nn refuses to compute and Keras and ONNX do not."""

import torch
from torch import Tensor, nn


class LenientGroupNorm(nn.GroupNorm):
    """nn.GroupNorm that takes groups of one value too: of these the result is the bias.

    torch.nn.functional refuses them, for nothing can be learned from one; models of Keras and ONNX
    meet them where an image has shrunk to one pixel. Arguments and parameters are nn.GroupNorm's.

    Shape:
        (N, C, ...) to the same.
    """

    def forward(self, input: Tensor) -> Tensor:
        """Normalize."""
        return torch.group_norm(input, self.num_groups, self.weight, self.bias, self.eps)
