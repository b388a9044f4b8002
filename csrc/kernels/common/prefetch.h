#pragma once

// Fetches memory into the cache before it is needed.

#include <cstdint>

#include "arithmetic.h"

namespace samepad::kernels::SAMEPAD_ISA {

/// A region of memory that is prefetched into the L2 cache, a few cache lines at a time.
template <class T>
struct Region {
  const T* begin;
  const T* end;
  int64_t lines = 0;  ///< number of cache lines per call of `fetch`

  static constexpr int64_t kLine = 64 / sizeof(T);

  /// Spreads the region over `times` calls of `fetch`.
  void share(int64_t times) { lines = ceil_div(ceil_div(end - begin, kLine), times); }

  void fetch() {
    for (int64_t i = 0; i < lines && begin < end; ++i, begin += kLine) {
      __builtin_prefetch(begin, 0, 2);
    }
  }
};

}  // namespace samepad::kernels::SAMEPAD_ISA
