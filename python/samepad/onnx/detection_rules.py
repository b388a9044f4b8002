"""Rules for ONNX's operators of object detectors and for Attention, in a table by name."""

import operator
from typing import Any

from samepad._building import UnsupportedError
from samepad.onnx import attention, detection, tensors
from samepad.onnx.call import Call, Rule


def _non_max_suppression(c: Call) -> Any:
    centered = bool(c.get("center_point_box", 0))
    limits = (c.number(position) for position in (2, 3, 4))
    return c.b.call(detection.non_max_suppression, c[0], c[1], *limits, centered)


def _roi_align(c: Call) -> Any:
    half_pixel = "half_pixel" if c.opset >= 16 else "output_half_pixel"
    mode, transform = c.get("mode", "avg"), c.get("coordinate_transformation_mode", half_pixel)
    if mode not in ("avg", "max"):
        raise UnsupportedError(f"mode={mode!r}, expected 'avg' or 'max'")
    return c.b.call(
        detection.roi_align,
        *(c[i] for i in range(3)),
        mode == "max",
        (c.get("output_height", 1), c.get("output_width", 1)),
        c.get("sampling_ratio", 0),
        c.get("spatial_scale", 1.0),
        transform == "half_pixel",
    )


def _deform_conv(c: Call) -> Any:
    if c.rank(1) not in (None, 4):
        raise UnsupportedError(f"a weight of {c.rank(1)} dimensions, expected 4")
    return c.b.call(
        detection.deform_conv,
        *(c[i] for i in range(5)),
        tuple(c.get("strides", [1, 1])),
        tuple(c.get("dilations", [1, 1])),
        # Only the amounts before matter: the offsets have the output's size.
        tuple(c.get("pads", [0] * 4)[:2]),
        c.get("group", 1),
        c.get("offset_group", 1),
    )


def _attention(c: Call) -> Any:
    number = c.get("softmax_precision", 0)
    result = c.b.call(
        attention.attention,
        *(c[i] for i in range(7)),
        c.get("q_num_heads", 0),
        c.get("kv_num_heads", 0),
        c.get("scale"),
        bool(c.get("is_causal", 0)),
        (c.get("left_window_size", -1), c.get("right_window_size", -1)),
        c.get("softcap", 0.0),
        tensors.dtype(number) if number else None,
        c.get("qk_matmul_output_mode", 0),
    )
    return [c.b.call(operator.getitem, result, i) for i in range(c.outputs)]


RULES: dict[str, Rule] = {
    "NonMaxSuppression": _non_max_suppression,
    "RoiAlign": _roi_align,
    "DeformConv": _deform_conv,
    "Attention": _attention,
}
