"""What Keras's layers compute and torch.nn has no layer for."""

import math

import torch
from torch import Tensor, nn


def relu(input: Tensor, max_value: float | None, negative_slope: float, threshold: float) -> Tensor:
    """keras.layers.ReLU: x above the threshold, negative_slope (x - threshold) up to it, at most
    max_value. Any shape; returns the same."""
    result = torch.where(input > threshold, input, negative_slope * (input - threshold))
    return result if max_value is None else result.clamp(max=max_value)


def hard_sigmoid(input: Tensor) -> Tensor:
    """What Keras 2 calls hard_sigmoid: 0.2 x + 0.5 between 0 and 1. Any shape; returns the same.
    Keras 3's is torch.nn.Hardsigmoid, of slope 1 / 6."""
    return (input * 0.2 + 0.5).clamp(0.0, 1.0)


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


class FrozenBatchNorm(nn.modules.batchnorm._BatchNorm):
    """BatchNormalization with trainable=False: in training too it keeps to the statistics it has.

    Args:
        num_features, eps, momentum: As nn.BatchNorm2d's.

    Shape:
        (N, C, ...) to the same.
    """

    def forward(self, input: Tensor) -> Tensor:
        """Normalize."""
        return nn.functional.batch_norm(
            input, self.running_mean, self.running_var, self.weight, self.bias, eps=self.eps
        )


class GaussianNoise(nn.Module):
    """keras.layers.GaussianNoise: in training, adds normal noise.

    Args:
        stddev: Its standard deviation.

    Shape:
        (N, ...) to the same.
    """

    def __init__(self, stddev: float) -> None:
        """Nothing to make."""
        super().__init__()
        self.stddev = stddev

    def forward(self, input: Tensor) -> Tensor:
        """Add."""
        return input + self.stddev * torch.randn_like(input) if self.training else input


class GaussianDropout(nn.Module):
    """keras.layers.GaussianDropout: in training, multiplies by normal noise around 1.

    Args:
        rate: p; the noise has variance p / (1 - p), which dropping with probability p has.

    Shape:
        (N, ...) to the same.
    """

    def __init__(self, rate: float) -> None:
        """Nothing to make."""
        super().__init__()
        self.rate = rate

    def forward(self, input: Tensor) -> Tensor:
        """Multiply."""
        if not self.training:
            return input
        stddev = math.sqrt(self.rate / (1 - self.rate))
        return input * (1 + stddev * torch.randn_like(input))


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
