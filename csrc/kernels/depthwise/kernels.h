#pragma once

// Depthwise convolutions on plain memory: what there is for each instruction set. Nothing here
// knows tensors; depthwise.cpp calls it.

#include <cstdint>
#include <type_traits>

#include "../common/arithmetic.h"
#include "../common/conv_shape.h"

namespace samepad::kernels {

/// The most columns of a kernel that pairs of planes are computed with.
inline constexpr int kMostPairColumns = 7;

/// Whether AVX-512 computes the outputs of two planes at a time (depthwise_plane_pairs.h): where
/// they are summed as floats, of which a vector holds an input row and half a vector an output row.
template <class T>
bool pairs_planes(const ConvShape& shape) {
  return std::is_same_v<Accumulator<T>, float> && shape.input[1] <= 16 && shape.output[1] <= 8 &&
         shape.kernel[1] <= kMostPairColumns;
}

/// Parts [begin, end) of the work, which threads share out; the result does not depend on how.
/// Weights are (filters, kernel height, kernel width) for planes and (kernel height, kernel width,
/// channels) for pixels; a null bias is zeros.
template <class T>
struct DepthwiseKernels {
  using Acc = Accumulator<T>;

  // Planes: inputs and outputs are (batch, channels, height, width).

  /// The output of input planes [begin, end) of batch * channels.
  void (*plane_output)(const ConvShape& shape, const T* input, const Acc* weight, const Acc* bias,
                       T* output, int64_t begin, int64_t end);
  /// The gradient of input planes [begin, end) of batch * channels.
  void (*plane_input_gradient)(const ConvShape& shape, const T* gradient, const Acc* weight,
                               T* input_gradient, int64_t begin, int64_t end);
  /// The gradient of the weights of input channels [begin, end).
  void (*plane_weight_gradient)(const ConvShape& shape, const T* gradient, const T* input,
                                Acc* weight_gradient, int64_t begin, int64_t end);

  // Pixels: inputs and outputs are (batch, height, width, channels); the multiplier is 1.

  /// The weight as the kernels for pixels take it, from (channels, 1, kernel height, kernel width).
  void (*pack_pixel_weight)(const ConvShape& shape, const T* weight, Acc* packed);

  /// Rows [begin, end) of batch * output height.
  void (*pixel_output)(const ConvShape& shape, const T* input, const Acc* weight, const Acc* bias,
                       T* output, int64_t begin, int64_t end);
  /// Rows [begin, end) of batch * input height.
  void (*pixel_input_gradient)(const ConvShape& shape, const T* gradient, const Acc* weight,
                               T* input_gradient, int64_t begin, int64_t end);
  /// What rows [begin, end) of batch * output height add to the weights' gradient.
  void (*pixel_weight_gradient)(const ConvShape& shape, const T* gradient, const T* input,
                                Acc* weight_gradient, int64_t begin, int64_t end);
};

/// The kernels compiled for an instruction set; T is float, double, c10::BFloat16 or c10::Half.
namespace generic {
template <class T>
const DepthwiseKernels<T>& depthwise();
}
#ifdef SAMEPAD_X86_KERNELS
namespace avx2 {
template <class T>
const DepthwiseKernels<T>& depthwise();
}
namespace avx512 {
template <class T>
const DepthwiseKernels<T>& depthwise();
}
#endif

}  // namespace samepad::kernels
