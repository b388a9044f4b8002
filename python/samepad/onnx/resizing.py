"""Rules for Resize and Upsample: nn.Upsample where it computes the same."""

from typing import Any

import numpy as np
import torch.nn.functional as F
from torch import fx, nn

from samepad._building import UnsupportedError
from samepad.onnx import interpolation, sizes
from samepad.onnx.call import Call, Sizes

_LINEAR = {3: "linear", 4: "bilinear", 5: "trilinear"}
_CHOICES = {
    "mode": ("nearest", "linear", "cubic"),
    "coordinate_transformation_mode": (
        *("half_pixel", "half_pixel_symmetric", "pytorch_half_pixel", "align_corners"),
        *("asymmetric", "tf_half_pixel_for_nn", "tf_crop_and_resize"),
    ),
    "nearest_mode": ("round_prefer_floor", "round_prefer_ceil", "floor", "ceil"),
    "keep_aspect_ratio_policy": ("stretch", "not_larger", "not_smaller"),
}


def _floats(values: list[float] | None) -> list[float]:
    """Return the shortest decimal numbers that are equal in float32."""
    return [float(str(np.float32(each))) for each in values or ()]


def _settings(c: Call) -> dict[str, Any]:
    """Return the attributes, by the names of interpolation.resize's arguments.

    Raises:
        UnsupportedError: An attribute has a value that ONNX does not define.
    """
    old = c.opset < 11
    defaults = {
        "mode": "nearest",
        "coordinate_transformation_mode": "asymmetric" if old else "half_pixel",
        "nearest_mode": "round_prefer_floor",
        "keep_aspect_ratio_policy": "stretch",
    }
    mode, transform, rounding, policy = (c.get(name, default) for name, default in defaults.items())
    mode = "linear" if mode == "bilinear" else mode
    for name, value in zip(defaults, (mode, transform, rounding, policy), strict=True):
        if value not in _CHOICES[name]:
            raise UnsupportedError(f"{name}={value!r}, expected one of {_CHOICES[name]}")
    settings = {
        "mode": mode,
        "transform": transform,
        # Before opset 11 ONNX did not define this. Do as ONNX Runtime, which rounds by the scale.
        "rounding": "by_scale" if old else rounding,
        "cubic": c.get("cubic_coeff_a", -0.75),
        "exclude_outside": bool(c.get("exclude_outside", 0)),
        "policy": policy,
    }
    if c.get("antialias", 0) and mode != "nearest":
        settings["antialias"] = True
    if transform == "tf_crop_and_resize":
        roi = c.known(1, "roi")
        assert roi is not None
        settings |= {"roi": roi, "extrapolation": c.get("extrapolation_value", 0.0)}
    return settings


def _interpolation(
    rank: int | None, axes: list[int], factors: list[float] | None, settings: dict[str, Any]
) -> dict[str, Any] | None:
    """Return mode and align_corners for which nn.Upsample computes the same; None if none do."""
    mode, transform, rounding = (settings[key] for key in ("mode", "transform", "rounding"))
    different = settings["policy"] != "stretch" or "antialias" in settings
    if rank not in _LINEAR or min(axes) < 2 or different:
        return None
    known = factors or []
    # PyTorch takes the factor to be exactly 1 or 2 if the output has the input's size or twice
    # that. The factors below, at most 1 or multiples of 1/2, are equal to that, or the input has
    # only one element.
    if transform != "align_corners" and not all(f <= 1 or 2 * f == int(2 * f) for f in known):
        return None
    if mode == "nearest":
        # With integer factors no half-pixel position is halfway between two elements, so that all
        # ways to round agree.
        whole = factors is not None and all(f == int(f) >= 1 for f in known)
        grows = all(f >= 1 for f in known)
        floors = rounding == "floor" or (rounding == "by_scale" and grows)
        if transform == "asymmetric" and floors:
            return {"mode": "nearest"}
        if transform in ("half_pixel", "pytorch_half_pixel") and rounding.startswith("round"):
            if whole:
                return {"mode": "nearest"}
            if rounding == "round_prefer_ceil" and transform == "half_pixel":
                return {"mode": "nearest-exact"}
        return None
    cubic = rank == 4 and settings["cubic"] == -0.75 and not settings["exclude_outside"]
    if transform not in ("half_pixel", "align_corners") or (mode == "cubic" and not cubic):
        return None
    name = "bicubic" if mode == "cubic" else _LINEAR[rank]
    return {"mode": name} | ({"align_corners": True} if transform == "align_corners" else {})


def resize(c: Call) -> Any:
    """Resize, which was called Upsample in earlier opsets."""
    rank, settings = c.rank(0), _settings(c)
    scales, wanted = _scales(c), c.integers(3)
    if isinstance(wanted, list) and not wanted:
        wanted = None
    if isinstance(wanted, fx.Node):
        raise UnsupportedError("sizes must be constant, or computed from sizes of tensors")
    if wanted is None:
        settings["policy"] = "stretch"  # the others say what to do with sizes
    given = scales if wanted is None else wanted
    axes = [a % rank if rank else a for a in c.get("axes", range(len(given)))]
    if any(axis < 0 for axis in axes):
        raise UnsupportedError(f"axes={axes} of an input of unknown rank")
    # Axes whose size does not change are left out.
    kept = [i for i, axis in enumerate(axes) if not _stays(c, axis, given[i], wanted is not None)]
    if settings["transform"] == "tf_crop_and_resize" or settings["policy"] != "stretch":
        kept = list(range(len(axes)))
    if not kept:
        return c[0]
    axes, given = [axes[i] for i in kept], [given[i] for i in kept]
    if wanted is None and not all(map(_is_exact, given)):
        lengths = [sizes.scaled(c, _length(c, a), f) for a, f in zip(axes, given, strict=True)]
        return c.b.call(interpolation.resize, c[0], axes, lengths, given, **settings)
    by_torch = _interpolation(rank, axes, None if wanted is not None else given, settings)
    if by_torch is None:
        pair = (None, given) if wanted is None else (given, None)
        return c.b.call(interpolation.resize, c[0], axes, *pair, **settings)
    assert rank is not None
    full: dict[int, Any] = dict(zip(axes, given, strict=True))
    if wanted is None:
        factors = tuple(full.get(axis, 1.0) for axis in range(2, rank))
        return c.b.module(c.name, nn.Upsample(scale_factor=factors, **by_torch), c[0])
    lengths = [full.get(axis) or c.b.size(c[0], axis) for axis in range(2, rank)]
    if all(isinstance(size, int) for size in lengths):
        return c.b.module(c.name, nn.Upsample(size=tuple(lengths), **by_torch), c[0])
    return c.b.call(F.interpolate, c[0], lengths, **by_torch)


def _scales(c: Call) -> list[Any]:
    """Return the factors: numbers, and nodes that compute them from sizes of tensors.

    Raises:
        UnsupportedError: They are computed from other values.
    """
    position = 1 if c.opset < 11 else 2
    value = c.given[position] if position < len(c.given) else None
    if isinstance(value, fx.Node):
        raise UnsupportedError("scales must be constant, or computed from sizes of tensors")
    if isinstance(value, Sizes):
        return list(value.items)
    return _floats(c.known(position, "scales")) or c.get("scales")


def _is_exact(scale: Any) -> bool:
    """Whether sizes times this factor are exact in float32, in which ONNX Runtime computes them.

    For 19 / 14, for example, 14 times the nearest number of float32 is 19 in float32, and less than
    19 in Python's numbers, so that rounding down would give 18.
    """
    return not isinstance(scale, fx.Node) and float(4096 * scale).is_integer()


def _length(c: Call, axis: int) -> Any:
    """Return the size of the input along an axis: a number if it is known, else a node."""
    known = c.size(0, axis)
    return c.b.size(c[0], axis) if known is None else known


def _stays(c: Call, axis: int, given: Any, is_size: bool) -> bool:
    value = c.given[0]
    if not is_size:
        return bool(given == 1)
    if isinstance(given, fx.Node):
        return given.target == "size" and given.args == (value, axis)
    dims = value.meta.get("dims") if isinstance(value, fx.Node) else getattr(value, "shape", None)
    return dims is not None and dims[axis] == given
