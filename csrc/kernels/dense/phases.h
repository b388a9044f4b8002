#pragma once

// The gradient of a dense convolution's input as convolutions of the output's gradient, one for
// each stride phase.

#include <algorithm>
#include <numeric>
#include <utility>

#include "../common/arithmetic.h"
#include "../common/conv_shape.h"

namespace samepad::kernels {

/// Positions of the input along one axis, a stride apart. Their gradient is a convolution of the
/// output's by some taps of the kernel, in reverse.
struct Phase {
  int64_t first;     ///< position
  int64_t count;     ///< of positions
  int64_t tap;       ///< the first tap
  int64_t tap_step;  ///< from one to the next
  int64_t taps;
  int64_t dilation;
  int64_t before;

  Phase(const ConvShape& shape, int axis, int64_t position) : first(position) {
    const int64_t stride = shape.stride[axis];
    const int64_t kernel = shape.kernel[axis];
    const int64_t common = std::gcd(stride, shape.dilation[axis]);
    count = ceil_div(shape.input[axis] - first, stride);
    tap_step = stride / common;
    dilation = shape.dilation[axis] / common;
    // Tap t of output i reads position i stride + t dilation - before.
    const auto reads = [&](int64_t t) {
      return (first + shape.before[axis] - t * shape.dilation[axis]) % stride == 0;
    };
    tap = 0;
    while (tap < std::min(tap_step, kernel) && !reads(tap)) {
      ++tap;
    }
    taps = tap < tap_step && tap < kernel ? ceil_div(kernel - tap, tap_step) : 0;
    const int64_t output = (first + shape.before[axis] - tap * shape.dilation[axis]) / stride;
    before = (taps - 1) * dilation - output;
  }
};

/// The largest of the convolutions that give the input's gradient: of the phase with most taps.
inline ConvShape largest_phase(const ConvShape& shape) {
  ConvShape result = shape;
  std::swap(result.channels, result.filters);
  result.input = shape.output;
  result.stride = {1, 1};
  for (const int axis : {0, 1}) {
    const int64_t common = std::gcd(shape.stride[axis], shape.dilation[axis]);
    result.output[axis] = ceil_div(shape.input[axis], shape.stride[axis]);
    result.kernel[axis] = ceil_div(shape.kernel[axis], shape.stride[axis] / common);
    result.dilation[axis] = shape.dilation[axis] / common;
  }
  return result;
}

}  // namespace samepad::kernels
