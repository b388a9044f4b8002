#pragma once

// The micro-kernels for bfloat16: products of two pixels-by-elements tiles of the input and two
// elements-by-filters tiles of the weight, summed in float. Some are for instructions that not
// every CPU with AVX-512 has.

#include <c10/util/BFloat16.h>
#include <immintrin.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <cstring>

#include "../common/vectors.h"
#include "../common/workspace.h"
#include "runs.h"

namespace samepad::kernels::SAMEPAD_ISA {

/// The number of pixels, and of filters, in a tile. Up to two tiles of each are multiplied at once.
inline constexpr int64_t kTileSize = 16;
/// The products of two neighbouring elements of a pixel are added up by one instruction, so a tile
/// of the weight holds pairs: (kTileRun / 2, kTileSize, 2).
inline constexpr int64_t kWeightTile = kTileRun * kTileSize;

/// The sums of all filters of a block, pixel by pixel.
using BlockSums = std::array<std::array<float, 2 * kTileSize>, 2 * kTileSize>;

/// One or two tiles of pixels: where the elements of the first one begin, and how far apart the
/// pixels of a tile are.
struct PixelTiles {
  std::array<const c10::BFloat16*, 2> from;
  int64_t step;

  /// Where the elements of a tile begin in one step.
  const c10::BFloat16* tile(int i, int64_t offset) const {
    const c10::BFloat16* const first = in_scratch(from[i] + offset, kTileRun);
    in_scratch(first + (kTileSize - 1) * step, kTileRun);
    return first;
  }
};

/// Products by AMX, whose eight registers hold four tiles of sums, two of pixels and two of the
/// weight.
struct MatrixTiles {
  /// Sets up the registers of this thread while it lives.
  class Registers {
   public:
    [[gnu::target("amx-tile")]] Registers() { _tile_loadconfig(&kConfig); }
    [[gnu::target("amx-tile")]] ~Registers() { _tile_release(); }
    Registers(const Registers&) = delete;
    Registers& operator=(const Registers&) = delete;

   private:
    struct alignas(64) Config {
      uint8_t palette = 1;
      uint8_t start_row = 0;
      std::array<uint8_t, 14> reserved{};
      std::array<uint16_t, 16> bytes_per_row{};
      std::array<uint8_t, 16> rows{};
    };
    static constexpr Config config_of_tiles() {
      Config config;
      std::fill_n(config.bytes_per_row.begin(), 8, kTileRun * sizeof(c10::BFloat16));
      std::fill_n(config.rows.begin(), 8, kTileSize);
      return config;
    }
    // A constant, because GCC does not know that the instruction reads all of it, and might not
    // store a local variable.
    static const Config kConfig;
  };

  /// Sums up `steps` products of kPixels tiles of pixels, `offsets` further on in each step, and
  /// kFilters tiles of the weight, which follow each other. `adds` says whether to add to `sums`.
  template <int kPixels, int kFilters>
  [[gnu::target("amx-tile,amx-bf16")]] static void sum(const PixelTiles& pixels,
                                                       const int64_t* offsets, int64_t steps,
                                                       const c10::BFloat16* weight, bool adds,
                                                       BlockSums& sums) {
    constexpr int64_t kSums = sizeof(sums[0]);
    const auto pitch = static_cast<int64_t>(pixels.step * sizeof(c10::BFloat16));
    constexpr int64_t kRow = kTileRun * sizeof(c10::BFloat16);
    if (adds) {
      _tile_loadd(0, &sums[0][0], kSums);
      if constexpr (kFilters == 2) {
        _tile_loadd(1, &sums[0][kTileSize], kSums);
      }
      if constexpr (kPixels == 2) {
        _tile_loadd(2, &sums[kTileSize][0], kSums);
        if constexpr (kFilters == 2) {
          _tile_loadd(3, &sums[kTileSize][kTileSize], kSums);
        }
      }
    } else {
      _tile_zero(0);
      _tile_zero(1);
      _tile_zero(2);
      _tile_zero(3);
    }
    for (int64_t i = 0; i < steps; ++i, weight += kFilters * kWeightTile) {
      _tile_loadd(4, pixels.tile(0, offsets[i]), pitch);
      _tile_loadd(6, weight, kRow);
      _tile_dpbf16ps(0, 4, 6);
      if constexpr (kFilters == 2) {
        _tile_loadd(7, weight + kWeightTile, kRow);
        _tile_dpbf16ps(1, 4, 7);
      }
      if constexpr (kPixels == 2) {
        _tile_loadd(5, pixels.tile(1, offsets[i]), pitch);
        _tile_dpbf16ps(2, 5, 6);
        if constexpr (kFilters == 2) {
          _tile_dpbf16ps(3, 5, 7);
        }
      }
    }
    _tile_stored(0, &sums[0][0], kSums);
    if constexpr (kFilters == 2) {
      _tile_stored(1, &sums[0][kTileSize], kSums);
    }
    if constexpr (kPixels == 2) {
      _tile_stored(2, &sums[kTileSize][0], kSums);
      if constexpr (kFilters == 2) {
        _tile_stored(3, &sums[kTileSize][kTileSize], kSums);
      }
    }
  }
};

inline constexpr MatrixTiles::Registers::Config MatrixTiles::Registers::kConfig = config_of_tiles();

/// 16 sums of products of two elements, by AVX512-BF16.
class Pairs {
 public:
  /// The pairs of 16 filters.
  explicit Pairs(const c10::BFloat16* weight) : factors_(_mm512_loadu_si512(weight)) {}

  /// Adds the products with one pair of a pixel, which fills `values`.
  void add_products(__m512i values, __m512& sums) const {
    // Written out, because an intrinsic could only be used in a function for such CPUs alone.
    asm("vdpbf16ps %2, %1, %0" : "+v"(sums) : "v"(values), "v"(factors_));
  }

 private:
  __m512i factors_;
};

/// The same of elements that are widened to float. Their bits are the upper half of a float's.
class WidenedPairs {
 public:
  explicit WidenedPairs(const c10::BFloat16* weight) : factors_(_mm512_loadu_si512(weight)) {}

  void add_products(__m512i values, __m512& sums) const {
    sums = _mm512_fmadd_ps(first(values), first(factors_), sums);
    sums = _mm512_fmadd_ps(second(values), second(factors_), sums);
  }

 private:
  static __m512 first(__m512i pairs) { return _mm512_castsi512_ps(_mm512_slli_epi32(pairs, 16)); }
  static __m512 second(__m512i pairs) {
    constexpr int32_t kUpper = ~0xFFFF;
    return _mm512_castsi512_ps(_mm512_and_si512(pairs, _mm512_set1_epi32(kUpper)));
  }

  __m512i factors_;
};

/// Products by vectors: a register tile of 8 pixels by one or two vectors of filters. Pairs tells
/// how the products of a pair are added up.
template <class Pairs>
struct VectorTiles {
  /// There is nothing to set up.
  struct Registers {};

  template <int kPixels, int kFilters>
  static void sum(const PixelTiles& pixels, const int64_t* offsets, int64_t steps,
                  const c10::BFloat16* weight, bool adds, BlockSums& sums) {
    constexpr int kRows = 8;
    for (int first = 0; first < kPixels * kTileSize; first += kRows) {
      std::array<std::array<Vec<float>, kFilters>, kRows> totals;
#pragma GCC unroll 8
      for (int row = 0; row < kRows; ++row) {
#pragma GCC unroll 2
        for (int v = 0; v < kFilters; ++v) {
          totals[row][v] =
              adds ? Vec<float>::loadu(&sums[first + row][v * kTileSize]) : Vec<float>(0);
        }
      }
      const c10::BFloat16* factors = weight;
      for (int64_t i = 0; i < steps; ++i, factors += kFilters * kWeightTile) {
        const c10::BFloat16* const from =
            pixels.tile(first / kTileSize, offsets[i]) + first % kTileSize * pixels.step;
        for (int64_t pair = 0; pair < kTileRun / 2; ++pair) {
          const Pairs low(factors + pair * kTileSize * 2);
          const Pairs high(factors + (kFilters - 1) * kWeightTile + pair * kTileSize * 2);
#pragma GCC unroll 8
          for (int row = 0; row < kRows; ++row) {
            int32_t value = 0;
            std::memcpy(&value, from + row * pixels.step + pair * 2, sizeof(value));
            const __m512i values = _mm512_set1_epi32(value);
            add(low, values, totals[row][0]);
            if constexpr (kFilters == 2) {
              add(high, values, totals[row][1]);
            }
          }
        }
      }
#pragma GCC unroll 8
      for (int row = 0; row < kRows; ++row) {
#pragma GCC unroll 2
        for (int v = 0; v < kFilters; ++v) {
          totals[row][v].store(&sums[first + row][v * kTileSize]);
        }
      }
    }
  }

 private:
  static void add(const Pairs& pairs, __m512i values, Vec<float>& total) {
    __m512 sums = total;
    pairs.add_products(values, sums);
    total = sums;
  }
};

}  // namespace samepad::kernels::SAMEPAD_ISA
