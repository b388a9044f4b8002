"""Rules for normalizations: layers if the weights are constant, functions otherwise."""

import operator
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from samepad.normalization import LenientGroupNorm
from samepad.onnx import ops
from samepad.onnx.call import Call
from samepad.onnx.layers import loaded


def batch_normalization(c: Call) -> Any:
    """BatchNormalization, as in inference."""
    c.refuse(spatial=1)
    if c.get("training_mode", 0):
        c.b.note(f"{c.description}: computed as in inference, by the given mean and variance")
    # The other outputs are the mean and variance, which only training changes.
    return [_batch_normalized(c), *([c[3], c[4]] * 2)][: c.outputs]


def _batch_normalized(c: Call) -> Any:
    for position in range(1, 5):
        c.expect(position, 0, c.size(0, 1))
    epsilon, rank, weights = c.get("epsilon", 1e-5), c.rank(0), c.weights(1, 2, 3, 4)
    if weights is None or rank is None or not 2 <= rank <= 5:
        scale, bias, mean, variance = (c[i] for i in range(1, 5))
        return c.b.call(F.batch_norm, c[0], mean, variance, scale, bias, False, 0.0, epsilon)
    scale, bias, mean, variance = weights
    assert scale is not None
    made = getattr(nn, f"BatchNorm{max(rank - 2, 1)}d")
    momentum = round(1 - c.get("momentum", 0.9), 7)  # PyTorch's is the weight of new values
    module = loaded(
        made(scale.shape[0], eps=epsilon, momentum=momentum),
        weight=scale,
        bias=bias,
        running_mean=mean,
        running_var=variance,
    )
    return c.b.module(c.name, module, c[0])


def instance_normalization(c: Call) -> Any:
    """InstanceNormalization, also of one value per channel, which torch.nn's layers refuse."""
    for position in (1, 2):
        c.expect(position, 0, c.size(0, 1))
    epsilon, rank, weights = c.get("epsilon", 1e-5), c.rank(0), c.weights(1, 2)
    if weights is None:
        options = (None, None, True, 0.0, epsilon, False)
        return c.b.call(torch.instance_norm, c[0], c[1], c[2], *options)
    scale, bias = weights
    assert scale is not None
    channels = scale.shape[0]
    several = any(size is not None and size > 1 for size in (c.dims(0) or [])[2:])
    if several and rank is not None and 3 <= rank <= 5:
        module = getattr(nn, f"InstanceNorm{rank - 2}d")(channels, eps=epsilon, affine=True)
    else:
        module = LenientGroupNorm(channels, channels, epsilon)
    return c.b.module(c.name, loaded(module, weight=scale, bias=bias), c[0])


def group_normalization(c: Call) -> Any:
    """GroupNormalization of opset 21; that of opset 18 was withdrawn."""
    for position in (1, 2):
        c.expect(position, 0, c.size(0, 1))
    groups, epsilon, weights = c.get("num_groups"), c.get("epsilon", 1e-5), c.weights(1, 2)
    if weights is None:
        return c.b.call(torch.group_norm, c[0], groups, c[1], c[2], epsilon)
    scale, bias = weights
    assert scale is not None
    made = LenientGroupNorm if groups == scale.shape[0] else nn.GroupNorm
    module = made(groups, scale.shape[0], epsilon)
    return c.b.module(c.name, loaded(module, weight=scale, bias=bias), c[0])


def layer_normalization(c: Call) -> Any:
    """LayerNormalization over all dimensions from `axis` on."""
    _expect_broadcast(c, 1)
    _expect_broadcast(c, 2)
    axis, epsilon, rank, weights = c.get("axis", -1), c.get("epsilon", 1e-5), c.rank(0), None
    if c.outputs == 1:
        weights = c.weights(1, 2)
    dimensions = -axis if axis < 0 else rank and rank - axis
    if weights is None or not _is_affine(c, dimensions, *weights):
        results = c.b.call(ops.layer_norm, *(c[i] for i in range(3)), axis, epsilon)
        return [c.b.call(operator.getitem, results, i) for i in range(c.outputs)]
    scale, bias = weights
    assert scale is not None
    module = nn.LayerNorm(tuple(scale.shape), eps=epsilon, bias=bias is not None)
    return c.b.module(c.name, loaded(module, weight=scale, bias=bias), c[0])


def _expect_broadcast(c: Call, position: int) -> None:
    """Refuse weights that do not broadcast to the input.

    Raises:
        UnsupportedError: A size of the weights is neither 1 nor the input's.
    """
    for dim in range(1, 1 + (c.rank(position) or 0)):
        if c.size(position, -dim) != 1:
            c.expect(0, -dim, c.size(position, -dim))


def _is_affine(c: Call, dimensions: Any, scale: Tensor | None, bias: Tensor | None) -> bool:
    """Whether the weights fit nn.LayerNorm, whose weights, unlike ONNX's, do not broadcast."""
    if scale is None or scale.dim() != dimensions:
        return False
    normalized = (c.dims(0) or [None] * dimensions)[-dimensions:]
    same = all(n in (None, size) for n, size in zip(normalized, scale.shape, strict=True))
    return same and (bias is None or bias.shape == scale.shape)


def rms_normalization(c: Call) -> Any:
    """RMSNormalization over all dimensions from `axis` on."""
    _expect_broadcast(c, 1)
    return c.b.call(ops.rms_norm, c[0], c[1], c.get("axis", -1), c.get("epsilon", 1e-5))


def mean_variance_normalization(c: Call) -> Any:
    """MeanVarianceNormalization over `axes`."""
    return c.b.call(ops.standardize, c[0], list(c.get("axes", [0, 2, 3])))


def lp_normalization(c: Call) -> Any:
    """LpNormalization: a vector of zeros stays zeros."""
    return c.b.call(F.normalize, c[0], float(c.get("p", 2)), c.get("axis", -1), 1e-30)


def local_response_normalization(c: Call) -> Any:
    """LRN: becomes nn.LocalResponseNorm."""
    size = c.get("size")
    module = nn.LocalResponseNorm(
        size, c.get("alpha", 1e-4), c.get("beta", 0.75), c.get("bias", 1.0)
    )
    if size % 2:
        return c.b.module(c.name, module, c[0])
    # If `size` is even, ONNX sums over one channel more after the middle one, PyTorch over one more
    # before it. Flipping the channels before and after swaps the two.
    mirrored = c.b.module(c.name, module, c.b.call(torch.flip, c[0], (1,)))
    return c.b.call(torch.flip, mirrored, (1,))
