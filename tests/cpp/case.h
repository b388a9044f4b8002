#pragma once

// Shapes that convolutions, transposed convolutions and pools are tested with.

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <ostream>
#include <vector>

namespace samepad {

using Sizes = std::vector<int64_t>;

struct Case {
  Sizes size;
  Sizes kernel;
  Sizes stride;
  Sizes dilation;
  int64_t groups;
};

inline void PrintTo(const Case& c, std::ostream* stream) {
  *stream << "size " << at::IntArrayRef(c.size) << " kernel " << at::IntArrayRef(c.kernel)
          << " stride " << at::IntArrayRef(c.stride) << " dilation " << at::IntArrayRef(c.dilation)
          << " groups " << c.groups;
}

/// Those of one dimension come first.
inline const Case kCases[] = {
    {{7}, {3}, {1}, {1}, 1},
    {{8}, {4}, {1}, {1}, 1},
    {{8}, {3}, {2}, {2}, 2},
    {{2}, {5}, {3}, {1}, 1},
    {{5}, {1}, {3}, {1}, 4},
    {{8, 8}, {3, 3}, {2, 2}, {1, 1}, 1},
    {{7, 8}, {3, 3}, {2, 2}, {1, 1}, 4},
    {{6, 9}, {2, 5}, {1, 2}, {3, 1}, 2},
    {{9, 4}, {4, 1}, {3, 2}, {1, 2}, 1},
    {{1, 1}, {3, 2}, {2, 1}, {1, 1}, 1},
    {{4, 5, 6}, {3, 2, 3}, {2, 2, 1}, {1, 1, 2}, 2},
    {{5, 3, 4}, {2, 2, 2}, {1, 1, 1}, {1, 1, 1}, 1},
    {{1, 2, 4}, {3, 3, 3}, {2, 1, 3}, {1, 1, 1}, 1},
};

/// (first, second, sizes...).
inline Sizes shape(int64_t first, int64_t second, const Sizes& sizes) {
  Sizes result{first, second};
  result.insert(result.end(), sizes.begin(), sizes.end());
  return result;
}

}  // namespace samepad
