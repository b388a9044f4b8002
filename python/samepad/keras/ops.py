"""Functions and modules for Keras's layers for which torch.nn has no layer."""

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn

from samepad._building import UnsupportedError


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


def softmax(input: Tensor, dims: tuple[int, ...], mask: Tensor | None = None) -> Tensor:
    """keras.layers.Softmax over several dimensions, or with a mask.

    Args:
        input: Of any shape, of a floating-point type.
        dims: The dimensions whose elements add up to 1.
        mask: Booleans, or numbers of which those above 0.5 are True; broadcast to the input. Where
            it is False, the result is 0.

    Returns:
        A tensor of the input's shape.
    """
    if mask is not None:
        mask = mask if mask.dtype == torch.bool else mask > 0.5
        input = torch.where(mask, input, -1e9)
    result = (input - input.logsumexp(dims, keepdim=True)).exp()
    return result if mask is None else torch.where(mask, result, 0.0)


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


def _cubic(distance: Tensor) -> Tensor:
    """Keys's cubic kernel with a = -0.5."""
    near = (1.5 * distance - 2.5) * distance * distance + 1
    far = ((-0.5 * distance + 2.5) * distance - 4) * distance + 2
    return torch.where(distance < 1, near, torch.where(distance < 2, far, 0.0))


def _lanczos(distance: Tensor, radius: int) -> Tensor:
    value = torch.sinc(distance) * torch.sinc(distance / radius)
    return torch.where(distance < radius, value, 0.0)


#: Kernels of interpolations that PyTorch computes otherwise or not at all.
_KERNELS: dict[str, Callable[[Tensor], Tensor]] = {
    "bicubic": _cubic,
    "lanczos3": lambda distance: _lanczos(distance, 3),
    "lanczos5": lambda distance: _lanczos(distance, 5),
}


def _interpolation(size: int, new: int, kernel: Callable[[Tensor], Tensor]) -> Tensor:
    """The matrix (new, size) of weights; those of pixels outside of an image go to the others."""
    where = (torch.arange(new, dtype=torch.float64) + 0.5) * (size / new) - 0.5
    weights = kernel((where[:, None] - torch.arange(size, dtype=torch.float64)).abs())
    return weights / weights.sum(1, keepdim=True)


def known_interpolation(interpolation: str) -> str:
    """Return the name of an interpolation that `resize` has.

    Raises:
        UnsupportedError: It has not.
    """
    if interpolation not in ("nearest", "bilinear", *_KERNELS):
        raise UnsupportedError(f"interpolation={interpolation!r}")
    return interpolation


def resize(input: Tensor, size: tuple[int, int], interpolation: str) -> Tensor:
    """Resize images as Keras does, without antialiasing.

    Args:
        input: Shape (N, C, H, W).
        size: The new height and width, in pixels.
        interpolation: "nearest", "bilinear", "bicubic" (with a = -0.5, where PyTorch has -0.75),
            "lanczos3" or "lanczos5".

    Returns:
        Shape (N, C, *size).
    """
    if interpolation == "nearest":
        return nn.functional.interpolate(input, size, mode="nearest-exact")
    if interpolation == "bilinear":
        return nn.functional.interpolate(input, size, mode="bilinear")
    rows, columns = (
        _interpolation(old, new, _KERNELS[interpolation]).to(input)
        for old, new in zip(input.shape[2:], size, strict=True)
    )
    return rows @ input @ columns.T


class Resizing(nn.Module):
    """keras.layers.Resizing, and UpSampling2D with factors, without antialiasing.

    Args:
        size: The new height and width, in pixels; None if there are factors.
        interpolation: As for `resize`.
        factors: What the height and the width are multiplied by.

    Shape:
        (N, C, H, W) to (N, C, *size).
    """

    def __init__(
        self,
        size: tuple[int, int] | None,
        interpolation: str,
        factors: tuple[int, int] | None = None,
    ) -> None:
        """Store the arguments."""
        super().__init__()
        self.size = size
        self.interpolation = interpolation
        self.factors = factors

    def forward(self, input: Tensor) -> Tensor:
        """Resize `input`."""
        size = self.size
        if isinstance(size, int):  # a writer of source may shorten two equal numbers
            size = (size, size)
        if size is None:
            factors = self.factors
            assert factors is not None
            down, across = (factors, factors) if isinstance(factors, int) else factors
            size = (input.shape[2] * down, input.shape[3] * across)
        return resize(input, size, self.interpolation)


class CenterCrop(nn.Module):
    """keras.layers.CenterCrop, for images that are not smaller than the result.

    Args:
        height, width: The size of the result, in pixels.

    Shape:
        (N, C, H, W) to (N, C, height, width).
    """

    def __init__(self, height: int, width: int) -> None:
        """Store the size."""
        super().__init__()
        self.height = height
        self.width = width

    def forward(self, input: Tensor) -> Tensor:
        """Crop `input`.

        Raises:
            ValueError: It is smaller than the result; Keras resizes it then.
        """
        height, width = input.shape[2:]
        if height < self.height or width < self.width:
            raise ValueError(
                f"CenterCrop to {self.height} x {self.width} takes larger images, but got "
                f"{height} x {width}"
            )
        top, left = (height - self.height) // 2, (width - self.width) // 2
        return input[:, :, top : top + self.height, left : left + self.width]


class OnlyInTraining(nn.Module):
    """Stands for a layer of Keras that changes its input in training only; here it never does.

    Args:
        layer: The name of Keras's class, such as RandomFlip.

    Shape:
        (N, ...) to the same shape.
    """

    def __init__(self, layer: str) -> None:
        """Store the name."""
        super().__init__()
        self.layer = layer

    def forward(self, input: Tensor) -> Tensor:
        """Return `input`."""
        return input

    def extra_repr(self) -> str:
        """Name the layer."""
        return self.layer


class Steps(nn.Module):
    """keras.layers.RNN: calls a cell at each step of a sequence.

    Args:
        cell: Takes a step, (N, ...), and the states; returns a tuple of its output and the new
            states.
        state_shapes: The shapes of the states, without the batch.
        return_sequences: Whether the outputs of all steps are returned, or that of the last one.
        go_backwards: Whether the steps are taken, and their outputs returned, from last to first.
        zero_output_for_mask: Whether the output of a step that is masked is 0; else it is that of
            the step before it.

    Shape:
        (N, T, ...) to a tuple of the output, (N, T, ...) or (N, ...), and the states.
    """

    def __init__(
        self,
        cell: nn.Module,
        state_shapes: tuple[tuple[int, ...], ...],
        return_sequences: bool = False,
        go_backwards: bool = False,
        zero_output_for_mask: bool = False,
    ) -> None:
        """Store the cell and the settings."""
        super().__init__()
        self.cell = cell
        self.state_shapes = state_shapes
        self.return_sequences = return_sequences
        self.go_backwards = go_backwards
        self.zero_output_for_mask = zero_output_for_mask

    def extra_repr(self) -> str:
        """Show the settings."""
        return f"{self.state_shapes}, {self.return_sequences}, {self.go_backwards}"

    def forward(
        self, input: Tensor, mask: Tensor | None = None, *states: Tensor
    ) -> tuple[Tensor, ...]:
        """Run the cell over `input`.

        Args:
            input: The sequence.
            mask: Booleans, (N, T): where they are False, the states stay as they are.
            *states: The states to start from; zeros by default.
        """
        current = list(states) or [
            input.new_zeros(input.shape[0], *shape) for shape in self.state_shapes
        ]
        masks = [None] * input.shape[1] if mask is None else list(mask.bool().unbind(1))
        steps = list(zip(input.unbind(1), masks, strict=True))
        outputs: list[Tensor] = []
        for step, seen in reversed(steps) if self.go_backwards else steps:
            output, *new = self.cell(step, *current)
            if seen is not None:
                idle = self.zero_output_for_mask or not outputs
                before = torch.zeros_like(output) if idle else outputs[-1]
                output = torch.where(_widened(seen, output), output, before)
                pairs = zip(new, current, strict=True)
                new = [torch.where(_widened(seen, old), state, old) for state, old in pairs]
            current = new
            outputs.append(output)
        return torch.stack(outputs, 1) if self.return_sequences else outputs[-1], *current


def _widened(mask: Tensor, other: Tensor) -> Tensor:
    return mask.reshape(-1, *[1] * (other.dim() - 1))


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


class EinsumDense(nn.Module):
    """keras.layers.EinsumDense, without its activation.

    Args:
        equation: As torch.einsum takes it, of the input and the weight.
        weight_shape: The shape of the weight.
        bias_shape: The shape of the bias, which is broadcast to the result; None for no bias.

    Shape:
        As the equation says.
    """

    def __init__(
        self, equation: str, weight_shape: tuple[int, ...], bias_shape: tuple[int, ...] | None
    ) -> None:
        """Make a weight and a bias of zeros."""
        super().__init__()
        self.equation = equation
        self.weight_shape = weight_shape
        self.bias_shape = bias_shape
        self.weight = nn.Parameter(torch.zeros(weight_shape))
        self.bias = None if bias_shape is None else nn.Parameter(torch.zeros(bias_shape))

    def forward(self, input: Tensor) -> Tensor:
        """Multiply `input` by the weight, and add the bias."""
        result = torch.einsum(self.equation, input, self.weight)
        return result if self.bias is None else result + self.bias

    def extra_repr(self) -> str:
        """Show the arguments."""
        return f"{self.equation!r}, {self.weight_shape}, {self.bias_shape}"


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
