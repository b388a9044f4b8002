// The dense kernels for one instruction set, SAMEPAD_ISA: compiled once for each, with its flags
// (csrc/kernels/CMakeLists.txt).

#include "instruction_set.h"

#include "dense_kernels.h"

#include "dense_col2im.h"
#include "dense_pixels.h"
#include "dense_planes.h"
#include "dense_weight_gradient.h"

namespace samepad::kernels::SAMEPAD_ISA {

template <class T>
const DenseKernels<T>& dense() {
  static constexpr DenseKernels<T> kKernels{dense_plane_output<T>,
                                            dense_pixel_output<T>,
                                            dense_few_channel_input_gradient<T>,
                                            dense_weight_gradient<T>,
                                            pack_blocks<T>,
                                            transpose<T, T>,
                                            kBlockFilters<T>,
                                            kLanes<T>};
  return kKernels;
}

template const DenseKernels<float>& dense();
template const DenseKernels<double>& dense();

}  // namespace samepad::kernels::SAMEPAD_ISA
