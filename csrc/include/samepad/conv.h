#pragma once

/// \file
/// SAME convolutions on tensors. The functions take the arguments of `at::conv1d` and its siblings
/// in the same order, but `padding` defaults to SAME. They work under autograd, autocast, vmap,
/// compilation and export as those do.

#include <ATen/core/Tensor.h>
#include <c10/util/ArrayRef.h>
#include <samepad/export.h>
#include <samepad/padding_argument.h>

#include <cstdint>
#include <optional>
#include <string_view>

namespace samepad {

/// Convolves an input (N, C, L) or (C, L) with a weight (O, C / groups, k). The result is (N, O, l)
/// or (O, l).
///
/// With `same`, `same_lower` and `causal`, l = ceil(L / stride), or 0 for L = 0, for every stride,
/// dilation and kernel size. With amounts or `valid`, l is what `at::conv1d` gives for that
/// padding.
///
/// \param padding       see `Padding`.
/// \param padding_mode  how the padding is filled: "zeros", "reflect", "replicate" or "circular",
///                      as in `torch::nn::Conv1d`.
/// \throws c10::Error   if an argument is none of the above, naming it; also if "reflect" would add
///                      L or more elements on a side, or "circular" more than L.
SAMEPAD_API at::Tensor conv1d(const at::Tensor& input, const at::Tensor& weight,
                              const std::optional<at::Tensor>& bias = {},
                              at::IntArrayRef stride = 1, const Padding& padding = PadMode::same,
                              at::IntArrayRef dilation = 1, int64_t groups = 1,
                              std::string_view padding_mode = "zeros");

/// Convolves (N, C, H, W) or (C, H, W) with a weight (O, C / groups, kH, kW); see `conv1d`.
SAMEPAD_API at::Tensor conv2d(const at::Tensor& input, const at::Tensor& weight,
                              const std::optional<at::Tensor>& bias = {},
                              at::IntArrayRef stride = 1, const Padding& padding = PadMode::same,
                              at::IntArrayRef dilation = 1, int64_t groups = 1,
                              std::string_view padding_mode = "zeros");

/// Convolves (N, C, D, H, W) or (C, D, H, W) with a weight (O, C / groups, kD, kH, kW); see
/// `conv1d`.
SAMEPAD_API at::Tensor conv3d(const at::Tensor& input, const at::Tensor& weight,
                              const std::optional<at::Tensor>& bias = {},
                              at::IntArrayRef stride = 1, const Padding& padding = PadMode::same,
                              at::IntArrayRef dilation = 1, int64_t groups = 1,
                              std::string_view padding_mode = "zeros");

}  // namespace samepad
