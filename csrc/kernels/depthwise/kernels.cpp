// The depthwise kernels for one instruction set, SAMEPAD_ISA. This file is compiled once for each
// of them, with its compiler flags (csrc/kernels/CMakeLists.txt).

#include "../common/compiler_warnings.h"

#include "kernels.h"

#include "pixels.h"
#include "planes.h"

namespace samepad::kernels::SAMEPAD_ISA {

template <class T>
void pack_pixel_weight(const ConvShape& shape, const T* weight, Accumulator<T>* packed) {
  transpose(weight, shape.channels, shape.taps(), shape.taps(), packed, shape.channels);
}

template <class T>
const DepthwiseKernels<T>& depthwise() {
  static constexpr DepthwiseKernels<T> kKernels{
      plane_scratch<T>,         plane_output<T>,         plane_input_gradient<T>,
      plane_weight_gradient<T>, pixel_scratch,           pack_pixel_weight<T>,
      pixel_output<T>,          pixel_input_gradient<T>, pixel_weight_gradient<T>,
  };
  return kKernels;
}

template const DepthwiseKernels<float>& depthwise();
template const DepthwiseKernels<double>& depthwise();
template const DepthwiseKernels<c10::BFloat16>& depthwise();
template const DepthwiseKernels<c10::Half>& depthwise();

}  // namespace samepad::kernels::SAMEPAD_ISA
