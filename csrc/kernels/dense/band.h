#pragma once

// What the dense kernels share: bands of output rows, which may span several images.

#include <algorithm>
#include <functional>

#include "../common/conv_shape.h"
#include "../common/vectors.h"

namespace samepad::kernels::SAMEPAD_ISA {

/// Whether there are 32 vector registers (AVX-512) rather than 16 (AVX2).
inline constexpr bool kManyRegisters = kLanes<float> == 16;

/// The number of K blocks, of some hundred products each, that are added to one running sum.
/// Rounding errors grow with the length of a running sum, so longer sums are split into spans of
/// this length, which are then added up.
inline constexpr int64_t kSpan = 32;

/// Stores the `count` sums of a span in the output, or adds them to those of the previous spans
/// there.
template <class T>
void put_sums(const T* sums, int64_t count, bool add, T* to) {
  if (add) {
    std::transform(sums, sums + count, to, to, std::plus<>());
  } else {
    std::copy_n(sums, count, to);
  }
}

/// The distance between pixels in scratch memory. If it were a multiple of 512 bytes, the pixels of
/// a row would map to few sets of the L1 cache and evict each other.
template <class T>
int64_t pixel_pitch(int64_t channels) {
  constexpr int64_t kBytes = 512;
  const bool competing = channels * static_cast<int64_t>(sizeof(T)) % kBytes == 0;
  return competing ? channels + kLanes<T> : channels;
}

/// The part of a band that lies in one image: its output rows [begin, end).
struct ImageRows {
  int64_t image;
  int64_t begin, end;
  int64_t top;     ///< the first input row that they read, which may be padding
  int64_t height;  ///< the number of input rows that they read
  int64_t source;  ///< the number of input rows that the previous images of the band read
};

/// Calls `visit` with the rows of each image in the band. Returns the number of input rows that the
/// band reads.
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
