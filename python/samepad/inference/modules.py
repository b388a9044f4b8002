"""Convolutions that end with an addition and an activation, for inference."""

import sys
import textwrap
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.conv import _ConvNd

from samepad import _C, functional
from samepad._arguments import flat_padding, mode_text, modes_of
from samepad._replacing import has_own_computation
from samepad.functional import _traced
from samepad.inference.activations import ACTIVATIONS, checked, recognize
from samepad.inference.folding import folded_tensors, scale_and_shift
from samepad.modules.conv import SamePadConv1d, SamePadConv2d, SamePadConv3d
from samepad.modules.padded import kept_padding
from samepad.typing import IntOrTuple, Padding

__all__ = ["FusedConv1d", "FusedConv2d", "FusedConv3d"]

#: Where a residual can be added: not at all, before the activation or after it.
_RESIDUALS = (None, "before", "after")

Fused = TypeVar("Fused", bound="_FusedConvNd")


def _operator_padding(padding: Any, dimensions: int) -> tuple[str | None, list[int]]:
    """Return a layer's padding as the operator takes it: a mode, or None and amounts.

    The amounts are before, after, before, after ... for each dimension. They are zeros beside a
    mode, because AOTInductor can't pass an empty list.
    """
    if modes_of(padding):
        mode = None if padding == "valid" else mode_text("padding", padding)
        return mode, [0] * (2 * dimensions)
    flat = flat_padding(padding, dimensions)
    if len(flat) == 2 * dimensions and isinstance(padding[0], (tuple, list)):
        return None, list(flat)
    return None, [amount for amount in flat * (dimensions // len(flat)) for _ in range(2)]


def channels_last_format(dimensions: int) -> torch.memory_format | None:
    """Return the format with the channels last for this number of spatial dimensions, if any."""
    return {2: torch.channels_last, 3: torch.channels_last_3d}.get(dimensions)


def convolution_obstacle(conv: object) -> str | None:
    """Return why a module is not a plain convolution that can be fused, or None if it is one."""
    if not isinstance(conv, _ConvNd):
        return f"is no convolution, but {type(conv).__name__}"
    if conv.transposed:
        return "is transposed"
    if conv.padding_mode != "zeros":
        return f"has padding_mode={conv.padding_mode!r}, expected 'zeros'"
    if has_own_computation(conv):
        return f"is {type(conv).__name__}, whose forward may compute more than a convolution"
    if not conv.weight.is_floating_point():
        return f"is of {conv.weight.dtype}, expected floating point"
    return None


def norm_obstacle(norm: object) -> str | None:
    """Return why a module is not a plain normalization that can be folded, or None if it is one."""
    if not isinstance(norm, _BatchNorm):
        return f"is no batch normalization, but {type(norm).__name__}"
    if norm.running_mean is None:
        return "has no running statistics"
    if norm.training:
        return "is in training mode"
    if has_own_computation(norm):
        return f"is {type(norm).__name__}, whose forward may compute more than a normalization"
    return None


def _named_activation(activation: Any, parameters: Any) -> tuple[str, tuple[float, ...]]:
    """Return the name and parameters of an activation that is given by its name or as a module."""
    if not isinstance(activation, nn.Module):
        return activation, checked(activation, parameters)
    found = recognize(activation)
    if not found:
        raise ValueError(f"activation {activation} is none that can be fused")
    return found


def _state(weight: Any) -> tuple[int, int]:
    """Return which tensor this is, and how often it has been changed in place."""
    # PyTorch does not count the changes of tensors that were made in torch.inference_mode().
    return id(weight), -1 if weight.is_inference() else weight._version


class _FusedConvNd(nn.Module):
    """What the classes for one, two and three dimensions share."""

    _dimensions: int
    weight: Tensor
    bias: Tensor | None
    #: The weight as the kernels read it fastest on this machine; made from `weight`, not saved.
    packed: Tensor | None

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: IntOrTuple,
        stride: IntOrTuple = 1,
        padding: Padding = "same",
        dilation: IntOrTuple = 1,
        groups: int = 1,
        bias: bool = True,
        activation: str = "identity",
        activation_parameters: tuple[float, ...] = (),
        residual: str | None = None,
        device: torch.device | str | int | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        cls = (SamePadConv1d, SamePadConv2d, SamePadConv3d)[self._dimensions - 1]
        conv = cls(
            in_channels,
            out_channels,
            kernel_size,
            stride,
            padding,
            dilation,
            groups,
            bias,
            device=device,
            dtype=dtype,
        )
        super().__init__()
        self._take(conv, conv.weight.detach(), None if not bias else conv.bias.detach())  # type: ignore[union-attr]
        self._end_with(activation, checked(activation, activation_parameters), residual)

    def _take(self, conv: _ConvNd, weight: Tensor, bias: Tensor | None) -> None:
        """Take a convolution's settings, with this weight and bias."""
        self.in_channels, self.out_channels = conv.in_channels, conv.out_channels
        self.kernel_size, self.stride = conv.kernel_size, conv.stride
        self.padding, self.dilation, self.groups = conv.padding, conv.dilation, conv.groups
        self._mode, self._pads = _operator_padding(conv.padding, self._dimensions)
        last = channels_last_format(self._dimensions)
        self._channels_last = (
            last is not None
            and weight.is_contiguous(memory_format=last)
            and not weight.is_contiguous()
        )
        self.register_buffer("weight", weight)
        self.register_buffer("bias", bias)
        self.register_buffer("packed", None, persistent=False)
        self.eval()

    def _end_with(self, activation: str, parameters: tuple[float, ...], residual: Any) -> None:
        if residual not in _RESIDUALS:
            raise ValueError(f"residual must be None, 'before' or 'after', not {residual!r}")
        self.activation, self.activation_parameters, self.residual = (
            activation,
            parameters,
            residual,
        )
        self._pack()

    @classmethod
    def from_conv(
        cls: type[Fused],
        conv: nn.Module,
        norm: nn.Module | None = None,
        activation: str | nn.Module = "identity",
        activation_parameters: tuple[float, ...] = (),
        residual: str | None = None,
        padding: Padding | None = None,
    ) -> Fused:
        """Make the module that computes what a convolution and the layers after it compute.

        Args:
            conv: nn.Conv*d or SamePadConv*d, with padding_mode "zeros".
            norm: nn.BatchNorm*d in eval mode with running statistics, or None. It is folded into
                the weight and bias, in float64.
            activation: The name of an activation, or a module that computes one.
            activation_parameters: Its parameters, where it is given by its name.
            residual: Where the residual is added: see the class.
            padding: Replaces the convolution's padding, if not None.

        Returns:
            The new module. Without a `norm`, it shares the memory of the convolution's parameters.

        Raises:
            TypeError: `conv` or `norm` is of another class; `activation_parameters` are no numbers.
            ValueError: `conv` has another number of dimensions or is one that can't be fused, the
                normalization has no running statistics or is in training mode, or the activation
                or residual is not known.
        """
        for name, module, obstacle in (
            ("conv", conv, convolution_obstacle(conv)),
            ("norm", norm, None if norm is None else norm_obstacle(norm)),
        ):
            if obstacle:
                expected = _ConvNd if name == "conv" else _BatchNorm
                error = ValueError if isinstance(module, expected) else TypeError
                raise error(f"{name} {obstacle}")
        assert isinstance(conv, _ConvNd)
        if len(conv.kernel_size) != cls._dimensions:
            raise ValueError(
                f"conv has {len(conv.kernel_size)} spatial dimensions, but {cls.__name__} has "
                f"{cls._dimensions}"
            )
        name, values = _named_activation(activation, activation_parameters)
        new = cls.__new__(cls)
        nn.Module.__init__(new)
        new._take(conv, *folded_tensors(conv, norm))  # type: ignore[arg-type]
        if padding is not None:
            new.padding = kept_padding(padding, cls._dimensions, is_convolution=True)
            new._mode, new._pads = _operator_padding(new.padding, cls._dimensions)
        new._end_with(name, values, residual)
        return new

    @classmethod
    def from_norm(
        cls: type[Fused],
        norm: nn.Module,
        activation: str | nn.Module = "identity",
        activation_parameters: tuple[float, ...] = (),
        residual: str | None = None,
    ) -> Fused:
        """Make the module that computes what a normalization and an activation after it compute.

        It is a convolution of single pixels with one filter per channel.

        Args:
            norm: nn.BatchNorm*d in eval mode with running statistics.
            activation: As in `from_conv`.
            activation_parameters: As in `from_conv`.
            residual: Where the residual is added: see the class.

        Raises:
            TypeError: `norm` is of another class; `activation_parameters` are not numbers.
            ValueError: The normalization has no running statistics or is in training mode, or the
                activation or residual is not known.
        """
        if obstacle := norm_obstacle(norm):
            error = ValueError if isinstance(norm, _BatchNorm) else TypeError
            raise error(f"norm {obstacle}")
        assert isinstance(norm, _BatchNorm)
        assert norm.running_mean is not None
        scale, shift = scale_and_shift(norm)
        dtype, channels = norm.running_mean.dtype, norm.num_features
        name, values = _named_activation(activation, activation_parameters)
        new = cls(
            channels,
            channels,
            1,
            padding=0,
            groups=channels,
            activation=name,
            activation_parameters=values,
            residual=residual,
            device=scale.device,
            dtype=dtype,
        )
        new.weight = scale.view(-1, *[1] * (cls._dimensions + 1)).to(dtype)
        new.bias = shift.to(dtype)
        new._pack()
        return new

    def forward(self, input: Tensor, residual: Tensor | None = None) -> Tensor:
        """Convolve, add the residual and apply the activation.

        Args:
            input: (N, in_channels, sizes...).
            residual: What is added, of the result's shape; None exactly if `self.residual` is.

        Raises:
            TypeError: There is a residual where none is added, or none where one is.
            RuntimeError: A shape, type or device does not fit, or a gradient is asked for.
        """
        if (residual is None) is not (self.residual is None):
            raise TypeError(
                f"{type(self).__name__} with residual={self.residual!r} was called "
                f"{'without' if residual is None else 'with'} a residual"
            )
        function = _C.fused_conv
        # Looking buffers up as attributes takes nn.Module longer.
        tensors = self._buffers
        if _traced(input, residual):
            if "torch.onnx" in sys.modules and torch.onnx.is_in_onnx_export():
                return self._in_steps(input, residual)
            function = torch.ops.samepad.fused_conv
        elif tensors["packed"] is not None and _state(tensors["weight"]) != self._packed_from:
            self._pack()
        return function(
            input,
            tensors["weight"],  # type: ignore[arg-type]
            tensors["bias"],
            residual,
            tensors["packed"],
            self._mode,
            self._pads,
            self.stride,
            self.dilation,
            self.groups,
            self.activation,
            self.activation_parameters,
            self.residual == "after",
        )

    def _in_steps(self, input: Tensor, residual: Tensor | None) -> Tensor:
        """Compute the same by operators that ONNX has."""
        convolve: Any = getattr(functional, f"conv{self._dimensions}d")
        result: Tensor = convolve(
            input, self.weight, self.bias, self.stride, self.padding, self.dilation, self.groups
        )
        if residual is not None and self.residual == "before":
            result = result + residual
        result = ACTIVATIONS[self.activation].function(result, *self.activation_parameters)
        return result if residual is None or self.residual == "before" else result + residual

    def train(self: Fused, mode: bool = True) -> Fused:
        """Stay in eval mode.

        Raises:
            RuntimeError: `mode` is True.
        """
        if mode:
            raise RuntimeError(
                f"{type(self).__name__} is for inference and can't be put in training mode: train "
                "the model that it was made from"
            )
        return super().train(False)

    def _pack(self) -> None:
        """Make the packed weight anew: for this machine, and for the weight's present values."""
        weight = self.weight
        # Only tensors with data can be packed; compilers and exporters have others.
        usable = weight.device.type == "cpu" and not _C.is_watched(weight)
        self.packed = _C.packed_weight(weight, self.groups, self._channels_last) if usable else None
        self._packed_from = _state(weight)

    def _apply(self: Fused, fn: Any, recurse: bool = True) -> Fused:
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
        if last := channels_last_format(self._dimensions):
            # Weights of one pixel have both layouts at once. A tensor that has not tells which one
            # is wanted.
            now = last if self._channels_last else torch.contiguous_format
            sample = torch.empty([2] * (self._dimensions + 2)).to(memory_format=now)
            self._channels_last = fn(sample).is_contiguous(memory_format=last)
        self._pack()
        return self

    def _load_from_state_dict(self, *args: Any, **kwargs: Any) -> None:
        super()._load_from_state_dict(*args, **kwargs)
        self._pack()

    def __getstate__(self) -> dict[str, Any]:
        # Another machine may have another instruction set, for which weights are packed otherwise.
        return {**vars(self), "_buffers": {**self._buffers, "packed": None}}

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)  # type: ignore[no-untyped-call]
        self._pack()

    def extra_repr(self) -> str:
        """Show what was fused."""
        shown = [str(self.in_channels), str(self.out_channels)]
        shown += [f"kernel_size={self.kernel_size}", f"stride={self.stride}"]
        shown.append(f"padding={self.padding}")
        if any(step != 1 for step in self.dilation):
            shown.append(f"dilation={self.dilation}")
        if self.groups != 1:
            shown.append(f"groups={self.groups}")
        if self.bias is None:
            shown.append("bias=False")
        steps = ["convolution"]
        if self.activation != "identity":
            values = f"{self.activation_parameters}" if self.activation_parameters else ""
            steps.append(f"{self.activation}{values}")
        if self.residual:
            steps.insert(1 if self.residual == "before" else len(steps), "residual")
        shown.append(" + ".join(steps))
        return ", ".join(shown)


_DOC = """Convolution, residual and activation in one pass, for inference; made of nn.Conv{d}d.

    The result is activation(convolution + residual), or activation(convolution) + residual.
    On CPUs, in float32 and float64, the bias, the residual and the activation are computed while
    the sums of the convolution lie in the cache, and the weight is kept in the order in which the
    kernels read it. Elsewhere the same is computed step by step.

    `weight` and `bias` are buffers: they are frozen. They have nn.Conv{d}d's shapes and names, so
    that its state_dict can be loaded. Changes that autograd does not see either, through `.data` or
    NumPy, leave the reordered weight as it was: use load_state_dict, or change `weight` itself.
    There are no gradients and there is no training mode.

    Args:
        in_channels: Channels of the input.
        out_channels: Channels of the output.
        kernel_size: Kernel size, an int or {d} ints.
        stride: Stride, an int or {d} ints.
        padding: As in SamePadConv{d}d: a mode, one mode per dimension, an int or {d} ints for both
            sides, or {d} (before, after) pairs; what is added is zeros.
        dilation: Spacing of the kernel's elements, an int or {d} ints.
        groups: Number of groups; divides both channel counts.
        bias: Whether there is a bias.
        activation: {activations}.
        activation_parameters: (low, high) of "clamp", (slope,) of "leaky_relu", (alpha,) of "elu";
            the others have none.
        residual: Where the second argument of a call is added: "before" the activation or "after"
            it; None if there is no second argument.
        device: Device of the weight and bias.
        dtype: Type of the weight and bias.

    Shape:
        (N, in_channels, {sizes}) and, with `residual`, (N, out_channels, {outs}) to
        (N, out_channels, {outs}).

    Raises:
        TypeError: An argument has the wrong type.
        ValueError: The activation is not known or has another number of parameters; residual is
            none of these; or as SamePadConv{d}d.
        RuntimeError: In a call, a shape, type or device does not fit, or a gradient is asked for;
            for train(True); or as SamePadConv{d}d.

    Example:
        >>> layer = FusedConv{d}d(3, 8, 3, stride=2, activation="silu")
        >>> layer(torch.randn(1, 3{example_in})).shape
        torch.Size([1, 8{example_out}])
    """


def _doc(dimensions: int) -> str:
    *first, last = (f'"{name}"' for name in ACTIVATIONS)
    names = textwrap.fill(
        f"{', '.join(first)} or {last}",
        width=100,
        initial_indent=" " * len("        activation: "),
        subsequent_indent=" " * 12,
    )
    return _DOC.format(
        d=dimensions,
        activations=names.strip(),
        sizes=("L", "H, W", "D, H, W")[dimensions - 1],
        outs=("l", "h, w", "d, h, w")[dimensions - 1],
        example_in=", 15" * dimensions,
        example_out=", 8" * dimensions,
    )


class FusedConv1d(_FusedConvNd):
    __doc__ = _doc(1)
    _dimensions = 1


class FusedConv2d(_FusedConvNd):
    __doc__ = _doc(2)
    _dimensions = 2


class FusedConv3d(_FusedConvNd):
    __doc__ = _doc(3)
    _dimensions = 3


#: By number of spatial dimensions.
FUSED = {cls._dimensions: cls for cls in (FusedConv1d, FusedConv2d, FusedConv3d)}
