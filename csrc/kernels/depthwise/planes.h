#pragma once

// Depthwise convolutions of planes: (batch, channels, height, width).
//
// The rows that a few output rows read are first copied into a scratch memory small enough to stay
// in the first cache: widened to the type of the sums, with the padding around them, and each row
// split into its stride's phases (for stride 2 the even columns, then the odd ones). There, every
// tap of the kernel reads consecutive elements for consecutive outputs, whatever the stride, and
// no bounds are left to check. Outputs of narrow planes are left to depthwise_plane_pairs.h where
// the instruction set has it. The input's gradient is the same sums over the output's gradient, one
// for each phase of the stride.

#include "../common/finish.h"
#include "../common/rows.h"
#include "../common/vectors.h"
#include "../common/workspace.h"
#ifdef CPU_CAPABILITY_AVX512
#include "plane_pairs.h"
#endif

namespace samepad::kernels::SAMEPAD_ISA {

/// Sums over taps: element j of row r is bias + sum of weights[t] * source[offsets[t] + r pitch +
/// j].
template <class Acc>
struct Sums {
  const int64_t* offsets;
  const Acc* weights;
  int64_t taps;
  Acc bias;
  int64_t pitch;         ///< from one row of the source to the next
  int64_t target_pitch;  ///< and of the target

  /// kRows rows of kVectors vectors, in registers.
  template <int kRows, int kVectors>
  void block(const Acc* source, Acc* target, int64_t count) const {
    constexpr int64_t kV = kLanes<Acc>;
    std::array<std::array<Vec<Acc>, kVectors>, kRows> sums;
    for (auto& row : sums) {
      row.fill(Vec<Acc>(bias));
    }
    for (int64_t t = 0; t < taps; ++t) {
      const Vec<Acc> weight(weights[t]);
      const Acc* from = source + offsets[t];
#pragma GCC unroll 8
      for (int r = 0; r < kRows; ++r) {
#pragma GCC unroll 2
        for (int v = 0; v < kVectors; ++v) {
          sums[r][v] = at::vec::fmadd(
              weight, Vec<Acc>::loadu(in_scratch(from + r * pitch + v * kV, kV)), sums[r][v]);
        }
      }
    }
    // A narrow row's vector goes past its end, into the next row's place, which is stored next.
    const bool spilling = count >= kV || target_pitch == count;
#pragma GCC unroll 8
    for (int r = 0; r < kRows; ++r) {
#pragma GCC unroll 2
      for (int v = 0; v < kVectors; ++v) {
        Acc* to = target + r * target_pitch + v * kV;
        if (count >= kV || (spilling && (kRows - 1 - r) * target_pitch >= kV - count)) {
          sums[r][v].store(to);
        } else {
          sums[r][v].store(to, static_cast<int>(count));
        }
      }
    }
  }

  /// A block of `rows` rows.
  template <int kVectors, int kMost>
  void rows_block(int64_t rows, const Acc* source, Acc* target, int64_t count) const {
    if constexpr (kMost > 1) {
      if (rows < kMost) {
        return rows_block<kVectors, kMost - 1>(rows, source, target, count);
      }
    }
    block<kMost, kVectors>(source, target, count);
  }

  /// All rows of a column of blocks.
  template <int kVectors>
  void column(int64_t rows, const Acc* source, Acc* target, int64_t count) const {
    constexpr int kMost = 8 / kVectors;
    const int64_t each = rows <= kMost ? rows : ceil_div(rows, ceil_div(rows, kMost));
    for (int64_t r = 0; r < rows; r += each) {
      rows_block<kVectors, kMost>(std::min(each, rows - r), source + r * pitch,
                                  target + r * target_pitch, count);
    }
  }

  /// `rows` rows of `columns`. The last vectors of a row overlap the ones before.
  void operator()(int64_t rows, int64_t columns, const Acc* source, Acc* target) const {
    constexpr int64_t kV = kLanes<Acc>;
    if (columns <= kV) {
      column<1>(rows, source, target, columns);
      return;
    }
    const int64_t step = columns < 2 * kV ? kV : 2 * kV;
    for (int64_t j = 0; j < columns; j += step) {
      const int64_t at = std::min(j, columns - step);
      if (step == kV) {
        column<1>(rows, source + at, target + at, kV);
      } else {
        column<2>(rows, source + at, target + at, kV);
      }
    }
  }
};

/// Input rows as the output and the weights' gradient read them, a band of output rows at a time.
template <class T>
struct InputBand {
  using Acc = Accumulator<T>;

  const ConvShape& shape;
  Rows<T> input_rows;
  int64_t rows;   ///< output rows at a time
  int64_t pitch;  ///< from what one output row reads to what the next one does
  int64_t slice;  ///< from the rows that one slice of the kernel reads to those of the next one
  Acc* source;
  int64_t* offsets;  ///< where each tap reads, from the place of the first output

  template <class Memory>
  InputBand(const ConvShape& shape, Memory& memory)
      : shape(shape),
        input_rows(shape.input[1], shape.before[1], shape.stride[1], shape.output[1],
                   shape.extent(1)),
        rows(band_rows(shape.output[0], shape.stride[0], shape.extent(0) - shape.stride[0],
                       input_rows.size())),
        pitch(shape.stride[0] * input_rows.size()),
        slice(height(rows) * input_rows.size()),
        source(input_rows.take(shape.depth.kernel, height(rows), memory)),
        offsets(memory.template take<int64_t>(shape.taps())) {}

  /// Padded input rows that `count` output rows span.
  int64_t height(int64_t count) const { return (count - 1) * shape.stride[0] + shape.extent(0); }

  /// Copies what output rows from `first` on read, of the image `z` of a channel.
  void fill(const T* channel, const T* end, int64_t z, int64_t first, int64_t count) const {
    const int64_t top = first * shape.stride[0] - shape.before[0];
    // Rows between windows are not read.
    const int64_t at_once = shape.extent(0) < shape.stride[0] ? 1 : count;
    for (int64_t k = 0; k < shape.depth.kernel; ++k) {
      const int64_t from = shape.slice(z, k);
      const bool inside = shape.is_inside(from);
      const T* const plane = channel + (inside ? from : 0) * shape.input[0] * shape.input[1];
      for (int64_t i = 0; i < count; i += at_once) {
        input_rows.copy(plane, end, inside ? shape.input[0] : 0, top + i * shape.stride[0],
                        height(at_once), source + k * slice + i * pitch);
      }
    }
  }

  void find_offsets() const {
    for (int64_t t = 0; t < shape.taps(); ++t) {
      const int64_t y = t % shape.slice_taps() / shape.kernel[1] * shape.dilation[0];
      offsets[t] = t / shape.slice_taps() * slice + y * input_rows.size() +
                   input_rows.place(t % shape.kernel[1] * shape.dilation[1]);
    }
  }
};

/// The scratch memory of plane_output.
template <class T>
struct PlaneOutputMemory {
  using Acc = Accumulator<T>;

  InputBand<T> band;
  Acc* sums;  ///< where T is not their type

  template <class Memory>
  PlaneOutputMemory(const ConvShape& shape, Memory& memory)
      : band(shape, memory),
        sums(memory.template take<Acc>(std::is_same_v<T, Acc> ? 0 : band.rows, shape.output[1])) {}
};

template <class T>
void plane_output(const ConvShape& shape, const T* input, const Accumulator<T>* weight,
                  const Accumulator<T>* bias, const Epilogue<T>* epilogue, T* output, int64_t begin,
                  int64_t end) {
  using Acc = Accumulator<T>;
#ifdef CPU_CAPABILITY_AVX512
  if constexpr (std::is_same_v<Acc, float>) {
    if (pairs_planes<T>(shape)) {
      return plane_pair_output(shape, input, weight, bias, epilogue, output, begin, end);
    }
  }
#endif
  Workspace workspace;
  const PlaneOutputMemory<T> memory(shape, workspace);
  const InputBand<T>& band = memory.band;
  band.find_offsets();
  const int64_t input_size = shape.depth.input * shape.input[0] * shape.input[1];
  const int64_t output_rows = shape.depth.output * shape.output[0];
  const T* const input_end = input + shape.batch * shape.channels * input_size;
  for (int64_t channel = begin; channel < end; ++channel) {
    for (int64_t row = 0; row < output_rows;) {
      const int64_t y = row % shape.output[0];
      const int64_t rows = std::min(band.rows, shape.output[0] - y);
      band.fill(input + channel * input_size, input_end, row / shape.output[0], y, rows);
      for (int64_t m = 0; m < shape.multiplier(); ++m) {
        const int64_t filter = channel % shape.channels * shape.multiplier() + m;
        const Sums<Acc> sum{band.offsets, weight + filter * shape.taps(),
                            shape.taps(), bias == nullptr ? Acc(0) : bias[filter],
                            band.pitch,   shape.output[1]};
        T* const to =
            output + ((channel * shape.multiplier() + m) * output_rows + row) * shape.output[1];
        if constexpr (std::is_same_v<T, Acc>) {
          sum(rows, shape.output[1], band.source, to);
        } else {
          sum(rows, shape.output[1], band.source, memory.sums);
          convert(memory.sums, rows * shape.output[1], to);
        }
        if (epilogue != nullptr) {
          finish(*epilogue, to, rows * shape.output[1]);
        }
      }
      row += rows;
    }
  }
}

/// Which outputs one phase of the input's positions took part in, along one axis: position
/// i stride + phase - before was read by output i - shift of the taps of that phase.
struct GradientAxis {
  int64_t first;  ///< the smallest i that any phase has a position for
  int64_t count;  ///< of i
  int64_t reach;  ///< the largest shift

  GradientAxis(const ConvShape& shape, int axis)
      : first(floor_div(shape.before[axis], shape.stride[axis])),
        count(floor_div(shape.input[axis] - 1 + shape.before[axis], shape.stride[axis]) - first +
              1),
        reach((shape.extent(axis) - 1) / shape.stride[axis]) {}
};

/// Interleaves the phases of a row: element i stride + phase - before of `row` is element i - first
/// of phase `phase`.
template <class Acc>
void merge_row(const ConvShape& shape, const GradientAxis& axis, const Acc* phases, int64_t pitch,
               Acc* row) {
  const int64_t stride = shape.stride[1];
  // Of element 0 of the row.
  const int64_t ahead = shape.before[1] - axis.first * stride;
  const auto place = [&](int64_t i) {
    return phases + (i + ahead) % stride * pitch + (i + ahead) / stride;
  };
  if (stride == 2) {
    constexpr int64_t kV = kLanes<Acc>;
    const Acc* const even = place(0);
    const Acc* const odd = place(1);
    for (int64_t i = 0; i < shape.input[1]; i += 2 * kV) {
      const auto [low, high] =
          at::vec::interleave2(Vec<Acc>::loadu(even + i / 2), Vec<Acc>::loadu(odd + i / 2));
      low.store(row + i);
      high.store(row + i + kV);
    }
    return;
  }
  for (int64_t first = 0; first < std::min(stride, shape.input[1]); ++first) {
    const Acc* from = place(first);
    for (int64_t i = first; i < shape.input[1]; i += stride) {
      row[i] = *from++;
    }
  }
}

/// The scratch memory of plane_input_gradient.
template <class T>
struct PlaneGradientMemory {
  using Acc = Accumulator<T>;
  /// Vectors are read and written whole, past the end of rows.
  static constexpr int64_t kRoom = 2 * kLanes<Acc>;

  GradientAxis vertical;
  GradientAxis horizontal;
  Rows<T> rows;
  int64_t band;    ///< number of rows of the input's gradient, of one phase, at a time
  int64_t height;  ///< number of rows of the output's gradient that they read
  int64_t pitch;   ///< from the sums of one phase to the next
  Acc* source;
  Acc* sums;
  Acc* merged;
  // The taps, phase by phase.
  int64_t* offsets;
  int64_t* order;
  Acc* weights;
  int64_t* starts;

  template <class Memory>
  PlaneGradientMemory(const ConvShape& shape, Memory& memory)
      : vertical(shape, 0),
        horizontal(shape, 1),
        rows(shape.output[1], horizontal.reach - horizontal.first, 1, horizontal.count,
             horizontal.reach + 1),
        band(band_rows(vertical.count, 1, vertical.reach, rows.size())),
        height(band + vertical.reach),
        pitch(band * horizontal.count + kRoom),
        source(rows.take(shape.multiplier() * shape.depth.kernel, height, memory)),
        sums(memory.template take<Acc>(shape.stride[1], pitch)),
        merged(memory.template take<Acc>(shape.input[1] + kRoom)),
        offsets(memory.template take<int64_t>(shape.multiplier(), shape.taps())),
        order(memory.template take<int64_t>(shape.multiplier(), shape.taps())),
        weights(memory.template take<Acc>(shape.multiplier(), shape.taps())),
        starts(memory.template take_more<int64_t>(1, shape.depth.stride, shape.stride[0],
                                                  shape.stride[1])) {}

  /// Sorts the taps of all filters of a channel by phase: of depth, height and width.
  void find_taps(const ConvShape& shape) const {
    const int64_t slice_phases = shape.stride[0] * shape.stride[1];
    const int64_t phases = shape.depth.stride * slice_phases;
    int64_t found = 0;
    for (int64_t phase = 0; phase < phases; ++phase) {
      starts[phase] = found;
      for (int64_t t = 0; t < shape.taps() * shape.multiplier(); ++t) {
        // There are rows for each slice of the kernel of each filter.
        const int64_t slice = t / shape.slice_taps();
        const int64_t z = slice % shape.depth.kernel * shape.depth.dilation;
        const int64_t y = t % shape.slice_taps() / shape.kernel[1] * shape.dilation[0];
        const int64_t x = t % shape.kernel[1] * shape.dilation[1];
        if (z % shape.depth.stride == phase / slice_phases &&
            y % shape.stride[0] == phase % slice_phases / shape.stride[1] &&
            x % shape.stride[1] == phase % shape.stride[1]) {
          offsets[found] = (slice * height + vertical.reach - y / shape.stride[0]) * rows.size() +
                           horizontal.reach - x / shape.stride[1];
          order[found++] = t;
        }
      }
    }
    starts[phases] = found;
  }
};

template <class T>
void plane_input_gradient(const ConvShape& shape, const T* gradient, const Accumulator<T>* weight,
                          T* input_gradient, int64_t begin, int64_t end) {
  using Acc = Accumulator<T>;
  Workspace workspace;
  const PlaneGradientMemory<T> memory(shape, workspace);
  const auto& [vertical, horizontal, rows, band, height, pitch, source, sums, merged, offsets,
               order, weights, starts] = memory;
  const int64_t taps = shape.taps() * shape.multiplier();
  memory.find_taps(shape);

  const int64_t input_size = shape.input[0] * shape.input[1];
  const int64_t output_size = shape.output[0] * shape.output[1];
  const T* const gradient_end =
      gradient + shape.batch * shape.filters * shape.depth.output * output_size;
  // Copies rows of the output's gradient for those slices of the kernel that read an input slice.
  const auto copy_rows = [&](int64_t input_slice, int64_t first, int64_t count) {
    for (int64_t i = 0; i < shape.multiplier() * shape.depth.kernel; ++i) {
      const int64_t k = i % shape.depth.kernel;
      const int64_t channel = input_slice / shape.depth.input;
      const auto read = shape.image_that_read(input_slice, k);
      const int64_t filter = channel * shape.multiplier() + i / shape.depth.kernel;
      const int64_t image = read ? *read - channel * shape.depth.output : 0;
      rows.copy(gradient + (filter * shape.depth.output + image) * output_size, gradient_end,
                read ? shape.output[0] : 0, vertical.first + first - vertical.reach,
                count + vertical.reach, source + i * height * rows.size());
    }
  };
  for (int64_t slice = begin * shape.depth.input; slice < end * shape.depth.input; ++slice) {
    const int64_t channel = slice / shape.depth.input;
    const int64_t depth_phase =
        floor_mod(slice % shape.depth.input + shape.depth.before, shape.depth.stride);
    const Acc* const filters = weight + channel % shape.channels * taps;
    for (int64_t t = 0; t < taps; ++t) {
      weights[t] = filters[order[t]];
    }
    for (int64_t i = 0; i < vertical.count; i += band) {
      const int64_t count = std::min(band, vertical.count - i);
      copy_rows(slice, i, count);
      for (int64_t y = 0; y < shape.stride[0]; ++y) {
        // Rows of this phase, as far as they are the input's.
        const int64_t top = (vertical.first + i) * shape.stride[0] + y - shape.before[0];
        const int64_t skipped = top < 0 ? 1 : 0;
        const int64_t kept =
            std::min(count, ceil_div(shape.input[0] - top, shape.stride[0])) - skipped;
        if (kept <= 0) {
          continue;
        }
        for (int64_t x = 0; x < shape.stride[1]; ++x) {
          const int64_t phase = (depth_phase * shape.stride[0] + y) * shape.stride[1] + x;
          const int64_t start = starts[phase];
          const Sums<Acc> sum{offsets + start, weights + start, starts[phase + 1] - start,
                              Acc(0),          rows.size(),     horizontal.count};
          sum(kept, horizontal.count, source + skipped * rows.size(), sums + x * pitch);
        }
        for (int64_t r = 0; r < kept; ++r) {
          T* const row = input_gradient + slice * input_size +
                         (top + (skipped + r) * shape.stride[0]) * shape.input[1];
          const Acc* phases = sums + r * horizontal.count;
          if (shape.stride[1] > 1) {
            merge_row(shape, horizontal, phases, pitch, merged);
            phases = merged;
          }
          convert(phases, shape.input[1], row);
        }
      }
    }
  }
}

/// Adds to each tap's result the products of gradient and source, over rows of columns.
template <class Acc, int kTaps>
void tap_products(const int64_t* offsets, const Acc* source, int64_t pitch, const Acc* gradient,
                  int64_t gradient_pitch, int64_t rows, int64_t columns, const Vec<Acc>& last,
                  Acc* result) {
  constexpr int64_t kV = kLanes<Acc>;
  std::array<Vec<Acc>, kTaps> sums;
  sums.fill(Vec<Acc>(Acc(0)));
  for (int64_t r = 0; r < rows; ++r) {
    const Acc* const from = source + r * pitch;
    const Acc* const by = gradient + r * gradient_pitch;
    int64_t j = 0;
    for (; j + kV <= columns; j += kV) {
      const auto factor = Vec<Acc>::loadu(by + j);
#pragma GCC unroll 10
      for (int t = 0; t < kTaps; ++t) {
        sums[t] = at::vec::fmadd(factor, Vec<Acc>::loadu(from + offsets[t] + j), sums[t]);
      }
    }
    if (j < columns) {
      // The gradient is 0 past the end; what it meets there might be infinite or NaN.
      const auto factor = Vec<Acc>::loadu(by + j);
#pragma GCC unroll 10
      for (int t = 0; t < kTaps; ++t) {
        sums[t] = at::vec::fmadd(factor, Vec<Acc>::loadu(from + offsets[t] + j) & last, sums[t]);
      }
    }
  }
  for (int t = 0; t < kTaps; ++t) {
    result[t] += at::vec::vec_reduce_all([](const Vec<Acc>& a, const Vec<Acc>& b) { return a + b; },
                                         sums[t]);
  }
}

/// Some taps at a time, as many as the registers hold.
template <class Acc, int kMost = 10>
void some_tap_products(int64_t taps, const int64_t* offsets, const Acc* source, int64_t pitch,
                       const Acc* gradient, int64_t gradient_pitch, int64_t rows, int64_t columns,
                       const Vec<Acc>& last, Acc* result) {
  if constexpr (kMost > 1) {
    if (taps < kMost) {
      some_tap_products<Acc, kMost - 1>(taps, offsets, source, pitch, gradient, gradient_pitch,
                                        rows, columns, last, result);
      return;
    }
  }
  tap_products<Acc, kMost>(offsets, source, pitch, gradient, gradient_pitch, rows, columns, last,
                           result);
}

/// The scratch memory of plane_weight_gradient.
template <class T>
struct PlaneWeightMemory {
  InputBand<T> band;
  Rows<T> gradient_rows;
  Accumulator<T>* source;  ///< rows of the output's gradient

  template <class Memory>
  PlaneWeightMemory(const ConvShape& shape, Memory& memory)
      : band(shape, memory),
        gradient_rows(shape.output[1], 0, 1, shape.output[1], 1),
        source(gradient_rows.take(1, band.rows, memory)) {}
};

template <class T>
void plane_weight_gradient(const ConvShape& shape, const T* gradient, const T* input,
                           Accumulator<T>* weight_gradient, int64_t begin, int64_t end) {
  using Acc = Accumulator<T>;
  constexpr int64_t kV = kLanes<Acc>;
  constexpr int64_t kMost = 10;
  Workspace workspace;
  const PlaneWeightMemory<T> memory(shape, workspace);
  const auto& [band, gradient_rows, source] = memory;
  band.find_offsets();
  const auto last = first_elements<Acc>(shape.output[1] % kV);

  const int64_t input_size = shape.depth.input * shape.input[0] * shape.input[1];
  const int64_t output_rows = shape.depth.output * shape.output[0];
  const int64_t output_size = output_rows * shape.output[1];
  const T* const input_end = input + shape.batch * shape.channels * input_size;
  const T* const gradient_end = gradient + shape.batch * shape.filters * output_size;
  const int64_t groups = ceil_div(shape.taps(), kMost);
  const int64_t group = ceil_div(shape.taps(), groups);
  std::fill(weight_gradient + begin * shape.multiplier() * shape.taps(),
            weight_gradient + end * shape.multiplier() * shape.taps(), Acc(0));
  for (int64_t channel = begin; channel < end; ++channel) {
    for (int64_t n = 0; n < shape.batch; ++n) {
      const int64_t plane = n * shape.channels + channel;
      for (int64_t row = 0; row < output_rows;) {
        const int64_t y = row % shape.output[0];
        const int64_t rows = std::min(band.rows, shape.output[0] - y);
        band.fill(input + plane * input_size, input_end, row / shape.output[0], y, rows);
        for (int64_t m = 0; m < shape.multiplier(); ++m) {
          const T* const from = gradient + (plane * shape.multiplier() + m) * output_size;
          gradient_rows.copy(from, gradient_end, output_rows, row, rows, source);
          Acc* const result = weight_gradient + (channel * shape.multiplier() + m) * shape.taps();
          for (int64_t t = 0; t < shape.taps(); t += group) {
            some_tap_products(std::min(group, shape.taps() - t), band.offsets + t, band.source,
                              band.pitch, source, gradient_rows.size(), rows, shape.output[1], last,
                              result + t);
          }
        }
        row += rows;
      }
    }
  }
}

/// The number of bytes of scratch memory that the kernel for this pass takes.
template <class T>
double plane_scratch(Pass pass, const ConvShape& shape) {
  ScratchSize size;
  switch (pass) {
    case Pass::output:
#ifdef CPU_CAPABILITY_AVX512
      if constexpr (std::is_same_v<Accumulator<T>, float>) {
        if (pairs_planes<T>(shape)) {
          PlanePairs<T>(shape, size);
          break;
        }
      }
#endif
      PlaneOutputMemory<T>(shape, size);
      break;
    case Pass::input_gradient:
      PlaneGradientMemory<T>(shape, size);
      break;
    case Pass::weight_gradient:
      PlaneWeightMemory<T>(shape, size);
      break;
  }
  return size.bytes();
}

}  // namespace samepad::kernels::SAMEPAD_ISA
