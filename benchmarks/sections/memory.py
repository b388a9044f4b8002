"""What a training step keeps for its backward pass."""

from dataclasses import replace

import torch
from torch import Tensor

from benchmarks.competitors import layer_cases
from benchmarks.layers import read_layers
from benchmarks.tables import VARIANTS, Settings, Table
from benchmarks.timing import Module


def saved_bytes(module: Module, input: Tensor) -> int:
    """Bytes of all memory that autograd keeps after a call, each storage once."""
    storages: dict[int, int] = {}

    def pack(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        storages[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        output = module(input.requires_grad_())
    del output  # only now: memory that is free again would be counted once for two
    return sum(storages.values())


def saved_for_backward(settings: Settings) -> list[Table]:
    """Both layouts: the input and the weight, or a padded copy besides."""
    tables = []
    for variant in VARIANTS:
        if variant.training:
            cases = layer_cases(
                read_layers(settings.batches),
                replace(variant, training=False),
                ("sym", "pad+conv", "samepad", "timm"),
            )
            rows = {
                case.label: {
                    name: float(saved_bytes(module, case.input))
                    for name, module in case.modules.items()
                }
                for case in cases
            }
            tables.append(Table(f"bytes saved for backward, {variant.layout}", rows, "MB"))
    return tables
