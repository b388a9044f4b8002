"""Tests samepad.fuse_conv_bn, and torch's own fusers on samepad's layers."""

import copy
from typing import Any

import pytest
import samepad
import torch
import torch.nn.utils.prune
from torch import Tensor, nn


def trained(model: nn.Module, *size: int) -> nn.Module:
    """Put `model` in eval mode, and give its normalizations random statistics and parameters."""
    for norm in model.modules():
        if isinstance(norm, nn.modules.batchnorm._BatchNorm) and norm.affine:
            nn.init.uniform_(norm.weight, 0.5, 2)
            nn.init.normal_(norm.bias)
    with torch.no_grad():
        for _ in range(3):
            model(torch.randn(4, *size) * 3 + 1)
    return model.eval()


def norms(model: nn.Module) -> int:
    return sum(isinstance(each, nn.modules.batchnorm._BatchNorm) for each in model.modules())


PAIRS = [
    (samepad.SamePadConv1d(3, 4, 3, 2), nn.BatchNorm1d(4), (3, 9)),
    (samepad.SamePadConv2d(3, 4, 3, 2, bias=False), nn.BatchNorm2d(4), (3, 9, 8)),
    (samepad.SamePadConv3d(3, 4, 3, 2), nn.BatchNorm3d(4, affine=False), (3, 5, 6, 7)),
    (samepad.SamePadConvTranspose2d(3, 4, 3, 2), nn.BatchNorm2d(4), (3, 5, 6)),
    (samepad.SamePadDepthwiseConv2d(3, 3, 2), nn.BatchNorm2d(3), (3, 9, 8)),
    (samepad.SamePadConv2d(3, 4, 3, 2, padding_mode="reflect"), nn.BatchNorm2d(4), (3, 9, 8)),
    (samepad.nn.Conv2d(3, 4, 3, 2, "same"), nn.SyncBatchNorm(4), (3, 9, 8)),
    (nn.Conv2d(3, 4, 3, 2), nn.BatchNorm2d(4), (3, 9, 8)),
]


@pytest.mark.parametrize(("conv", "norm", "size"), PAIRS, ids=lambda v: type(v).__name__)
def test_the_fused_layer_computes_what_both_did(
    conv: nn.Module, norm: nn.Module, size: tuple[int, ...]
) -> None:
    pair = nn.Sequential(conv, norm)
    if isinstance(norm, nn.SyncBatchNorm):
        norm.running_mean = torch.randn(4)  # it trains only on GPUs, so its statistics are set here
        model = copy.deepcopy(pair).double().eval()
    else:
        model = trained(copy.deepcopy(pair).double().float(), *size).double()
    fused = samepad.fuse_conv_bn(model)
    input = torch.randn(2, *size, dtype=torch.float64)
    torch.testing.assert_close(fused(input), model(input), rtol=1e-10, atol=1e-10)
    assert norms(fused) == 0
    assert norms(model) == 1
    assert type(fused[0]) is type(conv)


class Block(nn.Module):
    """Has convolutions, a residual connection and, if not `traceable`, code that fx can't trace."""

    def __init__(self, traceable: bool) -> None:
        super().__init__()
        self.traceable = traceable
        self.body = nn.Sequential(
            samepad.SamePadConv2d(3, 3, 3, bias=False), nn.BatchNorm2d(3), nn.ReLU()
        )
        self.conv = samepad.SamePadConv2d(3, 4, 3, 2)
        self.norm = nn.BatchNorm2d(4)

    def forward(self, input: Tensor) -> Tensor:
        if not self.traceable and input.sum() > 0:
            input = input + 1
        return self.norm(self.conv(input + self.body(input)))  # type: ignore[no-any-return]


@pytest.mark.parametrize(("traceable", "left"), [(True, 0), (False, 1)])
def test_finds_pairs_as_far_as_torch_fx_sees(traceable: bool, left: int) -> None:
    model = trained(Block(traceable), 3, 8, 8)
    fused = samepad.fuse_conv_bn(model)
    assert norms(fused) == left
    assert isinstance(fused.body[1], nn.Identity)
    input = torch.randn(2, 3, 9, 8)
    torch.testing.assert_close(fused(input), model(input))


class Branching(nn.Module):
    """Uses the convolution's result not only in the normalization."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = samepad.SamePadConv2d(3, 3, 3)
        self.norm = nn.BatchNorm2d(3)

    def forward(self, input: Tensor) -> Tensor:
        output = self.conv(input)
        return output + self.norm(output)  # type: ignore[no-any-return]


def shared() -> nn.Module:
    conv, norm = samepad.SamePadConv2d(3, 3, 3), nn.BatchNorm2d(3)
    return nn.Sequential(conv, norm, conv, nn.ReLU())


def hooked() -> nn.Module:
    model = nn.Sequential(samepad.SamePadConv2d(3, 3, 3), nn.BatchNorm2d(3))
    model[0].register_forward_hook(lambda _, __, output: output * 2)
    return model


def parametrized() -> nn.Module:
    conv = nn.utils.parametrizations.weight_norm(samepad.SamePadConv2d(3, 3, 3))
    return nn.Sequential(conv, nn.BatchNorm2d(3))


class ReadsTheWeight(nn.Module):
    """Uses the convolution's weight elsewhere too."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = samepad.SamePadConv2d(3, 3, 3)
        self.norm = nn.BatchNorm2d(3)

    def forward(self, input: Tensor) -> Tensor:
        return self.norm(self.conv(input)) + self.conv.weight.sum()  # type: ignore[no-any-return]


class Doubled(samepad.SamePadConv2d):
    def forward(self, input: Tensor) -> Tensor:
        return 2 * super().forward(input).relu()


class NormAndActivation(nn.BatchNorm2d):
    """A normalization with an activation, such as timm's BatchNormAct2d."""

    def forward(self, input: Tensor) -> Tensor:
        return super().forward(input).relu()  # type: ignore[no-any-return]


def pruned() -> nn.Module:
    model = nn.Sequential(samepad.SamePadConv2d(3, 3, 3), nn.BatchNorm2d(3))
    nn.utils.prune.l1_unstructured(model[0], "weight", 0.5)
    return model


def hooked_norm() -> nn.Module:
    model = nn.Sequential(samepad.SamePadConv2d(3, 3, 3), nn.BatchNorm2d(3))
    model[1].register_forward_hook(lambda _, __, output: output * 2)
    return model


@pytest.mark.parametrize(
    "make",
    [
        Branching,
        ReadsTheWeight,
        pruned,
        hooked_norm,
        lambda: nn.Sequential(Doubled(3, 3, 3), nn.BatchNorm2d(3)),
        lambda: nn.Sequential(samepad.SamePadConv2d(3, 3, 3), NormAndActivation(3)),
        shared,
        hooked,
        parametrized,
        lambda: nn.Sequential(samepad.SamePadConvTranspose2d(3, 3, 3, groups=3), nn.BatchNorm2d(3)),
        lambda: nn.Sequential(
            samepad.SamePadConv2d(3, 3, 3), nn.BatchNorm2d(3, track_running_stats=False)
        ),
    ],
)
def test_leaves_what_it_can_not_fold(make: Any) -> None:
    model = trained(make(), 3, 8, 8)
    fused = samepad.fuse_conv_bn(model)
    assert norms(fused) == 1
    input = torch.randn(2, 3, 9, 8)
    assert torch.equal(fused(input), model(input))


def test_refuses() -> None:
    model = nn.Sequential(samepad.SamePadConv2d(3, 3, 3), nn.BatchNorm2d(3))
    with pytest.raises(ValueError, match="'1' is in training mode"):
        samepad.fuse_conv_bn(model)
    with pytest.raises(TypeError, match="not int"):
        samepad.fuse_conv_bn(3)  # type: ignore[arg-type]
