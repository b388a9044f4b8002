"""Explains which plan a convolution will run."""

from dataclasses import dataclass

from torch import Tensor, nn

from samepad import _C
from samepad.inference.modules import _FusedConvNd
from samepad.modules.conv import _SamePadConvNd

__all__ = ["Explanation", "explain"]


@dataclass(frozen=True)
class Explanation:
    """Which plan a convolution runs for one input, and why. `print` it for a summary."""

    #: The plan's name; `samepad.backends.plans` says what each of them does.
    plan: str
    #: Why that plan was chosen.
    reason: str
    #: Elements added before and after, for each spatial dimension.
    pads: tuple[tuple[int, int], ...]
    #: Size of the output in all dimensions.
    output_size: tuple[int, ...]
    #: Bytes of the input or output that are copied in addition to what the convolution itself reads
    #: and writes; 2^63 - 1 where there are more.
    bytes_copied: int
    #: Multiplications and additions, including those with padding, as torch's FlopCounterMode
    #: counts them; 2^63 - 1 where there are more.
    flops: int

    def __str__(self) -> str:
        """Three lines: the plan and the reason, the sizes, and the work."""
        pads = ", ".join(f"({before}, {after})" for before, after in self.pads)
        return (
            f"{self.plan}: {self.reason}\n"
            f"pads {pads}; output {tuple(self.output_size)}\n"
            f"{self.bytes_copied:,} bytes copied, {self.flops:,} FLOPs"
        )


def explain(layer: nn.Module, input: Tensor) -> Explanation:
    """Say which plan a SAME convolution runs for an input, and why.

    Nothing is computed, except that `samepad.backends.benchmark = True` makes plans be measured
    that have not been measured for this input's size. As in a call of the layer, it matters whether
    gradients are enabled. autocast, torch.compile and transforms of torch.func are not taken into
    account.

    Args:
        layer: A SamePadConv1d, 2d or 3d, a convolution of samepad.nn, or a FusedConv1d, 2d or 3d.
        input: An input of the layer, on any device, with at least one element.

    Returns:
        An `Explanation`.

    Raises:
        TypeError: `layer` is not such a convolution, or `input` is not a tensor.
        RuntimeError: The layer would raise an error for the input.

    Example:
        >>> print(samepad.explain(SamePadConv2d(3, 32, 3, 2), torch.randn(1, 3, 224, 224)))
        dense: there are kernels that pad on the way
        pads (0, 1), (0, 1); output (1, 32, 112, 112)
        0 bytes copied, 21,676,032 FLOPs
    """
    if not isinstance(layer, (_SamePadConvNd, _FusedConvNd)):
        raise TypeError(
            f"layer must be a convolution of samepad, not {type(layer).__name__}: samepad.convert "
            "makes one of nn.Conv*d"
        )
    explained = _C._explain_conv(
        input,
        layer.weight,
        layer.bias,
        layer.stride,
        layer.padding,
        layer.dilation,
        layer.groups,
        "zeros" if isinstance(layer, _FusedConvNd) else layer.padding_mode,
        isinstance(layer, _FusedConvNd),
    )
    return Explanation(*explained)
