"""What Keras's layers compute and torch.nn has no layer for."""

import torch
from torch import Tensor, nn


def relu(input: Tensor, max_value: float | None, negative_slope: float, threshold: float) -> Tensor:
    """keras.layers.ReLU: negative_slope (x - threshold) below the threshold, x from there on, at
    most max_value. Any shape; returns the same."""
    result = torch.where(input >= threshold, input, negative_slope * (input - threshold))
    return result if max_value is None else result.clamp(max=max_value)


class ElementwisePReLU(nn.Module):
    """keras.layers.PReLU: a slope of its own for each element.

    Args:
        shape: Of the slopes; broadcasts against the input.

    Shape:
        (N, ...) to the same.
    """

    def __init__(self, shape: tuple[int, ...]) -> None:
        """Slopes start at 0, as Keras's do."""
        super().__init__()
        self.shape = tuple(shape)
        self.weight = nn.Parameter(torch.zeros(shape))

    def forward(self, input: Tensor) -> Tensor:
        """x where it is positive, slope * x elsewhere."""
        return input.clamp(min=0) + self.weight * input.clamp(max=0)


class LayerScale(nn.Module):
    """ConvNeXt's layer: a factor for each channel.

    Args:
        channels: How many, C.

    Shape:
        (N, ..., C) to the same.
    """

    def __init__(self, channels: int) -> None:
        """Factors start at 1."""
        super().__init__()
        self.channels = channels
        self.weight = nn.Parameter(torch.ones(channels))

    def forward(self, input: Tensor) -> Tensor:
        """Scale."""
        return input * self.weight


class StochasticDepth(nn.Module):
    """ConvNeXt's layer: in training, drops samples, each with a probability, and scales the rest.

    Args:
        drop_path_rate: The probability.

    Shape:
        (N, ...) to the same.
    """

    def __init__(self, drop_path_rate: float) -> None:
        """Nothing to make."""
        super().__init__()
        self.drop_path_rate = drop_path_rate

    def forward(self, input: Tensor) -> Tensor:
        """Drop."""
        if not self.training:
            return input
        keep = 1 - self.drop_path_rate
        shape = [input.shape[0]] + [1] * (input.dim() - 1)
        return input / keep * torch.rand(shape, device=input.device).add(keep).floor()
