#pragma once

/// \file
/// SAME transposed convolutions on tensors. The functions take the arguments of
/// `at::conv_transpose1d` and its siblings in the same order, but `padding` defaults to SAME and an
/// `output_size` is added at the end.

#include <ATen/core/Tensor.h>
#include <c10/util/ArrayRef.h>
#include <c10/util/OptionalArrayRef.h>
#include <samepad/export.h>
#include <samepad/padding_argument.h>

#include <cstdint>
#include <optional>

namespace samepad {

/// Transposed convolution of an input (N, C, L) or (C, L) with a weight (C, O / groups, k). The
/// result is (N, O, m) or (O, m).
///
/// With `same` and `same_lower` this is TensorFlow's conv1d_transpose: the gradient of the SAME
/// convolution that turns m elements into L. There m is `output_size` or else L stride. With
/// `valid` and amounts this is `at::conv_transpose1d`. A (before, after) pair is the number of
/// elements to crop from the start and from the end of the full result, which has (L - 1) stride +
/// e elements, e = (k - 1) dilation + 1.
///
/// \param padding         see `Padding`; neither causal nor negative. Modes per dimension
///                        hold for the dimensions one by one.
/// \param output_padding  number of elements to append, as in `at::conv_transpose1d`; 0 in
///                        dimensions with `same` and `same_lower`, which take an `output_size`
///                        instead.
/// \param output_size     m, one value or one per spatial dimension. With `same` and `same_lower`,
///                        (L - 1) stride < m <= L stride; otherwise m is at least the size without
///                        `output_padding` and at most stride - 1 more.
/// \throws c10::Error     if an argument is none of the above, naming it.
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
