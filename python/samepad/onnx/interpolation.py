"""Resize in the cases for which torch.nn.functional.interpolate computes something else."""

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor


def resize(
    input: Tensor,
    axes: list[int],
    sizes: Any,
    scales: Any,
    mode: str = "nearest",
    transform: str = "half_pixel",
    rounding: str = "round_prefer_floor",
    cubic: float = -0.75,
    exclude_outside: bool = False,
    policy: str = "stretch",
    roi: Any = None,
    extrapolation: float = 0.0,
    antialias: bool = False,
) -> Tensor:
    """Resize a tensor along several axes, one after the other.

    Args:
        input: A tensor of any shape.
        axes: The dimensions to resize.
        sizes: The output's sizes along `axes`; None if `scales` say them.
        scales: The factors by which the sizes change; None if `sizes` say them.
        mode: "nearest", "linear" or "cubic".
        transform: ONNX's coordinate_transformation_mode.
        rounding: ONNX's nearest_mode; or "by_scale", which rounds up along axes that shrink and
            down along the others.
        cubic: ONNX's cubic_coeff_a.
        exclude_outside: Whether positions beyond the edge get no weight; otherwise they have the
            value at the edge.
        policy: ONNX's keep_aspect_ratio_policy.
        roi: For the transform "tf_crop_and_resize": the starts along the axes, then the ends.
        extrapolation: For the same transform: the value of outputs beyond the edges.
        antialias: Whether outputs along axes that shrink are averages over more elements.

    Returns:
        A tensor of the input's type, whose sizes differ from the input's only along `axes`.
    """
    if policy != "stretch":
        factors = [m / input.shape[dim] for m, dim in zip(sizes, axes, strict=True)]
        factor = min(factors) if policy == "not_larger" else max(factors)
        scales, sizes = [factor] * len(axes), None
    result, outside = input, None
    exact = input.dtype if input.dtype == torch.float64 else torch.float32
    for i, dim in enumerate(axes):
        n = input.shape[dim]
        scale = sizes[i] / n if scales is None else scales[i]
        rounded = policy != "stretch"
        m = math.floor(n * scale + (0.5 if rounded else 0)) if sizes is None else sizes[i]
        shape = [-1 if d == dim else 1 for d in range(input.dim())]
        ends = (0.0, 0.0) if roi is None else (roi[i], roi[len(axes) + i])
        where = _positions(
            torch.arange(m, dtype=exact, device=input.device), n, m, scale, transform, ends
        )
        if transform == "tf_crop_and_resize":
            beyond = ((where < 0) | (where > n - 1)).reshape(shape)
            outside = beyond if outside is None else outside | beyond
        if mode == "nearest":
            rounded_by = ("ceil" if scale < 1 else "floor") if rounding == "by_scale" else rounding
            nearest = _ROUNDED[rounded_by](where).long().clamp(0, n - 1)
            result = result.index_select(dim, nearest)
            continue
        total: Any = 0
        narrow = min(scale, 1.0) if antialias else 1.0
        for index, weight in _taps(where, n, mode, cubic, exclude_outside, narrow):
            part = result.index_select(dim, index.clamp(0, n - 1))
            total = total + part * weight.reshape(shape).to(input.dtype)
        result = total
    return result if outside is None else result.masked_fill(outside, extrapolation)


def _positions(
    o: Tensor, n: int, m: int, scale: float, transform: str, ends: tuple[float, float]
) -> Tensor:
    """Return the position in the input, of size n, from which each of m outputs is taken."""
    if transform == "asymmetric":
        return o / scale
    if transform == "align_corners":
        return o * (n - 1) / (m - 1) if m > 1 else torch.zeros_like(o)
    if transform == "tf_half_pixel_for_nn":
        return (o + 0.5) / scale
    if transform == "tf_crop_and_resize":
        start, end = ends
        if m > 1:
            return start * (n - 1) + o * (end - start) * (n - 1) / (m - 1)
        return torch.full_like(o, 0.5 * (start + end) * (n - 1))
    where = (o + 0.5) / scale - 0.5
    if transform == "pytorch_half_pixel" and m <= 1:
        return torch.zeros_like(where)
    if transform == "half_pixel_symmetric":
        return where + n / 2 * (1 - m / (n * scale))
    return where


_ROUNDED: dict[str, Callable[[Tensor], Tensor]] = {
    "round_prefer_floor": lambda where: (where - 0.5).ceil(),
    "round_prefer_ceil": lambda where: (where + 0.5).floor(),
    "floor": torch.floor,
    "ceil": torch.ceil,
}


def _taps(
    where: Tensor, n: int, mode: str, cubic: float, exclude_outside: bool, narrow: float
) -> list[tuple[Tensor, Tensor]]:
    """Return (indices, weights) of the input's elements whose weighted sum each output is.

    With `narrow` below 1, distances are multiplied by it, so that there are more such elements.
    """
    first = where.floor()
    t = where - first
    if narrow < 1:
        reach = 1 if mode == "linear" else 2
        begin = math.floor(-reach / narrow) + 1
        offsets = list(range(begin, 2 - begin))
        distances = [((offset - t) * narrow).abs() for offset in offsets]
        weights = [_kernel(distance, mode, cubic) for distance in distances]
        total = sum(weights)
        weights = [weight / total for weight in weights]
    elif mode == "linear":
        offsets, weights = [0, 1], [1 - t, t]
    else:
        offsets = [-1, 0, 1, 2]
        near = [_cubic(d, cubic)[0] for d in (t, 1 - t)]
        far = [_cubic(d, cubic)[1] for d in (1 + t, 2 - t)]
        weights = [far[0], near[0], near[1], far[1]]
    indices = [(first + offset).long() for offset in offsets]
    if exclude_outside:
        weights = [w * ((i >= 0) & (i < n)) for i, w in zip(indices, weights, strict=True)]
        total = sum(weights)
        weights = [weight / total for weight in weights]
    return list(zip(indices, weights, strict=True))


def _kernel(distance: Tensor, mode: str, cubic: float) -> Tensor:
    """Return the weight of an element at a distance of at least 0."""
    if mode == "linear":
        return (1 - distance).clamp(min=0)
    near, far = _cubic(distance, cubic)
    return torch.where(distance <= 1, near, torch.where(distance < 2, far, torch.zeros_like(far)))


def _cubic(distance: Tensor, cubic: float) -> tuple[Tensor, Tensor]:
    """Return the cubic weights for a distance of at most 1, and for one between 1 and 2."""
    near = ((cubic + 2) * distance - (cubic + 3)) * distance * distance + 1
    far = ((cubic * distance - 5 * cubic) * distance + 8 * cubic) * distance - 4 * cubic
    return near, far
