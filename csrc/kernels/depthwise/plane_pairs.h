#pragma once

// Depthwise convolutions of narrow planes in NCHW, whose output rows fill at most half of a vector.
// Two planes are computed at a time, each in one half of every vector (AVX-512 only).
//
// For each input row and each column of the kernel, the scratch memory holds one vector: the
// elements of the row that this column reads for each output, with zeros for padding. A single
// permutation of the two planes' rows makes it, whatever the stride. Every kernel element then
// reads whole, aligned vectors.

#include <immintrin.h>

#include "../common/finish.h"
#include "../common/rows.h"
#include "../common/vectors.h"
#include "../common/workspace.h"

namespace samepad::kernels::SAMEPAD_ISA {

/// Computes the output of pairs of planes, for convolutions for which `pairs_planes` is true.
template <class T>
class PlanePairs {
 public:
  template <class Memory>
  PlanePairs(const ConvShape& shape, Memory& memory)
      : shape_(shape),
        rows_(band_rows(shape.output[0], shape.stride[0], shape.extent(0) - shape.stride[0],
                        shape.kernel[1] * kV)),
        pitch_(ceil_div(height(rows_), shape.stride[0]) * kV),
        columns_(memory.template take<Column>(shape.kernel[1])),
        places_(memory.template take<int64_t>(height(rows_))),
        offsets_(memory.template take<int64_t>(shape.kernel[0], shape.kernel[1])),
        source_(memory.template take<float>(shape.stride[0], shape.kernel[1], pitch_)) {}

  void find_places() const {
    for (int64_t x = 0; x < shape_.kernel[1]; ++x) {
      columns_[x] = column(x);
    }
    for (int64_t y = 0; y < height(rows_); ++y) {
      places_[y] = place(y);
    }
    for (int64_t t = 0; t < shape_.taps(); ++t) {
      offsets_[t] =
          place(t / shape_.kernel[1] * shape_.dilation[0]) + t % shape_.kernel[1] * pitch_;
    }
  }

  /// Computes the output of two input planes, which may be the same.
  void run(int64_t plane, int64_t other, const T* input, const float* weight, const float* bias,
           const Epilogue<T>* epilogue, T* output) const {
    const int64_t input_size = shape_.input[0] * shape_.input[1];
    const int64_t output_size = shape_.output[0] * shape_.output[1];
    const int64_t filter = plane % shape_.channels * shape_.multiplier();
    const int64_t other_filter = other % shape_.channels * shape_.multiplier();
    for (int64_t y = 0; y < shape_.output[0]; y += rows_) {
      const int64_t rows = std::min(rows_, shape_.output[0] - y);
      gather(input + plane * input_size, input + other * input_size,
             y * shape_.stride[0] - shape_.before[0], rows);
      const int64_t each = ceil_div(rows, ceil_div(rows, kMostRows));
      for (int64_t m = 0; m < shape_.multiplier(); ++m) {
        const Filter first = filter_at(filter + m, weight, bias);
        const Filter second = filter_at(other_filter + m, weight, bias);
        T* const to =
            output + (plane * shape_.multiplier() + m) * output_size + y * shape_.output[1];
        const int64_t apart = (other - plane) * shape_.multiplier() * output_size;
        T* next = to;
        for (int64_t r = 0; r < rows; r += each, next += each * shape_.output[1]) {
          sums(std::min(each, rows - r), first, second, source_ + r * kV, next, next + apart);
        }
        if (epilogue != nullptr) {
          finish_rows(*epilogue, other == plane ? 1 : 2, rows * shape_.output[1], to, apart);
        }
      }
    }
  }

 private:
  static constexpr int64_t kV = kLanes<float>;
  static constexpr int kMostRows = 8;
  /// The prefetch distance in elements. Several planes ahead are prefetched, because the hardware
  /// prefetcher does not anticipate the rows of the next planes while the current ones are
  /// computed.
  static constexpr int64_t kPrefetched = 4096 / sizeof(T);

  /// What a column of the kernel reads of the rows of two planes.
  struct Column {
    __m512i lanes;     ///< index of the element for each output
    __mmask16 inside;  ///< mask of the outputs for which it is not padding
  };

  /// The filter of one plane.
  struct Filter {
    const float* weight;
    float bias;
  };

  Filter filter_at(int64_t filter, const float* weight, const float* bias) const {
    return {weight + filter * shape_.taps(), bias == nullptr ? 0 : bias[filter]};
  }

  /// A vector whose halves hold one value for each plane.
  static Vec<float> both(float first, float second) {
    return Vec<float>::blend<0xFF00>(Vec<float>(first), Vec<float>(second));
  }

  Column column(int64_t x) const {
    alignas(64) std::array<int32_t, kV> lanes{};
    unsigned inside = 0;
    for (int64_t j = 0; j < shape_.output[1]; ++j) {
      const int64_t at = j * shape_.stride[1] + x * shape_.dilation[1] - shape_.before[1];
      if (at >= 0 && at < shape_.input[1]) {
        lanes[j] = static_cast<int32_t>(at);
        lanes[kV / 2 + j] = static_cast<int32_t>(kV + at);
        inside |= 0x101U << j;
      }
    }
    return {_mm512_load_si512(lanes.data()), static_cast<__mmask16>(inside)};
  }

  /// The number of padded input rows that `count` output rows span.
  int64_t height(int64_t count) const { return (count - 1) * shape_.stride[0] + shape_.extent(0); }

  /// The place of row y in the scratch memory, relative to row 0. Rows of the same vertical stride
  /// phase are adjacent.
  int64_t place(int64_t y) const {
    return (y % shape_.stride[0] * shape_.kernel[1] * pitch_) + y / shape_.stride[0] * kV;
  }

  /// Fills the scratch memory with what `rows` output rows read, for a kernel of up to kColumns
  /// columns. `top` is the first input row.
  template <int kColumns = kMostPairColumns>
  void gather(const T* plane, const T* other, int64_t top, int64_t rows) const {
    if constexpr (kColumns > 1) {
      if (shape_.kernel[1] < kColumns) {
        return gather<kColumns - 1>(plane, other, top, rows);
      }
    }
    std::array<Vec<int32_t>, kColumns> lanes;
    std::array<__mmask16, kColumns> inside;
#pragma GCC unroll 8
    for (int x = 0; x < kColumns; ++x) {
      lanes[x] = columns_[x].lanes;
      inside[x] = columns_[x].inside;
    }
    const int64_t count = height(rows);
    const int64_t width = shape_.input[1];
    const int64_t size = shape_.input[0] * width;
    // Copies of members, because the compiler has to assume that storing a vector might change
    // members.
    const int64_t pitch = pitch_;
    const int64_t* const places = places_;
    float* const source = source_;
    int64_t from = top * width;
    for (int64_t y = 0; y < count; ++y, from += width) {
      float* target = source + places[y];
      if (from < 0 || from >= size) {
        for (int x = 0; x < kColumns; ++x) {
          _mm512_store_ps(in_scratch(target + x * pitch, kV), _mm512_setzero_ps());
        }
        continue;
      }
      __builtin_prefetch(plane + from + kPrefetched);
      __builtin_prefetch(other + from + kPrefetched);
      const __m512 first = load_pair(plane + from, width)[0];
      const __m512 second = load_pair(other + from, width)[0];
#pragma GCC unroll 8
      for (int x = 0; x < kColumns; ++x) {
        _mm512_store_ps(in_scratch(target, kV),
                        _mm512_maskz_permutex2var_ps(inside[x], first, lanes[x], second));
        target += pitch;
      }
    }
  }

  /// Computes up to kRows output rows.
  template <int kRows = kMostRows>
  void sums(int64_t rows, const Filter& first, const Filter& second, const float* source, T* target,
            T* other) const {
    if constexpr (kRows > 1) {
      if (rows < kRows) {
        return sums<kRows - 1>(rows, first, second, source, target, other);
      }
    }
    std::array<Vec<float>, kRows> result;
    result.fill(both(first.bias, second.bias));
    const int64_t taps = shape_.taps();
    for (int64_t t = 0; t < taps; ++t) {
      const Vec<float> weight = both(first.weight[t], second.weight[t]);
      const float* const from = source + offsets_[t];
#pragma GCC unroll 8
      for (int r = 0; r < kRows; ++r) {
        result[r] = at::vec::fmadd(
            weight, Vec<float>(_mm512_load_ps(in_scratch(from + r * kV, kV))), result[r]);
      }
    }
    // The width never exceeds kV / 2. Saying so lets the compiler remove the stores' check for full
    // vectors.
    const int64_t width = std::min(shape_.output[1], kV / 2);
#pragma GCC unroll 8
    for (int r = 0; r < kRows; ++r) {
      const Vec<float> swapped = _mm512_shuffle_f32x4(result[r], result[r], 0x4E);
      store_pair<T>({result[r], swapped}, target + r * width, width);
      store_pair<T>({swapped, result[r]}, other + r * width, width);
    }
  }

  const ConvShape& shape_;
  int64_t rows_;   ///< number of output rows in a band
  int64_t pitch_;  ///< distance from one kernel column's vectors to the next column's
  Column* columns_;
  int64_t* places_;   ///< places of the padded rows in the scratch memory
  int64_t* offsets_;  ///< distance from the first output's place to where each kernel element reads
  float* source_;     ///< the scratch memory
};

/// Implements plane_output where `pairs_planes` is true.
template <class T>
void plane_pair_output(const ConvShape& shape, const T* input, const float* weight,
                       const float* bias, const Epilogue<T>* epilogue, T* output, int64_t begin,
                       int64_t end) {
  Workspace workspace;
  const PlanePairs<T> pairs(shape, workspace);
  pairs.find_places();
  for (int64_t plane = begin; plane < end; plane += 2) {
    pairs.run(plane, std::min(plane + 1, end - 1), input, weight, bias, epilogue, output);
  }
}

}  // namespace samepad::kernels::SAMEPAD_ISA
