#pragma once

/// \file
/// SAME pools on tensors. The functions take the arguments of `at::max_pool1d`, `at::avg_pool1d`
/// and their siblings in the same order, but `padding` defaults to SAME.

#include <ATen/core/Tensor.h>
#include <c10/util/ArrayRef.h>
#include <samepad/export.h>
#include <samepad/padding_argument.h>

#include <cstdint>
#include <optional>
#include <tuple>

namespace samepad {

/// Takes the maximum of each window of (N, C, L) or (C, L). The result is (N, C, l) or (C, l).
/// Padding is ignored.
///
/// With `same` and `same_lower`, l = ceil(L / stride), or 0 for L = 0, whatever `ceil_mode` is.
/// With amounts or `valid`, the result is that of `at::max_pool1d` with this padding.
///
/// \param stride       the step between windows; the kernel size if it is empty.
/// \param padding      see `Padding`; neither causal nor negative. Amounts are at most half the
///                     kernel size, as in `at::max_pool1d`; those of pairs at most (k - 1)
///                     dilation.
/// \throws c10::Error  if an argument is none of the above, naming it.
SAMEPAD_API at::Tensor max_pool1d(const at::Tensor& input, at::IntArrayRef kernel_size,
                                  at::IntArrayRef stride = {},
                                  const Padding& padding = PadMode::same,
                                  at::IntArrayRef dilation = 1, bool ceil_mode = false);

/// Takes the maximum of each window of (N, C, H, W) or (C, H, W); see `max_pool1d`.
SAMEPAD_API at::Tensor max_pool2d(const at::Tensor& input, at::IntArrayRef kernel_size,
                                  at::IntArrayRef stride = {},
                                  const Padding& padding = PadMode::same,
                                  at::IntArrayRef dilation = 1, bool ceil_mode = false);

/// Takes the maximum of each window of (N, C, D, H, W) or (C, D, H, W); see `max_pool1d`.
SAMEPAD_API at::Tensor max_pool3d(const at::Tensor& input, at::IntArrayRef kernel_size,
                                  at::IntArrayRef stride = {},
                                  const Padding& padding = PadMode::same,
                                  at::IntArrayRef dilation = 1, bool ceil_mode = false);

/// Returns the result of `max_pool1d` and the index of each maximum: its position in the flattened
/// spatial dimensions of the input, without padding, as `at::max_unpool2d` takes it. A dilated
/// window may contain only padding. Its maximum is -inf, or the smallest integer of the type, and
/// its index is that of a nearby element.
SAMEPAD_API std::tuple<at::Tensor, at::Tensor> max_pool1d_with_indices(
    const at::Tensor& input, at::IntArrayRef kernel_size, at::IntArrayRef stride = {},
    const Padding& padding = PadMode::same, at::IntArrayRef dilation = 1, bool ceil_mode = false);

/// Returns the result of `max_pool2d` and the indices; see `max_pool1d_with_indices`.
SAMEPAD_API std::tuple<at::Tensor, at::Tensor> max_pool2d_with_indices(
    const at::Tensor& input, at::IntArrayRef kernel_size, at::IntArrayRef stride = {},
    const Padding& padding = PadMode::same, at::IntArrayRef dilation = 1, bool ceil_mode = false);

/// Returns the result of `max_pool3d` and the indices; see `max_pool1d_with_indices`.
SAMEPAD_API std::tuple<at::Tensor, at::Tensor> max_pool3d_with_indices(
    const at::Tensor& input, at::IntArrayRef kernel_size, at::IntArrayRef stride = {},
    const Padding& padding = PadMode::same, at::IntArrayRef dilation = 1, bool ceil_mode = false);

/// Takes the mean of each window of (N, C, L) or (C, L). The result is (N, C, l) or (C, l), with
/// the sizes and the padding of `max_pool1d`.
///
/// \param count_include_pad  whether the mean includes padding, as zeros, or only the elements of
///                           the window that are in the input. By default it includes padding if
///                           amounts are given, as in `at::avg_pool1d`, but not for `same` and
///                           `same_lower`, as in TensorFlow.
SAMEPAD_API at::Tensor avg_pool1d(const at::Tensor& input, at::IntArrayRef kernel_size,
                                  at::IntArrayRef stride = {},
                                  const Padding& padding = PadMode::same, bool ceil_mode = false,
                                  std::optional<bool> count_include_pad = std::nullopt);

/// Takes the mean of each window of (N, C, H, W) or (C, H, W); see `avg_pool1d`.
///
/// \param divisor_override  what to divide sums by, instead of the number of elements; not 0.
SAMEPAD_API at::Tensor avg_pool2d(const at::Tensor& input, at::IntArrayRef kernel_size,
                                  at::IntArrayRef stride = {},
                                  const Padding& padding = PadMode::same, bool ceil_mode = false,
                                  std::optional<bool> count_include_pad = std::nullopt,
                                  std::optional<int64_t> divisor_override = std::nullopt);

/// Takes the mean of each window of (N, C, D, H, W) or (C, D, H, W); see `avg_pool2d`.
SAMEPAD_API at::Tensor avg_pool3d(const at::Tensor& input, at::IntArrayRef kernel_size,
                                  at::IntArrayRef stride = {},
                                  const Padding& padding = PadMode::same, bool ceil_mode = false,
                                  std::optional<bool> count_include_pad = std::nullopt,
                                  std::optional<int64_t> divisor_override = std::nullopt);

}  // namespace samepad
