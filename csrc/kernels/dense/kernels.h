#pragma once

// The dense and grouped kernels that are compiled for each instruction set. They work on plain
// memory rather than tensors; dense.cpp calls them.

#include <c10/util/BFloat16.h>

#include "../common/arithmetic.h"
#include "../common/conv_shape.h"
#include "../common/cpu.h"
#include "../common/epilogue.h"
#include "runs.h"

namespace samepad::kernels {

/// A part of the output that one call computes. Every element is summed in the same order, however
/// the output is divided into parts.
struct DensePart {
  Pair rows;     ///< [first, last) of images (ConvShape::images) * output height
  Pair filters;  ///< [first, last), all of one group
};

/// The weight of a convolution in channels_last.
template <class T>
struct DenseWeight {
  const T* data;
  /// Whether each filter is stored as (kernel height, kernel width, channels) rather than
  /// (channels, kernel height, kernel width).
  bool channels_last;
  /// Whether the filters have been packed into blocks, which pays off if many parts use them.
  bool packed;
};

/// The layout of the output's pixels: the distances, in elements, from one element of the batch,
/// slice, row and column to the next.
struct PixelSteps {
  int64_t image;
  int64_t slice;
  int64_t row;
  int64_t column;
};

/// The table of the kernels for channels_last. A null bias stands for zeros. If there is an
/// epilogue, the outputs are finished by it.
template <class T>
struct PixelKernels {
  /// Computes a part of the output in channels_last: inputs and outputs are (batch, depth, height,
  /// width, channels), in one group. A part begins at the first filter of a block.
  void (*pixel_output)(const ConvShape& shape, const T* input, const DenseWeight<T>& weight,
                       const T* bias, const Epilogue<T>* epilogue, T* output,
                       const PixelSteps& steps, const DensePart& part);
  /// The number of bytes of scratch memory that it takes.
  double (*pixel_scratch)(const ConvShape& shape, const DensePart& part);

  /// How a weight with so many channels and kernel elements is divided.
  Runs (*runs)(int64_t channels, int64_t taps, int64_t kernel_width);
  /// Packs blocks [begin, end) of `filters` filters, which consist of runs of elements, one run
  /// after the other. The packed weight needs room for whole blocks of filters.
  void (*pack_blocks)(const T* weight, int64_t filters, const Runs& runs, int64_t begin,
                      int64_t end, T* packed);
  /// Transposes a matrix whose rows are `pitch` apart into `to`, whose rows are `to_pitch` apart.
  void (*transpose)(const T* from, int64_t rows, int64_t columns, int64_t pitch, T* to,
                    int64_t to_pitch);
  /// The number of filters in a block and in a vector. The last block of a packed weight is padded
  /// to whole vectors.
  int64_t block;
  int64_t lanes;
  /// The number of elements of a filter that are multiplied at once.
  int64_t run_step;
};

/// The table of all dense kernels. T is float or double.
template <class T>
struct DenseKernels : PixelKernels<T> {
  /// Computes a part of the output in NCHW: inputs and outputs are (batch, channels, depth,
  /// height, width) and weights (filters, channels / groups, kernel depth, height and width).
  void (*plane_output)(const ConvShape& shape, const T* input, const T* weight, const T* bias,
                       const Epilogue<T>* epilogue, T* output, const DensePart& part);
  double (*plane_scratch)(const ConvShape& shape, const DensePart& part);

  /// Computes the gradient of a two-dimensional input of few channels, in the input's layout, by
  /// col2im. `weight` is (channels, kernel height, kernel width, filters). The output's gradient is
  /// processed in bands of `band_rows` rows, image by image, of which this call processes [begin,
  /// end).
  void (*col2im_input_gradient)(const ConvShape& shape, const T* gradient, const T* weight,
                                const T* bias, T* result, bool channels_last, int64_t band_rows,
                                int64_t begin, int64_t end);
  double (*col2im_scratch)(const ConvShape& shape, bool channels_last, int64_t band_rows);

  /// Computes rows [begin, end) of the weight's gradient as a matrix of products (kernel elements
  /// of all channels) by filters, whose layout is (blocks of filters, products, filters of a
  /// block). The order of the products is that of the weight in this layout. Output rows are
  /// processed in bands of `band_rows`.
  void (*weight_gradient)(const ConvShape& shape, const T* gradient, const T* input,
                          bool channels_last, int64_t band_rows, T* weight_gradient, int64_t begin,
                          int64_t end);
  double (*weight_scratch)(const ConvShape& shape, bool channels_last, const Pair& band);
};

/// The kernels compiled for each instruction set.
#ifdef SAMEPAD_X86_KERNELS
namespace avx2 {
template <class T>
const DenseKernels<T>& dense();
}
namespace avx512 {
template <class T>
const DenseKernels<T>& dense();
const PixelKernels<c10::BFloat16>& dense_bfloat16(Bfloat16Products products);
}  // namespace avx512
#endif

}  // namespace samepad::kernels
