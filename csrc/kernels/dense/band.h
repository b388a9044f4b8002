#pragma once

// What the dense kernels have in common: a band of output rows that may span several images.

#include <algorithm>
#include <functional>

#include "../common/conv_shape.h"
#include "../common/vectors.h"

namespace samepad::kernels::SAMEPAD_ISA {

/// Whether there are 32 vector registers, not 16.
inline constexpr bool kManyRegisters = kLanes<float> == 16;

/// How many sums of some hundred products are added to one running sum, whose rounding errors grow
/// with their number; longer ones are sums of such sums.
inline constexpr int64_t kSpan = 32;

/// Copies `count` sums to where they belong, or adds them to those of the spans before.
template <class T>
void put_sums(const T* sums, int64_t count, bool add, T* to) {
  if (add) {
    std::transform(sums, sums + count, to, to, std::plus<>());
  } else {
    std::copy_n(sums, count, to);
  }
}

/// Output rows [begin, end) of one image of a band.
struct ImageRows {
  int64_t image;
  int64_t begin, end;
  int64_t top;     ///< the first input row that they read, which may be padding
  int64_t height;  ///< how many they read
  int64_t source;  ///< how many the images before read
};

/// Calls `visit` with each image's rows; returns how many input rows they read in all.
template <class Visit>
int64_t each_image(const ConvShape& shape, const Pair& rows, const Visit& visit) {
  int64_t source = 0;
  for (int64_t row = rows[0]; row < rows[1];) {
    const int64_t begin = row % shape.output[0];
    const int64_t end = std::min(shape.output[0], begin + rows[1] - row);
    const int64_t height = (end - begin - 1) * shape.stride[0] + shape.extent(0);
    visit(ImageRows{row / shape.output[0], begin, end, begin * shape.stride[0] - shape.before[0],
                    height, source});
    source += height;
    row += end - begin;
  }
  return source;
}

}  // namespace samepad::kernels::SAMEPAD_ISA
