#pragma once

/// \file
/// SAME transposed convolutions on tensors. They take the arguments of `at::conv_transpose1d` and
/// so on in the same order, with `padding` defaulting to SAME, and an `output_size` at the end.

#include <ATen/core/Tensor.h>
#include <c10/util/ArrayRef.h>
#include <c10/util/OptionalArrayRef.h>
#include <samepad/export.h>
#include <samepad/padding_argument.h>

#include <cstdint>
#include <optional>

namespace samepad {

/// Transposed convolution of (N, C, L) or (C, L) with a weight (C, O / groups, k), giving (N, O, m)
/// or (O, m).
///
/// With `same` and `same_lower` it is the gradient of the SAME convolution of m elements that has L
/// outputs, TensorFlow's conv1d_transpose: m = L stride, or `output_size`. With `valid` and amounts
/// it is `at::conv_transpose1d`; a pair is what is cropped from the start and the end of the full
/// result of (L - 1) stride + e elements, e = (k - 1) dilation + 1.
///
/// \param padding         see `Padding`; not causal, not negative.
/// \param output_padding  elements to add after, as in `at::conv_transpose1d`; 0 with `same` and
///                        `same_lower`, which take an `output_size` instead.
/// \param output_size     m, one value or one per spatial dimension: (L - 1) stride < m <= L stride
///                        with `same` and `same_lower`, elsewhere the sizes from that without
///                        `output_padding` to stride - 1 more.
/// \throws c10::Error     where an argument is none of the above, naming it.
SAMEPAD_API at::Tensor conv_transpose1d(const at::Tensor& input, const at::Tensor& weight,
                                        const std::optional<at::Tensor>& bias = {},
                                        at::IntArrayRef stride = 1,
                                        const Padding& padding = PadMode::same,
                                        at::IntArrayRef output_padding = 0, int64_t groups = 1,
                                        at::IntArrayRef dilation = 1,
                                        at::OptionalIntArrayRef output_size = std::nullopt);

/// Transposed convolution of (N, C, H, W) or (C, H, W) with a weight (C, O / groups, kH, kW); see
/// `conv_transpose1d`.
SAMEPAD_API at::Tensor conv_transpose2d(const at::Tensor& input, const at::Tensor& weight,
                                        const std::optional<at::Tensor>& bias = {},
                                        at::IntArrayRef stride = 1,
                                        const Padding& padding = PadMode::same,
                                        at::IntArrayRef output_padding = 0, int64_t groups = 1,
                                        at::IntArrayRef dilation = 1,
                                        at::OptionalIntArrayRef output_size = std::nullopt);

/// Transposed convolution of (N, C, D, H, W) or (C, D, H, W) with a weight
/// (C, O / groups, kD, kH, kW); see `conv_transpose1d`.
SAMEPAD_API at::Tensor conv_transpose3d(const at::Tensor& input, const at::Tensor& weight,
                                        const std::optional<at::Tensor>& bias = {},
                                        at::IntArrayRef stride = 1,
                                        const Padding& padding = PadMode::same,
                                        at::IntArrayRef output_padding = 0, int64_t groups = 1,
                                        at::IntArrayRef dilation = 1,
                                        at::OptionalIntArrayRef output_size = std::nullopt);

}  // namespace samepad
