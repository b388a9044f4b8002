#pragma once

/// \file
/// Fuses the layers of a sequential model for inference.

#include <samepad/export.h>
#include <torch/nn/modules/container/sequential.h>

namespace samepad {

/// Returns a copy of a model in which convolutions and what follows them are fused. The original is
/// not changed.
///
/// Every `SamePadConv*d` or `torch::nn::Conv*d` that pads with zeros becomes a `FusedConv*d`, which
/// includes a following `torch::nn::BatchNorm*d` and one of ReLU, ReLU6, Hardtanh, LeakyReLU, ELU,
/// GELU, SiLU, Sigmoid and Tanh. All other modules are copied, for which they have to be cloneable;
/// what is inside them is not fused.
///
/// \param channels_last  whether the weights are laid out, and packed, for inputs in channels_last;
///                       measure which layout is faster for a model. The caller has to convert the
///                       input: `input.contiguous(at::MemoryFormat::ChannelsLast)`.
/// \throws c10::Error    if the model is in training mode.
SAMEPAD_API torch::nn::Sequential optimize_for_inference(const torch::nn::Sequential& model,
                                                         bool channels_last = false);

}  // namespace samepad
