#pragma once

// How the kernels for channels_last divide the elements of a filter when they pack it.

#include <cstdint>

#include "../common/arithmetic.h"

namespace samepad::kernels {

/// As so many runs of elements that are consecutive in the weight, each of which is padded to a
/// multiple of the number of elements that are multiplied at once.
struct Runs {
  int64_t count;
  int64_t length;

  int64_t packed(int64_t step) const { return count * ceil_div(length, step) * step; }
};

/// The number of elements that the kernels for bfloat16 multiply at once.
inline constexpr int64_t kTileRun = 32;

/// The runs of the kernels for bfloat16: one for each kernel element or, where that leaves tiles
/// mostly empty, for each row of the kernel.
inline Runs tile_runs(int64_t channels, int64_t taps, int64_t kernel_width) {
  const Runs elements{taps, channels};
  const Runs rows{taps / kernel_width, channels * kernel_width};
  return 2 * elements.packed(kTileRun) >= 3 * rows.packed(kTileRun) ? rows : elements;
}

}  // namespace samepad::kernels
