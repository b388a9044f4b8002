#pragma once

/// \file
/// SAME convolutions on tensors. They take the arguments of `at::conv1d` and so on in the same
/// order, with `padding` defaulting to SAME; under autograd, autocast, vmap, compilation and export
/// they behave as those do.

#include <ATen/core/Tensor.h>
#include <c10/util/ArrayRef.h>
#include <samepad/export.h>
#include <samepad/padding_argument.h>

#include <cstdint>
#include <optional>
#include <string_view>

namespace samepad {

/// Convolution of (N, C, L) or (C, L) with a weight (O, C / groups, k), giving (N, O, l) or (O, l).
///
/// `same`, `same_lower` and `causal` give l = ceil(L / stride), 0 for L = 0, for every stride,
/// dilation and kernel size; amounts and `valid` give what `at::conv1d` gives.
///
/// \param padding       see `Padding`.
/// \param padding_mode  what the padding is filled with: "zeros", "reflect", "replicate" or
///                      "circular", as in `torch::nn::Conv1d`.
/// \throws c10::Error   where an argument is none of the above, naming it; where "reflect" would
///                      pad L elements or more, or "circular" more than L.
SAMEPAD_API at::Tensor conv1d(const at::Tensor& input, const at::Tensor& weight,
                              const std::optional<at::Tensor>& bias = {},
                              at::IntArrayRef stride = 1, const Padding& padding = PadMode::same,
                              at::IntArrayRef dilation = 1, int64_t groups = 1,
                              std::string_view padding_mode = "zeros");

/// Convolution of (N, C, H, W) or (C, H, W) with a weight (O, C / groups, kH, kW); see `conv1d`.
SAMEPAD_API at::Tensor conv2d(const at::Tensor& input, const at::Tensor& weight,
                              const std::optional<at::Tensor>& bias = {},
                              at::IntArrayRef stride = 1, const Padding& padding = PadMode::same,
                              at::IntArrayRef dilation = 1, int64_t groups = 1,
                              std::string_view padding_mode = "zeros");

/// Convolution of (N, C, D, H, W) or (C, D, H, W) with a weight (O, C / groups, kD, kH, kW); see
/// `conv1d`.
SAMEPAD_API at::Tensor conv3d(const at::Tensor& input, const at::Tensor& weight,
                              const std::optional<at::Tensor>& bias = {},
                              at::IntArrayRef stride = 1, const Padding& padding = PadMode::same,
                              at::IntArrayRef dilation = 1, int64_t groups = 1,
                              std::string_view padding_mode = "zeros");

}  // namespace samepad
