#pragma once

// The description of a convolution for the kernels, whose headers do not use tensors.

#include <algorithm>
#include <array>
#include <cstdint>

namespace samepad::kernels {

/// The results of a convolution that kernels compute.
enum class Pass : uint8_t { output, input_gradient, weight_gradient };

/// One value for the height and one for the width.
using Pair = std::array<int64_t, 2>;

/// A convolution. The padding after the input follows from the output's size. Negative padding
/// crops.
struct ConvShape {
  int64_t batch;
  int64_t channels;  ///< of the input
  int64_t filters;   ///< channels of the output
  int64_t groups;
  Pair input;
  Pair output;
  Pair kernel;
  Pair stride;
  Pair dilation;
  Pair before;  ///< padding before the input

  int64_t extent(int axis) const { return (kernel[axis] - 1) * dilation[axis] + 1; }
  /// The number of preceding outputs whose windows overlap with the window of an output.
  int64_t overlap(int axis) const {
    return std::min((extent(axis) - 1) / stride[axis], output[axis]);
  }
  /// Whether all sizes are so small that the kernels' arithmetic on them does not overflow. Larger
  /// ones come from tensors that are expanded views, or whose padding was written by mistake.
  bool is_countable() const {
    constexpr double kMost = 1 << 30;
    const auto spanned = [&](int axis) {
      return static_cast<double>(output[axis] + 1) * static_cast<double>(stride[axis]) +
             static_cast<double>(kernel[axis]) * static_cast<double>(dilation[axis]);
    };
    return spanned(0) < kMost && spanned(1) < kMost && std::max(channels, filters) < kMost &&
           std::max(input[0], input[1]) < kMost && batch < kMost;
  }
  int64_t taps() const { return kernel[0] * kernel[1]; }
  /// The number of filters per input channel of a depthwise convolution.
  int64_t multiplier() const { return filters / channels; }
};

}  // namespace samepad::kernels
