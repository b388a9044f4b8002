#pragma once

// Dense and grouped convolutions on plain memory: what there is for each instruction set. Nothing
// here knows tensors; csrc/kernels/dense.cpp calls it.

#include "../common/conv_shape.h"

namespace samepad::kernels {

/// A part of the output, computed at a time. Every element is summed up in the same order, whatever
/// the parts are.
struct DensePart {
  Pair rows;     ///< [first, last) of batch * output height
  Pair filters;  ///< [first, last), all of one group
};

/// The weight of a convolution of pixels.
template <class T>
struct DenseWeight {
  const T* data;
  /// Whether filters are (kernel height, kernel width, channels), not (channels, kernel height,
  /// kernel width).
  bool channels_last;
  /// Whether they have been packed in blocks, which pays where many parts use them.
  bool packed;
};

/// Where pixels of the output go: how far it is from one to the next, in elements.
struct PixelSteps {
  int64_t image;
  int64_t row;
  int64_t column;
};

/// T is float or double; a null bias is zeros.
template <class T>
struct DenseKernels {
  /// Of inputs and outputs (batch, channels, height, width) and weights (filters, channels /
  /// groups, kernel height, kernel width).
  void (*plane_output)(const ConvShape& shape, const T* input, const T* weight, const T* bias,
                       T* output, const DensePart& part);

  /// Of inputs and outputs (batch, height, width, channels), in one group. Parts begin with a block
  /// of filters.
  void (*pixel_output)(const ConvShape& shape, const T* input, const DenseWeight<T>& weight,
                       const T* bias, T* output, const PixelSteps& steps, const DensePart& part);

  /// The input's gradient, for inputs of few channels, in their layout. `weight` is (channels,
  /// kernel height, kernel width, filters). The output's gradient is read in bands of so many rows,
  /// image by image; [begin, end) says which.
  void (*col2im_input_gradient)(const ConvShape& shape, const T* gradient, const T* weight,
                                const T* bias, T* result, bool channels_last, int64_t band_rows,
                                int64_t begin, int64_t end);

  /// Products [begin, end) of the weight's gradient, in blocks of filters: (blocks, products,
  /// block), where products are in the order of the layout. It is summed up over bands of so many
  /// output rows.
  void (*weight_gradient)(const ConvShape& shape, const T* gradient, const T* input,
                          bool channels_last, int64_t band_rows, T* weight_gradient, int64_t begin,
                          int64_t end);

  /// Packs blocks [begin, end) of `filters` filters of `products` elements each. The result takes
  /// `products` elements for each filter of whole blocks.
  void (*pack_blocks)(const T* weight, int64_t filters, int64_t products, int64_t begin,
                      int64_t end, T* packed);
  /// `to`, rows `to_pitch` apart, is the transpose of a matrix whose rows are `pitch` apart.
  void (*transpose)(const T* from, int64_t rows, int64_t columns, int64_t pitch, T* to,
                    int64_t to_pitch);
  /// Filters in a block, and in a vector: the last block of a weight is filled up to whole vectors.
  int64_t block;
  int64_t lanes;
};

/// The kernels compiled for an instruction set.
#ifdef SAMEPAD_X86_KERNELS
namespace avx2 {
template <class T>
const DenseKernels<T>& dense();
}
namespace avx512 {
template <class T>
const DenseKernels<T>& dense();
}
#endif

}  // namespace samepad::kernels
