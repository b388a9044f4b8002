"""Says what `samepad.optimize_for_inference` makes of a converted model."""

import copy
from typing import Any

import torch
from torch import Tensor

from samepad._comparison import Model, reason
from samepad.inference import optimize_for_inference


def describe(model: Model, inputs: list[Tensor]) -> list[str]:
    """Optimize the module of a model, and return lines for the user: what was fused, and times.

    Args:
        model: The model; its module is not changed.
        inputs: One tensor for each of the model's inputs, in the model's own layout.
    """
    module = copy.deepcopy(model.module).eval()
    arguments: list[Any] = []
    hook = module.register_forward_pre_hook(lambda _, args: arguments.extend(args))
    with torch.no_grad():
        model.call(module, inputs)
    hook.remove()
    try:
        _, report = optimize_for_inference(module, *arguments, return_report=True)
    except Exception as error:  # a model may hold what can't be copied or traced
        return [f"the module cannot be optimized for inference: {reason(error)}"]
    return ["optimized for inference:", *(f"  {line}" for line in str(report).splitlines())]
