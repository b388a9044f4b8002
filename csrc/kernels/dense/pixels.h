#pragma once

// Dense convolutions in channels_last: (batch, height, width, channels).
//
// The output is a product of two matrices: pixels by products (kernel elements x channels), times
// products by filters. The input rows that a band of output rows reads are copied into scratch
// memory with their padding. There, each product is at the same distance from the start of every
// pixel's window, so a table of offsets replaces im2col (indirect convolution). The micro-kernel
// multiplies a few pixels by a block of a few vectors of filters, whose weights have been packed.

#include <type_traits>
#include <utility>

#include "../common/finish.h"
#include "../common/prefetch.h"
#include "../common/vectors.h"
#include "../common/workspace.h"
#include "band.h"
#include "kernels.h"

namespace samepad::kernels::SAMEPAD_ISA {

/// The number of vectors of filters in a block.
inline constexpr int kBlockVectors = kManyRegisters ? 4 : 2;

template <class T>
inline constexpr int64_t kBlockFilters = kBlockVectors * kLanes<T>;

/// The number of pixels in a register tile with kVectors vectors of filters. The accumulators fill
/// the vector registers that the operands leave free; the pixels' addresses need general registers.
template <int kVectors>
inline constexpr int kTilePixels = kManyRegisters && kVectors <= 2 ? 8 : 6;

/// The number of products in a K block. A block of weights of this depth, 28 KiB, stays in the L1
/// cache while it is multiplied by all pixels of a band.
inline constexpr int64_t kTileDepth =
    int64_t{28} * 1024 / (kBlockFilters<float> * static_cast<int64_t>(sizeof(float)));

/// The micro-kernel: a register tile of kPixels pixels by kVectors vectors of filters. If `start`
/// is given, accumulators begin with it and are stored in the targets. Otherwise they begin with
/// zero and are added to the targets at the end, because rounding errors grow with the length of a
/// running sum. Of the last vector of a target, only `last` elements are there.
template <class T, int kVectors, int kPixels>
void tile_sums(const T* const* pixels, const int64_t* offsets, int64_t depth, const T* weight,
               const T* start, T* const* targets, int64_t last) {
  constexpr int64_t kV = kLanes<T>;
  std::array<const T*, kPixels> from;
  std::array<std::array<Vec<T>, kVectors>, kPixels> sums;
#pragma GCC unroll 8
  for (int p = 0; p < kPixels; ++p) {
    from[p] = pixels[p];
#pragma GCC unroll 4
    for (int v = 0; v < kVectors; ++v) {
      sums[p][v] = start != nullptr ? Vec<T>::loadu(start + v * kV) : Vec<T>(T(0));
    }
  }
  for (int64_t k = 0; k < depth; ++k) {
    std::array<Vec<T>, kVectors> factors;
#pragma GCC unroll 4
    for (int v = 0; v < kVectors; ++v) {
      factors[v] = Vec<T>::loadu(weight + (k * kVectors + v) * kV);
    }
    const int64_t offset = offsets[k];
#pragma GCC unroll 8
    for (int p = 0; p < kPixels; ++p) {
      const Vec<T> value(*in_scratch(from[p] + offset));
#pragma GCC unroll 4
      for (int v = 0; v < kVectors; ++v) {
        sums[p][v] = at::vec::fmadd(value, factors[v], sums[p][v]);
      }
    }
  }
#pragma GCC unroll 8
  for (int p = 0; p < kPixels; ++p) {
#pragma GCC unroll 4
    for (int v = 0; v < kVectors; ++v) {
      T* const to = targets[p] + v * kV;
      const int64_t count = v == kVectors - 1 ? last : kV;
      (start != nullptr ? sums[p][v] : Vec<T>::loadu(to, count) + sums[p][v]).store(to, count);
    }
  }
}

template <class T>
using TileSums = decltype(&tile_sums<T, 1, 1>);

/// The instances of tile_sums for kVectors, indexed by [pixels - 1].
template <class T, int kVectors>
inline constexpr auto kTileSums = []<size_t... P>(std::index_sequence<P...>) {
  return std::array<TileSums<T>, sizeof...(P)>{tile_sums<T, kVectors, P + 1>...};
}(std::make_index_sequence<kTilePixels<kVectors>>());

/// Calls `run` with the number of vectors as a compile-time constant.
template <int kMost = kBlockVectors, class Run>
void with_vectors(int64_t vectors, const Run& run) {
  if constexpr (kMost > 1) {
    if (vectors < kMost) {
      with_vectors<kMost - 1>(vectors, run);
      return;
    }
  }
  run(std::integral_constant<int, kMost>());
}

/// Packs elements [begin, end) of at most a block of filters, which are `products` elements apart.
/// The result has one row per element, with all filters side by side and zeros up to whole vectors.
template <class T>
void pack_block(const T* weight, int64_t filters, int64_t products, int64_t begin, int64_t end,
                T* packed) {
  const int64_t pitch = ceil_div(filters, kLanes<T>) * kLanes<T>;
  transpose(weight + begin, filters, end - begin, products, packed, pitch);
  for (int64_t k = 0; filters < pitch && k < end - begin; ++k) {
    std::fill(packed + k * pitch + filters, packed + (k + 1) * pitch, T(0));
  }
}

/// All elements of a filter are packed alike, whatever the order of channels and kernel elements.
inline Runs whole_filters(int64_t channels, int64_t taps, int64_t /*kernel_width*/) {
  return {1, channels * taps};
}

/// Packs all elements of blocks [begin, end).
template <class T>
void pack_blocks(const T* weight, int64_t filters, const Runs& runs, int64_t begin, int64_t end,
                 T* packed) {
  const int64_t products = runs.count * runs.length;
  for (int64_t f = begin * kBlockFilters<T>; f < std::min(filters, end * kBlockFilters<T>);
       f += kBlockFilters<T>) {
    pack_block(weight + f * products, std::min(filters - f, kBlockFilters<T>), products, 0,
               products, packed + f * products);
  }
}

/// The input rows that a band of output rows reads, with their padding.
template <class T>
class PixelBandRows {
 public:
  template <class Memory>
  PixelBandRows(const ConvShape& shape, const Pair& band, Memory& memory)
      : shape_(shape),
        band_(band),
        columns_((shape.output[1] - 1) * shape.stride[1] + shape.extent(1)),
        pitch_(pixel_pitch<T>(shape.channels)),
        height_(each_image(shape, band, [](const ImageRows&) {})),
        source_(memory.template take<T>(shape.depth.kernel, height_, columns_, pitch_)),
        pixels_(memory.template take<const T*>(band[1] - band[0], shape.output[1])),
        offsets_(memory.template take<int64_t>(shape.channels, shape.taps())) {}

  /// Finds the distance from the start of a pixel's window to each product, in the order of the
  /// weight.
  const int64_t* find_offsets(bool channels_last_weight = true) const {
    for (int64_t t = 0; t < shape_.taps(); ++t) {
      const int64_t slice = t / shape_.slice_taps();
      const int64_t y = t % shape_.slice_taps() / shape_.kernel[1] * shape_.dilation[0];
      const int64_t x = t % shape_.kernel[1] * shape_.dilation[1];
      const int64_t place = ((slice * height_ + y) * columns_ + x) * pitch_;
      for (int64_t c = 0; c < shape_.channels; ++c) {
        offsets_[channels_last_weight ? t * shape_.channels + c : c * shape_.taps() + t] =
            place + c;
      }
    }
    return offsets_;
  }

  /// Copies the input rows and returns the address at which each pixel's window starts.
  const T* const* copy(const T* input) const {
    const int64_t row_size = columns_ * pitch_;
    int64_t pixel = 0;
    each_image(shape_, band_, [&](const ImageRows& image) {
      const T* const source = source_ + image.source * row_size;
      for (int64_t y = 0; y < image.end - image.begin; ++y) {
        for (int64_t x = 0; x < shape_.output[1]; ++x) {
          pixels_[pixel++] =
              source + y * shape_.stride[0] * row_size + x * shape_.stride[1] * pitch_;
        }
      }
      for (int64_t k = 0; k < shape_.depth.kernel; ++k) {
        copy_slice(input, image, k);
      }
    });
    return pixels_;
  }

 private:
  /// Copies the rows that slice `k` of the kernel reads for this image.
  void copy_slice(const T* input, const ImageRows& image, int64_t k) const {
    const int64_t channels = shape_.channels;
    const int64_t row_size = columns_ * pitch_;
    // The padded row consists of `left` columns of padding, `inside` columns of input and padding
    // again.
    const int64_t left = std::clamp<int64_t>(shape_.before[1], 0, columns_);
    const int64_t skipped = std::max<int64_t>(-shape_.before[1], 0);
    const int64_t inside = std::clamp<int64_t>(shape_.input[1] - skipped, 0, columns_ - left);
    const int64_t slice = shape_.slice(image.image, k);
    const int64_t first_row =
        (image.image / shape_.depth.output * shape_.depth.input + slice) * shape_.input[0];
    T* row = source_ + (k * height_ + image.source) * row_size;
    for (int64_t y = image.top; y < image.top + image.height; ++y, row += row_size) {
      if (!shape_.is_inside(slice) || y < 0 || y >= shape_.input[0]) {
        std::fill_n(row, row_size, T(0));
        continue;
      }
      const T* const from = input + ((first_row + y) * shape_.input[1] + skipped) * channels;
      std::fill_n(row, left * pitch_, T(0));
      if (pitch_ == channels) {
        std::copy_n(from, inside * channels, row + left * pitch_);
      } else {
        for (int64_t x = 0; x < inside; ++x) {
          std::copy_n(from + x * channels, channels, row + (left + x) * pitch_);
        }
      }
      std::fill(row + (left + inside) * pitch_, row + row_size, T(0));
    }
  }

  const ConvShape& shape_;
  Pair band_;
  int64_t columns_;  ///< number of columns in a padded row
  int64_t pitch_;    ///< distance from one pixel of a padded row to the next
  int64_t height_;   ///< number of rows per slice of the kernel
  T* source_;
  const T** pixels_;
  int64_t* offsets_;
};

/// Computes one part of the output: a band of output rows for some blocks of filters.
template <class T>
class PixelBand {
 public:
  template <class Memory>
  PixelBand(const ConvShape& shape, const DensePart& part, Memory& memory)
      : shape_(shape),
        part_(part),
        rows_(shape, part.rows, memory),
        pixels_((part.rows[1] - part.rows[0]) * shape.output[1]),
        places_(memory.template take<T*>(pixels_)),
        targets_(memory.template take<T*>(pixels_)),
        start_(memory.template take<T>(kBlockFilters<T>)),
        sums_(memory.template take<T>(pixels_, kBlockFilters<T>)),
        packed_(memory.template take<T>(kBlockFilters<T>, kTileDepth)) {}

  void run(const T* input, const DenseWeight<T>& weight, const T* bias, const Epilogue<T>* epilogue,
           T* output, const PixelSteps& steps) const {
    const auto* const offsets = rows_.find_offsets(weight.channels_last);
    const auto* const sources = rows_.copy(input);
    find_places(output, steps);
    const int64_t products = shape_.channels * shape_.taps();
    for (int64_t f = part_.filters[0]; f < part_.filters[1]; f += kBlockFilters<T>) {
      const int64_t filters = std::min(part_.filters[1] - f, kBlockFilters<T>);
      const bool beside = products > kSpan * kTileDepth;
      for (int64_t i = 0; i < kBlockFilters<T>; ++i) {
        start_[i] = bias != nullptr && i < filters ? bias[f + i] : T(0);
      }
      for (int64_t p = 0; p < pixels_; ++p) {
        targets_[p] = beside ? sums_ + p * kBlockFilters<T> : places_[p] + f;
      }
      for (int64_t k = 0; k < products; k += kTileDepth) {
        const int64_t depth = std::min(kTileDepth, products - k);
        const T* factors = packed_;
        // The next weights, which are fetched meanwhile: there may be few pixels, and the weights
        // of a network come from memory.
        Region<T> next{};
        if (weight.packed) {
          const int64_t pitch = ceil_div(filters, kLanes<T>) * kLanes<T>;
          factors = weight.data + f * products + k * pitch;
          const T* const rest = factors + depth * pitch;
          const T* const end = weight.data + part_.filters[1] * products;
          next = {rest, rest + std::clamp<int64_t>(end - rest, 0, kTileDepth * pitch)};
        } else {
          pack_block(weight.data + f * products, filters, products, k, k + depth, packed_);
        }
        const int64_t step = k / kTileDepth;
        const bool completes = k + depth == products;
        const Epilogue<T>* const end = completes ? epilogue : nullptr;
        with_vectors(ceil_div(filters, kLanes<T>), [&](auto vectors) {
          add_products<vectors>(sources, offsets + k, depth, factors,
                                step % kSpan == 0 ? start_ : nullptr, beside ? nullptr : end,
                                targets_, filters, next);
        });
        const bool ends = (step + 1) % kSpan == 0 || completes;
        for (int64_t p = 0; beside && ends && p < pixels_; ++p) {
          put_sums(targets_[p], filters, /*add=*/step >= kSpan, places_[p] + f);
          if (end != nullptr) {
            finish(*end, places_[p] + f, filters);
          }
        }
        // The first span started with the bias; the sums of all others start with zero.
        std::fill_n(start_, kBlockFilters<T>, T(0));
      }
    }
  }

 private:
  template <int kVectors>
  void add_products(const T* const* sources, const int64_t* offsets, int64_t depth,
                    const T* factors, const T* start, const Epilogue<T>* epilogue,
                    T* const* targets, int64_t filters, Region<T> next) const {
    const int64_t last = filters - (kVectors - 1) * kLanes<T>;
    constexpr int64_t kPixels = kTilePixels<kVectors>;
    next.share(ceil_div(pixels_, kPixels));
    for (int64_t p = 0; p < pixels_; p += kPixels) {
      next.fetch();
      const int64_t count = std::min(kPixels, pixels_ - p);
      kTileSums<T, kVectors>[count - 1](sources + p, offsets, depth, factors, start, targets + p,
                                        last);
      if (epilogue != nullptr) {
        finish_rows(*epilogue, count, filters, targets + p);
      }
    }
  }

  /// Finds the place of each pixel's first filter in the output.
  void find_places(T* output, const PixelSteps& steps) const {
    int64_t pixel = 0;
    each_image(shape_, part_.rows, [&](const ImageRows& image) {
      for (int64_t y = image.begin; y < image.end; ++y) {
        for (int64_t x = 0; x < shape_.output[1]; ++x) {
          places_[pixel++] = output + image.image / shape_.depth.output * steps.image +
                             image.image % shape_.depth.output * steps.slice + y * steps.row +
                             x * steps.column;
        }
      }
    });
  }

  const ConvShape& shape_;
  const DensePart& part_;
  PixelBandRows<T> rows_;
  int64_t pixels_;
  T** places_;   ///< of each pixel's first filter in the output
  T** targets_;  ///< where the sums of each pixel are accumulated
  T* start_;     ///< what the sums start with
  /// The sums, which are kept outside the output if there are several spans.
  T* sums_;
  T* packed_;  ///< a block of the weight
};

template <class T>
void dense_pixel_output(const ConvShape& shape, const T* input, const DenseWeight<T>& weight,
                        const T* bias, const Epilogue<T>* epilogue, T* output,
                        const PixelSteps& steps, const DensePart& part) {
  Workspace workspace;
  PixelBand<T>(shape, part, workspace).run(input, weight, bias, epilogue, output, steps);
}

template <class T>
double dense_pixel_scratch(const ConvShape& shape, const DensePart& part) {
  ScratchSize size;
  PixelBand<T>(shape, part, size);
  return size.bytes();
}

}  // namespace samepad::kernels::SAMEPAD_ISA
