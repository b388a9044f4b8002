// The dense kernels for one instruction set, SAMEPAD_ISA. This file is compiled once for each of
// them, with its compiler flags (csrc/kernels/CMakeLists.txt).

#include "../common/compiler_warnings.h"

#include "kernels.h"

#include "col2im.h"
#include "pixels.h"
#include "planes.h"
#include "weight_gradient.h"

namespace samepad::kernels::SAMEPAD_ISA {

template <class T>
const DenseKernels<T>& dense() {
  static constexpr DenseKernels<T> kKernels{
      {dense_pixel_output<T>, dense_pixel_scratch<T>, whole_filters, pack_blocks<T>,
       transpose<T, T>, kBlockFilters<T>, kLanes<T>, /*run_step=*/1},
      dense_plane_output<T>,
      dense_plane_scratch<T>,
      dense_col2im_input_gradient<T>,
      dense_col2im_scratch<T>,
      dense_weight_gradient<T>,
      dense_weight_scratch<T>};
  return kKernels;
}

template const DenseKernels<float>& dense();
template const DenseKernels<double>& dense();

}  // namespace samepad::kernels::SAMEPAD_ISA
