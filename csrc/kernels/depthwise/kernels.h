#pragma once

// The depthwise kernels that are compiled for each instruction set. They work on plain memory
// rather than tensors; depthwise.cpp calls them.

#include <cstdint>
#include <type_traits>

#include "../common/arithmetic.h"
#include "../common/conv_shape.h"
#include "../common/epilogue.h"

namespace samepad::kernels {

/// The largest kernel width for which planes are computed in pairs.
inline constexpr int kMostPairColumns = 7;

/// Whether AVX-512 computes the outputs of two planes at a time (plane_pairs.h). That requires
/// float accumulators, input rows that fit into one vector and output rows that fit into half of
/// one.
template <class T>
bool pairs_planes(const ConvShape& shape) {
  return shape.is_flat() && std::is_same_v<Accumulator<T>, float> && shape.input[1] <= 16 &&
         shape.output[1] <= 8 && shape.kernel[1] <= kMostPairColumns;
}

/// The table of kernels. Each computes parts [begin, end) of the work, which threads share; the
/// result does not depend on how they do. Weights are (filters, kernel elements) for planes and
/// (kernel elements, channels) for pixels, and a null bias stands for zeros. If there is an
/// epilogue, the outputs are finished by it. In two dimensions the depth is 1.
template <class T>
struct DepthwiseKernels {
  using Acc = Accumulator<T>;

  // Planes (NCHW): inputs and outputs are (batch, channels, depth, height, width).

  /// The number of bytes of scratch memory that a thread takes for this pass.
  double (*plane_scratch)(Pass pass, const ConvShape& shape);

  /// Computes the outputs of channels [begin, end) of batch * channels.
  void (*plane_output)(const ConvShape& shape, const T* input, const Acc* weight, const Acc* bias,
                       const Epilogue<T>* epilogue, T* output, int64_t begin, int64_t end);
  /// Computes the input's gradient for channels [begin, end) of batch * channels.
  void (*plane_input_gradient)(const ConvShape& shape, const T* gradient, const Acc* weight,
                               T* input_gradient, int64_t begin, int64_t end);
  /// Computes the gradient of the weights of input channels [begin, end).
  void (*plane_weight_gradient)(const ConvShape& shape, const T* gradient, const T* input,
                                Acc* weight_gradient, int64_t begin, int64_t end);

  // Pixels (channels_last): inputs and outputs are (batch, depth, height, width, channels), with
  // one filter per channel.

  /// The most bytes of scratch memory that a thread takes.
  double (*pixel_scratch)(const ConvShape& shape);

  /// Reorders the weight from (channels, kernel elements) for the kernels for
  /// pixels.
  void (*pack_pixel_weight)(const ConvShape& shape, const T* weight, Acc* packed);

  /// Computes rows [begin, end) of images (ConvShape::images) * output height.
  void (*pixel_output)(const ConvShape& shape, const T* input, const Acc* weight, const Acc* bias,
                       const Epilogue<T>* epilogue, T* output, int64_t begin, int64_t end);
  /// Computes rows [begin, end) of batch * input depth * input height of the input's gradient.
  void (*pixel_input_gradient)(const ConvShape& shape, const T* gradient, const Acc* weight,
                               T* input_gradient, int64_t begin, int64_t end);
  /// Adds the contribution of rows [begin, end) of images * output height to the weight's
  /// gradient.
  void (*pixel_weight_gradient)(const ConvShape& shape, const T* gradient, const T* input,
                                Acc* weight_gradient, int64_t begin, int64_t end);
};

/// The kernels compiled for each instruction set. T is float, double, c10::BFloat16 or c10::Half.
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
