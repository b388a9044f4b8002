#pragma once

// Depthwise convolutions in channels_last: (batch, height, width, channels).
//
// Vectors hold channels. A few pixels of a row are computed together, so that each weight is loaded
// once for all of them. At the borders, kernel elements that fall on padding are skipped. The
// input's gradient is computed in the same way, one stride phase after the other.

#include "../common/vectors.h"
#include "../common/workspace.h"
#include "pixel_rows.h"

namespace samepad::kernels::SAMEPAD_ISA {

/// A kernel element (tap) as it is applied to a row of pixels.
struct PixelTap {
  int64_t row;     ///< where the row that it reads starts, in elements
  int64_t shift;   ///< distance from a pixel's own column to the one that it reads, in columns
  int64_t weight;  ///< where its weights start
};

/// A line of pixels to which the same taps apply. The own column of pixel i in the source is
/// source_first + i source_step, and its place in the target is target_first + i target_step.
struct PixelLine {
  int64_t count;
  int64_t source_first, source_step;  ///< in columns of the source
  int64_t target_first, target_step;
  int64_t source_width;

  /// The pixels [begin, end) for which a tap of this shift reads inside the row.
  std::array<int64_t, 2> inside(int64_t shift) const {
    const int64_t begin =
        std::clamp<int64_t>(ceil_div(-source_first - shift, source_step), 0, count);
    return {begin, std::clamp(floor_div(source_width - 1 - source_first - shift, source_step) + 1,
                              begin, count)};
  }
};

/// The micro-kernel: a register tile of kPixels pixels by kPairs pairs of vectors of channels.
template <class T, int kPixels, int kPairs>
void pixel_block(const PixelTap* taps, int64_t count, int64_t channels,
                 const Accumulator<T>* weight, const Accumulator<T>* bias, const T* source,
                 int64_t source_step, T* target, int64_t target_step) {
  using Acc = Accumulator<T>;
  constexpr int64_t kV = kLanes<Acc>;
  std::array<std::array<VecPair<Acc>, kPairs>, kPixels> sums;
#pragma GCC unroll 4
  for (int c = 0; c < kPairs; ++c) {
    const auto start = bias == nullptr ? VecPair<Acc>{Vec<Acc>(Acc(0)), Vec<Acc>(Acc(0))}
                                       : load_pair(bias + 2 * kV * c);
#pragma GCC unroll 4
    for (int p = 0; p < kPixels; ++p) {
      sums[p][c] = start;
    }
  }
  for (int64_t t = 0; t < count; ++t) {
    const T* const from = source + taps[t].row + taps[t].shift * channels;
    const Acc* const by = weight + taps[t].weight;
#pragma GCC unroll 4
    for (int c = 0; c < kPairs; ++c) {
      const auto factors = load_pair(by + 2 * kV * c);
#pragma GCC unroll 4
      for (int p = 0; p < kPixels; ++p) {
        const auto values = load_pair(from + p * source_step + 2 * kV * c);
        sums[p][c][0] = at::vec::fmadd(factors[0], values[0], sums[p][c][0]);
        sums[p][c][1] = at::vec::fmadd(factors[1], values[1], sums[p][c][1]);
      }
    }
  }
#pragma GCC unroll 4
  for (int p = 0; p < kPixels; ++p) {
#pragma GCC unroll 4
    for (int c = 0; c < kPairs; ++c) {
      store_pair<T>(sums[p][c], target + p * target_step + 2 * kV * c);
    }
  }
}

/// Computes the last channels of a pixel, which do not fill a pair of vectors.
template <class T>
void pixel_rest(const PixelTap* taps, int64_t count, int64_t channels, const Accumulator<T>* weight,
                const Accumulator<T>* bias, const T* source, T* target, int64_t rest) {
  using Acc = Accumulator<T>;
  auto sums =
      bias == nullptr ? VecPair<Acc>{Vec<Acc>(Acc(0)), Vec<Acc>(Acc(0))} : load_pair(bias, rest);
  for (int64_t t = 0; t < count; ++t) {
    const auto factors = load_pair(weight + taps[t].weight, rest);
    const auto values = load_pair(source + taps[t].row + taps[t].shift * channels, rest);
    sums[0] = at::vec::fmadd(factors[0], values[0], sums[0]);
    sums[1] = at::vec::fmadd(factors[1], values[1], sums[1]);
  }
  store_pair<T>(sums, target, rest);
}

/// The input that the next pixels read and the previous ones did not, to be prefetched. The
/// hardware prefetcher does not detect this pattern, in which a few channels of several pixels are
/// read.
template <class T>
struct Ahead {
  std::array<const T*, 2> rows;
  int64_t count;    ///< number of rows
  int64_t columns;  ///< number of columns from there on

  /// Prefetches a pair of vectors of channels.
  void fetch(int64_t channels, int64_t channel) const {
    constexpr int64_t kLine = 64 / sizeof(T);
    constexpr int64_t kPair = 2 * kLanes<Accumulator<T>>;
    for (int64_t r = 0; r < count; ++r) {
      for (int64_t p = 0; p < columns; ++p) {
        for (int64_t c = 0; c < kPair; c += kLine) {
          __builtin_prefetch(rows[r] + p * channels + channel + c);
        }
      }
    }
  }
};

/// Computes all channels of kPixels pixels.
template <class T, int kPixels>
void pixel_group(const PixelTap* taps, int64_t count, int64_t channels,
                 const Accumulator<T>* weight, const Accumulator<T>* bias, const T* source,
                 int64_t source_step, T* target, int64_t target_step, const Ahead<T>& ahead) {
  constexpr int64_t kPair = 2 * kLanes<Accumulator<T>>;
  // Enough independent accumulators to hide the latency of an addition.
  constexpr int kPairs = kPixels == 1 ? 4 : 1;
  const auto bias_at = [&](int64_t c) { return bias == nullptr ? nullptr : bias + c; };
  int64_t c = 0;
  for (; c + kPairs * kPair <= channels; c += kPairs * kPair) {
    ahead.fetch(channels, c);
    pixel_block<T, kPixels, kPairs>(taps, count, channels, weight + c, bias_at(c), source + c,
                                    source_step, target + c, target_step);
  }
  if constexpr (kPairs > 1) {
    for (; c + kPair <= channels; c += kPair) {
      pixel_block<T, kPixels, 1>(taps, count, channels, weight + c, bias_at(c), source + c,
                                 source_step, target + c, target_step);
    }
  }
  if (c < channels) {
    for (int p = 0; p < kPixels; ++p) {
      pixel_rest<T>(taps, count, channels, weight + c, bias_at(c), source + p * source_step + c,
                    target + p * target_step + c, channels - c);
    }
  }
}

/// Computes a line of pixels. `fresh` is the number of its input rows that the previous line did
/// not read, and `some` has room for `count` taps.
template <class T>
void pixel_line(const PixelLine& line, int64_t fresh, const PixelTap* taps, int64_t count,
                PixelTap* some, int64_t channels, const Accumulator<T>* weight,
                const Accumulator<T>* bias, const T* source, T* target) {
  constexpr int64_t kPixels = 4;
  std::array<int64_t, 2> whole{0, line.count};
  for (int64_t t = 0; t < count; ++t) {
    const auto inside = line.inside(taps[t].shift);
    whole = {std::max(whole[0], inside[0]), std::min(whole[1], inside[1])};
  }
  // Finds the fresh rows, which are the last ones because the taps are ordered by row.
  std::array<int64_t, 2> rows{};
  int64_t found = 0;
  for (int64_t t = count - 1; t >= 0 && found < std::min<int64_t>(fresh, 2); --t) {
    if (found == 0 || taps[t].row != rows[found - 1]) {
      rows[found++] = taps[t].row;
    }
  }
  const int64_t source_step = line.source_step * channels;
  const int64_t target_step = line.target_step * channels;
  for (int64_t i = 0; i < line.count;) {
    const T* const from = source + (line.source_first + i * line.source_step) * channels;
    T* const to = target + (line.target_first + i * line.target_step) * channels;
    if (i >= whole[0] && i + kPixels <= whole[1]) {
      const T* const next = from + kPixels * source_step;
      const Ahead<T> ahead{{next + rows[0], next + rows[1]}, found, kPixels * line.source_step};
      pixel_group<T, kPixels>(taps, count, channels, weight, bias, from, source_step, to,
                              target_step, ahead);
      i += kPixels;
      continue;
    }
    const PixelTap* const end = std::copy_if(taps, taps + count, some, [&](const PixelTap& tap) {
      const int64_t column = line.source_first + i * line.source_step + tap.shift;
      return column >= 0 && column < line.source_width;
    });
    pixel_group<T, 1>(some, end - some, channels, weight, bias, from, source_step, to, target_step,
                      {});
    ++i;
  }
}

/// The scratch memory of pixel_output, where no special kernel computes it, and of
/// pixel_input_gradient: the taps that a row or pixel reads.
struct PixelMemory {
  PixelTap* taps;  ///< of a row
  PixelTap* some;  ///< of a pixel

  template <class Memory>
  PixelMemory(const ConvShape& shape, Memory& memory)
      : taps(memory.template take<PixelTap>(shape.taps())),
        some(memory.template take<PixelTap>(shape.taps())) {}
};

/// The most bytes of scratch memory that the kernels for pixels take.
inline double pixel_scratch(const ConvShape& shape) {
  ScratchSize size;
  PixelMemory(shape, size);
  return size.bytes();
}

template <class T>
void pixel_output(const ConvShape& shape, const T* input, const Accumulator<T>* weight,
                  const Accumulator<T>* bias, const Epilogue<T>* epilogue, T* output, int64_t begin,
                  int64_t end) {
  if (const auto run = pixel_rows_for<T>(shape)) {
    pixel_rows_output(run, shape, input, weight, bias, epilogue, output, begin, end);
    return;
  }
  Workspace workspace;
  const auto [taps, some] = PixelMemory(shape, workspace);
  const int64_t channels = shape.channels;
  const PixelLine line{shape.output[1], -shape.before[1], shape.stride[1], 0, 1, shape.input[1]};
  for (int64_t row = begin; row < end; ++row) {
    const int64_t n = row / shape.output[0];
    const int64_t top = row % shape.output[0] * shape.stride[0] - shape.before[0];
    int64_t count = 0;
    for (int64_t t = 0; t < shape.taps(); ++t) {
      const int64_t slice = shape.slice(n, t / shape.slice_taps());
      const int64_t first_row =
          (n / shape.depth.output * shape.depth.input + slice) * shape.input[0];
      const int64_t y = top + t % shape.slice_taps() / shape.kernel[1] * shape.dilation[0];
      if (shape.is_inside(slice) && y >= 0 && y < shape.input[0]) {
        taps[count++] = {(first_row + y) * shape.input[1] * channels,
                         t % shape.kernel[1] * shape.dilation[1], t * channels};
      }
    }
    T* const to = output + row * shape.output[1] * channels;
    pixel_line<T>(line, shape.stride[0], taps, count, some, channels, weight, bias, input, to);
    if (epilogue != nullptr) {
      finish(*epilogue, to, shape.output[1] * channels);
    }
  }
}

template <class T>
void pixel_input_gradient(const ConvShape& shape, const T* gradient, const Accumulator<T>* weight,
                          T* input_gradient, int64_t begin, int64_t end) {
  Workspace workspace;
  const auto [taps, some] = PixelMemory(shape, workspace);
  const int64_t channels = shape.channels;
  const int64_t stride = shape.stride[1];
  for (int64_t row = begin; row < end; ++row) {
    const int64_t n = row / shape.input[0];
    const int64_t place = row % shape.input[0] + shape.before[0];
    // Columns `first`, `first` + stride and so on belong to the same stride phase and were read by
    // the same taps.
    for (int64_t first = 0; first < std::min(stride, shape.input[1]); ++first) {
      const int64_t phase = floor_mod(first + shape.before[1], stride);
      int64_t count = 0;
      for (int64_t t = 0; t < shape.taps(); ++t) {
        const auto image = shape.image_that_read(n, t / shape.slice_taps());
        const int64_t y = place - t % shape.slice_taps() / shape.kernel[1] * shape.dilation[0];
        const int64_t x = t % shape.kernel[1] * shape.dilation[1];
        if (image && y >= 0 && y % shape.stride[0] == 0 && y / shape.stride[0] < shape.output[0] &&
            x % stride == phase) {
          taps[count++] = {
              (*image * shape.output[0] + y / shape.stride[0]) * shape.output[1] * channels,
              -(x / stride), t * channels};
        }
      }
      const PixelLine line{ceil_div(shape.input[1] - first, stride),
                           floor_div(first + shape.before[1], stride),
                           1,
                           first,
                           stride,
                           shape.output[1]};
      pixel_line<T>(line, 1, taps, count, some, channels, weight, nullptr, gradient,
                    input_gradient + row * shape.input[1] * channels);
    }
  }
}

/// Adds the products of gradient and source, summed over pixels, to the weight gradients of kTaps
/// taps, which are `channels` apart. Handles one pair of vectors of channels.
template <class T, int kTaps>
void pixel_products(const int64_t* offsets, const T* source, int64_t source_step, const T* gradient,
                    int64_t pixels, int64_t channels, int64_t rest, Accumulator<T>* result) {
  using Acc = Accumulator<T>;
  const bool whole = rest >= 2 * kLanes<Acc>;
  const auto load = [&](const auto* from) {
    return whole ? load_pair(from) : load_pair(from, rest);
  };
  std::array<VecPair<Acc>, kTaps> sums;
#pragma GCC unroll 5
  for (auto& sum : sums) {
    sum.fill(Vec<Acc>(Acc(0)));
  }
  for (int64_t p = 0; p < pixels; ++p) {
    const auto factors = load(gradient + p * channels);
#pragma GCC unroll 5
    for (int t = 0; t < kTaps; ++t) {
      const auto values = load(source + offsets[t] + p * source_step);
      sums[t][0] = at::vec::fmadd(factors[0], values[0], sums[t][0]);
      sums[t][1] = at::vec::fmadd(factors[1], values[1], sums[t][1]);
    }
  }
#pragma GCC unroll 5
  for (int t = 0; t < kTaps; ++t) {
    Acc* const to = result + t * channels;
    const auto total = load(to);
    const VecPair<Acc> sum{total[0] + sums[t][0], total[1] + sums[t][1]};
    if (whole) {
      store_pair<Acc>(sum, to);
    } else {
      store_pair<Acc>(sum, to, rest);
    }
  }
}

template <class T, int kMost = 5>
void some_pixel_products(int64_t taps, const int64_t* offsets, const T* source, int64_t source_step,
                         const T* gradient, int64_t pixels, int64_t channels, int64_t rest,
                         Accumulator<T>* result) {
  if constexpr (kMost > 1) {
    if (taps < kMost) {
      some_pixel_products<T, kMost - 1>(taps, offsets, source, source_step, gradient, pixels,
                                        channels, rest, result);
      return;
    }
  }
  pixel_products<T, kMost>(offsets, source, source_step, gradient, pixels, channels, rest, result);
}

template <class T>
void pixel_weight_gradient(const ConvShape& shape, const T* gradient, const T* input,
                           Accumulator<T>* weight_gradient, int64_t begin, int64_t end) {
  constexpr int64_t kPair = 2 * kLanes<Accumulator<T>>;
  constexpr int64_t kMost = 5;
  Workspace workspace;
  auto* const offsets = workspace.take<int64_t>(kMost);
  const int64_t channels = shape.channels;
  const PixelLine line{shape.output[1], -shape.before[1], shape.stride[1], 0, 1, shape.input[1]};
  const int64_t source_step = shape.stride[1] * channels;
  const int64_t group = ceil_div(shape.kernel[1], ceil_div(shape.kernel[1], kMost));
  for (int64_t row = begin; row < end; ++row) {
    const int64_t n = row / shape.output[0];
    const int64_t top = row % shape.output[0] * shape.stride[0] - shape.before[0];
    const T* const by = gradient + row * shape.output[1] * channels;
    for (int64_t k = 0; k < shape.depth.kernel * shape.kernel[0]; ++k) {
      const int64_t slice = shape.slice(n, k / shape.kernel[0]);
      const int64_t y = top + k % shape.kernel[0] * shape.dilation[0];
      if (!shape.is_inside(slice) || y < 0 || y >= shape.input[0]) {
        continue;
      }
      const int64_t input_row =
          (n / shape.depth.output * shape.depth.input + slice) * shape.input[0] + y;
      const int64_t row_start = (input_row * shape.input[1] - shape.before[1]) * channels;
      for (int64_t kx = 0; kx < shape.kernel[1]; kx += group) {
        const int64_t taps = std::min(group, shape.kernel[1] - kx);
        std::array<int64_t, 2> whole{0, line.count};
        for (int64_t t = 0; t < taps; ++t) {
          const auto inside = line.inside((kx + t) * shape.dilation[1]);
          whole = {std::max(whole[0], inside[0]), std::min(whole[1], inside[1])};
          offsets[t] = row_start + (kx + t) * shape.dilation[1] * channels;
        }
        whole[1] = std::max(whole[0], whole[1]);
        Accumulator<T>* const result = weight_gradient + (k * shape.kernel[1] + kx) * channels;
        for (int64_t c = 0; c < channels; c += kPair) {
          const int64_t rest = std::min(kPair, channels - c);
          const auto add = [&](int64_t first, int64_t last, int64_t from, int64_t to) {
            if (from < to) {
              some_pixel_products<T>(last - first, offsets + first, input + c + from * source_step,
                                     source_step, by + c + from * channels, to - from, channels,
                                     rest, result + first * channels + c);
            }
          };
          add(0, taps, whole[0], whole[1]);
          // At the borders, each tap has a different range of pixels inside the input.
          for (int64_t t = 0; t < taps; ++t) {
            const auto inside = line.inside((kx + t) * shape.dilation[1]);
            add(t, t + 1, inside[0], std::min(inside[1], whole[0]));
            add(t, t + 1, std::max(inside[0], whole[1]), inside[1]);
          }
        }
      }
    }
  }
}

}  // namespace samepad::kernels::SAMEPAD_ISA
