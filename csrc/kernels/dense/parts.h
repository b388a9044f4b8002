#pragma once

// How the dense kernels divide a convolution into parts, which threads share.

#include <ATen/Parallel.h>

#include <algorithm>

#include "../common/arithmetic.h"
#include "../common/cpu.h"
#include "kernels.h"

namespace samepad::kernels {

/// The number of output pixels to compute at a time: some hundred, because neighbouring rows read
/// some of the same input, but no more than the L2 cache holds the sums of.
inline constexpr int64_t kBandElements = 131072;
inline int64_t band_pixels(const ConvShape& shape) {
  constexpr int64_t kPixels = 512;
  return std::min(kPixels, kBandElements / (shape.filters / shape.groups));
}

/// Fewer pixels are not worth what every part does for itself: the input is copied, the weight
/// read.
inline constexpr int64_t kLeastPixels = 128;

/// The same convolution with longer rows, if every output reads the input at its own position alone
/// (1x1, without stride and padding): rows that follow each other in memory are joined up to
/// `longest` pixels. They are copied at once, and fill whole vectors, as rows of 7 or 14 pixels do
/// not.
inline ConvShape with_long_rows(const ConvShape& shape, int64_t longest) {
  const Pair& size = shape.input;
  ConvShape result = shape;
  if (shape.slice_taps() == 1 && shape.stride == Pair{1, 1} && shape.before == Pair{0, 0} &&
      shape.output == size && size[0] > 0 && size[1] > 0 && size[1] <= longest) {
    int64_t rows = std::min(size[0], longest / size[1]);
    while (size[0] % rows != 0) {
      --rows;
    }
    result.input = result.output = {size[0] / rows, size[1] * rows};
  }
  return result;
}

inline ConvShape with_long_rows(const ConvShape& shape) {
  return with_long_rows(shape, band_pixels(shape));
}

/// The number of output rows to compute at a time. In channels_last, the L2 cache has to hold their
/// input too.
inline int64_t band_rows(const ConvShape& shape, bool channels_last) {
  int64_t pixels = band_pixels(shape);
  if (channels_last) {
    // What is copied for each row. It is computed in floating point, which does not overflow.
    const double columns =
        static_cast<double>(shape.output[1]) * static_cast<double>(shape.stride[1]) +
        static_cast<double>(shape.kernel[1]) * static_cast<double>(shape.dilation[1]);
    const double row = columns * static_cast<double>(shape.stride[0]) *
                       static_cast<double>(shape.channels / shape.groups) *
                       static_cast<double>(shape.depth.kernel);
    pixels = std::min(pixels, static_cast<int64_t>(static_cast<double>(kBandElements) / row *
                                                   static_cast<double>(shape.output[1])));
  }
  return std::max<int64_t>(pixels / shape.output[1], 1);
}

/// The band of `rows` output rows that reads the most input: it begins with the last row of an
/// image, so that it spans as many images as possible.
inline Pair largest_band(const ConvShape& shape, int64_t rows) {
  const int64_t all = shape.images() * shape.output[0];
  const int64_t first = std::clamp<int64_t>(all - rows, 0, shape.output[0] - 1);
  return {first, std::min(first + rows, all)};
}

/// The parts of a convolution. `block` is the number of filters that are not divided.
class Parts {
 public:
  Parts(const ConvShape& shape, bool channels_last, int64_t block)
      : rows_(shape.images() * shape.output[0]),
        bands_(ceil_div(rows_, band_rows(shape, channels_last))),
        groups_(shape.groups),
        filters_(shape.filters / shape.groups),
        block_(block),
        blocks_(ceil_div(filters_, block)) {
    constexpr int64_t kLeastFilters = 32;
    const int64_t threads = at::get_num_threads();
    // Bands for all threads alike; where there are too few, filters are shared.
    if (bands_ > threads || rows_ * shape.output[1] >= threads * kLeastPixels) {
      bands_ = std::min(rows_, ceil_div(bands_, threads) * threads);
    }
    shares_ = std::clamp<int64_t>(ceil_div(threads, bands_ * groups_), 1,
                                  std::min(blocks_, ceil_div(filters_, kLeastFilters)));
  }

  int64_t bands() const { return bands_; }

  int64_t count() const { return bands_ * groups_ * shares_; }

  DensePart operator[](int64_t i) const {
    const int64_t share = i % shares_;
    const int64_t group = i / shares_ % groups_;
    const int64_t band = i / shares_ / groups_;
    const auto filter = [&](int64_t share) {
      return group * filters_ + std::min(blocks_ * share / shares_ * block_, filters_);
    };
    return {{rows_ * band / bands_, rows_ * (band + 1) / bands_},
            {filter(share), filter(share + 1)}};
  }

 private:
  int64_t rows_;
  int64_t bands_;
  int64_t groups_;
  int64_t filters_;  ///< of a group
  int64_t block_;    ///< of filters
  int64_t blocks_;
  int64_t shares_ = 1;
};

}  // namespace samepad::kernels
