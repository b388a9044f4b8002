#pragma once

// Depthwise convolutions in channels_last for common kernels: undilated, 3, 5 or 7 wide, with a
// stride of 1 or 2. Neighbouring pixels read overlapping input, which is loaded once for all of
// them, and a row of weights stays in registers.

#include "../common/finish.h"
#include "../common/prefetch.h"
#include "../common/vectors.h"
#include "../common/workspace.h"

namespace samepad::kernels::SAMEPAD_ISA {

/// The largest supported number of rows of a kernel, in all of its slices.
inline constexpr int64_t kMostKernelRows = 49;

/// The input and weights that a row of output pixels reads.
template <class T>
struct PixelRow {
  int64_t count;  ///< number of kernel rows that lie inside the input
  /// The input row that each of them reads, from column 0 on, and their weights.
  std::array<const T*, kMostKernelRows> input;
  std::array<const Accumulator<T>*, kMostKernelRows> weight;
  T* output;
};

/// Computes rows of output pixels, one step of channels at a time, so that the input that several
/// rows share stays in the L1 cache from one row to the next.
template <class T>
struct PixelRows {
  using Acc = Accumulator<T>;

  int64_t channels;
  int64_t width;    ///< width of the input
  int64_t outputs;  ///< number of output pixels in a row
  int64_t before;   ///< padding before a row
  const Acc* bias;
  const T* zeros;  ///< as many zeros as there are channels
  const Epilogue<T>* epilogue;

  /// Computes kPixels pixels from pixel x on. `kInside` says that they read no padding.
  template <int kKernel, int kStride, int kPixels, bool kInside>
  void group(const PixelRow<T>& row, int64_t x, int64_t c) const {
    constexpr int kColumns = (kPixels - 1) * kStride + kKernel;
    // Columns are visited kJump apart. Such columns contribute to different pixels, so that
    // successive additions to the same accumulator are far apart and their latency is hidden.
    constexpr int kJump = (kKernel + kStride - 1) / kStride * kStride;
    const int64_t first = x * kStride - before;
    const int64_t pitch = channels;
    std::array<AccVectors<T>, kPixels> sums;
    AccVectors<T> start;
    if (bias == nullptr) {
      start.fill(Vec<Acc>(Acc(0)));
    } else {
      start = load_vectors<T>(bias + c);
    }
    sums.fill(start);
    for (int64_t r = 0; r < row.count; ++r) {
      std::array<AccVectors<T>, kKernel> factors;
#pragma GCC unroll 8
      for (int k = 0; k < kKernel; ++k) {
        factors[k] = load_vectors<T>(row.weight[r] + k * pitch + c);
      }
      const T* const from = row.input[r] + first * pitch + c;
#pragma GCC unroll 8
      for (int q = 0; q < kJump; ++q) {
        const T* column = from + q * pitch;
#pragma GCC unroll 8
        for (int j = q; j < kColumns; j += kJump) {
          // Padding is no wider than the kernel, so columns further inside need no check.
          const bool inside = kInside || ((j >= kKernel || first + j >= 0) &&
                                          (j < kColumns - kKernel || first + j < width));
          const auto values = load_vectors<T>(inside ? column : zeros);
          column += kJump * pitch;
#pragma GCC unroll 8
          for (int k = 0; k < kKernel; ++k) {
            if (j >= k && (j - k) % kStride == 0 && (j - k) / kStride < kPixels) {
              auto& sum = sums[(j - k) / kStride];
#pragma GCC unroll 2
              for (int v = 0; v < kAccVectors<T>; ++v) {
                sum[v] = at::vec::fmadd(factors[k][v], values[v], sum[v]);
              }
            }
          }
        }
      }
    }
    T* to = row.output + x * pitch + c;
#pragma GCC unroll 8
    for (int p = 0; p < kPixels; ++p) {
      store_vectors<T>(sums[p], to);
      to += pitch;
    }
    if (epilogue != nullptr) {
      finish_rows(*epilogue, kPixels, kStepElements<T>, row.output + x * pitch + c, pitch);
    }
  }

  /// Computes all rows, kPixels pixels at a time. The last pixels of a row, and the last channels,
  /// overlap the previous ones instead of being handled separately.
  template <int kKernel, int kStride, int kPixels>
  void run(const PixelRow<T>* rows, int64_t count, Region<T> next) const {
    constexpr int64_t kStep = kStepElements<T>;
    next.share(ceil_div(channels, kStep) * count * ceil_div(outputs, kPixels));
    for (int64_t i = 0; i < channels; i += kStep) {
      const int64_t c = std::min(i, channels - kStep);
      for (int64_t r = 0; r < count; ++r) {
        for (int64_t j = 0; j < outputs; j += kPixels) {
          next.fetch();
          const int64_t x = std::min(j, outputs - kPixels);
          const int64_t first = x * kStride - before;
          if (first >= 0 && first + (kPixels - 1) * kStride + kKernel <= width) {
            group<kKernel, kStride, kPixels, true>(rows[r], x, c);
          } else {
            group<kKernel, kStride, kPixels, false>(rows[r], x, c);
          }
        }
      }
    }
  }

  template <int kKernel, int kStride>
  void run(const PixelRow<T>* rows, int64_t count, Region<T> next) const {
    // Chooses the number of pixels that leaves fewer to be computed twice.
    constexpr int kMost = kAccVectors<T> == 1 ? 8 : 4;
    const auto computed = [&](int64_t pixels) { return ceil_div(outputs, pixels) * pixels; };
    if (outputs >= kMost - 1 && computed(kMost - 1) < computed(kMost)) {
      run<kKernel, kStride, kMost - 1>(rows, count, next);
    } else if (outputs >= kMost) {
      run<kKernel, kStride, kMost>(rows, count, next);
    } else if (outputs >= kMost / 2) {
      run<kKernel, kStride, kMost / 2>(rows, count, next);
    } else {
      run<kKernel, kStride, 1>(rows, count, next);
    }
  }
};

template <class T>
using RunPixelRows = void (PixelRows<T>::*)(const PixelRow<T>*, int64_t, Region<T>) const;

/// Returns the function that computes rows of this convolution, or null if there is none.
template <class T>
RunPixelRows<T> pixel_rows_for(const ConvShape& shape) {
  const int64_t after =
      (shape.output[1] - 1) * shape.stride[1] + shape.kernel[1] - shape.input[1] - shape.before[1];
  if (shape.dilation[1] != 1 || shape.channels < kStepElements<T> ||
      shape.depth.kernel * shape.kernel[0] > kMostKernelRows || shape.before[1] > shape.kernel[1] ||
      after > shape.kernel[1]) {
    return nullptr;
  }
  const auto of = [&]<int kKernel>(std::integral_constant<int, kKernel>) -> RunPixelRows<T> {
    return shape.stride[1] == 1   ? &PixelRows<T>::template run<kKernel, 1>
           : shape.stride[1] == 2 ? &PixelRows<T>::template run<kKernel, 2>
                                  : nullptr;
  };
  switch (shape.kernel[1]) {
    case 3:
      return of(std::integral_constant<int, 3>());
    case 5:
      return of(std::integral_constant<int, 5>());
    case 7:
      return of(std::integral_constant<int, 7>());
    default:
      return nullptr;
  }
}

template <class T>
void pixel_rows_output(RunPixelRows<T> run, const ConvShape& shape, const T* input,
                       const Accumulator<T>* weight, const Accumulator<T>* bias,
                       const Epilogue<T>* epilogue, T* output, int64_t begin, int64_t end) {
  // Computes a few rows at a time. Their input for one step of channels should fit into the L1
  // cache, and their input for all channels, with what is prefetched for the next rows, into the L2
  // cache.
  constexpr int64_t kMostRows = 4;
  constexpr int64_t kBytes = 32768;
  const int64_t line = shape.input[1] * kStepElements<T> * static_cast<int64_t>(sizeof(T));
  const int64_t at_once =
      std::clamp((kBytes / line - shape.kernel[0]) / shape.stride[0] + 1, int64_t{1}, kMostRows);
  const int64_t row_size = shape.input[1] * shape.channels;
  Workspace workspace;
  T* const zeros = workspace.take<T>(shape.channels);
  std::fill_n(zeros, shape.channels, T(0));
  const PixelRows<T> rows{shape.channels, shape.input[1], shape.output[1], shape.before[1],
                          bias,           zeros,          epilogue};
  const auto top = [&](int64_t row) {
    return row % shape.output[0] * shape.stride[0] - shape.before[0];
  };
  // Where slice `slice` of the input begins, for this image of the output.
  const auto slice_begin = [&](int64_t image, int64_t slice) {
    return input +
           (image / shape.depth.output * shape.depth.input + slice) * shape.input[0] * row_size;
  };
  // The end of the input that the rows up to this one read, in the last slice.
  const auto input_end = [&](int64_t row) {
    const int64_t image = row / shape.output[0];
    const int64_t last = shape.slice(image, shape.depth.kernel - 1);
    const int64_t y = std::min(top(row) + shape.extent(0), shape.input[0]);
    return slice_begin(image, std::clamp<int64_t>(last, 0, shape.depth.input - 1)) + y * row_size;
  };
  std::array<PixelRow<T>, kMostRows> some;
  for (int64_t row = begin; row < end; row += at_once) {
    const int64_t count = std::min(at_once, end - row);
    for (int64_t i = 0; i < count; ++i) {
      const int64_t n = (row + i) / shape.output[0];
      some[i].count = 0;
      some[i].output = output + (row + i) * shape.output[1] * shape.channels;
      for (int64_t k = 0; k < shape.depth.kernel * shape.kernel[0]; ++k) {
        const int64_t slice = shape.slice(n, k / shape.kernel[0]);
        const int64_t y = top(row + i) + k % shape.kernel[0] * shape.dilation[0];
        if (shape.is_inside(slice) && y >= 0 && y < shape.input[0]) {
          some[i].input[some[i].count] = slice_begin(n, slice) + y * row_size;
          some[i].weight[some[i].count++] = weight + k * shape.kernel[1] * shape.channels;
        }
      }
    }
    const int64_t last = row + count - 1;
    (rows.*run)(some.data(), count,
                {input_end(last), input_end(std::min(last + at_once, end - 1))});
  }
}

}  // namespace samepad::kernels::SAMEPAD_ISA
