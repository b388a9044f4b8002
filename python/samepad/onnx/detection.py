"""Functions for ONNX's operators of object detectors."""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from samepad.onnx.shapes import number


def _corners(boxes: Tensor, centered: bool) -> Tensor:
    """Return the lower and the upper corner of boxes, (..., 4)."""
    if centered:
        center, half = boxes[..., [1, 0]], boxes[..., [3, 2]] / 2
        return torch.cat([center - half, center + half], -1)
    one, other = boxes[..., :2], boxes[..., 2:]
    return torch.cat([torch.minimum(one, other), torch.maximum(one, other)], -1)


def non_max_suppression(
    boxes: Tensor,
    scores: Tensor,
    most: Any,
    overlap: Any,
    least_score: Any,
    centered: bool,
) -> Tensor:
    """NonMaxSuppression: the boxes with the highest scores, without those that overlap better ones.

    Args:
        boxes: (N, boxes, 4): two opposite corners (y, x), or center and size (x, y, width, height).
        scores: (N, classes, boxes).
        most: The most boxes for each class; 0 or None for none.
        overlap: Boxes whose intersection is more than this part of their union with a better box
            are left out; 0 if None.
        least_score: Boxes with lower or equal scores are left out; None for no limit.
        centered: Whether boxes are center and size.

    Returns:
        int64, (selected boxes, 3): the positions in the batch, of the class and of the box.
    """
    limit = 0 if most is None else int(number(most))
    threshold = 0.0 if overlap is None else number(overlap)
    found = []
    for n, (corners, classes) in enumerate(zip(_corners(boxes, centered), scores, strict=True)):
        for k, values in enumerate(classes):
            kept = _selected(corners, values, limit, threshold, least_score)
            found.append(F.pad(F.pad(kept[:, None], (1, 0), value=k), (1, 0), value=n))
    return torch.cat(found) if found else torch.zeros(0, 3, dtype=torch.int64)


def _selected(
    corners: Tensor, scores: Tensor, limit: int, threshold: float, least_score: Any
) -> Tensor:
    """Return the positions of the boxes that are kept for one class, the best one first."""
    order = scores.argsort(descending=True, stable=True)
    if least_score is not None:
        order = order[scores[order] > number(least_score)]
    kept: list[Tensor] = []
    while len(order) and len(kept) < limit:
        kept.append(order[0])
        if len(kept) < limit:
            rest = order[1:]
            order = rest[_overlap(corners[order[0]], corners[rest]) <= threshold]
    return torch.stack(kept) if kept else order[:0]


def _overlap(box: Tensor, others: Tensor) -> Tensor:
    """Return the intersection over union of one box with others, of which each is (4,)."""
    low, high = torch.maximum(box[:2], others[:, :2]), torch.minimum(box[2:], others[:, 2:])
    common = (high - low).clamp(min=0).prod(-1)
    areas = (others[:, 2:] - others[:, :2]).prod(-1) + (box[2:] - box[:2]).prod()
    union = areas - common
    return torch.where(union > 0, common / union, torch.zeros_like(union))


def roi_align(
    input: Tensor,
    regions: Tensor,
    batch: Tensor,
    maximum: bool,
    sizes: tuple[int, int],
    samples: int,
    scale: float,
    half_pixel: bool,
) -> Tensor:
    """RoiAlign: the average or maximum of interpolated values in each cell of regions.

    Args:
        input: (N, C, H, W).
        regions: (R, 4): (x1, y1, x2, y2).
        batch: (R,): the position in the batch that each region belongs to.
        maximum: Whether to return the maximum, not the average.
        sizes: The numbers of cells along the height and the width.
        samples: The number of samples along each side of a cell; 0 for one for each pixel.
        scale: Factor from the regions' coordinates to the input's.
        half_pixel: Whether the regions' coordinates are of corners of pixels, not of their centers.

    Returns:
        (R, C, *sizes).
    """
    corners = regions * scale - (0.5 if half_pixel else 0.0)
    start, extent = corners[:, [1, 0]], corners[:, [3, 2]] - corners[:, [1, 0]]
    extent = extent if half_pixel else extent.clamp(min=1)
    axes = []
    for axis, (count, size) in enumerate(zip(sizes, input.shape[2:], strict=True)):
        cell = (extent[:, axis] / count)[:, None, None]
        steps = torch.full_like(cell, samples) if samples else cell.ceil()
        most = samples or max(int(steps.max()) if steps.numel() else 0, 1)
        inside = torch.arange(most, device=input.device)
        cells = torch.arange(count, device=input.device)[:, None]
        where = start[:, axis, None, None] + cell * (cells + (inside + 0.5) / steps.clamp(min=1))
        axes.append((*_neighbours(where, size), inside < steps, steps))
    (low_y, part_y, use_y, steps_y), (low_x, part_x, use_x, steps_x) = axes
    used = use_y[:, :, :, None, None] & use_x[:, None, None]  # (R, 1, samples, 1, samples)
    corner_values = []
    for high_y in (0, 1):
        for high_x in (0, 1):
            y = (low_y + high_y).clamp(max=input.shape[2] - 1)[:, :, :, None, None]
            x = (low_x + high_x).clamp(max=input.shape[3] - 1)[:, None, None]
            weight = part_y[high_y][:, :, :, None, None] * part_x[high_x][:, None, None]
            values = input.permute(0, 2, 3, 1)[batch[:, None, None, None, None], y, x]
            corner_values.append(values * weight[..., None])
    if maximum:  # as in ONNX Runtime, that of the weighted neighbours
        found = torch.stack(corner_values).amax(0)
        lowest = torch.full_like(found, float("-inf"))
        result = torch.where(used[..., None], found, lowest).amax((2, 4))
        result = torch.where(result == float("-inf"), torch.zeros_like(result), result)
    else:
        total = (sum(corner_values) * used[..., None]).sum((2, 4))
        result = total / (steps_y * steps_x).clamp(min=1)[..., None]
    return result.permute(0, 3, 1, 2)


def _neighbours(where: Tensor, size: int) -> tuple[Tensor, tuple[Tensor, Tensor]]:
    """Return the lower neighbours of positions, and the weights of both neighbours.

    Both weights are 0 more than one element outside of the input.
    """
    valid = (where >= -1) & (where <= size)
    low = where.clamp(0, size - 1).floor()
    upper = torch.where(valid, where.clamp(0, size - 1) - low, torch.zeros_like(where))
    return low.long(), (torch.where(valid, 1 - upper, torch.zeros_like(where)), upper)


def deform_conv(
    input: Tensor,
    weight: Tensor,
    offset: Tensor,
    bias: Tensor | None,
    mask: Tensor | None,
    stride: tuple[int, int],
    dilation: tuple[int, int],
    padding: tuple[int, int],
    groups: int,
    offset_groups: int,
) -> Tensor:
    """DeformConv: a convolution whose kernel's elements are moved by computed offsets.

    Args:
        input: (N, C, H, W).
        weight: (filters, C / groups, kernel height, kernel width).
        offset: (N, 2 * offset_groups * kernel elements, output height, output width), (y, x) for
            each element of the kernel.
        bias: (filters,) or None.
        mask: (N, offset_groups * kernel elements, output height, output width): factors; or None.
        stride: Of the convolution, along the height and the width.
        dilation: Of the convolution.
        padding: The amounts before the height and the width.
        groups: Of the convolution.
        offset_groups: The number of groups of channels that have offsets of their own.

    Returns:
        (N, filters, output height, output width).
    """
    n, channels = input.shape[:2]
    kernel, sizes = weight.shape[2:], offset.shape[2:]
    count = kernel[0] * kernel[1]
    moves = offset.reshape(n * offset_groups, count, 2, *sizes)
    where = []  # the positions in the input, (n * offset_groups, count, *sizes), along both axes
    for axis in (0, 1):
        shape = [count, 1, 1]
        shape[1 + axis] = sizes[axis]
        own = torch.arange(kernel[axis], device=input.device) * dilation[axis]
        own = own.repeat_interleave(kernel[1]) if axis == 0 else own.repeat(kernel[0])
        starts = torch.arange(sizes[axis], device=input.device) * stride[axis] - padding[axis]
        where.append((own[:, None] + starts).reshape(shape) + moves[:, :, axis])
    images = input.reshape(n * offset_groups, -1, *input.shape[2:])
    taken = _interpolated(images, *(places.flatten(1) for places in where))
    taken = taken.reshape(n, offset_groups, -1, count, *sizes)
    if mask is not None:
        taken = taken * mask.reshape(n, offset_groups, 1, count, *sizes)
    columns = taken.reshape(n, groups, channels // groups * count, -1)
    result = weight.reshape(groups, -1, columns.shape[2]) @ columns
    result = result.reshape(n, -1, *sizes)
    return result if bias is None else result + bias[:, None, None]


def _interpolated(images: Tensor, y: Tensor, x: Tensor) -> Tensor:
    """Interpolate images, (B, C, H, W), at positions, (B, P); return (B, C, P).

    Elements outside of the images are 0.
    """
    height, width = images.shape[2:]
    flat = images.flatten(2)
    total = flat.new_zeros(())
    low_y, low_x = y.floor(), x.floor()
    for i in (0, 1):
        for j in (0, 1):
            row, column = low_y + i, low_x + j
            inside = (row >= 0) & (row < height) & (column >= 0) & (column < width)
            weight = (1 - (y - row).abs()) * (1 - (x - column).abs()) * inside
            index = row.clamp(0, height - 1) * width + column.clamp(0, width - 1)
            index = index.long().unsqueeze(1).expand(-1, flat.shape[1], -1)
            total = total + flat.gather(2, index) * weight.unsqueeze(1)
    return total
