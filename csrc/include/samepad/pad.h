#pragma once

/// \file
/// SAME padding on its own: the amounts, and a tensor with them around it.

#include <ATen/core/Tensor.h>
#include <c10/util/ArrayRef.h>
#include <samepad/export.h>
#include <samepad/padding.h>

#include <optional>
#include <string_view>
#include <vector>

namespace samepad {

/// The (before, after) padding of each dimension that `mode` asks for.
///
/// \param input_size   one size per dimension, each at least 0.
/// \param kernel_size  one value, or one per dimension, each at least 1; `stride` and `dilation`
///                     likewise.
/// \throws c10::Error  where a value or the number of values is not as above, where
///                     `causal` meets more than one dimension, or where the arithmetic would
///                     exceed int64_t.
SAMEPAD_API std::vector<Pads<int64_t>> same_padding(at::IntArrayRef input_size,
                                                    at::IntArrayRef kernel_size,
                                                    at::IntArrayRef stride = 1,
                                                    at::IntArrayRef dilation = 1,
                                                    PadMode mode = PadMode::same);

/// `input` with the padding around it that a kernel asks for, each padded dimension of size
/// n + before + after.
///
/// \param input        (N, C, spatial...). The last dimensions are padded: as many as `kernel_size`
///                     has values, or all but two for a single value.
/// \param kernel_size  one value, or one per dimension, each at least 1; `stride` and `dilation`
///                     one value or as many.
/// \param padding      which rule chooses the amounts; `causal` for one dimension.
/// \param mode         what the padding holds, as in `at::pad`: "constant", "reflect",
///                     "replicate" or "circular".
/// \param value        what "constant" fills with, 0 by default.
/// \throws c10::Error  where an argument is none of the above, naming it; where "reflect" would
///                     pad n elements or more, or "circular" more than n.
SAMEPAD_API at::Tensor pad(const at::Tensor& input, at::IntArrayRef kernel_size,
                           at::IntArrayRef stride = 1, at::IntArrayRef dilation = 1,
                           PadMode padding = PadMode::same, std::string_view mode = "constant",
                           std::optional<double> value = std::nullopt);

}  // namespace samepad
