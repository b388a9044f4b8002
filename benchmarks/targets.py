"""What is to be reached, and whether it is."""

import statistics
from collections.abc import Iterable
from dataclasses import dataclass

import torch

from benchmarks.sections import sweep
from benchmarks.sections.open_sizes import WAYS
from benchmarks.tables import VARIANTS, Table, Variant, geometric_mean

#: A target may bound the share of ratios above this.
SHARE_ABOVE = 1.10


@dataclass(frozen=True)
class Target:
    """A bound on samepad's ratios to a competitor in some tables."""

    name: str
    tables: tuple[str, ...]
    mean: float
    worst: float | None = None
    against: str = "sym"
    #: Of the share of the ratios that are above SHARE_ABOVE.
    share: float | None = None
    #: Rows whose label contains this alone count.
    rows: str = ""


@dataclass(frozen=True)
class Outcome:
    """A target and what was measured; none where the tables were not made."""

    target: Target
    mean: float | None = None
    worst: float | None = None
    share: float | None = None

    @property
    def met(self) -> bool | None:
        """Whether what was measured keeps to the bounds."""
        pairs = (
            (self.mean, self.target.mean),
            (self.worst, self.target.worst),
            (self.share, self.target.share),
        )
        if self.mean is None:
            return None
        return all(
            bound is None or (found is not None and found <= bound) for found, bound in pairs
        )


def _titles(kind: str = "", training: bool = False) -> tuple[str, str]:
    """Of the tables in NCHW and in channels_last."""
    nchw, channels_last = (f"{kind}{v}" for v in VARIANTS if v.training == training)
    return nchw, channels_last


(_INFERENCE_NCHW, _INFERENCE_LAST), (_TRAINING_NCHW, _TRAINING_LAST) = _titles(), _titles("", True)
_LITE0_NCHW, _LITE0_LAST = _titles("EfficientNet-Lite0, ")
_POOLS, _POOLS_TRAINED = (_titles("pools and transposed, ", training) for training in (False, True))
_COMPILED, _COMPILED_TRAINED = (_titles("compiled, ", training) for training in (False, True))
_OPEN_SIZES = tuple(f"open sizes, {way}" for way in WAYS)
_VOLUMES, _VOLUMES_TRAINED = (_titles("volumes, ", training) for training in (False, True))
_VOLUMES_SAVED = "volumes, bytes saved for backward"
_SAVED = tuple(f"bytes saved for backward, {layout}" for layout in ("NCHW", "channels_last"))

_BFLOAT16_NCHW, _BFLOAT16_LAST = (
    str(Variant(layout, dtype=torch.bfloat16)) for layout in ("NCHW", "channels_last")
)

#: Of layers of all kinds: the bounds on means, in the order of VARIANTS.
_SWEEP = (0.53, 0.60, 0.50, 0.58)

#: For whole nets after optimize_for_inference: by batch, the bounds on means by competitor.
_NETS = {
    1: {"convert": 0.55, "onnxruntime": 0.95, "openvino": 1.15},
    8: {"convert": 0.60, "onnxruntime": 0.95, "openvino": 1.05},
}
_LITE0_OPTIMIZED = {1: 0.33, 8: 0.45}

TARGETS = [
    Target("inference, NCHW", (_INFERENCE_NCHW,), 0.55, 1.0),
    Target("inference, channels_last", (_INFERENCE_LAST,), 0.75, 1.05),
    Target("training step, NCHW", (_TRAINING_NCHW,), 0.52, 1.05),
    Target("training step, channels_last", (_TRAINING_LAST,), 0.60, 1.05),
    Target("depthwise alone, inference, NCHW", (_INFERENCE_NCHW,), 0.42, 0.7, rows="depthwise"),
    Target(
        "depthwise alone, inference, channels_last", (_INFERENCE_LAST,), 0.65, 1.0, rows="depthwise"
    ),
    Target("inference in bfloat16, NCHW", (_BFLOAT16_NCHW,), 0.60),
    Target("inference in bfloat16, channels_last", (_BFLOAT16_LAST,), 0.85),
    *(
        Target(sweep.title(variant), (sweep.title(variant),), mean, 1.3, "pad+conv", share=0.01)
        for variant, mean in zip(VARIANTS, _SWEEP, strict=True)
    ),
    Target("inference, NCHW", (_INFERENCE_NCHW,), 0.55, 1.0, "timm"),
    Target("inference, channels_last", (_INFERENCE_LAST,), 0.55, 1.0, "timm"),
    Target("training step, NCHW", (_TRAINING_NCHW,), 0.85, 1.0, "timm"),
    Target("training step, channels_last", (_TRAINING_LAST,), 0.85, 1.0, "timm"),
    Target("inference, NCHW, models of one layer", (_INFERENCE_NCHW,), 1.0, None, "onnxruntime"),
    Target("bytes saved for backward, both layouts", _SAVED, 1.0, 1.0),
    Target(
        "call overhead, module, equal pads", ("call overhead",), 1.05, None, rows="module, equal"
    ),
    Target(
        "call overhead, module, unequal pads",
        ("call overhead",),
        1.05,
        None,
        rows="module, unequal",
    ),
    Target("pools, inference, both layouts", _POOLS, 1.05, rows="pool"),
    Target("pools, training step, both layouts", _POOLS_TRAINED, 1.05, rows="pool"),
    Target("transposed, inference, both layouts", _POOLS, 1.05, rows="transposed"),
    Target("transposed, training step, both layouts", _POOLS_TRAINED, 1.05, rows="transposed"),
    *(
        Target(
            f"EfficientNet-Lite0, batch {batch}, {layout}", (table,), 0.90, rows=f"batch {batch},"
        )
        for layout, table in (("NCHW", _LITE0_NCHW), ("channels_last", _LITE0_LAST))
        for batch in (1, 8)
    ),
    *(
        Target(f"whole nets, optimized, batch {batch}", (f"nets, batch {batch}",), mean, 1.25, name)
        for batch, means in _NETS.items()
        for name, mean in means.items()
    ),
    *(
        Target(
            f"EfficientNet-Lite0, optimized, batch {batch}",
            (f"nets, batch {batch}",),
            mean,
            rows="EfficientNet-Lite0",
        )
        for batch, mean in _LITE0_OPTIMIZED.items()
    ),
    Target("compiled, inference, both layouts", _COMPILED, 1.05),
    Target("compiled, training step, both layouts", _COMPILED_TRAINED, 1.05),
    Target("three dimensions, inference, both layouts", _VOLUMES, 1.0, 1.1),
    Target("three dimensions, training step, both layouts", _VOLUMES_TRAINED, 1.0, 1.1),
    Target("three dimensions, bytes saved for backward", (_VOLUMES_SAVED,), 1.0, 1.0),
    Target("compiling and exporting with open sizes", _OPEN_SIZES, 1.30, 1.30, "by hand"),
]


def evaluate(target: Target, tables: Iterable[Table]) -> Outcome:
    """What the tables say about the target."""
    ratios = [
        ratio
        for table in tables
        if table.title in target.tables
        for label, ratio in table.ratios("samepad", target.against).items()
        if target.rows in label
    ]
    if not ratios:
        return Outcome(target)
    share = statistics.fmean(ratio > SHARE_ABOVE for ratio in ratios)
    return Outcome(target, geometric_mean(ratios), max(ratios), share)
