#pragma once

// The gradient of the input of a dense convolution whose input has too few channels to fill
// vectors.
//
// The kernel for NCHW multiplies the weight, as a matrix of products (channels x kernel elements)
// by filters, by the output's gradient, filters by pixels. It does so a few rows at a time, so that
// the result stays in the L2 cache. The input's gradient is the sum of rows of that result, each
// shifted by the position of its kernel element (col2im). Each row of the gradient is summed, one
// stride phase after another, and then written once. So every element is summed in the same order
// for all bands.

#include "../common/vectors.h"
#include "../common/workspace.h"
#include "kernels.h"
#include "planes.h"

namespace samepad::kernels::SAMEPAD_ISA {

/// Adds the sum of `count` rows to `to`. Each row is read from `offset` on, for `length` elements;
/// `last` masks the elements of the last vector that are part of them.
template <class T>
void add_rows(const T* const* rows, int64_t count, int64_t offset, int64_t length,
              const Vec<T>& last, T* to) {
  constexpr int64_t kV = kLanes<T>;
  const auto sum = [&](int64_t i) {
    auto result = Vec<T>::loadu(rows[0] + offset + i);
    for (int64_t r = 1; r < count; ++r) {
      result = result + Vec<T>::loadu(rows[r] + offset + i);
    }
    return result;
  };
  int64_t i = 0;
  for (; i + kV <= length; i += kV) {
    (Vec<T>::loadu(to + i) + sum(i)).store(to + i);
  }
  if (i < length) {
    (Vec<T>::loadu(to + i) + (sum(i) & last)).store(to + i);
  }
}

/// Interleaves sequences that are `pitch` apart: writes the first element of each, then the second
/// of each, and so on, `total` elements in all.
template <class T>
void interleave(const T* from, int64_t sequences, int64_t pitch, int64_t total, T* to) {
  constexpr int64_t kV = kLanes<T>;
  if (sequences == 1) {
    std::copy_n(from, total, to);
    return;
  }
  int64_t done = 0;
  if (sequences == 2) {
    for (; done + 2 * kV <= total; done += 2 * kV) {
      const T* const pair = from + done / 2;
      const auto [low, high] =
          at::vec::interleave2(Vec<T>::loadu(pair), Vec<T>::loadu(pair + pitch));
      low.store(to + done);
      high.store(to + done + kV);
    }
  }
  for (int64_t i = done / sequences; done < total; ++i) {
    for (int64_t s = 0; s < sequences && done < total; ++s) {
      to[done++] = from[s * pitch + i];
    }
  }
}

/// Processes bands of output rows, and writes the rows of the input's gradient that are complete
/// after each band.
template <class T>
class Col2ImGradient {
 public:
  template <class Memory>
  Col2ImGradient(const ConvShape& shape, bool channels_last, int64_t band_rows, Memory& memory)
      : shape_(shape),
        channels_last_(channels_last),
        band_rows_(band_rows),
        rows_before_(shape.overlap(0)),
        plane_((rows_before_ + band_rows) * shape.output[1]),
        phases_(std::min(shape.stride[1], shape.input[1])),
        pitch_((ceil_div(ceil_div(shape.input[1], phases_), kV) + 1) * kV),
        taps_(memory.template take<Tap>(shape.kernel[1])),
        rows_(memory.template take<const T*>(shape.kernel[0])),
        sums_(memory.template take<T>(shape.channels, phases_, pitch_)),
        products_(memory.template take_more<T>(kV, shape.channels, shape.taps(), plane_)),
        planes_(memory.template take<T>(channels_last ? shape.filters : 0, plane_)) {}

  /// The number of bytes that the kernel for NCHW takes besides.
  double scratch_to_multiply() const { return dense_plane_scratch<T>(products(0), whole_band()); }

  void run(const T* gradient, const T* weight, const T* bias, T* result, int64_t begin,
           int64_t end) const {
    for (int64_t x = 0; x < shape_.kernel[1]; ++x) {
      taps_[x] = Tap(shape_, x);
    }
    const int64_t bands = ceil_div(shape_.output[0], band_rows_);
    for (int64_t i = begin; i < end; ++i) {
      const int64_t image = i / bands;
      const int64_t first = i % bands * band_rows_;
      const int64_t last = std::min(first + band_rows_, shape_.output[0]);
      const bool goes_on = i > begin && first > 0;
      if (goes_on) {
        keep_rows_before();
      }
      multiply(gradient + image * shape_.filters * shape_.output[0] * shape_.output[1], weight,
               first - rows_before_,
               {goes_on ? first : std::max<int64_t>(first - rows_before_, 0), last});
      const int64_t end_row = last == shape_.output[0] ? shape_.input[0] : first_row(last);
      for (int64_t row = first == 0 ? 0 : first_row(first); row < end_row; ++row) {
        write_row(image, row, first - rows_before_, bias, result);
      }
    }
  }

 private:
  static constexpr int64_t kV = kLanes<T>;

  /// How a column of the kernel contributes: which part of an output row it adds to which phase of
  /// the result.
  struct Tap {
    int64_t phase;
    int64_t source;
    int64_t target;
    int64_t length;  ///< not positive if it adds nothing
    Vec<T> last;

    Tap(const ConvShape& shape, int64_t x) {
      const int64_t stride = shape.stride[1];
      const int64_t first = x * shape.dilation[1] - shape.before[1];
      const int64_t shift = floor_div(first, stride);
      phase = floor_mod(first, stride);
      source = std::max<int64_t>(-shift, 0);
      target = std::max<int64_t>(shift, 0);
      length =
          std::min(shape.output[1] - source, ceil_div(shape.input[1] - phase, stride) - target);
      last = first_elements<T>(floor_mod(length, kV));
    }
  };

  /// The first row of the result to which this output row contributes but no previous one does; all
  /// rows before it are complete once the previous output rows have been added.
  int64_t first_row(int64_t output_row) const {
    return std::clamp<int64_t>(output_row * shape_.stride[0] - shape_.before[0], 0,
                               shape_.input[0]);
  }

  /// Keeps the products of the previous band's last rows, which the results of this band need as
  /// well.
  void keep_rows_before() const {
    const int64_t moved = band_rows_ * shape_.output[1];
    for (int64_t k = 0; k < shape_.channels * shape_.taps(); ++k) {
      T* const plane = products_ + k * plane_;
      std::copy(plane + moved, plane + plane_, plane);
    }
  }

  /// The convolution, 1x1, that multiplies a band of the output's gradient by the weight. `top` is
  /// the output row whose products come first in `products_`.
  ConvShape products(int64_t top) const {
    return {.channels = shape_.filters,
            .filters = shape_.channels * shape_.taps(),
            .input = shape_.output,
            .output = {rows_before_ + band_rows_, shape_.output[1]},
            .before = {-top, 0}};
  }

  DensePart whole_band() const {
    return {{0, rows_before_ + band_rows_}, {0, shape_.channels * shape_.taps()}};
  }

  /// Computes the products of these output rows of an image.
  void multiply(const T* gradient, const T* weight, int64_t top, const Pair& rows) const {
    ConvShape products = this->products(top);
    if (channels_last_) {
      const int64_t pixels = (rows[1] - rows[0]) * shape_.output[1];
      transpose(gradient + rows[0] * shape_.output[1] * shape_.filters, pixels, shape_.filters,
                shape_.filters, planes_, pixels);
      gradient = planes_;
      products.input[0] = rows[1] - rows[0];
      products.before[0] = rows[0] - top;
    }
    dense_plane_output<T>(products, gradient, weight, nullptr, nullptr, products_,
                          {{rows[0] - top, rows[1] - top}, {0, products.filters}});
  }

  /// The place of the sums of a channel's phase. They are in the order in which the result
  /// interleaves them.
  T* sums(int64_t channel, int64_t phase) const {
    return sums_ +
           (channels_last_ ? phase * shape_.channels + channel : channel * phases_ + phase) *
               pitch_;
  }

  void write_row(int64_t image, int64_t row, int64_t top, const T* bias, T* result) const {
    const int64_t width = shape_.input[1];
    for (int64_t c = 0; c < shape_.channels; ++c) {
      for (int64_t p = 0; p < phases_; ++p) {
        std::fill_n(sums(c, p), pitch_, bias != nullptr ? bias[c] : T(0));
      }
      add_taps(c, row, top);
      if (!channels_last_) {
        interleave(sums(c, 0), phases_, pitch_, width,
                   result + ((image * shape_.channels + c) * shape_.input[0] + row) * width);
      }
    }
    if (channels_last_) {
      interleave(sums_, phases_ * shape_.channels, pitch_, width * shape_.channels,
                 result + (image * shape_.input[0] + row) * width * shape_.channels);
    }
  }

  void add_taps(int64_t channel, int64_t row, int64_t top) const {
    int64_t count = 0;
    for (int64_t y = 0; y < shape_.kernel[0]; ++y) {
      const int64_t place = row + shape_.before[0] - y * shape_.dilation[0];
      const int64_t output_row = place / shape_.stride[0];
      if (place >= 0 && place % shape_.stride[0] == 0 && output_row < shape_.output[0]) {
        rows_[count++] = products_ + (channel * shape_.kernel[0] + y) * shape_.kernel[1] * plane_ +
                         (output_row - top) * shape_.output[1];
      }
    }
    for (int64_t x = 0; count > 0 && x < shape_.kernel[1]; ++x) {
      const Tap& tap = taps_[x];
      if (tap.length > 0) {
        add_rows(rows_, count, x * plane_ + tap.source, tap.length, tap.last,
                 sums(channel, tap.phase) + tap.target);
      }
    }
  }

  const ConvShape& shape_;
  bool channels_last_;
  int64_t band_rows_;
  int64_t rows_before_;  ///< number of output rows before a band that its results depend on too
  int64_t plane_;        ///< number of elements per product
  int64_t phases_;       ///< number of stride phases in a row
  int64_t pitch_;        ///< distance from one phase to the next
  Tap* taps_;
  const T** rows_;
  T* sums_;
  T* products_;
  T* planes_;
};

template <class T>
void dense_col2im_input_gradient(const ConvShape& shape, const T* gradient, const T* weight,
                                 const T* bias, T* result, bool channels_last, int64_t band_rows,
                                 int64_t begin, int64_t end) {
  Workspace workspace;
  Col2ImGradient<T>(shape, channels_last, band_rows, workspace)
      .run(gradient, weight, bias, result, begin, end);
}

template <class T>
double dense_col2im_scratch(const ConvShape& shape, bool channels_last, int64_t band_rows) {
  ScratchSize size;
  return Col2ImGradient<T>(shape, channels_last, band_rows, size).scratch_to_multiply() +
         size.bytes();
}

}  // namespace samepad::kernels::SAMEPAD_ISA
