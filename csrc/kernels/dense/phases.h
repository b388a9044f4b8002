#pragma once

// The gradient of a dense convolution's input as convolutions of the output's gradient, one for
// each stride phase.

#include <algorithm>
#include <array>
#include <numeric>

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

  Phase(const Axis& axis, int64_t position) : first(position) {
    const int64_t common = std::gcd(axis.stride, axis.dilation);
    count = ceil_div(axis.input - first, axis.stride);
    tap_step = axis.stride / common;
    dilation = axis.dilation / common;
    // Tap t of output i reads position i stride + t dilation - before.
    const auto reads = [&](int64_t t) {
      return (first + axis.before - t * axis.dilation) % axis.stride == 0;
    };
    tap = 0;
    while (tap < std::min(tap_step, axis.kernel) && !reads(tap)) {
      ++tap;
    }
    taps = tap < tap_step && tap < axis.kernel ? ceil_div(axis.kernel - tap, tap_step) : 0;
    const int64_t output = (first + axis.before - tap * axis.dilation) / axis.stride;
    before = (taps - 1) * dilation - output;
  }

  /// The axis of the convolution that gives this phase of the gradient.
  Axis convolved(const Axis& axis) const { return {axis.output, count, taps, 1, dilation, before}; }

  /// The kernel element that tap `t` of that convolution uses: it uses them in reverse.
  int64_t kernel_element(int64_t t) const { return tap + (taps - 1 - t) * tap_step; }
};

/// The phases along depth, height and width.
using Phases = std::array<Phase, 3>;

/// The convolution of the output's gradient, given its axes, that gives some part of the input's
/// gradient.
inline ConvShape gradient_shape(const ConvShape& shape, const std::array<Axis, 3>& axes) {
  const auto& [depth, height, width] = axes;
  return {shape.batch,
          shape.filters,
          shape.channels,
          1,
          {height.input, width.input},
          {height.output, width.output},
          {height.kernel, width.kernel},
          {1, 1},
          {height.dilation, width.dilation},
          {height.before, width.before},
          depth};
}

inline ConvShape phase_shape(const ConvShape& shape, const Phases& phases) {
  return gradient_shape(shape,
                        {phases[0].convolved(shape.axis(0)), phases[1].convolved(shape.axis(1)),
                         phases[2].convolved(shape.axis(2))});
}

/// The phases that begin at these positions.
inline Phases phases_from(const ConvShape& shape, const std::array<int64_t, 3>& positions) {
  return {Phase(shape.axis(0), positions[0]), Phase(shape.axis(1), positions[1]),
          Phase(shape.axis(2), positions[2])};
}

/// Whether there is a single phase, which is all of the input's gradient.
inline bool is_unstrided(const ConvShape& shape) {
  return shape.depth.stride == 1 && shape.stride == Pair{1, 1};
}

/// The convolution of the output's gradient that gives the input's gradient where the stride is 1.
inline ConvShape unstrided_gradient_shape(const ConvShape& shape) {
  return phase_shape(shape, phases_from(shape, {}));
}

/// The largest of these convolutions: that of the phases with most taps.
inline ConvShape largest_phase(const ConvShape& shape) {
  const auto largest = [&](int i) {
    const Axis axis = shape.axis(i);
    const int64_t common = std::gcd(axis.stride, axis.dilation);
    return Axis{.input = axis.output,
                .output = ceil_div(axis.input, axis.stride),
                .kernel = ceil_div(axis.kernel, axis.stride / common),
                .dilation = axis.dilation / common};
  };
  return gradient_shape(shape, {largest(0), largest(1), largest(2)});
}

}  // namespace samepad::kernels
