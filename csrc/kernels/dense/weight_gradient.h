#pragma once

// The gradient of the weight of a dense convolution.
//
// It is a product of two matrices: products (channels x kernel elements) by pixels, times pixels by
// filters. The input that a band of output rows reads is copied into scratch memory with its
// padding, by the code of the output's kernels, in either layout. The micro-kernel then multiplies
// a few products by a block of a few vectors of filters.

#include "../common/vectors.h"
#include "../common/workspace.h"
#include "band.h"
#include "kernels.h"
#include "pixels.h"
#include "planes.h"

namespace samepad::kernels::SAMEPAD_ISA {

/// The micro-kernel: adds the contributions of `count` pixels to a tile of kProducts rows of the
/// weight's gradient by kVectors vectors of filters.
template <class T, int kVectors, int kProducts>
void product_sums(const T* const* pixels, int64_t count, const int64_t* offsets, const T* gradient,
                  T* target) {
  constexpr int64_t kV = kLanes<T>;
  std::array<int64_t, kProducts> places;
  std::array<std::array<Vec<T>, kVectors>, kProducts> sums;
#pragma GCC unroll 8
  for (int k = 0; k < kProducts; ++k) {
    places[k] = offsets[k];
    sums[k].fill(Vec<T>(T(0)));
  }
  for (int64_t p = 0; p < count; ++p) {
    std::array<Vec<T>, kVectors> factors;
#pragma GCC unroll 4
    for (int v = 0; v < kVectors; ++v) {
      factors[v] = Vec<T>::loadu(gradient + (p * kVectors + v) * kV);
    }
    const T* const from = pixels[p];
#pragma GCC unroll 8
    for (int k = 0; k < kProducts; ++k) {
      const Vec<T> value(*in_scratch(from + places[k]));
#pragma GCC unroll 4
      for (int v = 0; v < kVectors; ++v) {
        sums[k][v] = at::vec::fmadd(value, factors[v], sums[k][v]);
      }
    }
  }
#pragma GCC unroll 8
  for (int k = 0; k < kProducts; ++k) {
#pragma GCC unroll 4
    for (int v = 0; v < kVectors; ++v) {
      T* const to = target + k * kBlockFilters<T> + v * kV;
      (Vec<T>::loadu(to) + sums[k][v]).store(to);
    }
  }
}

template <class T>
using ProductSums = decltype(&product_sums<T, 1, 1>);

/// The instances of product_sums for kVectors, indexed by [products - 1].
template <class T, int kVectors>
inline constexpr auto kProductSums = []<size_t... P>(std::index_sequence<P...>) {
  return std::array<ProductSums<T>, sizeof...(P)>{product_sums<T, kVectors, P + 1>...};
}(std::make_index_sequence<kTilePixels<kVectors>>());

/// The number of pixels whose gradients for a block of filters stay in the L1 cache.
inline constexpr int64_t kGradientPixels = 96;

/// The scratch memory for a band of output rows. BandRows is PixelBandRows<T> or PlaneBandRows<T>.
template <class T, class BandRows>
struct WeightGradientMemory {
  BandRows rows;
  T* factors;  ///< gradients of the output

  template <class Memory>
  WeightGradientMemory(const ConvShape& shape, const Pair& band, Memory& memory)
      : rows(shape, band, memory),
        factors(memory.template take<T>(kGradientPixels, kBlockFilters<T>)) {}
};

/// Copies the output's gradients for pixels [begin, end) of all images and for `filters` filters
/// from f on. The gradients of a pixel become contiguous and are padded with zeros to whole
/// vectors.
template <class T>
void copy_gradients(const ConvShape& shape, const T* gradient, bool channels_last,
                    const Pair& pixels, int64_t f, int64_t filters, T* to) {
  const int64_t pitch = ceil_div(filters, kLanes<T>) * kLanes<T>;
  const int64_t size = shape.depth.output * shape.output[0] * shape.output[1];
  for (int64_t pixel = pixels[0]; pixel < pixels[1];) {
    const int64_t count = channels_last ? 1 : std::min(pixels[1] - pixel, size - pixel % size);
    if (channels_last) {
      std::copy_n(gradient + pixel * shape.filters + f, filters, to);
    } else {
      transpose(gradient + (pixel / size * shape.filters + f) * size + pixel % size, filters, count,
                size, to, pitch);
    }
    for (int64_t i = 0; filters < pitch && i < count; ++i) {
      std::fill(to + i * pitch + filters, to + (i + 1) * pitch, T(0));
    }
    pixel += count;
    to += count * pitch;
  }
}

template <class T, class BandRows>
void dense_weight_gradient_of(const ConvShape& shape, const T* gradient, const T* input,
                              bool channels_last, int64_t band_rows, T* weight_gradient,
                              int64_t begin, int64_t end) {
  const int64_t rows = shape.images() * shape.output[0];
  const int64_t products = shape.channels * shape.taps();
  const auto place = [&](int64_t block, int64_t k) {
    return weight_gradient + (block * products + k) * kBlockFilters<T>;
  };
  for (int64_t block = 0; block < ceil_div(shape.filters, kBlockFilters<T>); ++block) {
    std::fill(place(block, begin), place(block, end), T(0));
  }
  for (int64_t row = 0; row < rows; row += band_rows) {
    Workspace workspace;
    const Pair band{row, std::min(row + band_rows, rows)};
    const WeightGradientMemory<T, BandRows> memory(shape, band, workspace);
    const T* const* const sources = memory.rows.copy(input);
    const int64_t* const offsets = memory.rows.find_offsets();
    const int64_t first = row * shape.output[1];
    const int64_t pixels = (band[1] - row) * shape.output[1];
    for (int64_t p = 0; p < pixels; p += kGradientPixels) {
      const int64_t count = std::min(kGradientPixels, pixels - p);
      for (int64_t f = 0; f < shape.filters; f += kBlockFilters<T>) {
        const int64_t filters = std::min(kBlockFilters<T>, shape.filters - f);
        copy_gradients(shape, gradient, channels_last, {first + p, first + p + count}, f, filters,
                       memory.factors);
        with_vectors(ceil_div(filters, kLanes<T>), [&](auto constant) {
          constexpr int64_t kProducts = kTilePixels<constant>;
          for (int64_t k = begin; k < end; k += kProducts) {
            kProductSums<T, constant>[std::min(kProducts, end - k) - 1](
                sources + p, count, offsets + k, memory.factors, place(f / kBlockFilters<T>, k));
          }
        });
      }
    }
  }
}

template <class T>
void dense_weight_gradient(const ConvShape& shape, const T* gradient, const T* input,
                           bool channels_last, int64_t band_rows, T* weight_gradient, int64_t begin,
                           int64_t end) {
  const auto run = channels_last ? dense_weight_gradient_of<T, PixelBandRows<T>>
                                 : dense_weight_gradient_of<T, PlaneBandRows<T>>;
  run(shape, gradient, input, channels_last, band_rows, weight_gradient, begin, end);
}

template <class T>
double dense_weight_scratch(const ConvShape& shape, bool channels_last, const Pair& band) {
  ScratchSize size;
  if (channels_last) {
    WeightGradientMemory<T, PixelBandRows<T>>(shape, band, size);
  } else {
    WeightGradientMemory<T, PlaneBandRows<T>>(shape, band, size);
  }
  return size.bytes();
}

}  // namespace samepad::kernels::SAMEPAD_ISA
