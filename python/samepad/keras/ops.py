"""Functions and modules for Keras's layers for which torch.nn has no layer."""

import math

import torch
from torch import Tensor, nn


def relu(input: Tensor, max_value: float | None, negative_slope: float, threshold: float) -> Tensor:
    """keras.layers.ReLU, for a tensor of any shape; returns the same shape.

    The result is x above the threshold and negative_slope (x - threshold) elsewhere, but at most
    max_value.
    """
    result = torch.where(input > threshold, input, negative_slope * (input - threshold))
    return result if max_value is None else result.clamp(max=max_value)


def hard_sigmoid(input: Tensor) -> Tensor:
    """Keras 2's hard_sigmoid, 0.2 x + 0.5 clamped to 0 and 1, for a tensor of any shape.

    Keras 3's hard_sigmoid is torch.nn.Hardsigmoid, whose slope is 1 / 6.
    """
    return (input * 0.2 + 0.5).clamp(0.0, 1.0)


def masked(input: Tensor, mask: Tensor) -> Tensor:
    """Set what a mask hides to so small a number that a softmax makes it 0.

    Args:
        input: Of any shape, of a floating-point type.
        mask: Booleans, or numbers of which those above 0.5 are True; broadcast to the input.

    Returns:
        A tensor of the input's shape. Where a mask hides everything, a softmax is the same for all,
        as in Keras.
    """
    visible = mask if mask.dtype == torch.bool else mask > 0.5
    return torch.where(visible, input, -1e9)


def softmax(input: Tensor, dims: tuple[int, ...]) -> Tensor:
    """A softmax over several dimensions, for a tensor of any shape; returns the same shape."""
    return (input - input.logsumexp(dims, keepdim=True)).exp()


def dot_product_attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    mask: Tensor | None = None,
    bias: Tensor | None = None,
    scale: float | None = None,
    is_causal: bool = False,
) -> Tensor:
    """keras.ops.dot_product_attention.

    Args:
        query: Shape (N, T, heads, head size).
        key, value: Shape (N, S, heads, head size); the heads may be fewer, by which the query's
            are divisible.
        mask: Booleans of shape (N, heads, T, S), or such that broadcast to it: True where attention
            is paid. A row that is False everywhere attends to all alike.
        bias: Added to the scores; as `mask`.
        scale: The factor of the scores; by default 1 / sqrt(head size).
        is_causal: Whether attention is paid to no later step.

    Returns:
        Shape (N, T, heads, head size).
    """
    query, key, value = (each.transpose(1, 2) for each in (query, key, value))
    if is_causal and (mask is not None or bias is not None):
        causal = query.new_ones(query.shape[-2], key.shape[-2], dtype=torch.bool).tril()
        mask, is_causal = causal if mask is None else mask & causal, False
    if mask is not None:
        # Sums with it lose the scores: a row that is hidden everywhere is the same for all.
        hidden = torch.where(mask, 0.0, 0.7 * torch.finfo(query.dtype).min).to(query.dtype)
        bias = hidden if bias is None else torch.where(mask, bias, hidden)
    groups = query.shape[1] // key.shape[1]
    if groups > 1:
        key, value = (each.repeat_interleave(groups, 1) for each in (key, value))
    attended = nn.functional.scaled_dot_product_attention(
        query, key, value, bias, is_causal=is_causal, scale=scale
    )
    return attended.transpose(1, 2)


class Masking(nn.Module):
    """keras.layers.Masking: sets steps to 0 whose features all have one value.

    Args:
        mask_value: The value.

    Shape:
        (N, ..., C) to the same shape.
    """

    def __init__(self, mask_value: float) -> None:
        """Store the value."""
        super().__init__()
        self.mask_value = mask_value

    def forward(self, input: Tensor) -> Tensor:
        """Return `input`, with zeros where it is masked."""
        return input * (input != self.mask_value).any(-1, keepdim=True)


class ElementwisePReLU(nn.Module):
    """keras.layers.PReLU: each element has its own slope.

    Args:
        shape: Shape of the slopes, which are broadcast to the input.

    Shape:
        (N, ...) to the same shape.
    """

    def __init__(self, shape: tuple[int, ...]) -> None:
        """Make slopes of 0, as Keras does."""
        super().__init__()
        self.shape = tuple(shape)
        self.weight = nn.Parameter(torch.zeros(shape))

    def forward(self, input: Tensor) -> Tensor:
        """Return x where it is positive, slope * x elsewhere."""
        return input.clamp(min=0) + self.weight * input.clamp(max=0)


class LayerScale(nn.Module):
    """Multiplies each channel by a learned factor, as in ConvNeXt.

    Args:
        channels: The number of channels, C.

    Shape:
        (N, ..., C) to the same shape.
    """

    def __init__(self, channels: int) -> None:
        """Make factors of 1."""
        super().__init__()
        self.channels = channels
        self.weight = nn.Parameter(torch.ones(channels))

    def forward(self, input: Tensor) -> Tensor:
        """Scale the channels of `input`."""
        return input * self.weight


class FrozenBatchNorm(nn.modules.batchnorm._BatchNorm):
    """BatchNormalization with trainable=False: also in training it uses its fixed statistics.

    Args:
        num_features, eps, momentum: As for nn.BatchNorm2d.

    Shape:
        (N, C, ...) to the same shape.
    """

    def forward(self, input: Tensor) -> Tensor:
        """Normalize `input`."""
        return nn.functional.batch_norm(
            input, self.running_mean, self.running_var, self.weight, self.bias, eps=self.eps
        )


class GaussianNoise(nn.Module):
    """keras.layers.GaussianNoise: adds normal noise in training.

    Args:
        stddev: Standard deviation of the noise.

    Shape:
        (N, ...) to the same shape.
    """

    def __init__(self, stddev: float) -> None:
        """Store the standard deviation."""
        super().__init__()
        self.stddev = stddev

    def forward(self, input: Tensor) -> Tensor:
        """Add noise in training; return `input` unchanged otherwise."""
        return input + self.stddev * torch.randn_like(input) if self.training else input


class GaussianDropout(nn.Module):
    """keras.layers.GaussianDropout: multiplies by normal noise around 1 in training.

    Args:
        rate: p, for which the noise has variance p / (1 - p), as dropout with probability p.

    Shape:
        (N, ...) to the same shape.
    """

    def __init__(self, rate: float) -> None:
        """Store the rate."""
        super().__init__()
        self.rate = rate

    def forward(self, input: Tensor) -> Tensor:
        """Multiply by noise in training; return `input` unchanged otherwise."""
        if not self.training:
            return input
        stddev = math.sqrt(self.rate / (1 - self.rate))
        return input * (1 + stddev * torch.randn_like(input))


class StochasticDepth(nn.Module):
    """Drops whole samples in training and scales the others, as in ConvNeXt.

    Args:
        drop_path_rate: The probability with which each sample is dropped.

    Shape:
        (N, ...) to the same shape.
    """

    def __init__(self, drop_path_rate: float) -> None:
        """Store the probability."""
        super().__init__()
        self.drop_path_rate = drop_path_rate

    def forward(self, input: Tensor) -> Tensor:
        """Drop samples in training; return `input` unchanged otherwise."""
        if not self.training:
            return input
        keep = 1 - self.drop_path_rate
        shape = [input.shape[0]] + [1] * (input.dim() - 1)
        return input / keep * torch.rand(shape, device=input.device).add(keep).floor()
