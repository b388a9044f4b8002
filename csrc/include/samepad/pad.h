#pragma once

/// \file
/// SAME padding without a convolution: the amounts of padding, and padded copies of tensors.

#include <ATen/core/Tensor.h>
#include <c10/util/ArrayRef.h>
#include <samepad/export.h>
#include <samepad/padding.h>
#include <samepad/padding_argument.h>

#include <optional>
#include <string_view>
#include <vector>

namespace samepad {

/// The (before, after) padding of each dimension that `mode`, one mode for all dimensions or one
/// per dimension, prescribes.
///
/// \param input_size   one size per dimension, each at least 0.
/// \param kernel_size  one value, or one per dimension, each at least 1; `stride` and `dilation`
///                     likewise.
/// \throws c10::Error  if a value or the number of values is not as above, if `causal` alone is
///                     given for more than one dimension, or if the arithmetic would overflow
///                     int64_t.
SAMEPAD_API std::vector<Pads<int64_t>> same_padding(at::IntArrayRef input_size,
                                                    at::IntArrayRef kernel_size,
                                                    at::IntArrayRef stride = 1,
                                                    at::IntArrayRef dilation = 1,
                                                    const Modes& mode = PadMode::same);

/// Pads `input` as a convolution with this kernel would. Each padded dimension gets the size n +
/// before + after.
///
/// \param input        (N, C, spatial...). The last dimensions are padded: as many as `kernel_size`
///                     has values, or all but the first two if it is a single value.
/// \param kernel_size  one value, or one per dimension, each at least 1; `stride` and `dilation`
///                     one value or as many.
/// \param padding      the rule that determines the amounts, or one per dimension; `causal` alone
///                     is only for one dimension.
/// \param mode         how the padding is filled, as in `at::pad`: "constant", "reflect",
///                     "replicate" or "circular".
/// \param value        the value that "constant" fills with, 0 by default.
/// \throws c10::Error  if an argument is none of the above, naming it; also if "reflect" would add
///                     n or more elements on a side, or "circular" more than n.
SAMEPAD_API at::Tensor pad(const at::Tensor& input, at::IntArrayRef kernel_size,
                           at::IntArrayRef stride = 1, at::IntArrayRef dilation = 1,
                           const Modes& padding = PadMode::same, std::string_view mode = "constant",
                           std::optional<double> value = std::nullopt);

}  // namespace samepad
