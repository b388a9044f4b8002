#pragma once

/// \file
/// SAME pools on tensors. They take the arguments of `at::max_pool1d`, `at::avg_pool1d` and so on
/// in the same order, with `padding` defaulting to SAME.

#include <ATen/core/Tensor.h>
#include <c10/util/ArrayRef.h>
#include <samepad/export.h>
#include <samepad/padding_argument.h>

#include <cstdint>
#include <optional>
#include <tuple>

namespace samepad {

/// Maximum over windows of (N, C, L) or (C, L), giving (N, C, l) or (C, l). Padding is ignored.
///
/// `same` and `same_lower` give l = ceil(L / stride), 0 for L = 0, whatever `ceil_mode`; amounts
/// and `valid` give what `at::max_pool1d` gives.
///
/// \param stride   the kernel size where it is empty.
/// \param padding  see `Padding`; not causal, not negative. Amounts are at most half the kernel
///                 size, as in `at::max_pool1d`; those of pairs at most (k - 1) dilation.
/// \throws c10::Error  where an argument is none of the above, naming it.
SAMEPAD_API at::Tensor max_pool1d(const at::Tensor& input, at::IntArrayRef kernel_size,
                                  at::IntArrayRef stride = {},
                                  const Padding& padding = PadMode::same,
                                  at::IntArrayRef dilation = 1, bool ceil_mode = false);

/// Maximum over windows of (N, C, H, W) or (C, H, W); see `max_pool1d`.
SAMEPAD_API at::Tensor max_pool2d(const at::Tensor& input, at::IntArrayRef kernel_size,
                                  at::IntArrayRef stride = {},
                                  const Padding& padding = PadMode::same,
                                  at::IntArrayRef dilation = 1, bool ceil_mode = false);

/// Maximum over windows of (N, C, D, H, W) or (C, D, H, W); see `max_pool1d`.
SAMEPAD_API at::Tensor max_pool3d(const at::Tensor& input, at::IntArrayRef kernel_size,
                                  at::IntArrayRef stride = {},
                                  const Padding& padding = PadMode::same,
                                  at::IntArrayRef dilation = 1, bool ceil_mode = false);

/// `max_pool1d`, and of which element each maximum is: its index in the input's spatial dimensions,
/// flattened and not padded, as `at::max_unpool2d` takes it. A dilated window of padding alone has
/// -inf, or the smallest integer, and the index of an element near.
SAMEPAD_API std::tuple<at::Tensor, at::Tensor> max_pool1d_with_indices(
    const at::Tensor& input, at::IntArrayRef kernel_size, at::IntArrayRef stride = {},
    const Padding& padding = PadMode::same, at::IntArrayRef dilation = 1, bool ceil_mode = false);

/// `max_pool2d` and indices; see `max_pool1d_with_indices`.
SAMEPAD_API std::tuple<at::Tensor, at::Tensor> max_pool2d_with_indices(
    const at::Tensor& input, at::IntArrayRef kernel_size, at::IntArrayRef stride = {},
    const Padding& padding = PadMode::same, at::IntArrayRef dilation = 1, bool ceil_mode = false);

/// `max_pool3d` and indices; see `max_pool1d_with_indices`.
SAMEPAD_API std::tuple<at::Tensor, at::Tensor> max_pool3d_with_indices(
    const at::Tensor& input, at::IntArrayRef kernel_size, at::IntArrayRef stride = {},
    const Padding& padding = PadMode::same, at::IntArrayRef dilation = 1, bool ceil_mode = false);

/// Mean over windows of (N, C, L) or (C, L), giving (N, C, l) or (C, l), with the sizes and the
/// padding of `max_pool1d`.
///
/// \param count_include_pad  whether padding counts as zeros; otherwise a mean is that of the
///                           window's elements in the input. By default it counts where amounts are
///                           given, as in `at::avg_pool1d`, and does not for `same` and
///                           `same_lower`, as in TensorFlow.
SAMEPAD_API at::Tensor avg_pool1d(const at::Tensor& input, at::IntArrayRef kernel_size,
                                  at::IntArrayRef stride = {},
                                  const Padding& padding = PadMode::same, bool ceil_mode = false,
                                  std::optional<bool> count_include_pad = std::nullopt);

/// Mean over windows of (N, C, H, W) or (C, H, W); see `avg_pool1d`.
///
/// \param divisor_override  what sums are divided by, rather than by a number of elements; not 0.
SAMEPAD_API at::Tensor avg_pool2d(const at::Tensor& input, at::IntArrayRef kernel_size,
                                  at::IntArrayRef stride = {},
                                  const Padding& padding = PadMode::same, bool ceil_mode = false,
                                  std::optional<bool> count_include_pad = std::nullopt,
                                  std::optional<int64_t> divisor_override = std::nullopt);

/// Mean over windows of (N, C, D, H, W) or (C, D, H, W); see `avg_pool2d`.
SAMEPAD_API at::Tensor avg_pool3d(const at::Tensor& input, at::IntArrayRef kernel_size,
                                  at::IntArrayRef stride = {},
                                  const Padding& padding = PadMode::same, bool ceil_mode = false,
                                  std::optional<bool> count_include_pad = std::nullopt,
                                  std::optional<int64_t> divisor_override = std::nullopt);

}  // namespace samepad
