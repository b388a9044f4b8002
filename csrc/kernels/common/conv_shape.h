#pragma once

// The description of a convolution for the kernels, whose headers do not use tensors.

#include <algorithm>
#include <array>
#include <cstdint>
#include <optional>

namespace samepad::kernels {

/// The results of a convolution that kernels compute.
enum class Pass : uint8_t { output, input_gradient, weight_gradient };

/// One value for the height and one for the width.
using Pair = std::array<int64_t, 2>;

/// One dimension of a convolution. The padding after the input follows from the output's size.
/// Negative padding crops.
struct Axis {
  int64_t input = 1;
  int64_t output = 1;
  int64_t kernel = 1;
  int64_t stride = 1;
  int64_t dilation = 1;
  int64_t before = 0;  ///< padding before the input

  int64_t extent() const { return (kernel - 1) * dilation + 1; }
};

/// A convolution. The kernels compute two-dimensional ones; in three dimensions, they treat every
/// slice of the output, at one position in depth, as an image that is convolved from several slices
/// of the input.
struct ConvShape {
  int64_t batch = 1;
  int64_t channels = 1;  ///< of the input
  int64_t filters = 1;   ///< channels of the output
  int64_t groups = 1;
  Pair input = {1, 1};
  Pair output = {1, 1};
  Pair kernel = {1, 1};
  Pair stride = {1, 1};
  Pair dilation = {1, 1};
  Pair before = {0, 0};  ///< padding before the input
  Axis depth = {};

  /// The dimensions: depth, height and width.
  Axis axis(int i) const {
    return i == 0 ? depth : Axis{input[i - 1],  output[i - 1],   kernel[i - 1],
                                 stride[i - 1], dilation[i - 1], before[i - 1]};
  }

  int64_t extent(int axis) const { return (kernel[axis] - 1) * dilation[axis] + 1; }
  /// The number of preceding outputs whose windows overlap with the window of an output.
  int64_t overlap(int axis) const {
    return std::min((extent(axis) - 1) / stride[axis], output[axis]);
  }
  /// Whether all sizes are so small that the kernels' arithmetic on them does not overflow. Larger
  /// sizes do occur: in tensors that are expanded views, and with enormous padding.
  bool is_countable() const {
    constexpr double kMost = 0x1p30;
    const auto is_small = [&](const Axis& axis) {
      const auto spanned = static_cast<double>(axis.output + 1) * static_cast<double>(axis.stride) +
                           static_cast<double>(axis.kernel) * static_cast<double>(axis.dilation);
      return std::max(spanned, static_cast<double>(axis.input)) < kMost;
    };
    return is_small(axis(0)) && is_small(axis(1)) && is_small(axis(2)) &&
           static_cast<double>(std::max({channels, filters, batch})) < kMost;
  }
  /// Whether it is a convolution of two dimensions: a single slice, which is not one of padding.
  bool is_flat() const {
    return depth.input == 1 && depth.output == 1 && depth.kernel == 1 && depth.before == 0;
  }
  /// The number of output images: one for every position in depth.
  int64_t images() const { return batch * depth.output; }
  /// The number of kernel elements in all slices, and in one.
  int64_t taps() const { return depth.kernel * slice_taps(); }
  int64_t slice_taps() const { return kernel[0] * kernel[1]; }
  /// The position in depth, which may be padding, of the slice of the input that slice `k` of the
  /// kernel reads for this image.
  int64_t slice(int64_t image, int64_t k) const {
    return image % depth.output * depth.stride - depth.before + k * depth.dilation;
  }
  /// Whether this position in depth is part of the input rather than padding.
  bool is_inside(int64_t slice) const { return slice >= 0 && slice < depth.input; }
  /// The image of the output for which slice `k` of the kernel reads slice `input_slice`, counted
  /// over the whole batch, of the input; nothing if there is no such image.
  std::optional<int64_t> image_that_read(int64_t input_slice, int64_t k) const {
    const int64_t position = input_slice % depth.input + depth.before - k * depth.dilation;
    const int64_t output_slice = position / depth.stride;
    if (position < 0 || position % depth.stride != 0 || output_slice >= depth.output) {
      return std::nullopt;
    }
    return input_slice / depth.input * depth.output + output_slice;
  }
  /// The number of filters per input channel of a depthwise convolution.
  int64_t multiplier() const { return filters / channels; }
};

}  // namespace samepad::kernels
