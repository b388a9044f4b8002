"""One call on 1x4x8x8, where calls are all there is."""

from functools import partial
from typing import Any

import samepad
import torch
import torch.nn.functional as F
from torch import nn

from benchmarks.checks import checked_case
from benchmarks.competitors import PadConv2d
from benchmarks.published import Conv2dSame
from benchmarks.tables import Settings, Table, Variant
from benchmarks.timing import Case, compare

#: Strides for which the pads are equal, and unequal.
STRIDES = {"equal pads": 1, "unequal pads": 2}


def _case(kind: str, pads: str) -> Case:
    torch.manual_seed(0)
    stride = STRIDES[pads]
    arguments: Any = (4, 4, 3, stride)
    sym = nn.Conv2d(4, 4, 3, stride, padding=1)
    modules: dict[str, Any] = {
        "sym": sym,
        "pad+conv": PadConv2d(*arguments),
        "samepad": samepad.SamePadConv2d(*arguments),
        "timm": Conv2dSame(*arguments),
    }
    for module in modules.values():
        module.load_state_dict(sym.state_dict())
    same = modules["pad+conv"]
    if kind == "functional":
        call: Any = {"weight": sym.weight, "bias": sym.bias, "stride": stride}
        modules = {
            "sym": partial(F.conv2d, **call, padding=1),
            "samepad": partial(samepad.functional.conv2d, **call),
        }
    input = torch.randn(1, 4, 8, 8)
    return checked_case(f"{kind}, {pads}", input, modules, same, sym, Variant())


def overhead(settings: Settings) -> list[Table]:
    """Modules and functions, with equal pads and unequal ones."""
    cases = [_case(kind, pads) for kind in ("module", "functional") for pads in STRIDES]
    return [compare("call overhead", Variant(), cases, settings, "us")]
